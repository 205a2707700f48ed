//! `session-bind@openssh.com`, as a real ssh sent it for hosts with keys of three kinds.

use crate::tests::world::{bind, bytes, host_cas, now};
use crate::{BindError, CertificateError, Keys, Session};

const KINDS: [&[u8]; 3] = [
    bytes!("session-bind-ed25519-host-bound"),
    bytes!("session-bind-ecdsa-host-bound"),
    bytes!("session-bind-rsa-host-bound"),
];

/// When the certificates of the recording's hosts end.
const NEW_YEAR_2040: crate::UnixTime = 2_208_988_800;

#[test]
fn a_session_with_a_certified_host_is_bound_once() {
    for message in KINDS {
        let mut session = Session::default();
        assert_eq!(session.bind(&bind(message), &host_cas(), now()), Ok(()));
        assert_eq!(session.bind(&bind(message), &host_cas(), now()), Ok(()), "said twice");
        assert_eq!(session.refused(), None);
        let other = bind(bytes!("session-bind-ed25519-unbound"));
        assert_eq!(session.bind(&other, &host_cas(), now()), Err(BindError::Another));
        assert_eq!(session.bind(&bind(message), &host_cas(), now()), Err(BindError::Another), "for good");
    }
}

#[test]
fn a_forwarded_connection_is_refused_for_good() {
    let mut forwarded = bind(KINDS[0]);
    forwarded.is_forwarding = true;
    let mut session = Session::default();
    assert_eq!(session.bind(&forwarded, &host_cas(), now()), Err(BindError::Forwarded));
    assert_eq!(session.bind(&bind(KINDS[0]), &host_cas(), now()), Err(BindError::Forwarded));
    // After the login of whoever forwards, too.
    let mut session = Session::default();
    session.bind(&bind(KINDS[0]), &host_cas(), now()).unwrap();
    assert_eq!(session.bind(&forwarded, &host_cas(), now()), Err(BindError::Forwarded));
}

#[test]
fn a_host_must_be_certified_and_have_signed_this_session() {
    for message in KINDS {
        let refused = |change: &dyn Fn(&mut crate::SessionBind<'_>), cas: &Keys, now| {
            let mut bind = bind(message);
            change(&mut bind);
            let mut session = Session::default();
            let error = session.bind(&bind, cas, now).unwrap_err();
            assert_eq!(session.refused(), Some(&error));
            error
        };
        let nothing = |_: &mut crate::SessionBind<'_>| {};
        let authority = BindError::HostKey(CertificateError::Authority);
        assert_eq!(refused(&nothing, &Keys::default(), now()), authority);
        let user_ca = Keys::of_lines(crate::tests::world::text!("user_ca.pub"));
        assert_eq!(refused(&nothing, &user_ca, now()), authority);
        let over =
            BindError::HostKey(CertificateError::Expired { before: NEW_YEAR_2040, now: NEW_YEAR_2040 });
        assert_eq!(refused(&nothing, &host_cas(), NEW_YEAR_2040), over);
        assert_eq!(refused(&|b| b.session_id = b"another", &host_cas(), now()), BindError::Signature);
        assert_eq!(refused(&|b| b.signature = b"", &host_cas(), now()), BindError::Signature);
        let other = bind(bytes!("session-bind-ed25519-unbound"));
        assert_eq!(refused(&|b| b.signature = other.signature, &host_cas(), now()), BindError::Signature);
        let malformed = BindError::HostKey(CertificateError::Malformed);
        assert_eq!(refused(&|b| b.host_key = b"", &host_cas(), now()), malformed);
        // A key without certificate: the plain key of the host's certificate, as an old sshd would present it.
        let plain = ssh_key::PublicKey::from_openssh(crate::tests::world::text!("host_ca.pub")).unwrap();
        let plain = plain.to_bytes().unwrap();
        let mut session = Session::default();
        let bind = crate::SessionBind { host_key: &plain, ..bind(message) };
        assert_eq!(session.bind(&bind, &host_cas(), now()), Err(malformed));
    }
}

#[test]
fn a_user_certificate_is_no_hosts() {
    let identity = crate::tests::world::identity();
    let user_ca = Keys::of_lines(crate::tests::world::text!("user_ca.pub"));
    let bind = crate::SessionBind { host_key: identity.certificate(), ..bind(KINDS[0]) };
    let error = Session::default().bind(&bind, &user_ca, now()).unwrap_err();
    assert_eq!(error, BindError::HostKey(CertificateError::Type("host")));
}

#[test]
fn a_host_whose_key_is_revoked_is_none_of_the_projects() {
    let message = bind(KINDS[0]);
    let key = crate::Certificate::read(message.host_key).unwrap().key;
    let line = ssh_key::PublicKey::from(key).to_openssh().unwrap();
    let authority = crate::tests::world::text!("host_ca.pub");
    let cas = Keys::of_known_hosts(&format!("@cert-authority * {authority}@revoked * {line}\n"));
    let error = Session::default().bind(&message, &cas, now()).unwrap_err();
    assert_eq!(error, BindError::HostKey(CertificateError::Revoked));
}
