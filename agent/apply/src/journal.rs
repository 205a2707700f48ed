//! Where messages go: the journal under systemd, else standard error. Only our own: a library's may quote what an
//! enemy wrote.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Sends messages to where they are read.
pub fn start() {
    let journal = connected_to_journal().then(|| JournalLog::new().ok()).flatten();
    let started = log::set_boxed_logger(Box::new(Own(journal)));
    if started.is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

struct Own(Option<JournalLog>);

impl Log for Own {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hostward")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        match &self.0 {
            Some(journal) => journal.log(record),
            None => {
                let _ = writeln!(std::io::stderr(), "{}: {}", record.level(), record.args());
            }
        }
    }

    fn flush(&self) {}
}
