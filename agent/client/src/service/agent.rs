//! Asking the SSH agent over its socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use hostward_protocol::report::Finding;
use hostward_protocol::service::{Answer, QUERY_EXTENSION, Query, SSH_AGENT_SOCKET};

/// Where the socket is, if not where hosts have it: for containers that have it elsewhere.
pub const SOCKET_VARIABLE: &str = "HOSTWARD_SSH_AGENT";
/// The agent waits four seconds for its backend.
const PATIENCE: Duration = Duration::from_secs(6);
/// The longest answer that is read.
const MAX_ANSWER: u32 = 256 << 10;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const EXTENSION: u8 = 27;
const EXTENSION_RESPONSE: u8 = 29;

/// Why a service user's command cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Nobody listens.
    #[error(
        "cannot reach the SSH agent at `{socket}`; is hostward-ssh-agent.socket active, and in a container: is it mounted?",
        socket = socket.display()
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection ended without a whole answer, or with another one.
    #[error(
        "the SSH agent at `{socket}` gave no answer that this version knows; too many connections? See `journalctl -u hostward`",
        socket = socket.display()
    )]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// hostward says no, and why.
    #[error("{}: {}; {}", .0.subject, .0.message, .0.mend)]
    Refused(Box<Finding>),
    /// The account's own choice.
    #[error(
        "service users are turned off for this account; `hostward config service_auth.enable true` turns them on"
    )]
    TurnedOff,
    /// The account's settings.
    #[error("`{path}`: {message}", path = path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The other host.
    #[error(
        "cannot connect to {address} port {port}: {message}; is sshd up there, and may this host reach it?"
    )]
    Connect {
        /// Where to.
        address: String,
        /// Which port.
        port: u16,
        /// What the system said.
        message: String,
    },
    /// A program.
    #[error("cannot run `ssh`")]
    Ssh(#[source] io::Error),
}

/// Where the agent is.
pub fn socket() -> PathBuf {
    std::env::var_os(SOCKET_VARIABLE)
        .filter(|path| !path.is_empty())
        .map_or(SSH_AGENT_SOCKET.into(), PathBuf::from)
}

/// A connection.
#[derive(Debug)]
pub struct Agent {
    stream: UnixStream,
    socket: PathBuf,
}

impl Agent {
    /// Connects.
    pub fn connect() -> Result<Self, ServiceError> {
        let socket = socket();
        let connect = || {
            let stream = UnixStream::connect(&socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        match connect() {
            Ok(stream) => Ok(Agent { stream, socket }),
            Err(source) => Err(ServiceError::Unreachable { socket, source }),
        }
    }

    /// Asks.
    pub fn ask(&mut self, query: &Query) -> Result<Answer, ServiceError> {
        let answer = ask(&mut self.stream, query);
        answer.map_err(|source| ServiceError::Broken { socket: self.socket.clone(), source })
    }

    /// Has the agent get the caller's certificate, or tell why there is none.
    pub fn have_certificate(&mut self) -> Result<(), ServiceError> {
        let broken = |source| ServiceError::Broken { socket: self.socket.clone(), source };
        let answer = exchange(&mut self.stream, &[REQUEST_IDENTITIES]).map_err(broken)?;
        if matches!(answer.as_slice(), [IDENTITIES_ANSWER, count @ ..] if count.get(..4).is_some_and(|n| n != [0; 4]))
        {
            return Ok(());
        }
        match self.ask(&Query::Service)? {
            Answer::Service(state) => Err(ServiceError::Refused(Box::new(super::state::why_not(&state)))),
            Answer::Refused(finding) => Err(ServiceError::Refused(Box::new(finding))),
            other => Err(self.unexpected(&other)),
        }
    }

    /// An answer to another question.
    pub fn unexpected(&self, answer: &Answer) -> ServiceError {
        let source = io::Error::new(io::ErrorKind::InvalidData, format!("{answer:?}"));
        ServiceError::Broken { socket: self.socket.clone(), source }
    }
}

fn ask(stream: &mut UnixStream, query: &Query) -> io::Result<Answer> {
    let mut message = vec![EXTENSION];
    put(&mut message, QUERY_EXTENSION.as_bytes());
    put(&mut message, &serde_json::to_vec(query)?);
    let answer = exchange(stream, &message)?;
    let mut rest = answer.strip_prefix(&[EXTENSION_RESPONSE]).ok_or(io::ErrorKind::InvalidData)?;
    if string(&mut rest)? != QUERY_EXTENSION.as_bytes() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(serde_json::from_slice(string(&mut rest)?)?)
}

fn exchange(stream: &mut UnixStream, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(message.len() + 4);
    put(&mut frame, message);
    stream.write_all(&frame)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_ANSWER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn string<'a>(rest: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (length, after) = rest.split_first_chunk().ok_or_else(short)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (taken, after) = after.split_at_checked(length).ok_or_else(short)?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one request with these bytes, and returns it.
    fn scripted(answer: Vec<u8>) -> (UnixStream, std::thread::JoinHandle<Vec<u8>>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let script = std::thread::spawn(move || {
            let mut length = [0; 4];
            theirs.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            theirs.read_exact(&mut request).unwrap();
            let _ = theirs.write_all(&answer);
            request
        });
        (ours, script)
    }

    #[test]
    fn a_question_is_an_extension_and_so_is_its_answer() {
        let state = br#"{"answer":"service","uid":7,"user":null,"certificate_until":null,"problem":null}"#;
        let mut answer = vec![EXTENSION_RESPONSE];
        put(&mut answer, b"query@hostward");
        put(&mut answer, state);
        let mut frame = Vec::new();
        put(&mut frame, &answer);
        let cut = frame[..frame.len() - 1].to_vec();

        let (mut ours, script) = scripted(frame);
        assert!(matches!(ask(&mut ours, &Query::Service), Ok(Answer::Service(state)) if state.uid == 7));
        let request = script.join().unwrap();
        assert_eq!(request, b"\x1b\0\0\0\x0equery@hostward\0\0\0\x13{\"query\":\"service\"}");

        let (mut ours, script) = scripted(cut);
        assert!(ask(&mut ours, &Query::Service).is_err(), "cut");
        script.join().unwrap();
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        for answer in
            [&b"\0\0\0\x01\x05"[..], b"\xff\xff\xff\xff", b"", b"\0\0\0\0", b"\0\0\0\x05\x1d\0\0\0\x09"]
        {
            let (mut ours, script) = scripted(answer.to_vec());
            assert!(ask(&mut ours, &Query::Service).is_err(), "{answer:?}");
            script.join().unwrap();
        }
    }
}
