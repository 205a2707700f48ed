//! One line each way, bounded in size and in time.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hostward_protocol::local::{ApplyReply, ApplyRequest, MAX_REPLY_LEN, MAX_REQUEST_LEN};
use serde::Deserialize;

/// How long a peer may take to send its request, and to take the reply.
const LIMIT: Duration = Duration::from_secs(10);

/// Why an exchange did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Reading or writing failed, or took too long.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The request is too long or ended early.
    #[error("the request is not one line of at most {MAX_REQUEST_LEN} bytes")]
    Length,
    /// The request is not one of the table.
    #[error("the request is none that there is")]
    Unknown,
    /// The request is not for this peer.
    #[error("the request is not this peer's to make")]
    NotAllowed,
    /// The reply is too long.
    #[error("the reply is longer than {MAX_REPLY_LEN} bytes")]
    Reply,
}

/// Reads the request.
pub fn read(mut stream: &UnixStream) -> Result<ApplyRequest, ExchangeError> {
    let deadline = Instant::now() + LIMIT;
    let mut line = Vec::new();
    let mut part = [0; 4096];
    loop {
        // The timeout is for all of it: one byte a second must not count as progress.
        stream.set_read_timeout(Some(left(deadline)?))?;
        let n = stream.read(&mut part)?;
        line.extend_from_slice(&part[..n]);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            return parse(&line[..end]).ok_or(ExchangeError::Unknown);
        }
        if n == 0 || line.len() as u64 >= MAX_REQUEST_LEN {
            return Err(ExchangeError::Length);
        }
    }
}

/// The request, where there is nothing beside it: serde lets members pass by a request that has none of its own.
fn parse(line: &[u8]) -> Option<ApplyRequest> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    let request = ApplyRequest::deserialize(&value).ok()?;
    let again = serde_json::to_value(&request).ok()?;
    (again == value).then_some(request)
}

/// Writes the reply.
pub fn write(mut stream: &UnixStream, reply: &ApplyReply) -> Result<(), ExchangeError> {
    let deadline = Instant::now() + LIMIT;
    let mut line = serde_json::to_vec(reply).map_err(io::Error::from)?;
    line.push(b'\n');
    if line.len() as u64 > MAX_REPLY_LEN {
        return Err(ExchangeError::Reply);
    }
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        let n = stream.write(rest)?;
        rest = rest.get(n..).unwrap_or_default();
    }
    Ok(())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_anything_beside_it_is_none() {
        assert_eq!(parse(br#" {"request": "admit"} "#), Some(ApplyRequest::Admit));
        for line in [&br#"{"request":"admit","pin":"0"}"#[..], b"[]", b"{}", b"", br#"{"request":"shell"}"#] {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
