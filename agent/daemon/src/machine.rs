//! Which machine this is: so that a copy of it is noticed.

use std::path::Path;

use aws_lc_rs::hmac;

/// Keys the HMAC, so that the value tells nothing of the machine id and is equal in no other application.
const APPLICATION: &[u8] = b"hostward machine 1";

/// Why this machine cannot be told from others.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// There is no machine id to read.
    #[error("cannot read the machine id `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not one: a system before its first boot has `uninitialized` or nothing there.
    #[error("`{path}` holds no machine id (32 hexadecimal digits); `systemd-machine-id-setup` makes one")]
    NotOne {
        /// The file.
        path: String,
    },
}

/// HMAC-SHA-256 of the machine id in `path` (machine-id(5)), hex.
pub fn machine(path: &Path) -> Result<String, MachineError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| MachineError::Read { path: path.display().to_string(), source })?;
    let id = text.trim_end();
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    if !is_id {
        return Err(MachineError::NotOne { path: path.display().to_string() });
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, APPLICATION);
    Ok(hex(hmac::sign(&key, id.as_bytes()).as_ref()))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_machine_gives_the_same_value_and_never_the_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine-id");
        let id = "0123456789abcdef0123456789abcdef";
        std::fs::write(&path, format!("{id}\n")).unwrap();
        let value = machine(&path).unwrap();
        assert_eq!(value.len(), 64);
        assert!(!value.contains(id));
        assert_eq!(value, "49123121554e339f2fb8720525e21d99fe0c5af4f33448c8c0b13528370982e0");
    }

    #[test]
    fn what_is_no_machine_id_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine-id");
        assert!(matches!(machine(&path), Err(MachineError::Read { .. })));
        for bad in ["", "uninitialized\n", "00000000000000000000000000000000\n"] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(machine(&path), Err(MachineError::NotOne { .. })));
        }
    }
}
