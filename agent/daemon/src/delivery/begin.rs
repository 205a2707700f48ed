//! Where to begin: what is for this backend, what it acknowledged, and what it says itself.

use std::path::PathBuf;
use std::sync::Arc;

use hostward_events::{FilesError, Head};

use super::record::{self, Delivered};
use super::send::{Believed, Failure, believed, blocking, in_log};
use crate::backend::Api;
use crate::disk;
use crate::identity::Identity;

/// What is looked at.
pub struct Place {
    pub api: Api,
    pub identity: Arc<Identity>,
    pub log: PathBuf,
    /// `delivery.json`.
    pub record: PathBuf,
    /// The newest event.
    pub end: u64,
}

/// What is for this backend, what it acknowledged as far as it is written down, and what it says.
pub type Begun = Result<(Delivered, Option<Head>, Believed), Failure>;

/// Finds out.
pub async fn begin(place: Place) -> Begun {
    let Place { api, identity, log, record, end } = place;
    let found = {
        let (identity, log) = (identity.clone(), log.clone());
        blocking(move || found(&identity, &log, &record)).await
    };
    let (delivered, acknowledged) = found.map_err(Failure::Log)?;
    let said = api.event_head(&identity).await.map_err(Failure::Backend)?.acknowledged;
    let before = acknowledged.clone();
    let head = blocking(move || {
        let (before_number, known) =
            before.as_ref().map_or((0, None), |head| (head.sequence, Some(head.hash.clone())));
        let ours = |number| if number == before_number { known } else { in_log(&log, number) };
        believed(said, before_number, end.max(before_number), ours)
    })
    .await;
    Ok((delivered, acknowledged, head))
}

fn found(
    identity: &Identity,
    log: &std::path::Path,
    record: &std::path::Path,
) -> Result<(Delivered, Option<Head>), FilesError> {
    let enrollment = &identity.enrollment;
    let acknowledged = hostward_events::acknowledged(log)?;
    let before = disk::read_json::<Delivered>(record).unwrap_or_else(|error| {
        // It is found out anew; what was delivered already is sent again, and dropped.
        log::warn!("{error}");
        None
    });
    Ok(match before {
        Some(before) if before.host_id == enrollment.host_id => {
            let acknowledged = acknowledged.filter(|head| head.sequence >= before.from);
            (before, acknowledged)
        }
        // The same people get what they would have got: it goes on behind what they have.
        Some(before) if before.is_of(enrollment) => {
            let from = acknowledged.map_or(before.from, |head| head.sequence.max(before.from - 1) + 1);
            (Delivered::new(enrollment, from), None)
        }
        _ => (Delivered::new(enrollment, record::first_for(log, enrollment)?), None),
    })
}
