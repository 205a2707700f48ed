//! The host leaves its project: the agent forgets what it is enrolled as. What root has is not the agent's to remove.

use std::time::Instant;

use hostward_protocol::local::{AgentReply, Listed};
use tokio::sync::oneshot;

use super::{Agent, Problems, View};
use crate::backend::Fault;
use crate::disk;
use crate::enrollment::disk_finding;
use crate::identity::{self, Standing};
use crate::inbox::Inbox;
use crate::token::Errand;

impl Agent {
    /// Tells the backend, then forgets.
    pub(super) fn unenroll(&mut self, reply: oneshot::Sender<AgentReply>) {
        self.leave_asked.push(reply);
        if self.leaving.is_running() {
            return;
        }
        self.stop_for_leaving();
        match &self.standing {
            Standing::Host(identity) => {
                let (api, identity) = (self.api.clone(), identity.clone());
                self.leaving.start(async move { api.leave(&identity).await });
            }
            Standing::Damaged(reason) => {
                let reply = AgentReply::Unenrolled { told_backend: Err(reason.clone()) };
                self.forget(reply);
            }
            // A clone's id is the original's, which goes on.
            Standing::Nobody | Standing::Clone(_) => self.forget(AgentReply::Forgotten { listed: None }),
        }
    }

    /// Tells nobody, and forgets at once: the network may be why nobody is told.
    pub(super) fn forget_silently(&mut self, reply: oneshot::Sender<AgentReply>) {
        self.leave_asked.push(reply);
        self.stop_for_leaving();
        let reply = AgentReply::Forgotten { listed: self.listed() };
        self.forget(reply);
    }

    fn stop_for_leaving(&mut self) {
        self.leaving.stop();
        self.token.stop();
        self.errand = Errand::idle();
        self.telling = false;
        self.follower = None;
        self.reporting = None;
        self.desk.set_issuer(None);
        self.certificates = None;
        self.delivery = None;
    }

    /// What the backend knows this host as.
    fn listed(&self) -> Option<Listed> {
        match &self.standing {
            Standing::Host(identity) => Some(Listed {
                url: identity.enrollment.url.clone(),
                host_id: identity.enrollment.host_id.clone(),
            }),
            _ => None,
        }
    }

    /// The backend was told, or could not be.
    pub(super) fn left(&mut self, told: Result<(), Fault>) {
        let subject = match &self.standing {
            Standing::Host(identity) => format!("backend `{}`", identity.enrollment.url),
            _ => "backend".into(),
        };
        self.forget(AgentReply::Unenrolled { told_backend: told.map_err(|fault| fault.finding(&subject)) });
    }

    /// Forgets the identity, then answers whoever asked.
    fn forget(&mut self, reply: AgentReply) {
        let forgotten = self.discard();
        let reply = match &forgotten {
            Ok(()) => {
                log::info!("the identity of this host is gone");
                self.events.left(&self.standing, &reply);
                self.standing = Standing::Nobody;
                self.view = View::Idle;
                self.problems = Problems::default();
                reply
            }
            Err(error) => {
                log::error!("{error}");
                AgentReply::Failed(disk_finding(error))
            }
        };
        for waiting in self.leave_asked.drain(..) {
            let _ = waiting.send(reply.clone());
        }
        if forgotten.is_err() {
            self.stand(self.standing.clone(), Instant::now());
        }
    }

    fn discard(&self) -> Result<(), identity::IdentityError> {
        identity::discard(&self.options.identity())?;
        disk::remove(&self.options.accepted())?;
        disk::remove(&self.options.told())?;
        disk::remove(&self.options.certified())?;
        Inbox::open(self.options.inbox())?.clear()?;
        Ok(())
    }
}
