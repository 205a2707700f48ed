//! A syslog server: RFC 5424 over a local socket, UDP (RFC 5426), TCP (RFC 6587, octets counted) or TLS (RFC 5425).
//!
//! None of them acknowledges a message. Over TCP and TLS a batch counts as handed over when the connection is still
//! there a second later; where it is not, the batch is sent again.

mod format;
mod stream;

use std::time::Duration;

use hostward_config::{Syslog as Settings, SyslogTarget};
use hostward_events::Record;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::timeout;

use super::output::{Handed, OutputError};
use stream::Stream;

/// Datagrams at once, and from then to the next ones: whoever listens is not to drop any.
const AT_ONCE: usize = 100;
const REST: Duration = Duration::from_millis(200);
/// How long a server may take to connect or to read.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Syslog {
    settings: Settings,
    stream: Option<Stream>,
}

impl Syslog {
    pub fn new(settings: Settings) -> Self {
        Syslog { settings, stream: None }
    }

    pub async fn hand_over(&mut self, lines: &[Vec<u8>]) -> Result<Handed, OutputError> {
        let messages = |lines: &[Vec<u8>]| -> Vec<Option<Vec<u8>>> {
            let format = |line: &Vec<u8>| {
                Record::read(line).map(|record| format::message(&record, line, self.settings.text))
            };
            lines.iter().map(format).collect()
        };
        match &self.settings.to {
            SyslogTarget::Unix(_) | SyslogTarget::Udp(..) => {
                let messages = messages(&lines[..lines.len().min(AT_ONCE)]);
                self.datagrams(&messages).await
            }
            SyslogTarget::Tcp(..) | SyslogTarget::Tls(..) => {
                let messages = messages(lines);
                self.stream(&messages).await
            }
        }
    }

    async fn datagrams(&self, messages: &[Option<Vec<u8>>]) -> Result<Handed, OutputError> {
        let socket = Datagrams::open(&self.settings.to).await.map_err(|error| self.unreachable(&error))?;
        let mut handed = Handed { count: 0, refused: 0, rest: REST };
        for message in messages {
            match message {
                None => handed.refused += 1,
                Some(message) => match timeout(PATIENCE, socket.send(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => {
                        handed.refused += 1
                    }
                    _ if handed.count > 0 => return Ok(handed),
                    Ok(Err(error)) => return Err(self.unreachable(&error)),
                    Err(_) => return Err(self.unreachable(&std::io::ErrorKind::TimedOut.into())),
                },
            }
            handed.count += 1;
        }
        Ok(handed)
    }

    async fn stream(&mut self, messages: &[Option<Vec<u8>>]) -> Result<Handed, OutputError> {
        let mut bytes = Vec::new();
        for message in messages.iter().flatten() {
            bytes.extend_from_slice(format!("{} ", message.len()).as_bytes());
            bytes.extend_from_slice(message);
        }
        let stream = match self.stream.take_if(|stream| stream.is_open()) {
            Some(stream) => stream,
            None => Stream::connect(&self.settings).await.map_err(|error| self.unreachable(&error))?,
        };
        let stream = timeout(PATIENCE, stream.send(&bytes)).await;
        let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        self.stream = Some(stream.map_err(|error| self.unreachable(&error))?);
        let refused = messages.iter().filter(|message| message.is_none()).count();
        Ok(Handed { count: messages.len(), refused, rest: Duration::ZERO })
    }

    fn unreachable(&self, error: &std::io::Error) -> OutputError {
        let mend = match &self.settings.to {
            SyslogTarget::Unix(path) => {
                format!("see whether a syslog server of this host reads `{}`, or correct [siem.syslog] to", path.display())
            }
            SyslogTarget::Tls(..) => "see whether the server is running, and whether its certificate is for that name and of an authority that this host knows ([siem.syslog] ca_file); it is tried again by itself".into(),
            SyslogTarget::Udp(..) | SyslogTarget::Tcp(..) => {
                "see whether the server is running and a firewall lets this host reach it; it is tried again by itself".into()
            }
        };
        OutputError::Socket {
            code: "syslog-unreachable",
            message: format!("cannot hand events over to {}: {error}", self.settings.to),
            mend,
        }
    }
}

enum Datagrams {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Datagrams {
    async fn open(target: &SyslogTarget) -> std::io::Result<Self> {
        match target {
            SyslogTarget::Udp(host, port) => {
                let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
                for address in tokio::net::lookup_host((host.as_str(), *port)).await? {
                    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(any).await?;
                    match socket.connect(address).await {
                        Ok(()) => return Ok(Datagrams::Udp(socket)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            SyslogTarget::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Datagrams::Unix(socket))
            }
            SyslogTarget::Tcp(..) | SyslogTarget::Tls(..) => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }

    async fn send(&self, message: &[u8]) -> std::io::Result<()> {
        match self {
            Datagrams::Unix(socket) => socket.send(message).await.map(drop),
            Datagrams::Udp(socket) => socket.send(message).await.map(drop),
        }
    }
}
