//! Users: who is exposed on this host, and who is refused.

use std::collections::{HashMap, HashSet};

use hostward_protocol::document::{self, Entry, Settings, UserStatus};

use crate::account::Kind;
use crate::account::gecos::Gecos;
use crate::account::home::HomePath;
use crate::account::id::{Gid, Uid};
use crate::account::name::UserName;
use crate::account::principal::Principal;
use crate::account::shell::Shell;
use crate::refusal::{Findings, Refusal, malformed, subject};
use crate::resolve::grants::{GrantEntry, GrantState};
use crate::resolve::groups::Groups;
use crate::resolve::horizon::Horizon;
use crate::resolve::host::Host;
use crate::text::shown;

/// Somebody who may log in here.
#[derive(Debug)]
pub(crate) struct Person<'a> {
    pub(crate) document: &'a document::User,
    pub(crate) name: UserName<'a>,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) gecos: Gecos<'a>,
    pub(crate) home: HomePath,
    pub(crate) shell: Shell<'a>,
    pub(crate) principals: Vec<Principal<'a>>,
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
    by_id: HashMap<&'a str, u32>,
    /// Gids that somebody who has a grant has for a primary group.
    pub(crate) primary_gids: HashSet<u64>,
}

/// What users must not have in common.
struct Census<'a> {
    names: HashMap<&'a str, u32>,
    uids: HashMap<u64, u32>,
    ids: HashMap<&'a str, u32>,
    /// The first user who lists a principal, `None` where another one does too.
    principals: HashMap<&'a str, Option<u32>>,
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
        let (census, by_id) = take_census(&documents);
        let mut until = login_until(grants, groups, &by_id, documents.len());
        spread_over_duplicates(&mut until, &documents, &census, &by_id);
        let now = horizon.now();
        let mut primary_gids = HashSet::new();
        let mut judged = Vec::with_capacity(documents.len());
        for (document, until) in documents.into_iter().zip(until) {
            let outcome = match until {
                None => Err(Standing::NoGrant),
                Some(_) if document.status == UserStatus::Suspended => Err(Standing::Suspended),
                Some(_) if document.expires.is_some_and(|expires| expires <= now) => Err(Standing::Expired),
                Some(until) => {
                    horizon.note(document.expires);
                    primary_gids.insert(document.gid);
                    judge(document, until, settings, groups, &census, host, findings)
                        .map_err(Standing::Refused)
                }
            };
            judged.push((document, outcome));
        }
        refuse_shared_homes(&mut judged);
        let mut people =
            People { admitted: Vec::new(), entries: Vec::with_capacity(judged.len()), by_id, primary_gids };
        for (document, outcome) in judged {
            let standing = match outcome {
                Ok(person) => {
                    people.admitted.push(person);
                    Standing::Admitted(people.admitted.len() - 1)
                }
                Err(standing) => standing,
            };
            if let Standing::Refused(refusals) = &standing {
                let subject = subject("user", &document.name, &document.id);
                refusals.iter().for_each(|refusal| findings.refuse(refusal.about(subject.as_str())));
            }
            people.entries.push((document, standing));
        }
        people.sort();
        people.warn(host, findings);
        people
    }

    /// The position among the admitted of the user with this stable id.
    pub(crate) fn admitted_by_id(&self, id: &str) -> Option<usize> {
        match self.entries.get(*self.by_id.get(id)? as usize)? {
            (_, Standing::Admitted(position)) => Some(*position),
            _ => None,
        }
    }

    /// Whether the policy has a user with this stable id.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.admitted.len()).collect();
        order.sort_by_key(|n| self.admitted.get(*n).map(|person| person.uid));
        let mut position = vec![0; order.len()];
        for (new, old) in order.into_iter().enumerate() {
            if let Some(place) = position.get_mut(old) {
                *place = new;
            }
        }
        self.admitted.sort_by_key(|person| person.uid);
        for (_, standing) in &mut self.entries {
            if let Standing::Admitted(old) = standing {
                *old = position.get(*old).copied().unwrap_or_default();
            }
        }
    }

    fn warn(&self, host: &Host<'_>, findings: &mut Findings) {
        let ledger = &host.facts.ledger.people;
        let is_new = |person: &&Person<'_>| !ledger.contains_key(&person.uid.number());
        let new: HashMap<&str, &Person<'_>> =
            self.admitted.iter().filter(is_new).map(|person| (person.document.id.as_str(), person)).collect();
        for (uid, known) in ledger.iter().filter(|_| !new.is_empty()) {
            if let Some(person) = new.get(known.id.as_str()) {
                let message = format!(
                    "its uid was {uid} on this host and is {} now: files of the old uid are no longer theirs",
                    person.uid.number()
                );
                let mend = format!(
                    "give them the files, for one with `chown -R --from={uid} {} {}`",
                    person.name.as_str(),
                    person.home.as_str()
                );
                findings.warn(Refusal::operator("user-id-changed", message, mend).about(person.subject()));
            }
        }
        for person in &self.admitted {
            if let Some(known) = ledger.get(&person.uid.number())
                && known.home != person.home.as_str()
            {
                let message = format!(
                    "its home was `{}` on this host and is `{}` now; files stay where they are",
                    shown(&known.home),
                    person.home.as_str()
                );
                let mend = "move the old home to the new place, or set `home` on the backend";
                findings.warn(Refusal::operator("user-home-changed", message, mend).about(person.subject()));
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

impl Person<'_> {
    pub(crate) fn subject(&self) -> String {
        subject("user", &self.document.name, &self.document.id)
    }
}

fn take_census<'a>(documents: &[&'a document::User]) -> (Census<'a>, HashMap<&'a str, u32>) {
    let count = documents.len();
    let mut census = Census {
        names: HashMap::with_capacity(count),
        uids: HashMap::with_capacity(count),
        ids: HashMap::new(),
        principals: HashMap::with_capacity(count),
    };
    let mut by_id: HashMap<&str, u32> = HashMap::with_capacity(count);
    for (number, user) in (0u32..).zip(documents) {
        *census.names.entry(&user.name).or_default() += 1;
        *census.uids.entry(user.uid).or_default() += 1;
        if by_id.insert(&user.id, number).is_some() {
            *census.ids.entry(&user.id).or_default() += 1;
        }
        for principal in &user.principals {
            census
                .principals
                .entry(principal)
                .and_modify(|owner| {
                    if *owner != Some(number) {
                        *owner = None;
                    }
                })
                .or_insert(Some(number));
        }
    }
    (census, by_id)
}

