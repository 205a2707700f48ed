//! Where the log goes: the journal under systemd, standard error elsewhere.

use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Starts logging. Only hostward's own messages appear: those of libraries quote addresses and headers.
pub fn start() {
    let installed = if connected_to_journal() {
        match JournalLog::new() {
            Ok(journal) => log::set_boxed_logger(Box::new(OwnOnly(
                journal.with_syslog_identifier("hostward-agent".into()),
            ))),
            Err(_) => log::set_logger(&StandardError),
        }
    } else {
        log::set_logger(&StandardError)
    };
    if installed.is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// An error with what it comes from.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn is_own(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("hostward")
}

struct OwnOnly(JournalLog);

impl Log for OwnOnly {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_own(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if is_own(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_own(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if is_own(record.metadata()) {
            eprintln!("{}: {}", record.level().as_str().to_lowercase(), record.args());
        }
    }

    fn flush(&self) {}
}
