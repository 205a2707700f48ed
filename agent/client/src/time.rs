//! Times as people say them.

use chrono::{DateTime, Utc};

/// How far clocks may differ before anybody has to know.
const SAME: u64 = 5;

/// When it was, and how long ago.
pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let when = at.format("%F %T UTC");
    match u64::try_from((now - at).num_seconds()) {
        Ok(seconds) => format!("{when} ({} ago)", span(seconds)),
        Err(_) => format!("{when} (in the future: is the clock right?)"),
    }
}

/// How this host's clock stands to the backend's, where they differ; `offset` is the backend's minus this host's.
pub fn clock(offset: i64) -> Option<String> {
    let direction = if offset > 0 { "behind" } else { "ahead of" };
    let seconds = offset.unsigned_abs();
    (seconds > SAME).then(|| format!("this host's clock is {} {direction} the backend's", span(seconds)))
}

/// A span of time, rounded to what counts.
fn span(seconds: u64) -> String {
    const SPANS: [(u64, u64, &str); 4] = [
        (2 * 31_536_000 - 15_768_000, 31_557_600, "years"),
        (172_800, 86_400, "days"),
        (7200, 3600, "h"),
        (120, 60, "min"),
    ];
    match SPANS.iter().find(|(from, _, _)| seconds >= *from) {
        Some((_, one, name)) => format!("{} {name}", (seconds + one / 2) / one),
        None => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_behind_or_ahead() {
        let said = |offset| clock(offset).unwrap();
        assert_eq!(said(94_607_999), "this host's clock is 3 years behind the backend's");
        assert_eq!(said(-94_607_999), "this host's clock is 3 years ahead of the backend's");
        assert_eq!(said(-400), "this host's clock is 7 min ahead of the backend's");
        assert_eq!(said(90_000), "this host's clock is 25 h behind the backend's");
        assert_eq!(said(i64::MIN).split(' ').nth(4), Some("292271023045"));
        assert_eq!((clock(5), clock(-5)), (None, None));
    }

    #[test]
    fn spans_are_in_the_unit_that_counts() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
            (400 * 86_400, "400 days"),
            (2 * 365 * 86_400, "2 years"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn what_was_and_what_is_to_come() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        assert_eq!(ago(at, at + chrono::TimeDelta::seconds(30)), "2027-01-15 08:00:00 UTC (30 s ago)");
        assert!(ago(at, at - chrono::TimeDelta::seconds(1)).contains("in the future"));
    }
}
