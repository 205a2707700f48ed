//! Looks after what is in place: others may have broken it since, or broken sudo or sshd themselves.

use hostward_plan::facts::ManagedFile;
use hostward_protocol::report::Finding;

use super::{Setting, sshd, sudoers};

/// What somebody should know of sudo and sshd as they are. `probe` is a managed user.
pub fn look(setting: &Setting<'_>, probe: Option<&str>) -> Vec<Finding> {
    let mut findings = sudoers::look(setting.root);
    if setting.root.path(ManagedFile::SshdDropIn.path()).is_file() {
        match sshd::look(setting.root) {
            Some(finding) => findings.push(finding),
            None => {
                if let Some(probe) = probe {
                    findings.extend(sshd::effect(setting, probe).unwrap_or_else(Some));
                }
            }
        }
    }
    findings
}
