//! Which local accounts stand for users: what root writes for the agent and for ssh, and what it refuses to.

use hostward_host_tests::{Ca, Fixture, Release, TEAM, edited, new_lab, on_each_release};
use hostward_protocol::report::Report;
use hostward_protocol::service::{BoundService, BoundServices, ServiceIssuer};

const SERVICES: &str = "/var/lib/hostward/ssh/services.json";
const KNOWN_HOSTS: &str = "/var/lib/hostward/ssh/known_hosts";
const CLIENT_CONFIG: &str = "/var/lib/hostward/ssh/client.conf";
const FILES: [&str; 3] = [SERVICES, KNOWN_HOSTS, CLIENT_CONFIG];
const CI: &str = "[labels]\nrole = \"ci\"\n";

/// The service user may log in nowhere near; what counts here is the binding.
fn team(uid: u64) -> String {
    format!(
        "{TEAM}
[users.deploy]
uid = 70100
principals = [\"deploy\", \"svc/deploy\"]

[[services]]
user = \"deploy\"
hosts = \"labels.role = ci\"
uid = {uid}
"
    )
}

fn codes(report: &Report) -> Vec<&str> {
    report.refusals.iter().map(|finding| finding.code.as_str()).collect()
}

fn bound(fixture: &Fixture<'_>) -> Vec<BoundService> {
    let text = fixture.host.run(&format!("cat {SERVICES}")).stdout;
    serde_json::from_str::<BoundServices>(&text).map(|bound| bound.services).unwrap_or_default()
}

on_each_release! {
    /// A binding comes, is repaired and goes; ssh of everybody else is as without hostward all the while.
    fn a_binding_is_written_for_the_agent_and_for_ssh(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).without_package().configuration(CI).boot();
        let host = &fixture.host;
        host.must("useradd --system --uid 112 --create-home jenkins && useradd --create-home olga");
        let settings = |user: &str| {
            let output = host.run_as(user, "ssh -G -v somewhere.example");
            assert!(output.success(), "{output}");
            let runs = output.stderr.matches("Executing command").count();
            (output.stdout, runs)
        };
        let users = ["root", "olga", "jenkins"];
        let without = users.map(settings);
        host.install(&hostward_host_tests::package());
        assert_eq!(users.map(settings), without, "the file that is included need not exist");
        fixture.trust_backend(CI);
        fixture.enroll();
        fixture.stop_timer();
        assert_eq!(users.map(settings), without, "nobody is bound");
        assert!(FILES.iter().all(|file| !host.exists(file)));

        fixture.change_team(|_| team(112));
        let report = fixture.apply();
        assert!(report.is_whole() && report.refusals.is_empty(), "{report:#?}");
        let principals = vec!["deploy".to_owned(), "svc/deploy".to_owned()];
        assert_eq!(bound(&fixture), [BoundService { uid: 112, user: "deploy".into(), principals, issuer: ServiceIssuer::Backend }]);
        let ca = Ca::Host.public_line(&fixture.backend.state_dir()).expect("a CA");
        let key = ca.split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert!(host.read(KNOWN_HOSTS).contains(&format!("\n@cert-authority * {key}\n")));
        for file in FILES {
            assert_eq!(host.stat(file), "regular file 644 root:root");
            let _ = host.run_as("olga", &format!("cat {file}")).expect_success();
        }
        assert!(host.ok("hostward doctor || true").contains("ssh is set up; bound accounts: 1"));

        // The command decides whether the block holds; who is not bound runs none.
        assert_eq!(settings("root"), without[0]);
        assert_eq!(settings("olga"), without[1]);
        assert_eq!(settings("jenkins").1, 1);
        let block = host.read(CLIENT_CONFIG);
        let command = "exec \"/usr/bin/hostward resolve -q -- '%h'\"";
        for (answer, applies) in [("exec \"exit 0\"", true), ("exec \"exit 1\"", false)] {
            host.write("/tmp/client.conf", 0o644, "root:root", edited(&block, command, answer));
            let shown = host.run_as("jenkins", "ssh -G -F /tmp/client.conf web1").expect_success();
            for line in [
                "user deploy",
                "identityagent /run/hostward/ssh-agent.sock",
                "proxycommand /usr/bin/hostward proxycommand -- 'web1' 22",
                "userknownhostsfile /var/lib/hostward/ssh/known_hosts",
                "stricthostkeychecking true",
                "preferredauthentications publickey",
            ] {
                // Older releases show what is to be expanded later.
                let line = if line.starts_with("proxy") && !shown.contains("'web1'") {
                    "proxycommand /usr/bin/hostward proxycommand -- '%h' %p"
                } else {
                    line
                };
                assert_eq!(shown.lines().any(|shown| shown == line), applies, "{line}\n{shown}");
            }
            // As they are by default, on some releases at least.
            for line in ["forwardagent no", "updatehostkeys false"].iter().filter(|_| applies) {
                assert!(shown.lines().any(|shown| shown == *line), "{line}\n{shown}");
            }
        }
        // A name that is no name never reaches a shell.
        let evil = host.run_as("jenkins", "ssh -G '$(touch${IFS}/tmp/evil)`touch /tmp/evil`' ; true");
        assert!(!host.exists("/tmp/evil"), "{evil}");

        // The agent would have it repaired before we look, whenever it has something else for root.
        host.must("systemctl stop hostward.socket hostward.service");
        let whole = host.snapshot(&["/var/lib/hostward/ssh"]);
        for file in FILES {
            for damage in ["rm $f", "chmod 666 $f", "chown nobody $f", "echo x >>$f", "ln -sf /dev/null $f"] {
                host.must(&damage.replace("$f", file));
                let report = fixture.apply();
                let drift = report.drift.iter().filter(|finding| finding.subject == file).count();
                assert!(report.is_whole() && drift == 1, "{damage} {file}: {report:#?}");
                assert_eq!(whole.changes(&host.snapshot(&["/var/lib/hostward/ssh"])), [""; 0], "{damage} {file}");
            }
        }

        host.must("systemctl start hostward.socket hostward.service");

        // It ends with the policy, and with the host's membership.
        fixture.change_team(|_| TEAM.to_owned());
        assert!(FILES.iter().all(|file| !host.exists(file)));
        assert_eq!(users.map(settings), without);
        fixture.change_team(|_| team(112));
        assert!(host.exists(SERVICES));
        host.must("hostward unenroll --yes");
        assert_eq!(host.run("ls /var/lib/hostward/ssh").stdout, "");
        assert_eq!(users.map(settings), without);
    }
}

