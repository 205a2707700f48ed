//! What pam-auth-update makes of the profiles, and what an operator's own edits make of that.

use hostward_host_tests::{Fixture, Host, PACKAGE, new_lab, on_each_release, package};

use super::MODULE;

/// As the package before the module had it.
const FORMER: &str = "Name: Create the homes of users managed by hostward at their first login\nDefault: yes\nPriority: 0\n\
                      Session-Type: Additional\nSession-Interactive-Only: yes\nSession:\n\
                      \t[success=1 default=ignore]\tpam_succeed_if.so quiet user notingroup hostward-users\n\
                      \toptional\tpam_mkhomedir.so umask=0077\n";

/// Modules of a stack in their order, with the module's own argument.
#[track_caller]
fn stack(host: &Host, file: &str) -> Vec<String> {
    let lines = host.read(&format!("/etc/pam.d/{file}"));
    let lines = lines.lines().filter(|line| !line.trim_start().starts_with('#'));
    let named = lines.filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.contains(".so"))?;
        let name = words.get(at)?.rsplit('/').next()?.to_owned();
        let argument = words.get(at + 1).filter(|_| name == "pam_hostward.so");
        Some(argument.map_or(name.clone(), |argument| format!("{name} {argument}")))
    });
    named.collect()
}

#[track_caller]
fn position(stack: &[String], name: &str) -> usize {
    stack.iter().position(|module| module == name).unwrap_or_else(|| panic!("no {name} in {stack:?}"))
}

on_each_release! {
    /// Installed over a host that had the former profile, and gone with the package.
    fn the_profiles_come_and_go_and_an_operator_s_edits_stay(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).without_package().boot();
        let host = &fixture.host;
        host.must("rm -r /etc/hostward");
        // What an operator may do: an option within what pam-auth-update keeps, and lines outside of it.
        host.must("sed -i '/pam_unix.so/s/nullok/nullok nodelay/' /etc/pam.d/common-auth && echo 'session optional pam_lastlog.so' >>/etc/pam.d/su");
        host.must("echo '# ours' >>/etc/pam.d/common-session");
        let before = host.snapshot(&["/etc/pam.d"]);
        host.write("/usr/share/pam-configs/hostward-mkhomedir", 0o644, "root:root", FORMER);
        host.must("DEBIAN_FRONTEND=noninteractive pam-auth-update --package && grep -q pam_mkhomedir /etc/pam.d/common-session");
        // As dpkg does between two versions.
        host.must("rm /usr/share/pam-configs/hostward-mkhomedir");
        host.install(&package());
        for (file, last) in [("common-session", true), ("common-session-noninteractive", false)] {
            let stack = stack(host, file);
            let home = position(&stack, "pam_hostward.so home");
            let record = position(&stack, "pam_hostward.so record");
            assert!(home < position(&stack, "pam_unix.so") && position(&stack, "pam_unix.so") < record, "{stack:?}");
            if last {
                let systemd = position(&stack, "pam_systemd.so");
                assert!(home < systemd && systemd < record, "{stack:?}");
            }
            assert!(!stack.iter().any(|module| module == "pam_mkhomedir.so"), "{stack:?}");
        }
        let account = stack(host, "common-account");
        assert!(position(&account, "pam_hostward.so") < position(&account, "pam_unix.so"), "{account:?}");
        let pam = host.ok("cat /etc/pam.d/common-auth /etc/pam.d/common-session /etc/pam.d/su");
        assert!(pam.contains("nullok nodelay") && pam.contains("# ours") && pam.contains("pam_lastlog.so"), "{pam}");
        host.must("su - root -c true");
        host.purge(PACKAGE);
        assert_eq!(before.changes(&host.snapshot(&["/etc/pam.d"])), [""; 0]);
        assert!(!host.exists(MODULE));
    }

    /// A line of the operator's where pam-auth-update keeps its own: it leaves everything alone, and so do we.
    fn what_pam_auth_update_leaves_alone_is_said_and_harms_nobody(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).without_package().boot();
        let host = &fixture.host;
        host.must("sed -i '/pam_permit.so/a session optional pam_echo.so' /etc/pam.d/common-session");
        host.must("sed -i '/pam_systemd.so/i session optional pam_umask.so' /etc/pam.d/common-session");
        let before = host.snapshot(&["/etc/pam.d"]);
        host.install(&package());
        fixture.trust_backend("");
        fixture.enroll();
        assert_eq!(before.changes(&host.snapshot(&["/etc/pam.d"])), [""; 0]);
        let doctor = host.ok("hostward doctor || true");
        assert!(doctor.contains("BAD   PAM"), "{doctor}");
        assert!(fixture.ssh_as("alice").run("true").success(), "access does not hang on it");
        // With our lines put there by hand, a removal cannot take them out either: it says so, and PAM passes over them.
        host.must(&format!("printf 'session optional {MODULE} home\\n' >>/etc/pam.d/common-session"));
        let removal = host.run(&format!("DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --yes remove {PACKAGE}"));
        let said = format!("{}{}", removal.stdout, removal.stderr);
        assert!(removal.success() && said.contains("pam_hostward.so out of /etc/pam.d/common-session"), "{removal}");
        host.must("su - root -c true");
    }
}

/// sshd that does not use PAM is as it was.
#[test]
fn an_sshd_without_pam_goes_on() {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, hostward_host_tests::Release::Bookworm);
    let host = &fixture.host;
    host.must("echo 'UsePAM no' >/etc/ssh/sshd_config.d/00-no-pam.conf; sshd -t; systemctl restart ssh");
    // Without PAM there is no home, and no shadow password that could match.
    let login = fixture.ssh_as("alice").run("echo in");
    assert_eq!(login.stdout, "in\n", "{login}");
}
