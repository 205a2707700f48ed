//! What is signed, with requests of a real ssh and what its own agent answered to them.

use std::sync::Arc;

use crate::tests::world::{bind, bytes, host_cas, identity, now, rules, sign, text};
use crate::wire::put_string;
use crate::{
    BindError, CertificateError, Identity, Keys, Refusal, Rules, ServiceKey, Session, Userauth,
    UserauthError, Verdict, judge, reply,
};

/// A login: what binds its session, what is to be signed, what OpenSSH's agent answered.
type Login = [&'static [u8]; 3];

macro_rules! login {
    ($name:literal) => {
        [
            bytes!(concat!("session-bind-", $name)),
            bytes!(concat!("sign-", $name)),
            bytes!(concat!("signed-", $name)),
        ]
    };
}

/// Of clients that bind each request to the host, and of those that don't.
const BOUND: [Login; 3] =
    [login!("ed25519-host-bound"), login!("ecdsa-host-bound"), login!("rsa-host-bound")];
const UNBOUND: [Login; 3] = [login!("ed25519-unbound"), login!("ecdsa-unbound"), login!("rsa-unbound")];

fn signature(verdict: Verdict<'_>) -> Vec<u8> {
    match verdict {
        Verdict::Sign(permission) => {
            assert_eq!(permission.user(), "root");
            permission.sign()
        }
        Verdict::Refuse(refusal) => panic!("{refusal}"),
    }
}

fn refusal(verdict: Verdict<'_>) -> Refusal {
    match verdict {
        Verdict::Refuse(refusal) => refusal,
        Verdict::Sign(permission) => panic!("{permission:?}"),
    }
}

/// A login of `user` with `identity`, as a client without session-bind has it signed.
fn login(user: &str, algorithm: &str, key: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    put_string(&mut data, &[7; 32]);
    data.push(50);
    for text in [user, "ssh-connection", "publickey"] {
        put_string(&mut data, text.as_bytes());
    }
    data.push(1);
    put_string(&mut data, algorithm.as_bytes());
    put_string(&mut data, key);
    data
}

const CERTIFICATE: &str = "ssh-ed25519-cert-v01@openssh.com";

fn bound(message: &[u8]) -> Session {
    let mut session = Session::default();
    session.bind(&bind(message), &host_cas(), now()).unwrap();
    session
}

#[test]
fn logins_are_signed_to_the_byte_as_by_openssh() {
    let (identities, cas) = ([identity()], host_cas());
    for [binding, message, answer] in BOUND.into_iter().chain(UNBOUND) {
        let (key, data) = sign(message);
        for require_hostbound in [false, true] {
            let rules = Rules { require_hostbound, ..rules(&cas) };
            let signed = signature(judge(&identities, &bound(binding), key, data, &rules));
            assert_eq!(reply::signature(&signed)[4..], *answer);
        }
        let signed = signature(judge(&identities, &Session::default(), key, data, &rules(&cas)));
        assert_eq!(reply::signature(&signed)[4..], *answer, "a client without session-bind");
        let strict = Rules { require_hostbound: true, ..rules(&cas) };
        assert_eq!(refusal(judge(&identities, &Session::default(), key, data, &strict)), Refusal::NotBound);
    }
}

#[test]
fn logins_at_other_hosts_and_in_other_sessions_are_refused() {
    let (identities, cas) = ([identity()], host_cas());
    for ([_, message, _], [binding, ..]) in BOUND.into_iter().zip(UNBOUND) {
        let (key, data) = sign(message);
        let other = bound(binding);
        assert_eq!(refusal(judge(&identities, &other, key, data, &rules(&cas))), Refusal::OtherSession);
        let nobody = Keys::default();
        let judged = judge(&identities, &Session::default(), key, data, &rules(&nobody));
        assert_eq!(refusal(judged), Refusal::HostKey(CertificateError::Authority));
    }
    // The right session, and a request that names another host.
    let [binding, message, _] = BOUND[0];
    let (key, data) = sign(message);
    let host_key = Userauth::read(data).unwrap().host_key.unwrap();
    let other_key = Userauth::read(sign(BOUND[1][1]).1).unwrap().host_key.unwrap();
    let mut data = data[..data.len() - host_key.len() - 4].to_vec();
    put_string(&mut data, other_key);
    let judged = judge(&identities, &bound(binding), key, &data, &rules(&cas));
    assert_eq!(refusal(judged), Refusal::OtherSession);
}

#[test]
fn nothing_is_signed_over_a_connection_that_was_refused() {
    let (identities, cas) = ([identity()], host_cas());
    let [binding, message, _] = BOUND[0];
    let (key, data) = sign(message);
    let mut session = Session::default();
    let mut forwarded = bind(binding);
    forwarded.is_forwarding = true;
    session.bind(&forwarded, &cas, now()).unwrap_err();
    let judged = judge(&identities, &session, key, data, &rules(&cas));
    assert_eq!(refusal(judged), Refusal::Session(BindError::Forwarded));
}

#[test]
fn only_logins_are_signed() {
    let (identities, cas) = ([identity()], host_cas());
    let refused = |data: &[u8]| {
        refusal(judge(&identities, &Session::default(), identities[0].certificate(), data, &rules(&cas)))
    };
    let (key, sshsig) = sign(bytes!("sign-sshsig"));
    assert_eq!(key, identities[0].certificate());
    let no_login = Refusal::NoLogin(UserauthError);
    assert_eq!(refused(sshsig), no_login, "a signature of a file");
    let good = login("deploy", CERTIFICATE, identities[0].certificate());
    for data in [&b""[..], b"hello", &[0; 32], &good[..good.len() - 1], &[&good[..], b"x"].concat()] {
        assert_eq!(refused(data), no_login, "{data:?}");
    }
    // A request without signature, another service, another method, another message.
    let position = |text: &[u8]| good.windows(text.len()).position(|window| window == text).unwrap();
    for (at, byte) in [
        (36, 51),
        (position(b"ssh-connection"), b'x'),
        (position(b"publickey"), b'x'),
        (position(b"publickey") + 9, 0),
    ] {
        let mut data = good.clone();
        data[at] = byte;
        assert_eq!(refused(&data), no_login, "{at}");
    }
    let Verdict::Sign(_) =
        judge(&identities, &Session::default(), identities[0].certificate(), &good, &rules(&cas))
    else {
        panic!("not signed");
    };
}

#[test]
fn only_with_the_askers_own_key_and_as_its_own_user() {
    let (identities, cas) = ([identity()], host_cas());
    let own = identities[0].certificate();
    let judged = |identities: &[Arc<Identity>], key: &[u8], data: &[u8], now| {
        refusal(judge(identities, &Session::default(), key, data, &Rules { now, ..rules(&cas) }))
    };
    let good = login("root", CERTIFICATE, own);
    assert_eq!(judged(&[], own, &good, now()), Refusal::Key);
    assert_eq!(judged(&identities, b"", &good, now()), Refusal::Key);
    let user = login("alice", CERTIFICATE, own);
    assert_eq!(judged(&identities, own, &user, now()), Refusal::User);
    assert_eq!(judged(&identities, own, &good, now() + 3600), Refusal::Expired);
    let other = ServiceKey::generate().unwrap();
    let other = ssh_key::PublicKey::from_openssh(&other.public_line().unwrap()).unwrap().to_bytes().unwrap();
    for (algorithm, key) in
        [(CERTIFICATE, &other[..]), ("ssh-ed25519", &other), ("ssh-ed25519", own), ("ssh-rsa", own)]
    {
        assert_eq!(judged(&identities, own, &login("root", algorithm, key), now()), Refusal::OtherKey);
    }
}

#[test]
fn the_key_may_be_called_by_itself() {
    let (identities, cas) = ([identity()], host_cas());
    let plain = ssh_key::PublicKey::from_openssh(text!("user.pub")).unwrap().to_bytes().unwrap();
    let data = login("root", CERTIFICATE, identities[0].certificate());
    signature(judge(&identities, &Session::default(), &plain, &data, &rules(&cas)));
    let data = login("root", "ssh-ed25519", &plain);
    signature(judge(&identities, &Session::default(), identities[0].certificate(), &data, &rules(&cas)));
}
