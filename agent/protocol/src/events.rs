//! Delivery of events: `POST /v1/events` and `GET /v1/hosts/self/events/head` (`docs/openapi.yaml`).

use serde::{Deserialize, Serialize};

/// The media type of a batch of events: CloudEvents 1.0 in JSON, the batched content mode.
pub const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json";
/// The parameter that says which event the sender's log has before the first of a batch.
pub const AFTER: &str = "after";

/// An event that somebody has, and with it, by the chain, everything before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub sequence: u64,
    /// SHA-256 of its line without the newline, hex.
    pub hash: String,
}

/// Answer to a batch, and to the question for the head, 200.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The newest event up to which the backend has every one that there is; `None` while it has none.
    pub acknowledged: Option<Head>,
    /// Events of the batch that the backend will never take, the first hundred of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedEvent>,
}

/// An event that the backend will never take. It counts as had: what follows is not held up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEvent {
    /// Its number.
    pub sequence: u64,
    /// Why, for people.
    #[serde(default)]
    pub detail: String,
}
