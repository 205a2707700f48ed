//! The command line on an installed host.

use hostward_host_tests::{Fixture, Release, SOON, edited, new_lab, on_each_release};

on_each_release!(
    every_command_answers_people_and_programs,
    doctor_finds_what_is_wrong_and_says_how_to_mend_it,
    explain_says_why,
);

/// For a person and for a program, as root and as somebody else.
fn every_command_answers_people_and_programs(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    let status = fixture.json("status");
    assert_eq!(status["enrolled"], true, "{status:#}");
    assert_eq!(status["host"]["project"], "acme");
    assert_eq!(status["agent"]["enrollment"]["state"], "enrolled");
    assert!(
        status["report"]["schema"].as_str().is_some_and(|s| s.starts_with("hostward/report/")),
        "{status:#}"
    );
    let apply = fixture.json("apply");
    assert_eq!((&apply["users"], &apply["cause"]), (&2.into(), &"operator".into()), "{apply:#}");
    for arguments in ["plan", "doctor", "sync", "explain alice", "explain mallory", "version"] {
        let output = fixture.hostward(&format!("{arguments} --json"));
        assert!(output.success(), "{arguments}: {output}");
        let value: serde_json::Value = serde_json::from_str(&output.stdout).expect(arguments);
        assert!(value.is_object() || value.is_array(), "{arguments}: {value:#}");
        assert_eq!(output.stderr, "", "{arguments}");
        let text = fixture.hostward(arguments);
        assert!(text.success() && !text.stdout.trim().is_empty(), "{text}");
        assert!(
            serde_json::from_str::<serde_json::Value>(&text.stdout).is_err(),
            "{arguments} is for a person"
        );
    }
    let version = host.ok("dpkg-query --show --showformat='${Version}' hostward");
    let version = version.rsplit_once('-').map_or(&*version, |(upstream, _)| upstream);
    assert_eq!(fixture.json("version")["version"], version);
    assert_eq!(host.ok("hostward version"), format!("hostward {version}\n"));
    assert_eq!(host.ok("hostward --version"), format!("hostward {version}\n"));

    let quiet = fixture.hostward("apply --quiet");
    assert_eq!((quiet.status, quiet.text()), (0, String::new()));
    let sync = host.ok("hostward sync");
    assert!(sync.contains("nothing new") || sync.contains("policy: version"), "{sync}");

    // Everybody may know how the host is; only root may ask for more.
    let local = host.run_as("nobody", "hostward status");
    assert!(
        local.success() && local.stdout.contains("project acme") && local.stdout.contains("2 can log in"),
        "{local}"
    );
    let local = host.run_as("nobody", "hostward status --json").expect_success();
    let local: serde_json::Value = serde_json::from_str(&local).expect("JSON");
    assert_eq!(
        (&local["enrolled"], &local["agent"], &local["report"]),
        (&true.into(), &().into(), &().into())
    );
    for arguments in ["apply", "plan", "sync", "doctor", "explain alice", "unenroll --yes", "enroll"] {
        let output = host.run_as("nobody", &format!("hostward {arguments} </dev/null"));
        assert_eq!(output.status, 3, "{arguments}: {output}");
        assert!(output.stderr.contains("sudo"), "{output}");
    }
    for wrong in ["", "nonsense", "explain", "apply --wrong"] {
        let output = fixture.hostward(wrong);
        assert_eq!(output.status, 2, "{output}");
        assert!(output.stderr.contains("Usage"), "{output}");
    }
    // The agent first: it might be asking for a report, and would say that it did not get it.
    host.must("systemctl stop hostward.socket hostward-ssh-agent.socket hostward.service");
    host.must("systemctl stop hostward-apply.socket hostward-apply.service");
    for (arguments, unit) in [("apply", "hostward-apply.socket"), ("sync", "hostward.socket")] {
        let output = fixture.hostward(arguments);
        assert_eq!(output.status, 3, "{output}");
        assert!(output.stderr.contains(&format!("systemctl start {unit}")), "{output}");
    }
    let known = fixture.hostward("status");
    assert!(known.stdout.contains("2 can log in"), "what is known is known without the services: {known}");
    assert_eq!(known.status, 1, "{known}");
    for unit in ["hostward.service", "hostward.socket", "hostward-ssh-agent.socket", "hostward-apply.socket"]
    {
        let line = known.stdout.lines().find(|line| line.starts_with("stopped:") && line.contains(unit));
        assert!(line.is_some_and(|line| line.contains("systemctl enable --now")), "{unit}: {known}");
    }
    assert!(!known.stdout.contains("hostward-drift.timer"), "{known}");
    let json = fixture.json("status");
    assert_eq!(json["stopped"].as_array().map(Vec::len), Some(4), "{json:#}");
}

