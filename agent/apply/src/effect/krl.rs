//! Compiles the key revocation list with ssh-keygen(1), and looks at the result before it takes effect: sshd refuses
//! every managed user while the file cannot be read.

use std::path::Path;

use hostward_plan::desired::KrlSpec;
use hostward_plan::facts::ManagedFile;
use hostward_protocol::report::{Finding, Responsible};

use super::{Setting, file, write_failed};
use crate::command::{QUICK, run};
use crate::durable::{self, Attributes};
use crate::finding::{finding, host};
use crate::root::RUN;

const SUBJECT: &str = "key revocation list";

/// Compiles and replaces it. Answers with its content.
pub fn install(setting: &Setting<'_>, spec: &KrlSpec, user_ca: &str) -> Result<Vec<u8>, Finding> {
    let content = if spec.is_empty() { Vec::new() } else { compile(setting, spec, user_ca)? };
    let krl = ManagedFile::Krl;
    file::make_directory(setting.root, krl)
        .and_then(|()| {
            let path = setting.root.path(krl.path());
            durable::replace(&path, &content, Attributes::root(krl.mode()))
        })
        .map_err(|error| write_failed(krl.path(), &error))?;
    Ok(content)
}

fn compile(setting: &Setting<'_>, spec: &KrlSpec, user_ca: &str) -> Result<Vec<u8>, Finding> {
    let io = |error: std::io::Error| host("krl-not-compiled", SUBJECT, &error);
    let scratch = tempfile::Builder::new().prefix(".krl-").tempdir_in(setting.root.path(RUN)).map_err(io)?;
    let at = |name: &str| scratch.path().join(name);
    let krl = at("krl");
    let version = setting.now.timestamp().max(1).to_string();
    let mut compiled = false;
    if !spec.keys.is_empty() {
        std::fs::write(at("keys"), &spec.keys).map_err(io)?;
        keygen(setting, &["-k", "-f", text(&krl), "-z", &version, text(&at("keys"))])?;
        compiled = true;
    }
    if !spec.per_ca.is_empty() {
        std::fs::write(at("spec"), &spec.per_ca).map_err(io)?;
        for ca in user_ca.lines().filter(|line| !line.trim().is_empty()) {
            std::fs::write(at("ca.pub"), format!("{ca}\n")).map_err(io)?;
            let (ca, spec) = (at("ca.pub"), at("spec"));
            let mut arguments = vec!["-k", "-f", text(&krl), "-z", &version, "-s", text(&ca)];
            if compiled {
                arguments.push("-u");
            }
            arguments.push(text(&spec));
            keygen(setting, &arguments)?;
            compiled = true;
        }
    }
    if !compiled {
        // Serials and key ids are revoked of a CA; without one there is nobody whose certificates they could be.
        return Ok(Vec::new());
    }
    keygen(setting, &["-Q", "-l", "-f", text(&krl)])?;
    std::fs::read(&krl).map_err(io)
}

fn keygen(setting: &Setting<'_>, arguments: &[&str]) -> Result<(), Finding> {
    let failed = |message: String| {
        finding(
            Responsible::Backend,
            "krl-not-compiled",
            SUBJECT,
            message,
            "correct `revoked` and `user_cas` in `ssh.json`; the revocations that were in force stay so",
        )
    };
    let ran = run(&setting.root.path("/usr/bin/ssh-keygen"), arguments, QUICK)
        .map_err(|error| host("krl-not-compiled", SUBJECT, &error))?;
    if ran.success { Ok(()) } else { Err(failed(ran.said())) }
}

/// Scratch paths are ours, and text.
fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
