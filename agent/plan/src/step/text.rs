//! A plan as a person reads it.

use std::fmt::{Display, Formatter, Result};

use super::{Direction, Plan, PlannedStep, Step};
use crate::facts::ManagedFile;
use crate::sshd::MAIN_PATH;
use crate::text::shown;

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Step::RestoreDirectory { directory } => {
                write!(f, "restore owner and mode of {}", directory.path())
            }
            Step::WriteFile { file, .. } => write!(f, "replace {}", file.path()),
            Step::WriteKrl { .. } => write!(f, "compile and replace {}", ManagedFile::Krl.path()),
            Step::RemoveFile { file } => write!(f, "remove {}", file.path()),
            Step::EditSshdMain { .. } => write!(f, "edit {MAIN_PATH}"),
            Step::ReloadSshd => f.write_str("reload sshd"),
            Step::ReplaceAccounts { .. } => f.write_str("replace the account database"),
            Step::RemoveAccounts => f.write_str("remove the account database"),
            Step::EndSessions { uid, name } => {
                write!(f, "end the sessions and processes of `{}` (uid {uid})", shown(name))
            }
            Step::ArchiveHome { uid, name, home } => {
                write!(f, "archive and delete `{}`, the home of `{}` (uid {uid})", shown(home), shown(name))
            }
            Step::DeleteHome { uid, name, home } => {
                write!(f, "delete `{}`, the home of `{}` (uid {uid})", shown(home), shown(name))
            }
        }
    }
}

impl Display for PlannedStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.step)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl Display for Direction {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.pad(match self {
            Direction::Narrow => "narrow",
            Direction::Widen => "widen",
        })
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for finding in &self.drift {
            writeln!(f, "drift   {}: {}", finding.subject, finding.message)?;
        }
        if self.steps.is_empty() {
            return writeln!(f, "nothing to do");
        }
        for planned in &self.steps {
            writeln!(f, "{:<7} {planned}", planned.direction)?;
            if let Step::ReplaceAccounts { changes, more, .. } = &planned.step {
                for change in changes {
                    writeln!(f, "          {change}")?;
                }
                if *more > 0 {
                    writeln!(f, "          and {more} further changes")?;
                }
            }
        }
        Ok(())
    }
}
