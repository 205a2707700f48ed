//! Each kind of entitlement, with commands that sudo must run and commands that it must refuse.

use hostward_host_tests::{Fixture, Lab, Output, Release, new_lab, on_each_release};

use super::people::team;

/// Prints as whom it runs, a variable, and its arguments.
const PROBE: &str = r#"#!/bin/sh
printf '%s:%s %s' "$(id -u)" "$(id -g)" "${COLOUR-unset}"
for argument; do printf ' [%s]' "$argument"; done
echo
"#;

const ENTITLEMENTS: &str = r##"
[entitlements.programs]
commands = [
    { executable = "/opt/t/any" },
    { executable = "/opt/t/none", arguments = "none" },
    { executable = "/opt/t/empty", arguments = [] },
    { executable = "/opt/t/exact", arguments = ["restart", "nginx"] },
    { executable = "/opt/t/exact", arguments = ["status"] },
    { executable = "/opt/t/a,b:c=d+e@f%g~h" },
    { directory = "/opt/t/tools/" },
]

[entitlements.special]
commands = [
    { executable = "/opt/t/special", arguments = ["a,b", "c:d", "e=f", "g#h", "#i", "--", "-x", "é", "$(id)", "!b", "{x}", "(y)", "&|;<>", "'q'", "~", "%z", "+n", "@h"] },
]

[entitlements.as-user]
run_as = { user = "daemon" }
commands = [{ executable = "/opt/t/as-user" }]

[entitlements.as-group]
run_as = { group = "adm" }
commands = [{ executable = "/opt/t/as-group" }]

[entitlements.as-both]
run_as = { user = "daemon", group = "adm" }
commands = [{ executable = "/opt/t/as-both" }]

[entitlements.as-uid]
run_as = { user = "#2" }
commands = [{ executable = "/opt/t/as-uid" }]

[entitlements.as-gid]
run_as = { group = "#4" }
commands = [{ executable = "/opt/t/as-gid" }]

[entitlements.asks]
no_passwd = false
commands = [{ executable = "/opt/t/asks" }]

[entitlements.setenv]
set_env = true
commands = [{ executable = "/opt/t/setenv" }]

[entitlements.keeps]
env_keep = ["COLOUR"]
commands = [{ executable = "/opt/t/keeps" }]

[entitlements.drops]
env_delete = ["LANGUAGE"]
commands = [{ executable = "/opt/t/drops" }]

[entitlements.raw]
commands = [{ raw = "/opt/t/raw a\\,b" }]
"##;

const NAMES: &[&str] = &[
    "programs", "special", "as-user", "as-group", "as-both", "as-uid", "as-gid", "asks", "setenv", "keeps",
    "drops", "raw",
];

