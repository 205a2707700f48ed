//! The writer is killed between any two of its system calls: nobody is answered wrongly then, and nobody keeps old data once
//! the next writer, or the next start, has run.

use std::fs;

use hostward_accounts::map::Mapping;
use hostward_accounts::{PATH, build, finish_interrupted, remove, replace};

use crate::calls::{self, SUCCESS, UNAVAIL, getpwnam};
use crate::host::{Host, mappings, people};
use crate::trace::Traced;

/// More than any replacement has.
const MOST_CALLS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Replacement,
    Removal,
}

fn database(generation: u64) -> Vec<u8> {
    let (users, groups) = people(3, generation);
    build(&users, &groups, generation).expect("builds")
}

/// The generation that lookups are answered from, `None` for none in force.
fn served() -> Option<u64> {
    match getpwnam(b"user1", &mut [0; 1024]) {
        (SUCCESS, -1, Some(user)) => {
            assert_eq!(user.uid, 100_001);
            Some(user.gecos.trim_start_matches("generation ").parse().expect("a number"))
        }
        (UNAVAIL, libc::ENOENT, None) => None,
        other => panic!("{other:?}"),
    }
}

/// The generation that the path leads to.
fn in_place() -> Option<u64> {
    let mapping = Mapping::open(PATH).ok()?;
    Some(mapping.database().expect("is a database").generation())
}

fn writer(host: &Host, change: Change, generation: u64) -> Traced {
    let bytes = database(generation);
    Traced::start(move || match change {
        Change::Replacement => replace(&host.path, &bytes).expect("replaces"),
        Change::Removal => remove(&host.path).expect("removes"),
    })
}

/// Lets a writer do `calls` system calls and kills it. Whether it had not come to its end before.
fn kill_after(mut writer: Traced, calls: usize, mut at_each: impl FnMut()) -> bool {
    for _ in 0..calls {
        if !writer.one_call() {
            return false;
        }
        at_each();
    }
    writer.kill();
    true
}

fn only_the_database_is_left(host: &Host) {
    let directory = host.path.parent().expect("has a directory");
    let names: Vec<_> = fs::read_dir(directory)
        .expect("reads")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert!(names.iter().all(|name| name == "hostward.db"), "{names:?}");
}

/// One kill, after each number of calls, and both ways of going on.
pub fn a_writer_killed_between_any_two_system_calls(host: &Host) {
    let mut generation = 0;
    for change in [Change::Replacement, Change::Removal] {
        for mended_by_a_start in [false, true] {
            let mut calls = 0;
            loop {
                generation += 2;
                replace(&host.path, &database(generation)).expect("replaces");
                assert_eq!(served(), Some(generation));
                let after = (change == Change::Replacement).then_some(generation + 1);
                let killed = kill_after(writer(host, change, generation + 1), calls, || {
                    // While the writer stands still, which nobody waits for.
                    let served = served();
                    assert!(served == Some(generation) || served == after, "{change:?} {calls}: {served:?}");
                });
                if mended_by_a_start {
                    finish_interrupted(&host.path).expect("mends");
                    let in_place = in_place();
                    assert!(in_place == Some(generation) || in_place == after, "{change:?} {calls}");
                    assert_eq!(
                        served(),
                        in_place,
                        "{change:?} killed after {calls} calls, mended by a start"
                    );
                } else {
                    generation += 2;
                    replace(&host.path, &database(generation)).expect("replaces");
                    assert_eq!(served(), Some(generation), "{change:?} killed after {calls} calls");
                }
                only_the_database_is_left(host);
                assert_eq!(mappings(), usize::from(served().is_some()));
                if !killed {
                    break;
                }
                calls += 1;
                assert!(calls < MOST_CALLS, "a writer comes to an end");
            }
            println!("{change:?}: killed at each of {calls} moments");
            assert!(calls >= 8, "{change:?} has more system calls than {calls}");
        }
    }
}

/// A second kill hits whoever was to mend the first. Whoever has mapped any of the files learns that it is superseded.
pub fn two_kills_in_a_row(host: &Host) {
    calls::end_after_seconds(300);
    let mut generation = 0;
    let mut pairs = 0;
    for (first, second) in [
        (Change::Replacement, Change::Replacement),
        (Change::Removal, Change::Replacement),
        (Change::Replacement, Change::Removal),
    ] {
        let mut first_killed = true;
        for first_calls in 0..MOST_CALLS {
            if !first_killed {
                break;
            }
            for second_calls in 0..MOST_CALLS {
                generation += 4;
                replace(&host.path, &database(generation)).expect("replaces");
                assert_eq!(served(), Some(generation));
                let mut old: Vec<Mapping> = Mapping::open(PATH).into_iter().collect();
                first_killed = kill_after(writer(host, first, generation + 1), first_calls, || {});
                old.extend(Mapping::open(PATH));
                let killed = kill_after(writer(host, second, generation + 2), second_calls, || {});
                old.extend(Mapping::open(PATH));
                replace(&host.path, &database(generation + 3)).expect("replaces");
                let when = format!("{first:?} killed after {first_calls}, {second:?} after {second_calls}");
                assert!(old.iter().all(Mapping::superseded), "{when}");
                assert_eq!(served(), Some(generation + 3), "{when}");
                pairs += 1;
                if !killed {
                    break;
                }
            }
        }
    }
    only_the_database_is_left(host);
    println!("{pairs} pairs of kills");
}
