//! The whole file, and what is common to two of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Expressed;
use crate::text::shown;

const HEADER: &str = "# Managed by hostward from the project's policy: changes are undone.\n\
                      # `hostward explain USER` says where each rule comes from.\n";

/// Where a block of rules comes from. Blocks are sorted by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleSource<'a> {
    pub(crate) gid: u32,
    pub(crate) group: &'a str,
    pub(crate) entitlement: &'a str,
}

/// Uids in one alias, and aliases in one rule: sudo-rs reads lists of at most 127 items.
const CHUNK: usize = 100;

/// The rules of this host.
#[derive(Debug, Default)]
pub(crate) struct SudoersFile<'a> {
    /// Entitlement by name, with the ids of the grants that give it, by who gets it.
    blocks: BTreeMap<RuleSource<'a>, BTreeSet<&'a str>>,
    /// Uids of the members who may log in here, by the gid of the group.
    members: BTreeMap<u32, BTreeSet<u32>>,
}

impl<'a> SudoersFile<'a> {
    pub(crate) fn add(&mut self, source: RuleSource<'a>, grant: &'a str, members: BTreeSet<u32>) {
        self.members.insert(source.gid, members);
        self.blocks.entry(source).or_default().insert(grant);
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = (&RuleSource<'a>, &BTreeSet<&'a str>)> {
        self.blocks.iter()
    }

    /// The text; `None` where there is no rule. `logs_exit`: sudo is to say how commands end.
    pub(crate) fn render(&self, expressed: &BTreeMap<&str, Expressed>, logs_exit: bool) -> Option<String> {
        let mut text = String::from(HEADER);
        let used: BTreeSet<&str> = self.blocks.keys().map(|source| source.entitlement).collect();
        let mut seen = HashSet::new();
        for name in used {
            let lines = expressed.get(name).map(|e| e.environment.as_slice()).unwrap_or_default();
            // Two entitlements may have the same alias, because they say the same.
            let lines: Vec<&String> = lines.iter().filter(|line| seen.insert(line.as_str())).collect();
            push_block(&mut text, &format!("environment of entitlement `{}`", comment(name)), lines);
        }
        let mut has_rules = false;
        let mut seen = HashSet::new();
        let mut named = BTreeSet::new();
        for (source, grants) in &self.blocks {
            let Some(expressed) = expressed.get(source.entitlement) else { continue };
            let aliases = Aliases::of(source.gid, self.members.get(&source.gid));
            let rules: Vec<String> = expressed
                .rules
                .iter()
                .flat_map(|rule| aliases.users().map(move |users| format!("{users} ALL={rule}")))
                .filter(|line| seen.insert(line.clone()))
                .collect();
            if rules.is_empty() {
                continue;
            }
            has_rules = true;
            if named.insert(source.gid) {
                let title = format!("members of group `{}` who may log in here", comment(source.group));
                let settings = aliases.settings().filter(|_| logs_exit);
                let lines: Vec<String> = aliases.definitions().into_iter().chain(settings).collect();
                push_block(&mut text, &title, lines.iter().collect());
            }
            let grants: Vec<String> = grants.iter().map(|grant| format!("`{}`", comment(grant))).collect();
            let title = format!(
                "group `{}`, entitlement `{}`, by grant {}",
                comment(source.group),
                comment(source.entitlement),
                grants.join(", ")
            );
            push_block(&mut text, &title, rules.iter().collect());
        }
        has_rules.then_some(text)
    }
}

/// The people of a group, as aliases of uids.
///
/// Not `%#gid`: sudo believes the groups that a process carries, and those outlive membership. A session opened
/// before, or a set-group-ID file that somebody left behind, would go on satisfying such a rule.
struct Aliases {
    gid: u32,
    chunks: Vec<Vec<u32>>,
}

impl Aliases {
    fn of(gid: u32, members: Option<&BTreeSet<u32>>) -> Self {
        let members: Vec<u32> = members.into_iter().flatten().copied().collect();
        Aliases { gid, chunks: members.chunks(CHUNK).map(<[u32]>::to_vec).collect() }
    }

    fn name(&self, chunk: usize) -> String {
        format!("{USERS}{}_{chunk}", self.gid)
    }

    fn definitions(&self) -> Vec<String> {
        let define = |(chunk, uids): (usize, &Vec<u32>)| {
            let uids: Vec<String> = uids.iter().map(|uid| format!("#{uid}")).collect();
            format!("User_Alias {} = {}", self.name(chunk), uids.join(", "))
        };
        self.chunks.iter().enumerate().map(define).collect()
    }

