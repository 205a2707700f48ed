//! What sshd's configuration is like, as far as a plan has to know it.

use std::path::Path;

use hostward_config::sshd_config::{global, includes_drop_ins};
use hostward_plan::facts::{ManagedFile, SshdFacts};

use crate::root::{Root, SSHD_CONFIG, SSHD_DROP_INS};

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
    let restricts_logins =
        restricts(&main) || (includes_directory && drop_ins(root).iter().any(|text| restricts(text)));
    Some(SshdFacts { main, includes_directory, restricts_logins })
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
    fn without_sshd_there_are_no_facts() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(facts(&Root::below(directory.path())), None);
    }
}
