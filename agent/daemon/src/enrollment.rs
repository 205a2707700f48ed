//! Enrolling: from the token that root hands over to an identity on the disk.

use std::path::PathBuf;
use std::time::Duration;

use hostward_protocol::api::HostInfo;
use hostward_protocol::local::{EnrollmentOutcome, TokenState};
use hostward_protocol::problem::Code;
use hostward_protocol::report::{Finding, Responsible};
use zeroize::Zeroizing;

use crate::apply::Root;
use crate::backend::{Api, Enrolling, Fault, UrlError, base_url, repository_url};
use crate::identity::{self, Granted, IdentityError, Standing};
use crate::token::{Pace, Step, Token};

/// What enrolling needs.
#[derive(Clone, Debug)]
pub struct Enroller {
    /// The root process, which holds the token.
    pub root: Root,
    /// The API.
    pub api: Api,
    /// Where the identity is.
    pub dir: PathBuf,
    /// Which machine this is.
    pub machine: String,
}

/// How a step ended.
#[derive(Debug)]
pub enum Ended {
    /// There is no token.
    Absent,
    /// There is one that cannot be used.
    Unusable(Finding),
    /// There is one to enroll with.
    Ready(Token),
    /// The host is enrolled; root is to be told. What the host said of itself, where it did just now.
    Enrolled(std::sync::Arc<identity::Identity>, Option<HostInfo>),
    /// The backend refused for good; root is to be told.
    Refused(Finding),
    /// Root knows how it ended.
    Told,
    /// Not done, to be repeated.
    Failed {
        /// The step.
        step: Step,
        /// Why.
        finding: Finding,
        /// How fast to repeat it.
        pace: Pace,
        /// When the other side wants it repeated.
        asked: Option<Duration>,
    },
}

impl Enroller {
    /// Takes one step.
    pub async fn take(self, step: Step, standing: Standing, host: HostInfo) -> Ended {
        match step {
            Step::Ask => self.ask().await,
            Step::Enroll(token) => self.enroll(token, standing, host).await,
            Step::Finish(outcome) => self.finish(outcome).await,
        }
    }

    async fn ask(self) -> Ended {
        match self.root.read_token().await {
            Ok(TokenState::Absent) => Ended::Absent,
            Ok(TokenState::Unusable(finding)) => Ended::Unusable(finding),
            Ok(TokenState::Ready { url, project, secret, root_version }) => {
                Ended::Ready(Token { url, project, secret: Zeroizing::new(secret), root_version })
            }
            Err(error) => {
                Ended::Failed { step: Step::Ask, finding: error.finding(), pace: Pace::Root, asked: None }
            }
        }
    }

    async fn finish(self, outcome: EnrollmentOutcome) -> Ended {
        match self.root.finish_enrollment(outcome.clone()).await {
            Ok(()) => Ended::Told,
            Err(error) => Ended::Failed {
                step: Step::Finish(outcome),
                finding: error.finding(),
                pace: Pace::Root,
                asked: None,
            },
        }
    }

    async fn enroll(self, token: Token, standing: Standing, host: HostInfo) -> Ended {
        let digest = token.digest();
        if let Standing::Host(identity) = &standing
            && identity.enrollment.token == digest
        {
            // Enrolled before a power cut, and root was not told.
            return Ended::Enrolled(identity.clone(), None);
        }
        let subject = format!("backend `{}`", token.url);
        let base = match base_url(&token.url) {
            Ok(base) => base,
            Err(error) => return Ended::Refused(url_finding(&error)),
        };
        let failed =
            |token, finding, pace, asked| Ended::Failed { step: Step::Enroll(token), finding, pace, asked };
        let pending = match identity::pending(&self.dir, &self.machine, &digest, host) {
            Ok(pending) => pending,
            Err(error) => return failed(token, disk_finding(&error), Pace::Passing, None),
        };
        let with =
            Enrolling { base: &base, project: &token.project, secret: &token.secret, pending: &pending };
        let answer = match self.api.enroll(with).await {
            Ok(answer) => answer,
            Err(fault) if is_final(&fault) => {
                if let Err(error) = identity::abandon(&self.dir, &standing) {
                    log::warn!("{error}");
                }
                return Ended::Refused(fault.finding(&subject));
            }
            Err(fault) => {
                let pace = if fault.is_lasting() { Pace::Lasting } else { Pace::Passing };
                return failed(token, fault.finding(&subject), pace, fault.retry_after());
            }
        };
        let repository = repository_url(&base, &answer.repository);
        let repository = match repository {
            Ok(url) if is_host_id(&answer.host_id) => url,
            _ => {
                let fault = Fault::NotApi {
                    url: base.to_string(),
                    message: "its answer to the enrollment has no usable host id or repository".into(),
                };
                return failed(token, fault.finding(&subject), Pace::Lasting, None);
            }
        };
        let granted = Granted {
            host_id: answer.host_id,
            url: base.to_string(),
            project: token.project.clone(),
            repository: repository.to_string(),
            first_root: token.root_version,
        };
        let host = pending.host.clone();
        match identity::commit(&self.dir, &self.machine, pending, granted) {
            Ok(identity) => Ended::Enrolled(identity, Some(host)),
            Err(error) => failed(token, disk_finding(&error), Pace::Passing, None),
        }
    }
}

/// Whether repeating the enrollment with the same token is of no use.
fn is_final(fault: &Fault) -> bool {
    matches!(
        fault.code(),
        Some(
            Code::TokenUnknown
                | Code::TokenExpired
                | Code::TokenExhausted
                | Code::ProjectMismatch
                | Code::BadRequest
        )
    )
}

fn is_host_id(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic())
}

fn url_finding(error: &UrlError) -> Finding {
    Finding {
        code: "backend-url-unusable".into(),
        subject: "enrollment token".into(),
        message: error.to_string(),
        responsible: Responsible::Operator,
        mend:
            "have a token issued with the backend's https URL and put it into /etc/hostward/enrollment.token"
                .into(),
    }
}

/// The agent's own files.
pub fn disk_finding(error: &IdentityError) -> Finding {
    Finding {
        code: "agent-state-unusable".into(),
        subject: "the agent's state directory".into(),
        message: error.to_string(),
        responsible: Responsible::Host,
        mend: "see whether the disk is full, or owner and mode were changed; it is tried again by itself"
            .into(),
    }
}
