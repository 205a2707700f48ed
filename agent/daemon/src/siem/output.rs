//! A place that events go to.

use std::time::Duration;

use hostward_config::Siem;
use hostward_protocol::report::{Finding, Responsible};

use super::journal::Journal;
use super::otlp::Otlp;
use super::syslog::Syslog;
use crate::backend::Fault;
use crate::paths::Options;

/// A place that events go to.
pub enum Output {
    Syslog(Syslog),
    Journal(Journal),
    Otlp(Otlp),
}

/// What was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed {
    /// How many events, from the first on, are done with.
    pub count: usize,
    /// How many of them were refused for good.
    pub refused: usize,
    /// How long to wait before the next ones.
    pub rest: Duration,
}

/// Why nothing was handed over.
#[derive(Debug)]
pub enum OutputError {
    /// Fewer at once may do; one alone never does.
    Smaller,
    /// A server of syslog, or the journal.
    Socket {
        /// What is the matter.
        code: &'static str,
        message: String,
        mend: String,
    },
    /// A collector.
    Http(Fault),
    /// Something else.
    Finding(Finding),
}

impl Output {
    /// Those that are switched on.
    pub fn all(siem: &Siem, options: &Options) -> Vec<Output> {
        let mut all = Vec::new();
        all.extend(siem.syslog.clone().map(|settings| Output::Syslog(Syslog::new(settings))));
        if siem.journal {
            all.push(Output::Journal(Journal::new(&options.journal_socket)));
        }
        all.extend(siem.otlp.clone().map(|settings| Output::Otlp(Otlp::new(settings))));
        all
    }

    pub fn name(&self) -> &'static str {
        match self {
            Output::Syslog(_) => "syslog",
            Output::Journal(_) => "journal",
            Output::Otlp(_) => "otlp",
        }
    }

    /// Hands lines of the log over, oldest first.
    pub async fn hand_over(&mut self, lines: &[Vec<u8>]) -> Result<Handed, OutputError> {
        match self {
            Output::Syslog(syslog) => syslog.hand_over(lines).await,
            Output::Journal(journal) => journal.hand_over(lines).await,
            Output::Otlp(otlp) => otlp.hand_over(lines).await,
        }
    }
}

impl OutputError {
    pub fn finding(self, name: &str) -> Finding {
        match self {
            OutputError::Smaller => Finding {
                code: "output-refuses".into(),
                subject: format!("events to {name}"),
                message: "it takes no events".into(),
                responsible: Responsible::Operator,
                mend: "see its own log".into(),
            },
            OutputError::Socket { code, message, mend } => Finding {
                code: code.into(),
                subject: format!("events to {name}"),
                message,
                responsible: Responsible::Operator,
                mend,
            },
            OutputError::Http(fault) => {
                let finding = fault.finding(&format!("events to {name}"));
                Finding {
                    code: format!("{name}-{}", finding.code.trim_start_matches("backend-")),
                    mend: format!(
                        "see whether the collector at the URL of [siem.{name}] is running and takes logs; it is tried again by itself"
                    ),
                    responsible: Responsible::Operator,
                    ..finding
                }
            }
            OutputError::Finding(finding) => finding,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            OutputError::Http(fault) => fault.retry_after(),
            _ => None,
        }
    }
}
