//! Certificates of the host's own keys, as real ssh sees them.

use std::fs;
use std::path::{Path, PathBuf};

use hostward_host_tests::{
    Ca, Certificate, Fixture, Output, Release, SOON, TEAM, new_lab, now, on_each_release,
};
use hostward_mock_backend::ssh::sign;
use hostward_protocol::report::Report;

const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-hostward.conf";
const KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
const CERTIFICATE: &str = "/var/lib/hostward/ssh/host-ed25519-cert.pub";
const OFFERED: &str = "/var/lib/hostward-agent/inbox/host-certificates";

on_each_release! {
    /// Who trusts the project's host CA needs to have seen no host before, and is asked nothing; everybody else goes on as
    /// without it. Nothing is left of it when the host leaves.
    fn ssh_believes_the_host_ca_and_nothing_else(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        let id = fixture.host_id();
        let trusted = known_hosts(&fixture, &authority(&fixture, Ca::Host));
        for name in [id.as_str(), "web1", &host.address()] {
            let output = ssh(&fixture, name, &trusted, &[]);
            assert!(output.success(), "{name}: {output}");
        }
        let other = known_hosts(&fixture, &authority(&fixture, Ca::Other));
        let plain = host.read(&format!("{KEY}.pub"));
        let seen_before = known_hosts(&fixture, &format!("web1 {plain}"));
        for (name, known) in [("web2", &trusted), (id.as_str(), &other), ("web2", &seen_before)] {
            let output = ssh(&fixture, name, known, &[]);
            assert!(!output.success() && output.stderr.contains("Host key verification failed"), "{output}");
        }
        assert!(ssh(&fixture, "web1", &seen_before, &[]).success(), "who has seen the host before");
        let sshd = host.ok("sshd -T");
        assert!(sshd.contains(&format!("\nhostcertificate {CERTIFICATE}\n")), "{sshd}");
        let well = fixture.hostward("doctor");
        assert!(well.success() && well.stdout.contains("host certificates: presented for"), "{well}");

        // Another key is refused as long as nobody certified it.
        let only = ["-o", "HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com,ssh-ed25519"];
        assert!(ssh(&fixture, "web1", &trusted, &only).success());
        host.must(&format!("rm {KEY} {KEY}.pub && ssh-keygen -q -t ed25519 -N '' -f {KEY} && systemctl restart ssh"));
        let refused = ssh(&fixture, "web1", &trusted, &only);
        assert!(refused.stderr.contains("Host key verification failed"), "{refused}");
        let report = fixture.apply();
        assert!(report.is_whole() && is_warned(&report), "{report:#?}");
        let key = host.read(&format!("{KEY}.pub"));
        host.must("systemctl reload hostward");
        host.wait_for(SOON, "a certificate for the new key", |host| {
            let shown = host.run(&format!("ssh-keygen -L -f {CERTIFICATE} && ssh-keygen -l -f {KEY}.pub"));
            let fingerprint = shown.stdout.lines().last().and_then(|line| line.split(' ').nth(1));
            match fingerprint {
                Some(fingerprint) if shown.stdout.matches(fingerprint).count() > 1 => Ok(()),
                _ => Err(format!("{shown}\n{key}")),
            }
        });
        host.wait_for(SOON, "it is presented", |_| {
            let output = ssh(&fixture, "web1", &trusted, &only);
            if output.success() { Ok(()) } else { Err(output.to_string()) }
        });

        host.must("hostward unenroll --yes");
        assert_eq!(host.run("ls /var/lib/hostward/ssh").stdout, "");
        assert!(!host.ok("sshd -T").contains("hostcertificate /"), "nothing is configured");
        let refused = ssh(&fixture, "web1", &trusted, &[]);
        assert!(refused.stderr.contains("Host key verification failed"), "{refused}");
    }

    /// The operator's own certificate is presented as before, and hostward's for the other keys.
    fn an_operators_certificate_stays(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).boot();
        let host = &fixture.host;
        let own = lab.ssh_key("operator-ca").expect("a key");
        host.write("/root/ca", 0o600, "root:root", fs::read(&own).expect("a key"));
        host.must(&format!("ssh-keygen -q -s /root/ca -I own -h -n own.example {KEY}.pub"));
        let main = host.read("/etc/ssh/sshd_config");
        let with_own = format!("HostCertificate {KEY}-cert.pub\n{main}");
        host.write("/etc/ssh/sshd_config", 0o644, "root:root", &with_own);
        host.must("systemctl restart ssh");
        fixture.enroll();
        let text = host.read(DROP_IN);
        assert!(!text.contains("ed25519") && text.contains("host-rsa-cert.pub"), "{text}");
        assert!(!host.exists(CERTIFICATE));
        let line = fs::read_to_string(own.with_extension("pub")).expect("a key");
        let theirs = known_hosts(&fixture, &format!("@cert-authority * {line}"));
        let only = ["-o", "HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com"];
        let output = ssh(&fixture, "own.example", &theirs, &only);
        assert!(output.success(), "{output}");
        let ours = known_hosts(&fixture, &authority(&fixture, Ca::Host));
        let output = ssh(&fixture, "web1", &ours, &["-o", "HostKeyAlgorithms=rsa-sha2-512-cert-v01@openssh.com"]);
        assert!(output.success(), "{output}");
        let report = fixture.apply();
        assert!(report.is_whole() && !is_warned(&report), "{report:#?}");
        host.must("hostward unenroll --yes");
        assert_eq!(host.read("/etc/ssh/sshd_config"), with_own);
        assert!(ssh(&fixture, "own.example", &theirs, &only).status == 255, "alice is gone");
        assert!(host.ok("sshd -T").contains(&format!("hostcertificate {KEY}-cert.pub")));
    }
}

