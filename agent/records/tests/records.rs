//! Lines of each version that was ever written are read, and no record makes a line that is too long.
#![allow(missing_docs)]

use hostward_records::{Id, MAX_LINE, ParseError, Process, Reason, Record, What};
use proptest::prelude::*;

const GOLDEN: &str = include_str!("golden/version-1.jsonl");

fn id(last: u8) -> Id {
    let mut bytes = [0xab; 16];
    bytes[15] = last;
    Id::of(bytes)
}

fn opened() -> Record {
    Record {
        id: id(1),
        what: What::Opened(id(2)),
        time: 1_790_000_000_123_456,
        boot: "0e8f0a2c-6a57-4c8f-9d59-0b1df0a9e0c1".into(),
        service: "sshd".into(),
        user: "alice".into(),
        uid: Some(70001),
        managed: true,
        tty: Some("ssh".into()),
        rhost: Some("192.0.2.7".into()),
        ruser: None,
        auth: Some("publickey ssh-ed25519-cert-v01@openssh.com AAAAIHNzaA==\n".into()),
        process: Process { pid: 1234, start: 5678 },
        parent: 321,
        audit_session: Some(3),
        loginuid: Some(70001),
        cgroup: Some("/user.slice/user-70001.slice/session-3.scope".into()),
        xdg_session: Some("3".into()),
        ancestors: vec![Process { pid: 321, start: 99 }, Process { pid: 1, start: 1 }],
        directory: None,
        command_line: None,
    }
}

fn closed() -> Record {
    let service = "su-l".into();
    let rest = Record { auth: None, rhost: None, xdg_session: None, cgroup: None, ..opened() };
    Record {
        id: id(3),
        what: What::Closed(Some(id(2))),
        service,
        user: "root".into(),
        uid: Some(0),
        managed: false,
        tty: Some("pts/0".into()),
        ruser: Some("bob".into()),
        audit_session: None,
        loginuid: None,
        ancestors: vec![],
        ..rest
    }
}

fn denied() -> Record {
    let what = What::Denied { reason: Reason::OutsideWindow, until: Some(1_790_000_000) };
    Record { id: id(4), what, service: "cron".into(), auth: None, ..opened() }
}

fn of_sudo() -> Record {
    let (directory, command_line) = (Some("/home/alice".into()), Some("-n /usr/bin/id \"a b\"".into()));
    let rest = Record { auth: None, rhost: None, ..opened() };
    Record { id: id(5), service: "sudo".into(), ruser: Some("alice".into()), directory, command_line, ..rest }
}

#[test]
fn the_golden_lines_are_what_is_written_and_read() {
    let records = [opened(), closed(), denied(), of_sudo()];
    let written: Vec<u8> = records.iter().flat_map(Record::line).collect();
    assert_eq!(String::from_utf8(written).expect("text"), GOLDEN);
    for (line, record) in GOLDEN.lines().zip(records) {
        assert_eq!(Record::parse(line.as_bytes()).expect(line), record);
    }
}

#[test]
fn what_a_newer_module_adds_is_passed_over_and_another_version_is_said() {
    let line = GOLDEN.lines().next().expect("a line");
    let more = line.replacen("{\"v\":1,", "{\"v\":1,\"colour\":[{}],", 1);
    assert_eq!(Record::parse(more.as_bytes()).expect("a record"), opened());
    let other = line.replacen("{\"v\":1,", "{\"v\":2,", 1);
    assert!(matches!(Record::parse(other.as_bytes()), Err(ParseError::Version { found: 2 })));
}

#[test]
fn what_is_no_record_is_refused() {
    let line = GOLDEN.lines().next().expect("a line");
    for cut in 0..line.len() {
        let cut = &line[..cut];
        assert!(matches!(Record::parse(cut.as_bytes()), Err(ParseError::Malformed(_))), "{cut}");
    }
    let without = line.replace("\"session\":\"ababababababababababababababab02\"", "\"session\":null");
    assert!(matches!(Record::parse(without.as_bytes()), Err(ParseError::Lacking { member: "session", .. })));
    let long = format!("{}{}", line, " ".repeat(MAX_LINE - line.len()));
    assert!(
        matches!(Record::parse(long.as_bytes()), Err(ParseError::TooLong { length }) if length == MAX_LINE + 1)
    );
    assert!(Record::parse(&long.as_bytes()[..MAX_LINE - 1]).is_ok());
}

#[test]
fn a_certificate_has_room_beside_the_longest_of_everything_else() {
    let long = |character: char| character.to_string().repeat(5000);
    for character in ['x', '"', '\u{1}', '\u{1f980}', '\u{7f}'] {
        let text = Some(long(character));
        let record = Record {
            what: What::Denied { reason: Reason::OutsideWindow, until: Some(u64::MAX) },
            time: u64::MAX,
            boot: long(character),
            service: long(character),
            user: long(character),
            uid: Some(u32::MAX),
            tty: text.clone(),
            rhost: text.clone(),
            ruser: text.clone(),
            auth: Some(long('A')),
            process: Process { pid: u32::MAX, start: u64::MAX },
            parent: u32::MAX,
            audit_session: Some(u32::MAX),
            loginuid: Some(u32::MAX),
            cgroup: text.clone(),
            xdg_session: text,
            ancestors: vec![Process { pid: u32::MAX, start: u64::MAX }; 40],
            ..opened()
        };
        let line = record.line();
        assert_eq!(line.len(), MAX_LINE, "the authentication has all that is left");
        let read = Record::parse(&line[..line.len() - 1]).expect("a record");
        assert!(read.auth.expect("kept").len() > 1400);
        assert!(!read.user.is_empty() && record.user.starts_with(&read.user));
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\\x00-\\x7f]{0,900}", ".{0,40}".prop_map(|part| part.repeat(40)),]
}

proptest! {
    #[test]
    fn whatever_a_stranger_calls_itself_makes_one_line(
        user in text(), rhost in proptest::option::of(text()), auth in proptest::option::of(text()),
        directory in proptest::option::of(text()), command_line in proptest::option::of(text()),
    ) {
        let record = Record { user, rhost, auth, directory, command_line, ..opened() };
        let line = record.line();
        prop_assert!(line.len() <= MAX_LINE);
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert_eq!(line.last(), Some(&b'\n'));
        let read = Record::parse(&line[..line.len() - 1]).expect("a record");
        prop_assert!(record.user.starts_with(&read.user));
        let (auth, whole) = (read.auth.unwrap_or_default(), record.auth.unwrap_or_default());
        prop_assert!(whole.starts_with(&auth));
        let (command, whole) = (read.command_line.unwrap_or_default(), record.command_line.unwrap_or_default());
        prop_assert!(whole.starts_with(&command));
    }

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Record::parse(&bytes).is_err(), "without its members nothing is a record");
    }
}
