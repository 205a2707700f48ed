//! How two account databases differ: as a person reads it, and whether the second takes or gives.

use std::collections::HashSet;

use hostward_accounts::{Group, User};
use hostward_protocol::report::{AccountChange, Change, Entry};

use crate::facts::Accounts;
use crate::text::shown;

/// How many changes are named one by one.
const MAX_NAMED: usize = 1000;

/// What the second of two databases changes.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Somebody loses something: an entry, a group, a principal, time, or what they had under an old name or path.
    pub(super) takes: bool,
    /// Somebody gains something.
    pub(super) gives: bool,
    named: Vec<AccountChange>,
    more: usize,
    users: Counts,
    groups: Counts,
}

impl Difference {
    /// Both sides sorted by uid and gid, as databases are.
    pub(super) fn between(from: &Accounts, to: &Accounts) -> Self {
        let mut difference = Difference::default();
        each(&from.users, &to.users, |user| user.uid, |old, new| difference.user(old, new));
        each(
            &from.groups,
            &to.groups,
            |group| group.gid,
            |old, new| difference.group(old.map(|group| (group, from)), new.map(|group| (group, to))),
        );
        difference
    }

    /// The changes, and how many there are besides.
    pub(super) fn into_changes(self) -> (Vec<AccountChange>, usize) {
        (self.named, self.more)
    }

    /// `+2 -1 users, -1 group`.
    pub(super) fn summary(&self) -> String {
        let parts: Vec<String> =
            [self.users.text("user"), self.groups.text("group")].into_iter().flatten().collect();
        parts.join(", ")
    }

    fn user(&mut self, old: Option<&User>, new: Option<&User>) {
        match (old, new) {
            (Some(old), None) => {
                self.takes = true;
                self.users.removed += 1;
                self.name(|| of_user(Change::Remove, old, String::new()));
            }
            (None, Some(new)) => {
                self.gives = true;
                self.users.added += 1;
                self.name(|| of_user(Change::Add, new, String::new()));
            }
            (Some(old), Some(new)) if old != new => {
                self.users.changed += 1;
                self.takes |= user_loses(old, new);
                self.gives |= user_gains(old, new);
                self.name(|| of_user(Change::Change, new, user_change(old, new)));
            }
            _ => {}
        }
    }

    fn group(&mut self, old: Option<(&Group, &Accounts)>, new: Option<(&Group, &Accounts)>) {
        match (old, new) {
            (Some((old, _)), None) => {
                self.takes = true;
                self.groups.removed += 1;
                self.name(|| of_group(Change::Remove, old, String::new()));
            }
            (None, Some((new, _))) => {
                self.gives = true;
                self.groups.added += 1;
                let members = new.members.len();
                let plural = if members == 1 { "" } else { "s" };
                self.name(|| of_group(Change::Add, new, format!("with {members} member{plural}")));
            }
            (Some((old, from)), Some((new, to))) => self.common_group(old, from, new, to),
            (None, None) => {}
        }
    }

    fn common_group(&mut self, old: &Group, from: &Accounts, new: &Group, to: &Accounts) {
        let renamed = old.name != new.name;
        if !renamed && uids(old, from).eq(uids(new, to)) {
            return;
        }
        let (before, after): (HashSet<u32>, HashSet<u32>) =
            (uids(old, from).collect(), uids(new, to).collect());
        let (added, removed) = (after.difference(&before).count(), before.difference(&after).count());
        if !renamed && added + removed == 0 {
            return;
        }
        self.groups.changed += 1;
        self.takes |= renamed || removed > 0;
        self.gives |= added > 0;
        self.name(|| {
            let was = renamed.then(|| format!("was {}", shown(&old.name)));
            let signs: Vec<String> = [('+', added), ('-', removed)]
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(sign, count)| format!("{sign}{count}"))
                .collect();
            let members = (!signs.is_empty()).then(|| format!("members {}", signs.join(" ")));
            let parts: Vec<String> = [was, members].into_iter().flatten().collect();
            of_group(Change::Change, new, parts.join(", "))
        });
    }

    fn name(&mut self, change: impl FnOnce() -> AccountChange) {
        if self.named.len() < MAX_NAMED {
            self.named.push(change());
        } else {
            self.more += 1;
        }
    }
}

fn of_user(change: Change, user: &User, detail: String) -> AccountChange {
    AccountChange { change, entry: Entry::User, name: shown(&user.name).to_string(), id: user.uid, detail }
}

fn of_group(change: Change, group: &Group, detail: String) -> AccountChange {
    AccountChange { change, entry: Entry::Group, name: shown(&group.name).to_string(), id: group.gid, detail }
}

#[derive(Debug, Default)]
struct Counts {
    added: usize,
    removed: usize,
    changed: usize,
}

impl Counts {
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

/// Whether something that the old entry had is not in the new one. A comment is nothing that anybody has.
fn user_loses(old: &User, new: &User) -> bool {
    old.name != new.name
        || old.gid != new.gid
        || old.home != new.home
        || old.shell != new.shell
        || !is_within(&old.local_gids, &new.local_gids)
        || !is_within(&old.principals, &new.principals)
        || end(new) < end(old)
}

fn user_gains(old: &User, new: &User) -> bool {
    !is_within(&new.local_gids, &old.local_gids)
        || !is_within(&new.principals, &old.principals)
        || !is_within(&new.subids, &old.subids)
        || end(new) > end(old)
}

fn is_within<T: Eq + std::hash::Hash>(part: &[T], whole: &[T]) -> bool {
    if part == whole {
        return true;
    }
    let whole: HashSet<&T> = whole.iter().collect();
    part.iter().all(|item| whole.contains(item))
}

/// When the entry ends, 0 being never.
fn end(user: &User) -> u64 {
    user.valid_until.wrapping_sub(1)
}

fn user_change(old: &User, new: &User) -> String {
    let was = (old.name != new.name).then(|| format!("was {}", shown(&old.name)));
    let differences = [
        ("primary group", old.gid != new.gid),
        ("gecos", old.gecos != new.gecos),
        ("home", old.home != new.home),
        ("shell", old.shell != new.shell),
        ("local groups", old.local_gids != new.local_gids),
        ("principals", old.principals != new.principals),
        ("subordinate ids", old.subids != new.subids),
        ("end of validity", old.valid_until != new.valid_until),
    ];
    let differences =
        differences.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what.to_owned());
    was.into_iter().chain(differences).collect::<Vec<_>>().join(", ")
}

/// Uids of a group's members.
pub(super) fn uids<'a>(group: &'a Group, accounts: &'a Accounts) -> impl Iterator<Item = u32> + 'a {
    group.members.iter().filter_map(|member| Some(accounts.users.get(*member as usize)?.uid))
}