/// At half of their life they are there anew, and sshd presents the new one.
#[test]
fn they_are_renewed_ahead() {
    let lab = new_lab();
    // A minute in the past counts too: half of it is over after a few seconds.
    let team = format!("{TEAM}\n[ssh]\nhost_validity = \"80s\"\n");
    let fixture = Fixture::on(&lab, Release::Bookworm).team(&team).enrolled();
    let host = &fixture.host;
    let first = host.read(CERTIFICATE);
    host.wait_for(SOON, "another certificate", |host| {
        let now = host.read(CERTIFICATE);
        if now == first { Err(now) } else { Ok(()) }
    });
    host.wait_for(SOON, "sshd presents what is on the disk", |host| {
        let scanned = host.run("ssh-keyscan -c -t ed25519 127.0.0.1");
        let present = host.read(CERTIFICATE);
        let blob = present.split(' ').nth(1).unwrap_or_default().trim();
        if scanned.stdout.contains(blob) { Ok(()) } else { Err(format!("{scanned}\n{present}")) }
    });
    let trusted = known_hosts(&fixture, &authority(&fixture, Ca::Host));
    assert!(ssh(&fixture, "web1", &trusted, &[]).success());
}

/// Whoever has captured the agent may write what they like into its inbox.
#[test]
fn what_a_captured_agent_forges_is_not_presented() {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, Release::Bookworm);
    let host = &fixture.host;
    host.must("systemctl stop hostward.service");
    fixture.stop_timer();
    let good = host.read(CERTIFICATE);
    let drop_in = host.read(DROP_IN);
    let own = lab.directory("forged").expect("a directory").join("own.pub");
    fs::write(&own, host.read(&format!("{KEY}.pub"))).expect("a key");
    let stranger = lab.ssh_key("stranger").expect("a key").with_extension("pub");
    let forge = |ca: Ca, key: &Path, change: fn(&mut Certificate)| {
        let mut certificate = Certificate {
            key_id: "forged".into(),
            serial: 1,
            principals: vec!["web1".into(), "web2".into()],
            valid_after: now() - 60,
            valid_before: now() + 100 * 86_400,
            host: true,
            critical_options: Vec::new(),
            extensions: Vec::new(),
        };
        change(&mut certificate);
        sign(&fixture.backend.state_dir(), ca, key, &certificate).expect("a certificate")
    };
    let forged = [
        ("another CA", forge(Ca::Other, &own, |_| {})),
        ("the user CA", forge(Ca::User, &own, |_| {})),
        ("another key", forge(Ca::Host, &stranger, |_| {})),
        ("a user's", forge(Ca::Host, &own, |c| c.host = false)),
        ("over", forge(Ca::Host, &own, |c| c.valid_before = now() - 1)),
        ("not begun", forge(Ca::Host, &own, |c| c.valid_after = now() + 3600)),
        ("for any host", forge(Ca::Host, &own, |c| c.principals.clear())),
        ("a pattern", forge(Ca::Host, &own, |c| c.principals.push("*".into()))),
        (
            "an option",
            forge(Ca::Host, &own, |c| c.critical_options.push(("force-command".into(), "x".into()))),
        ),
        ("sshd settings", "x\nPermitRootLogin yes\n".to_owned()),
        ("garbage", "\u{0}\u{1}".repeat(1000)),
    ];
    let assert_unmoved = |what: &str| {
        let report = fixture.apply();
        assert!(report.is_whole() && is_warned(&report), "{what}: {report:#?}");
        assert_eq!((host.read(CERTIFICATE), host.read(DROP_IN)), (good.clone(), drop_in.clone()), "{what}");
    };
    for (what, text) in &forged {
        host.write(OFFERED, 0o600, "hostward:hostward", text);
        assert_unmoved(what);
    }
    for (what, command) in [
        ("a link", format!("ln -s /etc/shadow {OFFERED}")),
        ("a pipe", format!("mkfifo {OFFERED} && chown hostward: {OFFERED}")),
        ("a large file", format!("truncate --size=1M {OFFERED} && chown hostward: {OFFERED}")),
        ("root's file", format!("echo x >{OFFERED}")),
        (
            "a second name",
            format!("echo x >{OFFERED} && chown hostward: {OFFERED} && ln {OFFERED} {OFFERED}.x"),
        ),
    ] {
        host.must(&format!("rm -f {OFFERED} && {command}"));
        assert_unmoved(what);
    }
    host.must(&format!("rm -f {OFFERED} {OFFERED}.x"));
    assert!(fixture.apply().is_whole(), "nothing offered");
    assert_eq!(host.read(CERTIFICATE), good, "nothing offered takes nothing away");
    let trusted = known_hosts(&fixture, &authority(&fixture, Ca::Host));
    assert!(ssh(&fixture, "web1", &trusted, &[]).success());

    // One that the policy's CA did sign is taken, and leaves sshd's configuration when its time is over.
    host.must("rm /var/lib/hostward/ssh/host-*-cert.pub");
    let brief = forge(Ca::Host, &own, |c| c.valid_before = now() + 8);
    host.write(OFFERED, 0o600, "hostward:hostward", brief);
    let report = fixture.apply();
    assert!(report.is_whole() && !is_warned(&report), "{report:#?}");
    assert!(host.read(DROP_IN).contains(CERTIFICATE));
    host.wait_for(SOON, "it is over", |host| {
        if host.exists(CERTIFICATE) { Err(host.read(DROP_IN)) } else { Ok(()) }
    });
    assert!(!host.read(DROP_IN).contains(CERTIFICATE));
    host.must("sshd -t");
}

