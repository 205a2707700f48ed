//! A host of the scenario's own: nothing in `/var/lib/misc` but what it puts there.

use std::fs;
use std::path::{Path, PathBuf};

use hostward_accounts::{Group, PATH, User, build, remove, replace};

use crate::calls;

pub struct Host {
    pub path: PathBuf,
}

impl Host {
    /// Leaves the machine's `/var/lib/misc` behind, points glibc at the module, and limits the time there is.
    pub fn enter() -> Self {
        calls::leave_the_machine();
        calls::configure_glibc();
        calls::end_after_seconds(120);
        let path = PathBuf::from(PATH.to_str().expect("UTF-8"));
        assert!(!path.exists(), "{} is not from this scenario", path.display());
        Self { path }
    }

    /// A database with `count` users (and the team) in force.
    pub fn serve(&self, count: u32, generation: u64) {
        let (users, groups) = people(count, generation);
        self.write(&build(&users, &groups, generation).expect("builds"));
    }

    pub fn write(&self, file: &[u8]) {
        replace(&self.path, file).expect("replaces");
    }

    /// Whatever the bytes are, in one rename.
    pub fn write_anything(&self, bytes: &[u8]) {
        let new = self.path.with_extension("new");
        fs::write(&new, bytes).expect("writes");
        fs::rename(new, &self.path).expect("renames");
    }

    pub fn remove(&self) {
        remove(&self.path).expect("removes");
    }
}

/// `count` users `user0`… with uid 100000…, their gecos the generation; `everyone` has them all, `alternate` every
/// other one. Each is in 990 too, which is no group of the database.
pub fn people(count: u32, generation: u64) -> (Vec<User>, Vec<Group>) {
    let user = |n: u32| User {
        name: format!("user{n}"),
        uid: 100_000 + n,
        gid: 100_000,
        gecos: format!("generation {generation}"),
        home: format!("/home/user{n}"),
        shell: "/bin/bash".into(),
        local_gids: vec![990],
        principals: vec![format!("user{n}")],
        valid_until: 0,
        subids: Vec::new(),
    };
    let group = |name: &str, gid, members| Group { name: name.into(), gid, members };
    let groups = vec![
        group("empty", 200_000, vec![]),
        group("everyone", 200_001, (0..count).collect()),
        group("alternate", 200_002, (0..count).step_by(2).collect()),
    ];
    ((0..count).map(user).collect(), groups)
}

/// How many mappings of a database this process has.
pub fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("reads");
    maps.lines().filter(|line| line.contains("hostward.db")).count()
}

/// The open descriptors of this process, but the one that lists them.
pub fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("reads");
    let link = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    let links = entries.filter_map(|entry| link(entry.expect("an entry")));
    let own = |link: &PathBuf| link.starts_with(Path::new("/proc"));
    let mut links: Vec<String> =
        links.filter(|link| !own(link)).map(|link| link.display().to_string()).collect();
    links.sort();
    links
}
