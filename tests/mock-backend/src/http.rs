//! Accepts connections, proves who the server is, and hands requests on.

mod answer;
mod events;
mod faulty;
mod hosts;
mod repository;
mod routes;
mod ssh;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::backend::Backend;
use crate::faults::Fault;
use crate::tls::ServerTls;

pub use routes::{ROUTES, Route};

const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, tls: Arc<ServerTls>, backend: Arc<Backend>) -> Infallible {
    let router = TowerToHyperService::new(routes::router(Arc::clone(&backend)));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (tls, backend, router) = (Arc::clone(&tls), Arc::clone(&backend), router.clone());
                tokio::spawn(connection(stream, Peer(peer.ip()), tls, backend, router));
            }
            // Out of descriptors: connections that end free some.
            Err(error) => {
                crate::note(&format!("cannot accept a connection: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Where a request comes from.
#[derive(Clone, Copy)]
struct Peer(IpAddr);

async fn connection(
    stream: TcpStream,
    peer: Peer,
    tls: Arc<ServerTls>,
    backend: Arc<Backend>,
    router: TowerToHyperService<axum::Router>,
) {
    let mut generation = backend.connections.subscribe();
    generation.mark_unchanged();
    let _ = stream.set_nodelay(true);
    let mut config = &tls.valid;
    for fault in backend.faults().iter() {
        match fault {
            Fault::TlsExpired => config = &tls.expired,
            Fault::TlsOtherCa => config = &tls.other_ca,
            Fault::TlsOtherName => config = &tls.other_name,
            _ => {}
        }
    }
    let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
    // What a client makes of the certificate is its own business.
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await else {
        return;
    };
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (backend, router) = (Arc::clone(&backend), router.clone());
        async move { respond(&backend, &router, request).await }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Clients go away as they like.
        _ = serving => {}
        _ = generation.changed() => {}
    }
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
struct Closed;

async fn respond(
    backend: &Backend,
    router: &TowerToHyperService<axum::Router>,
    request: Request<Incoming>,
) -> Result<Response, Closed> {
    let path = request.uri().path().to_owned();
    let faults = faulty::chosen(&backend.faults(), &path);
    let early = faulty::before(&faults, &path).await?;
    let mut response = match early {
        Some(response) => response,
        None => {
            let request = request.map(Body::new);
            let Ok(response) = router.call(request).await;
            response
        }
    };
    answer::set_date(&mut response, backend.clock());
    faulty::after(&faults, response).await
}
