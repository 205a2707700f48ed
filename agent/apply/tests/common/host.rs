//! A directory that looks like a host's root: account files, an inbox, and programs that stand in for the host's.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hostward_accounts::User;
use hostward_apply::Root;
use hostward_apply::engine::Engine;
use hostward_protocol::local::{ApplyReply, ApplyRequest};
use hostward_protocol::report::{Cause, Finding, Outcome, Report};

use super::policy::PROJECT;
use super::repository::{self, Repository};

/// The agent's uid; nobody's on the machine that runs the tests.
pub const AGENT: u32 = 1_950_009_000;

/// Short, so that tests do not wait; long enough to start something before it.
const SECOND_LOOK: Duration = Duration::from_millis(300);

pub struct Host {
    pub directory: tempfile::TempDir,
    pub engine: Arc<Engine>,
}

impl Host {
    /// A host with sudo and sshd, believing in `repository` by its configuration.
    pub fn of(repository: &Repository) -> Host {
        let host = Host::unconfigured();
        host.pin(repository, 1);
        host
    }

    /// The same with an inbox that holds the repository, applied once.
    pub fn applied(repository: &Repository) -> Host {
        let host = Host::of(repository);
        host.offer(repository);
        let report = host.admit();
        assert!(report.is_whole(), "{report:#?}");
        host
    }

    pub fn unconfigured() -> Host {
        assert!(rustix::process::geteuid().is_root(), "these tests change owners: run them as root");
        let directory = tempfile::tempdir().unwrap();
        furnish(directory.path());
        let engine = Engine::open(Root::below(directory.path()), SECOND_LOOK).unwrap();
        Host { directory, engine }
    }

    /// A directory that another process opens.
    pub fn furnished() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        furnish(directory.path());
        directory
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    pub fn root(&self) -> Root {
        Root::below(self.directory.path())
    }

    pub fn configure(&self, text: &str) {
        std::fs::write(self.path("/etc/hostward/hostward.toml"), text).unwrap();
    }

    /// Pins a root by the configuration.
    pub fn pin(&self, repository: &Repository, version: u64) {
        self.configure(&configuration(repository, version));
    }

    /// Puts all files of the repository's present version into the inbox.
    pub fn offer(&self, repository: &Repository) {
        self.put(&repository.files());
    }

    pub fn put(&self, files: &BTreeMap<String, Vec<u8>>) {
        repository::write(&self.inbox(), files, AGENT);
    }

    pub fn inbox(&self) -> PathBuf {
        self.path("/var/lib/hostward-agent/inbox")
    }

    pub fn empty_inbox(&self) {
        for entry in std::fs::read_dir(self.inbox()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) }.unwrap();
        }
    }

    pub fn admit(&self) -> Report {
        self.admit_at(Utc::now())
    }

    pub fn admit_at(&self, now: DateTime<Utc>) -> Report {
        report(self.ask_at(&ApplyRequest::Admit, now))
    }

    pub fn apply_at(&self, now: DateTime<Utc>) -> Report {
        report(self.ask_at(&ApplyRequest::Apply { cause: Cause::Timer }, now))
    }

    pub fn apply(&self) -> Report {
        self.apply_at(Utc::now())
    }

    pub fn ask(&self, request: &ApplyRequest) -> ApplyReply {
        self.ask_at(request, Utc::now())
    }

    pub fn ask_at(&self, request: &ApplyRequest, now: DateTime<Utc>) -> ApplyReply {
        self.engine.answer(request, now)
    }

    /// Admits, and expects a refusal with this code that leaves what was in force.
    pub fn refuses(&self, code: &str) -> Finding {
        let before = self.names();
        let report = self.admit();
        let finding = report.admission.unwrap_or_else(|| panic!("admitted, not refused as {code}"));
        assert_eq!(finding.code, code, "{finding:#?}");
        assert!(!finding.mend.is_empty() && !finding.message.is_empty(), "{finding:#?}");
        assert_eq!(self.names(), before, "the last good state stays in force");
        let status: serde_json::Value =
            serde_json::from_slice(&std::fs::read(self.path("/var/lib/hostward/status.json")).unwrap())
                .unwrap();
        assert_eq!(status["admission"]["code"], code, "status says so");
        finding
    }

    pub fn users(&self) -> Vec<User> {
        match std::fs::read(self.path("/var/lib/misc/hostward.db")) {
            Ok(bytes) => hostward_accounts::decode_all(&bytes).unwrap().0,
            Err(_) => Vec::new(),
        }
    }

    /// Names of the users that are served.
    pub fn names(&self) -> Vec<String> {
        self.users().into_iter().map(|user| user.name).collect()
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// What was asked of systemd and logind.
    pub fn bus_calls(&self) -> String {
        self.read("/calls")
    }
}