/// What becomes of a command line of sudo.
enum Expect {
    /// It runs and prints this.
    Runs(&'static str),
    /// sudo does not run it.
    Refused,
}
use Expect::{Refused, Runs};

/// Command lines of alice, after `sudo -n`; root's group is 0, alice's 70001, daemon's 1, bin's 2, adm's 4.
const LINES: &[(&str, Expect)] = &[
    ("/opt/t/any", Runs("0:0 unset")),
    ("/opt/t/any one 'two three' '' '*'", Runs("0:0 unset [one] [two three] [] [*]")),
    ("-u root /opt/t/any", Runs("0:0 unset")),
    ("-u daemon /opt/t/any", Refused),
    ("-u '#2' /opt/t/any", Refused),
    ("-g adm /opt/t/any", Refused),
    ("/opt/t/any2", Refused),
    ("/opt/t/an", Refused),
    ("/opt/t/", Refused),
    ("/opt/t/none", Runs("0:0 unset")),
    ("/opt/t/none x", Refused),
    ("/opt/t/none ''", Refused),
    ("/opt/t/empty", Runs("0:0 unset")),
    ("/opt/t/empty x", Refused),
    ("/opt/t/exact restart nginx", Runs("0:0 unset [restart] [nginx]")),
    ("/opt/t/exact status", Runs("0:0 unset [status]")),
    ("/opt/t/exact", Refused),
    ("/opt/t/exact restart", Refused),
    ("/opt/t/exact nginx restart", Refused),
    ("/opt/t/exact restart nginx mysql", Refused),
    ("/opt/t/exact restart nginx ''", Refused),
    ("/opt/t/exact restart nginx2", Refused),
    ("/opt/t/exact restart 'nginx\n'", Refused),
    ("/opt/t/exact status nginx", Refused),
    ("/opt/t/a,b:c=d+e@f%g~h x", Runs("0:0 unset [x]")),
    ("/opt/t/a", Refused),
    ("/opt/t/tools/saw wood", Runs("0:0 unset [wood]")),
    ("/opt/t/tools/drill", Runs("0:0 unset")),
    ("/opt/t/tools/", Refused),
    ("/opt/t/tools/more/axe", Refused),
    ("/opt/t/tools/../secret", Refused),
    ("/opt/t/toolsaw", Refused),
    ("/opt/t/secret", Refused),
    (
        "/opt/t/special a,b c:d e=f g#h '#i' -- -x é '$(id)' '!b' '{x}' '(y)' '&|;<>' \"'q'\" '~' %z +n @h",
        Runs(
            "0:0 unset [a,b] [c:d] [e=f] [g#h] [#i] [--] [-x] [é] [$(id)] [!b] [{x}] [(y)] [&|;<>] ['q'] [~] [%z] [+n] [@h]",
        ),
    ),
    ("/opt/t/special a,b c:d e=f g", Refused),
    ("/opt/t/special a,b c:d e=f 'g#anything'", Refused),
    ("/opt/t/special a", Refused),
    ("/opt/t/special b", Refused),
    ("/opt/t/special", Refused),
    ("-u daemon /opt/t/as-user", Runs("1:1 unset")),
    ("/opt/t/as-user", Refused),
    ("-u bin /opt/t/as-user", Refused),
    ("-u daemon -g adm /opt/t/as-user", Refused),
    ("-g adm /opt/t/as-group", Runs("70001:4 unset")),
    ("/opt/t/as-group", Refused),
    ("-u root -g adm /opt/t/as-group", Refused),
    ("-g shadow /opt/t/as-group", Refused),
    ("-u daemon -g adm /opt/t/as-both", Runs("1:4 unset")),
    ("-u daemon /opt/t/as-both", Runs("1:1 unset")),
    ("-g adm /opt/t/as-both", Runs("70001:4 unset")),
    ("-u daemon -g shadow /opt/t/as-both", Refused),
    ("-u root -g adm /opt/t/as-both", Refused),
    ("-u '#2' /opt/t/as-uid", Runs("2:2 unset")),
    ("-u bin /opt/t/as-uid", Runs("2:2 unset")),
    ("-u '#1' /opt/t/as-uid", Refused),
    ("-u '#0' /opt/t/as-uid", Refused),
    ("-u '#-1' /opt/t/as-uid", Refused),
    ("-u '#4294967295' /opt/t/as-uid", Refused),
    ("/opt/t/as-uid", Refused),
    ("-g '#4' /opt/t/as-gid", Runs("70001:4 unset")),
    ("-g '#0' /opt/t/as-gid", Refused),
    ("/opt/t/asks", Refused),
    ("COLOUR=red /opt/t/setenv", Runs("0:0 red")),
    ("COLOUR=red /opt/t/any", Refused),
    ("LD_PRELOAD=/tmp/x.so /opt/t/any", Refused),
    ("/opt/t/raw a,b", Runs("0:0 unset [a,b]")),
    ("/opt/t/raw a", Refused),
    ("/bin/sh -c id", Refused),
    ("-i", Refused),
    ("-s", Refused),
    ("-e /etc/shadow", Refused),
];

struct Sudo<'f, 'lab> {
    fixture: &'f Fixture<'lab>,
    program: &'static str,
}

impl Sudo<'_, '_> {
    fn run(&self, user: &str, line: &str) -> Output {
        self.fixture.host.run_as(user, &format!("cd /; {} -n {line}", self.program))
    }

