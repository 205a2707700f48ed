//! What sshd is told: the drop-in, and the block in a main file that does not include the drop-in's directory.
//!
//! Everything but `HostCertificate` is inside `Match Group hostward-users`: the first value of a keyword wins in sshd_config(5), so a
//! global one would silently replace the operator's own CA, revocations and principals. Must never emit a
//! keyword that sshd 8.4 to 10.0 do not all accept inside `Match`.

use crate::desired::Desired;
use crate::facts::{HostKeyKind, ManagedFile, SshdFacts};

/// sshd's main configuration file.
pub const MAIN_PATH: &str = "/etc/ssh/sshd_config";

/// The group whose members the drop-in concerns.
pub const GROUP: &str = "hostward-users";

const BEGIN: &str = "# BEGIN hostward: managed users only; changes inside this block are undone, `hostward unenroll` removes it";
const INCLUDE: &str = "Include /etc/ssh/sshd_config.d/10-hostward.conf";
const END: &str = "# END hostward";

/// How managed users may authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By certificate only: their own `authorized_keys`, passwords and all other methods do not count.
    CertificateOnly,
    /// By certificate, and by whatever else the operator's configuration allows.
    CertificateToo,
}

/// Whether the operator's configuration restricts who may log in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// `AllowUsers` or `AllowGroups` is set globally and would lock managed users out.
    Restricted,
    /// Neither is set.
    Open,
}

impl Authentication {
    /// What the drop-in demands for this desired state.
    pub fn of(desired: &Desired) -> Self {
        if desired.settings.certificate_only || desired.locked {
            Authentication::CertificateOnly
        } else {
            Authentication::CertificateToo
        }
    }
}

impl Admission {
    /// What the operator's configuration of sshd makes necessary.
    pub fn of(sshd: &SshdFacts) -> Self {
        if sshd.restricts_logins { Admission::Restricted } else { Admission::Open }
    }
}

/// What the drop-in demands of sshd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demands {
    /// How managed users may authenticate.
    pub authentication: Authentication,
    /// Whether they have to be let in in spite of global restrictions.
    pub admission: Admission,
    /// The keys that sshd presents a certificate for, to everybody.
    pub host_certificates: Vec<HostKeyKind>,
}

impl Demands {
    /// For this desired state, where sshd is configured so.
    pub fn of(desired: &Desired, sshd: &SshdFacts) -> Self {
        Demands {
            authentication: Authentication::of(desired),
            admission: Admission::of(sshd),
            host_certificates: desired.host_certificates.keys().copied().collect(),
        }
    }
}

/// The drop-in, `/etc/ssh/sshd_config.d/10-hostward.conf`.
pub fn drop_in(demands: &Demands) -> String {
    let mut text = String::from("# Managed by hostward: changes are undone. ");
    text.push_str(match demands.host_certificates.as_slice() {
        [] => "It concerns members of hostward-users only.\n",
        _ => "But for this host's certificates it concerns members of hostward-users only.\n",
    });
    // Keywords may be given several times: one that the operator has counts too.
    for kind in &demands.host_certificates {
        text.push_str(&format!("HostCertificate {}\n", kind.certificate_path()));
    }
    text.push_str(&format!("Match Group {GROUP}\n"));
    for (keyword, value) in settings(demands) {
        text.push_str(&format!("    {keyword} {value}\n"));
    }
    text
}

/// Which settings of the drop-in `sshd -T -C user=…` does not show as in force, `output` being what it printed
/// for a managed user. Each as `keyword value`.
pub fn ineffective(output: &str, demands: &Demands) -> Vec<String> {
    let in_force = |keyword: &str, value: &str| {
        let wanted = format!("{} {value}", keyword.to_ascii_lowercase());
        output.lines().any(|line| line.trim_end() == wanted)
    };
    let is_shown = |keyword: &str| {
        let keyword = keyword.to_ascii_lowercase();
        output.lines().any(|line| line.split(' ').next() == Some(&keyword))
    };
    let certificates =
        demands.host_certificates.iter().map(|kind| ("HostCertificate", kind.certificate_path()));
    certificates
        .chain(settings(demands))
        .filter(|(keyword, value)| {
            // Built without GSSAPI or Kerberos, sshd ignores their keywords and prints nothing of them.
            let counts = is_vital(keyword) || is_shown(keyword);
            counts && !in_force(keyword, value)
        })
        .map(|(keyword, value)| format!("{keyword} {value}"))
        .collect()
}

fn is_vital(keyword: &str) -> bool {
    !keyword.starts_with("GSSAPI") && !keyword.starts_with("Kerberos")
}

