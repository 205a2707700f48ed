//! Compiles the key revocation list with ssh-keygen(1), and looks at the result before it takes effect: sshd refuses
//! every managed user while the file cannot be read.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use hostward_plan::desired::KrlSpec;
use hostward_plan::facts::ManagedFile;
use hostward_protocol::report::{Finding, Responsible};

use super::{Setting, file, write_failed};
use crate::command::{QUICK, Ran, run};
use crate::durable::{self, Attributes};
use crate::finding::{finding, host};
use crate::root::RUN;

const SUBJECT: &str = "key revocation list";

/// What ssh-keygen ends with when it does not take what it was given. A signal is no verdict.
const REFUSED: i32 = 255;

/// How often ssh-keygen is started at most to find what it does not take: some hundred entries among thousands.
const MAX_RUNS: usize = 2000;

/// How many entries that were left out are named one by one.
const MAX_NAMED: usize = 20;

/// A list as it was installed.
#[derive(Debug)]
pub struct Installed {
    /// Its bytes.
    pub content: Vec<u8>,
    /// What ssh-keygen did not take, so that it is not in force.
    pub left_out: Vec<Finding>,
}

/// Compiles and replaces it. An entry that ssh-keygen of this host does not take must not keep the others from being
/// in force.
pub fn install(setting: &Setting<'_>, spec: &KrlSpec, user_ca: &str) -> Result<Installed, Finding> {
    let cas: Vec<&str> = user_ca.lines().filter(|line| !line.trim().is_empty()).collect();
    // Serials and key ids are revoked of a CA; without one there is nobody whose certificates they could be.
    let is_empty = spec.keys.is_empty() && (spec.per_ca.is_empty() || cas.is_empty());
    let installed = if is_empty {
        Installed { content: Vec::new(), left_out: Vec::new() }
    } else {
        let io = |error: std::io::Error| host("krl-not-compiled", SUBJECT, &error);
        let scratch =
            tempfile::Builder::new().prefix(".krl-").tempdir_in(setting.root.path(RUN)).map_err(io)?;
        Compiler::new(setting, scratch.path()).compile(spec, &cas)?
    };
    let krl = ManagedFile::Krl;
    file::make_directory(setting.root, krl)
        .and_then(|()| {
            let path = setting.root.path(krl.path());
            durable::replace(&path, &installed.content, Attributes::root(krl.mode()))
        })
        .map_err(|error| write_failed(krl.path(), &error))?;
    Ok(installed)
}

struct Compiler<'a> {
    setting: &'a Setting<'a>,
    krl: PathBuf,
    entries: PathBuf,
    ca: PathBuf,
    scratch: PathBuf,
    runs: Cell<usize>,
    left_out: Vec<(String, String)>,
}

