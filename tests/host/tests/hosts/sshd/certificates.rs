//! Certificates that sshd must refuse, each beside a good one that it takes.

use std::path::PathBuf;

use hostward_host_tests::{Ca, Certificate, Fixture, Output, TEAM, edited, new_lab, now, on_each_release};
use hostward_mock_backend::publisher::Revocations;

struct Attempt<'f, 'lab> {
    fixture: &'f Fixture<'lab>,
}

impl Attempt<'_, '_> {
    fn login(&self, user: &str, key: &std::path::Path) -> Output {
        self.fixture.lab.login(&self.fixture.host, user).key(key).run("id -un")
    }

    /// A certificate for alice that `change` spoils.
    fn certificate(&self, ca: Ca, change: impl FnOnce(&mut Certificate)) -> PathBuf {
        self.fixture.signed_key("alice", ca, change)
    }

    #[track_caller]
    fn is_let_in(&self, user: &str, key: &std::path::Path) {
        let output = self.login(user, key);
        assert_eq!(output.stdout, format!("{user}\n"), "{output}\n{}", self.fixture.host.journal("ssh"));
    }

    /// Refused by sshd: not by a network or a client that failed.
    #[track_caller]
    fn is_refused(&self, why: &str, user: &str, key: &std::path::Path) {
        let output = self.login(user, key);
        assert!(
            output.status == 255 && output.stderr.contains("Permission denied (") && output.stdout.is_empty(),
            "{why}: {output}"
        );
    }
}

on_each_release! {
    /// One certificate that is good, and all the ways in which one is not.
    fn a_certificate_that_is_not_good_for_the_user_is_refused(release) {
        let team = edited(TEAM, "uid = 70002\n", "uid = 70002\nprincipals = [\"bob\", \"deploy\"]\n");
        let team = edited(&team, "uid = 70001\n", "uid = 70001\nprincipals = [\"alice\", \"a.adams\"]\n");
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).team(&team).enrolled();
        let attempt = Attempt { fixture: &fixture };
        let principals = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            attempt.certificate(Ca::User, |certificate| certificate.principals = names)
        };

        attempt.is_let_in("alice", &principals(&["alice"]));
        attempt.is_let_in("alice", &principals(&["a.adams"]));
        attempt.is_let_in("alice", &principals(&["somebody", "alice"]));
        attempt.is_let_in("bob", &principals(&["deploy"]));

        attempt.is_refused("bob's", "alice", &principals(&["bob"]));
        attempt.is_refused("a principal of bob's", "alice", &principals(&["deploy"]));
        attempt.is_refused("alice's", "bob", &principals(&["alice"]));
        attempt.is_refused("another of alice's", "bob", &principals(&["a.adams"]));
        attempt.is_refused("no principals", "alice", &principals(&[]));
        attempt.is_refused("an unknown principal", "alice", &principals(&["nobody-at-all"]));
        attempt.is_refused("part of a principal", "alice", &principals(&["alic"]));
        attempt.is_refused("more than a principal", "alice", &principals(&["alice2"]));
        attempt.is_refused("another case", "alice", &principals(&["Alice"]));
        attempt.is_refused("a list in one", "alice", &principals(&["alice,bob"]));
        attempt.is_refused("root's", "root", &principals(&["root"]));
        attempt.is_refused("alice's for root", "root", &principals(&["alice"]));
        attempt.is_refused("a system user's", "daemon", &principals(&["daemon"]));

        let expired = attempt.certificate(Ca::User, |certificate| {
            certificate.valid_after = now() - 3600;
            certificate.valid_before = now() - 1;
        });
        attempt.is_refused("expired", "alice", &expired);
        let early = attempt.certificate(Ca::User, |certificate| {
            certificate.valid_after = now() + 600;
            certificate.valid_before = now() + 3600;
        });
        attempt.is_refused("not yet valid", "alice", &early);
        attempt.is_refused("another CA", "alice", &attempt.certificate(Ca::Other, |_| {}));
        attempt.is_refused("the CA of hosts", "alice", &attempt.certificate(Ca::Host, |_| {}));
        let host = attempt.certificate(Ca::User, |certificate| certificate.host = true);
        attempt.is_refused("a host certificate of the users' CA", "alice", &host);
        let host = attempt.certificate(Ca::Host, |certificate| certificate.host = true);
        attempt.is_refused("a host certificate", "alice", &host);
        let elsewhere = attempt.certificate(Ca::User, |certificate| {
            certificate.critical_options = vec![("source-address".to_owned(), "192.0.2.1/32".to_owned())];
        });
        attempt.is_refused("good from elsewhere", "alice", &elsewhere);
        let unknown = attempt.certificate(Ca::User, |certificate| {
            certificate.critical_options = vec![("no-such-option@example.com".to_owned(), String::new())];
        });
        attempt.is_refused("an unknown critical option", "alice", &unknown);

        // A key of her own, without a certificate, where users' own keys count for local users.
        let bare = lab.ssh_key("bare").expect("a key");
        let public = std::fs::read_to_string(bare.with_extension("pub")).expect("its public half");
        let owner = "alice:alice";
        fixture.host.must("install -d -m 700 -o alice -g alice /home/alice/.ssh");
        fixture.host.write("/home/alice/.ssh/authorized_keys", 0o600, owner, &public);
        attempt.is_refused("a bare key", "alice", &bare);
        attempt.is_let_in("alice", &principals(&["alice"]));
    }

    /// Revoked by serial number, key id and key; and nothing else is.
    fn a_revoked_certificate_is_refused(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let attempt = Attempt { fixture: &fixture };
        let by_serial = attempt.certificate(Ca::User, |certificate| certificate.serial = 4711);
        let neighbour = attempt.certificate(Ca::User, |certificate| certificate.serial = 4712);
        let by_id = attempt.certificate(Ca::User, |certificate| certificate.key_id = "stolen laptop".to_owned());
        let by_key = attempt.certificate(Ca::User, |_| {});
        let good = attempt.certificate(Ca::User, |_| {});
        for key in [&by_serial, &neighbour, &by_id, &by_key, &good] {
            attempt.is_let_in("alice", key);
        }
        let public = std::fs::read_to_string(by_key.with_extension("pub")).expect("a public key");
        let revocations = Revocations {
            serials: vec![4711],
            key_ids: vec!["stolen laptop".to_owned()],
            keys: vec![public.trim().to_owned()],
        };
        let version = fixture.client.revoke(revocations.clone(), false).expect("a revocation");
        fixture.wait_for_version(version);
        attempt.is_refused("serial", "alice", &by_serial);
        attempt.is_refused("key id", "alice", &by_id);
        attempt.is_refused("key", "alice", &by_key);
        fixture.certify(&by_key, "alice", Ca::User, |_| {});
        attempt.is_refused("key, certified anew", "alice", &by_key);
        attempt.is_let_in("alice", &neighbour);
        attempt.is_let_in("alice", &good);

        let version = fixture.client.revoke(revocations, true).expect("nothing revoked");
        fixture.wait_for_version(version);
        for key in [&by_serial, &neighbour, &by_id, &by_key, &good] {
            attempt.is_let_in("alice", key);
        }
    }
}
