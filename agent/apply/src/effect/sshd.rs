//! sshd's drop-in and the block in its main file: checked by sshd before they take effect and after, rolled back on
//! failure. An error that was there before is the operator's, and nothing is touched then.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hostward_plan::facts::ManagedFile;
use hostward_plan::sshd::{ineffective, with_block, without_block};
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
    let before = match std::fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => {
            let content = std::fs::read(&path).map_err(|error| host("sshd-unreadable", SUBJECT, &error))?;
            Some((content, attributes(&metadata)))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(host("sshd-unreadable", SUBJECT, &error));
        }
        // None, or what never was a drop-in of hostward's.
        _ => None,
    };
    Change { path, name: file.path(), before, after: content.into() }.make(root, staged)
}

/// Replaces the main file, which keeps its owner and mode. It is the operator's: one that is not plainly what the
/// plan was made from is left alone.
pub fn edit_main(root: &Root, content: &str) -> Result<Change, Finding> {
    let path = root.path(SSHD_CONFIG);
    let unreadable = |error: io::Error| host("sshd-unreadable", SUBJECT, &error);
    let metadata = std::fs::symlink_metadata(&path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(by_hand("is not a regular file"));
    }
    let before = std::fs::read(&path).map_err(unreadable)?;
    let Ok(main) = std::str::from_utf8(&before) else {
        return Err(by_hand("is not UTF-8"));
    };
    if content != with_block(main) && content != without_block(main) {
        return Err(edited_meanwhile());
    }
    let staged = Staged::new(&path, content.as_bytes(), attributes(&metadata))
        .map_err(|error| write_failed(SSHD_CONFIG, &error))?;
    check_candidate(root, content.as_bytes())?;
    let before = Some((before, attributes(&metadata)));
    Change { path, name: SSHD_CONFIG, before, after: content.into() }.make(root, staged)
}

fn by_hand(why: &str) -> Finding {
    finding(
        Responsible::Operator,
        "sshd-main-not-edited",
        SUBJECT,
        format!(
            "`{SSHD_CONFIG}` {why}, so hostward does not edit it, and sshd does not do what hostward wants"
        ),
        "put the line `Include /etc/ssh/sshd_config.d/*.conf` at its start by hand, and take out lines of hostward's if there are any; or make it a regular file in UTF-8",
    )
}

fn edited_meanwhile() -> Finding {
    finding(
        Responsible::Host,
        "sshd-main-edited-meanwhile",
        SUBJECT,
        format!(
            "`{SSHD_CONFIG}` was changed by somebody else at the same moment and is left as they made it"
        ),
        "the next pass goes by what it holds then",
    )
}

/// A change of sshd's configuration that can be undone.
#[derive(Debug)]
pub struct Change {
    path: PathBuf,
    name: &'static str,
    before: Option<(Vec<u8>, Attributes)>,
    after: Vec<u8>,
}

impl Change {
    fn make(self, root: &Root, staged: Staged) -> Result<Change, Finding> {
        if let Some((before, _)) = &self.before {
            self.expect(before)?;
        }
        staged.commit().map_err(|error| write_failed(self.name, &error))?;
        match test(root, &root.path(SSHD_CONFIG)) {
            Ok(ran) if ran.success => Ok(self),
            Ok(ran) => {
                self.undo()?;
                Err(broken(&ran))
            }
            Err(finding) => {
                self.undo()?;
                Err(finding)
            }
        }
    }

    /// Fails where the main file holds anything else: checking took its time, and an operator may be at work on it.
    fn expect(&self, content: &[u8]) -> Result<(), Finding> {
        if self.name != SSHD_CONFIG {
            return Ok(());
        }
        let is_file = std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_file());
        let present = std::fs::read(&self.path).map_err(|error| host("sshd-unreadable", SUBJECT, &error))?;
        if is_file && present == content { Ok(()) } else { Err(edited_meanwhile()) }
    }

    /// The file's path on a host.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Puts back what was there before.
    pub fn undo(&self) -> Result<(), Finding> {
        self.expect(&self.after)?;
        match &self.before {
            Some((content, attributes)) => durable::replace(&self.path, content, *attributes),
            // Never the main file, which always has a before.
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
    let missing = ineffective(&ran.stdout, &setting.sshd);
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
    let io = |error: io::Error| host("sshd-failed", SUBJECT, &error);
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
    make_separation_directory(root);
    run(&root.path("/usr/sbin/sshd"), arguments, QUICK).map_err(|error| host("sshd-failed", SUBJECT, &error))
}

/// sshd refuses even to test without this directory, and it exists only while sshd runs. Our unit has one of its own; that
/// is gone too once ssh.service has stopped, and only systemd can make another from here.
fn make_separation_directory(root: &Root) {
    const DIRECTORY: &str = "/run/sshd";
    let _ = std::fs::create_dir(root.path(DIRECTORY));
    if root.path(DIRECTORY).is_dir() {
        return;
    }
    let arguments = [
        "--quiet",
        "--collect",
        "--property=Type=oneshot",
        "--property=RuntimeDirectory=sshd",
        "--property=RuntimeDirectoryMode=0755",
        "--property=RuntimeDirectoryPreserve=yes",
        "/bin/true",
    ];
    // Where it fails, sshd says what it misses.
    match run(&root.path("/usr/bin/systemd-run"), arguments, QUICK) {
        Ok(ran) if ran.success => {}
        Ok(ran) => log::warn!("cannot have `{DIRECTORY}` made: {}", ran.said()),
        Err(error) => log::warn!("cannot have `{DIRECTORY}` made: {error}"),
    }
}
