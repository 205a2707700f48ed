//! What root wrote down of service users: which uids are bound, and which authorities sign for users and hosts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use hostward_protocol::service::{BoundService, BoundServices, SERVICES_SCHEMA};
use hostward_ssh_agent::Keys;

const SERVICES: &str = "services.json";
const USER_CAS: &str = "user_ca.pub";
const KNOWN_HOSTS: &str = "known_hosts";
/// The longest of these files that is read.
const MAX_LEN: u64 = 4 << 20;
/// What a process has whose uid is nobody's here: 65534, of another user namespace; and "no uid".
const NOBODY: [u32; 2] = [65534, u32::MAX];

/// What is in force.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bound {
    services: BTreeMap<u32, BoundService>,
    /// Who signs for users.
    pub user_cas: Keys,
    /// Who signs for hosts.
    pub host_cas: Keys,
}

impl Bound {
    /// The binding of a uid.
    pub fn service(&self, uid: u32) -> Option<&BoundService> {
        self.services.get(&uid)
    }
}

/// The files. They are looked at whenever somebody asks, which costs three stat(2): a binding that is gone is gone at
/// once, whatever became of the notice of it.
#[derive(Debug)]
pub struct Bindings {
    dir: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    stamps: [Option<Stamp>; 3],
    bound: Arc<Bound>,
}

/// Files are replaced, never edited: another content is another inode or another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

impl Bindings {
    /// The files in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Bindings { dir, loaded: Mutex::default() }
    }

    /// What they say now. Whatever cannot be read binds nobody.
    pub fn current(&self) -> Arc<Bound> {
        let stamps = [SERVICES, USER_CAS, KNOWN_HOSTS].map(|name| self.stamp(name));
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.stamps != stamps {
            let bound = Bound {
                services: self.services(),
                user_cas: Keys::of_lines(&self.read(USER_CAS)),
                host_cas: Keys::of_known_hosts(&self.read(KNOWN_HOSTS)),
            };
            *loaded = Loaded { stamps, bound: Arc::new(bound) };
        }
        loaded.bound.clone()
    }

    fn services(&self) -> BTreeMap<u32, BoundService> {
        let text = self.read(SERVICES);
        if text.is_empty() {
            return BTreeMap::new();
        }
        let services = match serde_json::from_str::<BoundServices>(&text) {
            Ok(read) if read.schema == SERVICES_SCHEMA => read.services,
            _ => {
                let path = self.dir.join(SERVICES);
                log::error!("`{}` is not what hostward-apply writes there: nobody is bound", path.display());
                return BTreeMap::new();
            }
        };
        let own = nix::unistd::geteuid().as_raw();
        let mut bound = BTreeMap::new();
        for service in services {
            // Root refuses these too.
            if service.uid == 0 || service.uid == own || NOBODY.contains(&service.uid) {
                log::error!("uid {} is never bound", service.uid);
                continue;
            }
            bound.insert(service.uid, service);
        }
        bound
    }

    fn stamp(&self, name: &str) -> Option<Stamp> {
        let metadata = std::fs::metadata(self.dir.join(name)).ok()?;
        Some(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            length: metadata.len(),
        })
    }

    fn read(&self, name: &str) -> String {
        let path = self.dir.join(name);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_LEN).read_to_string(&mut text));
        match read {
            Ok(_) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                log::error!("cannot read `{}`: {error}", path.display());
                String::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(uids: &[u32]) -> String {
        let services: Vec<_> = uids
            .iter()
            .map(|uid| serde_json::json!({"uid": uid, "user": "deploy", "principals": ["deploy"]}))
            .collect();
        serde_json::json!({"schema": SERVICES_SCHEMA, "services": services}).to_string()
    }

    #[test]
    fn what_root_replaces_is_seen_at_once_and_what_cannot_be_read_binds_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let bindings = Bindings::new(dir.path().into());
        assert_eq!(*bindings.current(), Bound::default());
        let put = |text: &str| {
            std::fs::write(dir.path().join("new"), text).unwrap();
            std::fs::rename(dir.path().join("new"), dir.path().join(SERVICES)).unwrap();
        };
        put(&services(&[112, 113]));
        let first = bindings.current();
        assert_eq!(first.service(112).unwrap().user, "deploy");
        assert!(Arc::ptr_eq(&first, &bindings.current()), "not read again");
        put(&services(&[113]));
        assert!(bindings.current().service(112).is_none());
        for bad in ["{", "{}", "[]", &services(&[112]).replace("services/1", "services/2")] {
            put(bad);
            assert_eq!(*bindings.current(), Bound::default(), "{bad}");
        }
        put(&services(&[112]));
        assert!(bindings.current().service(112).is_some());
        std::fs::remove_file(dir.path().join(SERVICES)).unwrap();
        assert_eq!(*bindings.current(), Bound::default());
    }

    #[test]
    fn some_uids_are_never_bound() {
        let dir = tempfile::tempdir().unwrap();
        let own = nix::unistd::geteuid().as_raw();
        std::fs::write(dir.path().join(SERVICES), services(&[0, own, 112, 65534, u32::MAX])).unwrap();
        let bound = Bindings::new(dir.path().into()).current();
        assert_eq!(bound.services.keys().collect::<Vec<_>>(), [&112]);
    }
}
