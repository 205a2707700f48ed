//! Logins with certificates of the backend's CA.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hostward_lab::{Background, Login, Terminal};
use hostward_mock_backend::ssh::{self, Ca, Certificate, DEFAULT_EXTENSIONS};

use crate::fixture::Fixture;
use crate::state::SOON;

/// Seconds since the epoch.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

impl<'lab> Fixture<'lab> {
    /// A login as `user`, with a certificate that is good for three minutes.
    #[track_caller]
    pub fn ssh_as(&self, user: &str) -> Login<'lab> {
        let key = self.signed_key(user, Ca::User, |_| {});
        self.lab.login(&self.host, user).key(&key)
    }

    /// A new key with a certificate for `user` that `change` makes different from a good one; the certificate is
    /// next to the key. `ca` says whose signature it has.
    #[track_caller]
    #[must_use]
    pub fn signed_key(&self, user: &str, ca: Ca, change: impl FnOnce(&mut Certificate)) -> PathBuf {
        let key = self.lab.ssh_key(&self.new_key_name(user)).expect("a key");
        self.certify(&key, user, ca, change);
        key
    }

    /// Signs the public half of `key` anew; see [`Fixture::signed_key`].
    #[track_caller]
    pub fn certify(&self, key: &Path, user: &str, ca: Ca, change: impl FnOnce(&mut Certificate)) {
        let mut certificate = Certificate {
            key_id: format!("{user}@example.com"),
            serial: ssh::random_serial(),
            principals: vec![user.to_owned()],
            valid_after: now() - 60,
            valid_before: now() + 180,
            host: false,
            critical_options: Vec::new(),
            extensions: DEFAULT_EXTENSIONS.iter().map(|name| ((*name).to_owned(), String::new())).collect(),
        };
        change(&mut certificate);
        let public = key.with_extension("pub");
        let line = ssh::sign(&self.backend.state_dir(), ca, &public, &certificate).expect("a certificate");
        fs::write(ssh::certificate_path(&public), line + "\n").expect("the certificate's file");
    }

    fn new_key_name(&self, user: &str) -> String {
        let keys = self.lab.directory("keys").expect("a directory");
        (0..).map(|n| format!("{user}-{n}")).find(|name| !keys.join(name).exists()).expect("a free name")
    }

    /// An open session as `user` that runs `cmd` and then goes on until it is ended. Returns once `cmd` has run.
    #[track_caller]
    #[must_use]
    pub fn session(&self, user: &str, terminal: Terminal, cmd: &str) -> Background {
        let login = self.ssh_as(user);
        let mut session = login.open(terminal, &format!("{cmd}\necho session is open; exec sleep 3600"));
        self.host.wait_for(SOON, &format!("a session of {user}"), |_| {
            if session.stdout().contains("session is open") {
                Ok(())
            } else if session.is_running() {
                Err(session.stderr())
            } else {
                panic!("no session of {user}: {}", session.wait(SOON));
            }
        });
        session
    }
}
