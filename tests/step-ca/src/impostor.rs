//! An HTTPS server that says what it is told to say.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Page {
    /// Answers so.
    Answer(u16, String),
    /// Sends a redirect to somewhere else.
    Redirect(String),
    /// Sends without end.
    Endless,
    /// Says nothing.
    Silence,
}

/// It, with a root of its own.
#[derive(Debug)]
pub struct Impostor {
    /// `https://127.0.0.1:PORT`
    pub url: String,
    /// Its own root, PEM.
    pub root: String,
    task: tokio::task::JoinHandle<()>,
}

impl Impostor {
    /// One that answers requests for paths that start so, the first that fits; with `""` all others.
    /// `ROOT` in an answer is its root's PEM, as in JSON.
    pub async fn start(pages: Vec<(&'static str, Page)>) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root");
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .expect("a certificate that goes with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let root = issuer.pem();
        let told = root.replace("\r\n", "\n").replace('\n', "\\n");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, pages, told) = (acceptor.clone(), pages.clone(), told.clone());
                // A client that does not believe the certificate ends the connection: that is its right.
                tokio::spawn(async move { serve(acceptor, stream, &pages, &told).await.ok() });
            }
        });
        Impostor { url, root, task }
    }
}

impl Impostor {
    /// SHA-256 of its own root, hex.
    pub fn fingerprint(&self) -> String {
        let der = CertificateDer::from_pem_slice(self.root.as_bytes()).expect("a certificate");
        digest(&SHA256, &der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    pages: &[(&'static str, Page)],
    root: &str,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    loop {
        let Some(path) = request(&mut stream).await? else { return Ok(()) };
        match pages.iter().find(|(start, _)| path.starts_with(start)).map(|(_, page)| page) {
            None => respond(&mut stream, 404, "", "404 page not found\n").await?,
            Some(Page::Answer(status, body)) => {
                respond(&mut stream, *status, "", &body.replace("ROOT", root)).await?;
            }
            Some(Page::Redirect(to)) => respond(&mut stream, 302, &format!("Location: {to}\r\n"), "").await?,
            Some(Page::Endless) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b' '; 4096]).await?;
                }
            }
            Some(Page::Silence) => std::future::pending().await,
        }
    }
}

async fn respond(
    stream: &mut TlsStream<TcpStream>,
    status: u16,
    header: &str,
    body: &str,
) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await
}

/// The path of the next request; none of ours to this server has a body that matters.
async fn request(stream: &mut TlsStream<TcpStream>) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await?;
    Ok(head.split(' ').nth(1).map(str::to_owned))
}
