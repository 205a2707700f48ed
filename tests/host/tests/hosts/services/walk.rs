//! What the account may do and what nobody else may, from binding to unbinding.

use std::time::{Duration, Instant};

use hostward_host_tests::{Release, SOON, edited, new_lab, on_each_release};

use super::site::{BOUND, Site, team};

const SOCKET: &str = "SSH_AUTH_SOCK=/run/hostward/ssh-agent.sock";

on_each_release! {
    /// Plain programs, nothing configured for the account.
    fn plain_ssh_goes_over_bastions_and_does_what_was_granted(release) {
        let lab = new_lab();
        let site = Site::new(&lab, release);
        assert_eq!(site.jenkins("find ~ /tmp -name 'id_*'").stdout, "", "no key");

        let before = Site::nginx(&site.web1);
        let restarted = site.jenkins("ssh web1 sudo systemctl restart nginx");
        assert!(restarted.success(), "{restarted}");
        assert_ne!(Site::nginx(&site.web1), before);
        let refused = site.jenkins("ssh web1 sudo -n id");
        assert!(!refused.success(), "{refused}");
        assert_eq!(site.jenkins("ssh web2 'id -un; hostname'").expect_success(), "deploy\nweb2\n");
        assert_eq!(site.jenkins("hostward ssh web2 id -un").expect_success(), "deploy\n");
        assert_eq!(site.jenkins("hostward ssh web2 exit 7").status, 7, "the exit status is the command's");

        // The home is jenkins' own, whatever HOME says: ssh goes by passwd too.
        let as_jenkins = "setpriv --reuid 112 --regid 112 --clear-groups env HOME=/root";
        site.ci.host.must(&format!("{as_jenkins} hostward resolve -q web1 && {as_jenkins} ssh web1 true"));
        assert!(site.jenkins("hostward config service_auth.enable false").success());
        assert!(!site.jenkins("hostward resolve -q web1").success());
        let status = site.jenkins("hostward status").stdout;
        assert!(status.contains("turned off by this account"), "{status}");
        assert!(site.jenkins("echo '[service_auth' >~/.config/hostward/config.toml").success());
        let status = site.jenkins("hostward status");
        assert!(!status.success() && status.stdout.contains("its settings cannot be read: "), "{status}");
        assert!(site.jenkins("rm ~/.config/hostward/config.toml && hostward resolve -q web1").success());

        // Who came is known on each hop, and nothing was forwarded to any.
        for host in [&site.bastion, &site.web1, &site.web2] {
            let log = host.ok("journalctl --no-pager -u ssh -u 'ssh@*'");
            assert!(log.contains("ID service:deploy@ci:uid=112 (serial "), "{}: {log}", host.name());
        }
        assert!(site.jenkins("ssh -A web1 'test -z \"${SSH_AUTH_SOCK-}\"'").success());

        // Nobody else gets anything: another account, root, or root as jenkins' agent's client.
        for user in ["olga", "root", "nobody"] {
            let listed = site.ci.host.run_as(user, &format!("{SOCKET} ssh-add -l"));
            assert!(listed.status == 1 && listed.stdout.contains("no identities"), "{user}: {listed}");
            let tried = site.ci.host.run_as(user, "ssh -o BatchMode=yes -o StrictHostKeyChecking=no bastion true");
            assert!(!tried.success(), "{user}: {tried}");
        }

        // What goes wrong is said where somebody sees it, although it is plain ssh that they run.
        let status = site.jenkins("hostward status; true").stdout;
        assert!(status.contains("(uid 112) stands for deploy; its certificate is good until"), "{status}");
        let resolved = site.jenkins("hostward resolve web2").expect_success();
        let names: Vec<&str> = resolved.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(names, ["web2", "web1", "bastion"], "{resolved}");
        let unknown = site.jenkins("hostward ssh nowhere");
        assert!(unknown.status == 1 && unknown.stderr.contains("no host of that name is known"), "{unknown}");

        unbinding_is_the_end_of_it(&site);
    }

    /// Programs that go over ssh, and one that speaks to the agent itself.
    fn whatever_speaks_to_an_agent_works(release) {
        let lab = new_lab();
        let mut site = Site::new(&lab, release);
        for host in [&site.ci.host, &site.web2] {
            host.install_offered("git rsync");
        }
        site.ci.host.install_offered("python3-paramiko");
        let tree = "mkdir -p ~/tree && date >~/tree/now && cp ~/tree/now ~/now";
        assert!(site.jenkins(tree).success());
        let sent = site.jenkins("cat ~/now").stdout;
        for (command, arrived) in [
            ("rsync --archive ~/tree/ web2:rsynced/", "rsynced/now"),
            ("scp -q ~/now web2:copied", "copied"),
            ("echo 'put now sftped' | sftp -q -b - web2", "sftped"),
        ] {
            let gone = site.jenkins(&format!("cd && {command}"));
            assert!(gone.success(), "{gone}");
            assert_eq!(site.jenkins(&format!("ssh web2 cat {arrived}")).expect_success(), sent, "{command}");
        }
        assert!(site.jenkins("ssh web2 git init -q --bare repo").success());
        let pushed = "cd ~/tree && git init -q && git add . && git -c user.name=j -c user.email=j@ci commit -qm x && \
                      git push -q ssh://web2/home/deploy/repo HEAD:refs/heads/main && cd .. && \
                      git clone -q --branch main ssh://web2/home/deploy/repo cloned && cat cloned/now";
        assert_eq!(site.jenkins(pushed).expect_success(), sent);
        site.ci.host.write("/tmp/go.py", 0o644, "root:root", PARAMIKO);
        let said = site.jenkins(&format!("{SOCKET} python3 -W ignore /tmp/go.py")).expect_success();
        assert_eq!(said, "deploy@web2\n");
        // Ports are forwarded, which a way over a bastion needs; the account's own configuration may ask for it.
        let forwarded = site.jenkins("ssh -W 127.0.0.1:22 web2 </dev/zero | head -c 4");
        assert_eq!(forwarded.stdout, "SSH-", "{forwarded}");
        who_asked_is_written_down(&site);
        what_is_good_is_used_while_the_backend_is_down(&mut site);
    }

    /// Hosts are believed for their certificates, and without a question.
    fn a_host_with_another_key_is_refused_without_a_prompt(release) {
        let lab = new_lab();
        let site = Site::new(&lab, release);
        a_name_that_is_anothers_leads_nowhere(&site);
        site.bastion.must(
            "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/other && \
             sed -i '1i HostKey /etc/ssh/other' /etc/ssh/sshd_config && systemctl restart ssh",
        );
        for command in ["ssh bastion true", "ssh web1 true", "hostward ssh bastion true"] {
            let refused = site.jenkins(&format!("timeout 20 {command} </dev/null"));
            assert_eq!(refused.status, 255, "{command}: {refused}");
            assert!(refused.stderr.contains("Host key verification failed"), "{command}: {refused}");
        }
    }
}

