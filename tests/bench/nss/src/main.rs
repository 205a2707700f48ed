//! Measures account lookups through glibc, for our NSS module and others, side by side, and prints tables. Judges nothing.
//!
//! Two marks make the figures of a busy machine comparable: the *floor* is what glibc takes to ask a module that answers
//! with constants, the *limit* what it takes to find a record in a mapped table and copy it out, without glibc. Our module
//! does both, and what it checks comes on top.

mod cases;
mod peers;
mod people;
mod rows;
mod table;
mod worker;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use hostward_accounts::build;

use cases::{Cases, SCALE};
use people::People;
use rows::{ROWS, Spread, measure};
use worker::{Case, Setting, compile};

/// Measures account lookups through glibc; needs root, a C compiler and the NSS module (`make bench-nss`).
#[derive(Debug, Parser)]
#[command(name = "hostward-bench-nss", version)]
struct Arguments {
    /// The module
    #[arg(long, default_value = "target/nss/libnss_hostward.so")]
    module: PathBuf,
    /// Where data and programs are put
    #[arg(long, default_value = "target/bench-nss")]
    directory: PathBuf,
    /// Numbers of users
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000])]
    users: Vec<usize>,
    /// How often each of those that a ratio is made of is asked in turn
    #[arg(long, default_value_t = 101)]
    rounds: usize,
    /// Only rows whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Only our module and the marks
    #[arg(long)]
    no_peers: bool,
    /// How many processes of each are started for the figure of the first lookup
    #[arg(long, default_value_t = 600)]
    processes: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let libraries = arguments.directory.join("lib");
    fs::create_dir_all(&libraries)?;
    let libraries = libraries.canonicalize()?;
    fs::copy(&arguments.module, libraries.join("libnss_hostward.so.2"))
        .with_context(|| format!("no module `{}`", arguments.module.display()))?;
    compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("c"), &libraries)?;
    for users in &arguments.users {
        let data = arguments.directory.join(users.to_string());
        fs::create_dir_all(data.join("misc"))?;
        let mut setting = Setting {
            program: libraries.join("lookups"),
            libraries: libraries.clone(),
            data: data.canonicalize()?,
            buffer: 0,
        };
        size(&arguments, *users, &mut setting)?;
    }
    Ok(())
}

fn size(arguments: &Arguments, users: usize, setting: &mut Setting) -> Result<()> {
    let people = People::of(users);
    let names: usize = people.users.iter().map(|user| user.name.len() + 1 + 8).sum();
    // libnss-cache asks for a MiB, however small a group is.
    setting.buffer = (names + 4096).max(2 << 20);
    println!("\n## {users} users, {} groups\n", people.groups.len());
    write_database(&people, &setting.data)?;
    fs::write(setting.data.join("table"), table::write(&people))?;
    let (user_keys, group_keys) = people.keys();
    fs::write(setting.data.join("users"), user_keys)?;
    fs::write(setting.data.join("groups"), group_keys)?;
    let Cases { cases, without, daemons: _daemons } =
        cases::prepare(&people, &setting.data, &setting.libraries, !arguments.no_peers)?;
    let (counts, name) = ((users, people.groups.len()), people.users[users / 2].name.clone());
    drop(people);
    lookups(arguments, setting, &cases, counts)?;
    processes(arguments, setting, &cases, &name)?;
    without.iter().for_each(|line| println!("- {line}"));
    if cases.len() > SCALE.len() {
        println!(
            "- wrong: it gave other than what it was asked for (SSSD enumerates only where it is told to)"
        );
        println!(
            "- sss waits for a daemon: its times are those of the clock, all others those of a processor"
        );
    }
    Ok(())
}

/// Builds it a few times, and says how long that took and how large it is.
fn write_database(people: &People, data: &Path) -> Result<()> {
    let (mut times, mut on_processors, mut file) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        drop(std::mem::take(&mut file));
        let (start, before) = (Instant::now(), on_processors_so_far()?);
        file = build(&people.users, &people.groups, 1)?;
        times.push(start.elapsed().as_secs_f64());
        on_processors.push(on_processors_so_far()? - before);
    }
    let path = data.join("misc/hostward.db");
    fs::write(&path, &file)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    let (text, groups) = (people.text_len(), group_records(&file)?);
    println!(
        "- built in {:.3} s, in which it was on processors for {:.2} s (medians of {})",
        Spread::of(times.clone()).median,
        Spread::of(on_processors).median,
        times.len()
    );
    println!(
        "- {} bytes: {groups} in group records, {text} of names, comments, homes, shells and principals, and {:.1} bytes a user beside them",
        file.len(),
        (file.len() - groups - text) as f64 / people.users.len() as f64
    );
    Ok(())
}

