//! By how much this host's clock and the CA's differ, as far as the CA tells.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

/// From where on a difference is the likely cause of a refusal: step-ca tolerates a minute.
const LIKELY: TimeDelta = TimeDelta::seconds(45);

/// A difference that is large enough to be why something fails. Nothing but a message rests on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    here: DateTime<Utc>,
    there: DateTime<Utc>,
}

impl Skew {
    /// Of this host's time and that of an answer's `Date`.
    pub(crate) fn between(here: DateTime<Utc>, there: Option<DateTime<Utc>>) -> Option<Self> {
        let there = there?;
        ((here - there).abs() >= LIKELY).then_some(Skew { here, there })
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ahead = self.here - self.there;
        let side = if ahead < TimeDelta::zero() { "behind" } else { "ahead of" };
        let time = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "this host's is {} {side} the CA's: ", rough(ahead.abs()))?;
        write!(f, "{} here, {} there", time(self.here), time(self.there))
    }
}

/// A duration in the largest unit of which there are two at least.
fn rough(difference: TimeDelta) -> String {
    let seconds = difference.num_seconds();
    let units = [("days", 86_400), ("hours", 3600), ("minutes", 60)];
    match units.into_iter().find(|(_, length)| seconds >= 2 * length) {
        Some((unit, length)) => format!("about {} {unit}", (seconds + length / 2) / length),
        None => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skew(seconds: i64) -> Option<String> {
        let there = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let skew = Skew::between(there + TimeDelta::seconds(seconds), Some(there));
        skew.map(|skew| skew.to_string())
    }

    #[test]
    fn both_times_are_told_with_what_is_between_them() {
        assert_eq!(
            skew(3600).unwrap(),
            "this host's is about 60 minutes ahead of the CA's: 2023-11-14 23:13:20 UTC here, 2023-11-14 22:13:20 UTC there"
        );
        for (seconds, said) in [
            (-50, "is 50 s behind"),
            (119, "is 119 s ahead of"),
            (-3599, "is about 60 minutes behind"),
            (-7300, "is about 2 hours behind"),
            (400 * 86_400, "is about 400 days ahead of"),
        ] {
            let text = skew(seconds).unwrap();
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn what_clocks_differ_by_is_no_reason() {
        assert_eq!(skew(44), None);
        assert_eq!(skew(-44), None);
        assert_eq!(Skew::between(DateTime::UNIX_EPOCH, None), None);
    }
}
