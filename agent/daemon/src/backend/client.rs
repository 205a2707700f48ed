//! One exchange over HTTPS.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hostward_config::Backend;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::watch;

use super::Fault;
use crate::clock::http_date;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);
/// How long nothing at all comes from a peer that is waited for in vain until its connection is taken for dead: something
/// on the way forgot it, and says so to nobody.
const SILENCE: Duration = Duration::from_secs(3);
/// How long a body may stand still.
const STALL: Duration = Duration::from_secs(30);
/// How long any body may take, and the slowest it may come beyond that: 128 kbit/s.
const BODY: Duration = Duration::from_secs(60);
const BYTES_PER_SECOND: u64 = 16 << 10;

/// Makes exchanges. Connections are kept; certificates are read again after one did not verify.
#[derive(Debug)]
pub struct Http {
    settings: Backend,
    /// Whether it talks to this host only, and needs no TLS.
    is_local: bool,
    kept: Mutex<Kept>,
    /// The number of the client that is used now: whoever still waits with another one waits in vain.
    current: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    client: Option<reqwest::Client>,
    heard: Instant,
}

/// One request.
#[derive(Debug)]
pub struct Exchange {
    /// Method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, JSON where there is one.
    pub body: Option<Vec<u8>>,
    /// How long until the answer's first byte.
    pub patience: Duration,
    /// How long the peer may take that has nothing to say, so that its silence means nothing.
    pub lull: Duration,
    /// The longest body that is read.
    pub max_len: u64,
}

impl Exchange {
    /// A plain GET.
    pub fn get(url: Url, max_len: u64) -> Self {
        Exchange {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            patience: Duration::from_secs(30),
            lull: Duration::ZERO,
            max_len,
        }
    }

    /// Adds a header; a value that no header can hold is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Body {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    url: Url,
    response: reqwest::Response,
    opened: Instant,
    left: u64,
    max_len: u64,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Http {
    /// Makes exchanges as the operator set it. Nothing is read or connected yet.
    pub fn new(settings: Backend) -> Self {
        Http::with(settings, false)
    }

    /// The same for URLs that are known to be of this host: without TLS, and without a proxy.
    pub fn to_this_host(settings: Backend) -> Self {
        Http::with(settings, true)
    }

    fn with(settings: Backend, is_local: bool) -> Self {
        let kept = Mutex::new(Kept { client: None, heard: Instant::now() });
        Http { settings, is_local, kept, current: watch::Sender::new(0) }
    }

    /// Sends a request and reads the answer's head.
    pub async fn open(&self, exchange: Exchange) -> Result<Body, Fault> {
        let url = exchange.url.clone();
        let (client, mut current) = self.client()?;
        let mut request = client.request(exchange.method, exchange.url).headers(exchange.headers);
        if let Some(body) = exchange.body {
            request = request.body(body);
        }
        let mut waiting = Waiting {
            http: self,
            client: *current.borrow_and_update(),
            since: Instant::now(),
            silence: exchange.lull + SILENCE.min(exchange.patience),
            is_over: false,
        };
        let sent = tokio::select! {
            sent = tokio::time::timeout(exchange.patience, request.send()) => sent,
            // Whoever has patience of their own may still be answered.
            _ = current.changed(), if exchange.lull > Duration::ZERO => return Err(Fault::Left { url: url.to_string() }),
        };
        let response = match sent {
            Err(_) => return Err(Fault::timeout(&url, exchange.patience)),
            Ok(Err(error)) => {
                waiting.is_over = true;
                let fault = Fault::of(&url, &error);
                if fault.is_tls() {
                    // The mended certificate or CA file is to be seen at the next attempt.
                    self.kept().client = None;
                }
                return Err(fault);
            }
            Ok(Ok(response)) => response,
        };
        self.kept().heard = Instant::now();
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Err(Fault::redirect(&url, &headers));
        }
        let (max_len, opened) = (exchange.max_len, Instant::now());
        let body = Body { status, headers, left: max_len, max_len, url, response, opened };
        if body.response.content_length().unwrap_or(0) > exchange.max_len {
            return Err(body.too_long());
        }
        Ok(body)
    }

    /// Sends a request and reads the whole answer.
    pub async fn exchange(&self, exchange: Exchange) -> Result<Answer, Fault> {
        let mut body = self.open(exchange).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            bytes.extend_from_slice(chunk.as_ref());
        }
        Ok(Answer { status: body.status, headers: body.headers, body: bytes })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Result<(reqwest::Client, watch::Receiver<u64>), Fault> {
        let mut kept = self.kept();
        let client = match &kept.client {
            Some(client) => client.clone(),
            None => kept.client.insert(build(&self.settings, self.is_local)?).clone(),
        };
        Ok((client, self.current.subscribe()))
    }
}

/// An exchange whose answer has not begun.
struct Waiting<'a> {
    http: &'a Http,
    client: u64,
    since: Instant,
    silence: Duration,
    /// Somebody said how it ended.
    is_over: bool,
}

