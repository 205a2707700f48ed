//! Events that the backend will never take: a copy of each, for whoever finds out why.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use hostward_protocol::problem::Code;
use reqwest::StatusCode;

use crate::backend::Fault;

/// The file, beside the log. Nothing reads it but people.
pub const NAME: &str = "refused.jsonl";
/// It grows no further: the events are in the log too, as long as that has room for them.
const MOST: u64 = 1 << 20;

/// Whether a batch of one event can never be delivered.
pub fn is_unacceptable(fault: &Fault) -> bool {
    fault.code() == Some(Code::EventUnacceptable) || is_too_large(fault)
}

/// Whether a smaller batch may do.
pub fn is_too_large(fault: &Fault) -> bool {
    fault.refusal().is_some_and(|refusal| refusal.status == StatusCode::PAYLOAD_TOO_LARGE)
}

/// Keeps copies of events beside the log in `dir`. That this fails is said and holds nothing up.
pub fn set(dir: &Path, lines: &[Vec<u8>]) {
    let path = dir.join(NAME);
    let write = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
        let mut file = options.open(&path)?;
        // Whatever the umask is.
        file.set_permissions(std::fs::Permissions::from_mode(0o640))?;
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        if file.metadata()?.len() + bytes.len() as u64 <= MOST {
            file.write_all(&bytes)?;
        }
        Ok(())
    };
    if let Err(error) = write() {
        log::warn!("cannot write `{}`: {error}", path.display());
    }
}
