//! From a change on the backend to its effect on a host.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hostward_host_tests::{Background, Fixture, Release, Terminal, new_lab, wait_for};

use crate::figures::Table;
use crate::people::{PERSON, PERSON_UID, team};

const WATCH: &str = include_str!("watch.py");
const PATIENCE: Duration = Duration::from_secs(120);

/// Grants login and takes it away again, `changes` times each, with a session open at each removal.
pub fn measure(table: &mut Table, release: Release, users: usize, changes: usize) -> Result<()> {
    let (with, without) = (team(users, true), team(users, false));
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).team(&without).boot();
    fixture.enroll();
    wait_for(PATIENCE, "the accounts", || {
        let shown = fixture.host.run("getent passwd u000000");
        if shown.success() { Ok(()) } else { Err(fixture.journal()) }
    });
    fixture.host.write("/opt/watch.py", 0o644, "root:root", WATCH);
    let watch =
        Watch { process: fixture.host.spawn(&format!("exec python3 /opt/watch.py {PERSON} {PERSON_UID}")) };
    watch.next("absent", UNIX_EPOCH);

    let (mut saved, mut granted, mut refused, mut ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..changes {
        let (before, published) = publish(&fixture, &with)?;
        let present = watch.next("present", before);
        saved.push(since(published, before));
        granted.push(since(present, published));
        let mut session = fixture.session(PERSON, Terminal::Yes, "true");
        watch.next("running", before);
        let (before, published) = publish(&fixture, &without)?;
        refused.push(since(watch.next("absent", before), published));
        ended.push(since(watch.next("ended", before), published));
        let _refused = session.wait(PATIENCE);
    }
    table.add_times(
        &format!("{users} users: team file saved to policy published (the mock backend alone)"),
        saved,
    );
    table.add_times(&format!("{users} users: change published to user there"), granted);
    table.add_times(&format!("{users} users: removal published to user gone (no new login)"), refused);
    table.add_times(&format!("{users} users: removal published to sessions ended"), ended);
    Ok(())
}

/// Changes are measured one by one: root admits at most one policy a second, and waits with what comes sooner.
const APART: Duration = Duration::from_millis(1500);

/// Replaces the team file; returns when that began, and when its policy was there for hosts to fetch.
fn publish(fixture: &Fixture<'_>, team: &str) -> Result<(SystemTime, SystemTime)> {
    std::thread::sleep(APART);
    let before = SystemTime::now();
    fixture.backend.set_team(team)?;
    let version = fixture.client.sync()?;
    let name = format!("{version}.timestamp.json");
    let file =
        find(&fixture.backend.state_dir(), &name).with_context(|| format!("the backend has no `{name}`"))?;
    Ok((before, fs::metadata(file)?.modified()?))
}

fn find(directory: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let file = directory.join(name);
        if file.is_file() {
            return Some(file);
        }
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        directories.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    None
}

/// A file's time may be a tick behind the clock.
fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

struct Watch {
    process: Background,
}

impl Watch {
    /// When the first event of this kind after a moment was.
    fn next(&self, word: &str, after: SystemTime) -> SystemTime {
        let (_, time) = wait_for(PATIENCE, &format!("`{word}`"), || {
            let said = self.process.stdout();
            let times = said.lines().filter_map(|line| {
                let (said, seconds) = line.split_once(' ')?;
                let time = UNIX_EPOCH + Duration::from_secs_f64(seconds.parse().ok()?);
                (said == word && time > after).then_some(time)
            });
            times.min().ok_or_else(|| format!("{said}{}", self.process.stderr()))
        });
        time
    }
}