pub fn configuration(repository: &Repository, version: u64) -> String {
    format!(
        "[trust]\nproject = \"{PROJECT}\"\nroot_sha256 = \"{}\"\nroot_version = {version}\n",
        repository.sha256_of_root(version)
    )
}

pub fn report(reply: ApplyReply) -> Report {
    match reply {
        ApplyReply::Report(report) => *report,
        other => panic!("no report: {other:?}"),
    }
}

/// Codes of the steps that failed.
pub fn failures(report: &Report) -> Vec<&str> {
    report
        .steps
        .iter()
        .filter_map(|step| match &step.outcome {
            Outcome::Failed(finding) => Some(finding.code.as_str()),
            _ => None,
        })
        .collect()
}

pub fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

pub fn furnish(directory: &Path) {
    let at = |path: &str| directory.join(path.trim_start_matches('/'));
    for path in [
        "/etc/hostward",
        "/etc/sudoers.d",
        "/etc/ssh/sshd_config.d",
        "/home",
        "/run/hostward",
        "/usr/bin",
        "/usr/sbin",
        "/bin",
        "/var/lib/hostward-agent/inbox",
        "/var/lib/hostward/private",
        "/var/lib/misc",
    ] {
        std::fs::create_dir_all(at(path)).unwrap();
    }
    for path in ["/var/lib/hostward-agent", "/var/lib/hostward-agent/inbox"] {
        chown(at(path), Some(AGENT), Some(AGENT)).unwrap();
    }
    std::fs::set_permissions(at("/var/lib/hostward/private"), std::fs::Permissions::from_mode(0o700))
        .unwrap();
    let write = |path: &str, text: &str| std::fs::write(at(path), text).unwrap();
    write("/etc/passwd", &format!("root:x:0:0:root:/root:/bin/bash\nhostward:x:{AGENT}:{AGENT}::/:/x\n"));
    write("/etc/group", &format!("root:x:0:\nsudo:x:27:\nhostward:x:{AGENT}:\nhostward-users:x:901:\n"));
    write("/etc/nsswitch.conf", "passwd: files hostward\ngroup: files hostward\nshadow: files hostward\n");
    write("/etc/shells", "/bin/bash\n");
    write(
        "/etc/sudoers",
        &format!("root ALL=(ALL:ALL) ALL\n@includedir {}\n", at("/etc/sudoers.d").display()),
    );
    write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n");
    script(&at("/bin/bash"), "exit 0");
    symlink("/proc", at("/proc")).unwrap();
    for program in ["/usr/bin/ssh-keygen", "/bin/tar", "/bin/rm", "/usr/bin/du", "/usr/bin/prlimit"] {
        symlink(program, at(program)).unwrap();
    }
    let root = directory.display();
    // The real visudo, led to this root's main file where it would take the machine's.
    script(
        &at("/usr/sbin/visudo"),
        &format!(
            "[ \"$*\" = -c ] && exec /usr/sbin/visudo -c -f {root}/etc/sudoers\nexec /usr/sbin/visudo \"$@\""
        ),
    );
    script(&at("/usr/sbin/sshd"), &SSHD.replace("ROOT", &root.to_string()));
    for program in ["busctl", "systemd-run"] {
        script(&at("/usr/bin").join(program), &format!("echo {program} \"$@\" >> {root}/calls"));
    }
}

/// Refuses a configuration with a line `Broken`, and shows the drop-in's settings as in force, but for those that
/// `/etc/ssh/overridden` lists.
const SSHD: &str = r#"
mode=$1; config=$3
for file in "$config" ROOT/etc/ssh/sshd_config.d/*.conf $(sed -n 's/^Include \(.*\.new\)$/\1/p' "$config"); do
    if grep -q ^Broken "$file" 2>/dev/null; then echo "$file: line 1: Bad configuration option: Broken" >&2; exit 255; fi
done
[ "$mode" = -T ] || exit 0
while read -r keyword value; do
    case $keyword in '#'*|Match|'') continue;; esac
    grep -qix "$keyword" ROOT/etc/ssh/overridden 2>/dev/null && continue
    echo "$(echo "$keyword" | tr A-Z a-z) $value"
done < ROOT/etc/ssh/sshd_config.d/10-hostward.conf
"#;

/// Another process writes it: what another thread starts meanwhile would inherit the open file, and nobody can run what
/// somebody has open for writing.
pub fn script(path: &Path, text: &str) {
    let mut install = Command::new("install")
        .args(["--mode=755", "/dev/stdin"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    install.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{text}\n").as_bytes()).unwrap();
    assert!(install.wait().unwrap().success(), "`{}` cannot be written", path.display());
}
