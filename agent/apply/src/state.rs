//! Root's small JSON files: read with distrust, written whole.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::distrust::{self, Demands, ReadError};
use crate::durable::{self, Attributes, WriteError};

/// The largest state file that is read, in bytes. A ledger of a million people has about 200 MiB.
const MAX_STATE: u64 = 512 << 20;

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is there and cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: &'static str,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// It is cut or altered.
    #[error("`{path}` is cut or altered (line {line}, column {column})")]
    Damaged {
        /// The file.
        path: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
}

/// Reads a state file; `None` where there is none. `name` is its path on a host, for messages.
pub fn read<T: DeserializeOwned>(path: &Path, name: &'static str) -> Result<Option<T>, StateError> {
    let demands = Demands { owner: 0, cap: MAX_STATE, forbidden_mode: 0o022 };
    let bytes = match distrust::read(path, demands) {
        Ok(bytes) => bytes,
        Err(ReadError::NotFound) => return Ok(None),
        Err(source) => return Err(StateError::Read { path: name, source }),
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(StateError::Damaged { path: name, line: error.line(), column: error.column() }),
    }
}

/// Replaces a state file.
pub fn write<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<(), WriteError> {
    let bytes = serde_json::to_vec(value).map_err(|error| WriteError {
        step: "write",
        path: path.into(),
        source: error.into(),
    })?;
    durable::replace(path, &bytes, Attributes::root(mode))
}
