//! One entry of a list, or the fact that it is malformed.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An entry that has the shape of its kind, or one that has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<T> {
    /// The entry has the expected shape; whether its values are acceptable is another question.
    Shaped(T),
    /// The entry has another shape. What was wrong, without quoting the entry.
    Malformed {
        /// The entry's `id` or `name` where it has one that can be shown, else empty.
        label: String,
        /// Line and column inside the entry.
        at: (usize, usize),
    },
}

impl<T> Entry<T> {
    /// The shaped entry, if it is one.
    pub fn shaped(&self) -> Option<&T> {
        match self {
            Entry::Shaped(value) => Some(value),
            Entry::Malformed { .. } => None,
        }
    }
}

impl<T> From<T> for Entry<T> {
    fn from(value: T) -> Self {
        Entry::Shaped(value)
    }
}

impl<T: Serialize> Serialize for Entry<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Entry::Shaped(value) => value.serialize(serializer),
            Entry::Malformed { .. } => Err(serde::ser::Error::custom("a malformed entry cannot be written")),
        }
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        match serde_json::from_str(raw.get()) {
            Ok(value) => Ok(Entry::Shaped(value)),
            Err(error) => {
                Ok(Entry::Malformed { label: label(raw.get()), at: (error.line(), error.column()) })
            }
        }
    }
}

fn label(text: &str) -> String {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
        return String::new();
    };
    let shown =
        |key: &str| value.get(key).and_then(|v| v.as_str()).map(|s| s.escape_default().take(64).collect());
    shown("id").or_else(|| shown("name")).unwrap_or_default()
}
