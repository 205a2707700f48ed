//! Answers requests on `/run/hostward/apply.sock`, and ends when nothing has been asked for a while.
//!
//! What may be asked, and by whom, is a table ([`may_ask`]); whatever else arrives ends the connection. A peer that is
//! slow, silent or greedy costs one thread for a few seconds and nobody else anything.

mod coalesce;
mod exchange;
mod pace;

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use hostward_protocol::local::{ApplyReply, ApplyRequest};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::command::timespec;
use crate::engine::Engine;
use crate::finding::chain;
use coalesce::Admissions;
use pace::Pace;

/// How long nothing may be asked before the process ends.
pub const IDLE: Duration = Duration::from_secs(30);
/// The most connections at once of the agent, and of root.
const MAX_CONNECTIONS: usize = 16;

/// Why the socket cannot be served any more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Waiting failed.
    #[error("cannot wait on the socket")]
    Wait(#[source] Errno),
    /// Preparing the socket failed.
    #[error("cannot prepare the socket")]
    Prepare(#[source] std::io::Error),
}

/// Whether the process with uid `peer` may ask this. `agent` is the network process's uid.
pub fn may_ask(peer: u32, agent: u32, request: &ApplyRequest) -> bool {
    match request {
        ApplyRequest::Admit | ApplyRequest::ReadToken | ApplyRequest::FinishEnrollment { .. } => {
            peer == 0 || peer == agent
        }
        ApplyRequest::Apply { .. }
        | ApplyRequest::Plan
        | ApplyRequest::Explain { .. }
        | ApplyRequest::Unenroll => peer == 0,
    }
}

struct Server {
    engine: Arc<Engine>,
    admissions: Admissions,
    /// Of the agent's requests but admissions, which have their own.
    pace: Pace,
    of_root: AtomicUsize,
    of_agent: AtomicUsize,
    last_end: Mutex<Instant>,
}

/// Serves `listener` until nothing has been asked for `idle`.
pub fn serve(engine: &Arc<Engine>, listener: &UnixListener, idle: Duration) -> Result<(), ServeError> {
    listener.set_nonblocking(true).map_err(ServeError::Prepare)?;
    let server = Arc::new(Server {
        engine: Arc::clone(engine),
        admissions: Admissions::default(),
        pace: Pace::default(),
        of_root: AtomicUsize::new(0),
        of_agent: AtomicUsize::new(0),
        last_end: Mutex::new(Instant::now()),
    });
    loop {
        let mut wait = [PollFd::new(listener, PollFlags::IN)];
        let rested = match poll(&mut wait, Some(&timespec(server.until_idle(idle)))) {
            Ok(0) => true,
            Ok(_) => false,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(ServeError::Wait(error)),
        };
        if rested {
            if server.until_idle(idle).is_zero() {
                return Ok(());
            }
            continue;
        }
        match listener.accept() {
            Ok((stream, _)) => Server::accept(&server, stream),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // Out of descriptors, say: those in use will be given back.
            Err(error) => {
                log::warn!("cannot accept a connection: {error}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

impl Server {
    /// How long nothing may be asked from now on; the whole time while something goes on.
    fn until_idle(&self, idle: Duration) -> Duration {
        let connections = self.of_root.load(Ordering::SeqCst) + self.of_agent.load(Ordering::SeqCst);
        if connections > 0 || self.engine.is_busy() {
            return idle;
        }
        let last = *self.last_end.lock().unwrap_or_else(PoisonError::into_inner);
        idle.saturating_sub(last.elapsed())
    }

    fn accept(server: &Arc<Server>, stream: UnixStream) {
        let peer = match rustix::net::sockopt::socket_peercred(&stream) {
            Ok(credentials) => credentials.uid.as_raw(),
            Err(error) => return log::warn!("cannot tell who asks: {error}"),
        };
        let agent = server.engine.agent_uid();
        let is_root = peer == 0;
        if !is_root && peer != agent {
            return log::warn!("uid {peer} may not ask anything");
        }
        let Some(place) = Place::take(Arc::clone(server), is_root) else {
            return log::warn!("uid {peer} has too many connections open");
        };
        let started = std::thread::Builder::new().spawn(move || {
            if let Err(error) = place.server.exchange(stream, peer) {
                log::warn!("exchange with uid {peer}: {}", chain(&error));
            }
        });
        if let Err(error) = started {
            log::warn!("cannot answer uid {peer}: {error}");
        }
    }

    fn exchange(&self, stream: UnixStream, peer: u32) -> Result<(), exchange::ExchangeError> {
        let request: ApplyRequest = exchange::read(&stream)?;
        if peer != 0 && request != ApplyRequest::Admit {
            std::thread::sleep(self.pace.turn(Instant::now()));
        }
        if !may_ask(peer, self.engine.agent_uid(), &request) {
            return Err(exchange::ExchangeError::NotAllowed);
        }
        let reply = match request {
            ApplyRequest::Admit => self.admissions.take_part(|| self.answer(&ApplyRequest::Admit)),
            request => Arc::new(self.answer(&request)),
        };
        exchange::write(&stream, &reply)
    }

    fn answer(&self, request: &ApplyRequest) -> ApplyReply {
        self.engine.answer(request, Utc::now())
    }
}

/// One of the connections that may be open at once. Those of root and of the agent are counted apart, so that a
/// captured agent cannot keep root out.
struct Place {
    server: Arc<Server>,
    is_root: bool,
}

impl Place {
    fn take(server: Arc<Server>, is_root: bool) -> Option<Place> {
        let place = Place { server, is_root };
        let before = place.count().fetch_add(1, Ordering::SeqCst);
        // Dropped, it gives its place back.
        (before < MAX_CONNECTIONS).then_some(place)
    }

    fn count(&self) -> &AtomicUsize {
        if self.is_root { &self.server.of_root } else { &self.server.of_agent }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.server.last_end.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.count().fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hostward_protocol::local::EnrollmentOutcome;
    use hostward_protocol::report::Cause;

    #[test]
    fn the_agent_may_ask_three_things_and_others_nothing() {
        let enrolled = EnrollmentOutcome::Enrolled { host_id: "h1".into() };
        let table = [
            (ApplyRequest::Admit, true),
            (ApplyRequest::ReadToken, true),
            (ApplyRequest::FinishEnrollment { outcome: enrolled }, true),
            (ApplyRequest::Apply { cause: Cause::Operator }, false),
            (ApplyRequest::Plan, false),
            (ApplyRequest::Explain { user: "alice".into() }, false),
            (ApplyRequest::Unenroll, false),
        ];
        for (request, agent_may) in table {
            assert!(may_ask(0, 998, &request), "{request:?}");
            assert_eq!(may_ask(998, 998, &request), agent_may, "{request:?}");
            assert!(!may_ask(1000, 998, &request), "{request:?}");
        }
    }
}
