//! sudo's whole configuration with a candidate for our file, checked before the candidate is in force.
//!
//! `visudo -cf FILE` does not see that two files define one alias. So the main file is copied with its include
//! directory written out file by file, ours left out or replaced.

use std::path::{Path, PathBuf};

use hostward_plan::facts::ManagedFile;
use hostward_protocol::report::Finding;

use super::{scratch, visudo};
use crate::command::Ran;
use crate::root::Root;

/// Which file stands for ours.
#[derive(Clone, Debug)]
pub enum Combined {
    /// This one.
    With(PathBuf),
    /// None.
    Without,
}

/// What visudo says of the whole.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nothing.
    Sound,
    /// It is broken, with our file no more than without; what visudo says.
    BrokenBefore(String),
    /// It breaks, or breaks more, with our file; what visudo says.
    Clash(String),
}

/// Judges the configuration with a candidate.
pub fn judge(root: &Root, program: &Path, candidate: Combined) -> Result<Verdict, Finding> {
    let with = check(root, program, &candidate)?;
    if with.success {
        return Ok(Verdict::Sound);
    }
    let without = check(root, program, &Combined::Without)?;
    if without.success || says_more(&with, &without) {
        Ok(Verdict::Clash(with.said()))
    } else {
        Ok(Verdict::BrokenBefore(without.said()))
    }
}

/// Whether `with` complains of something that `without` does not.
pub fn says_more(with: &Ran, without: &Ran) -> bool {
    if without.success {
        return !with.success;
    }
    let known: Vec<String> = complaints(without);
    complaints(with).iter().any(|line| !known.contains(line))
}

/// What was said, without names of scratch directories, and without praise.
fn complaints(ran: &Ran) -> Vec<String> {
    let said = format!("{}\n{}", ran.stderr, ran.stdout);
    said.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.ends_with("parsed OK"))
        .map(|line| {
            let words = line.split(' ').map(|word| if word.contains("/.sudoers-") { "MAIN" } else { word });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

fn check(root: &Root, program: &Path, candidate: &Combined) -> Result<Ran, Finding> {
    let (_directory, path) = scratch(root, &whole(root, program, candidate))?;
    visudo(program, &["-c", "-f", &path.to_string_lossy()])
}

/// The main file with our directory's files written out.
fn whole(root: &Root, program: &Path, candidate: &Combined) -> String {
    let main = main_file(root, program);
    let text = std::fs::read(main).unwrap_or_default();
    let directory = root.path("/etc/sudoers.d");
    let mut whole = String::new();
    let mut written_out = false;
    for line in String::from_utf8_lossy(&text).lines() {
        if included_directory(line).is_some_and(|included| Path::new(included) == directory) {
            written_out = true;
            for file in files(&directory, candidate) {
                whole.push_str(&format!("#include {}\n", file.display()));
            }
        } else {
            whole.push_str(line);
            whole.push('\n');
        }
    }
    if !written_out && let Combined::With(path) = candidate {
        // Not included now, but some day it may be.
        whole.push_str(&format!("#include {}\n", path.display()));
    }
    whole
}

fn main_file(root: &Root, program: &Path) -> PathBuf {
    let own = root.path("/etc/sudoers-rs");
    if program.to_string_lossy().contains("-rs") && own.is_file() { own } else { root.path("/etc/sudoers") }
}

fn included_directory(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = line.strip_prefix("@includedir").or_else(|| line.strip_prefix("#includedir"))?;
    let path = rest.strip_prefix([' ', '\t'])?.trim().trim_matches('"');
    Some(path.trim_end_matches('/'))
}

/// The files that sudo would read, in its order, with the candidate in the place of ours.
fn files(directory: &Path, candidate: &Combined) -> Vec<PathBuf> {
    let ours = Path::new(ManagedFile::Sudoers.path()).file_name().unwrap_or_default();
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name())
        .filter(|name| name != ours)
        .filter(|name| {
            let name = name.to_string_lossy();
            !name.contains('.') && !name.ends_with('~')
        })
        .collect();
    if let Combined::With(_) = candidate {
        names.push(ours.to_owned());
    }
    names.sort();
    names
        .into_iter()
        .map(|name| match candidate {
            Combined::With(path) if name == ours => path.clone(),
            _ => directory.join(name),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(success: bool, stderr: &str) -> Ran {
        Ran { success, code: Some(1), stdout: "/etc/sudoers: parsed OK\n".into(), stderr: stderr.into() }
    }

    #[test]
    fn both_forms_of_includedir_are_known() {
        assert_eq!(included_directory("@includedir /etc/sudoers.d"), Some("/etc/sudoers.d"));
        assert_eq!(included_directory("#includedir\t/etc/sudoers.d/ "), Some("/etc/sudoers.d"));
        assert_eq!(included_directory("# includedir /etc/sudoers.d"), None);
        assert_eq!(included_directory("#includedirs /etc"), None);
        assert_eq!(included_directory("root ALL=(ALL) ALL"), None);
    }

    #[test]
    fn only_new_complaints_are_ours() {
        let foreign = "/run/hostward/.sudoers-a1/sudoers: /etc/sudoers.d/x:1:5: syntax error";
        let elsewhere = "/run/hostward/.sudoers-b2/sudoers: /etc/sudoers.d/x:1:5: syntax error";
        assert!(!says_more(&ran(false, foreign), &ran(false, elsewhere)));
        let more = format!("{foreign}\n.hostward.new:2: Alias \"X\" already defined");
        assert!(says_more(&ran(false, &more), &ran(false, elsewhere)));
        assert!(says_more(&ran(false, foreign), &ran(true, "")));
        assert!(!says_more(&ran(true, ""), &ran(true, "")));
    }
}
