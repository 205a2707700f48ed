//! Why an entry, or a part of one, is refused; and the collection of what was found.
//!
//! A refusal never quotes a hostile byte: whatever comes from a document passes through [`shown`].

use std::borrow::Cow;

use hostward_protocol::report::{Finding, Responsible};

use crate::selector::SelectorError;
use crate::text::shown;

/// Why something is refused, before it is known what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) responsible: Responsible,
    pub(crate) mend: String,
}

impl Refusal {
    /// One that is mended on the backend.
    pub(crate) fn backend(
        code: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Refusal {
            code: code.into(),
            message: message.into(),
            responsible: Responsible::Backend,
            mend: mend.into(),
        }
    }

    /// One that is mended by this host's operator.
    pub(crate) fn operator(
        code: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Refusal { responsible: Responsible::Operator, ..Refusal::backend(code, message, mend) }
    }

    /// The finding about `subject`, which must be safe to show.
    pub(crate) fn about(&self, subject: impl Into<String>) -> Finding {
        Finding {
            code: self.code.clone(),
            subject: subject.into(),
            message: self.message.clone(),
            responsible: self.responsible,
            mend: self.mend.clone(),
        }
    }
}

/// What an entry is called in messages: ``user `alice` (id u1)``.
pub(crate) fn subject(kind: &str, name: &str, id: &str) -> String {
    format!("{kind} `{}` (id {})", shown(name), shown(id))
}

/// What is told of an entry that has not the shape of its kind.
pub(crate) fn malformed(kind: &'static str, label: &str, at: (usize, usize)) -> Finding {
    let about: Cow<'_, str> = match label {
        "" => format!("a {kind} without a readable id").into(),
        label => format!("{kind} `{}`", shown(label)).into(),
    };
    Refusal::backend(
        format!("{kind}-malformed"),
        format!("the entry has not the shape of a {kind} (line {} column {} of the entry)", at.0, at.1),
        "publish an entry that follows the schema",
    )
    .about(about)
}

/// Why a host selector of an entry of this kind selects nothing.
pub(crate) fn selector_invalid(kind: &str, selector: &str, why: SelectorError) -> Refusal {
    Refusal::backend(
        format!("{kind}-selector-invalid"),
        format!("its host selector `{}` cannot be read: {why}", shown(selector)),
        "write it as `labels.role=web,os.id in (debian,ubuntu)`",
    )
}

/// Refusals and warnings, as they come.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) refusals: Vec<Finding>,
    pub(crate) warnings: Vec<Finding>,
}

/// How many findings of one code are named one by one.
const MAX_OF_A_CODE: usize = 1000;

impl Findings {
    pub(crate) fn refuse(&mut self, finding: Finding) {
        self.refusals.push(finding);
    }

    pub(crate) fn warn(&mut self, finding: Finding) {
        self.warnings.push(finding);
    }

    /// Both lists in an order that does not depend on that of the documents, each thing said once, and cut where one
    /// mistake (a wrong id range, say) would name every person of a large project.
    pub(crate) fn into_sorted(self) -> (Vec<Finding>, Vec<Finding>) {
        (settle(self.refusals), settle(self.warnings))
    }
}

fn settle(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort();
    findings.dedup();
    let mut kept: Vec<Finding> = Vec::with_capacity(findings.len().min(MAX_OF_A_CODE));
    let mut of_code = 0;
    let mut code = String::new();
    for finding in findings {
        if finding.code != code {
            close(&mut kept, of_code);
            code.clone_from(&finding.code);
            of_code = 0;
        }
        of_code += 1;
        if of_code <= MAX_OF_A_CODE {
            kept.push(finding);
        }
    }
    close(&mut kept, of_code);
    kept
}

fn close(kept: &mut Vec<Finding>, of_code: usize) {
    let more = of_code.saturating_sub(MAX_OF_A_CODE);
    if let Some(last) = kept.last()
        && more > 0
    {
        let finding = Finding { subject: format!("{more} further entries"), ..last.clone() };
        kept.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_findings_of_one_code_are_counted() {
        let mut findings = Findings::default();
        let refusal = Refusal::backend("b", "m", "d");
        for n in 0..MAX_OF_A_CODE + 7 {
            findings.refuse(refusal.about(format!("user {n:06}")));
        }
        findings.refuse(Refusal::operator("a", "m", "d").about("x"));
        findings.refuse(Refusal::operator("a", "m", "d").about("x"));
        let (refusals, _) = findings.into_sorted();
        assert_eq!(refusals.len(), 1 + MAX_OF_A_CODE + 1);
        assert_eq!(refusals.last().unwrap().subject, "7 further entries");
    }
}
