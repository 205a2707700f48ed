//! Any message to the SSH agent, and any certificate: read or not, and what is a login is one to the last byte.
#![no_main]

use hostward_ssh_agent::{Certificate, Keys, Request, Session, Userauth, request};
use libfuzzer_sys::fuzz_target;

/// The host CA of the corpus's recordings.
const HOST_CA: &str = include_str!("../../../agent/ssh-agent/src/golden/host_ca.pub");
/// When they were made.
const NOW: u64 = 1_795_842_628;

fuzz_target!(|data: &[u8]| {
    let cas = Keys::of_lines(HOST_CA);
    if let Ok(certificate) = Certificate::read(data) {
        assert_eq!(certificate.bytes(), data);
        let _ = certificate.check_host(&cas, NOW);
    }
    match request(data) {
        Request::SessionBind(bind) => {
            let mut session = Session::default();
            let bound = session.bind(&bind, &cas, NOW);
            assert_eq!(bound.is_err(), session.refused().is_some());
            assert!(bound.is_err() || !bind.is_forwarding);
        }
        Request::Sign { data, .. } => {
            if let Ok(login) = Userauth::read(data) {
                let parts = [login.session_id, login.user.as_bytes(), login.algorithm.as_bytes(), login.key];
                let sum: usize = parts.iter().map(|part| part.len()).sum();
                assert!(sum < data.len());
                let host_key = login.host_key.unwrap_or(login.key);
                assert!(data.ends_with(host_key), "nothing comes after it");
            }
        }
        _ => {}
    }
});