    /// What holds for everybody, whatever they run.
    fn settings(&self) -> impl Iterator<Item = String> {
        (0..self.chunks.len()).map(|chunk| format!("{OF_USERS}{} log_exit_status", self.name(chunk)))
    }

    /// The user lists that together are everybody.
    fn users(&self) -> impl Iterator<Item = String> {
        let names: Vec<String> = (0..self.chunks.len()).map(|chunk| self.name(chunk)).collect();
        names.chunks(CHUNK).map(|names| names.join(", ")).collect::<Vec<_>>().into_iter()
    }
}

/// What aliases of users begin with; the gid and a number follow.
const USERS: &str = "HOSTWARD_G";
/// What settings for such an alias begin with.
const OF_USERS: &str = "Defaults:";

fn push_block(text: &mut String, title: &str, lines: Vec<&String>) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n# {title}\n"));
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
}

/// Text in a comment: printable ASCII without a backslash, which would continue the line.
fn comment(text: &str) -> String {
    shown(text).replace('\\', "/")
}

/// What a file gives, apart from how it is divided into aliases.
#[derive(Debug, Default)]
struct Given<'t> {
    /// Uids by the gid that their aliases are named after.
    members: BTreeMap<&'t str, BTreeSet<u32>>,
    /// Rules by that gid, without the user list.
    rules: HashSet<(&'t str, &'t str)>,
    /// Whatever else sudo heeds.
    others: HashSet<&'t str>,
}

impl<'t> Given<'t> {
    fn read(text: &'t str) -> Self {
        let mut given = Given::default();
        for line in text.lines().filter(|line| is_rule(line)) {
            if let Some((gid, uids)) = members_of(line) {
                given.members.entry(gid).or_default().extend(uids);
            } else if let Some(rule) = rule_of(line) {
                given.rules.insert(rule);
            } else {
                given.others.insert(line);
            }
        }
        given
    }

    fn len_without(&self, other: &Given<'_>) -> usize {
        let members = |gid: &str| other.members.get(gid);
        let people: usize = self
            .members
            .iter()
            .map(|(gid, uids)| {
                uids.iter().filter(|uid| !members(gid).is_some_and(|m| m.contains(uid))).count()
            })
            .sum();
        let rules = self.rules.iter().filter(|rule| !other.rules.contains(*rule)).count();
        people + rules + self.others.iter().filter(|line| !other.others.contains(*line)).count()
    }
}

/// `desired` without whatever `present` does not give.
pub(crate) fn narrowed(present: &str, desired: &str) -> String {
    let present = Given::read(present);
    // An alias and its defaults stay together: the one without the other is an error, or nothing.
    let broken: HashSet<&str> =
        desired.lines().filter(|line| !present.others.contains(line)).filter_map(alias_of).collect();
    let mut empty = HashSet::new();
    let mut text = String::from(HEADER);
    for block in desired.split("\n\n").skip(1) {
        let mut lines = block.lines();
        let Some(title) = lines.next() else { continue };
        let kept: Vec<String> = lines
            .filter_map(|line| {
                if let Some((gid, uids)) = members_of(line) {
                    let (definition, _) = line.split_once(" = ")?;
                    let had = present.members.get(gid);
                    let uids: Vec<String> = uids
                        .filter(|uid| had.is_some_and(|had| had.contains(uid)))
                        .map(|uid| format!("#{uid}"))
                        .collect();
                    if uids.is_empty() {
                        empty.insert(definition.strip_prefix("User_Alias ")?);
                        return None;
                    }
                    return Some(format!("{definition} = {}", uids.join(", ")));
                }
                if let Some(rule) = rule_of(line) {
                    let (users, rest) = line.split_once(" ALL=")?;
                    let users: Vec<&str> = users.split(", ").filter(|user| !empty.contains(user)).collect();
                    let keeps = present.rules.contains(&rule) && !users.is_empty();
                    return keeps.then(|| format!("{} ALL={rest}", users.join(", ")));
                }
                let is_for_nobody = line
                    .strip_prefix(OF_USERS)
                    .and_then(|rest| rest.split(' ').next())
                    .is_some_and(|users| empty.contains(users));
                let keeps = present.others.contains(line)
                    && !is_for_nobody
                    && alias_of(line).is_none_or(|alias| !broken.contains(alias));
                keeps.then(|| line.to_owned())
            })
            .collect();
        if !kept.is_empty() {
            text.push_str(&format!("\n{title}\n{}\n", kept.join("\n")));
        }
    }
    text
}

