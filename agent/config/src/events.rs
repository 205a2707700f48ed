//! `[events]`: how much of what happened is kept.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration::Seconds;

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Room for each kind of event in `/var/log/hostward`. A kind that has used up its room loses its own newest events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Refused logins.
    pub denials: Size,
    /// Sessions, sudo and su.
    pub sessions: Size,
    /// What hostward itself did.
    pub own: Size,
    /// Where no backend takes events: how old they are before they make room for new ones.
    pub keep: Seconds,
}

impl Default for Events {
    fn default() -> Self {
        Events {
            denials: Size(8 << 20),
            sessions: Size(32 << 20),
            own: Size(16 << 20),
            keep: Seconds::days(30),
        }
    }
}

/// A number of bytes, written `"16MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unit = UNITS.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        match unit {
            Some((name, unit)) => serializer.collect_str(&format_args!("{}{name}", self.0 / unit)),
            None => serializer.collect_str(&format_args!("{}KiB", self.0.div_ceil(1 << 10))),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let size = UNITS.iter().find_map(|(name, unit)| {
            let number: u64 = text.strip_suffix(name)?.trim_end().parse().ok()?;
            number.checked_mul(*unit)
        });
        size.map(Size).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no size such as \"16MiB\" or \"512KiB\""))
        })
    }
}
