//! From the policy to what it means on this host.
//!
//! Whatever is refused is refused on its own; the rest takes effect. The outcome does not depend on the order of
//! documents and entries.

mod accounts;
mod denied;
mod duplicates;
mod granted;
mod grants;
mod groups;
mod horizon;
mod host;
mod membership;
mod people;
mod services;
mod subids;
mod sudo;

pub(crate) use grants::{GrantEntry, GrantState};
pub(crate) use groups::Groups;
pub(crate) use horizon::Horizon;
pub(crate) use membership::earlier;
pub(crate) use people::{People, Standing};
pub(crate) use sudo::Sudo;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use hostward_config::Config;
use hostward_protocol::report::Staleness;

use crate::desired::{Desired, KrlSpec};
use crate::facts::Facts;
use crate::host_certificate;
use crate::policy::Policy;
use crate::refusal::{Findings, Refusal};
use crate::trust;
use accounts::LocalGids;
use host::Host;
use services::Bindings;

/// What the operator's configuration alone means on this host, which has no policy: the local accounts that a step-ca
/// gives certificates.
pub(crate) fn without_policy(config: &Config, facts: &Facts) -> Desired {
    let mut findings = Findings::default();
    let bindings = Bindings::without_policy(config, facts, &mut findings);
    let services = bindings.told(facts, (&[], &KrlSpec::default()), &mut findings);
    let (refusals, warnings) = findings.into_sorted();
    Desired { services, refusals, warnings, ..Desired::default() }
}

/// The policy, judged: every entry with what it is here and now.
#[derive(Debug)]
pub(crate) struct Resolution<'a> {
    policy: &'a Policy,
    host: Host<'a>,
    horizon: Horizon,
    staleness: Staleness,
    pub(crate) groups: Groups<'a>,
    pub(crate) grants: Vec<GrantEntry<'a>>,
    pub(crate) people: People<'a>,
    /// Positions in [`People::admitted`] of each group's members, by the group's index.
    members: Vec<Vec<u32>>,
    pub(crate) sudo: Sudo<'a>,
    services: Bindings,
    findings: Findings,
}

impl<'a> Resolution<'a> {
    pub(crate) fn new(policy: &'a Policy, config: &'a Config, facts: &'a Facts, now: DateTime<Utc>) -> Self {
        let mut findings = Findings::default();
        let mut horizon = Horizon::new(now);
        let offline = &config.policy;
        let staleness = horizon.staleness(policy.expires, offline.max_offline, offline.on_stale);
        let host = Host::new(config, facts);
        let groups = Groups::read(&policy.groups, &host, &mut findings);
        let grants = grants::read(&policy.grants, &groups, &host.labels, &mut horizon, &mut findings);
        let people = People::read(
            &policy.users,
            &policy.project.settings,
            &groups,
            &grants,
            &host,
            &mut horizon,
            &mut findings,
        );
        let members = accounts::members(&groups, &people);
        accounts::report_groups(&groups, &people, &members, &mut findings);
        let uids = |group: usize| {
            let positions = members.get(group).into_iter().flatten();
            positions
                .filter_map(|p| people.admitted.get(*p as usize))
                .map(|person| person.uid.number())
                .collect()
        };
        let sudo = Sudo::read(&policy.entitlements, &grants, &groups, uids, &host, &mut findings);
        let services = Bindings::read(&policy.services, &people, &host, &mut horizon, &mut findings);
        Resolution {
            policy,
            host,
            horizon,
            staleness,
            groups,
            grants,
            people,
            members,
            sudo,
            services,
            findings,
        }
    }

    /// Longer than `max_offline` ago, and the operator chose `lock`.
    pub(crate) fn is_locked(&self) -> bool {
        self.staleness == Staleness::OfflineLocked
    }

