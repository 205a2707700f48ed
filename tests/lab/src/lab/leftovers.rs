//! Labs whose process is gone, which happens only when the guard was killed too.

use std::fs;

use anyhow::{Context, Result};

use super::{Lab, Record};
use crate::workspace;

/// Which labs [`clean`] removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clean {
    /// Those whose owner is gone.
    Abandoned,
    /// Also those that were kept on purpose.
    AbandonedAndKept,
}

/// Removes what earlier labs left behind, and returns their names.
///
/// # Errors
/// When something cannot be removed.
pub fn clean(which: Clean) -> Result<Vec<String>> {
    let runs = workspace::lab_dir().join("run");
    let entries = match fs::read_dir(&runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot list `{}`", runs.display()));
        }
    };
    let mut removed = Vec::new();
    for entry in entries {
        let id = entry?.file_name().to_string_lossy().into_owned();
        let lab = Lab::at(&id)?;
        let wanted = match Record::read(&lab.run) {
            Ok(Record { owner: Some(owner), .. }) => !owner.is_alive(),
            Ok(Record { owner: None, .. }) => which == Clean::AbandonedAndKept,
            // Cut off before the record was written: nobody knows of it.
            Err(_) => true,
        };
        if wanted {
            lab.remove()?;
            removed.push(id);
        }
    }
    Ok(removed)
}
