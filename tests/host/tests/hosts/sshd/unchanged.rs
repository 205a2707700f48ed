//! Logins of root and local users: whatever the operator's configuration made of them without hostward, it makes of
//! them with it.

use std::fs;
use std::path::PathBuf;

use hostward_host_tests::{Ca, Fixture, Lab, Release, new_lab, on_each_release};
use hostward_protocol::report::{Finding, Outcome, Report, Responsible};

const MAIN: &str = "/etc/ssh/sshd_config";
const INCLUDE: &str = "Include /etc/ssh/sshd_config.d/*.conf";

/// A main file that an operator may have: the stock one with lines before and after it, with or without its include.
struct Shape {
    name: &'static str,
    before: &'static str,
    after: &'static str,
    include: bool,
}

macro_rules! ca {
    () => {
        "TrustedUserCAKeys /etc/ssh/operator_ca.pub\nRevokedKeys /etc/ssh/operator_revoked\n"
    };
}
macro_rules! principals {
    () => {
        "AuthorizedPrincipalsFile /etc/ssh/operator_principals/%u\n"
    };
}
macro_rules! groups {
    () => {
        "AllowGroups root operators\n"
    };
}
macro_rules! last_match {
    () => {
        "Match User dave\n    PubkeyAuthentication no\n"
    };
}

const SHAPES: &[Shape] = &[
    Shape { name: "stock", before: "", after: "", include: true },
    Shape { name: "a CA", before: "", after: ca!(), include: true },
    Shape { name: "a CA before the include", before: ca!(), after: "", include: true },
    Shape { name: "a CA and principals", before: "", after: concat!(ca!(), principals!()), include: true },
    Shape { name: "AllowGroups", before: "", after: groups!(), include: true },
    Shape { name: "AllowUsers", before: "AllowUsers root carol\n", after: "", include: true },
    Shape { name: "a Match at the end", before: "", after: last_match!(), include: true },
    Shape { name: "no include", before: "", after: "", include: false },
    Shape { name: "no include, a Match at the end", before: "", after: last_match!(), include: false },
    Shape {
        name: "no include, and everything",
        before: "",
        after: concat!(ca!(), principals!(), groups!(), last_match!()),
        include: false,
    },
];

/// The operator's own people and CA.
struct Operator<'lab> {
    lab: &'lab Lab,
    /// As whom, with what, and what to call it.
    logins: Vec<(&'static str, PathBuf, &'static str)>,
    stock: String,
}

impl<'lab> Operator<'lab> {
    fn set_up(fixture: &Fixture<'lab>) -> Self {
        let (lab, host) = (fixture.lab, &fixture.host);
        host.must("groupadd operators");
        host.must("useradd --create-home --groups operators carol && useradd --create-home dave");
        let mut operator = Operator { lab, logins: Vec::new(), stock: host.read(MAIN) };
        assert!(operator.stock.contains(INCLUDE), "{}", operator.stock);

        let ca = operator.key("operator-ca");
        let stranger = operator.key("stranger-ca");
        host.write("/etc/ssh/operator_ca.pub", 0o644, "root:root", public(&ca));
        host.write("/etc/ssh/operator_principals/carol", 0o644, "root:root", "ops\n");

        for (user, name) in [("root", "root"), ("carol", "carol"), ("dave", "dave"), ("carol", "revoked")] {
            let key = operator.key(name);
            let home = if user == "root" { "/root".to_owned() } else { format!("/home/{user}") };
            let line = public(&key);
            host.must(&format!("install -d -m 700 -o {user} -g {user} {home}/.ssh"));
            let keys = format!("{home}/.ssh/authorized_keys");
            let earlier = host.run(&format!("cat {keys}")).stdout;
            host.write(&keys, 0o600, &format!("{user}:{user}"), format!("{earlier}{line}"));
            operator.logins.push((user, key, name));
        }
        for (user, principal, name) in [
            ("root", "root", "ca-root"),
            ("carol", "carol", "ca-carol"),
            ("carol", "ops", "ca-ops"),
            ("carol", "carol", "ca-revoked"),
        ] {
            let key = operator.certified(&ca, principal, name);
            operator.logins.push((user, key, name));
        }
        let key = operator.certified(&stranger, "carol", "ca-stranger");
        operator.logins.push(("carol", key, "ca-stranger"));
        let revoked: String = operator
            .logins
            .iter()
            .filter(|(_, _, name)| name.ends_with("revoked"))
            .map(|(_, key, _)| public(key))
            .collect();
        host.write("/etc/ssh/operator_revoked", 0o644, "root:root", revoked);
        operator
    }

