//! Has systemd start a pass at the next moment at which the same policy means something else.
//!
//! A transient timer for each such moment; the timer for drift would only come minutes later.

use chrono::{DateTime, Utc};
use hostward_protocol::report::{Finding, Responsible};

use crate::bus;
use crate::command::{QUICK, run};
use crate::durable::{self, Attributes};
use crate::finding::{chain, finding};
use crate::root::{RUN, Root};

/// Sees to it that there is a timer for `next`, and none for another moment.
pub fn schedule(root: &Root, next: Option<DateTime<Utc>>) -> Option<Finding> {
    let state = root.path(RUN).join("window");
    // Never before the moment itself.
    let wanted = next.map(|next| next.timestamp() + i64::from(next.timestamp_subsec_nanos() > 0));
    let present: Option<i64> = std::fs::read_to_string(&state).ok().and_then(|text| text.trim().parse().ok());
    if wanted == present {
        return None;
    }
    if let Some(present) = present {
        // It may have elapsed and be gone.
        let _ = bus::systemd(root, "StopUnit", "ss", &[&format!("{}.timer", unit(present)), "replace"]);
        let _ = std::fs::remove_file(&state);
    }
    let wanted = wanted?;
    if let Err(message) = start(root, wanted) {
        return Some(failed(message));
    }
    let written = durable::replace(&state, wanted.to_string().as_bytes(), Attributes::root(0o644));
    written.err().map(|error| failed(chain(&error)))
}

fn start(root: &Root, moment: i64) -> Result<(), String> {
    let at = DateTime::<Utc>::from_timestamp(moment, 0).ok_or("the moment is out of range")?;
    let unit = unit(moment);
    let arguments = [
        "--quiet".to_owned(),
        "--collect".to_owned(),
        format!("--unit={unit}"),
        format!("--on-calendar={} UTC", at.format("%Y-%m-%d %H:%M:%S")),
        "--timer-property=AccuracySec=1s".to_owned(),
        "--timer-property=RemainAfterElapse=no".to_owned(),
        "/bin/systemctl".to_owned(),
        "--no-block".to_owned(),
        "start".to_owned(),
        "hostward-drift.service".to_owned(),
    ];
    match run(&root.path("/usr/bin/systemd-run"), arguments, QUICK) {
        Ok(ran) if ran.success || ran.said().contains("already") => Ok(()),
        Ok(ran) => Err(ran.said()),
        Err(error) => Err(chain(&error)),
    }
}

fn unit(moment: i64) -> String {
    format!("hostward-window-{moment}")
}

fn failed(message: String) -> Finding {
    finding(
        Responsible::Host,
        "window-not-scheduled",
        "time windows",
        format!("no timer could be set for the next change: {message}"),
        "it takes effect with the next pass of hostward-drift.timer instead; look at the journal of systemd",
    )
}
