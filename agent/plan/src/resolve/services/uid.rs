//! Which uids may stand for somebody: whoever has one gets certificates, so that a uid that is nobody's in particular
//! (root's, a container's, one that systemd hands out) is never bound.

use hostward_protocol::document::SubidRange;

use crate::facts::LocalUser;
use crate::refusal::Refusal;
use crate::resolve::host::Host;
use crate::resolve::people::People;

/// System users of the package. What they run as is nobody's to stand for.
const OWN_USERS: [&str; 2] = ["hostward", "hostward-principals"];

/// Uids that no account has for its own. Those of containers are not among them: outside a user namespace they are as
/// good as any.
const RESERVED: &[(u64, u64, &str)] = &[
    (0, 0, "0 is root"),
    (61_184, 65_519, "61184 to 65519 belong to systemd's dynamic users, who change"),
    (65_534, 65_534, "65534 is nobody"),
    (65_535, 65_535, "65535 is what 16-bit programs read as -1"),
    (u32::MAX as u64, u64::MAX, "ids from 4294967295 on are none"),
];

/// Who bound a uid, and so who has to bind another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The signed policy.
    Policy,
    /// `[[step_ca.services]]` of the operator's configuration.
    Configuration,
}

impl Origin {
    fn refusal(self, code: &str, message: String, on_backend: &str) -> Refusal {
        match self {
            Origin::Policy => Refusal::backend(code, message, on_backend),
            Origin::Configuration => Refusal::operator(
                code,
                message,
                "name another account or uid in [[step_ca.services]] of /etc/hostward/hostward.toml",
            ),
        }
    }
}

/// What uids are held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uids<'a> {
    pub(super) host: &'a Host<'a>,
    /// None where no policy was accepted.
    pub(super) people: Option<&'a People<'a>>,
}

impl Uids<'_> {
    /// The uid, if it may stand for somebody.
    pub(super) fn check(self, uid: u64, origin: Origin) -> Result<u32, Refusal> {
        let reserved = |why: &str| {
            origin.refusal(
                "service-uid-reserved",
                format!("its uid is {uid}, and {why}"),
                "bind the uid of an account that only the service uses",
            )
        };
        if let Some((.., why)) = RESERVED.iter().find(|(first, last, _)| (*first..=*last).contains(&uid)) {
            return Err(reserved(why));
        }
        let Ok(number) = u32::try_from(uid) else {
            return Err(reserved("that is no id"));
        };
        let facts = self.host.facts;
        let is_own = |user: &LocalUser| user.uid == number && OWN_USERS.contains(&user.name.as_str());
        if facts.local_users.iter().any(is_own) {
            return Err(reserved("that is hostward's own"));
        }
        if let Some(range) = self.host.ids.subordinate_among(number, number) {
            let message = format!(
                "its uid {uid} is inside the subordinate ids {}-{} that /etc/subuid or /etc/subgid gives to somebody's containers",
                range.first, range.last
            );
            let mend =
                "bind another uid on the backend, or take the range out of /etc/subuid and /etc/subgid";
            return Err(Refusal::operator(
                "service-uid-subordinate",
                message,
                match origin {
                    Origin::Policy => mend,
                    Origin::Configuration => {
                        "name another uid in [[step_ca.services]], or take the range out of /etc/subuid and /etc/subgid"
                    }
                },
            ));
        }
        self.check_people(number, origin)?;
        Ok(number)
    }

    /// People have certificates of their own, and may become their subordinate ids in a container.
    fn check_people(self, uid: u32, origin: Origin) -> Result<(), Refusal> {
        let former = &self.host.facts.ledger.people;
        let of_policy = self.people.into_iter().flat_map(|p| &p.entries).flat_map(|(user, _)| &user.subids);
        let of_former = former.values().flat_map(|person| &person.subids);
        let number = u64::from(uid);
        let has_it = |range: &SubidRange| range.start <= number && number - range.start < range.count;
        if of_policy.chain(of_former).any(has_it) {
            return Err(origin.refusal(
                "service-uid-subordinate",
                format!(
                    "its uid {uid} is inside the subordinate ids of a user, who can become it in a container"
                ),
                "bind another uid on the backend",
            ));
        }
        let is_managed = self.people.is_some_and(|people| {
            people.admitted.binary_search_by_key(&uid, |person| person.uid.number()).is_ok()
        });
        if is_managed || former.contains_key(&uid) {
            return Err(origin.refusal(
                "service-uid-managed",
                format!(
                    "its uid {uid} belongs, or belonged, to a person whom the policy brought to this host; people have certificates of their own"
                ),
                "bind the uid of a local account on the backend",
            ));
        }
        Ok(())
    }
}
