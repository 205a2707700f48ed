//! What changes between two account databases, as a person reads it.

use std::collections::{BTreeMap, HashSet};

use hostward_accounts::{Group, User};

use crate::facts::Accounts;
use crate::text::shown;

/// How many changes are named one by one.
const MAX_NAMED: usize = 1000;

/// One line a change.
pub(super) fn changes(from: &Accounts, to: &Accounts) -> Vec<String> {
    let mut lines = Lines::default();
    each(
        &from.users,
        &to.users,
        |user| user.uid,
        |old, new| match (old, new) {
            (Some(old), None) => lines.push(|| format!("remove user {} ({})", shown(&old.name), old.uid)),
            (None, Some(new)) => lines.push(|| format!("add user {} ({})", shown(&new.name), new.uid)),
            (Some(old), Some(new)) if old != new => {
                lines.push(|| {
                    format!("change user {} ({}): {}", shown(&new.name), new.uid, user_change(old, new))
                });
            }
            _ => {}
        },
    );
    each(
        &from.groups,
        &to.groups,
        |group| group.gid,
        |old, new| match (old, new) {
            (Some(old), None) => lines.push(|| format!("remove group {} ({})", shown(&old.name), old.gid)),
            (None, Some(new)) => lines.push(|| {
                format!(
                    "add group {} ({}) with {}",
                    shown(&new.name),
                    new.gid,
                    count(new.members.len(), "member")
                )
            }),
            (Some(old), Some(new)) => {
                if let Some(change) = group_change(old, from, new, to) {
                    lines.push(|| format!("change group {} ({}): {change}", shown(&new.name), new.gid));
                }
            }
            _ => {}
        },
    );
    lines.finish()
}

/// `+2 -1 users, -1 group`.
pub(super) fn summary(from: &Accounts, to: &Accounts) -> String {
    let mut users = Counts::default();
    each(
        &from.users,
        &to.users,
        |user| user.uid,
        |old, new| {
            users.note(old.is_some(), new.is_some(), old != new);
        },
    );
    let mut groups = Counts::default();
    each(
        &from.groups,
        &to.groups,
        |group| group.gid,
        |old, new| {
            let changed = match (old, new) {
                (Some(old), Some(new)) => group_change(old, from, new, to).is_some(),
                _ => false,
            };
            groups.note(old.is_some(), new.is_some(), changed);
        },
    );
    let parts: Vec<String> = [users.text("user"), groups.text("group")].into_iter().flatten().collect();
    parts.join(", ")
}

#[derive(Default)]
struct Counts {
    added: usize,
    removed: usize,
    changed: usize,
}

impl Counts {
    fn note(&mut self, was: bool, is: bool, differs: bool) {
        match (was, is) {
            (false, true) => self.added += 1,
            (true, false) => self.removed += 1,
            (true, true) if differs => self.changed += 1,
            _ => {}
        }
    }

    fn text(&self, what: &str) -> Option<String> {
        let parts: Vec<String> = [('+', self.added), ('-', self.removed), ('~', self.changed)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(sign, count)| format!("{sign}{count}"))
            .collect();
        let plural = if self.added + self.removed + self.changed == 1 { "" } else { "s" };
        (!parts.is_empty()).then(|| format!("{} {what}{plural}", parts.join(" ")))
    }
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    more: usize,
}

impl Lines {
    fn push(&mut self, line: impl FnOnce() -> String) {
        if self.lines.len() < MAX_NAMED {
            self.lines.push(line());
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("and {} further changes", self.more));
        }
        self.lines
    }
}

/// Walks two lists that are sorted by `key`, side by side. Lists that are not are still walked to their end.
fn each<'a, T>(
    from: &'a [T],
    to: &'a [T],
    key: impl Fn(&T) -> u32,
    mut visit: impl FnMut(Option<&'a T>, Option<&'a T>),
) {
    let (mut from, mut to) = (from.iter().peekable(), to.iter().peekable());
    loop {
        match (from.peek(), to.peek()) {
            (None, None) => return,
            (Some(old), Some(new)) if key(old) == key(new) => visit(from.next(), to.next()),
            (Some(old), Some(new)) if key(old) > key(new) => visit(None, to.next()),
            (None, Some(_)) => visit(None, to.next()),
            (Some(_), _) => visit(from.next(), None),
        }
    }
}

fn user_change(old: &User, new: &User) -> String {
    let mut parts = Vec::new();
    if old.name != new.name {
        parts.push(format!("was {}", shown(&old.name)));
    }
    let differences = [
        ("primary group", old.gid != new.gid),
        ("gecos", old.gecos != new.gecos),
        ("home", old.home != new.home),
        ("shell", old.shell != new.shell),
        ("local groups", old.local_gids != new.local_gids),
        ("principals", old.principals != new.principals),
        ("end of validity", old.valid_until != new.valid_until),
    ];
    parts.extend(differences.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what.to_owned()));
    parts.join(", ")
}

fn group_change(old: &Group, from: &Accounts, new: &Group, to: &Accounts) -> Option<String> {
    let mut parts = Vec::new();
    if old.name != new.name {
        parts.push(format!("was {}", shown(&old.name)));
    }
    if parts.is_empty() && uids(old, from).eq(uids(new, to)) {
        return None;
    }
    let (before, after): (HashSet<u32>, HashSet<u32>) = (uids(old, from).collect(), uids(new, to).collect());
    let signs =
        BTreeMap::from([('+', after.difference(&before).count()), ('-', before.difference(&after).count())]);
    let signs: Vec<String> =
        signs.into_iter().filter(|(_, n)| *n > 0).map(|(sign, n)| format!("{sign}{n}")).collect();
    if !signs.is_empty() {
        parts.push(format!("members {}", signs.join(" ")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Uids of a group's members.
pub(super) fn uids<'a>(group: &'a Group, accounts: &'a Accounts) -> impl Iterator<Item = u32> + 'a {
    group.members.iter().filter_map(|member| Some(accounts.users.get(*member as usize)?.uid))
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