    fn key(&self, name: &str) -> PathBuf {
        self.lab.ssh_key(name).expect("a key")
    }

    fn certified(&self, ca: &std::path::Path, principal: &str, name: &str) -> PathBuf {
        let key = self.key(name);
        let (ca, public) = (ca.to_string_lossy(), key.with_extension("pub"));
        let args = [
            "ssh-keygen",
            "-q",
            "-s",
            &ca,
            "-I",
            name,
            "-n",
            principal,
            "-V",
            "-1m:+1h",
            &public.to_string_lossy(),
        ];
        let _ = self.lab.run_args_in_network(&args, &[]).expect_success();
        key
    }

    fn main_file(&self, shape: &Shape) -> String {
        let stock = if shape.include { self.stock.clone() } else { self.stock.replace(INCLUDE, "") };
        format!("{}{stock}\n{}", shape.before, shape.after)
    }

    /// Gives sshd this main file, as an operator would.
    fn write_main(&self, fixture: &Fixture<'_>, content: &str) {
        fixture.host.write(MAIN, 0o644, "root:root", content);
        fixture.host.must("sshd -t && systemctl reset-failed ssh; systemctl restart ssh");
    }

    /// Who gets in, one line a login.
    fn outcomes(&self, fixture: &Fixture<'_>) -> String {
        let mut outcomes = String::new();
        for (user, key, name) in &self.logins {
            let output = self.lab.login(&fixture.host, user).key(key).run("id -un");
            let outcome = if output.stdout == format!("{user}\n") {
                "in"
            } else {
                assert!(output.stderr.contains("Permission denied ("), "{name}: {output}");
                "refused"
            };
            outcomes += &format!("{name}: {outcome}\n");
        }
        outcomes
    }
}

fn public(key: &std::path::Path) -> String {
    fs::read_to_string(key.with_extension("pub")).expect("the public half of a key")
}

fn is_let_in(fixture: &Fixture<'_>, user: &str) -> bool {
    fixture.ssh_as(user).run("id -un").stdout == format!("{user}\n")
}

#[track_caller]
fn managed_logins_work(fixture: &Fixture<'_>, what: &str) {
    let output = fixture.ssh_as("alice").run("id -un");
    assert_eq!(output.stdout, "alice\n", "{what}: {output}\n{:#?}", fixture.report());
    let other = fixture.signed_key("alice", Ca::Other, |_| {});
    assert!(!fixture.lab.login(&fixture.host, "alice").key(&other).run("true").success(), "{what}");
}

/// What the operator is told.
fn told_to_operator(report: &Report) -> Vec<&Finding> {
    let failed = report.steps.iter().filter_map(|step| match &step.outcome {
        Outcome::Failed(finding) => Some(finding),
        _ => None,
    });
    failed.chain(&report.warnings).filter(|finding| finding.responsible == Responsible::Operator).collect()
}

