//! What is asked, and how its figures are taken: every case in turn for a few milliseconds, round after round, so that
//! whatever else the machine does hits all of them.

use anyhow::{Result, ensure};

use crate::cases::SCALE;
use crate::worker::Worker;

/// One kind of lookup.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub operation: &'static str,
    pub threads: usize,
    pub gives: Gives,
}

/// What each time that it is asked gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    Entry,
    Nothing,
    /// All of them: the figures are for one.
    Users,
    Groups,
}

const fn row(operation: &'static str, gives: Gives) -> Row {
    Row { operation, threads: 1, gives }
}

/// All rows.
pub const ROWS: &[Row] = &[
    row("getpwnam_r", Gives::Entry),
    row("getpwuid_r", Gives::Entry),
    row("getgrnam_r", Gives::Entry),
    row("getgrgid_r", Gives::Entry),
    row("initgroups", Gives::Entry),
    row("getpwnam_r-absent", Gives::Nothing),
    row("getpwuid_r-absent", Gives::Nothing),
    row("getgrnam_r-absent", Gives::Nothing),
    row("getgrgid_r-absent", Gives::Nothing),
    row("initgroups-absent", Gives::Nothing),
    row("getgrnam_r-everyone", Gives::Entry),
    row("getpwent_r", Gives::Users),
    row("getgrent_r", Gives::Groups),
    Row { threads: 2, ..row("getpwnam_r", Gives::Entry) },
    Row { threads: 2, ..row("getgrnam_r", Gives::Entry) },
];

/// How long one case is asked in one round.
const SLICE: f64 = 4e6;
/// A case that takes longer than this for one answer is asked in one round only.
const SLOW: f64 = 20e6;
/// In how many rounds a peer is asked, which no ratio depends on.
const PEER_ROUNDS: usize = 5;

/// The figure of each worker, and the ratio of the third to the sum of the first two, which are the floor and the limit.
pub fn measure(
    row: Row,
    workers: &mut [Worker],
    counts: (usize, usize),
    rounds: usize,
) -> Result<(Vec<f64>, f64)> {
    let mut times = Vec::new();
    for worker in workers.iter_mut() {
        times.push(calibrate(row, worker, counts)?);
    }
    let mut all: Vec<Vec<f64>> = vec![Vec::new(); workers.len()];
    for round in 0..rounds {
        for ((worker, times), figures) in workers.iter_mut().zip(&times).zip(&mut all) {
            let most = if SCALE.contains(&worker.service) { rounds } else { PEER_ROUNDS };
            if round == 0 || *times > 0 && round < most {
                figures.push(ask(row, worker, (*times).max(1), counts)?);
            }
        }
    }
    let figures: Vec<f64> = all.into_iter().map(undisturbed).collect();
    let ratio = figures[2] / (figures[0] + figures[1]);
    Ok((figures, ratio))
}

/// Warms it up; how often it can be asked in a slice, 0 for one that is slow.
fn calibrate(row: Row, worker: &mut Worker, counts: (usize, usize)) -> Result<u64> {
    let mut times = 1_u64;
    loop {
        let (ns, _) = worker.ask(row.operation, times, row.threads)?;
        if ns > SLOW && times == 1 {
            return Ok(0);
        }
        if ns > SLICE / 4.0 {
            times = ((times as f64) * SLICE / ns).ceil() as u64;
            break;
        }
        times *= 2;
    }
    // Every page and every cache as in a process that has been there for long.
    let keys = match row.gives {
        Gives::Users | Gives::Groups => 0,
        _ if row.operation.ends_with("everyone") || !matches!(worker.service, "limit" | "hostward") => 0,
        _ if row.operation.starts_with("getgr") => counts.1.min(1 << 18),
        _ => counts.0.min(1 << 18),
    };
    if keys > 0 {
        worker.ask(row.operation, keys as u64, 1)?;
    }
    Ok(times)
}

fn ask(row: Row, worker: &mut Worker, times: u64, (users, groups): (usize, usize)) -> Result<f64> {
    let (ns, found) = worker.ask(row.operation, times, row.threads)?;
    let asked = times * row.threads as u64;
    let expected = asked
        * match row.gives {
            Gives::Entry => 1,
            Gives::Nothing => 0,
            // It answers with constants.
            _ if worker.service == "null" => 1000,
            Gives::Users => users as u64,
            Gives::Groups => groups as u64,
        };
    // The machine's own accounts are in the file too.
    let more = worker.service == "files" && matches!(row.gives, Gives::Users | Gives::Groups);
    let right = found == expected || more && found > expected;
    ensure!(
        right || !SCALE.contains(&worker.service),
        "{} of {} gave {found} entries, not {expected}",
        row.operation,
        worker.service
    );
    if !right {
        // A peer's own trouble.
        return Ok(f64::NAN);
    }
    Ok(ns * row.threads as f64 / found.max(asked) as f64)
}

/// What a tenth of the figures lies below. Whoever else uses the same core, or the same half of one, makes an answer take
/// longer, by up to a factor of two for a while, and never shorter: the median says more about them than about the module.
fn undisturbed(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 10).copied().unwrap_or(f64::NAN)
}

/// The middle one.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => (figures[middle - 1] + figures[middle]) / 2.0,
        _ => figures[middle],
    }
}