/// Uids that are nobody's in particular, or somebody else's; and bindings of other hosts.
#[test]
fn what_is_no_accounts_own_is_not_bound() {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, Release::Bookworm).configuration(CI).enrolled();
    let host = &fixture.host;
    host.must("echo builder:300000:65536 >>/etc/subuid");
    let hostward: u64 = host.ok("id -u hostward").trim().parse().expect("a uid");
    let principals: u64 = host.ok("id -u hostward-principals").trim().parse().expect("a uid");
    for (uid, code) in [
        (0, "service-uid-reserved"),
        (65_534, "service-uid-reserved"),
        (4_294_967_295, "service-uid-reserved"),
        (4_294_967_296, "service-uid-reserved"),
        (61_200, "service-uid-reserved"),
        (hostward, "service-uid-reserved"),
        (principals, "service-uid-reserved"),
        (300_001, "service-uid-subordinate"),
        (70_001, "service-uid-managed"),
    ] {
        // Beside one that is good.
        let also = "\n[[services]]\nuser = \"deploy\"\nuid = 113\n";
        fixture.change_team(|_| format!("{}{also}", team(uid)));
        let report = fixture.apply();
        assert_eq!(codes(&report), [code], "{uid}: {report:#?}");
        assert_eq!(bound(&fixture).iter().map(|service| service.uid).collect::<Vec<_>>(), [113], "{uid}");
        assert!(fixture.ssh_as("alice").run("true").success());
    }
    // Whoever was here once keeps the uid.
    fixture.change_team(|_| team(112).replace("[\"alice\", \"bob\"]", "[\"alice\"]"));
    assert_eq!(bound(&fixture).len(), 1);
    fixture.change_team(|_| team(70_002).replace("[\"alice\", \"bob\"]", "[\"alice\"]"));
    assert_eq!(codes(&fixture.apply()), ["service-uid-managed"]);
    assert_eq!(bound(&fixture), []);

    fixture.change_team(|_| edited(&team(112), "role = ci", "role = web"));
    assert_eq!((codes(&fixture.apply()), bound(&fixture)), (vec![], vec![]));
    fixture.change_team(|_| edited(&team(112), "uid = 70100", "uid = 70100\nstatus = \"suspended\""));
    let report = fixture.apply();
    assert!(report.warnings.iter().any(|finding| finding.code == "service-user-suspended"), "{report:#?}");
    assert_eq!(bound(&fixture), []);
    let twice = format!("{}\n[[services]]\nuser = \"alice\"\nuid = 112\n", team(112));
    fixture.change_team(|_| twice.clone());
    assert_eq!((codes(&fixture.apply()), bound(&fixture)), (vec!["service-uid-duplicate"; 2], vec![]));
}

/// A purge takes the file in /etc along.
#[test]
fn a_purge_leaves_no_configuration_of_ssh() {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, Release::Trixie).configuration(CI).team(&team(112)).enrolled();
    let host = &fixture.host;
    host.must("useradd --system --uid 112 --create-home jenkins");
    assert_eq!(bound(&fixture).len(), 1);
    host.remove(hostward_host_tests::PACKAGE);
    assert!(FILES.iter().all(|file| !host.exists(file)));
    let _ = host.run_as("jenkins", "ssh -G somewhere.example").expect_success();
    host.purge(hostward_host_tests::PACKAGE);
    assert_eq!(host.run("grep -rl hostward /etc/ssh").stdout, "");
    let _ = host.run_as("jenkins", "ssh -G somewhere.example").expect_success();
}