/// Until when some grant gives each user login: `None` where none does, `Some(0)` for ever, else Unix seconds.
fn login_until(
    grants: &[GrantEntry<'_>],
    groups: &Groups<'_>,
    by_id: &HashMap<&str, u32>,
    count: usize,
) -> Vec<Option<u64>> {
    let mut of_group: HashMap<usize, u64> = HashMap::new();
    for entry in grants.iter().filter(|entry| entry.document.login) {
        if let GrantState::InForce(group) = entry.state {
            let until = entry.document.until.map(|until| u64::try_from(until.timestamp()).unwrap_or(1));
            let until = until.unwrap_or(0);
            of_group.entry(group).and_modify(|known| *known = later(*known, until)).or_insert(until);
        }
    }
    let mut of_user = vec![None; count];
    for (group, until) in of_group {
        let members = groups.entries.get(group).map(|group| &group.document.members);
        for member in members.into_iter().flatten() {
            if let Some(known) = by_id.get(member.as_str()).and_then(|n| of_user.get_mut(*n as usize)) {
                *known = Some(known.map_or(until, |known| later(known, until)));
            }
        }
    }
    of_user
}

/// Whichever of two entries with one id a grant was found for, it is for both: both are named as refused.
fn spread_over_duplicates(
    until: &mut [Option<u64>],
    documents: &[&document::User],
    census: &Census<'_>,
    by_id: &HashMap<&str, u32>,
) {
    for (number, user) in documents.iter().enumerate().filter(|_| !census.ids.is_empty()) {
        if census.ids.contains_key(user.id.as_str()) {
            let found = by_id.get(user.id.as_str()).and_then(|n| until.get(*n as usize)).copied().flatten();
            if let Some(place) = until.get_mut(number) {
                *place = found;
            }
        }
    }
}

/// The later of two moments, of which 0 is never.
fn later(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { 0 } else { a.max(b) }
}

/// The earlier of two moments, of which 0 is never.
pub(crate) fn earlier(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

fn judge<'a>(
    document: &'a document::User,
    until: u64,
    settings: &'a Settings,
    groups: &Groups<'_>,
    census: &Census<'_>,
    host: &Host<'_>,
    findings: &mut Findings,
) -> Result<Person<'a>, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let twice = [
        ("id", census.ids.contains_key(document.id.as_str())),
        ("name", census.names.get(document.name.as_str()).is_some_and(|n| *n > 1)),
        ("uid", census.uids.get(&document.uid).is_some_and(|n| *n > 1)),
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
        (Some(home), _) => HomePath::parse(home, &host.homes),
        (None, Ok(name)) => {
            HomePath::parse(&settings.default_home.replace("{name}", name.as_str()), &host.homes)
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
            principals: principals(document, census, findings),
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
    census: &Census<'_>,
    findings: &mut Findings,
) -> Vec<Principal<'a>> {
    let subject = || subject("user", &document.name, &document.id);
    let mut accepted = Vec::with_capacity(document.principals.len());
    for text in &document.principals {
        if census.principals.get(text.as_str()) == Some(&None) {
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

type Judged<'a> = (&'a document::User, Result<Person<'a>, Standing>);

/// Two people with one home would read each other's keys; neither gets it.
fn refuse_shared_homes(judged: &mut [Judged<'_>]) {
    let mut seen = HashSet::with_capacity(judged.len());
    let mut shared = HashSet::new();
    for person in judged.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()) {
        if !seen.insert(person.home.as_str()) {
            shared.insert(person.home.as_str().to_owned());
        }
    }
    for (_, outcome) in judged.iter_mut().filter(|_| !shared.is_empty()) {
        let is_shared = |person: &mut Person<'_>| shared.contains(person.home.as_str());
        if outcome.as_mut().is_ok_and(is_shared) {
            *outcome = Err(Standing::Refused(vec![Refusal::backend(
                "user-home-shared",
                "another user of the policy has the same home; neither is accepted",
                "give each user a home of their own on the backend",
            )]));
        }
    }
}
