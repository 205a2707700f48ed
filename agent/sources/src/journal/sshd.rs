//! What sshd says of logins that it refuses.
//!
//! Names in its messages are the remote party's to choose. They are read from the end, where sshd puts address and port.

use std::net::IpAddr;

use hostward_events::{Authentication, DenialReason, Remote};

/// What a message says of the connection that its process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Somebody called this is not known here.
    NoSuchUser(String, Remote),
    /// sshd's configuration does not let them in.
    NotAllowed(String, Option<Remote>),
    /// Why a key or certificate did not count, and which, where it says.
    Why(DenialReason, Option<Authentication>),
    /// A try was refused.
    Failed {
        /// Whom they wanted to be.
        user: String,
        /// Where from.
        remote: Remote,
        /// With what.
        authentication: Authentication,
    },
    /// PAM did not let them in, after sshd had. The connection is over.
    AccountRefused(String),
    /// They are in.
    Accepted,
    /// The connection is over before anybody was let in; `user` is whom they wanted to be, if they got that far.
    Over {
        /// See above.
        user: Option<String>,
        /// Where from.
        remote: Option<Remote>,
    },
}

/// What a message says, if it says anything of a login.
pub fn read(message: &str) -> Option<Said> {
    let text = message.strip_suffix(" [preauth]").unwrap_or(message);
    let is_preauth = text.len() < message.len();
    if let Some(why) = why(text) {
        return Some(why);
    }
    if let Some(rest) = text.strip_prefix("Invalid user ") {
        let (user, place) = rest.rsplit_once("from ")?;
        return Some(Said::NoSuchUser(user.trim_end().to_owned(), remote(place)?));
    }
    if let Some(rest) = text.strip_prefix("User ") {
        let (who, _) = rest.rsplit_once(" not allowed because ")?;
        let (user, host) = who.rsplit_once(" from ")?;
        return Some(Said::NotAllowed(user.to_owned(), Some(Remote { host: host.to_owned(), port: None })));
    }
    if let Some(rest) = text.strip_prefix("Failed ") {
        return failed(rest);
    }
    if text.starts_with("Accepted ") {
        return Some(Said::Accepted);
    }
    if let Some(rest) = text.strip_prefix("fatal: Access denied for user ") {
        return Some(Said::AccountRefused(rest.strip_suffix(" by PAM account configuration")?.to_owned()));
    }
    if let Some(rest) = text.strip_prefix("error: maximum authentication attempts exceeded for ") {
        let (who, place) = rest.strip_suffix(" ssh2")?.rsplit_once(" from ")?;
        return Some(Said::Over { user: Some(user(who)), remote: remote(place) });
    }
    if text.contains("Timeout before authentication for ") {
        return Some(Said::Over { user: None, remote: None });
    }
    over(text).filter(|_| is_preauth)
}

/// What sshd says when a key or certificate does not count.
fn why(text: &str) -> Option<Said> {
    use DenialReason::{
        CertificateExpired, CertificateNotYetValid, Revoked, SourceAddress, UnusableCertificate,
        WrongPrincipal,
    };
    if text.starts_with("cert: Authentication tried for ")
        && text.contains(" not from a permitted source address")
    {
        return Some(Said::Why(SourceAddress, None));
    }
    let error = text.strip_prefix("error: ")?;
    if let Some(rest) = error.strip_prefix("Authentication key ") {
        let (_, key) = rest.split_once(" revoked by file ")?.0.split_once(' ')?;
        let key =
            Authentication { method: "publickey".into(), key: Some(key.into()), ..Authentication::default() };
        return Some(Said::Why(Revoked, Some(key)));
    }
    let reason = match error {
        "Certificate invalid: expired" => CertificateExpired,
        "Certificate invalid: not yet valid" => CertificateNotYetValid,
        "Certificate does not contain an authorized principal"
        | "Certificate invalid: name is not a listed principal"
        | "Certificate lacks principal list" => WrongPrincipal,
        "Refused by certificate options" => UnusableCertificate,
        other if other.starts_with("Certificate invalid: ") => UnusableCertificate,
        other if other.starts_with("Refused by certificate options") => UnusableCertificate,
        _ => return None,
    };
    Some(Said::Why(reason, None))
}

/// `password for invalid user U from A port P ssh2`, with `publickey` and what key behind it.
fn failed(rest: &str) -> Option<Said> {
    let (method, rest) = rest.split_once(" for ")?;
    let (head, key) = match rest.rsplit_once(" ssh2: ") {
        Some((head, key)) => (head, Some(key)),
        None => (rest.strip_suffix(" ssh2")?, None),
    };
    if method == "none" {
        return None;
    }
    let (who, place) = head.rsplit_once(" from ")?;
    let mut authentication = Authentication { method: method.to_owned(), ..Authentication::default() };
    if let Some(key) = key {
        described(key, &mut authentication);
    }
    Some(Said::Failed { user: user(who), remote: remote(place)?, authentication })
}