/// A backend that signs none leaves sshd as it is, and nothing is wrong.
#[test]
fn without_certificates_all_is_well() {
    let lab = new_lab();
    let team = format!("{TEAM}\n[ssh]\nsign_nothing = true\n");
    let fixture = Fixture::on(&lab, Release::Trixie).team(&team).boot();
    let output = fixture.try_enroll(&fixture.token(), 30);
    assert!(output.success(), "{output}");
    let report = fixture.apply();
    assert!(report.is_whole() && report.warnings.is_empty(), "{report:#?}");
    assert!(!fixture.host.read(DROP_IN).contains("HostCertificate"));
    assert_eq!(fixture.agent_status().problem, None);
    assert!(fixture.hostward("status").success());
}

fn is_warned(report: &Report) -> bool {
    report.warnings.iter().any(|finding| finding.code == "host-certificate-refused")
}

fn authority(fixture: &Fixture<'_>, ca: Ca) -> String {
    let line = ca.public_line(&fixture.backend.state_dir()).expect("a CA");
    format!("@cert-authority * {line}")
}

#[track_caller]
fn known_hosts(fixture: &Fixture<'_>, line: &str) -> PathBuf {
    let directory = fixture.lab.directory("known").expect("a directory");
    let free = (0..).map(|n| directory.join(n.to_string())).find(|path| !path.exists());
    let path = free.expect("a free name");
    fs::write(&path, format!("{}\n", line.trim_end())).expect("known_hosts");
    path
}

/// As alice, to the host by a name that ssh checks its key for, with strict checking.
#[track_caller]
fn ssh(fixture: &Fixture<'_>, name: &str, known: &Path, more: &[&str]) -> Output {
    let alias = format!("HostKeyAlias={name}");
    let args = fixture.ssh_as("alice").option(&alias).args(more);
    let strict = |arg: String| match arg.as_str() {
        "StrictHostKeyChecking=no" => "StrictHostKeyChecking=yes".to_owned(),
        "UserKnownHostsFile=/dev/null" => format!("UserKnownHostsFile={}", known.display()),
        _ => arg,
    };
    let mut args: Vec<String> = args.into_iter().map(strict).collect();
    args.push("true".to_owned());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    fixture.lab.run_args_in_network(&args, &[])
}