/// Every kind of trouble that doctor looks for, made, found with its mend, and gone again.
fn doctor_finds_what_is_wrong_and_says_how_to_mend_it(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    fixture.stop_timer();
    let stopped = host.ok("hostward doctor || true");
    assert!(stopped.contains("BAD   hostward-drift.timer"), "{stopped}");
    host.must("systemctl start hostward-drift.timer");
    let well = fixture.hostward("doctor");
    assert!(well.success() && !well.stdout.contains("BAD"), "{well}");
    assert!(well.stdout.lines().count() >= 12, "{well}");
    let troubles = [
        (
            "sed -i 's/ hostward//' /etc/nsswitch.conf",
            "/usr/lib/hostward/nsswitch add || [ $? = 10 ]",
            "nsswitch.conf",
        ),
        ("chmod 777 /var/lib/hostward", "chmod 755 /var/lib/hostward", "/var/lib/hostward"),
        ("chown nobody /etc/hostward", "chown root /etc/hostward", "/etc/hostward"),
        (
            "mv /etc/sudoers /etc/sudoers.kept; grep -v includedir /etc/sudoers.kept >/etc/sudoers; chmod 440 /etc/sudoers",
            "mv /etc/sudoers.kept /etc/sudoers",
            "sudoers",
        ),
        ("echo 'x x x' >/etc/sudoers.d/broken", "rm /etc/sudoers.d/broken", "sudoers.d/broken"),
        ("echo Nonsense yes >>/etc/ssh/sshd_config", "sed -i /Nonsense/d /etc/ssh/sshd_config", "Nonsense"),
        (
            "pam-auth-update --package --remove hostward hostward-record",
            "pam-auth-update --enable hostward hostward-record",
            "pam-auth-update --enable hostward hostward-record",
        ),
        (
            "mv /usr/lib/x86_64-linux-gnu/security/pam_hostward.so /kept.so",
            "mv /kept.so /usr/lib/x86_64-linux-gnu/security/pam_hostward.so",
            "apt-get install --reinstall hostward",
        ),
        (
            "systemctl stop hostward-apply.socket",
            "systemctl start hostward-apply.socket",
            "hostward-apply.socket",
        ),
        (
            "cd /var/lib/misc; cp -p hostward.db kept; head -c 100 kept >cut; mv cut hostward.db",
            "mv /var/lib/misc/kept /var/lib/misc/hostward.db",
            "of the 2 who can log in",
        ),
        ("rm /var/lib/misc/hostward.db", "hostward apply", "/var/lib/misc/hostward.db is missing"),
        (
            "rm /etc/sudoers.d/hostward /etc/ssh/sshd_config.d/10-hostward.conf",
            "hostward apply",
            "missing: /etc/ssh/sshd_config.d/10-hostward.conf, /etc/sudoers.d/hostward",
        ),
        (
            "chmod 644 /var/lib/hostward/trust.json",
            "chmod 0600 /var/lib/hostward/trust.json",
            "run `chown root:root /var/lib/hostward/trust.json` and `chmod 0600 /var/lib/hostward/trust.json`",
        ),
        (
            "rm /run/hostward/agent.sock",
            "systemctl stop hostward.socket hostward.service; systemctl start hostward.socket hostward.service",
            "run `systemctl stop hostward.socket hostward.service`, then `systemctl start hostward.socket hostward.service`",
        ),
        (
            "echo '[sudo]\nx = 1' >>/etc/hostward/hostward.toml",
            "sed -i '/sudo/,$d' /etc/hostward/hostward.toml",
            "hostward.toml",
        ),
    ];
    for (harm, mend, word) in troubles {
        host.must(harm);
        let output = fixture.hostward("doctor");
        assert_eq!(output.status, 1, "{harm}: {output}");
        let mut lines = output.stdout.lines().skip_while(|line| !line.starts_with("BAD")).skip(1);
        let after = lines.find(|line| !line.trim_start().starts_with("| "));
        assert!(after.is_some_and(|line| line.trim_start().starts_with("mend: ")), "{harm}: {output}");
        assert!(output.stdout.contains(word), "{harm} does not name {word}: {output}");
        let json = fixture.json("doctor");
        let verdicts = json.as_array().expect("a list");
        assert!(
            verdicts.iter().any(|check| check["verdict"] == "bad" && check["mend"].is_string()),
            "{json:#}"
        );
        host.must(mend);
        // The agent notices by itself that it can go on.
        host.wait_until_ok(SOON, "hostward doctor");
    }
}

