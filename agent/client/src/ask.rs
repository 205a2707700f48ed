//! One exchange with one of hostward's processes over its socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hostward_protocol::local::{
    AGENT_SOCKET, APPLY_SOCKET, AgentReply, AgentRequest, ApplyReply, ApplyRequest, MAX_REPLY_LEN,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An apply of 100k users, with sessions to end, on a slow disk.
const APPLY_TIMEOUT: Duration = Duration::from_secs(600);
/// Forgetting an identity, and starting the agent for it.
const FORGET_TIMEOUT: Duration = Duration::from_secs(30);
/// A question to the backend.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// A poll, and the apply that follows.
const AGENT_TIMEOUT: Duration = Duration::from_secs(660);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The caller may not.
    #[error("only root may ask hostward this: use sudo")]
    NotRoot,
    /// Nobody listens.
    #[error("cannot reach `{socket}`; is `{unit}` active? Try: systemctl start {unit}")]
    Unreachable {
        /// The socket.
        socket: &'static str,
        /// The socket unit.
        unit: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection ended without a whole answer.
    #[error("`{socket}` gave no whole answer; see `journalctl -u {service}`")]
    Broken {
        /// The socket.
        socket: &'static str,
        /// The service behind it.
        service: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another version answers.
    #[error("an answer of another kind than expected ({0}); was hostward upgraded while this ran? Try again")]
    Unexpected(String),
}

struct Peer {
    socket: &'static str,
    unit: &'static str,
    service: &'static str,
    timeout: Duration,
}

/// Asks the root process.
pub fn apply(request: &ApplyRequest) -> Result<ApplyReply, AskError> {
    ask(
        &Peer {
            socket: APPLY_SOCKET,
            unit: "hostward-apply.socket",
            service: "hostward-apply.service",
            timeout: APPLY_TIMEOUT,
        },
        request,
    )
}

/// Asks the network process.
pub fn agent(request: &AgentRequest) -> Result<AgentReply, AskError> {
    let timeout = match request {
        AgentRequest::Forget => FORGET_TIMEOUT,
        AgentRequest::EventHead => HEAD_TIMEOUT,
        AgentRequest::Sync | AgentRequest::Unenroll => AGENT_TIMEOUT,
    };
    ask(
        &Peer { socket: AGENT_SOCKET, unit: "hostward.socket", service: "hostward.service", timeout },
        request,
    )
}

fn ask<T: DeserializeOwned>(peer: &Peer, request: &impl Serialize) -> Result<T, AskError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(AskError::NotRoot);
    }
    let stream = UnixStream::connect(Path::new(peer.socket)).map_err(|source| AskError::Unreachable {
        socket: peer.socket,
        unit: peer.unit,
        source,
    })?;
    let line = exchange(stream, peer.timeout, request).map_err(|source| AskError::Broken {
        socket: peer.socket,
        service: peer.service,
        source,
    })?;
    serde_json::from_str(&line).map_err(|error| AskError::Unexpected(error.to_string()))
}

fn exchange(mut stream: UnixStream, timeout: Duration, request: &impl Serialize) -> std::io::Result<String> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let mut text = serde_json::to_string(request)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_REPLY_LEN)).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_its_newline_is_no_answer() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{\"reply\":\"ok\"}").unwrap();
        drop(theirs.shutdown(std::net::Shutdown::Write));
        let error = exchange(ours, Duration::from_secs(5), &ApplyRequest::Plan).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        let mut asked = String::new();
        BufReader::new(theirs).read_line(&mut asked).unwrap();
        assert_eq!(asked, "{\"request\":\"plan\"}\n");
    }
}
