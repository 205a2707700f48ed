//! Arbitrary entitlements, published, and sudo run with what they mean and with what is nearly that.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::time::Duration;

use hostward_host_tests::{Fixture, Release, new_lab, on_each_release};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::people::team;
use super::text::{Meaning, PROBES, Reading, command};

/// Runs sudo; see there.
const RUN: &str = include_str!("run.py");
const RUN_PATH: &str = "/opt/run.py";

/// How many entitlements a host gets at once, and how many near misses of each are tried.
const CASES: usize = 200;
const NEIGHBOURS: usize = 12;

const PATIENCE: Duration = Duration::from_secs(600);

/// What sudo made of a command line.
enum Made {
    /// It ran the program, which was called with this.
    Ran(Vec<String>),
    /// It ran nothing, and said why.
    Refused,
    /// Neither is certain; it counts as run.
    Unclear(String),
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Made::Ran(words) => write!(f, "it ran {words:?}"),
            Made::Refused => f.write_str("it was refused"),
            Made::Unclear(why) => write!(f, "what happened is unclear: {why}"),
        }
    }
}

fn seed() -> u64 {
    match std::env::var("HOSTWARD_SUDO_SEED") {
        Ok(text) => text.parse().expect("HOSTWARD_SUDO_SEED is a number"),
        Err(_) => rand::random(),
    }
}

fn generated(seed: u64) -> Vec<Meaning> {
    let config = Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let strategy = command();
    let mut generated = || strategy.new_tree(&mut runner).expect("a command").current();
    (0..CASES).map(|n| generated().below(&format!("{PROBES}{n}/"))).collect()
}

/// A string of TOML with this text.
fn toml_string(text: &str) -> String {
    // What JSON escapes, TOML reads alike; it wants one character more escaped.
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

fn publish(fixture: &Fixture<'_>, meanings: &[Meaning]) {
    let names: Vec<_> = (0..meanings.len()).map(|n| format!("case-{n:03}")).collect();
    let entries: Vec<_> = meanings
        .iter()
        .zip(&names)
        .map(|(meaning, name)| {
            toml_string(&json!({ "name": name, "commands": [meaning.json()] }).to_string())
        })
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    fixture.change_team(|_| team(&names, &format!("[raw]\nentitlements = [{}]\n", entries.join(",\n"))));
}

/// Runs every line with sudo as alice.
fn run(fixture: &Fixture<'_>, sudo: &str, lines: &[Vec<String>]) -> Vec<Made> {
    let mut input = Vec::new();
    for line in lines {
        input.extend_from_slice(format!("{}\0", line.len()).as_bytes());
        for word in line {
            input.extend_from_slice(word.as_bytes());
            input.push(0);
        }
    }
    let output = fixture.host.run_args(&["python3", RUN_PATH, "alice", sudo], &input, PATIENCE);
    let made: Vec<_> = output.stdout.lines().map(made).collect();
    assert!(output.success() && made.len() == lines.len(), "{output}");
    made
}

fn made(line: &str) -> Made {
    let fields: Vec<_> = line.split(' ').collect();
    let [status, stdout, stderr] = fields[..] else { panic!("not said by {RUN_PATH}: {line}") };
    let (stdout, stderr) = (unhex(stdout), unhex(stderr));
    if let Some(words) = stdout.strip_suffix('\0') {
        return Made::Ran(words.split('\0').map(str::to_owned).collect());
    }
    // Everything else that either implementation says begins with its name.
    let own_words =
        stderr.starts_with("sudo: ") || stderr.starts_with("sudo-rs: ") || stderr.starts_with("usage: ");
    if status != "0" && stdout.is_empty() && own_words {
        return Made::Refused;
    }
    Made::Unclear(format!("exit status {status}, stdout {stdout:?}, stderr {stderr:?}"))
}

fn unhex(text: &str) -> String {
    let digits: Vec<_> = text.bytes().filter_map(|byte| char::from(byte).to_digit(16)).collect();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Publishes arbitrary entitlements and holds every sudo that is there to them.
fn nothing_else_is_permitted(release: Release, packages: &str, implementations: &[(&str, Reading)]) {
    let seed = seed();
    println!("HOSTWARD_SUDO_SEED={seed}");
    let meanings = generated(seed);
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).team(&team(&[], "")).boot();
    if !packages.is_empty() {
        fixture.host.install_offered(packages);
    }
    fixture.host.write(RUN_PATH, 0o644, "root:root", RUN);
    fixture.enroll();
    publish(&fixture, &meanings);

    let report = fixture.report();
    assert!(report.is_whole(), "{report:#?}");
    let is_refused = |n: usize| {
        let name = format!("`case-{n:03}`");
        report.refusals.iter().any(|finding| finding.subject.contains(&name))
    };
    let accepted: Vec<_> =
        meanings.iter().enumerate().filter(|(n, _)| !is_refused(*n)).map(|(_, m)| m).collect();
    println!("{release}: {} of {} accepted", accepted.len(), meanings.len());
    assert!((CASES / 8..CASES).contains(&accepted.len()), "the generator lost its balance: {accepted:#?}");

    let mut random = StdRng::seed_from_u64(seed);
    let mut lines: Vec<_> = meanings.iter().map(Meaning::meant).collect();
    for meaning in &meanings {
        let neighbours = meaning.neighbours();
        lines.extend(neighbours.choose_multiple(&mut random, NEIGHBOURS).cloned());
    }
    lines.retain(|line| line.iter().all(|word| !word.contains('\0')));
    let mut seen = HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));

    let mut wrong = String::new();
    for (sudo, reading) in implementations {
        for (line, made) in lines.iter().zip(run(&fixture, sudo, &lines)) {
            let is_meant = accepted.iter().any(|meaning| meaning.means(line, *reading));
            let fits = match &made {
                Made::Ran(words) => is_meant && words[1..] == line[1..],
                // What is not there cannot be run: programs are only below this directory.
                Made::Refused => !is_meant || !line[0].starts_with(PROBES),
                Made::Unclear(_) => false,
            };
            if !fits {
                let word = if is_meant { "meant" } else { "not meant" };
                let _infallible = writeln!(wrong, "{sudo}: {line:?} is {word}, {made}");
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "HOSTWARD_SUDO_SEED={seed}\n{wrong}\n{}",
        fixture.host.read("/etc/sudoers.d/hostward")
    );
    fixture.host.must("visudo -c");
}

on_each_release! {
    /// Whatever an entitlement says, sudo permits that or nothing.
    fn sudo_permits_what_is_meant_and_nothing_else(release) {
        let reading = if release == Release::Bullseye { Reading::JoinedOld } else { Reading::Joined };
        nothing_else_is_permitted(release, "", &[("sudo", reading)]);
    }
}

/// The same file, read by both implementations.
#[test]
fn sudo_rs_permits_what_is_meant_and_nothing_else() {
    nothing_else_is_permitted(
        Release::Trixie,
        "sudo-rs",
        &[("sudo-rs", Reading::List), ("sudo", Reading::Joined)],
    );
}
