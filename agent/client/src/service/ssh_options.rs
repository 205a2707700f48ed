//! Options of ssh(1) with which a service user goes to a host: its certificate and no other key, the project's host CA and
//! no other trust, nothing forwarded that was not asked for. Each is known to OpenSSH 8.4 and later.

use std::path::Path;

use hostward_protocol::service::{
    BoundService, BoundServices, KNOWN_HOSTS_FILE, SERVICES_FILE, STEP_CA_KNOWN_HOSTS_FILE, ServiceIssuer,
};
use nix::unistd::geteuid;

use super::agent;
use crate::state;

/// What holds for every host.
fn everywhere() -> Vec<(&'static str, String)> {
    let value = |text: &str| text.to_owned();
    vec![
        ("IdentityAgent", quoted(&agent::socket().display().to_string())),
        ("IdentitiesOnly", value("no")),
        ("IdentityFile", value("none")),
        ("PubkeyAuthentication", value("yes")),
        ("PreferredAuthentications", value("publickey")),
        ("UserKnownHostsFile", known_hosts()),
        ("GlobalKnownHostsFile", value("/dev/null")),
        ("StrictHostKeyChecking", value("yes")),
        ("CheckHostIP", value("no")),
        ("UpdateHostKeys", value("no")),
        ("ForwardAgent", value("no")),
        ("ForwardX11", value("no")),
    ]
}

/// Who says which hosts are believed. Whether that is the agent too, as it is for an account of the step-ca, is not the
/// agent's to say.
fn known_hosts() -> String {
    let bound = state::read::<BoundServices>(Path::new(SERVICES_FILE)).ok().flatten();
    let own = geteuid().as_raw();
    let service = bound.and_then(|bound| bound.services.into_iter().find(|service| service.uid == own));
    known_hosts_of(service.as_ref())
}

fn known_hosts_of(service: Option<&BoundService>) -> String {
    match service.map(|service| &service.issuer) {
        Some(ServiceIssuer::StepCa { .. }) => format!("{KNOWN_HOSTS_FILE} {STEP_CA_KNOWN_HOSTS_FILE}"),
        Some(ServiceIssuer::Backend) | None => KNOWN_HOSTS_FILE.into(),
    }
}

/// Where an ssh goes.
#[derive(Debug)]
pub struct Destination<'a> {
    /// The host's id, by which the way is found.
    pub id: &'a str,
    /// The name that its certificate must be for.
    pub called: &'a str,
}

/// Arguments of an ssh that goes to a host, in which this program finds the way.
pub fn arguments(user: &str, destination: &Destination<'_>, program: &Path) -> Vec<String> {
    let own = [
        ("User", user.to_owned()),
        ("HostKeyAlias", destination.called.to_owned()),
        ("ProxyCommand", proxy_command(program, destination.id)),
    ];
    let all = everywhere().into_iter().chain(own);
    all.flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]).collect()
}

/// Lines of a block in ssh_config(5).
pub fn lines(user: &str, program: &Path) -> Vec<String> {
    let own = [
        ("User", user.to_owned()),
        ("ProxyCommand", format!("{} proxycommand -- '%h' %p", for_shell(program))),
    ];
    own.into_iter().chain(everywhere()).map(|(name, value)| format!("{name} {value}")).collect()
}

/// ssh has a shell exec it, after it has replaced what begins with `%`.
fn proxy_command(program: &Path, id: &str) -> String {
    format!("{} proxycommand -- {}", for_shell(program), for_shell(Path::new(id)))
}

/// One word of a shell's, as ssh passes it on.
pub fn for_shell(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@+,%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A value that may contain blanks.
fn quoted(value: &str) -> String {
    if value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_sees_is_one_word() {
        let word = |text: &str| for_shell(Path::new(text));
        assert_eq!(word("/usr/bin/hostward"), "/usr/bin/hostward");
        assert_eq!(word("a b"), "'a b'");
        assert_eq!(word("a'$(x)"), "'a'\\''$(x)'");
        assert_eq!(word("50%h"), "50%%h");
        assert_eq!(word(""), "''");
    }

    #[test]
    fn only_accounts_of_a_step_ca_believe_what_the_agent_says_of_hosts() {
        let bound = |issuer| BoundService { uid: 112, user: "deploy".into(), principals: Vec::new(), issuer };
        assert_eq!(known_hosts_of(None), KNOWN_HOSTS_FILE);
        assert_eq!(known_hosts_of(Some(&bound(ServiceIssuer::Backend))), KNOWN_HOSTS_FILE);
        let of_step_ca = known_hosts_of(Some(&bound(ServiceIssuer::StepCa { hosts: Vec::new() })));
        assert_eq!(of_step_ca, "/var/lib/hostward/ssh/known_hosts /var/lib/hostward-step-ca/known_hosts");
    }

    #[test]
    fn every_option_is_one_that_ssh_knows() {
        let destination = Destination { id: "h1", called: "web1" };
        let arguments = arguments("deploy", &destination, Path::new("/usr/bin/hostward"));
        let output = std::process::Command::new("ssh")
            .args(["-F", "none", "-G"])
            .args(&arguments)
            .args(["--", "web1"])
            .output()
            .expect("no ssh");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in [
            "user deploy",
            "hostkeyalias web1",
            "stricthostkeychecking true",
            "forwardagent no",
            "proxycommand /usr/bin/hostward proxycommand -- h1",
            "preferredauthentications publickey",
            "userknownhostsfile /var/lib/hostward/ssh/known_hosts",
        ] {
            assert!(text.lines().any(|found| found.eq_ignore_ascii_case(line)), "{line}\n{text}");
        }
    }
}