/// Ansible's own connection is plain ssh; what it may become is what sudo grants. On one release: it is large and slow.
#[test]
fn ansible_goes_where_the_account_goes() {
    let lab = new_lab();
    let site = Site::new(&lab, Release::Bookworm);
    site.ci.host.install_offered("ansible-core");
    for host in [&site.web1, &site.web2] {
        host.install_offered("python3");
    }
    site.ci.host.write("/srv/inventory", 0o644, "root:root", "[web]\nweb1\nweb2\n");
    let ansible = |rest: &str| format!("cd && LC_ALL=C.UTF-8 ansible --inventory /srv/inventory {rest}");
    let pinged = site.jenkins(&ansible("all --one-line --module-name ping"));
    for host in ["web1", "web2"] {
        assert!(pinged.stdout.contains(&format!("{host} | SUCCESS => ")), "{pinged}");
    }
    let who =
        site.jenkins(&ansible("web2 --one-line --module-name command --args 'id -un'")).expect_success();
    assert!(who.ends_with("| (stdout) deploy\n"), "{who}");

    let restart = ansible("web2 --module-name command --args 'sudo -n systemctl restart nginx'");
    let before = Site::nginx(&site.web2);
    let restarted = site.jenkins(&restart);
    assert!(restarted.success(), "{restarted}");
    assert_ne!(Site::nginx(&site.web2), before);
    // It becomes somebody else by a shell, which is more than one command.
    let become_root = ansible("web2 --one-line --become --module-name command --args 'id -un'");
    let refused = site.jenkins(&become_root);
    assert!(!refused.success() && refused.stdout.contains("sudo"), "{refused}");
    let _version = site.ci.publish(|text| {
        edited(
            text,
            "no_passwd = true\ncommands = [",
            "no_passwd = true\ncommands = [{ executable = \"/bin/sh\" }, { executable = \"/usr/bin/sh\" },",
        )
    });
    site.web2.wait_until_ok(SOON, "grep -rq bin/sh /etc/sudoers.d");
    let became = site.jenkins(&become_root).expect_success();
    assert!(became.ends_with("| (stdout) root\n"), "{became}");
}

