//! The revocation list deleted or cut by hand: sshd refuses every key where it cannot read the list, so it must matter to
//! managed users only.

use std::fs;

use hostward_host_tests::{Ca, Fixture, new_lab, on_each_release};
use hostward_mock_backend::publisher::Revocations;

const KRL: &str = "/var/lib/hostward/ssh/revoked.krl";
const CA: &str = "/var/lib/hostward/ssh/user_ca.pub";

on_each_release! {
    /// Local logins go on, managed ones fail closed, the next pass repairs it and says so.
    fn a_damaged_revocation_list_locks_no_local_user_out(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        fixture.stop_timer();
        fixture.host.must("useradd --create-home carol && install -d -m 700 -o carol -g carol /home/carol/.ssh");
        let key = lab.ssh_key("local").expect("a key");
        let public = fs::read(key.with_extension("pub")).expect("its public half");
        fixture.host.write("/root/.ssh/authorized_keys", 0o600, "root:root", &public);
        fixture.host.write("/home/carol/.ssh/authorized_keys", 0o600, "carol:carol", &public);
        let local = |user: &str| lab.login(&fixture.host, user).key(&key).run("id -un").stdout == format!("{user}\n");
        let alice = || fixture.ssh_as("alice").run("id -un").stdout == "alice\n";

        assert!(fixture.host.exists(KRL), "there is a list although nothing is revoked");
        let revocations = Revocations { serials: vec![1, 2, 3], ..Revocations::default() };
        let version = fixture.client.revoke(revocations, false).expect("a revocation");
        fixture.wait_for_version(version);
        // It holds when it was made, so that its bytes differ each time.
        let listed = || fixture.host.ok(&format!("ssh-keygen -Q -l -f {KRL} | grep -v ^#"));
        let whole = listed();
        assert!(whole.contains("serial: 1-3"), "{whole}");
        let revoked = fixture.signed_key("alice", Ca::User, |certificate| certificate.serial = 2);
        let revoked = || lab.login(&fixture.host, "alice").key(&revoked).run("true").success();
        assert!(local("root") && local("carol") && alice());

        // What sshd does with each is its own affair for managed users, as long as nobody gets in who must not.
        for (damage, closed) in [
            (format!("rm {KRL}"), true),
            (format!("truncate --size=20 {KRL}"), true),
            (format!("printf garbage >{KRL}"), true),
            (format!(": >{KRL}"), false),
            (format!("chmod 0 {KRL}"), false),
            (format!("ln -sf /nowhere {KRL}"), true),
            (format!("rm {CA}"), true),
            (format!("printf garbage >{CA}"), true),
        ] {
            fixture.host.must(&damage);
            assert!(local("root") && local("carol"), "{damage}: {}", fixture.host.journal("ssh"));
            assert!(!closed || !alice(), "{damage}");
            let report = fixture.apply();
            assert!(report.is_whole() && !report.drift.is_empty(), "{damage}: {report:#?}");
            assert_eq!(listed(), whole, "{damage}");
            assert_eq!(fixture.host.stat(KRL), "regular file 644 root:root");
            assert!(local("root") && local("carol") && alice() && !revoked(), "{damage}");
        }
    }
}
