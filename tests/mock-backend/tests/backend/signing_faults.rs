//! Policy that is published wrongly on purpose: `tough` must refuse it, and take what comes after.

use hostward_mock_backend::keys::Role;
use hostward_protocol::document::{self, DocumentError, Kind, Users};

use crate::repository::{load, read, root, targets};
use crate::support::{Bench, TEAM};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_and_expiries_are_refused() {
    let bench = Bench::start().await;
    let root = root(&bench, 1).await;
    for fault in ["wrong-key", "below-threshold", "expired"] {
        for role in Role::ALL {
            let argument = format!("role={}", role.name());
            bench.client().fault_on(fault, &[&argument]).unwrap();
            let error = load(&bench, &root, None).await.err();
            let error = error.unwrap_or_else(|| panic!("{fault} {argument} was accepted"));
            let expected = if fault == "expired" { "expired" } else { "verify" };
            let text = hostward_protocol::causes::chain(&error);
            assert!(text.contains(expected), "{fault} {argument}: {text}");
            bench.client().fault_off(Some(fault)).unwrap();
            let repository = load(&bench, &root, None).await.unwrap();
            assert_eq!(repository.root().signed.version.get(), 1, "a spoiled root does not stay");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_older_root_are_refused_by_who_knows_the_newer() {
    let bench = Bench::start().await;
    let first = root(&bench, 1).await;
    bench.client().rotate_root(&Role::ALL, 1).unwrap();
    let second = root(&bench, 2).await;
    bench.client().fault_on("old-keys", &["root=1"]).unwrap();
    bench.client().fault_on("withhold-roots", &["newest=1"]).unwrap();
    load(&bench, &second, None).await.unwrap_err();
    let fooled = load(&bench, &first, None).await.unwrap();
    assert_eq!(fooled.root().signed.version.get(), 1, "who starts from the old root is fooled");
    bench.client().fault_off(None).unwrap();
    load(&bench, &second, None).await.unwrap();
    let followed = load(&bench, &first, None).await.unwrap();
    assert_eq!(followed.root().signed.version.get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_is_replayed() {
    let bench = Bench::start().await;
    let root = root(&bench, 1).await;
    let version = bench.touch_policy();
    let datastore = tempfile::tempdir().unwrap();
    load(&bench, &root, Some(datastore.path())).await.unwrap();
    let argument = format!("version={}", version - 1);
    bench.client().fault_on("replay", &[&argument]).unwrap();
    let error = load(&bench, &root, Some(datastore.path())).await.unwrap_err();
    assert!(error.to_string().contains("Found version"), "{error}");
    let fresh = load(&bench, &root, None).await.unwrap();
    assert_eq!(fresh.timestamp().signed.version.get(), version - 1);
    bench.client().fault_off(Some("replay")).unwrap();
    load(&bench, &root, Some(datastore.path())).await.unwrap();
    let error = bench.client().fault_on("replay", &["version=4711"]).unwrap_err();
    assert!(error.to_string().contains("4711"), "{error}");
    assert!(bench.client().faults().unwrap().is_empty(), "what cannot be is not switched on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_version_gets_other_content() {
    let bench = Bench::start().await;
    let root = root(&bench, 1).await;
    let before = load(&bench, &root, None).await.unwrap();
    bench.client().fault_on("same-version", &[]).unwrap();
    bench.touch_policy();
    let after = load(&bench, &root, None).await.unwrap();
    assert_eq!(after.targets().signed.version, before.targets().signed.version);
    assert_eq!(after.timestamp().signed.version, before.timestamp().signed.version);
    assert_ne!(targets(&after), targets(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_wrong() {
    let bench = Bench::start().await;
    let root = root(&bench, 1).await;
    let client = bench.client();

    client.fault_on("wrong-project", &["id=evil"]).unwrap();
    let repository = load(&bench, &root, None).await.unwrap();
    let project = read(&repository, "project.json").await.unwrap();
    assert_eq!(document::parse::<document::Project>(&project).unwrap().id, "evil");
    client.fault_off(None).unwrap();

    client.fault_on("unknown-members", &[]).unwrap();
    let repository = load(&bench, &root, None).await.unwrap();
    let users = read(&repository, "users-01.json").await.unwrap();
    assert!(String::from_utf8_lossy(&users).contains("x-unknown"));
    let users = document::parse::<Users>(&users).unwrap();
    assert!(users.users.iter().all(|user| user.shaped().is_some()));
    client.fault_off(None).unwrap();

    client.fault_on("unknown-major", &["kind=users"]).unwrap();
    let repository = load(&bench, &root, None).await.unwrap();
    let users = read(&repository, "users-00.json").await.unwrap();
    let error = document::parse::<Users>(&users).unwrap_err();
    assert!(matches!(error, DocumentError::UnknownMajor { found: 2, .. }), "{error}");
    let groups = read(&repository, "groups-00.json").await.unwrap();
    document::parse::<document::Groups>(&groups).unwrap();
    client.fault_off(None).unwrap();

    client.fault_on("large-target", &["name=project"]).unwrap();
    let repository = load(&bench, &root, None).await.unwrap();
    let project = read(&repository, "project.json").await.unwrap();
    assert_eq!(project.len() as u64, Kind::Project.max_len() + 1);
    let error = document::parse::<document::Project>(&project).unwrap_err();
    assert!(matches!(error, DocumentError::TooLarge { .. }), "{error}");
    client.fault_off(None).unwrap();

    let repository = load(&bench, &root, None).await.unwrap();
    let project = read(&repository, "project.json").await.unwrap();
    assert_eq!(document::parse::<document::Project>(&project).unwrap().id, "acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_missing_cut_or_too_long() {
    let bench = Bench::start().await;
    let root = root(&bench, 1).await;
    for fault in ["missing-target", "cut-target", "long-target"] {
        bench.client().fault_on(fault, &["name=users-01"]).unwrap();
        let repository = load(&bench, &root, None).await.unwrap();
        assert!(read(&repository, "users-01.json").await.is_none(), "{fault}");
        assert!(read(&repository, "users-00.json").await.is_some(), "{fault}");
        bench.client().fault_off(Some(fault)).unwrap();
        assert!(read(&repository, "users-01.json").await.is_some(), "{fault} off");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_hears_of_a_fault_in_what_is_published() {
    let bench = Bench::start().await;
    let version = bench.client().policy(false).unwrap().version;
    bench.client().fault_on("expired", &["role=timestamp"]).unwrap();
    assert_eq!(bench.client().policy(false).unwrap().version, version + 1);
    bench.client().fault_on("no-wait", &[]).unwrap();
    assert_eq!(bench.client().policy(false).unwrap().version, version + 1, "not of others");
    bench.client().fault_off(None).unwrap();
    assert_eq!(bench.client().policy(false).unwrap().version, version + 2);
    assert_eq!(bench.write_team(TEAM), version + 2);
}
