//! The control socket: what root may ask of the agent. Nobody else is answered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hostward_protocol::local::{AgentReply, AgentRequest, MAX_REQUEST_LEN};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::sockets::{self, SocketError};

/// How many may ask at a time.
const CONNECTIONS: usize = 16;
/// How long one may take to ask, or to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// The request.
    pub request: AgentRequest,
    /// Where the answer goes; dropped, the connection is closed without one.
    pub reply: oneshot::Sender<AgentReply>,
}

/// The socket.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    /// Who may ask besides root.
    also: Option<u32>,
}

impl Control {
    /// The socket that systemd hands over.
    pub fn inherited(listener: std::os::unix::net::UnixListener) -> Result<Self, SocketError> {
        Ok(Control { listener: sockets::listening("hostward.socket", listener)?, also: None })
    }

    /// A socket of the agent's own, for tests: whoever started it may ask too.
    pub fn bound(path: &Path) -> Result<Self, SocketError> {
        Ok(Control { listener: sockets::bound(path)?, also: Some(nix::unistd::geteuid().as_raw()) })
    }

    /// Passes on what is asked, for ever.
    pub async fn serve(self, asked: mpsc::Sender<Asked>) {
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::warn!("cannot accept a connection: {error}");
                    // Out of descriptors, say: it would fail again at once.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let uid = stream.peer_cred().map(|c| c.uid()).ok();
            if uid != Some(0) && (uid.is_none() || uid != self.also) {
                log::warn!("refused a control request from uid {uid:?}: only root may ask");
                continue;
            }
            if let Ok(permit) = free.clone().try_acquire_owned() {
                let asked = asked.clone();
                tokio::spawn(async move {
                    answer(stream, asked).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn answer(mut stream: UnixStream, asked: mpsc::Sender<Asked>) {
    let Ok(Some(request)) = timeout(PATIENCE, read(&mut stream)).await else {
        return;
    };
    let (reply, answered) = oneshot::channel();
    if asked.send(Asked { request, reply }).await.is_err() {
        return;
    }
    let Ok(reply) = answered.await else {
        return;
    };
    let Ok(mut line) = serde_json::to_vec(&reply) else {
        return;
    };
    line.push(b'\n');
    // Whoever asked may be gone by now.
    let _ = timeout(PATIENCE, stream.write_all(&line)).await;
}

async fn read(stream: &mut UnixStream) -> Option<AgentRequest> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_REQUEST_LEN)).read_until(b'\n', &mut line).await.ok()?;
    if line.last() != Some(&b'\n') {
        return None;
    }
    match serde_json::from_slice(&line) {
        Ok(request) => Some(request),
        Err(_) => {
            log::warn!("ended a control connection: not a request that hostward-agent knows");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(path: &Path, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    #[tokio::test]
    async fn known_requests_are_passed_on_and_others_end_the_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (sender, mut receiver) = mpsc::channel::<Asked>(4);
        tokio::spawn(Control::bound(&path).unwrap().serve(sender));
        tokio::spawn(async move {
            while let Some(asked) = receiver.recv().await {
                assert_eq!(asked.request, AgentRequest::Sync);
                let _ = asked.reply.send(AgentReply::Synced { report: None });
            }
        });
        let good = ask(&path, b"{\"request\":\"sync\"}\n").await;
        assert_eq!(good, "{\"reply\":\"synced\",\"report\":null}\n");
        for bad in [&b"{\"request\":\"format-disk\"}\n"[..], b"{\"request\":\"sync\"}", b""] {
            assert_eq!(ask(&path, bad).await, "");
        }
        let endless = vec![b' '; MAX_REQUEST_LEN as usize + 10];
        assert_eq!(ask(&path, &endless).await, "");
    }
}
