//! The SSH agent: gives local accounts that stand for service users their certificates, and signs their logins.
//!
//! Who asks is the uid of `SO_PEERCRED`, and nothing that they say. Whether and for whom the uid is bound is what root
//! wrote down. A key is made here for one uid, is used for that uid alone, and is written nowhere.

mod bindings;
mod caller;
mod connection;
mod desk;
mod flights;
mod gate;
mod identities;
mod issuer;
mod record;
mod resolver;
mod step_ca;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;

use caller::Caller;
pub use desk::Desk;
use gate::Gate;
pub use issuer::Issuer;
pub use step_ca::{Authority, Place};

/// Answers at `listener`, for ever.
pub async fn serve(listener: UnixListener, desk: Arc<Desk>) {
    let gate = Arc::new(Gate::default());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!("cannot accept a connection to the SSH agent: {error}");
                // Out of descriptors, say: it would fail again at once.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Ok(caller) = stream.peer_cred().map(Caller::from) else {
            continue;
        };
        let standing = desk.standing(caller.uid);
        // Whoever has too many already is turned away without a word; the others do not notice.
        if let Some(pass) = gate.enter(caller.uid, standing) {
            tokio::spawn(connection::serve(stream, caller, desk.clone(), pass));
        }
    }
}
