//! What ssh is told for local accounts that stand for users: a file that ssh_config(5) includes, and the CAs of the
//! project's hosts.
//!
//! Every block begins with `Match localuser`: ssh judges criteria in order and runs nothing once one failed, so that it
//! costs everybody else nothing. Must only use keywords that ssh 8.4 to 10.0 know: an unknown one ends ssh with an error.

use std::collections::BTreeSet;

use hostward_protocol::service::{
    BoundService, KNOWN_HOSTS_FILE, SSH_AGENT_SOCKET, STEP_CA_KNOWN_HOSTS_FILE, ServiceIssuer,
};

use crate::desired::KrlSpec;
use crate::facts::LocalUser;
use crate::refusal::{Findings, Refusal};
use crate::text::shown;

const HEAD: &str = "# Managed by hostward: changes are undone.\n";
const HOSTWARD: &str = "/usr/bin/hostward";
/// Accounts are matched as patterns, and names with anything else would be some.
const PLAIN: &[u8] = b"_.-";

/// The blocks, `services` being ascending by uid. An account whose name ssh would read as something else gets none.
pub(crate) fn client_config(
    services: &[BoundService],
    local_users: &[LocalUser],
    findings: &mut Findings,
) -> String {
    let mut text = String::from(HEAD);
    for service in services {
        let names: BTreeSet<&str> = local_users
            .iter()
            .filter(|user| user.uid == service.uid)
            .map(|user| user.name.as_str())
            .collect();
        let (plain, odd): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| is_plain(name));
        for name in odd {
            findings.warn(odd_name(name).about(format!("local user `{}`", shown(name))));
        }
        if !plain.is_empty() {
            text.push_str(&block(&plain.join(","), service));
        }
    }
    text
}

fn is_plain(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || PLAIN.contains(&byte);
    name.bytes().all(fits) && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

fn odd_name(name: &str) -> Refusal {
    Refusal::operator(
        "service-account-name",
        format!(
            "ssh_config(5) would read the name `{}` as a pattern, so that plain ssh is not set up for this account",
            shown(name)
        ),
        "rename the account, or have it use `hostward ssh`",
    )
}

/// The host's name is quoted because older releases of ssh let any name through to the shell that runs these commands.
fn block(accounts: &str, service: &BoundService) -> String {
    // What the agent says of host CAs comes behind what root says: revocations are root's.
    let known_hosts = match service.issuer {
        ServiceIssuer::Backend => KNOWN_HOSTS_FILE.to_owned(),
        ServiceIssuer::StepCa { .. } => format!("{KNOWN_HOSTS_FILE} {STEP_CA_KNOWN_HOSTS_FILE}"),
    };
    let mut text = format!("Match localuser {accounts} exec \"{HOSTWARD} resolve -q -- '%h'\"\n");
    let command = format!("{HOSTWARD} proxycommand -- '%h' %p");
    for (keyword, value) in [
        ("User", service.user.as_str()),
        ("IdentityAgent", SSH_AGENT_SOCKET),
        ("IdentityFile", "none"),
        ("PubkeyAuthentication", "yes"),
        ("PreferredAuthentications", "publickey"),
        ("ProxyCommand", &command),
        ("UserKnownHostsFile", &known_hosts),
        ("GlobalKnownHostsFile", "/dev/null"),
        ("StrictHostKeyChecking", "yes"),
        ("VerifyHostKeyDNS", "no"),
        ("UpdateHostKeys", "no"),
        ("CheckHostIP", "no"),
        ("ForwardAgent", "no"),
        ("ForwardX11", "no"),
    ] {
        text.push_str(&format!("    {keyword} {value}\n"));
    }
    text
}

/// known_hosts(5): the project's host CAs, for hosts of any name, and what is revoked.
pub(crate) fn known_hosts(host_cas: &[String], revoked: &KrlSpec) -> String {
    let authorities = host_cas.iter().map(|line| format!("@cert-authority * {line}\n"));
    let revoked = revoked.keys.lines().map(|line| format!("@revoked * {line}\n"));
    std::iter::once(HEAD.to_owned()).chain(authorities).chain(revoked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, uid: u32) -> LocalUser {
        LocalUser { name: name.into(), uid, gid: uid, home: "/".into() }
    }

    #[test]
    fn accounts_of_one_uid_share_a_block_and_patterns_get_none() {
        let services = [112, 113].map(|uid| BoundService {
            uid,
            user: "deploy".into(),
            principals: Vec::new(),
            issuer: ServiceIssuer::Backend,
        });
        let local = [
            account("jenkins", 112),
            account("ci", 112),
            account("*", 112),
            account("!root", 113),
            account("a,b", 113),
            account("root", 0),
        ];
        let mut findings = Findings::default();
        let text = client_config(&services, &local, &mut findings);
        assert!(text.contains("Match localuser ci,jenkins exec "), "{text}");
        assert_eq!(text.matches("Match ").count(), 1, "{text}");
        assert_eq!(findings.warnings.len(), 3);
    }
}