/// A host of the project says that it is called what another is called.
fn a_name_that_is_anothers_leads_nowhere(site: &Site<'_>) {
    let names = "[host]\ncanonical_name = \"web1\"\nalt_names = [\"shop\", \"git.example\"]\n";
    let web3 = site.ci.beside("web3", &format!("[labels]\nrole = \"web\"\n{names}"));
    web3.wait_until_ok(SOON, "grep -q HostCertificate /etc/ssh/sshd_config.d/10-hostward.conf");
    site.wait_for_way_to("web3");
    // What it says it is called is a better kind of name than what web1 is.
    let found = format!("runuser -u jenkins -- hostward resolve web1 | grep -qF ' {} '", web3.address());
    site.ci.host.wait_until_ok(SOON, &found);
    for command in ["ssh web1 hostname", "hostward ssh web1 hostname"] {
        let refused = site.jenkins(&format!("timeout 20 {command} </dev/null"));
        assert!(refused.status == 255 && refused.stdout.is_empty(), "{command}: {refused}");
        assert!(refused.stderr.contains("Host key verification failed"), "{command}: {refused}");
    }
    // The same kind of name is nobody's.
    site.bastion.must(
        "sed -i '/role/a [host]\\nalt_names = [\"shop\"]' /etc/hostward/hostward.toml && systemctl reload hostward",
    );
    site.ci
        .host
        .wait_until_ok(SOON, "runuser -u jenkins -- hostward resolve shop 2>&1 | grep -q 'several hosts'");
    let refused = site.jenkins("hostward ssh shop true");
    assert_eq!(refused.status, 1, "{refused}");
    for host in [&site.bastion, &web3] {
        assert!(refused.stderr.contains(&format!(", {})", host.address())), "{refused}");
    }
    let refused = site.jenkins("ssh shop true </dev/null");
    assert!(refused.status == 255 && refused.stderr.contains("several hosts are called so"), "{refused}");
    // What no other host is called it may be called, unless the operator says which names are the project's.
    assert_eq!(site.jenkins("ssh git.example hostname").expect_success(), "web3\n");
    site.ci.configure("[labels]\nrole = \"ci\"\n[service]\nhosts = [\"web?\", \"bastion\"]\n");
    site.ci.host.wait_until_ok(SOON, "! runuser -u jenkins -- hostward resolve -q git.example");
    let settings = site.jenkins("ssh -G git.example").expect_success();
    assert!(settings.contains("user jenkins\n") && !settings.contains("hostward"), "{settings}");
    web3.must("hostward unenroll --yes");
    site.ci.host.wait_until_ok(SOON, "runuser -u jenkins -- ssh web1 true");
}

/// The uid decided; process and unit are for whoever reads the log.
fn who_asked_is_written_down(site: &Site<'_>) {
    // What it had is gone with the agent that had it.
    site.ci.host.must("systemctl restart hostward");
    site.ci.host.must("systemd-run --quiet --wait --unit=job --property=User=jenkins ssh web2 true");
    let event = site.ci.host.ok("hostward events --type certificate.issued --json | tail -n 1");
    for part in [
        "\"unit\":\"job.service\"",
        "\"uid\":\"112\"",
        "\"name\":\"service:deploy@ci:uid=112\"",
        "\"principals\":[\"deploy\"]",
    ] {
        assert!(event.contains(part), "{part}: {event}");
    }
}

/// Hosts too, by whatever they are called; then it is told why there is nothing, and soon.
fn what_is_good_is_used_while_the_backend_is_down(site: &mut Site<'_>) {
    site.ci.backend.stop();
    for command in ["ssh web2 id -un", "hostward ssh web2 id -un"] {
        assert_eq!(site.jenkins(command).expect_success(), "deploy\n", "{command}");
    }
    site.ci.host.must("systemctl restart hostward");
    for (command, status) in
        [("hostward ssh web2 true", 1), ("hostward resolve web2", 1), ("ssh web2 true", 255)]
    {
        let start = Instant::now();
        let refused = site.jenkins(&format!("{command} </dev/null"));
        assert!(refused.status == status && start.elapsed() < Duration::from_secs(5), "{command}: {refused}");
        if status == 1 {
            assert!(refused.stderr.contains("refuses connections"), "{command}: {refused}");
        }
    }
}

/// Within a second, and with everything that was there.
fn unbinding_is_the_end_of_it(site: &Site<'_>) {
    let version = site.ci.publish(|_| team(""));
    let start = Instant::now();
    site.ci.wait_for_version(version);
    let refused = site.jenkins("ssh -o BatchMode=yes web1 true");
    let took = start.elapsed();
    assert!(!refused.success(), "{refused}");
    println!("{}: unbound and refused in {took:?}", site.ci.host.release());
    let listed = site.jenkins(&format!("{SOCKET} ssh-add -l"));
    assert!(listed.stdout.contains("no identities"), "{listed}");
    let refused = site.jenkins("hostward ssh web1 true");
    assert!(refused.status == 1 && refused.stderr.contains("stands for no service user"), "{refused}");
    let version = site.ci.publish(|text| edited(text, "[users.deploy]", &format!("{BOUND}\n[users.deploy]")));
    site.ci.wait_for_version(version);
    site.ci.host.wait_until_ok(SOON, "runuser -u jenkins -- ssh web1 true");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// The agent for the login, hostward for the way. Paramiko knows no host certificates.
const PARAMIKO: &str = r#"
import paramiko
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
way = paramiko.ProxyCommand("/usr/bin/hostward proxycommand web2")
client.connect("web2", username="deploy", sock=way, look_for_keys=False, timeout=20)
_, out, _ = client.exec_command("echo $(id -un)@$(hostname)")
print(out.read().decode(), end="")
client.close()
"#;
