//! Bindings of the operator's configuration, `[[step_ca.services]]`. They hold with and without a policy.

use std::collections::BTreeMap;

use hostward_config::{Account, StepCaService};
use hostward_protocol::service::{BoundService, ServiceIssuer};

use super::uid::{Origin, Uids};
use crate::refusal::{Findings, Refusal};
use crate::text::shown;

/// Those in force, ascending by uid, each uid once.
pub(super) fn read(uids: Uids<'_>, findings: &mut Findings) -> Vec<BoundService> {
    let services = uids.host.config.step_ca.iter().flat_map(|step_ca| &step_ca.services);
    let mut bound: BTreeMap<u32, Vec<(&StepCaService, BoundService)>> = BTreeMap::new();
    for service in services {
        match judge(service, uids) {
            Ok(judged) => bound.entry(judged.uid).or_default().push((service, judged)),
            Err(refusal) => findings.refuse(about(service, &refusal)),
        }
    }
    let mut alone = Vec::with_capacity(bound.len());
    for (uid, mut of_uid) in bound {
        match of_uid.pop() {
            Some((_, service)) if of_uid.is_empty() => alone.push(service),
            last => {
                let all = of_uid.into_iter().chain(last);
                all.for_each(|(service, _)| findings.refuse(about(service, &twice(uid))));
            }
        }
    }
    alone
}

fn judge(service: &StepCaService, uids: Uids<'_>) -> Result<BoundService, Refusal> {
    let uid = match &service.account {
        Account::Uid(uid) => *uid,
        Account::Name(name) => {
            let local = uids.host.facts.local_users.iter().find(|user| user.name == *name);
            local.map(|user| user.uid).ok_or_else(|| unknown(name))?
        }
    };
    Ok(BoundService {
        uid: uids.check(uid.into(), Origin::Configuration)?,
        user: service.user.clone(),
        principals: service.principals.clone(),
        issuer: ServiceIssuer::StepCa { hosts: service.hosts.clone() },
    })
}

fn about(service: &StepCaService, refusal: &Refusal) -> hostward_protocol::report::Finding {
    refusal.about(format!("[[step_ca.services]], {}", shown(&service.account.to_string())))
}

fn unknown(name: &str) -> Refusal {
    Refusal::operator(
        "service-account-unknown",
        format!("/etc/passwd has no account `{}`", shown(name)),
        "correct the name in /etc/hostward/hostward.toml, or create the account and run `hostward apply`",
    )
}

fn twice(uid: u32) -> Refusal {
    Refusal::operator(
        "service-uid-duplicate",
        format!("more than one entry is for uid {uid}; none of them is accepted"),
        "leave one entry for each uid in /etc/hostward/hostward.toml",
    )
}
