use super::*;

const MACHINE: &str = "m1";

fn granted(id: &str) -> Granted {
    Granted {
        host_id: id.into(),
        url: "https://b.example".into(),
        project: "p".into(),
        repository: "https://b.example/tuf/".into(),
        first_root: Some(3),
    }
}

fn host() -> HostInfo {
    HostInfo { hostname: crate::random::id(), ..HostInfo::default() }
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn one_key_per_token_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let first = pending(dir.path(), MACHINE, "t1", host()).unwrap();
    let again = pending(dir.path(), MACHINE, "t1", host()).unwrap();
    assert_eq!(first.key.thumbprint(), again.key.thumbprint());
    assert_eq!(first.idempotency_key, again.idempotency_key);
    assert_eq!(first.host, again.host, "a repetition is the same request");
    let other = pending(dir.path(), MACHINE, "t2", host()).unwrap();
    assert_ne!(first.key.thumbprint(), other.key.thumbprint());
    let elsewhere = pending(dir.path(), "m2", "t2", host()).unwrap();
    assert_ne!(other.key.thumbprint(), elsewhere.key.thumbprint());
}

#[test]
fn enrolled_then_enrolled_anew_leaves_one_key() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(load(dir.path(), MACHINE).unwrap(), Standing::Nobody));
    for id in ["h1", "h2"] {
        let key = pending(dir.path(), MACHINE, id, host()).unwrap();
        commit(dir.path(), MACHINE, key, granted(id)).unwrap();
        let Standing::Host(identity) = load(dir.path(), MACHINE).unwrap() else {
            panic!("not enrolled");
        };
        assert_eq!(identity.enrollment.host_id, id);
        assert_eq!(files(dir.path()), 2);
    }
    discard(dir.path()).unwrap();
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn a_copy_on_another_machine_keeps_the_identity_aside() {
    let dir = tempfile::tempdir().unwrap();
    let key = pending(dir.path(), MACHINE, "t1", host()).unwrap();
    let original = commit(dir.path(), MACHINE, key, granted("h1")).unwrap();
    let standing = load(dir.path(), "m2").unwrap();
    assert!(matches!(&standing, Standing::Clone(e) if e.host_id == "h1"));

    let refused = pending(dir.path(), "m2", "t2", host()).unwrap();
    assert_ne!(refused.key.thumbprint(), original.key.thumbprint());
    abandon(dir.path(), &standing).unwrap();
    assert!(matches!(load(dir.path(), MACHINE).unwrap(), Standing::Host(_)));

    let key = pending(dir.path(), "m2", "t3", host()).unwrap();
    commit(dir.path(), "m2", key, granted("h2")).unwrap();
    assert!(matches!(load(dir.path(), "m2").unwrap(), Standing::Host(i) if i.enrollment.host_id == "h2"));
    assert_eq!(files(dir.path()), 2);
}

#[test]
fn a_missing_or_foreign_key_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let key = pending(dir.path(), MACHINE, "t1", host()).unwrap();
    let path = key_path(dir.path(), key.key.thumbprint());
    commit(dir.path(), MACHINE, key, granted("h1")).unwrap();
    let (_, foreign) = HostKey::generate().unwrap();
    std::fs::write(&path, &*foreign).unwrap();
    assert!(matches!(load(dir.path(), MACHINE), Err(IdentityError::Key { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(load(dir.path(), MACHINE), Err(IdentityError::ReadKey { .. })));
}