    pub(crate) fn into_desired(mut self) -> Desired {
        let locked = self.is_locked();
        let local_gids = self.local_gids();
        let accounts = accounts::build(&self.groups, &self.people, &self.members, &local_gids, locked);
        let sudoers = self.sudoers();
        let ssh = &self.policy.ssh;
        let user_ca = trust::user_cas(ssh, &mut self.findings);
        let krl = trust::krl(&ssh.revoked, &mut self.findings);
        let host_cas = trust::host_cas(ssh, &krl, &mut self.findings);
        let facts = self.host.facts;
        let mut services = std::mem::take(&mut self.services);
        if locked {
            services.end_those_of_policy();
        }
        let services = services.told(facts, (&host_cas, &krl), &mut self.findings);
        let host_certificates =
            host_certificate::choose(facts, &host_cas, &mut self.horizon, &mut self.findings);
        let manages_sshd = self.host.config.sshd.manage && self.host.facts.sshd.is_some();
        let ids = self
            .people
            .admitted
            .iter()
            .map(|person| (person.uid.number(), person.document.id.clone()))
            .collect();
        let denied = denied::denied(&self.people, &self.grants, facts, locked);
        let grants = granted::granted(&self.grants, &self.groups, &self.people, &self.members);
        let (refusals, warnings) = self.findings.into_sorted();
        Desired {
            accounts,
            ids,
            denied,
            grants,
            sudoers,
            user_ca: user_ca.filter(|_| manages_sshd || services.is_some()),
            services,
            host_certificates,
            krl,
            settings: self.policy.project.settings.clone(),
            staleness: Some(self.staleness),
            locked,
            withheld: withheld(&self.people),
            next_change: self.horizon.next(),
            refusals,
            warnings,
        }
    }

    fn sudoers(&mut self) -> Option<String> {
        let text = self.sudo.render(self.host.facts.sudo_logs_exit);
        if text.is_some() && self.host.config.sudo.manage && self.host.facts.sudo.is_empty() {
            let warning = Refusal::operator(
                "sudo-not-installed",
                "grants give sudo rules on this host, and no sudo is installed",
                "install `sudo`, or set `manage = false` under [sudo] in /etc/hostward/hostward.toml",
            );
            self.findings.warn(warning.about("sudo"));
        }
        let wanted = self.host.config.sudo.manage && !self.host.facts.sudo.is_empty() && !self.is_locked();
        text.filter(|_| wanted)
    }

    /// `hostward-users` for all, and the local groups that grants and the operator allow.
    fn local_gids(&mut self) -> LocalGids {
        let of_all = self.host.facts.hostward_users;
        if of_all.is_none() {
            self.findings.warn(
                Refusal::operator(
                    "hostward-users-missing",
                    "the local group `hostward-users` does not exist: sshd does not know whom hostward's settings concern, and certificates let nobody in",
                    "run `systemd-sysusers`, or install the package again",
                )
                .about("group `hostward-users`"),
            );
        }
        if let unserved @ [_, ..] = self.host.facts.unserved_databases.as_slice() {
            let message = format!(
                "/etc/nsswitch.conf does not name `hostward` on the line of {}: programs do not see the managed users, and nobody of them can log in",
                unserved.join(", ")
            );
            let mend = "put `hostward` after `files` on these lines (`dpkg-reconfigure hostward` does it)";
            self.findings.warn(
                Refusal::operator("nsswitch-lacks-hostward", message, mend).about("/etc/nsswitch.conf"),
            );
        }
        let mut of_group: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
        for entry in &self.grants {
            let GrantState::InForce(group) = entry.state else { continue };
            for name in &entry.document.local_groups {
                match accounts::local_group(name, &self.host) {
                    Ok(gid) => {
                        of_group.entry(group).or_default().insert(gid);
                    }
                    Err(refusal) => self.findings.refuse(grants::about(entry.document, &refusal)),
                }
            }
        }
        let mut of_some: HashMap<u32, BTreeSet<u32>> = HashMap::new();
        for (group, gids) in of_group.into_iter().filter(|_| !self.is_locked()) {
            for member in self.members.get(group).into_iter().flatten() {
                of_some.entry(*member).or_default().extend(&gids);
            }
        }
        LocalGids { of_all, of_some }
    }
}

fn withheld(people: &People<'_>) -> BTreeSet<String> {
    let refused = |standing: &Standing| matches!(standing, Standing::Refused(_));
    people.entries.iter().filter(|(_, standing)| refused(standing)).map(|(user, _)| user.id.clone()).collect()
}
