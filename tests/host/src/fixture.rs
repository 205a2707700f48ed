//! A host with the package installed and the backend that it may enroll with.

use std::fmt;
use std::fs;
use std::time::Duration;

use hostward_lab::{Backend, Host, Lab, Output, Release};
use hostward_mock_backend::client::Client;

use crate::setup::{self, Setup};
use crate::state::SOON;

const HOUR: Duration = Duration::from_secs(3600);

/// A host, its backend, and ways to look at both.
pub struct Fixture<'lab> {
    /// The network that both are on.
    pub lab: &'lab Lab,
    /// The host.
    pub host: Host,
    /// The backend, as a process that can be stopped and started.
    pub backend: Backend<'lab>,
    /// The backend, as somebody to be asked: tokens, faults, reports.
    pub client: Client,
}

impl fmt::Debug for Fixture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("host", &self.host.name()).finish_non_exhaustive()
    }
}

impl<'lab> Fixture<'lab> {
    /// A host to be described further before it boots.
    pub fn on(lab: &'lab Lab, release: Release) -> Setup<'lab> {
        Setup::new(lab, release)
    }

    /// A host with the package installed that has not enrolled.
    #[track_caller]
    #[must_use]
    pub fn installed(lab: &'lab Lab, release: Release) -> Self {
        Self::on(lab, release).boot()
    }

    /// A host that follows [`crate::TEAM`].
    #[track_caller]
    #[must_use]
    pub fn enrolled(lab: &'lab Lab, release: Release) -> Self {
        Self::on(lab, release).enrolled()
    }

    pub(crate) fn new(lab: &'lab Lab, host: Host, backend: Backend<'lab>, client: Client) -> Self {
        Self { lab, host, backend, client }
    }

    /// Replaces everything in `hostward.toml` but where the backend's CA is.
    #[track_caller]
    pub fn configure(&self, text: &str) {
        setup::configure(&self.host, text);
    }

    /// Puts the backend's CA on the host and writes `hostward.toml`, as a set-up without a package did not.
    #[track_caller]
    pub fn trust_backend(&self, configuration: &str) {
        setup::trust_backend(&self.host, &self.backend, configuration);
    }

    /// What the backend calls the host that enrolled first.
    #[track_caller]
    #[must_use]
    pub fn host_id(&self) -> String {
        self.client.hosts().expect("hosts")[0].host.id.clone()
    }

    /// A token that pins the newest root, good for one use.
    #[track_caller]
    #[must_use]
    pub fn token(&self) -> String {
        self.client.token(1, HOUR, true).expect("a token")
    }

    /// Runs `hostward enroll` with a new token, which must succeed.
    #[track_caller]
    pub fn enroll(&self) {
        let output = self.try_enroll(&self.token(), 30);
        assert!(output.success(), "{output}\n{}", self.journal());
        self.wait_for_host_certificates();
    }

    /// Certificates of the host's keys come right after an enrollment, and root looks at them in a pass that begins after
    /// they came; a test is to find the host at rest.
    #[track_caller]
    fn wait_for_host_certificates(&self) {
        const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-hostward.conf";
        const OFFERED: &str = "/var/lib/hostward-agent/inbox/host-certificates";
        if !self.host.exists(DROP_IN) {
            return;
        }
        self.host.wait_for(SOON, "certificates of the host's keys", |host| {
            let offered = host.run(&format!("stat --format=%.6Y {OFFERED}"));
            let at = self.report().at.timestamp_micros();
            match offered.stdout.trim().replace('.', "").parse::<i64>() {
                Ok(offered) if at >= offered && host.read(DROP_IN).contains("HostCertificate") => Ok(()),
                _ => Err(format!("{offered}\nlast pass: {at}")),
            }
        });
    }

    /// Runs `hostward enroll` with `token`.
    #[track_caller]
    pub fn try_enroll(&self, token: &str, seconds: u32) -> Output {
        self.host.run_with_input(&format!("hostward enroll --wait {seconds}"), token.as_bytes())
    }

    /// Puts a token where root looks for it, as configuration management would.
    #[track_caller]
    pub fn place_token(&self, token: &str) {
        self.host.write("/etc/hostward/enrollment.token", 0o600, "root:root", format!("{token}\n"));
    }

    /// Switches a fault of the backend on.
    #[track_caller]
    pub fn fault(&self, name: &str, arguments: &[&str]) {
        self.client.fault_on(name, arguments).expect("a fault");
    }

    /// Switches all faults off.
    #[track_caller]
    pub fn no_faults(&self) {
        self.client.fault_off(None).expect("no faults");
    }

    /// The text of the team file.
    #[track_caller]
    #[must_use]
    pub fn team(&self) -> String {
        fs::read_to_string(self.backend.team_file()).expect("the team file")
    }

    /// Changes the team and returns the version that says so, without waiting for the host.
    #[track_caller]
    pub fn publish(&self, change: impl FnOnce(&str) -> String) -> u64 {
        self.backend.set_team(&change(&self.team())).expect("the team file");
        self.client.sync().expect("a team file that holds together")
    }

    /// Changes the team, and returns once that is in force on the host.
    #[track_caller]
    pub fn change_team(&self, change: impl FnOnce(&str) -> String) {
        let version = self.publish(change);
        self.wait_for_version(version);
    }

    /// Waits until the policy in force is this version or a newer one.
    #[track_caller]
    pub fn wait_for_version(&self, version: u64) {
        self.wait_for_status(SOON, &format!("policy version {version}"), |status| {
            status.policy.as_ref().is_some_and(|policy| policy.version >= version)
        });
    }

    /// Runs `hostward` with these arguments.
    #[track_caller]
    pub fn hostward(&self, arguments: &str) -> Output {
        self.host.run(&format!("hostward {arguments}"))
    }

    /// Keeps the timer from repairing what a test is about to look at.
    #[track_caller]
    pub fn stop_timer(&self) {
        self.host.must("systemctl stop hostward-drift.timer hostward-drift.service");
    }
}
