//! Every event at the backend, once, whatever is killed or cut off meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use hostward_host_tests::{Fixture, SOON, edited, new_lab, on_each_release};
use serde_json::Value;

/// How often something is killed.
const KILLS: u32 = 20;
/// What waits is tried within five minutes at most.
const PATIENCE: Duration = Duration::from_secs(330);

fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect()
}

#[track_caller]
fn ours(fixture: &Fixture<'_>) -> BTreeSet<String> {
    let text = fixture.host.ok("hostward events --json");
    ids(&text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<_>>())
}

/// Waits until the backend has what the log has, and sees that it has each once and in one chain.
#[track_caller]
pub fn assert_all_there_once(fixture: &Fixture<'_>, id: &str) {
    fixture.host.wait_for(PATIENCE, "everything at the backend", |_| {
        let (here, there) =
            (ours(fixture), ids(&fixture.client.events(id).map_err(|error| error.to_string())?));
        if here == there {
            Ok(())
        } else {
            Err(format!("{} here, {} there\n{}", here.len(), there.len(), fixture.hostward("status")))
        }
    });
    let there = fixture.client.events(id).expect("events");
    assert_eq!(ids(&there).len(), there.len(), "one is there twice");
    let state = fixture.client.event_state(id).expect("the state of events");
    assert!(state.gaps.is_empty() && state.breaks.is_empty(), "{state:#?}");
}

on_each_release! {
    fn kills_and_outages_lose_no_event_and_double_none(release) {
        let lab = new_lab();
        let mut fixture = Fixture::enrolled(&lab, release);
        let id = fixture.host_id();
        for round in 0..KILLS {
            let name = if round % 2 == 0 { ("Alice Adams", "Alice Brown") } else { ("Alice Brown", "Alice Adams") };
            fixture.publish(|team| edited(team, name.0, name.1));
            // Spread over what it does: fetch, record, deliver.
            std::thread::sleep(Duration::from_millis(u64::from(round) * 60));
            if round % 3 == 2 {
                fixture.backend.kill();
                fixture.backend.start();
            } else {
                // It may be between two lives.
                let _killed_or_not = fixture.host.run("systemctl kill --signal=KILL hostward.service");
                fixture.host.wait_until_ok(SOON, "systemctl is-active hostward.service");
            }
        }
        fixture.host.must("hostward sync");
        assert_all_there_once(&fixture, &id);
        let verdict = fixture.hostward("events --verify");
        assert!(verdict.success() && verdict.stdout.contains("is the newest that the backend says it has"), "{verdict}");
        let starts = fixture.client.events(&id).expect("events");
        let starts = starts.iter().filter(|event| event["type"] == "hostward.agent.started").count();
        println!("{release}: {starts} starts");
        // Some kills come between two lives.
        assert!(starts > 5, "{starts}");
    }

    fn an_outage_and_a_full_disk_are_told_afterwards(release) {
        let lab = new_lab();
        let mut fixture = Fixture::enrolled(&lab, release);
        let id = fixture.host_id();
        assert_all_there_once(&fixture, &id);
        fixture.backend.stop();
        for _ in 0..3 {
            fixture.host.must("systemctl restart hostward.service");
        }
        fixture.host.wait_for(SOON, "a word about it", |host| {
            let status = host.run("hostward status");
            if status.stdout.contains("waiting") || status.stdout.contains("backend") { Ok(()) } else { Err(status.to_string()) }
        });
        fixture.backend.start();
        fixture.host.must("hostward sync");
        assert_all_there_once(&fixture, &id);

        fixture.host.must(
            "set -e; d=/var/log/hostward; systemctl stop hostward.service; cp -a $d /tmp/saved
             mount -t tmpfs -o size=256k,mode=2750 tmpfs $d; chown hostward:adm $d; cp -a /tmp/saved/. $d/
             systemctl start hostward.service",
        );
        assert_all_there_once(&fixture, &id);
        fixture.host.must("dd if=/dev/zero of=/var/log/hostward/filler bs=1k 2>/dev/null || true");
        for round in 0..8 {
            let name = if round % 2 == 0 { ("Alice Adams", "Alice Brown") } else { ("Alice Brown", "Alice Adams") };
            fixture.change_team(|team| edited(team, name.0, name.1));
        }
        assert!(fixture.ssh_as("alice").run("true").success(), "people log in");
        fixture.host.must("rm /var/log/hostward/filler; systemctl restart hostward.service");
        assert_all_there_once(&fixture, &id);
        let lost: u64 = fixture
            .client
            .events(&id)
            .expect("events")
            .iter()
            .filter_map(|event| event["data"]["unmapped"]["lost"]["count"].as_u64())
            .sum();
        println!("{release}: {lost} lost");
        assert!(lost >= 1, "the loss is told");
    }
}
