//! Certificates of ssh-keygen, good and bad.

use crate::certificate::{Certificate, Purpose};
use crate::tests::world::{NEW_YEAR, key, text};
use crate::{CertificateError, Expected, Identity, Keys, Limits, ServiceKey, UnixTime};

fn certified(line: &str, ca: &str, now: UnixTime) -> Result<Identity, CertificateError> {
    let authorities = Keys::of_lines(ca);
    let principals = ["deploy".to_owned()];
    let expected =
        Expected { principals: &principals, authorities: &authorities, limits: Some(Limits::BACKEND), now };
    key().certified(line, &expected)
}

#[test]
fn a_good_one_makes_an_identity() {
    let identity = certified(text!("user-cert-good.pub"), text!("user_ca.pub"), NEW_YEAR).unwrap();
    assert_eq!((identity.key_id(), identity.serial()), ("x", 1));
    assert_eq!(identity.principals(), ["deploy"]);
    assert_eq!((identity.left(NEW_YEAR), identity.life()), (140, 240));
    assert_eq!(identity.left(NEW_YEAR + 1000), 0);
    assert!(!format!("{identity:?}").contains("pair"), "no key in a log");
}

#[test]
fn authorities_of_each_kind() {
    for (line, ca) in [
        (text!("user-cert-ca_p256.pub"), text!("ca_p256.pub")),
        (text!("user-cert-ca_p384.pub"), text!("ca_p384.pub")),
        (text!("user-cert-ca_p521.pub"), text!("ca_p521.pub")),
        (text!("user-cert-ca_rsa.pub"), text!("ca_rsa.pub")),
    ] {
        let identity = certified(line, ca, NEW_YEAR).unwrap();
        assert_eq!(identity.serial(), 42);
        // A bit of the signature, which is at the end.
        let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let last = fields[1].trim_end_matches('=').len() - 2;
        let other = if &fields[1][last..=last] == "A" { "B" } else { "A" };
        fields[1].replace_range(last..=last, other);
        let error = certified(&fields.join(" "), ca, NEW_YEAR).unwrap_err();
        assert!(matches!(error, CertificateError::Signature | CertificateError::Malformed), "{error}");
        assert_eq!(certified(line, text!("user_ca.pub"), NEW_YEAR).unwrap_err(), CertificateError::Authority);
        assert_eq!(certified(line, "", NEW_YEAR).unwrap_err(), CertificateError::Authority);
    }
}

#[test]
fn what_is_wrong_is_said() {
    let error = |line: &str, now| certified(line, text!("user_ca.pub"), now).unwrap_err();
    let good = text!("user-cert-good.pub");
    let (after, before) = (1_735_689_600, 1_735_689_840);
    assert_eq!(error(good, after - 1), CertificateError::NotYet { after, now: after - 1 });
    assert_eq!(error(good, before), CertificateError::Expired { before, now: before });
    certified(good, text!("user_ca.pub"), after).unwrap();
    certified(good, text!("user_ca.pub"), before - 1).unwrap();
    assert_eq!(error(text!("user-cert-host-type.pub"), NEW_YEAR), CertificateError::Type("user"));
    assert_eq!(
        error(text!("user-cert-long.pub"), NEW_YEAR),
        CertificateError::TooLong { seconds: 86_401, most: 86_400 }
    );
    assert_eq!(error(text!("user-cert-no-principals.pub"), NEW_YEAR), CertificateError::NoPrincipals);
    assert_eq!(
        error(text!("user-cert-other-principal.pub"), NEW_YEAR),
        CertificateError::Principal("root".into())
    );
    assert_eq!(
        error(text!("user-cert-all-extensions.pub"), NEW_YEAR),
        CertificateError::Extension("permit-X11-forwarding".into())
    );
    assert_eq!(
        error(text!("user-cert-verify-required.pub"), NEW_YEAR),
        CertificateError::CriticalOption("verify-required".into())
    );
    for line in [text!("user.pub"), "", "nonsense", "ssh-ed25519-cert-v01@openssh.com AAAA"] {
        assert_eq!(error(line, NEW_YEAR), CertificateError::Malformed, "{line}");
    }
    certified(text!("user-cert-source-address.pub"), text!("user_ca.pub"), NEW_YEAR).unwrap();
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let authorities = Keys::of_lines(text!("user_ca.pub"));
    let principals = ["deploy".to_owned()];
    let expected = Expected {
        principals: &principals,
        authorities: &authorities,
        limits: Some(Limits::BACKEND),
        now: NEW_YEAR,
    };
    let other = ServiceKey::generate().unwrap();
    assert!(other.public_line().unwrap().starts_with("ssh-ed25519 AAAA"));
    let error = other.certified(text!("user-cert-good.pub"), &expected).unwrap_err();
    assert_eq!(error, CertificateError::Key);
}

#[test]
fn a_certificate_may_be_valid_for_ever() {
    let line = text!("host-cert-for-ever.pub");
    let certificate = Certificate::of_line(line).unwrap();
    assert!(line.starts_with(&format!("{} ", certificate.line())));
    assert_eq!((certificate.valid_after, certificate.valid_before), (0, u64::MAX));
    assert_eq!(certificate.principals, ["h1"]);
    let cas = Keys::of_lines(text!("host_ca.pub"));
    assert_eq!(certificate.check_host(&cas, NEW_YEAR), Ok(()));
    assert_eq!(certificate.check(Purpose::User, &cas, NEW_YEAR), Err(CertificateError::Type("user")));
    // Each bit of it counts.
    for at in 0..certificate.bytes().len() {
        let mut blob = certificate.bytes().to_vec();
        blob[at] ^= 1;
        let checked = Certificate::read(&blob).and_then(|read| read.check_host(&cas, NEW_YEAR));
        assert!(checked.is_err(), "{at}");
    }
}