impl Drop for Waiting<'_> {
    /// Whoever gives up waiting, by whatever deadline, leaves a connection behind on which all others would wait too.
    fn drop(&mut self) {
        let mut kept = self.http.kept();
        let is_dead = !self.is_over && kept.heard <= self.since && self.since.elapsed() >= self.silence;
        if is_dead && *self.http.current.borrow() == self.client {
            kept.client = None;
            self.http.current.send_modify(|current| *current += 1);
        }
    }
}

fn build(settings: &Backend, is_local: bool) -> Result<reqwest::Client, Fault> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("hostward/", env!("CARGO_PKG_VERSION")))
        .https_only(!is_local)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        // No timer of the pool's own: an idle agent sleeps.
        .pool_idle_timeout(None)
        .pool_max_idle_per_host(2)
        // A dead peer is noticed by the kernel within two minutes, at 130 bytes a minute.
        .tcp_keepalive(Duration::from_secs(60))
        .tcp_keepalive_interval(Duration::from_secs(15))
        .tcp_keepalive_retries(4)
        .tcp_user_timeout(Duration::from_secs(60));
    if is_local {
        builder = builder.no_proxy();
    }
    if let Some(path) = &settings.ca_file {
        let unusable = |message: String| Fault::CaFile { path: path.clone(), message };
        let pem = std::fs::read(path).map_err(|e| unusable(e.to_string()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|_| unusable("it is not a PEM file of certificates".into()))?;
        if certificates.is_empty() {
            return Err(unusable("it holds no PEM certificate".into()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(proxy) = &settings.proxy {
        let proxy =
            reqwest::Proxy::https(proxy).map_err(|_| Fault::Proxy)?.no_proxy(reqwest::NoProxy::from_env());
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| Fault::Client { message: hostward_protocol::causes::chain(&error) })
}

impl Body {
    /// The next piece of the body.
    pub async fn chunk(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Fault> {
        let whole = body_time(self.max_len);
        let left = whole.saturating_sub(self.opened.elapsed());
        // A body that always has the next byte ready never runs into the timer.
        if left.is_zero() {
            return Err(Fault::too_slow(&self.url, whole));
        }
        let chunk = match tokio::time::timeout(left.min(STALL), self.response.chunk()).await {
            Err(_) if left < STALL => return Err(Fault::too_slow(&self.url, whole)),
            Err(_) => return Err(Fault::timeout(&self.url, STALL)),
            Ok(Err(error)) => return Err(Fault::of(&self.url, &error)),
            Ok(Ok(chunk)) => chunk,
        };
        if let Some(chunk) = &chunk {
            self.left = self.left.checked_sub(chunk.len() as u64).ok_or_else(|| self.too_long())?;
        }
        Ok(chunk)
    }

    fn too_long(&self) -> Fault {
        Fault::TooLong { url: self.url.to_string(), max: self.max_len }
    }
}

/// How long a body of at most `max_len` bytes may take from the answer's head to its last byte.
fn body_time(max_len: u64) -> Duration {
    BODY.saturating_add(Duration::from_secs(max_len / BYTES_PER_SECOND))
}

/// The backend's time as a header says it.
pub fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(headers.get(reqwest::header::DATE)?.to_str().ok()?)
}

/// `Retry-After`: seconds, or a time.
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // By the backend's own clock where it tells it: this host's may be off.
    let now = date(headers).unwrap_or(now);
    Some((http_date(value)? - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of which nothing ever comes, `age` after its head did.
    fn body(age: Duration, stream: reqwest::Body) -> Body {
        Body {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            url: Url::parse("https://b.example/targets/users.json").unwrap(),
            response: http::Response::new(stream).into(),
            opened: Instant::now().checked_sub(age).unwrap(),
            left: 1 << 20,
            max_len: 1 << 20,
        }
    }

    #[test]
    fn long_bodies_may_take_longer() {
        assert_eq!(body_time(0), Duration::from_secs(60));
        assert_eq!(body_time(16 << 20), Duration::from_secs(60 + 1024));
        assert_eq!(body_time(u64::MAX).as_secs(), 60 + u64::MAX / BYTES_PER_SECOND);
    }

    #[tokio::test]
    async fn a_body_that_comes_a_byte_at_a_time_ends() {
        let whole = body_time(1 << 20);
        let endless =
            || reqwest::Body::wrap_stream(futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("x")));
        let mut early = body(whole / 2, endless());
        assert_eq!(early.chunk().await.unwrap().unwrap().as_ref(), b"x");
        let late = body(whole, endless()).chunk().await.map(|_| ()).unwrap_err();
        assert!(matches!(late, Fault::TooSlow { seconds: 124, .. }), "{late}");
        assert!(late.to_string().contains("not whole within 124 s"), "{late}");
    }

    #[tokio::test]
    async fn a_body_that_stands_still_ends_with_its_time() {
        let never = futures_util::stream::pending::<Result<&'static str, std::io::Error>>();
        let almost = body_time(1 << 20) - Duration::from_millis(1);
        let late = body(almost, reqwest::Body::wrap_stream(never)).chunk().await.map(|_| ()).unwrap_err();
        assert!(matches!(late, Fault::TooSlow { .. }), "{late}");
    }
}
