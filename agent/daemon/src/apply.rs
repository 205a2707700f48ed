//! Asking the root process. It may have to be started for it, and an apply may take minutes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hostward_protocol::local::{ApplyReply, ApplyRequest, EnrollmentOutcome, MAX_REPLY_LEN, TokenState};
use hostward_protocol::report::{Finding, Report, Responsible};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long starting the root process may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a small question may take.
const QUESTION: Duration = Duration::from_secs(60);
/// How long an apply may take.
const APPLY: Duration = Duration::from_secs(15 * 60);

/// The root process.
#[derive(Clone, Debug)]
pub struct Root {
    socket: PathBuf,
}

/// Why the root process gave no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It cannot be reached.
    #[error("cannot reach hostward-apply at `{socket}`: {source}", socket = socket.display())]
    Connect {
        /// Its socket.
        socket: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It went away before it answered.
    #[error("hostward-apply gave no answer: {source}")]
    Broken {
        /// What the system said.
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("hostward-apply gave no answer within {seconds} s")]
    Late {
        /// How long was waited.
        seconds: u64,
    },
    /// It says something that this agent does not know.
    #[error("hostward-apply gave an answer that hostward-agent does not understand")]
    Strange,
    /// It says that it cannot.
    #[error("{}", .0.message)]
    Failed(Box<Finding>),
}

impl RootError {
    /// For people and programs.
    pub fn finding(&self) -> Finding {
        let mend = match self {
            RootError::Failed(finding) => return (**finding).clone(),
            RootError::Strange => {
                "install versions of both that go together: reinstall the package and restart hostward.service"
            }
            _ => {
                "see `systemctl status hostward-apply.socket hostward-apply.service`; it is tried again by itself"
            }
        };
        Finding {
            code: "apply-unreachable".into(),
            subject: "hostward-apply".into(),
            message: self.to_string(),
            responsible: Responsible::Host,
            mend: mend.into(),
        }
    }
}

impl Root {
    /// The root process behind `socket`.
    pub fn at(socket: &Path) -> Self {
        Root { socket: socket.into() }
    }

    /// Puts the inbox before root.
    pub async fn admit(&self) -> Result<Box<Report>, RootError> {
        match self.ask(&ApplyRequest::Admit, APPLY).await? {
            ApplyReply::Report(report) => Ok(report),
            other => Err(unexpected(other)),
        }
    }

    /// Whether there is an enrollment token.
    pub async fn read_token(&self) -> Result<TokenState, RootError> {
        match self.ask(&ApplyRequest::ReadToken, QUESTION).await? {
            ApplyReply::Enrollment(state) => Ok(state),
            other => Err(unexpected(other)),
        }
    }

    /// Tells how an enrollment ended.
    pub async fn finish_enrollment(&self, outcome: EnrollmentOutcome) -> Result<(), RootError> {
        let request = ApplyRequest::FinishEnrollment { outcome };
        match self.ask(&request, QUESTION).await? {
            ApplyReply::Ok => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    async fn ask(&self, request: &ApplyRequest, patience: Duration) -> Result<ApplyReply, RootError> {
        let connect_error = |source| RootError::Connect { socket: self.socket.clone(), source };
        let stream = timeout(CONNECT, UnixStream::connect(&self.socket))
            .await
            .map_err(|_| connect_error(std::io::ErrorKind::TimedOut.into()))?
            .map_err(connect_error)?;
        let line = timeout(patience, exchange(stream, request))
            .await
            .map_err(|_| RootError::Late { seconds: patience.as_secs() })?
            .map_err(|source| RootError::Broken { source })?;
        serde_json::from_slice(&line).map_err(|_| RootError::Strange)
    }
}

async fn exchange(mut stream: UnixStream, request: &ApplyRequest) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut reply = Vec::new();
    (&mut stream).take(MAX_REPLY_LEN).read_to_end(&mut reply).await?;
    if reply.last() == Some(&b'\n') { Ok(reply) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

fn unexpected(reply: ApplyReply) -> RootError {
    match reply {
        ApplyReply::Failed(finding) => RootError::Failed(Box::new(finding)),
        _ => RootError::Strange,
    }
}