on_each_release! {
    /// Every shape of the main file, with and without hostward.
    fn local_logins_are_as_without_hostward(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).without_package().boot();
        let operator = Operator::set_up(&fixture);
        let without: Vec<_> = SHAPES
            .iter()
            .map(|shape| {
                operator.write_main(&fixture, &operator.main_file(shape));
                operator.outcomes(&fixture)
            })
            .collect();
        // The shapes are what they are called.
        assert!(without[0].contains("carol: in\ndave: in\nrevoked: in\nca-root: refused\n"), "{}", without[0]);
        assert!(without[1].contains("revoked: refused\nca-root: in\nca-carol: in\nca-ops: refused\nca-revoked: refused\nca-stranger: refused\n"), "{}", without[1]);
        assert!(without[3].contains("ca-carol: refused\nca-ops: in\n"), "{}", without[3]);
        assert!(without[4].contains("carol: in\ndave: refused\n"), "{}", without[4]);

        operator.write_main(&fixture, &operator.stock);
        fixture.host.install(&hostward_host_tests::package());
        fixture.trust_backend("");
        fixture.enroll();
        fixture.stop_timer();
        for (shape, without) in SHAPES.iter().zip(&without) {
            let main = operator.main_file(shape);
            operator.write_main(&fixture, &main);
            let report = fixture.apply();
            assert!(report.is_whole(), "{}: {report:#?}", shape.name);
            managed_logins_work(&fixture, shape.name);
            let with = operator.outcomes(&fixture);
            assert_eq!(*without, with, "{}", shape.name);
            assert_eq!(fixture.host.read(MAIN).contains("# BEGIN hostward"), !shape.include, "{}", shape.name);
            assert!(fixture.host.read(MAIN).ends_with(&main), "{}: {}", shape.name, fixture.host.read(MAIN));
            assert!(fixture.apply().steps.is_empty(), "{}: a second pass has nothing to do", shape.name);
        }

        // It goes as it came; the last shape is one that it had to edit.
        let last = operator.main_file(&SHAPES[SHAPES.len() - 1]);
        fixture.host.must("hostward unenroll --yes");
        assert_eq!(fixture.host.read(MAIN), last);
        assert!(!fixture.host.exists("/etc/ssh/sshd_config.d/10-hostward.conf"));
        assert_eq!(operator.outcomes(&fixture), without[SHAPES.len() - 1]);
        assert!(!is_let_in(&fixture, "alice"));
    }

    /// Whom the operator denies stays denied, whatever the policy grants.
    fn an_operators_denial_holds(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        assert!(is_let_in(&fixture, "alice") && is_let_in(&fixture, "bob"));
        let main = fixture.host.read(MAIN);
        fixture.host.write(MAIN, 0o644, "root:root", format!("DenyUsers alice\n{main}"));
        fixture.host.must("systemctl restart ssh");
        assert!(!is_let_in(&fixture, "alice") && is_let_in(&fixture, "bob"));
        let report = fixture.apply();
        assert!(report.is_whole(), "{report:#?}");
        assert!(!is_let_in(&fixture, "alice") && is_let_in(&fixture, "bob"));
    }

    /// A main file that sshd cannot read was so before hostward came: it is left alone, what runs goes on running, and
    /// the operator is told.
    fn a_syntax_error_that_was_there_before(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).without_package().boot();
        let operator = Operator::set_up(&fixture);
        let without = operator.outcomes(&fixture);
        let broken = format!("{}\nNoSuchKeyword yes\n", operator.stock);
        fixture.host.write(MAIN, 0o644, "root:root", &broken);
        fixture.host.install(&hostward_host_tests::package());
        fixture.trust_backend("");
        let enrolled = fixture.try_enroll(&fixture.token(), 30);
        assert!(enrolled.stdout.contains("enrolled as host"), "{enrolled}");
        fixture.stop_timer();

        let report = fixture.apply();
        assert!(!report.is_whole(), "{report:#?}");
        let told = told_to_operator(&report);
        assert!(told.iter().any(|finding| format!("{finding:?}").contains("sshd")), "{report:#?}");
        assert_eq!(fixture.host.read(MAIN), broken);
        assert_eq!(operator.outcomes(&fixture), without);
        // Nobody is exposed whom sshd would not hold to certificates, and nobody is said to be.
        assert!(!fixture.host.run("getent passwd alice").success() && !is_let_in(&fixture, "alice"));
        assert_eq!(report.users, 0, "{report:#?}");

        operator.write_main(&fixture, &operator.stock);
        let report = fixture.apply();
        assert!(report.is_whole(), "{report:#?}");
        managed_logins_work(&fixture, "mended");

        // Broken once hostward is there: people go on coming in, and a change of the policy's people takes effect.
        fixture.host.write(MAIN, 0o644, "root:root", &broken);
        fixture.change_team(|team| team.replace("\"alice\", \"bob\"", "\"alice\""));
        assert!(is_let_in(&fixture, "alice") && !is_let_in(&fixture, "bob"));
        assert_eq!(operator.outcomes(&fixture), without);
        assert_eq!(fixture.host.read(MAIN), broken);
        operator.write_main(&fixture, &operator.stock);
        assert!(fixture.apply().is_whole());
        managed_logins_work(&fixture, "mended again");
    }
}

/// sshd's own penalties are the operator's too: a refused managed login costs a local one nothing that it would not
/// cost without hostward. The rest of these tests come from many addresses instead.
#[test]
fn penalties_stay_as_the_operator_has_them() {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, Release::Trixie);
    let shown = |user: &str| {
        let all = fixture.host.ok(&format!("sshd -T -C user={user},host=x,addr=10.66.1.1"));
        all.lines().filter(|line| line.starts_with("persource")).map(str::to_owned).collect::<Vec<_>>()
    };
    let without = {
        fixture
            .host
            .must("cp -a /etc/ssh/sshd_config.d /tmp/d && rm -f /etc/ssh/sshd_config.d/10-hostward.conf");
        let shown = shown("root");
        fixture.host.must("cp -a /tmp/d/. /etc/ssh/sshd_config.d/");
        shown
    };
    assert!(!without.is_empty());
    assert_eq!((shown("root"), shown("alice")), (without.clone(), without));
}
