//! Text for a terminal. What comes from the backend or the agent is never printed raw: a control character in a
//! name must not move the cursor of an operator's terminal.

use std::fmt::Write as _;

use hostward_protocol::report::{Finding, Outcome, PolicyState, Report, Responsible, Staleness};

/// Where further lines of a finding begin.
const DETAIL: &str = "      ";

/// One line, with what a terminal would act on or not show escaped.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

/// Control characters, and what has no width or changes the direction of what follows.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text that may have several lines. Those after the first are marked, so that none can pass for a line of ours.
pub fn paragraph(text: &str, indent: &str) -> String {
    let mut lines = text.trim_end().lines().map(|line| clean(line.trim_end()));
    let first = lines.next().unwrap_or_default();
    lines.fold(first, |text, line| format!("{text}\n{indent}| {line}"))
}

/// The same for text of several lines.
pub fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// Who must act, as a person reads it.
pub fn responsible(who: Responsible) -> &'static str {
    match who {
        Responsible::Operator => "the operator of this host",
        Responsible::Backend => "whoever administers the policy",
        Responsible::Host => "nobody; the next pass tries again",
    }
}

/// A finding in two or three lines.
pub fn finding(finding: &Finding) -> String {
    let mut text = format!("  {}: {}\n", clean(&finding.subject), paragraph(&finding.message, DETAIL));
    if !finding.mend.is_empty() {
        let mend = paragraph(&finding.mend, DETAIL);
        let _ = writeln!(text, "      mend ({}): {mend}", responsible(finding.responsible));
    }
    text
}

/// A titled list of findings; nothing where there are none.
pub fn findings(title: &str, list: &[Finding]) -> String {
    if list.is_empty() {
        return String::new();
    }
    list.iter().fold(format!("{title}\n"), |text, f| text + &finding(f))
}

/// The policy in force, in one line.
pub fn policy(state: &PolicyState) -> String {
    let age = match state.staleness {
        Staleness::Fresh => format!("fresh until {}", state.expires.format("%F %T UTC")),
        Staleness::Stale => format!("stale since {}, still in force", state.expires.format("%F %T UTC")),
        Staleness::OfflineKept => {
            format!(
                "stale since {}, longer than max_offline; kept in force",
                state.expires.format("%F %T UTC")
            )
        }
        Staleness::OfflineLocked => {
            format!(
                "stale since {}, longer than max_offline; managed users are LOCKED",
                state.expires.format("%F %T UTC")
            )
        }
    };
    format!("version {} (root {}), {age}", state.version, state.root_version)
}

/// A report.
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    match &report.policy {
        Some(state) => _ = writeln!(text, "policy: {}", policy(state)),
        None => text.push_str("policy: none\n"),
    }
    for step in &report.steps {
        let name = clean(&step.step);
        match &step.outcome {
            Outcome::Done { detail } if detail.is_empty() => _ = writeln!(text, "  done     {name}"),
            Outcome::Done { detail } => {
                _ = writeln!(text, "  done     {name}: {}", paragraph(detail, DETAIL))
            }
            Outcome::Skipped { reason } => {
                _ = writeln!(text, "  skipped  {name}: {}", paragraph(reason, DETAIL))
            }
            Outcome::Failed(why) => {
                _ = writeln!(text, "  FAILED   {name}");
                text.push_str(&finding(why));
            }
        }
    }
    if report.steps.is_empty() {
        text.push_str("  nothing to do\n");
    }
    text.push_str(&findings("not admitted:", report.admission.as_slice()));
    text.push_str(&findings("refused, the rest is in force:", &report.refusals));
    text.push_str(&findings("changed behind hostward's back, repaired:", &report.drift));
    text.push_str(&findings("warnings:", &report.warnings));
    let _ = writeln!(
        text,
        "{} managed {} in",
        report.users,
        if report.users == 1 { "user can log" } else { "users can log" }
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let hostile = Finding {
            code: "x".into(),
            subject: "user `a\u{1b}[2J`".into(),
            message: "b\r\nc".into(),
            responsible: Responsible::Backend,
            mend: "d\u{9b}e".into(),
        };
        let text = finding(&hostile);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("\\u{1b}[2J") && text.contains("\\u{9b}"), "{text}");
        // Text that turns round what follows it is seen for what it is.
        assert_eq!(clean("a\u{202e}b\u{200b}"), "a\\u{202e}b\\u{200b}");
    }

    #[test]
    fn lines_are_lines_and_cannot_pass_for_ours() {
        let broken = Finding {
            code: "x".into(),
            subject: "`/etc/hostward/hostward.toml`".into(),
            message:
                "TOML parse error at line 2\r\n  |\n2 | x = \n  |     ^\n      mend (nobody): relax\tnow\n\n"
                    .into(),
            responsible: Responsible::Operator,
            mend: "mend it".into(),
        };
        assert_eq!(
            finding(&broken),
            "  `/etc/hostward/hostward.toml`: TOML parse error at line 2\n\
             \x20     |   |\n\
             \x20     | 2 | x =\n\
             \x20     |   |     ^\n\
             \x20     |       mend (nobody): relax\\tnow\n\
             \x20     mend (the operator of this host): mend it\n"
        );
    }
}
