//! Users: who is exposed on this host, and who is refused.

use std::collections::{HashMap, HashSet};

use hostward_accounts::SubidRange;
use hostward_protocol::document::{self, Entry, Settings, UserStatus};

use crate::account::Kind;
use crate::account::gecos::Gecos;
use crate::account::home::HomePath;
use crate::account::id::{Gid, Uid};
use crate::account::name::UserName;
use crate::account::principal::Principal;
use crate::account::shell::Shell;
use crate::refusal::{Findings, Refusal, malformed, subject};
use crate::resolve::duplicates::duplicates;
use crate::resolve::grants::GrantEntry;
use crate::resolve::groups::Groups;
use crate::resolve::horizon::Horizon;
use crate::resolve::host::Host;
use crate::resolve::membership::{Members, earlier, login_until};
use crate::resolve::subids::SubidRules;
use crate::text::shown;

/// Somebody who may log in here.
#[derive(Debug)]
pub(crate) struct Person<'a> {
    pub(crate) document: &'a document::User,
    pub(crate) name: UserName<'a>,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) gecos: Gecos<'a>,
    pub(crate) home: HomePath<'a>,
    pub(crate) shell: Shell<'a>,
    pub(crate) principals: Vec<Principal<'a>>,
    /// Ascending.
    pub(crate) subids: Vec<SubidRange>,
    /// Unix seconds; 0 for never.
    pub(crate) valid_until: u64,
}

/// Where a user of the policy stands on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No grant gives login here now.
    NoGrant,
    Suspended,
    Expired,
    /// A grant does, and the entry is refused.
    Refused(Vec<Refusal>),
    /// Index into [`People::admitted`].
    Admitted(usize),
}

/// All users of the policy.
#[derive(Debug)]
pub(crate) struct People<'a> {
    /// By uid.
    pub(crate) admitted: Vec<Person<'a>>,
    /// The document's entries and their standing, malformed ones left out.
    pub(crate) entries: Vec<(&'a document::User, Standing)>,
    members: Members,
    /// Gids that somebody who has a grant has for a primary group.
    pub(crate) primary_gids: HashSet<u64>,
}

/// What more than one user has, of what each must have alone.
struct Shared<'a> {
    names: HashSet<&'a str>,
    uids: HashSet<u64>,
    ids: HashSet<&'a str>,
    principals: HashSet<&'a str>,
    subids: SubidRules<'a>,
}

impl<'a> Shared<'a> {
    fn among(documents: &[&'a document::User], groups: &'a Groups<'_>, host: &'a Host<'_>) -> Self {
        // A principal that one user lists twice is still theirs alone.
        let own = |user: &&'a document::User| {
            let mut own: Vec<&'a str> = user.principals.iter().map(String::as_str).collect();
            own.sort_unstable();
            own.dedup();
            own
        };
        let mut principals: Vec<&'a str> = Vec::with_capacity(documents.len());
        for user in documents {
            match user.principals.as_slice() {
                [one] => principals.push(one),
                [one, other] if one != other => principals.extend([one.as_str(), other]),
                _ => principals.extend(own(user)),
            }
        }
        Shared {
            names: duplicates(documents.iter().map(|user| user.name.as_str())),
            uids: duplicates(documents.iter().map(|user| user.uid)),
            ids: duplicates(documents.iter().map(|user| user.id.as_str())),
            principals: duplicates(principals.iter().copied()),
            subids: SubidRules::new(documents, groups, host),
        }
    }
}

