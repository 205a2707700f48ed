//! Figures, and the table that they are printed as, line by line, so that a run that is cut short has said what it found.

use std::time::Duration;

use hostward_host_tests::Release;

/// Prints one line a figure.
#[derive(Debug)]
pub struct Table;

impl Table {
    /// Begins it.
    pub fn new(release: Release) -> Self {
        println!("| {release} | figure |\n|---|---|");
        Table
    }

    /// A line.
    pub fn add(&mut self, what: &str, figure: impl std::fmt::Display) {
        println!("| {what} | {figure} |");
    }

    /// A line of times: their median, 99th percentile and maximum.
    pub fn add_times(&mut self, what: &str, mut times: Vec<Duration>) {
        times.sort();
        let (Some(median), Some(high), Some(most)) =
            (percentile(&times, 50), percentile(&times, 99), times.last())
        else {
            return self.add(what, "nothing measured");
        };
        let figure = format!(
            "median {}, 99th percentile {}, most {} of {}",
            shown(median),
            shown(high),
            shown(*most),
            times.len()
        );
        self.add(what, figure);
    }
}

/// The nearest-rank percentile of sorted times.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// A time as a person reads it.
pub fn shown(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") }
}

/// Kibibytes as a person reads them.
pub fn kib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times: Vec<_> = (1..=50).map(Duration::from_secs).collect();
        assert_eq!(percentile(&times, 50), Some(Duration::from_secs(25)));
        assert_eq!(percentile(&times, 99), Some(Duration::from_secs(50)));
        assert_eq!(percentile(&times[..1], 99), Some(Duration::from_secs(1)));
        assert_eq!(percentile(&[], 99), None);
    }
}
