//! What the agent waits for.

use std::future::pending;
use std::path::PathBuf;

use tokio::time::{Instant, Interval, sleep_until};

use super::{Agent, Signals};
use crate::backend::Fault;
use crate::control::Asked;
use crate::enrollment::Ended;
use crate::{delivery, host_certificates, policy, reporting};

/// What happened.
pub enum Happening {
    /// Something is due.
    Due,
    /// The service manager wants to hear that the loop goes round.
    Watchdog,
    /// The configuration is to be read again.
    HangUp,
    /// Files changed in these directories.
    Changed(Vec<PathBuf>),
    /// Root asks.
    Asked(Asked),
    /// A step of an enrollment ended.
    Token(Ended),
    /// A poll ended, or what came of one is before root no more.
    Policy(policy::Finished),
    /// Something was told to the backend.
    Report(reporting::Finished),
    /// The backend was asked for certificates of the host's keys.
    Certificates(host_certificates::Finished),
    /// It stands otherwise with the step-ca than it did.
    StepCa,
    /// Events were delivered, or there are more.
    Delivered(delivery::Finished),
    /// Another place that events go to is out of reach, or can be reached again.
    Siem,
    /// The backend was told that the host leaves.
    Left(Result<(), Fault>),
}

/// Waits for the next thing.
pub async fn next(agent: &mut Agent, signals: &mut Signals, watchdog: Option<&mut Interval>) -> Happening {
    let due = agent.due().map(Instant::from_std);
    let Agent { token, follower, reporting, certificates, delivery, leaving, siem, step_ca, .. } = agent;
    let due = async {
        match due {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    };
    let watchdog = async {
        match watchdog {
            Some(interval) => interval.tick().await,
            None => pending().await,
        }
    };
    let policy = async {
        match follower {
            Some(follower) => follower.finished().await,
            None => pending().await,
        }
    };
    let report = async {
        match reporting {
            Some(reporting) => reporting.finished().await,
            None => pending().await,
        }
    };
    let certificates = async {
        match certificates {
            Some(certificates) => certificates.finished().await,
            None => pending().await,
        }
    };
    let step_ca = async {
        match step_ca {
            Some(step_ca) => step_ca.changed().await,
            None => pending().await,
        }
    };
    let delivery = async {
        match delivery {
            Some(delivery) => delivery.finished().await,
            None => pending().await,
        }
    };
    tokio::select! {
        // The order is that of haste: a revoked person's policy before a report about the one before.
        biased;
        _ = watchdog => Happening::Watchdog,
        finished = policy => Happening::Policy(finished),
        Some(asked) = signals.asked.recv() => Happening::Asked(asked),
        ended = token.finished() => Happening::Token(ended),
        told = leaving.finished() => Happening::Left(told),
        _ = signals.hang_up.recv() => Happening::HangUp,
        dirs = signals.watch.changed() => Happening::Changed(dirs),
        finished = report => Happening::Report(finished),
        finished = certificates => Happening::Certificates(finished),
        () = step_ca => Happening::StepCa,
        finished = delivery => Happening::Delivered(finished),
        () = siem.changed() => Happening::Siem,
        () = due => Happening::Due,
    }
}