impl<'a> People<'a> {
    pub(crate) fn read(
        users: &'a [Entry<document::User>],
        settings: &'a Settings,
        groups: &Groups<'_>,
        grants: &[GrantEntry<'_>],
        host: &Host<'_>,
        horizon: &mut Horizon,
        findings: &mut Findings,
    ) -> Self {
        let mut documents = Vec::with_capacity(users.len());
        for entry in users {
            match entry {
                Entry::Shaped(user) => documents.push(user),
                Entry::Malformed { label, at } => findings.refuse(malformed("user", label, *at)),
            }
        }
        let shared = Shared::among(&documents, groups, host);
        let members = Members::of(groups, &documents);
        let until = login_until(grants, &members, &documents, &shared.ids);
        let now = horizon.now();
        let mut people = People {
            admitted: Vec::with_capacity(documents.len()),
            entries: Vec::with_capacity(documents.len()),
            members,
            primary_gids: HashSet::new(),
        };
        for (document, until) in documents.into_iter().zip(until) {
            let standing = match until {
                None => Standing::NoGrant,
                Some(_) if document.status == UserStatus::Suspended => Standing::Suspended,
                Some(_) if document.expires.is_some_and(|expires| expires <= now) => Standing::Expired,
                Some(until) => {
                    horizon.note(document.expires);
                    people.primary_gids.insert(document.gid);
                    match judge(document, until, settings, groups, &shared, host, findings) {
                        Ok(person) => {
                            people.admitted.push(person);
                            Standing::Admitted(people.admitted.len() - 1)
                        }
                        Err(refusals) => Standing::Refused(refusals),
                    }
                }
            };
            people.entries.push((document, standing));
        }
        people.refuse_shared_homes();
        people.sort();
        people.report_refused(findings);
        people.warn(host, findings);
        people
    }

    /// Positions among the admitted of a group's members, ascending, by the group's index.
    pub(crate) fn admitted_members(&self, group: usize) -> Vec<u32> {
        let admitted = |user: &u32| match self.entries.get(*user as usize) {
            Some((_, Standing::Admitted(position))) => u32::try_from(*position).ok(),
            _ => None,
        };
        let mut positions: Vec<u32> = self.members.users(group).iter().filter_map(admitted).collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// Positions among the entries of a group's members, by the group's index.
    pub(crate) fn members_of(&self, group: usize) -> &[u32] {
        self.members.users(group)
    }

    /// How many of a group's members are no users of the policy.
    pub(crate) fn unknown_members(&self, group: usize) -> u32 {
        self.members.unknown(group)
    }

    /// Two people with one home would read each other's keys; neither gets it.
    fn refuse_shared_homes(&mut self) {
        let shared: HashSet<String> = duplicates(self.admitted.iter().map(|person| person.home.as_str()))
            .into_iter()
            .map(str::to_owned)
            .collect();
        if shared.is_empty() {
            return;
        }
        for (_, standing) in &mut self.entries {
            if let Standing::Admitted(position) = standing
                && self.admitted.get(*position).is_some_and(|person| shared.contains(person.home.as_str()))
            {
                *standing = Standing::Refused(vec![Refusal::backend(
                    "user-home-shared",
                    "another user of the policy has the same home; neither is accepted",
                    "give each user a home of their own on the backend",
                )]);
            }
        }
    }

    /// Puts the admitted in the order of their uids, without those who were refused meanwhile.
    fn sort(&mut self) {
        let uid_at = |position: &usize| self.admitted.get(*position).map(|person| person.uid);
        let mut order: Vec<(Uid, usize)> = Vec::with_capacity(self.admitted.len());
        let mut place = vec![None; self.admitted.len()];
        for (_, standing) in &self.entries {
            if let Standing::Admitted(old) = standing {
                order.extend(uid_at(old).map(|uid| (uid, *old)));
            }
        }
        order.sort_unstable();
        for (new, (_, old)) in order.into_iter().enumerate() {
            if let Some(place) = place.get_mut(old) {
                *place = Some(new);
            }
        }
        let mut old = 0..;
        self.admitted.retain(|_| old.next().and_then(|n: usize| place.get(n).copied().flatten()).is_some());
        self.admitted.sort_by_cached_key(|person| person.uid);
        for (_, standing) in &mut self.entries {
            if let Standing::Admitted(position) = standing
                && let Some(new) = place.get(*position).copied().flatten()
            {
                *position = new;
            }
        }
    }

    fn report_refused(&self, findings: &mut Findings) {
        for (document, standing) in &self.entries {
            if let Standing::Refused(refusals) = standing {
                let subject = subject("user", &document.name, &document.id);
                refusals.iter().for_each(|refusal| findings.refuse(refusal.about(subject.as_str())));
            }
        }
    }

    fn warn(&self, host: &Host<'_>, findings: &mut Findings) {
        let ledger = &host.facts.ledger.people;
        let mut new: HashMap<&str, &Person<'_>> = HashMap::new();
        let mut known = ledger.iter().peekable();
        for person in &self.admitted {
            // Both are sorted by uid.
            while known.next_if(|(uid, _)| **uid < person.uid.number()).is_some() {}
            match known.peek() {
                Some((uid, known)) if **uid == person.uid.number() => {
                    if known.home != person.home.as_str() {
                        findings.warn(home_changed(&known.home, person).about(person.subject()));
                    }
                }
                _ if ledger.is_empty() => {}
                _ => {
                    new.insert(person.document.id.as_str(), person);
                }
            }
        }
        for (uid, known) in ledger.iter().filter(|_| !new.is_empty()) {
            if let Some(person) = new.get(known.id.as_str()) {
                findings.warn(id_changed(*uid, person).about(person.subject()));
            }
        }
        let homes: HashMap<&str, u32> =
            host.facts.homes.iter().filter_map(|(uid, home)| Some((home.to_str()?, *uid))).collect();
        for person in self.admitted.iter().filter(|_| !homes.is_empty()) {
            if let Some(uid) = homes.get(person.home.as_str())
                && *uid != person.uid.number()
            {
                let message =
                    format!("its home `{}` exists and belongs to the former uid {uid}", person.home.as_str());
                findings.warn(
                    Refusal::operator(
                        "user-home-was-another",
                        message,
                        "move or remove the old home, or give it to the user",
                    )
                    .about(person.subject()),
                );
            }
        }
    }
}

fn home_changed(old: &str, person: &Person<'_>) -> Refusal {
    let new = person.home.as_str();
    Refusal::operator(
        "user-home-changed",
        format!("its home was `{}` on this host and is `{new}` now; files stay where they are", shown(old)),
        "move the old home to the new place, or set `home` on the backend",
    )
}

fn id_changed(old: u32, person: &Person<'_>) -> Refusal {
    let (new, name, home) = (person.uid.number(), person.name.as_str(), person.home.as_str());
    Refusal::operator(
        "user-id-changed",
        format!("its uid was {old} on this host and is {new} now: files of the old uid are no longer theirs"),
        format!("give them the files, for one with `chown -R --from={old} {name} {home}`"),
    )
}

impl Person<'_> {
    pub(crate) fn subject(&self) -> String {
        subject("user", &self.document.name, &self.document.id)
    }
}

fn judge<'a>(
    document: &'a document::User,
    until: u64,
    settings: &'a Settings,
    groups: &Groups<'_>,
    shared: &Shared<'_>,
    host: &Host<'_>,
    findings: &mut Findings,
) -> Result<Person<'a>, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let twice = [
        ("id", shared.ids.contains(document.id.as_str())),
        ("name", shared.names.contains(document.name.as_str())),
        ("uid", shared.uids.contains(&document.uid)),
    ];
    refusals.extend(twice.into_iter().filter(|(_, twice)| *twice).map(|(what, _)| duplicate(what)));
    if document.id.is_empty() || document.id.len() > 128 || document.id.contains(|c: char| c.is_control()) {
        refusals.push(Refusal::backend(
            "user-id-invalid",
            "its stable id is empty, longer than 128 bytes, or has control characters",
            "give the user another stable id on the backend",
        ));
    }
    let mut keep = |refusal| refusals.push(refusal);
    let name = UserName::parse(&document.name)
        .and_then(|name| host.check_name(name.as_str(), Kind::User).map(|()| name))
        .map_err(&mut keep);
    let uid = Uid::parse(document.uid, &host.ids)
        .and_then(|uid| host.check_uid(uid.number()).map(|()| uid))
        .and_then(|uid| check_ledger(document, uid, host).map(|()| uid))
        .map_err(&mut keep);
    let gid = primary_group(document, groups).map_err(&mut keep);
    let gecos = Gecos::parse(&document.gecos).map_err(&mut keep);
    let shell =
        Shell::parse(document.shell.as_deref().unwrap_or(&settings.default_shell), &host.facts.shells)
            .map_err(&mut keep);
    let home = match (&document.home, &name) {
        (Some(home), _) => HomePath::parse(home.as_str().into(), &host.homes),
        (None, Ok(name)) => {
            HomePath::parse(settings.default_home.replace("{name}", name.as_str()).into(), &host.homes)
        }
        // Without a name there is no default home to judge.
        (None, Err(())) => return Err(refusals),
    };
    let home = home.and_then(|home| host.check_home(home.as_str()).map(|()| home)).map_err(&mut keep);
    match (name, uid, gid, gecos, home, shell) {
        (Ok(name), Ok(uid), Ok(gid), Ok(gecos), Ok(home), Ok(shell)) if refusals.is_empty() => Ok(Person {
            document,
            name,
            uid,
            gid,
            gecos,
            home,
            shell,
            principals: principals(document, shared, findings),
            subids: subids(document, &shared.subids, findings),
            valid_until: earlier(until, expiry(document)),
        }),
        _ => Err(refusals),
    }
}

