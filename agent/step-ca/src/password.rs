//! The provisioner's password, as systemd hands it over.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Name of the systemd credential.
pub const CREDENTIAL: &str = "step-ca-password";
/// The longest file that is read.
const MAX: u64 = 4096;

/// A password that leaves no trace and is in no message.
pub struct Password(Zeroizing<Vec<u8>>);

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// systemd handed nothing over.
    #[error("there is no password for step-ca: systemd hands hostward.service no credential `{CREDENTIAL}`")]
    Missing,
    /// It is there and cannot be read.
    #[error("cannot read the password for step-ca in `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Nothing is in it.
    #[error("the password for step-ca in `{path}` is empty", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Too much is in it.
    #[error("`{path}` is longer than the {MAX} bytes of any password for step-ca", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

impl PasswordError {
    /// What to do.
    pub fn mend(&self) -> &'static str {
        match self {
            PasswordError::Missing => {
                "write the provisioner's password to /etc/hostward/step-ca.password (root, mode 0600), \
                 put /usr/share/doc/hostward/examples/step-ca.conf into /etc/systemd/system/hostward.service.d, \
                 then: systemctl daemon-reload && systemctl restart hostward"
            }
            PasswordError::Read { .. } => "systemctl restart hostward",
            PasswordError::Empty { .. } | PasswordError::TooLong { .. } => {
                "write the provisioner's password, and nothing else, to the file that LoadCredential= names \
                 (/etc/hostward/step-ca.password), then: systemctl restart hostward"
            }
        }
    }
}

impl Password {
    /// These bytes, as they are.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Password(bytes)
    }

    /// What is in `step-ca-password` of `directory`, which is `$CREDENTIALS_DIRECTORY`, where that is set.
    /// White space at its end is not part of it, as with `step`.
    pub fn from_credentials(directory: Option<&Path>) -> Result<Self, PasswordError> {
        let path = directory.ok_or(PasswordError::Missing)?.join(CREDENTIAL);
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => PasswordError::Missing,
            _ => PasswordError::Read { path: path.clone(), source },
        };
        let file = File::open(&path).map_err(failed)?;
        // Room for all of it at once: a vector that grows leaves what it held behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX as usize + 64));
        file.take(MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX {
            return Err(PasswordError::TooLong { path });
        }
        let len = bytes.trim_ascii_end().len();
        bytes.truncate(len);
        if bytes.is_empty() {
            return Err(PasswordError::Empty { path });
        }
        Ok(Password(bytes))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_read_as_step_reads_password_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(CREDENTIAL);
        let read = |content: &[u8]| {
            std::fs::write(&file, content).unwrap();
            Password::from_credentials(Some(directory.path()))
        };
        assert_eq!(read(b" pass word \r\n").unwrap().expose(), b" pass word");
        assert_eq!(read(&[b'x'; 4096]).unwrap().expose().len(), 4096);
        assert!(matches!(read(&[b'x'; 4097]), Err(PasswordError::TooLong { .. })));
        assert!(matches!(read(b"\n"), Err(PasswordError::Empty { .. })));
        assert_eq!(format!("{:?}", read(b"secret").unwrap()), "Password(…)");
    }

    #[test]
    fn without_a_credential_the_drop_in_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for directory in [None, Some(directory.path())] {
            let error = Password::from_credentials(directory).unwrap_err();
            assert!(matches!(error, PasswordError::Missing));
            assert!(error.mend().contains("hostward.service.d"));
        }
    }
}
