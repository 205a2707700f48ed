//! Journals of real hosts, with the records that the PAM module would have written beside them.

#![allow(clippy::unwrap_used)]

mod host;

use std::collections::{BTreeMap, BTreeSet};

use host::{Host, Input, RELEASES, told};

/// What each part of the scenario comes to: `type: message`, without what differs from host to host.
fn by_part(release: &str) -> BTreeMap<String, Vec<String>> {
    let mut host = Host::new();
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (part, inputs) in host::scenario(release) {
        for input in inputs {
            host.feed(&input);
        }
        host.settle();
        let events = host.new_events();
        parts.entry(part).or_default().extend(events.iter().map(told));
    }
    parts
}

#[test]
fn every_release_tells_the_same() {
    for release in RELEASES {
        let text: String = by_part(release)
            .into_iter()
            .map(|(part, events)| format!("=== {part}\n{}\n", events.join("\n")))
            .collect();
        let path = format!("{}/tests/samples/{release}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("HOSTWARD_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        assert!(text == expected, "{path} differs (HOSTWARD_BLESS=1 writes it anew):\n{text}");
    }
}

/// Whatever moment it is killed at, and whatever of its position was kept by then.
#[test]
fn killed_anywhere_nothing_is_told_twice_and_nothing_is_left_out() {
    for release in RELEASES {
        let inputs: Vec<_> =
            host::scenario_with_exits(release).into_iter().flat_map(|(_, inputs)| inputs).collect();
        let mut calm = Host::new();
        inputs.iter().for_each(|input| calm.feed(input));
        calm.settle();
        let expected = sorted(calm.all_events().iter().map(told).collect());
        assert!(expected.len() > 40, "{expected:#?}");
        let count = |word: &str| expected.iter().filter(|line| line.starts_with(word)).count();
        assert!(count("sudo.exited") > 4 && count("sudo.command") > count("sudo.exited"), "{expected:#?}");
        assert!(expected.iter().all(|line| !line.contains("EXIT=")), "{expected:#?}");
        for (every, keep) in [(3, 1), (7, 3), (13, 5), (29, 1000)] {
            let mut host = Host::new();
            for (number, input) in inputs.iter().enumerate() {
                host.feed(input);
                if number % keep == 0 {
                    host.keep_position();
                }
                if number % every == 0 {
                    host.kill(number % 3);
                }
            }
            host.settle();
            let seen = sorted(host.all_events().iter().map(told).collect());
            similar(&expected, &seen, &format!("{release}: killed at every {every}, kept at every {keep}"));
        }
    }
}

/// The position is lost as well: the log alone says what was told.
#[test]
fn without_its_position_the_log_says_what_was_told() {
    for release in RELEASES {
        let (mut calm, mut host) = (Host::new(), Host::new());
        for (_, inputs) in host::scenario(release) {
            for input in inputs {
                calm.feed(&input);
                host.feed(&input);
            }
            calm.settle();
            host.settle();
            host.lose_position();
            host.kill(0);
        }
        let told_by = |host: &Host| sorted(host.all_events().iter().map(told).collect());
        similar(&told_by(&calm), &told_by(&host), release);
    }
}

fn is_sudos_own(input: &Input) -> bool {
    matches!(input, Input::Line(line) if line.contains(" ; COMMAND=") && !line.contains("not allowed"))
}

/// journald was killed with it in its hands, or sudo writes to no journal.
#[test]
fn a_command_that_the_journal_does_not_have_is_told_by_its_record() {
    for release in RELEASES {
        let inputs: Vec<_> = host::scenario(release).into_iter().flat_map(|(_, inputs)| inputs).collect();
        let mut calm = Host::new();
        inputs.iter().for_each(|input| calm.feed(input));
        calm.settle();
        let allowed = |host: &Host| {
            let events = host.all_events().into_iter().filter(|event| event.kind == "hostward.sudo.command");
            sorted(events.filter(|event| event.data["status_id"] == 1).map(|event| told(&event)).collect())
        };
        let (with, asked) = (allowed(&calm).len(), |host: &Host| {
            allowed(host).iter().filter(|line| line.contains("stands for")).count()
        });
        // An old sudo that writes JSON writes it over several entries, and a directory looks like a command.
        assert!(with > 3 && asked(&calm) <= 3, "{release}: {:#?}", allowed(&calm));
        for (every, keep) in [(1000, 1), (3, 1), (13, 5), (29, 1000)] {
            let mut host = Host::new();
            for (number, input) in inputs.iter().filter(|input| !is_sudos_own(input)).enumerate() {
                host.feed(input);
                if number % keep == 0 {
                    host.keep_position();
                }
                if number % every == 0 {
                    host.settle();
                    host.kill(number % 3);
                }
            }
            host.settle();
            let what = format!("{release}: killed at every {every}, kept at every {keep}");
            let told_by_record = asked(&host);
            assert!(told_by_record > 5, "{what}: {:#?}", allowed(&host));
            let before = allowed(&host);
            let by_number: Vec<_> = before.iter().filter(|line| line.contains("`sudo -p ")).collect();
            let unique: BTreeSet<_> = by_number.iter().collect();
            assert_eq!(unique.len(), by_number.len(), "{what}: {before:#?}");
            host.lose_position();
            host.kill(0);
            host.settle();
            similar(&before, &allowed(&host), &what);
        }
    }
}

/// Without how many entries nothing confirms, which is told at most once an hour and may be counted once more.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.retain(|line| !line.contains("nothing confirms it"));
    lines.sort();
    lines
}

#[track_caller]
fn similar(expected: &[String], seen: &[String], what: &str) {
    let missing: Vec<_> = expected.iter().filter(|line| !seen.contains(line)).collect();
    let more: Vec<_> = seen.iter().filter(|line| !expected.contains(line)).collect();
    assert!(
        expected == seen,
        "{what}\nmissing: {missing:#?}\nmore: {more:#?}\n{} and {}",
        expected.len(),
        seen.len()
    );
}