fn expiry(document: &document::User) -> u64 {
    document.expires.map_or(0, |expires| u64::try_from(expires.timestamp()).unwrap_or(1))
}

fn duplicate(what: &str) -> Refusal {
    Refusal::backend(
        format!("user-{what}-duplicate"),
        format!("another user of the policy has the same {what}; neither is accepted"),
        format!("give each user a {what} of their own on the backend"),
    )
}

/// A uid belongs to one person for ever: files of theirs may be anywhere on the host.
fn check_ledger(document: &document::User, uid: Uid, host: &Host<'_>) -> Result<(), Refusal> {
    match host.facts.ledger.people.get(&uid.number()) {
        Some(known) if known.id != document.id => Err(Refusal::backend(
            "user-id-was-another",
            format!(
                "its uid {} belongs, or belonged, to another person on this host: `{}` (id {})",
                uid.number(),
                shown(&known.name),
                shown(&known.id)
            ),
            "give the user a uid that nobody ever had",
        )),
        _ => Ok(()),
    }
}

fn primary_group(document: &document::User, groups: &Groups<'_>) -> Result<Gid, Refusal> {
    let group = groups.by_gid(document.gid).and_then(|n| groups.entries.get(n));
    match group.map(|group| &group.posix) {
        Some(Ok((_, gid))) => Ok(*gid),
        Some(Err(_)) => Err(Refusal::backend(
            "user-primary-group-refused",
            format!("its primary group (gid {}) is refused on this host", document.gid),
            "mend the group, or give the user another primary group, on the backend",
        )),
        None => Err(Refusal::backend(
            "user-primary-group-unknown",
            format!("its primary group (gid {}) is not in the policy", document.gid),
            "publish a group with this gid, or give the user another primary group, on the backend",
        )),
    }
}

