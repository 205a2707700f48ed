//! What the account may do and what nobody else may, from binding to unbinding.

use std::time::{Duration, Instant};

use hostward_host_tests::{SOON, edited, new_lab, on_each_release};

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
        let site = Site::new(&lab, release);
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
    }

    /// Hosts are believed for their certificates, and without a question.
    fn a_host_with_another_key_is_refused_without_a_prompt(release) {
        let lab = new_lab();
        let site = Site::new(&lab, release);
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