/// How many members, rules and settings are in `desired` only, and in `present` only.
pub(crate) fn changes(present: &str, desired: &str) -> (usize, usize) {
    let (old, new) = (Given::read(present), Given::read(desired));
    (new.len_without(&old), old.len_without(&new))
}

/// The gid and the uids of a line that defines an alias of users.
fn members_of(line: &str) -> Option<(&str, impl Iterator<Item = u32>)> {
    let (name, uids) = line.strip_prefix("User_Alias ")?.split_once(" = ")?;
    let (gid, _) = name.strip_prefix(USERS)?.split_once('_')?;
    Some((gid, uids.split(", ").filter_map(|uid| uid.strip_prefix('#')?.parse().ok())))
}

/// The gid and what is given, of a rule of ours.
fn rule_of(line: &str) -> Option<(&str, &str)> {
    let (users, rule) = line.split_once(" ALL=")?;
    let gid = |user: &'_ str| Some(user.strip_prefix(USERS)?.split_once('_')?.0.len());
    let len = gid(users.split(", ").next()?)?;
    let gid = users.get(USERS.len()..USERS.len() + len)?;
    Some((gid, rule))
}

/// Whether sudo heeds the line. `#include` and `#1000` are no comments.
fn is_rule(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("# ")
}

/// The alias that a line of ours defines or is about.
fn alias_of(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("Cmnd_Alias ").or_else(|| line.strip_prefix("Defaults!"))?;
    rest.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESIRED: &str = "\n# e\nCmnd_Alias HOSTWARD_A = /a\nDefaults!HOSTWARD_A env_keep += \"X\"\n\n\
                           # m\nUser_Alias HOSTWARD_G1_0 = #11, #12\nUser_Alias HOSTWARD_G1_1 = #13\n\n\
                           # g\nHOSTWARD_G1_0, HOSTWARD_G1_1 ALL=(root) /a\nHOSTWARD_G1_0, HOSTWARD_G1_1 ALL=(root) /b\n";

    #[test]
    fn narrowing_keeps_what_both_have() {
        let desired = format!("{HEADER}{DESIRED}");
        let present = "User_Alias HOSTWARD_G1_0 = #10, #11\nHOSTWARD_G1_0 ALL=(root) /b\nALL ALL=(ALL) ALL\n\
                       Defaults!HOSTWARD_A env_keep += \"X\"\n";
        assert_eq!(
            narrowed(present, &desired),
            format!("{HEADER}\n# m\nUser_Alias HOSTWARD_G1_0 = #11\n\n# g\nHOSTWARD_G1_0 ALL=(root) /b\n")
        );
        assert_eq!(narrowed(&desired, &desired), desired);
        let with_settings = desired.replace(
            "= #13\n",
            "= #13\nDefaults:HOSTWARD_G1_0 log_exit_status\nDefaults:HOSTWARD_G1_1 log_exit_status\n",
        );
        assert_eq!(narrowed(&with_settings, &with_settings), with_settings);
        assert_eq!(changes(&desired, &with_settings), (2, 0));
        let left = with_settings.replace("#11, #12", "#12").replace("User_Alias HOSTWARD_G1_1 = #13\n", "");
        let text = narrowed(&left, &with_settings);
        assert!(
            text.contains("Defaults:HOSTWARD_G1_0 log") && !text.contains("Defaults:HOSTWARD_G1_1"),
            "{text}"
        );
        assert_eq!(narrowed("", &desired), HEADER);
        assert_eq!(changes(present, &desired), (4, 2));
        assert_eq!(changes(&desired, &desired), (0, 0));
    }

    #[test]
    fn another_division_into_aliases_is_no_change() {
        let desired = format!("{HEADER}{DESIRED}");
        let otherwise = desired
            .replace("#11, #12\nUser_Alias HOSTWARD_G1_1 = #13", "#11\nUser_Alias HOSTWARD_G1_1 = #12, #13");
        assert_eq!(changes(&otherwise, &desired), (0, 0));
    }

    #[test]
    fn lists_stay_below_what_sudo_rs_reads() {
        let members: BTreeSet<u32> = (70_000..90_500).collect();
        let aliases = Aliases::of(7, Some(&members));
        assert!(aliases.definitions().iter().all(|line| line.matches('#').count() <= CHUNK));
        let users: Vec<String> = aliases.users().collect();
        assert_eq!(users.len(), 3);
        assert!(users.iter().all(|list| list.split(", ").count() <= CHUNK));
        let text = format!("{}\n", aliases.definitions().join("\n"));
        assert_eq!(Given::read(&text).members["7"], members);
    }
}