/// `ED25519-CERT SHA256:K ID ALICE (serial 7) CA ED25519 SHA256:C`, or without a certificate.
fn described(text: &str, into: &mut Authentication) {
    let mut words = text.splitn(3, ' ');
    let (_, key, rest) = (words.next(), words.next(), words.next());
    into.key = key.map(Into::into);
    let Some((id, ca)) =
        rest.and_then(|rest| rest.strip_prefix("ID ")).and_then(|rest| rest.rsplit_once(" CA "))
    else {
        return;
    };
    into.ca = ca.split_once(' ').map(|(_, ca)| ca.to_owned());
    if let Some((id, serial)) = id.rsplit_once(" (serial ") {
        into.key_id = Some(id.to_owned());
        into.serial = serial.strip_suffix(')').and_then(|serial| serial.parse().ok());
    }
}

/// `Connection closed by authenticating user U A port P` and its like.
fn over(text: &str) -> Option<Said> {
    let starts = [
        "Connection closed by ",
        "Connection reset by ",
        "Disconnected from ",
        "Disconnecting ",
        "ssh_dispatch_run_fatal: Connection from ",
    ];
    let rest = starts.iter().find_map(|start| text.strip_prefix(start))?;
    // `Disconnecting` says why at the end.
    let rest = rest.strip_suffix(": Too many authentication failures").unwrap_or(rest);
    let named = ["authenticating user ", "invalid user "].iter().find_map(|kind| rest.strip_prefix(kind));
    match named {
        None => Some(Said::Over { user: None, remote: remote(rest) }),
        Some(rest) => {
            let (head, port) = rest.rsplit_once(" port ")?;
            let (user, host) = head.rsplit_once(' ').unwrap_or(("", head));
            let remote = remote(&format!("{host} port {port}"));
            // Without an address at the end it ends in a reason that may hold a name.
            let user = remote.as_ref().map(|_| user.to_owned());
            Some(Said::Over { user, remote })
        }
    }
}

fn user(who: &str) -> String {
    who.strip_prefix("invalid user ").unwrap_or(who).to_owned()
}

/// `A port P`.
fn remote(place: &str) -> Option<Remote> {
    let (host, port) = place.trim().split_once(" port ")?;
    let bare = host.split('%').next().unwrap_or_default();
    bare.parse::<IpAddr>().ok()?;
    Some(Remote { host: bare.to_owned(), port: Some(port.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Remote {
        Remote { host: host.into(), port: Some(port) }
    }

    #[test]
    fn names_are_the_other_sides_to_choose() {
        let said = read("Invalid user x from 1.2.3.4 port 5 from 10.66.1.19 port 42383");
        assert_eq!(said, Some(Said::NoSuchUser("x from 1.2.3.4 port 5".into(), at("10.66.1.19", 42383))));
        let said =
            read("Connection closed by invalid user x from 1.2.3.4 port 5 10.66.1.19 port 42383 [preauth]");
        let user = Some("x from 1.2.3.4 port 5".to_owned());
        assert_eq!(said, Some(Said::Over { user, remote: Some(at("10.66.1.19", 42383)) }));
        assert_eq!(
            read("Invalid user  from 10.0.0.1 port 5"),
            Some(Said::NoSuchUser(String::new(), at("10.0.0.1", 5)))
        );
        let named = "Failed password for invalid user a for b from 1.2.3.4 port 5 ssh2 from ::1 port 9 ssh2";
        let Some(Said::Failed { user, remote, .. }) = read(named) else { panic!("{named}") };
        assert_eq!((user.as_str(), remote), ("a for b from 1.2.3.4 port 5 ssh2", at("::1", 9)));
    }

    #[test]
    fn a_certificate_is_described() {
        let line = "Failed publickey for alice from 10.0.0.1 port 9 ssh2: ED25519-CERT SHA256:k ID a (serial 1) CA x (serial 7) CA ED25519 SHA256:c";
        let Some(Said::Failed { authentication, .. }) = read(line) else { panic!("{line}") };
        let expected = Authentication {
            method: "publickey".into(),
            key: Some("SHA256:k".into()),
            key_id: Some("a (serial 1) CA x".into()),
            serial: Some(7),
            ca: Some("SHA256:c".into()),
        };
        assert_eq!(authentication, expected);
    }

    #[test]
    fn what_is_of_no_login_says_nothing() {
        for line in [
            "",
            "Server listening on 0.0.0.0 port 22.",
            "Received disconnect from 10.66.1.2 port 58741:11: disconnected by user",
            "Disconnected from user alice 10.66.1.2 port 58741",
            "pam_unix(sshd:session): session opened for user alice(uid=70001) by alice(uid=0)",
            "error: AuthorizedKeysCommandUser \"none\" not found: Success",
            "Connection closed by 10.66.0.1 port 45300",
            "User ",
            "Failed ",
            "Failed none for alice from 10.0.0.1 port 9 ssh2",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
