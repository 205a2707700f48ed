//! sshd's drop-in and the block in its main file: checked by sshd before they take effect and after, rolled back on
//! failure. An error that was there before is the operator's, and nothing is touched then.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hostward_plan::facts::ManagedFile;
use hostward_plan::sshd::ineffective;
use hostward_protocol::report::{Finding, Responsible};

use super::{Setting, write_failed};
use crate::bus;
use crate::command::{QUICK, Ran, run};
use crate::durable::{self, Attributes, Staged};
use crate::finding::{finding, host};
use crate::root::{RUN, Root, SSHD_CONFIG, SSHD_DROP_INS};

const SUBJECT: &str = "sshd";

/// Replaces the drop-in.
pub fn install(root: &Root, content: &[u8]) -> Result<Change, Finding> {
    let file = ManagedFile::SshdDropIn;
    let path = root.path(file.path());
    durable::directory(&root.path(SSHD_DROP_INS), 0o755)
        .map_err(|error| write_failed(file.path(), &error))?;
    let staged = Staged::new(&path, content, Attributes::root(file.mode()))
        .map_err(|error| write_failed(file.path(), &error))?;
    let main =
        std::fs::read(root.path(SSHD_CONFIG)).map_err(|error| host("sshd-unreadable", SUBJECT, &error))?;
    let mut whole = format!("Include {}\n", staged.path().display()).into_bytes();
    whole.extend_from_slice(&main);
    check_candidate(root, &whole)?;
    Change::make(root, path, file.path(), staged)
}

/// Replaces the main file, which keeps its owner and mode.
pub fn edit_main(root: &Root, content: &str) -> Result<Change, Finding> {
    let path = root.path(SSHD_CONFIG);
    let metadata = std::fs::metadata(&path).map_err(|error| host("sshd-unreadable", SUBJECT, &error))?;
    let staged = Staged::new(&path, content.as_bytes(), attributes(&metadata))
        .map_err(|error| write_failed(SSHD_CONFIG, &error))?;
    check_candidate(root, content.as_bytes())?;
    Change::make(root, path, SSHD_CONFIG, staged)
}

/// A change of sshd's configuration that can be undone.
#[derive(Debug)]
pub struct Change {
    path: PathBuf,
    name: &'static str,
    before: Option<(Vec<u8>, Attributes)>,
}

impl Change {
    fn make(root: &Root, path: PathBuf, name: &'static str, staged: Staged) -> Result<Change, Finding> {
        let before = std::fs::symlink_metadata(&path)
            .ok()
            .filter(std::fs::Metadata::is_file)
            .and_then(|metadata| Some((std::fs::read(&path).ok()?, attributes(&metadata))));
        let change = Change { path, name, before };
        staged.commit().map_err(|error| write_failed(name, &error))?;
        match test(root, &root.path(SSHD_CONFIG)) {
            Ok(ran) if ran.success => Ok(change),
            Ok(ran) => {
                change.undo()?;
                Err(broken(&ran))
            }
            Err(finding) => {
                change.undo()?;
                Err(finding)
            }
        }
    }

    /// The file's path on a host.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Puts back what was there before.
    pub fn undo(&self) -> Result<(), Finding> {
        match &self.before {
            Some((content, attributes)) => durable::replace(&self.path, content, *attributes),
            None => durable::remove(&self.path),
        }
        .map_err(|error| write_failed(self.name, &error))
    }
}

fn attributes(metadata: &std::fs::Metadata) -> Attributes {
    Attributes { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 }
}

/// Whether sshd does for a managed user what it is told; what keeps it from that, if something does.
pub fn effect(setting: &Setting<'_>, probe: &str) -> Result<Option<Finding>, Finding> {
    let root = setting.root;
    let connection = format!("user={probe},host=localhost,addr=127.0.0.1");
    let config = root.path(SSHD_CONFIG);
    let ran = sshd(root, &["-T", "-f", &config.to_string_lossy(), "-C", &connection])?;
    if !ran.success {
        return Ok(Some(broken(&ran)));
    }
    let (authentication, admission) = setting.sshd;
    let missing = ineffective(&ran.stdout, authentication, admission);
    if missing.is_empty() {
        return Ok(None);
    }
    Ok(Some(finding(
        Responsible::Operator,
        "sshd-settings-ineffective",
        SUBJECT,
        format!("for managed user `{probe}` sshd does not use: {}", missing.join("; ")),
        "look for a `Match` block that comes before hostward's in `/etc/ssh/sshd_config` or `/etc/ssh/sshd_config.d` and sets these for everybody; `sshd -T -C user=NAME,host=x,addr=127.0.0.1` shows what holds",
    )))
}

/// Makes sshd read its configuration again, if it runs.
pub fn reload(root: &Root) -> Result<(), Finding> {
    // `systemctl reload` fails where ssh.socket is active; this does not, and does nothing where nothing runs.
    let ran = bus::systemd(root, "ReloadOrTryRestartUnit", "ss", &["ssh.service", "replace"])
        .map_err(|error| host("sshd-not-reloaded", SUBJECT, &error))?;
    let said = ran.said();
    if ran.success || said.contains("not loaded") || said.contains("not found") {
        return Ok(());
    }
    Err(finding(
        Responsible::Host,
        "sshd-not-reloaded",
        SUBJECT,
        format!("systemd did not reload ssh.service: {said}"),
        "the next pass tries again; by hand: `systemctl reload ssh`",
    ))
}

/// What is wrong with sshd's configuration as it is, if something is.
pub fn look(root: &Root) -> Option<Finding> {
    match test(root, &root.path(SSHD_CONFIG)) {
        Ok(ran) if ran.success => None,
        Ok(ran) => Some(broken(&ran)),
        Err(finding) => Some(finding),
    }
}

/// Tests a whole configuration that is not in force yet. If it fails and the present one does too, that is the finding.
fn check_candidate(root: &Root, whole: &[u8]) -> Result<(), Finding> {
    let io = |error: std::io::Error| host("sshd-failed", SUBJECT, &error);
    let scratch = tempfile::Builder::new().prefix(".sshd-").tempdir_in(root.path(RUN)).map_err(io)?;
    let path = scratch.path().join("sshd_config");
    std::fs::write(&path, whole).map_err(io)?;
    let ran = test(root, &path)?;
    if ran.success {
        return Ok(());
    }
    let present = test(root, &root.path(SSHD_CONFIG))?;
    if !present.success {
        return Err(broken(&present));
    }
    Err(finding(
        Responsible::Host,
        "sshd-refused",
        SUBJECT,
        format!("sshd refuses hostward's settings: {}", ran.said()),
        "report this as a defect of hostward, with the version of sshd; `[sshd] manage = false` keeps hostward from trying",
    ))
}

fn broken(ran: &Ran) -> Finding {
    finding(
        Responsible::Operator,
        "sshd-config-broken",
        SUBJECT,
        format!(
            "sshd's configuration has an error that is not hostward's, so it was left as it is. sshd says: {}",
            ran.said()
        ),
        "correct the line that sshd names (`sshd -t` shows it again); the next pass goes on by itself",
    )
}

fn test(root: &Root, config: &Path) -> Result<Ran, Finding> {
    sshd(root, &["-t", "-f", &config.to_string_lossy()])
}

fn sshd(root: &Root, arguments: &[&str]) -> Result<Ran, Finding> {
    // sshd refuses even to test without it, and it exists only while sshd runs.
    let _ = std::fs::create_dir(root.path("/run/sshd"));
    run(&root.path("/usr/sbin/sshd"), arguments, QUICK).map_err(|error| host("sshd-failed", SUBJECT, &error))
}