    fn holds(&self) {
        for (line, expect) in LINES {
            let output = self.run("alice", line);
            match expect {
                Runs(printed) => {
                    assert_eq!((output.status, output.stdout.trim_end()), (0, *printed), "{output}");
                }
                Refused => {
                    assert!(!output.success() && output.stdout.is_empty(), "sudo ran it: {output}");
                }
            }
        }
        for line in
            ["/opt/t/any", "/opt/t/none", "/opt/t/exact status", "/opt/t/tools/saw", "-g adm /opt/t/as-group"]
        {
            let output = self.run("bob", line);
            assert!(!output.success() && output.stdout.is_empty(), "bob has no entitlement: {output}");
        }
        // A group that a process carries from before, or from a set-group-ID file, gives nothing by itself.
        for carries in [
            "--reuid=70002 --regid=70002 --groups=70002,71001,71002",
            "--reuid=70002 --regid=71002 --clear-groups",
            "--reuid=daemon --regid=71002 --clear-groups",
        ] {
            let line = format!("cd /; setpriv {carries} {} -n /opt/t/any", self.program);
            let output = self.fixture.host.run(&line);
            assert!(!output.success() && output.stdout.is_empty(), "membership is over: {output}");
        }
        let alice = format!(
            "cd /; setpriv --reuid=70001 --regid=70001 --clear-groups {} -n /opt/t/any",
            self.program
        );
        assert_eq!(self.fixture.host.run(&alice).stdout, "0:0 unset\n", "the control");
        self.environment_holds();
    }

    /// `sudo` with and without variables in the caller's environment.
    fn environment_holds(&self) {
        let kept = |program: &str| {
            self.fixture.host.run_as("alice", &format!("COLOUR=red {} -n {program}", self.program)).stdout
        };
        assert_eq!(kept("/opt/t/keeps"), "0:0 red\n");
        assert_eq!(kept("/opt/t/any"), "0:0 unset\n");
        assert_eq!(kept("/opt/t/setenv"), "0:0 unset\n");
        let language = |program: &str| {
            let line = format!("LANGUAGE=xx {} -n {program}", self.program);
            self.fixture.host.run_as("alice", &line).stdout.contains("xx")
        };
        self.fixture.host.write(
            "/opt/t/drops",
            0o755,
            "root:root",
            "#!/bin/sh\necho \"${LANGUAGE-unset}\"\n",
        );
        assert!(!language("/opt/t/drops"), "`env_delete` is in force");
    }

    /// The rules that `-l -U` prints for a user.
    fn listed(&self, user: &str) -> Vec<String> {
        let output = self.fixture.host.ok(&format!("COLUMNS=10000 {} -l -U {user}", self.program));
        // sudo shows the caller as the user of a rule for a group alone, has an order of tags of its own, and 1.9.5 shows
        // the quotes of no arguments escaped.
        let as_sudoers_has_it = |line: &str| {
            line.trim()
                .replace(&format!("({user} : "), "(:")
                .replace(" : ", ":")
                .replace("SETENV: NOPASSWD: ", "NOPASSWD: SETENV: ")
                .replace("\\\"\\\"", "\"\"")
        };
        let mut rules: Vec<_> =
            output.lines().filter(|line| line.starts_with("    (")).map(as_sudoers_has_it).collect();
        rules.sort();
        rules
    }
}

fn set_up<'lab>(lab: &'lab Lab, release: Release, packages: &str) -> Fixture<'lab> {
    let team = team(NAMES, ENTITLEMENTS);
    let fixture = Fixture::on(lab, release).team(&team).configuration("[sudo]\nallow_raw = true").boot();
    if !packages.is_empty() {
        fixture.host.install_offered(packages);
    }
    for name in [
        "any",
        "any2",
        "an",
        "none",
        "empty",
        "exact",
        "a,b:c=d+e@f%g~h",
        "a",
        "tools/saw",
        "tools/drill",
        "tools/more/axe",
        "secret",
        "toolsaw",
        "special",
        "as-user",
        "as-group",
        "as-both",
        "as-uid",
        "as-gid",
        "asks",
        "setenv",
        "keeps",
        "raw",
    ] {
        fixture.host.write(&format!("/opt/t/{name}"), 0o755, "root:root", PROBE);
    }
    fixture.enroll();
    let report = fixture.report();
    assert!(report.is_whole() && report.refusals.is_empty(), "{report:#?}");
    fixture
}

