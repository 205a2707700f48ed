//! Durations as an operator writes them: `"30d"`, `"90s"`, `"1h 30m"`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A whole number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u64);

impl Seconds {
    /// `n` days.
    pub const fn days(n: u64) -> Self {
        Seconds(n * 86_400)
    }
}

impl From<Seconds> for std::time::Duration {
    fn from(seconds: Seconds) -> Self {
        std::time::Duration::from_secs(seconds.0)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration((*self).into()))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = humantime::parse_duration(&text).map_err(|e| {
            serde::de::Error::custom(format!("`{text}` is no duration such as \"30d\" or \"90s\": {e}"))
        })?;
        if duration.subsec_nanos() != 0 {
            return Err(serde::de::Error::custom(format!("`{text}` is not a whole number of seconds")));
        }
        Ok(Seconds(duration.as_secs()))
    }
}