impl<'a> Compiler<'a> {
    fn new(setting: &'a Setting<'a>, scratch: &Path) -> Compiler<'a> {
        Compiler {
            setting,
            krl: scratch.join("krl"),
            entries: scratch.join("entries"),
            ca: scratch.join("ca.pub"),
            scratch: scratch.into(),
            runs: Cell::new(0),
            left_out: Vec::new(),
        }
    }

    fn compile(mut self, spec: &KrlSpec, cas: &[&str]) -> Result<Installed, Finding> {
        let io = |error: std::io::Error| host("krl-not-compiled", SUBJECT, &error);
        let version = self.setting.now.timestamp().max(1).to_string();
        // An empty list: from here on everything is an addition, and one that fails leaves what was there.
        std::fs::write(&self.entries, "").map_err(io)?;
        let ran = self.keygen(&["-k", "-f", text(&self.krl), "-z", &version, text(&self.entries)])?;
        if !ran.success {
            return Err(self.failed(&ran));
        }
        self.add(None, &spec.keys.lines().collect::<Vec<_>>())?;
        let per_ca: Vec<&str> = spec.per_ca.lines().collect();
        for ca in cas.iter().filter(|_| !per_ca.is_empty()) {
            std::fs::write(&self.ca, format!("{ca}\n")).map_err(io)?;
            let ran = self.update(Some(ca), &[])?;
            if ran.success {
                self.add(Some(ca), &per_ca)?;
            } else {
                self.leave_out(format!("everything that is revoked of the user CA `{}`", shown(ca)), &ran)?;
            }
        }
        let ran = self.keygen(&["-Q", "-l", "-f", text(&self.krl)])?;
        if !ran.success {
            return Err(self.failed(&ran));
        }
        let content = std::fs::read(&self.krl).map_err(io)?;
        Ok(Installed { content, left_out: self.findings() })
    }

    /// Adds entries; where they fail together, by halves, down to the one that fails alone.
    fn add(&mut self, ca: Option<&str>, entries: &[&str]) -> Result<(), Finding> {
        let mut parts = vec![entries];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            let ran = self.update(ca, part)?;
            match part {
                _ if ran.success => {}
                [one] => self.leave_out(format!("`{}`", shown(one)), &ran)?,
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(())
    }

    fn update(&self, ca: Option<&str>, entries: &[&str]) -> Result<Ran, Finding> {
        let io = |error: std::io::Error| host("krl-not-compiled", SUBJECT, &error);
        let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        std::fs::write(&self.entries, lines).map_err(io)?;
        let mut arguments = vec!["-k", "-u", "-f", text(&self.krl)];
        if ca.is_some() {
            arguments.extend(["-s", text(&self.ca)]);
        }
        arguments.push(text(&self.entries));
        self.keygen(&arguments)
    }

    /// Leaves an entry out, where it is the entry that ssh-keygen fails on, and not memory or space.
    fn leave_out(&mut self, what: String, ran: &Ran) -> Result<(), Finding> {
        let control = self.update(None, &[])?;
        if ran.code != Some(REFUSED) || !control.success {
            return Err(self.failed(ran));
        }
        self.left_out.push((what, self.said(ran)));
        Ok(())
    }

    fn findings(&self) -> Vec<Finding> {
        let not_in_force = |what: String, said: &str| {
            finding(
                Responsible::Backend,
                "revocation-not-compiled",
                SUBJECT,
                format!(
                    "ssh-keygen of this host does not take {what}: THIS REVOCATION IS NOT IN FORCE on this host. It says: {said}"
                ),
                "take it out of `revoked` and `user_cas` in `ssh.json`, and revoke the same certificate by its serial, its key id or its public key",
            )
        };
        let named = self.left_out.iter().take(MAX_NAMED);
        let mut findings: Vec<Finding> = named.map(|(what, said)| not_in_force(what.clone(), said)).collect();
        if let Some((_, said)) = self.left_out.get(MAX_NAMED) {
            let rest = self.left_out.len() - MAX_NAMED;
            findings.push(not_in_force(format!("{rest} more"), said));
        }
        findings
    }

    fn keygen(&self, arguments: &[&str]) -> Result<Ran, Finding> {
        self.runs.set(self.runs.get() + 1);
        if self.runs.get() > MAX_RUNS {
            return Err(not_compiled(format!(
                "more than {} revocations are of a kind that ssh-keygen of this host does not take",
                self.left_out.len()
            )));
        }
        run(&self.setting.root.path("/usr/bin/ssh-keygen"), arguments, QUICK)
            .map_err(|error| host("krl-not-compiled", SUBJECT, &error))
    }

    fn failed(&self, ran: &Ran) -> Finding {
        not_compiled(self.said(ran))
    }

    /// Without the scratch directory, whose name is another each time.
    fn said(&self, ran: &Ran) -> String {
        ran.said().replace(&format!("{}/", self.scratch.display()), "")
    }
}

fn not_compiled(message: String) -> Finding {
    finding(
        Responsible::Backend,
        "krl-not-compiled",
        SUBJECT,
        message,
        "correct `revoked` and `user_cas` in `ssh.json`; the revocations that were in force stay so",
    )
}

/// An entry, short enough to be read.
fn shown(entry: &str) -> String {
    match entry.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", entry.get(..end).unwrap_or_default()),
        None => entry.to_owned(),
    }
}

/// Scratch paths are ours, and text.
fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