fn settings(demands: &Demands) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![
        ("TrustedUserCAKeys", ManagedFile::UserCa.path()),
        ("RevokedKeys", ManagedFile::Krl.path()),
        ("AuthorizedPrincipalsCommand", "/usr/lib/hostward/hostward-principals %u"),
        ("AuthorizedPrincipalsCommandUser", "hostward-principals"),
        // A principals file counts besides the command: the operator's is for the operator's users.
        ("AuthorizedPrincipalsFile", "none"),
        ("PubkeyAuthentication", "yes"),
    ];
    if demands.admission == Admission::Restricted {
        // Inside a Match block these replace the global lists, for the users matched only. Denials stay.
        settings.push(("AllowUsers", "*"));
        settings.push(("AllowGroups", GROUP));
    }
    if demands.authentication == Authentication::CertificateOnly {
        settings.extend([
            ("AuthenticationMethods", "publickey"),
            ("AuthorizedKeysFile", "none"),
            ("AuthorizedKeysCommand", "none"),
            ("AuthorizedKeysCommandUser", "none"),
            ("PasswordAuthentication", "no"),
            ("KbdInteractiveAuthentication", "no"),
            ("HostbasedAuthentication", "no"),
            ("GSSAPIAuthentication", "no"),
            ("KerberosAuthentication", "no"),
        ]);
    }
    settings
}

/// Whether the main file holds the drop-in's block, or what is left of one.
pub fn has_block(main: &str) -> bool {
    main.lines().any(|line| line == INCLUDE || line.starts_with("# BEGIN hostward") || line == END)
}

/// The main file with one whole block, at its start: there it is before any `Match`, and taking it out leaves the
/// file byte for byte as it was.
pub fn with_block(main: &str) -> String {
    format!("{BEGIN}\n{INCLUDE}\n{END}\n{}", without_block(main))
}

/// The main file without the block, and without what is left of one that was edited by hand.
pub fn without_block(main: &str) -> String {
    let mut rest = String::with_capacity(main.len());
    let mut lines = main.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let bare = line.trim_end_matches(['\n', '\r']);
        if bare.starts_with("# BEGIN hostward") {
            if ends(lines.clone()) {
                for inside in lines.by_ref() {
                    if inside.trim_end_matches(['\n', '\r']) == END {
                        break;
                    }
                }
            }
        } else if bare != END && bare.trim() != INCLUDE {
            rest.push_str(line);
        }
    }
    rest
}

/// Whether the block that begins before these lines ends before another one begins. Where it does not, only our
/// own lines are ours to remove.
fn ends<'a>(mut lines: impl Iterator<Item = &'a str>) -> bool {
    lines
        .find_map(|line| {
            let bare = line.trim_end_matches(['\n', '\r']);
            if bare == END { Some(true) } else { bare.starts_with("# BEGIN hostward").then_some(false) }
        })
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "Port 22\r\nMatch User git\n  X11Forwarding no";

    #[test]
    fn a_block_goes_in_once_and_comes_out_without_a_trace() {
        let with = with_block(MAIN);
        assert!(with.starts_with(BEGIN) && with.ends_with(MAIN) && has_block(&with));
        assert_eq!(with_block(&with), with);
        assert_eq!(without_block(&with), MAIN);
        assert_eq!(without_block(MAIN), MAIN);
        assert!(!has_block(MAIN));
    }

    #[test]
    fn what_is_left_of_a_block_is_repaired_and_nothing_else_lost() {
        for damaged in [
            format!("{BEGIN}\n{INCLUDE}\n{MAIN}"),
            format!("{INCLUDE}\n{END}\n{MAIN}"),
            format!("{BEGIN}\n{MAIN}"),
            format!("{BEGIN}\nPermitRootLogin yes\n{END}\n{MAIN}"),
            format!("{BEGIN}\n{INCLUDE}\n{BEGIN}\n{INCLUDE}\n{END}\n{MAIN}"),
            format!("  {INCLUDE}\r\n{MAIN}"),
        ] {
            assert_eq!(with_block(&damaged), with_block(MAIN), "{damaged}");
        }
    }

    #[test]
    fn what_sshd_does_not_do_is_named() {
        let demands = Demands {
            authentication: Authentication::CertificateOnly,
            admission: Admission::Restricted,
            host_certificates: vec![HostKeyKind::Ed25519],
        };
        let certificate = "hostcertificate /var/lib/hostward/ssh/host-ed25519-cert.pub\n";
        let output: String = settings(&demands)
            .iter()
            .map(|(keyword, value)| format!("{} {value}\n", keyword.to_ascii_lowercase()))
            .chain([certificate.to_owned()])
            .collect();
        assert_eq!(ineffective(&output, &demands), Vec::<String>::new());
        let without_gssapi = output.replace("gssapiauthentication no\n", "");
        assert_eq!(ineffective(&without_gssapi, &demands), Vec::<String>::new());
        let other = output.replace("authorizedkeysfile none", "authorizedkeysfile .ssh/authorized_keys");
        assert_eq!(ineffective(&other, &demands), ["AuthorizedKeysFile none"]);
        let without = output.replace(certificate, "");
        assert_eq!(
            ineffective(&without, &demands),
            ["HostCertificate /var/lib/hostward/ssh/host-ed25519-cert.pub"]
        );
        assert!(ineffective("", &demands).len() > 10);
    }
}
