//! Events that hosts deliver.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use chrono::Utc;
use hostward_protocol::events::{AFTER, Acknowledgement, BATCH_MEDIA_TYPE, Head};
use hostward_protocol::problem::Code;

use super::answer::{Refused, json};
use super::hosts::Received;
use crate::backend::Backend;
use crate::faults::{Fault, HeadLie};
use crate::registry::{Batch, BatchRefusal, Distaste};

/// The largest batch that is read.
const MAX_BATCH: usize = 1 << 20;

pub(super) async fn deliver(
    State(backend): State<Arc<Backend>>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let path = request.uri().path().to_owned();
    let limit = small_batches(&backend).unwrap_or(MAX_BATCH);
    let is_batch = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == BATCH_MEDIA_TYPE);
    let request = Received::read_up_to(request, limit).await?;
    let host = request.host(&backend)?;
    if !is_batch {
        let detail = format!("events come as `{BATCH_MEDIA_TYPE}`");
        return Err(Refused::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let after = request.query().find(|(name, _)| name == AFTER).map(|(_, value)| value.parse());
    let after = after
        .transpose()
        .map_err(|_| Refused::new(Code::BadRequest, format!("`{AFTER}` is not the number of an event")))?;
    let batch = Batch { body: request.body(), after, key: request.idempotency_key()? };
    let taken = backend.registry().add_events(&host, batch, &distaste(&backend), Utc::now());
    let taken = taken.map_err(|error| Refused::internal(&error))?;
    let mut answer = taken.map_err(refused)?;
    answer.acknowledged = lied(&backend, &path, answer.acknowledged);
    Ok(json(&answer))
}

pub(super) async fn head(
    State(backend): State<Arc<Backend>>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let path = request.uri().path().to_owned();
    let request = Received::read(request).await?;
    let host = request.host(&backend)?;
    let head = backend.registry().event_head(&host).map_err(|error| Refused::internal(&error))?;
    Ok(json(&Acknowledgement { acknowledged: lied(&backend, &path, head), refused: Vec::new() }))
}

fn refused(refusal: BatchRefusal) -> Refused {
    match refusal {
        BatchRefusal::NoEvent(index) => {
            let detail = format!("the batch's element {index} is no event of a host's log");
            Refused::new(Code::BadRequest, detail)
        }
        BatchRefusal::OutOfOrder(number) => {
            Refused::new(Code::BadRequest, format!("event {number} does not follow the one before it"))
        }
        BatchRefusal::OtherRequest => {
            let detail = "the idempotency key was used for another request";
            Refused::new(Code::BadRequest, detail).with_status(StatusCode::UNPROCESSABLE_ENTITY)
        }
        BatchRefusal::Diverged(number) => {
            Refused::new(Code::EventsDiverged, format!("another event {number} of this host is kept here"))
        }
        BatchRefusal::Unacceptable(number) => {
            Refused::new(Code::EventUnacceptable, format!("event {number} is not taken here"))
        }
    }
}

fn distaste(backend: &Backend) -> Distaste {
    let faults = backend.faults();
    let found = faults.iter().find_map(|fault| match fault {
        Fault::RefuseEvents { kind, whole } => Some(Distaste { kind: Some(kind.clone()), whole: *whole }),
        _ => None,
    });
    found.unwrap_or_default()
}

fn small_batches(backend: &Backend) -> Option<usize> {
    backend.faults().iter().find_map(|fault| match fault {
        Fault::SmallBatches { bytes } => Some(*bytes),
        _ => None,
    })
}

/// The head, or what is said in its place on purpose.
fn lied(backend: &Backend, path: &str, head: Option<Head>) -> Option<Head> {
    let faults = backend.faults();
    let lie = faults.iter().find_map(|fault| match fault {
        Fault::LieHead { lie, scope } if scope.takes(path) => Some(*lie),
        _ => None,
    });
    let sequence = head.as_ref().map_or(0, |head| head.sequence);
    match lie {
        None => head,
        Some(HeadLie::Ahead) => Some(Head { sequence: sequence + 1000, hash: "a".repeat(64) }),
        Some(HeadLie::OtherHash) => Some(Head { sequence: sequence.max(1), hash: "b".repeat(64) }),
        Some(HeadLie::Behind) => None,
    }
}
