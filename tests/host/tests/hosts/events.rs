//! What happened, as an administrator of the host reads it.

use std::collections::BTreeSet;
use std::time::Duration;

use hostward_host_tests::{Fixture, SOON, edited, new_lab, on_each_release};
use serde_json::Value;

const LOG: &str = "/var/log/hostward/events.jsonl";
/// How often the agent is killed.
const KILLS: u32 = 20;
/// Root is asked at most once a minute for what it did by itself.
const NEXT_ASKING: Duration = Duration::from_secs(120);

/// The events that `hostward events --json` prints with these options.
#[track_caller]
fn events(fixture: &Fixture<'_>, options: &str) -> Vec<Value> {
    let text = fixture.host.ok(&format!("hostward events --json {options}"));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[track_caller]
fn wait_for_event(fixture: &Fixture<'_>, patience: Duration, options: &str) -> Vec<Value> {
    fixture.host.wait_for(patience, options, |_| {
        if events(fixture, options).is_empty() {
            Err(fixture.host.run("hostward events").to_string())
        } else {
            Ok(())
        }
    });
    events(fixture, options)
}

#[track_caller]
fn assert_whole(fixture: &Fixture<'_>) {
    let verdict = fixture.hostward("events --verify");
    assert!(verdict.success() && verdict.stdout.starts_with("whole: "), "{verdict}");
    let is_running = fixture.host.run("systemctl is-active hostward.service").success();
    let witness = if is_running {
        "is the newest that the backend says it has"
    } else {
        "hostward.service does not run"
    };
    assert!(verdict.stdout.contains(witness), "{verdict}");
}

on_each_release! {
    /// Who may read what, and what is in it.
    fn events_are_there_for_root_and_adm_and_nobody_else(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        host.must("useradd local; useradd --groups adm reader");
        let granted = wait_for_event(&fixture, SOON, "--type grant.added --user bob");
        assert_eq!(granted[0]["data"]["privileges"], serde_json::json!(["login"]));
        let seen = host.ok("hostward events");
        for expected in ["agent.started", "host.enrolled", "policy.adopted", "account.added         add user alice (70001)", "trust.changed", "sudo.changed", "sshd.changed"] {
            assert!(seen.contains(expected), "{expected}\n{seen}");
        }
        assert_eq!(host.run_as("reader", "hostward events").stdout, seen);
        for user in ["local", "alice", "nobody", "hostward-principals"] {
            for command in ["hostward events", "hostward events --verify", "hostward events --follow"] {
                let refused = host.run_as(user, command);
                assert_eq!((refused.status, refused.stdout.as_str()), (3, ""), "{user}: {refused}");
                assert!(refused.stderr.contains("members of the group `adm`"), "{refused}");
            }
            assert!(!host.run_as(user, &format!("cat {LOG}")).success());
        }
        assert!(!host.run_as("reader", &format!("echo x >> {LOG}")).success(), "to read is not to write");
        assert!(!host.run_as("reader", "touch /var/log/hostward/x").success());

        let boot = host.ok("cat /proc/sys/kernel/random/boot_id").trim().replace('-', "");
        let all = events(&fixture, "");
        assert!(all.iter().all(|event| event["bootid"] == boot.as_str()), "{boot}\n{all:#?}");
        let host_id = fixture.host_id();
        let enrolled = &events(&fixture, "--type host.enrolled")[0];
        assert_eq!(enrolled["source"], format!("urn:hostward:host:{host_id}"));
        let alices = events(&fixture, "--user alice");
        assert!(!alices.is_empty() && alices.iter().all(|event| event["data"]["user"]["name"] == "alice"), "{alices:#?}");
        assert_eq!(events(&fixture, "--since 1h"), all);
        assert!(events(&fixture, "--since 2999-01-01T00:00:00Z").is_empty());
        let wrong = fixture.hostward("events --since yesterday");
        assert!(wrong.status == 2 && wrong.stderr.contains("30m, 2h or 7d"), "{wrong}");
        assert_whole(&fixture);
        assert_eq!(fixture.json("events --verify")["last"]["sequence"], all.len());
    }

    /// From the change to the line that says so, and what becomes of a line that somebody changes.
    fn what_happens_is_told_and_tampering_is_found(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        let following = host.spawn("hostward events --follow --type account");
        host.wait_for(SOON, "what was", |_| {
            if following.stdout().contains("add user alice") { Ok(()) } else { Err(following.stderr()) }
        });
        fixture.change_team(|team| edited(team, "Alice Adams", "Alice Brown"));
        host.wait_for(SOON, "what happened meanwhile", |_| {
            let seen = following.stdout();
            if seen.contains("account.changed       change user alice (70001): gecos") { Ok(()) } else { Err(seen) }
        });
        drop(following);

        host.must("echo '# mine' >> /etc/sudoers.d/hostward; hostward apply");
        let repaired = wait_for_event(&fixture, NEXT_ASKING, "--type drift.repaired");
        assert_eq!(repaired[0]["subject"], "/etc/sudoers.d/hostward");

        // A stop is an event, and a start goes on where it ended, whatever came in between.
        host.must(&format!("systemctl stop hostward.service; printf '{{\"specversion\":\"1' >> {LOG}; systemctl start hostward.service"));
        let torn = wait_for_event(&fixture, SOON, "--type events.repaired");
        assert_eq!(torn[0]["data"]["unmapped"]["cut"]["bytes"], 17);
        assert_eq!(events(&fixture, "--type agent.stopped").len(), 1);
        assert_whole(&fixture);

        host.must(&format!("sed -i '2s/\"message\":\"/&x/' {LOG}"));
        let verdict = fixture.hostward("events --verify");
        assert_eq!(verdict.status, 1, "{verdict}");
        assert!(verdict.stdout.starts_with(&format!("NOT as it was written: `{LOG}`, line 3: event 3 ")), "{verdict}");

        // What a service does not take over from somebody who may not write there.
        host.must("hostward unenroll --yes");
        let left = events(&fixture, "--type host.unenrolled");
        assert_eq!(left[0]["data"]["unmapped"]["told_backend"], true);
    }

    /// At moments spread over what it does.
    fn a_killed_agent_leaves_no_number_twice_and_no_gap(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        for round in 0..KILLS {
            let name = if round % 2 == 0 { ("Alice Adams", "Alice Brown") } else { ("Alice Brown", "Alice Adams") };
            fixture.publish(|team| edited(team, name.0, name.1));
            std::thread::sleep(Duration::from_millis(u64::from(round) * 20));
            // It may be between two lives.
            let _killed_or_not = host.run("systemctl kill --signal=KILL hostward.service");
            host.wait_until_ok(SOON, "systemctl is-active hostward.service");
        }
        host.must("systemctl stop hostward.service");
        assert_whole(&fixture);
        let all = events(&fixture, "");
        let numbers: Vec<u64> = all.iter().map(|event| event["sequence"].as_str().expect("text").parse().expect("a number")).collect();
        assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
        let ids: BTreeSet<&str> = all.iter().filter_map(|event| event["id"].as_str()).collect();
        assert_eq!(ids.len(), all.len());
        let starts = events(&fixture, "--type agent.started").len();
        println!("{release}: {} events of {starts} starts", all.len());
        assert!(starts > KILLS as usize / 2, "{starts}");
    }

    /// The agent goes on, people log in, and what is missing is counted.
    fn a_full_disk_costs_events_and_nothing_else(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        // A service sees what was mounted before it started.
        host.must(
            "set -e; d=/var/log/hostward; systemctl stop hostward.service; cp -a $d /tmp/saved
             mount -t tmpfs -o size=256k,mode=2750 tmpfs $d; chown hostward:adm $d; cp -a /tmp/saved/. $d/
             systemctl start hostward.service",
        );
        let _ = wait_for_event(&fixture, SOON, "--type agent.stopped");
        host.must("dd if=/dev/zero of=/var/log/hostward/filler bs=1k 2>/dev/null || true");
        for round in 0..8 {
            let name = if round % 2 == 0 { ("Alice Adams", "Alice Brown") } else { ("Alice Brown", "Alice Adams") };
            fixture.change_team(|team| edited(team, name.0, name.1));
        }
        assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
        assert!(fixture.journal().contains("events are not recorded"), "{}", fixture.journal());
        host.must("rm /var/log/hostward/filler; systemctl stop hostward.service");
        let lost = events(&fixture, "--type events.lost");
        let count: u64 = lost.iter().filter_map(|event| event["data"]["unmapped"]["lost"]["count"].as_u64()).sum();
        let kept = events(&fixture, "--type policy.adopted").len() as u64;
        assert!(count >= 1, "{lost:#?}");
        println!("{release}: {count} lost, {kept} versions of the policy are in the log");
        assert_whole(&fixture);
    }
}
