//! The PAM module under real sshd, su, sudo, cron and user managers.

mod account;
mod configuration;
mod home;
mod record;

use hostward_host_tests::Host;

/// Where the module is.
const MODULE: &str = "/usr/lib/x86_64-linux-gnu/security/pam_hostward.so";
/// Where root says who may not come in.
const DENIED: &str = "/var/lib/hostward/denied.json";

/// Nothing of hostward's runs from here on, nor can it be started by a request.
#[track_caller]
fn stop_everything(host: &Host) {
    host.must(
        "systemctl stop hostward-drift.timer hostward-drift.service hostward.socket hostward-ssh-agent.socket \
         hostward.service hostward-apply.socket hostward-apply.service",
    );
    assert_eq!(host.run("pgrep -l hostward").stdout, "");
}

/// Has a local user with a password-less sudo and a crontab of theirs.
#[track_caller]
fn add_local(host: &Host) {
    host.must("useradd --create-home --shell /bin/bash local");
    host.write("/etc/sudoers.d/local", 0o440, "root:root", "local ALL=(ALL) NOPASSWD: ALL\n");
}

/// Has cron run a command of somebody's now, as it does at a boot.
#[track_caller]
fn cron(host: &Host, user: &str, command: &str) {
    host.write("/etc/cron.d/now", 0o644, "root:root", format!("@reboot {user} {command}\n"));
    host.must("rm -f /run/crond.reboot; systemctl restart cron");
}
