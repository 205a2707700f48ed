//! What others put into sudoers.d: it is theirs, and hostward's part neither breaks on it nor breaks it.

use hostward_host_tests::{Fixture, Lab, Release, new_lab, on_each_release};
use hostward_protocol::report::{Finding, Outcome, Report, Responsible};

use super::people::team;

const KEEPS: &str = "[entitlements.keeps]\nenv_keep = [\"COLOUR\"]\ncommands = [{ executable = \"/usr/bin/env\", arguments = \"none\" }]\n";

/// Everything in a report that somebody has to act on.
fn findings(report: &Report) -> Vec<&Finding> {
    let failed = report.steps.iter().filter_map(|step| match &step.outcome {
        Outcome::Failed(finding) => Some(finding),
        _ => None,
    });
    failed.chain(&report.warnings).chain(&report.refusals).chain(&report.drift).collect()
}

#[track_caller]
fn blames_operator(report: &Report, file: &str) {
    let blamed = findings(report).into_iter().any(|finding| {
        finding.responsible == Responsible::Operator
            && format!("{} {} {}", finding.subject, finding.message, finding.mend).contains(file)
    });
    assert!(blamed, "nobody is told of {file}: {report:#?}");
}

/// A host where carol, who is local, has a sudo rule of the operator's.
fn set_up(lab: &Lab, release: Release) -> Fixture<'_> {
    let fixture = Fixture::on(lab, release).team(&team(&["keeps"], KEEPS)).boot();
    fixture.host.must("useradd --create-home carol");
    fixture.host.write(
        "/etc/sudoers.d/50-operator",
        0o440,
        "root:root",
        "carol ALL=(root) NOPASSWD: /usr/bin/id\n",
    );
    fixture
}

fn carol(fixture: &Fixture<'_>) -> bool {
    fixture.host.run_as("carol", "sudo -n /usr/bin/id -u").stdout == "0\n"
}

fn alice(fixture: &Fixture<'_>) -> bool {
    fixture.host.run_as("alice", "COLOUR=red sudo -n /usr/bin/env").stdout.contains("COLOUR=red")
}

on_each_release! {
    /// An alias of ours that another file defines too would spoil sudo for everybody.
    fn an_alias_that_another_file_defines_spoils_nothing(release) {
        let lab = new_lab();
        let fixture = set_up(&lab, release);
        fixture.enroll();
        assert!(alice(&fixture) && carol(&fixture), "{:#?}", fixture.report());
        let ours = fixture.host.read("/etc/sudoers.d/hostward");
        let alias = ours
            .lines()
            .find_map(|line| line.strip_prefix("Cmnd_Alias ")?.split(' ').next())
            .expect("an alias of ours");

        fixture.change_team(|_| team(&[], ""));
        assert!(!alice(&fixture) && carol(&fixture));
        let foreign = format!("Cmnd_Alias {alias} = /usr/bin/true\n");
        fixture.host.write("/etc/sudoers.d/60-clash", 0o440, "root:root", foreign);
        fixture.change_team(|_| team(&["keeps"], KEEPS));
        assert!(carol(&fixture), "sudo is spoilt: {}", fixture.host.run("visudo -c"));
        fixture.host.must("visudo -c");
        // Not every visudo says which file it is; all say which alias.
        blames_operator(&fixture.report(), "HOSTWARD_");

        fixture.host.must("rm /etc/sudoers.d/60-clash");
        let report = fixture.apply();
        assert!(report.is_whole(), "{report:#?}");
        assert!(alice(&fixture) && carol(&fixture));

        // It comes while ours is there.
        let foreign = format!("Cmnd_Alias {alias} = /usr/bin/true\n");
        fixture.host.write("/etc/sudoers.d/60-clash", 0o440, "root:root", foreign);
        blames_operator(&fixture.apply(), "HOSTWARD_");
        fixture.host.must("rm /etc/sudoers.d/60-clash");
        assert!(fixture.apply().is_whole());
        assert!(alice(&fixture) && carol(&fixture));
    }

    /// A broken file of somebody else's, before hostward comes and after.
    fn a_foreign_broken_file_is_the_operators(release) {
        let lab = new_lab();
        let fixture = set_up(&lab, release);
        let broken = "carol ALL=(root) NOPASSWD /usr/bin/oops\n";
        fixture.host.write("/etc/sudoers.d/55-broken", 0o440, "root:root", broken);
        let before = carol(&fixture);
        fixture.enroll();
        assert_eq!(carol(&fixture), before, "{}", fixture.host.run("visudo -c"));
        blames_operator(&fixture.report(), "55-broken");
        // A change that has nothing to do with sudo does not make it forgotten.
        fixture.change_team(|team| format!("{team}\n[users.erin]\nuid = 70055\n"));
        blames_operator(&fixture.report(), "55-broken");
        if before {
            // Where sudo passes over what it cannot read, ours is in force beside it.
            assert!(alice(&fixture), "{:#?}", fixture.report());
        }

        // What is taken away is taken away although the other file is broken.
        fixture.change_team(|_| team(&[], ""));
        assert_eq!(carol(&fixture), before);
        assert!(!alice(&fixture));
        fixture.change_team(|_| team(&["keeps"], KEEPS));

        fixture.host.must("rm /etc/sudoers.d/55-broken");
        let report = fixture.apply();
        assert!(report.is_whole() && report.warnings.iter().all(|w| !w.message.contains("55-broken")), "{report:#?}");
        assert!(alice(&fixture) && carol(&fixture), "{report:#?}");
    }
}
