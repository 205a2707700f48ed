//! The step-ca that issues certificates of local accounts, besides the backend or without one.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use hostward_protocol::local::StepCaStatus;
use tokio::sync::watch;

use super::Agent;
use crate::disk;
use crate::job::Job;
use crate::ssh_agent::{Authority, Place};

/// Where systemd says that it put credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// How it stands with it.
pub struct StepCa {
    status: watch::Receiver<StepCaStatus>,
    making_ready: Job<()>,
}

impl StepCa {
    fn of(authority: &Arc<Authority>) -> Self {
        let mut making_ready = Job::default();
        making_ready.start(authority.clone().make_ready());
        StepCa { status: authority.status(), making_ready }
    }

    /// For root.
    pub fn status(&self) -> StepCaStatus {
        self.status.borrow().clone()
    }

    /// Waits until it stands otherwise, and meanwhile has it made ready.
    pub async fn changed(&mut self) {
        let changed = async {
            if self.status.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = changed => {}
            () = self.making_ready.finished() => {}
        }
    }
}

impl Agent {
    /// Tells the SSH agent what the operator's configuration says of it.
    pub(super) fn set_up_desk(&mut self) {
        self.desk.set_require_hostbound(self.config.service.require_hostbound);
        self.desk.set_hosts(self.config.service.hosts.clone());
        let known_hosts = self.options.step_ca_known_hosts();
        let credentials = std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from);
        let place = Place { credentials: credentials.as_deref(), known_hosts: &known_hosts };
        let settings = self.config.step_ca.as_ref();
        let authority =
            settings.map(|settings| Arc::new(Authority::new(settings, place, self.clock.clone())));
        // What one vouched for that is there no more.
        if authority.is_none()
            && let Err(error) = disk::remove(&known_hosts)
        {
            log::warn!("{error}");
        }
        self.step_ca = authority.as_ref().map(StepCa::of);
        self.desk.set_step_ca(authority);
    }
}
