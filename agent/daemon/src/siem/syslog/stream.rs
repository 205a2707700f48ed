//! A connection to a syslog server, with TLS or without.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hostward_config::{Syslog as Settings, SyslogTarget};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a connection must be there after a batch for that to count.
const PROOF: Duration = Duration::from_secs(1);

trait Bytes: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Bytes for T {}

pub struct Stream(Box<dyn Bytes>);

impl Stream {
    pub async fn connect(settings: &Settings) -> io::Result<Self> {
        let (host, port, tls) = match &settings.to {
            SyslogTarget::Tcp(host, port) => (host, *port, None),
            SyslogTarget::Tls(host, port) => (host, *port, Some(config(settings)?)),
            SyslogTarget::Unix(_) | SyslogTarget::Udp(..) => return Err(ErrorKind::Unsupported.into()),
        };
        let connect = async {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok::<Box<dyn Bytes>, io::Error>(match tls {
                None => Box::new(stream),
                Some(config) => {
                    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                    Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
                }
            })
        };
        match timeout(CONNECT, connect).await {
            Ok(connected) => connected.map(Stream),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }

    /// Whether the server has not ended it. A server that says something is not heard.
    pub fn is_open(&mut self) -> bool {
        let mut buffer = [0; 512];
        loop {
            match self.0.read(&mut buffer).now_or_never() {
                None => return true,
                Some(Ok(length)) if length > 0 => {}
                Some(_) => return false,
            }
        }
    }

    /// Sends, and looks whether the connection is there afterwards.
    pub async fn send(mut self, bytes: &[u8]) -> io::Result<Self> {
        self.0.write_all(bytes).await?;
        self.0.flush().await?;
        let ended = async {
            let mut buffer = [0; 512];
            loop {
                match self.0.read(&mut buffer).await {
                    Ok(length) if length > 0 => {}
                    Ok(_) => return io::Error::from(ErrorKind::ConnectionAborted),
                    Err(error) => return error,
                }
            }
        };
        match timeout(PROOF, ended).await {
            Ok(error) => Err(error),
            Err(_) => Ok(self),
        }
    }
}

fn config(settings: &Settings) -> io::Result<ClientConfig> {
    let provider = Arc::new(default_provider());
    let more = match &settings.ca_file {
        Some(path) => {
            let unusable = |error: &dyn std::fmt::Display| {
                io::Error::other(format!("cannot use the CA file `{}`: {error}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            certificates.map_err(|error| unusable(&error))?
        }
        None => Vec::new(),
    };
    let verifier = Verifier::new_with_extra_roots(more, provider.clone()).map_err(io::Error::other)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}