fn principals<'a>(
    document: &'a document::User,
    shared: &Shared<'_>,
    findings: &mut Findings,
) -> Vec<Principal<'a>> {
    let subject = || subject("user", &document.name, &document.id);
    let mut accepted = Vec::with_capacity(document.principals.len());
    for text in &document.principals {
        if shared.principals.contains(text.as_str()) {
            let message =
                format!("another user lists its principal `{}` too; it lets neither in", shown(text));
            let mend = "list each principal for one user only on the backend";
            findings.refuse(Refusal::backend("principal-shared", message, mend).about(subject()));
            continue;
        }
        match Principal::parse(text) {
            Ok(principal) => accepted.push(principal),
            Err(refusal) => findings.refuse(refusal.about(subject())),
        }
    }
    accepted.sort_unstable();
    accepted.dedup();
    if accepted.is_empty() {
        let message = "it has no acceptable certificate principal: no certificate lets it in";
        let mend = "list the principals of the user's certificates on the backend";
        findings.warn(Refusal::backend("user-without-principals", message, mend).about(subject()));
    }
    accepted
}

/// The ranges that are accepted, ascending; each is refused on its own.
fn subids(document: &document::User, rules: &SubidRules<'_>, findings: &mut Findings) -> Vec<SubidRange> {
    let mut accepted = Vec::with_capacity(document.subids.len());
    for range in &document.subids {
        match rules.judge(&document.id, *range) {
            Ok(range) => accepted.push(range),
            Err(refusal) => {
                findings.refuse(refusal.about(subject("user", &document.name, &document.id)));
            }
        }
    }
    accepted.sort_unstable();
    accepted
}
