//! `hostward events`: what happened on this host, from its log.

mod filter;
mod integrity;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hostward_events::{DIRECTORY, FilesError, Reader, Record};

use crate::cli::EventsOptions;
use crate::show;
use filter::Filter;

/// How much is read at once.
const PORTION: usize = 1 << 20;
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The group that may read logs.
const GROUP: &str = "adm";

/// Why no events can be shown.
#[derive(Debug, thiserror::Error)]
enum EventsError {
    /// The caller may not.
    #[error(
        "only root and members of the group `{GROUP}` may read `{DIRECTORY}`: use sudo, or have an administrator run `adduser NAME {GROUP}` and log in again"
    )]
    Denied,
    /// There are none.
    #[error(
        "there are no events in `{DIRECTORY}`: the agent writes them. Is `hostward.service` active? `journalctl -u hostward.service` says why it cannot write them"
    )]
    Absent,
    /// The files cannot be read.
    #[error(transparent)]
    Files(FilesError),
    /// Nobody takes what is printed.
    #[error("cannot print events")]
    Print(#[source] io::Error),
}

impl From<FilesError> for EventsError {
    fn from(error: FilesError) -> Self {
        match error {
            error if error.is_denied() => EventsError::Denied,
            FilesError::Absent { .. } => EventsError::Absent,
            error => EventsError::Files(error),
        }
    }
}

/// Prints events, or says whether the log is whole.
pub fn run(options: &EventsOptions) -> anyhow::Result<ExitCode> {
    let dir = Path::new(DIRECTORY);
    if options.verify {
        return integrity::run(dir, options.json);
    }
    let filter = Filter::new(options, chrono::Utc::now())?;
    match print(dir, &filter, options) {
        // Whoever read along has seen enough.
        Err(EventsError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(dir: &Path, filter: &Filter, options: &EventsOptions) -> Result<(), EventsError> {
    let mut reader = Reader::new(dir);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut next = 1;
    loop {
        let batch = match reader.read_from(next, PORTION) {
            // The first of them may be yet to come.
            Err(FilesError::Absent { .. }) if options.follow && dir.is_dir() => Default::default(),
            batch => batch?,
        };
        if batch.damaged > 0 {
            let lines = if batch.damaged == 1 { "line that is no event" } else { "lines that are no events" };
            eprintln!(
                "hostward: passed over {} {lines}; `hostward events --verify` says where",
                batch.damaged
            );
        }
        for line in &batch.lines {
            if let Some(record) = Record::read(line).filter(|record| filter.wants(record)) {
                let printed = if options.json {
                    out.write_all(line).and_then(|()| out.write_all(b"\n"))
                } else {
                    writeln!(out, "{}", readable(&record))
                };
                printed.map_err(EventsError::Print)?;
            }
        }
        let is_end = batch.lines.is_empty();
        next = batch.next.max(next);
        if is_end {
            out.flush().map_err(EventsError::Print)?;
            if !options.follow {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn readable(record: &Record) -> String {
    let kind = record.kind.strip_prefix("hostward.").unwrap_or(&record.kind);
    let time = record.time.format("%F %T UTC");
    format!("{time}  {:<20}  {}", show::clean(kind), show::clean(record.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let record = Record {
            specversion: "1.0".into(),
            id: "a-1".into(),
            source: "urn:hostward:local:web1".into(),
            kind: "hostward.account.added".into(),
            time: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            subject: "alice".into(),
            datacontenttype: "application/json".into(),
            sequence: 1,
            bootid: String::new(),
            prevhash: hostward_events::GENESIS.into(),
            quota: hostward_events::Quota::Own,
            sessionid: String::new(),
            input: None,
            inputid: String::new(),
            inputfrom: String::new(),
            data: serde_json::json!({ "message": "add user a\u{1b}[2J\nlice" }),
        };
        assert_eq!(
            readable(&record),
            "2027-01-15 08:00:00 UTC  account.added         add user a\\u{1b}[2J\\nlice"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let denied =
            FilesError::Read { path: DIRECTORY.into(), source: io::ErrorKind::PermissionDenied.into() };
        assert!(EventsError::from(denied).to_string().contains("members of the group `adm`"));
        let absent = FilesError::Absent { dir: DIRECTORY.into() };
        assert!(EventsError::from(absent).to_string().contains("hostward.service"));
    }
}
