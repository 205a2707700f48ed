//! Entries of the journal, by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostward_events::Record;
use tokio::net::UnixDatagram;

use super::fields;
use super::output::{Handed, OutputError};

/// The same for every event; `journalctl MESSAGE_ID=…` finds them all.
const MESSAGE_ID: &str = "6f2c1f0e6f1a4f1e9d0c0f5b7f3a9e21";
/// journald drops what a service writes beyond 10 000 entries in 30 s, and does not say so to it.
const AT_ONCE: usize = 250;
const REST: Duration = Duration::from_secs(1);
/// How long journald may take to have room for an entry.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journal {
    pub fn new(path: &Path) -> Self {
        Journal { path: path.into(), socket: None }
    }

    pub async fn hand_over(&mut self, lines: &[Vec<u8>]) -> Result<Handed, OutputError> {
        let mut handed = Handed { count: 0, refused: 0, rest: Duration::ZERO };
        for line in lines.iter().take(AT_ONCE) {
            match Record::read(line) {
                Some(record) => match self.send(&entry(&record, line)).await {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::InvalidInput || is_too_long(&error) => {
                        handed.refused += 1;
                    }
                    Err(_) if handed.count > 0 => return Ok(handed),
                    Err(error) => return Err(self.unreachable(&error)),
                },
                None => handed.refused += 1,
            }
            handed.count += 1;
        }
        if handed.count == AT_ONCE {
            handed.rest = REST;
        }
        Ok(handed)
    }

    async fn send(&mut self, entry: &[u8]) -> std::io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(UnixDatagram::unbound()?),
        };
        match tokio::time::timeout(PATIENCE, socket.send_to(entry, &self.path)).await {
            Ok(sent) => sent.map(drop),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }

    fn unreachable(&self, error: &std::io::Error) -> OutputError {
        OutputError::Socket {
            code: "journal-unreachable",
            message: format!("cannot write to the journal at `{}`: {error}", self.path.display()),
            mend: "see whether systemd-journald.service runs; it is tried again by itself".into(),
        }
    }
}

fn is_too_long(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EMSGSIZE)
}

fn entry(record: &Record, line: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(line.len() + 1024);
    let priority = fields::priority(record).to_string();
    for (name, value) in [
        ("MESSAGE", record.message()),
        ("PRIORITY", &priority),
        ("SYSLOG_FACILITY", "10"),
        ("SYSLOG_IDENTIFIER", "hostward-event"),
        ("MESSAGE_ID", MESSAGE_ID),
    ] {
        field(&mut entry, name, value.as_bytes());
    }
    for (name, value) in fields::of(record) {
        field(&mut entry, &format!("HOSTWARD_{}", name.to_ascii_uppercase()), value.as_bytes());
    }
    field(&mut entry, "HOSTWARD_EVENT", line);
    entry
}

/// With its length, so that nothing in a value ends it.
fn field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_a_value_ends_nothing() {
        let record = fields::tests::record();
        let entry = entry(&record, b"{}");
        let message = "login of alice\nrefused: ü";
        let mut begin = b"MESSAGE\n".to_vec();
        begin.extend_from_slice(&(message.len() as u64).to_le_bytes());
        begin.extend_from_slice(message.as_bytes());
        begin.extend_from_slice(b"\nPRIORITY\n");
        assert!(entry.starts_with(&begin));
        assert!(entry.ends_with(b"HOSTWARD_EVENT\n\x02\0\0\0\0\0\0\0{}\n"));
    }

    #[tokio::test]
    async fn without_a_journal_nothing_is_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let mut journal = Journal::new(&path);
        let line = serde_json::to_vec(&fields::tests::record()).unwrap();
        assert!(journal.hand_over(std::slice::from_ref(&line)).await.is_err());
        let theirs = UnixDatagram::bind(&path).unwrap();
        let handed = journal.hand_over(&[line, b"no event".to_vec()]).await.unwrap();
        assert_eq!((handed.count, handed.refused), (2, 1));
        let mut buffer = vec![0; 1 << 16];
        let length = theirs.recv(&mut buffer).await.unwrap();
        assert!(buffer[..length].starts_with(b"MESSAGE\n"));
    }
}
