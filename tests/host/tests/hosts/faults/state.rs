//! Two states of a policy, and whether a host is in one of them, or on the way: each file whole, nothing given before the
//! other side's is taken.

use std::fs;
use std::path::PathBuf;

use hostward_host_tests::{Fixture, Lab, SOON};
use hostward_mock_backend::publisher::Revocations;

/// Settings that both have.
const PEOPLE: &str = r#"
[project]
id = "acme"

[users.alice]
uid = 70001

[users.bob]
uid = 70002

[groups.people]
gid = 71001
members = [@]

[[grants]]
group = "people"
login = true
entitlements = ["look"]

[entitlements.look]
commands = [{ executable = "/usr/bin/id", arguments = ["-nu"] }, { executable = "/usr/bin/id", arguments = ["@"] }]
"#;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Alice and bob may log in, `sudo id -u` is theirs.
    Both,
    /// Only alice may, and `sudo id -g` is hers.
    One,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Both => Self::One,
            Self::One => Self::Both,
        }
    }

    /// Its team file.
    pub fn team(self) -> String {
        match self {
            Self::Both => PEOPLE.replacen('@', "\"alice\", \"bob\"", 1).replace('@', "-u"),
            Self::One => PEOPLE.replacen('@', "\"alice\"", 1).replace('@', "-g"),
        }
    }
}

/// A host that goes back and forth between the two.
pub struct Pendulum<'f, 'lab> {
    pub fixture: &'f Fixture<'lab>,
    root_key: PathBuf,
}

impl<'f, 'lab> Pendulum<'f, 'lab> {
    /// On a host that is enrolled with [`Side::Both`]. A revocation makes the list more than an empty file.
    pub fn new(lab: &Lab, fixture: &'f Fixture<'lab>) -> Self {
        let root_key = lab.ssh_key("root").expect("a key");
        let public = fs::read(root_key.with_extension("pub")).expect("its public half");
        fixture.host.write("/root/.ssh/authorized_keys", 0o600, "root:root", public);
        fixture.host.must("useradd --create-home carol");
        let rule = "carol ALL=(root) NOPASSWD: /usr/bin/id\n";
        fixture.host.write("/etc/sudoers.d/50-operator", 0o440, "root:root", rule);
        fixture.stop_timer();
        let pendulum = Pendulum { fixture, root_key };
        pendulum.revoke(4711, false);
        pendulum.is_whole("at the start");
        pendulum
    }

    /// Publishes that a serial number is revoked, or no longer is, and waits until that is in force.
    pub fn revoke(&self, serial: u64, undo: bool) {
        let revocations = Revocations { serials: vec![serial], ..Revocations::default() };
        let version = self.fixture.client.revoke(revocations, undo).expect("a revocation");
        self.fixture.wait_for_version(version);
    }

    /// What must hold whatever happened: tools work, nobody local is locked out, each part is old or new, and what is
    /// left of an interruption is nothing that sudo or sshd reads.
    #[track_caller]
    pub fn is_whole(&self, when: &str) {
        let host = &self.fixture.host;
        let checks = host.run("visudo -c && sshd -t && getent passwd alice");
        assert!(checks.success(), "{when}: {checks}");
        let carol = host.run_as("carol", "sudo -n id -u");
        assert_eq!(carol.stdout, "0\n", "{when}: {carol}");
        let root = self.fixture.lab.login(host, "root").key(&self.root_key).run("id -u");
        assert_eq!(root.stdout, "0\n", "{when}: {root}\n{}", host.journal("ssh"));

        // What only one side gives is taken before it is given, so there is a moment without either; never one with both.
        let rules: Vec<_> = ["-u", "-g", "-G"].map(|option| self.alice_may(option)).into();
        assert!(!(rules[2] || (rules[0] && rules[1])), "{when}: alice's rules are {rules:?}");
        assert!(self.alice_may("-nu"), "{when}: what both sides give is never taken");
        for user in ["alice", "bob"] {
            let exists = || host.run(&format!("getent passwd {user}")).success();
            let before = exists();
            let login = self.fixture.ssh_as(user).run("id -un");
            // It may change meanwhile: whoever was interrupted may be at work again.
            assert!(login.success() == before || before != exists(), "{when}: {login}");
        }
        let visible = host.ok("ls /etc/sudoers.d /etc/ssh/sshd_config.d");
        let names: Vec<_> = visible.split_whitespace().filter(|name| !name.starts_with('/')).collect();
        assert_eq!(names, ["10-hostward.conf", "50-operator", "README", "hostward"], "{when}");
    }

    /// Whether the host is wholly on this side.
    pub fn is_on(&self, side: Side) -> bool {
        let host = &self.fixture.host;
        let bob = host.run("getent passwd bob").success();
        match side {
            Side::Both => bob && self.alice_may("-u") && !self.alice_may("-g"),
            Side::One => !bob && self.alice_may("-g") && !self.alice_may("-u"),
        }
    }

    fn alice_may(&self, option: &str) -> bool {
        self.fixture.host.run_as("alice", &format!("sudo -n /usr/bin/id {option}")).success()
    }

    /// Applies until that succeeds and the host is wholly on this side, with nothing left to do.
    #[track_caller]
    pub fn converges(&self, side: Side, when: &str) {
        self.fixture.host.wait_for(SOON, &format!("{when}: the next pass to converge on {side:?}"), |host| {
            let applied = host.run("hostward sync; hostward apply");
            if applied.success() && self.is_on(side) { Ok(()) } else { Err(applied.to_string()) }
        });
        let login = self.fixture.ssh_as("alice").run("id -un");
        assert_eq!(login.stdout, "alice\n", "{when}: {login}");
        // logind may take a while to forget somebody.
        self.fixture.host.wait_for(SOON, &format!("{when}: nothing left to do"), |_| {
            let report = self.fixture.apply();
            let nothing = report.is_whole() && report.steps.is_empty() && report.drift.is_empty();
            if nothing { Ok(()) } else { Err(format!("{report:#?}")) }
        });
        self.leaves_nothing_behind(when);
    }

    /// No temporary file outlives the pass after where others look; elsewhere each has one name that is used again.
    #[track_caller]
    fn leaves_nothing_behind(&self, when: &str) {
        let hidden = "find /etc/sudoers.d /etc/ssh /var/lib/misc -name '.*' -type f";
        let left = self.fixture.host.ok(hidden);
        let left: Vec<_> = left.lines().filter(|path| !path.ends_with("/.placeholder")).collect();
        assert!(left.is_empty(), "{when}: {left:#?}");
        let own = self.fixture.host.ok("find /var/lib/hostward -name '.*' -type f");
        assert!(own.lines().all(|path| path.ends_with(".new")) && own.lines().count() < 5, "{when}: {own}");
    }
}