/// Why somebody can log in, or cannot, and from which grant each right comes.
fn explain_says_why(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    let alice = host.ok("hostward explain alice");
    for word in ["alice", "people", "admins", "look", "/usr/bin/id"] {
        assert!(alice.contains(word), "{word}: {alice}");
    }
    let bob = host.ok("hostward explain bob");
    assert!(bob.contains("people") && !bob.contains("/usr/bin/id"), "{bob}");
    let mallory = host.ok("hostward explain mallory");
    assert!(mallory.contains("mallory"), "{mallory}");
    assert_ne!(alice, mallory);
    fixture.change_team(|team| edited(team, "uid = 70002", "uid = 70002\nstatus = \"suspended\""));
    let bob = host.ok("hostward explain bob");
    assert!(bob.contains("suspended"), "{bob}");
    fixture.change_team(|team| edited(team, "status = \"suspended\"", "shell = \"/bin/none\""));
    let bob = host.ok("hostward explain bob");
    assert!(bob.contains("shell"), "{bob}");
    let root = host.ok("hostward explain root");
    assert!(root.starts_with("root is a local account") && !root.contains("cannot log in"), "{root}");
}

/// What shells and `man` find.
#[test]
fn man_pages_and_completions_are_installed() {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, Release::Trixie);
    let host = &fixture.host;
    let commands = ["status", "doctor", "plan", "apply", "sync", "explain", "enroll", "unenroll", "version"];
    let page = host.ok("gzip -dc /usr/share/man/man1/hostward.1.gz");
    assert!(page.starts_with(".ie") || page.contains(".TH"), "{page}");
    for command in commands {
        assert!(page.contains(command), "hostward(1) does not name {command}");
        let page = host.ok(&format!("gzip -dc /usr/share/man/man1/hostward-{command}.1.gz"));
        for heading in ["SYNOPSIS", "\"EXIT STATUS\"", "EXAMPLES", "\"SEE ALSO\""] {
            assert!(page.contains(&format!(".SH {heading}")), "hostward-{command}(1) lacks {heading}");
        }
        for file in [
            "/usr/share/bash-completion/completions/hostward",
            "/usr/share/zsh/vendor-completions/_hostward",
            "/usr/share/fish/vendor_completions.d/hostward.fish",
        ] {
            assert!(host.read(file).contains(command), "{file} does not know {command}");
        }
    }
    assert!(!page.contains("generate"), "what packaging needs is nobody else's");
    let completed = host.ok(
        "bash -c '. /usr/share/bash-completion/completions/hostward; COMP_WORDS=(hostward st); COMP_CWORD=1; \
         _hostward hostward st hostward; echo ${COMPREPLY[@]}'",
    );
    assert_eq!(completed.trim(), "status");
}
