//! What is asked, and how its figures are taken: each of those that a ratio is made of in turn for a few milliseconds, round
//! after round, so that whatever else the machine does hits all of them.

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
const SLICE: f64 = 3e6;
/// A peer that takes longer than this for one answer is asked in one round only.
const SLOW: f64 = 20e6;
/// In how many rounds a peer is asked, which no ratio depends on.
const PEER_ROUNDS: usize = 5;
/// How long one row is measured. Where one answer takes longer than a slice, there are fewer rounds, but never less than these.
const ROW: f64 = 3e9;
const FEWEST_ROUNDS: usize = 15;

/// The figures of one row.
#[derive(Debug)]
pub struct Figures {
    /// Nanoseconds of each worker.
    pub ns: Vec<f64>,
    /// Of the third to the sum of the first two, which are the floor and the limit.
    pub ratio: Spread,
}

/// Medians over the rounds, also of the ratio: what of the machine's other work hits a round hits all of it, or is outvoted.
pub fn measure(row: Row, workers: &mut [Worker], counts: (usize, usize), rounds: usize) -> Result<Figures> {
    let (scale, peers) = workers.split_at_mut(SCALE.len());
    let mut slices = Vec::new();
    for worker in scale.iter_mut() {
        slices.push(calibrate(row, worker, counts)?);
    }
    let round: f64 = slices.iter().map(|slice| slice.ns).sum();
    let rounds = rounds.min(((ROW / round) as usize).max(FEWEST_ROUNDS));
    let mut ns: Vec<Vec<f64>> = vec![Vec::new(); SCALE.len()];
    for round in 0..rounds {
        // Each comes first, and behind each of the others, equally often.
        for n in (0..SCALE.len()).map(|n| (n + round) % SCALE.len()) {
            ns[n].push(ask(row, &mut scale[n], slices[n].times, counts)?);
        }
    }
    let ratios =
        ns[2].iter().zip(ns[0].iter().zip(&ns[1])).map(|(ours, (floor, limit))| ours / (floor + limit));
    let ratio = Spread::of(ratios.collect());
    for peer in peers {
        let slice = calibrate(row, peer, counts)?;
        let rounds = if slice.ns > SLOW { 1 } else { PEER_ROUNDS };
        ns.push((0..rounds).map(|_| ask(row, peer, slice.times, counts)).collect::<Result<_>>()?);
    }
    Ok(Figures { ns: ns.into_iter().map(|ns| Spread::of(ns).median).collect(), ratio })
}

/// How often one is asked in a round, and about how long that takes.
struct Slice {
    times: u64,
    ns: f64,
}

/// Warms it up.
fn calibrate(row: Row, worker: &mut Worker, counts: (usize, usize)) -> Result<Slice> {
    let mut times = 1_u64;
    let slice = loop {
        let (ns, _) = worker.ask(row.operation, times, row.threads)?;
        if ns > SLICE / 4.0 {
            let all = ((times as f64) * SLICE / ns).ceil().max(1.0);
            break Slice { times: all as u64, ns: all * ns / times as f64 };
        }
        times *= 2;
    };
    // Every page and every cache as in a process that has been there for long.
    let keys = match row.gives {
        Gives::Users | Gives::Groups => 0,
        _ if row.operation.ends_with("everyone")
            || !matches!(worker.service, "limit" | "hostward" | "sss") =>
        {
            0
        }
        _ if row.operation.starts_with("getgr") => counts.1.min(1 << 18),
        _ => counts.0.min(1 << 18),
    };
    if keys > 0 {
        worker.ask(row.operation, keys as u64, 1)?;
    }
    Ok(slice)
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

/// The middle of some figures, and where the middle half of them lies.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// Of no figures: no numbers.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        // Between two neighbours, if need be.
        let at = |part: f64| {
            let place = figures.len().saturating_sub(1) as f64 * part;
            let (below, rest) = (place.floor() as usize, place.fract());
            let figure = |n: usize| figures.get(n).or(figures.last()).copied().unwrap_or(f64::NAN);
            figure(below) * (1.0 - rest) + figure(below + 1) * rest
        };
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_outvoted() {
        let spread = Spread::of(vec![3.0, 1.0, 900.0, 2.0, 4.0]);
        assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
        assert_eq!(Spread::of(vec![1.0, 2.0]).median, 1.5);
        assert!(Spread::of(Vec::new()).median.is_nan());
    }
}
