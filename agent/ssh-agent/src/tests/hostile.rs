//! Any bytes: nothing panics, and nothing is signed but a login that says what it is.

use proptest::prelude::*;

use crate::tests::world::{bind, bytes, host_cas, identity, now, rules, sign};
use crate::wire::put_string;
use crate::{Keys, Request, Session, Userauth, Verdict, judge, request};

/// What `Userauth` read, written again.
fn written(login: &Userauth<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, login.session_id);
    out.push(50);
    put_string(&mut out, login.user.as_bytes());
    put_string(&mut out, b"ssh-connection");
    let bound = login.host_key.is_some();
    put_string(&mut out, if bound { b"publickey-hostbound-v00@openssh.com" } else { b"publickey" });
    out.push(1);
    put_string(&mut out, login.algorithm.as_bytes());
    put_string(&mut out, login.key);
    if let Some(key) = login.host_key {
        put_string(&mut out, key);
    }
    out
}

fn damaged(original: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    (edits, 0..=original.len()).prop_map(move |(edits, cut)| {
        let mut bytes = original.to_vec();
        for (at, byte) in edits {
            bytes[at.index(original.len())] = byte;
        }
        if cut % 4 == 0 {
            bytes.truncate(cut);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_request_or_none(message in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = request(&message);
        let _ = Userauth::read(&message);
        let _ = Keys::of_known_hosts(&String::from_utf8_lossy(&message));
    }

    #[test]
    fn a_damaged_login_is_refused_or_says_what_it_is(message in damaged(bytes!("sign-ed25519-host-bound"))) {
        let Request::Sign { key, data } = request(&message) else { return Ok(()) };
        let (identities, cas) = ([identity()], host_cas());
        let judged = judge(&identities, &Session::default(), key, data, &rules(&cas));
        if let Verdict::Sign(permission) = judged {
            let login = Userauth::read(data).unwrap();
            prop_assert_eq!(written(&login), data);
            prop_assert!(["root", "deploy"].contains(&permission.user()));
            prop_assert_eq!(login.user, permission.user());
            prop_assert_eq!(login.key, permission.identity().certificate());
            // Unharmed but for the session, which only its client knows.
            let original = Userauth::read(sign(bytes!("sign-ed25519-host-bound")).1).unwrap();
            prop_assert_eq!(login.host_key, original.host_key);
        }
    }

    #[test]
    fn a_damaged_session_is_not_bound(message in damaged(bytes!("session-bind-ecdsa-host-bound"))) {
        let original = bytes!("session-bind-ecdsa-host-bound");
        let Request::SessionBind(damaged) = request(&message) else { return Ok(()) };
        let mut session = Session::default();
        if session.bind(&damaged, &host_cas(), now()).is_ok() {
            prop_assert_eq!(damaged.host_key, bind(original).host_key);
            prop_assert_eq!(damaged.session_id, bind(original).session_id);
            prop_assert!(!damaged.is_forwarding);
        }
    }
}
