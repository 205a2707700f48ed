//! `/etc/sudoers.d/hostward`: checked by every visudo before it takes effect and after, rolled back on failure.
//!
//! One broken file spoils sudo for everybody. So whose fault a failure is counts: what was broken before without our
//! file is the operator's and stops nothing; what breaks with our file keeps our file out, or takes it out.

mod combined;

use std::path::{Path, PathBuf};

use hostward_plan::facts::ManagedFile;
use hostward_protocol::report::{Finding, Responsible};

use super::{Done, write_failed};
use crate::command::{QUICK, Ran, run};
use crate::durable::{self, Attributes, Staged};
use crate::finding::{finding, host};
use crate::observe;
use crate::root::Root;
use combined::{Combined, Verdict};

const FILE: ManagedFile = ManagedFile::Sudoers;

/// Replaces it.
pub fn install(root: &Root, content: &[u8]) -> Result<Done, Finding> {
    let path = root.path(FILE.path());
    let programs = visudos(root);
    if programs.is_empty() {
        return Err(finding(
            Responsible::Operator,
            "visudo-missing",
            "sudo",
            "no visudo is installed, so no sudo rule can be checked",
            "install sudo, or set `[sudo] manage = false` in `/etc/hostward/hostward.toml`",
        ));
    }
    let before = std::fs::read(&path).ok();
    let staged = Staged::new(&path, content, Attributes::root(FILE.mode()))
        .map_err(|error| write_failed(FILE.path(), &error))?;
    let mut warnings = Vec::new();
    for program in &programs {
        let ran = visudo(program, &["-c", "-f", &staged.path().to_string_lossy()])?;
        if !ran.success {
            return Err(refused(&ran));
        }
        match combined::judge(root, program, Combined::With(staged.path()))? {
            Verdict::Sound => {}
            Verdict::BrokenBefore(said) => warnings.push(foreign(&said)),
            Verdict::Clash(said) => return Err(clash(root, program, &said)?),
        }
    }
    staged.commit().map_err(|error| write_failed(FILE.path(), &error))?;
    for program in &programs {
        let after = visudo(program, &["-c"])?;
        if !after.success && worse_with_ours(root, program, &after, before.as_deref(), content)? {
            return Err(clash_after(&after));
        }
    }
    warnings.dedup();
    Ok(Done { warnings, ..Done::default() })
}

/// `visudo -c` failed with our new file in place: rolls back, and puts it in again where that changed nothing.
fn worse_with_ours(
    root: &Root,
    program: &Path,
    with: &Ran,
    before: Option<&[u8]>,
    content: &[u8],
) -> Result<bool, Finding> {
    let path = root.path(FILE.path());
    let put = |content: &[u8]| durable::replace(&path, content, Attributes::root(FILE.mode()));
    let back = match before {
        Some(before) => put(before),
        None => durable::remove(&path),
    };
    back.map_err(|error| write_failed(FILE.path(), &error))?;
    let without = visudo(program, &["-c"])?;
    if combined::says_more(with, &without) {
        return Ok(true);
    }
    put(content).map_err(|error| write_failed(FILE.path(), &error))?;
    Ok(false)
}

/// What there is to say of sudo's configuration as it is. Where our file spoils it together with another one that
/// came later, ours goes, so that sudo works for everybody else.
pub fn look(root: &Root) -> Vec<Finding> {
    let path = root.path(FILE.path());
    if !path.is_file() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for program in &visudos(root) {
        let judged = visudo(program, &["-c"]).and_then(|ran| {
            if ran.success {
                return Ok(Verdict::Sound);
            }
            combined::judge(root, program, Combined::With(path.clone()))
        });
        match judged {
            Ok(Verdict::Sound) => {}
            Ok(Verdict::BrokenBefore(said)) => findings.push(foreign(&said)),
            Ok(Verdict::Clash(said)) => match clash(root, program, &said) {
                Ok(finding) | Err(finding) => findings.push(finding),
            },
            Err(finding) => findings.push(finding),
        }
    }
    findings.dedup();
    findings
}

/// A clash with another file. If the rules that are in place clash as well, they are taken out.
fn clash(root: &Root, program: &Path, said: &str) -> Result<Finding, Finding> {
    let path = root.path(FILE.path());
    let mut consequence = "sudo works as before";
    if path.is_file()
        && let Verdict::Clash(_) = combined::judge(root, program, Combined::With(path.clone()))?
    {
        durable::remove(&path).map_err(|error| write_failed(FILE.path(), &error))?;
        consequence = "hostward's rules were taken out so that sudo works for everybody else";
    }
    Ok(finding(
        Responsible::Operator,
        "sudoers-clash",
        "`/etc/sudoers.d/hostward`",
        format!("another sudoers file clashes with hostward's; {consequence}. visudo says: {said}"),
        "look for a file in `/etc/sudoers.d` or a line in `/etc/sudoers` that defines an alias beginning with HOSTWARD_ and rename the alias; then `hostward apply`",
    ))
}

fn clash_after(ran: &Ran) -> Finding {
    finding(
        Responsible::Operator,
        "sudoers-clash",
        "`/etc/sudoers.d/hostward`",
        format!(
            "with hostward's rules in place visudo reports an error; they were rolled back. visudo says: {}",
            ran.said()
        ),
        "look for what visudo names in `/etc/sudoers` and `/etc/sudoers.d`; then `hostward apply`",
    )
}

fn foreign(said: &str) -> Finding {
    finding(
        Responsible::Operator,
        "sudoers-foreign-error",
        "sudo",
        format!("a sudoers file that is not hostward's is broken. visudo says: {said}"),
        "correct the file that visudo names with `visudo -f FILE`",
    )
}

fn refused(ran: &Ran) -> Finding {
    finding(
        Responsible::Backend,
        "sudoers-refused",
        "`/etc/sudoers.d/hostward`",
        format!("visudo refuses the rules that the policy makes: {}", ran.said()),
        "find the entitlement that the message names and change it; report it as a defect of hostward, which should have refused the entry by itself",
    )
}

fn visudos(root: &Root) -> Vec<PathBuf> {
    observe::visudos(root).into_iter().map(|(path, _)| path).collect()
}

fn visudo(program: &Path, arguments: &[&str]) -> Result<Ran, Finding> {
    run(program, arguments, QUICK).map_err(|error| host("visudo-failed", "sudo", &error))
}

fn scratch(root: &Root, text: &str) -> Result<(tempfile::TempDir, PathBuf), Finding> {
    let io = |error: std::io::Error| host("visudo-failed", "sudo", &error);
    let directory =
        tempfile::Builder::new().prefix(".sudoers-").tempdir_in(root.path(crate::root::RUN)).map_err(io)?;
    let path = directory.path().join("sudoers");
    std::fs::write(&path, text).map_err(io)?;
    Ok((directory, path))
}
