//! What sshd's configuration is like, as far as a plan has to know it.

use std::collections::BTreeMap;
use std::path::Path;

use hostward_config::sshd_config::{global, includes_drop_ins};
use hostward_plan::facts::{HostKeyKind, ManagedFile, SshdFacts};

use crate::root::{Root, SSHD_CONFIG, SSHD_DROP_INS};

/// The largest file of a public key or certificate that is read, in bytes.
const MAX_KEY_FILE: u64 = 64 << 10;

/// The facts, where sshd is installed and has a main file.
pub fn facts(root: &Root) -> Option<SshdFacts> {
    if !root.path("/usr/sbin/sshd").is_file() {
        return None;
    }
    let main = std::fs::read(root.path(SSHD_CONFIG)).ok()?;
    let main = String::from_utf8_lossy(&main).into_owned();
    let includes_directory = global(&main).any(|(keyword, arguments)| {
        keyword == "include" && arguments.iter().any(|pattern| includes_drop_ins(pattern))
    });
    let drop_ins = if includes_directory { drop_ins(root) } else { Vec::new() };
    let texts = || std::iter::once(&main).chain(&drop_ins);
    Some(SshdFacts {
        restricts_logins: texts().any(|text| restricts(text)),
        host_keys: host_keys(root, &values(texts(), "hostkey")),
        operator_certificates: values(texts(), "hostcertificate")
            .iter()
            .filter_map(|path| first_line(root, path))
            .collect(),
        main,
        includes_directory,
    })
}

/// First arguments of a keyword, wherever it stands.
fn values<'a>(texts: impl Iterator<Item = &'a String>, keyword: &str) -> Vec<String> {
    let of_keyword = |(word, arguments): (String, Vec<String>)| {
        if word == keyword { arguments.into_iter().next() } else { None }
    };
    texts.flat_map(|text| global(text)).filter_map(of_keyword).collect()
}

/// The keys that sshd has by default; of those only the ones that are named, where some are.
fn host_keys(root: &Root, named: &[String]) -> BTreeMap<HostKeyKind, String> {
    HostKeyKind::ALL
        .into_iter()
        .filter(|kind| named.is_empty() || named.iter().any(|path| path == kind.key_path()))
        .filter_map(|kind| Some((kind, first_line(root, &format!("{}.pub", kind.key_path()))?)))
        .collect()
}

fn first_line(root: &Root, path: &str) -> Option<String> {
    let metadata = std::fs::metadata(root.path(path)).ok()?;
    let text = std::fs::read_to_string(root.path(path)).ok().filter(|_| metadata.len() <= MAX_KEY_FILE)?;
    text.lines().next().map(str::to_owned)
}

fn restricts(text: &str) -> bool {
    global(text).any(|(keyword, _)| keyword == "allowgroups" || keyword == "allowusers")
}

fn drop_ins(root: &Root) -> Vec<String> {
    let ours = Path::new(ManagedFile::SshdDropIn.path()).file_name();
    let Ok(entries) = std::fs::read_dir(root.path(SSHD_DROP_INS)) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| Some(entry.file_name().as_os_str()) != ours)
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.ends_with(".conf") && !name.starts_with('.')
        })
        .filter_map(|entry| std::fs::read(entry.path()).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(main: &str, drop_ins: &[(&str, &str)]) -> SshdFacts {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::below(directory.path());
        std::fs::create_dir_all(root.path(SSHD_DROP_INS)).expect("etc");
        std::fs::create_dir_all(root.path("/usr/sbin")).expect("usr");
        std::fs::write(root.path("/usr/sbin/sshd"), "").expect("sshd");
        std::fs::write(root.path(SSHD_CONFIG), main).expect("main");
        for (name, text) in drop_ins {
            std::fs::write(root.path(SSHD_DROP_INS).join(name), text).expect("a drop-in");
        }
        facts(&root).expect("sshd")
    }

    #[test]
    fn the_directory_is_included_globally_or_not_at_all() {
        for main in [
            "Include /etc/ssh/sshd_config.d/*.conf\n",
            "# first\n\tinclude = \"/etc/ssh/sshd_config.d/*.conf\"\n",
            "Port 22\nINCLUDE /etc/other sshd_config.d/*.conf # all\nMatch all\n",
        ] {
            assert!(observed(main, &[]).includes_directory, "{main}");
        }
        for main in [
            "",
            "#Include /etc/ssh/sshd_config.d/*.conf\n",
            "Match all\nInclude /etc/ssh/sshd_config.d/*.conf\n",
            "Include /etc/ssh/sshd_config.d/extra/*.conf\n",
        ] {
            assert!(!observed(main, &[]).includes_directory, "{main}");
        }
    }

    #[test]
    fn a_restriction_counts_where_it_is_global() {
        let include = "Include /etc/ssh/sshd_config.d/*.conf\n";
        assert!(observed("AllowGroups admins\n", &[]).restricts_logins);
        assert!(observed(include, &[("50-x.conf", "allowusers=root\n")]).restricts_logins);
        assert!(!observed(include, &[("50-x.conf", "Match User a\nAllowUsers a\n")]).restricts_logins);
        assert!(!observed(include, &[("10-hostward.conf", "AllowGroups x\n")]).restricts_logins);
        assert!(!observed(include, &[("50-x.conf.bak", "AllowGroups x\n")]).restricts_logins);
        assert!(!observed("Port 22\n", &[("50-x.conf", "AllowGroups x\n")]).restricts_logins);
    }

    #[test]
    fn host_keys_are_those_that_sshd_has() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::below(directory.path());
        std::fs::create_dir_all(root.path("/etc/ssh/sshd_config.d")).expect("etc");
        for (name, text) in [
            ("ssh_host_rsa_key.pub", "ssh-rsa B root@h\n"),
            ("ssh_host_ed25519_key.pub", "ssh-ed25519 A root@h\n"),
            ("own-cert.pub", "a certificate\n"),
        ] {
            std::fs::write(root.path("/etc/ssh").join(name), text).expect("a key");
        }
        let kinds = |named: &[&str]| {
            let named: Vec<String> = named.iter().map(|path| (*path).to_owned()).collect();
            host_keys(&root, &named).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(kinds(&[]), [HostKeyKind::Ed25519, HostKeyKind::Rsa]);
        assert_eq!(kinds(&["/etc/ssh/ssh_host_rsa_key", "/etc/ssh/other"]), [HostKeyKind::Rsa]);
        assert_eq!(kinds(&["/etc/ssh/ssh_host_ecdsa_key"]), []);
        let text = "hostcertificate=/etc/ssh/own-cert.pub\nMatch all\nHostCertificate /x\n".to_owned();
        assert_eq!(values([&text].into_iter(), "hostcertificate"), ["/etc/ssh/own-cert.pub"]);
        assert_eq!(first_line(&root, "/etc/ssh/own-cert.pub").as_deref(), Some("a certificate"));
        assert_eq!(first_line(&root, "/etc/ssh/none"), None);
    }

    #[test]
    fn without_sshd_there_are_no_facts() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(facts(&Root::below(directory.path())), None);
    }
}
