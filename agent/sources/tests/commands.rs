//! What sudo writes and what PAM's record of its session says, where they do not agree, or somebody else wrote it.

#![allow(clippy::unwrap_used)]

mod host;

use host::{Host, Input, told};
use hostward_records::{Id, Process, Record, What};

const BOOT: &str = "515b9a2510f4405db69f526db7de4aa2";
const START: u64 = 1_795_856_693_000_000;

/// A process of bob's.
struct Script {
    host: Host,
    count: u64,
}

impl Script {
    fn new() -> Self {
        Script { host: Host::new(), count: 0 }
    }

    fn at(&mut self) -> u64 {
        self.count += 1;
        START + self.count * 1000
    }

    fn says(&mut self, pid: u32, message: &str) {
        self.says_over("syslog", pid, message);
    }

    fn says_over(&mut self, transport: &str, pid: u32, message: &str) {
        let at = self.at();
        let entry = serde_json::json!({
            "__CURSOR": format!("c{}", self.count), "__REALTIME_TIMESTAMP": at.to_string(), "_BOOT_ID": BOOT,
            "MESSAGE": message, "SYSLOG_IDENTIFIER": "sudo", "_UID": "70002", "_PID": pid.to_string(),
            "_EXE": "/usr/bin/sudo", "_CAP_EFFECTIVE": "1ffffffffff", "_TRANSPORT": transport,
        });
        self.host.feed(&Input::Line(entry.to_string()));
    }

    fn opens(&mut self, pid: u32, directory: &str, command_line: &str) {
        let time = self.at();
        let record = Record {
            id: Id::of(u128::from(self.count).to_be_bytes()),
            what: What::Opened(Id::of(u128::from(self.count + 1000).to_be_bytes())),
            time,
            boot: BOOT.into(),
            service: "sudo".into(),
            user: "root".into(),
            uid: Some(0),
            managed: false,
            tty: None,
            rhost: None,
            ruser: Some("bob".into()),
            auth: None,
            process: Process { pid, start: u64::from(pid) },
            parent: 1,
            audit_session: None,
            loginuid: None,
            cgroup: None,
            xdg_session: None,
            ancestors: vec![],
            directory: Some(directory.into()),
            command_line: Some(command_line.into()),
        };
        self.host.feed(&Input::Record(Box::new(record)));
    }

    /// What is told of commands and their ends, after some minutes.
    fn told(&mut self) -> Vec<String> {
        self.host.settle();
        let events =
            self.host.all_events().into_iter().filter(|event| event.kind.starts_with("hostward.sudo."));
        events
            .map(|event| {
                let asked = event.data["unmapped"]["asked"].as_str().map(|asked| format!(" ({asked})"));
                let line = told(&event);
                let line = line.split(" [").next().unwrap().split(" <").next().unwrap().to_owned();
                format!("{line}{}", asked.unwrap_or_default())
            })
            .collect()
    }
}

const ID: &str = "bob : PWD=/tmp ; USER=root ; COMMAND=/usr/bin/id";

#[test]
fn a_command_has_what_was_asked_beside_it_and_one_end() {
    let mut script = Script::new();
    script.says(7, ID);
    script.opens(7, "/tmp", "-n id");
    script.says(7, &format!("{ID} ; EXIT=0"));
    script.says(7, &format!("{ID} ; EXIT=1"));
    let told = script.told();
    assert_eq!(
        told[..2],
        [
            "sudo.command: `bob` runs `/usr/bin/id` as `root` (-n id)",
            "sudo.exited: `/usr/bin/id`, run by `bob`, ended with the status 0",
        ]
    );
    assert!(told[2..].iter().all(|line| line.starts_with("sudo.command: ")), "no second end: {told:#?}");
}

#[test]
fn a_directory_that_looks_like_a_command_hides_nothing() {
    let mut script = Script::new();
    let directory = "/tmp/x ; USER=root ; COMMAND=/usr/bin/apt update /AAAA";
    // sudo divides a long entry at a space.
    script.says(7, "bob : PWD=/tmp/x ; USER=root ; COMMAND=/usr/bin/apt update");
    script.says(7, "bob : (command continued) /AAAA ; USER=root ; COMMAND=/bin/bash");
    script.opens(7, directory, "/bin/bash");
    assert_eq!(
        script.told(),
        [
            "sudo.command: `bob` runs what `sudo /bin/bash` stands for as `root`; the journal does not say which command that is \
         (what sudo wrote can be read in another way) (/bin/bash)"
        ]
    );
}

#[test]
fn what_a_process_said_before_it_became_sudo_is_not_its_command() {
    let mut script = Script::new();
    script.says_over("stdout", 7, ID);
    script.says(7, ID);
    script.opens(7, "/tmp", "/bin/bash");
    let told = script.told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("sudo.command: `bob` runs what `sudo /bin/bash` stands for"), "{told:#?}");
}

#[test]
fn nobody_ends_anothers_command() {
    let mut script = Script::new();
    script.says(7, ID);
    script.opens(7, "/tmp", "id");
    script.says(7, "alice : PWD=/tmp ; USER=root ; COMMAND=/usr/bin/id ; EXIT=3");
    script.says(8, &format!("{ID} ; EXIT=4"));
    script.says(7, &format!("{ID} ; EXIT=0"));
    assert_eq!(
        script.told(),
        [
            "sudo.command: `bob` runs `/usr/bin/id` as `root` (id)",
            "sudo.exited: `/usr/bin/id`, run by `bob`, ended with the status 0",
        ]
    );
}

#[test]
fn a_divided_end_is_no_command() {
    for long in ["x".repeat(1000), "x ".repeat(500)] {
        let mut script = Script::new();
        let whole = format!("{ID} {long}");
        let cut = whole.get(..970).unwrap().rfind(' ').unwrap();
        let (first, rest) = (whole[..cut].to_owned(), format!("bob : (command continued) {}", &whole[cut..]));
        script.says(7, &first);
        script.says(7, &rest);
        script.opens(7, "/tmp", &format!("id {}", &long[..800]));
        script.says(7, &first);
        script.says(7, &format!("{rest} ; EXIT=0"));
        let told = script.told();
        assert_eq!(told.len(), 1, "{told:#?}");
    }
}

/// `sudo -b` writes of the command in one process, and has its session in another.
#[test]
fn an_end_without_its_command_is_told_after_what_was_asked() {
    let mut script = Script::new();
    script.says(7, ID);
    script.opens(8, "/tmp", "-b id");
    script.says(8, &format!("{ID} ; EXIT=0"));
    assert_eq!(
        script.told(),
        [
            "sudo.command: `bob` runs what `sudo -b id` stands for as `root`; the journal does not say which command that is (-b id)",
            "sudo.exited: `/usr/bin/id`, run by `bob`, ended with the status 0",
        ]
    );
}

#[test]
fn an_argument_that_looks_like_an_end_is_a_command() {
    let mut script = Script::new();
    script.says(7, &format!("{ID} ; EXIT=0"));
    script.opens(7, "/tmp", "id ; EXIT=0");
    script.says(7, &format!("{ID} ; EXIT=0 ; EXIT=1"));
    assert_eq!(
        script.told(),
        [
            "sudo.command: `bob` runs `/usr/bin/id ; EXIT=0` as `root` (id ; EXIT=0)",
            "sudo.exited: `/usr/bin/id ; EXIT=0`, run by `bob`, ended with the status 1",
        ]
    );
}
