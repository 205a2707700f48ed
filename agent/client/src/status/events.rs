//! What there is to say of events and of where they go.

use std::fmt::Write as _;

use hostward_protocol::local::EventsStatus;

use crate::show;

/// One line, and what is wrong.
pub fn text(events: &EventsStatus) -> String {
    let mut text = String::new();
    let mut said = Vec::new();
    match (events.taken, events.acknowledged) {
        (Some(false), _) => said.push("the backend takes none".into()),
        (_, Some(newest)) => said.push(format!("delivered up to {newest}")),
        _ => {}
    }
    for (count, what) in [
        (events.waiting, "waiting"),
        (events.refused, "refused by the backend"),
        (events.lost, "lost since the agent started"),
    ] {
        if count > 0 {
            said.push(format!("{count} {what}"));
        }
    }
    if !said.is_empty() {
        _ = writeln!(text, "events:       {}", said.join(", "));
    }
    if let Some(problem) = &events.problem {
        text.push_str("events are not delivered:\n");
        text.push_str(&show::finding(problem));
        if let Some(at) = events.next_attempt {
            _ = writeln!(text, "      next attempt: {}", at.format("%F %T UTC"));
        }
    }
    for output in &events.outputs {
        let name = show::clean(&output.name);
        for (count, what) in
            [(output.refused, "refused"), (output.missed, "gone before they could be handed over")]
        {
            if count > 0 {
                _ = writeln!(text, "events to {name}: {count} {what}");
            }
        }
        if let Some(problem) = &output.problem {
            _ = writeln!(text, "events are not handed over to {name}:");
            text.push_str(&show::finding(problem));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use hostward_protocol::local::OutputStatus;
    use hostward_protocol::report::{Finding, Responsible};

    use super::*;

    #[test]
    fn what_waits_and_what_is_wrong_is_said() {
        assert_eq!(text(&EventsStatus::default()), "");
        let finding = Finding {
            code: "syslog-unreachable".into(),
            subject: "syslog".into(),
            message: "nobody listens".into(),
            responsible: Responsible::Operator,
            mend: "start it".into(),
        };
        let output =
            OutputStatus { name: "syslog".into(), problem: Some(finding), ..OutputStatus::default() };
        let said = text(&EventsStatus {
            taken: Some(true),
            acknowledged: Some(7),
            waiting: 3,
            outputs: vec![output],
            ..EventsStatus::default()
        });
        assert_eq!(
            said,
            "events:       delivered up to 7, 3 waiting\nevents are not handed over to syslog:\n  syslog: nobody listens\n      mend (the operator of this host): start it\n"
        );
        let none = EventsStatus { taken: Some(false), ..EventsStatus::default() };
        assert_eq!(text(&none), "events:       the backend takes none\n");
    }
}