/// What `hostward explain` says, in the form of [`Sudo::listed`].
fn explained(fixture: &Fixture<'_>, user: &str) -> Vec<String> {
    let explanation = fixture.json(&format!("explain {user}"));
    let commands = explanation["commands"].as_array().expect("commands").iter();
    let mut rules: Vec<_> =
        commands.map(|command| command["command"].as_str().expect("a command").to_owned()).collect();
    rules.sort();
    rules
}

on_each_release! {
    /// Each kind of command, run-as, tag and environment.
    fn a_person_may_run_what_the_entitlements_say(release) {
        let lab = new_lab();
        let fixture = set_up(&lab, release, "");
        let sudo = Sudo { fixture: &fixture, program: "sudo" };
        sudo.holds();
        assert_eq!(sudo.listed("alice"), explained(&fixture, "alice"));
        assert_eq!(sudo.listed("alice").len(), 19, "{:#?}", sudo.listed("alice"));
        assert!(fixture.host.ok("sudo -l -U bob").contains("not allowed to run sudo"));

        // The ways in which people really come to sudo.
        let login = fixture.ssh_as("alice").run("sudo -n /opt/t/exact restart nginx");
        assert_eq!(login.stdout, "0:0 unset [restart] [nginx]\n", "{login}");
        let refused = fixture.ssh_as("alice").run("sudo -n /opt/t/exact restart");
        assert!(!refused.success() && refused.stdout.is_empty(), "{refused}");
        let su = fixture.host.run("su - alice -c 'sudo -n /opt/t/none'");
        assert_eq!(su.stdout, "0:0 unset\n", "{su}");

        // What was granted ends with the grant.
        fixture.change_team(|_| team(&NAMES[1..], ENTITLEMENTS));
        assert!(!sudo.run("alice", "/opt/t/any").success());
        assert_eq!(sudo.run("alice", "COLOUR=red /opt/t/setenv").stdout, "0:0 red\n");
    }
}

/// With both implementations installed, both do what the entitlements say.
#[test]
fn sudo_rs_runs_the_same() {
    let lab = new_lab();
    let fixture = set_up(&lab, Release::Trixie, "sudo-rs");
    Sudo { fixture: &fixture, program: "sudo" }.holds();
    Sudo { fixture: &fixture, program: "sudo-rs" }.holds();
    fixture.host.must("visudo -c && visudo-rs -c");
}

/// `no_exec` is sudo's alone: refused, with the reason, where sudo-rs could not enforce it.
#[test]
fn no_exec_is_enforced_or_refused() {
    let lab = new_lab();
    let fixture = set_up(&lab, Release::Trixie, "");
    let no_exec = ENTITLEMENTS.replace("no_passwd = false", "no_exec = true");
    fixture.change_team(|_| team(NAMES, &no_exec));
    fixture.host.write("/opt/t/asks", 0o755, "root:root", "#!/bin/sh\necho here\n/usr/bin/id -u\n");
    let output = fixture.host.run_as("alice", "sudo -n /opt/t/asks");
    assert_eq!(output.stdout, "here\n", "{output}");

    fixture.host.install_offered("sudo-rs");
    let report = fixture.apply();
    let codes: Vec<_> = report.refusals.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["entitlement-no-exec-unsupported"], "{report:#?}");
    for sudo in ["sudo", "sudo-rs"] {
        let output = fixture.host.run_as("alice", &format!("{sudo} -n /opt/t/asks"));
        assert!(!output.success() && output.stdout.is_empty(), "{output}");
        let output = fixture.host.run_as("alice", &format!("{sudo} -n /opt/t/any"));
        assert!(output.success(), "{output}");
    }
}

