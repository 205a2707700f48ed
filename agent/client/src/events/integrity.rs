//! `hostward events --verify`: what is to be said of the log.

use std::path::Path;
use std::process::ExitCode;

use hostward_events::{Head, Verdict};
use hostward_protocol::local::{AgentReply, AgentRequest};
use serde_json::json;

use super::EventsError;
use crate::command::print_json;
use crate::{ask, exit, show, units};

/// Where what the log is held against comes from.
enum Witness {
    /// The backend, just now.
    Backend,
    /// What it had acknowledged before, as this host wrote it down.
    Record {
        /// Why the backend was not asked.
        why: String,
    },
}

/// Reads the log and prints what is to be said of it.
pub fn run(dir: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let (head, witness) = match ask_backend() {
        Ok(head) => (head, Witness::Backend),
        Err(why) => (hostward_events::acknowledged(dir).map_err(EventsError::from)?, Witness::Record { why }),
    };
    let verdict = &hostward_events::verify_against(dir, head).map_err(EventsError::from)?;
    if as_json {
        print_json(&members(verdict, &witness))?;
    } else {
        print!("{}", text(verdict, &witness));
    }
    Ok(if verdict.difference.is_some() { ExitCode::from(exit::ATTENTION) } else { ExitCode::SUCCESS })
}

/// Root can have the agent ask; else why not. An agent that was stopped is not started for it.
fn ask_backend() -> Result<Option<Head>, String> {
    let stopped = units::stopped().unwrap_or_default();
    if stopped.iter().any(|unit| unit.unit == "hostward.service") {
        return Err("hostward.service does not run".into());
    }
    match ask::agent(&AgentRequest::EventHead) {
        Ok(AgentReply::EventHead { head }) => Ok(head),
        Ok(AgentReply::Failed(finding)) => Err(finding.message),
        Ok(_) => Err("the agent is of another version".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn text(verdict: &Verdict, witness: &Witness) -> String {
    let Verdict { events, first, last, difference, acknowledged, .. } = verdict;
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(&show::clean(&line));
        text.push('\n');
    };
    if let Some(found) = difference {
        let place = format!("`{}`, line {}", found.path.display(), found.line);
        say(format!("NOT as it was written: {place}: {}", found.what));
    }
    match (first, last) {
        (Some(first), Some(last)) => {
            let whole = if difference.is_some() { "whole up to there" } else { "whole" };
            say(format!(
                "{whole}: {events} events, {first} to {}, each with the hash of the one before",
                last.sequence
            ));
            say(format!("the newest of them is {} with the hash {}", last.sequence, last.hash));
            if *first > 1 {
                say(format!("events before {first} made room for newer ones"));
            }
        }
        _ if difference.is_none() => say("there are no events yet".into()),
        _ => {}
    }
    if verdict.is_unfinished {
        say("behind them is a part of one: it is being written, or a crash left it and the agent's next start sets it aside".into());
    }
    match acknowledged {
        Some(head) if verdict.reaches_acknowledged => say(match witness {
            Witness::Backend => format!(
                "event {} is the newest that the backend says it has: up to there nothing was rewritten since",
                head.sequence
            ),
            Witness::Record { .. } => format!(
                "event {} is the one that the backend acknowledged: up to there nothing was rewritten since",
                head.sequence
            ),
        }),
        Some(head) => say(format!("event {}, which the backend acknowledged, was not reached", head.sequence)),
        None => say(
            "no backend has acknowledged events of this host: this shows damage, but not whether somebody who may \
             write the log (root, hostward) rewrote it from some event on, or cut off its end"
                .into(),
        ),
    }
    if let (Witness::Record { why }, Some(_)) = (witness, acknowledged) {
        say(format!(
            "the backend itself was not asked ({why}): the log is held against what this host wrote down of it"
        ));
    }
    text
}

fn members(verdict: &Verdict, witness: &Witness) -> serde_json::Value {
    let Verdict { events, first, last, is_unfinished, difference, reaches_acknowledged, acknowledged } =
        verdict;
    json!({
        "events": events,
        "first": first,
        "last": last,
        "unfinished": is_unfinished,
        "acknowledged": acknowledged,
        "reaches_acknowledged": reaches_acknowledged,
        "asked_backend": matches!(witness, Witness::Backend),
        "difference": difference.as_ref().map(|found| json!({
            "file": found.path,
            "line": found.line,
            "what": found.what.to_string(),
        })),
    })
}

#[cfg(test)]
mod tests {
    use hostward_events::{Difference, Head, What};

    use super::*;

    fn verdict() -> Verdict {
        Verdict {
            events: 3,
            first: Some(1),
            last: Some(Head { sequence: 3, hash: "ab".into() }),
            is_unfinished: false,
            difference: None,
            reaches_acknowledged: false,
            acknowledged: None,
        }
    }

    fn record() -> Witness {
        Witness::Record { why: "it is asleep".into() }
    }

    #[test]
    fn a_whole_chain_is_not_called_proof() {
        let said = text(&verdict(), &record());
        assert!(said.starts_with("whole: 3 events, 1 to 3"), "{said}");
        assert!(said.contains("shows damage, but not whether somebody"), "{said}");
    }

    #[test]
    fn the_place_is_named() {
        let what = What::Chain { sequence: 4 };
        let found = Difference { path: "/var/log/hostward/events.jsonl".into(), line: 4, what };
        let said = text(&Verdict { difference: Some(found), ..verdict() }, &record());
        assert!(
            said.starts_with("NOT as it was written: `/var/log/hostward/events.jsonl`, line 4: event 4 "),
            "{said}"
        );
        assert!(said.contains("whole up to there: 3 events"), "{said}");
    }

    #[test]
    fn what_the_backend_has_is_said() {
        let head = Head { sequence: 2, hash: "cd".into() };
        let said =
            text(&Verdict { acknowledged: Some(head), reaches_acknowledged: true, ..verdict() }, &record());
        assert!(said.contains("event 2 is the one that the backend acknowledged"), "{said}");
        assert!(
            !said.contains("not whether somebody") && said.contains("was not asked (it is asleep)"),
            "{said}"
        );
    }
}