/// Seconds that this process was running, in all its threads, whatever else the machine did meanwhile (proc_pid_stat(5)).
fn on_processors_so_far() -> Result<f64> {
    let said = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = said.rsplit_once(") ").context("no name")?;
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// The length of the section, as the header of the file says it (docs/account-database.md).
fn group_records(file: &[u8]) -> Result<usize> {
    let at = hostward_accounts::PROLOGUE + 136;
    let field = file.get(at..at + 8).context("a header")?;
    Ok(u64::from_le_bytes(field.try_into()?).try_into()?)
}

fn lookups(arguments: &Arguments, setting: &Setting, cases: &[Case], counts: (usize, usize)) -> Result<()> {
    let mut workers = cases.iter().map(|case| setting.start(case)).collect::<Result<Vec<_>>>()?;
    let names: Vec<&str> = cases.iter().map(|case| case.service).collect();
    println!("\n| ns for one | {} | hostward / (null + limit) |", names.join(" | "));
    println!("|---|{}---:|", "---:|".repeat(names.len()));
    for row in ROWS.iter().filter(|row| row.operation.contains(&arguments.only)) {
        let threads = if row.threads > 1 { format!(", {} threads", row.threads) } else { String::new() };
        let figures = measure(*row, &mut workers, counts, arguments.rounds)?;
        let ns: Vec<String> = figures.ns.iter().map(|ns| shown(*ns)).collect();
        let Spread { low, median, high } = figures.ratio;
        println!("| {}{threads} | {} | {median:.2} ({low:.2} to {high:.2}) |", row.operation, ns.join(" | "));
    }
    Ok(())
}

fn shown(ns: f64) -> String {
    if ns.is_nan() {
        return "wrong".into();
    }
    if ns < 1e6 { format!("{ns:.1}") } else { format!("{:.2} ms", ns / 1e6) }
}

/// What a process takes for its first lookup, in memory and in system calls.
///
/// The same number of processes of each, in turn, and the difference is that of each to the one of null beside it.
fn processes(arguments: &Arguments, setting: &Setting, cases: &[Case], name: &str) -> Result<()> {
    let asked: Vec<&Case> = cases.iter().filter(|case| case.service != "limit").collect();
    let mut first: Vec<Vec<f64>> = vec![Vec::new(); asked.len()];
    for n in 0..arguments.processes {
        for (case, times) in asked.iter().zip(&mut first) {
            // A peer is asked less often, and still less if it reads through lists.
            if SCALE.contains(&case.service) || n < 5 || n < 100 && times[0] < 1e3 {
                times.push(setting.first(case, name)? / 1e3);
            }
        }
    }
    let floor = first[0].clone();
    println!(
        "\n| a process | first getpwnam_r, µs | over null, µs | memory of its own, KiB | of files, KiB | system calls of a warm getpwnam_r | getgrnam_r | initgroups |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (case, times) in asked.into_iter().zip(first) {
        let over = Spread::of(times.iter().zip(&floor).map(|(time, floor)| time - floor).collect());
        let over = format!("{:+.1} ({:+.1} to {:+.1})", over.median, over.low, over.high);
        let time = Spread::of(times).median;
        let (own, files) = unless_a_peer_fails(case, setting.memory(case), (f64::NAN, f64::NAN))?;
        let mut calls = Vec::new();
        for operation in ["getpwnam_r", "getgrnam_r", "initgroups"] {
            let figure = unless_a_peer_fails(case, setting.calls(case, operation), f64::NAN)?;
            calls.push(format!("{figure:.2}"));
        }
        let calls = calls.join(" | ");
        println!("| {} | {time:.1} | {over} | {own} | {files} | {calls} |", case.service);
    }
    Ok(())
}

/// A peer's own trouble is not ours.
fn unless_a_peer_fails<T>(case: &Case, figure: Result<T>, none: T) -> Result<T> {
    if figure.is_err() && !SCALE.contains(&case.service) { Ok(none) } else { figure }
}
