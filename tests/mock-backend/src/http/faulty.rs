//! Answers that are wrong on purpose.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Closed;
use super::answer::Refused;
use crate::faults::{Fault, Faults};

/// The faults that are for a request to `path`. Counts it, so it is called once for each request.
pub(super) fn chosen(faults: &Faults, path: &str) -> Vec<Fault> {
    faults.iter().filter(|fault| meant(fault, path)).cloned().collect()
}

fn meant(fault: &Fault, path: &str) -> bool {
    match fault {
        Fault::Delay { scope, .. }
        | Fault::Status { scope, .. }
        | Fault::Cut { scope, .. }
        | Fault::Close { scope }
        | Fault::LoseAnswer { scope }
        | Fault::Endless { scope }
        | Fault::Garbage { scope }
        | Fault::Redirect { scope, .. } => scope.takes(path),
        Fault::Unauthorized { scope, .. } => !path.contains("/tuf/") && scope.takes(path),
        Fault::MissingTarget { name } | Fault::CutTarget { name } | Fault::LongTarget { name } => {
            target_name(path).is_some_and(|target| target.starts_with(name))
        }
        _ => false,
    }
}

fn target_name(path: &str) -> Option<&str> {
    let (_, file) = path.split_once("/targets/")?;
    Some(file.split_once('.')?.1)
}

/// What is answered instead of what would be.
pub(super) async fn before(faults: &[Fault], path: &str) -> Result<Option<Response>, Closed> {
    for fault in faults {
        if let Fault::Delay { time, .. } = fault {
            tokio::time::sleep(*time).await;
        }
    }
    for fault in faults {
        match fault {
            Fault::Close { .. } => return Err(Closed),
            Fault::Status { code, retry_after, .. } => return Ok(Some(status(*code, *retry_after))),
            Fault::Unauthorized { code, .. } => {
                let refused = Refused::new(*code, "refused on purpose");
                return Ok(Some(refused.with_status(StatusCode::UNAUTHORIZED).into_response()));
            }
            Fault::Redirect { to, .. } => return Ok(Some(redirect(to, path))),
            Fault::MissingTarget { .. } => {
                let refused = Refused::plain(StatusCode::NOT_FOUND, "missing on purpose");
                return Ok(Some(refused.into_response()));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn status(code: u16, retry_after: Option<u64>) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = Refused::plain(code, "failed on purpose").into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A URL that ends in `/` gets the path of the request.
fn redirect(to: &str, path: &str) -> Response {
    let location = match to.strip_suffix('/') {
        Some(origin) => format!("{origin}{path}"),
        None => to.to_owned(),
    };
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

/// What becomes of an answer on its way.
pub(super) async fn after(faults: &[Fault], response: Response) -> Result<Response, Closed> {
    let mut response = response;
    for fault in faults {
        response = match fault {
            Fault::Cut { after, .. } => cut(response, *after).await?,
            Fault::LoseAnswer { .. } => return Err(Closed),
            Fault::Endless { .. } => endless(response),
            Fault::Garbage { .. } => replaced(response, |_| Bytes::from(vec![0xfe; 512])).await?,
            Fault::CutTarget { .. } => replaced(response, |body| body.slice(..body.len() / 2)).await?,
            Fault::LongTarget { .. } => {
                replaced(response, |body| [body.as_ref(), b"          "].concat().into()).await?
            }
            _ => response,
        };
    }
    Ok(response)
}

async fn body(response: Response) -> Result<(axum::http::response::Parts, Bytes), Closed> {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.map_err(|_| Closed)?;
    Ok((parts, bytes))
}

async fn replaced(response: Response, change: impl FnOnce(Bytes) -> Bytes) -> Result<Response, Closed> {
    let (mut parts, bytes) = body(response).await?;
    parts.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(change(bytes))))
}

/// The whole length is announced, a part is sent, then the connection breaks.
async fn cut(response: Response, after: Option<u64>) -> Result<Response, Closed> {
    let (mut parts, bytes) = body(response).await?;
    let wanted = after.map_or(bytes.len() / 2, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let sent = bytes.slice(..wanted.min(bytes.len()));
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Ok(Response::from_parts(parts, stream::cut(sent)))
}

fn endless(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    let kind = headers.remove(CONTENT_TYPE);
    let mut endless = Response::new(stream::endless());
    *endless.status_mut() = StatusCode::OK;
    if let Some(kind) = kind {
        endless.headers_mut().insert(CONTENT_TYPE, kind);
    }
    endless
}

mod stream {
    //! Bodies that do not end as bodies should.

    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::{Body, Bytes, HttpBody};
    use hyper::body::Frame;
    use tokio::time::{Sleep, sleep};

    use super::{Closed, Duration};

    pub(super) fn cut(bytes: Bytes) -> Body {
        Body::new(Cut {
            bytes: Some(bytes),
            // What was sent should have left before the connection breaks.
            pause: Box::pin(sleep(Duration::from_millis(20))),
        })
    }

    pub(super) fn endless() -> Body {
        Body::new(Endless)
    }

    struct Cut {
        bytes: Option<Bytes>,
        pause: Pin<Box<Sleep>>,
    }

    impl HttpBody for Cut {
        type Data = Bytes;
        type Error = Closed;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
            if let Some(bytes) = self.bytes.take() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let pause = self.pause.as_mut();
            std::future::Future::poll(pause, context).map(|()| Some(Err(Closed)))
        }
    }

    struct Endless;

    impl HttpBody for Endless {
        type Data = Bytes;
        type Error = Closed;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
            static SPACES: [u8; 16 << 10] = [b' '; 16 << 10];
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&SPACES)))))
        }
    }
}
