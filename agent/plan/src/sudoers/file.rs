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

/// The rules of this host.
#[derive(Debug, Default)]
pub(crate) struct SudoersFile<'a> {
    /// Entitlement by name, with the ids of the grants that give it, by who gets it.
    blocks: BTreeMap<RuleSource<'a>, BTreeSet<&'a str>>,
}

impl<'a> SudoersFile<'a> {
    pub(crate) fn add(&mut self, source: RuleSource<'a>, grant: &'a str) {
        self.blocks.entry(source).or_default().insert(grant);
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = (&RuleSource<'a>, &BTreeSet<&'a str>)> {
        self.blocks.iter()
    }

    /// The text; `None` where there is no rule.
    pub(crate) fn render(&self, expressed: &BTreeMap<&str, Expressed>) -> Option<String> {
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
        for (source, grants) in &self.blocks {
            let Some(expressed) = expressed.get(source.entitlement) else { continue };
            let rules: Vec<String> = expressed
                .rules
                .iter()
                .map(|rule| format!("%#{} ALL={rule}", source.gid))
                .filter(|line| seen.insert(line.clone()))
                .collect();
            has_rules |= !rules.is_empty();
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

/// `desired` without whatever `present` does not have: what both give.
pub(crate) fn narrowed(present: &str, desired: &str) -> String {
    let present: HashSet<&str> = present.lines().collect();
    // An alias and its defaults stay together: the one without the other is an error, or nothing.
    let broken: HashSet<&str> =
        desired.lines().filter(|line| !present.contains(line)).filter_map(alias_of).collect();
    let keeps = |line: &&str| {
        is_rule(line) && present.contains(line) && alias_of(line).is_none_or(|alias| !broken.contains(alias))
    };
    let mut text = String::from(HEADER);
    for block in desired.split("\n\n").skip(1) {
        let kept: Vec<&str> = block.lines().filter(keeps).collect();
        if let Some(title) = block.lines().next().filter(|_| !kept.is_empty()) {
            text.push_str(&format!("\n{title}\n{}\n", kept.join("\n")));
        }
    }
    text
}

/// How many lines that sudo heeds are in `desired` only, and in `present` only.
pub(crate) fn line_changes(present: &str, desired: &str) -> (usize, usize) {
    let old: HashSet<&str> = present.lines().filter(|line| is_rule(line)).collect();
    let new: HashSet<&str> = desired.lines().filter(|line| is_rule(line)).collect();
    (new.difference(&old).count(), old.difference(&new).count())
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

    #[test]
    fn narrowing_keeps_what_both_have() {
        let desired = format!(
            "{HEADER}\n# e\nCmnd_Alias HOSTWARD_A = /a\nDefaults!HOSTWARD_A env_keep += \"X\"\n\n# g\n%#1 ALL=(root) /a\n%#1 ALL=(root) /b\n"
        );
        let present = "%#1 ALL=(root) /b\nALL ALL=(ALL) ALL\nDefaults!HOSTWARD_A env_keep += \"X\"\n";
        assert_eq!(narrowed(present, &desired), format!("{HEADER}\n# g\n%#1 ALL=(root) /b\n"));
        assert_eq!(narrowed(&desired, &desired), desired);
        assert_eq!(narrowed("", &desired), HEADER);
        assert_eq!(line_changes(present, &desired), (2, 1));
    }
}