/// Commands, variables and names that mean more than they seem to, each refused, while the rest is in force.
#[test]
fn what_sudo_would_read_otherwise_is_refused_with_its_reason() {
    let commands = [
        r#"{"executable":"/opt/t/x","arguments":["a*"]}"#,
        r#"{"executable":"/opt/t/x","arguments":["a b"]}"#,
        r#"{"executable":"/opt/t/x","arguments":[""]}"#,
        r#"{"executable":"/opt/t/x","arguments":["^a$"]}"#,
        r#"{"executable":"/opt/t/x","arguments":["a\\"]}"#,
        r#"{"executable":"/opt/t/x","arguments":["a\nroot ALL=(ALL) NOPASSWD: ALL"]}"#,
        r#"{"executable":"/opt/t/x","arguments":["\"\""]}"#,
        r#"{"executable":"x"}"#,
        r#"{"executable":"ALL"}"#,
        r#"{"executable":"!/opt/t/x"}"#,
        r#"{"executable":"/opt/t/../x"}"#,
        r#"{"executable":"/opt/t/*"}"#,
        r#"{"executable":"/usr/bin/sudoedit"}"#,
        r#"{"directory":"/opt/t"}"#,
        r#"{"directory":"/"}"#,
        r#"{"raw":"/opt/t/x, ALL"}"#,
    ];
    let more = [
        r#","run_as":{"user":"ALL"}"#,
        r#","run_as":{"user":"root, daemon"}"#,
        r##","run_as":{"user":"#4294967295"}"##,
        r#","run_as":{"user":"%admin"}"#,
        r#","env_delete":["A B"]"#,
    ];
    let mut entries: Vec<_> = commands.iter().map(|command| (*command, "")).collect();
    entries.extend(more.iter().map(|more| (r#"{"executable":"/opt/t/x"}"#, *more)));
    let mut names: Vec<_> = (0..entries.len()).map(|n| format!("bad-{n:02}")).collect();
    let bad = names.len();
    entries.push((r#"{"executable":"/opt/t/none"}"#, r#","env_keep":["LD_PRELOAD"]"#));
    entries.push((r#"{"executable":"/opt/t/any"}"#, ""));
    names.extend(["loads".to_owned(), "good".to_owned()]);
    let raw: Vec<_> = entries
        .iter()
        .zip(&names)
        .map(|((command, more), name)| {
            format!("'''{{\"name\":\"{name}\",\"commands\":[{command}]{more}}}'''")
        })
        .collect();

    let lab = new_lab();
    let fixture = set_up(&lab, Release::Bookworm, "");
    fixture.configure("");
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    fixture.change_team(|_| team(&names, &format!("[raw]\nentitlements = [{}]\n", raw.join(",\n"))));
    let report = fixture.report();
    for name in &names[..bad] {
        let refused = report.refusals.iter().any(|finding| finding.subject.contains(&format!("`{name}`")));
        assert!(refused, "{name} is not refused: {report:#?}");
    }
    assert!(
        report.refusals.iter().any(|finding| finding.code == "entitlement-variable-harmful"),
        "{report:#?}"
    );
    for finding in &report.refusals {
        assert!(!finding.message.is_empty() && !finding.mend.is_empty(), "{finding:#?}");
    }
    let sudo = Sudo { fixture: &fixture, program: "sudo" };
    assert_eq!(sudo.listed("alice"), ["(root) NOPASSWD: /opt/t/any", "(root) NOPASSWD: /opt/t/none"]);
    assert_eq!(explained(&fixture, "alice"), sudo.listed("alice"));
    let output = fixture.host.run_as("alice", "LD_PRELOAD=/nowhere.so sudo -n /opt/t/none");
    assert_eq!(output.stdout, "0:0 unset\n", "{output}");
}

/// `explain` is for a program too.
#[test]
fn explain_names_the_grant_and_the_entitlement() {
    let lab = new_lab();
    let fixture = set_up(&lab, Release::Trixie, "");
    let explanation = fixture.json("explain alice");
    let commands = explanation["commands"].as_array().expect("commands");
    let by_daemon = commands.iter().find(|command| command["entitlement"] == "as-user").expect("as-user");
    assert_eq!(by_daemon["group"], "admins");
    assert_eq!(by_daemon["command"], "(daemon) NOPASSWD: /opt/t/as-user");
}
