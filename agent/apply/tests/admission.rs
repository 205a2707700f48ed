//! What the policy that is offered may be like, and what becomes of it. Each refusal leaves the last good state in
//! force and says so.

#![allow(clippy::unwrap_used)]

mod common;

use chrono::{TimeDelta, Utc};
use common::host::{Host, codes, failures};
use common::policy::{self, alice_and_bob, bytes, only_alice};
use common::repository::{Key, Repository, Role, hex};
use hostward_protocol::report::Staleness;
use serde_json::json;
use sha2::{Digest, Sha256};

/// A host on which version 1, with alice only, is in force, and version 2 that adds bob.
fn second_version() -> (Host, Repository) {
    let mut repository = Repository::new(only_alice());
    let host = Host::applied(&repository);
    assert_eq!(host.names(), ["alice"]);
    repository.version = 2;
    repository.documents = alice_and_bob();
    (host, repository)
}

#[test]
fn a_policy_is_admitted_and_the_next_one_too() {
    let (host, repository) = second_version();
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(report.admission, None);
    assert_eq!(report.policy.as_ref().unwrap().version, 2);
    assert_eq!(report.policy.as_ref().unwrap().staleness, Staleness::Fresh);
    assert_eq!(report.project.as_deref(), Some(policy::PROJECT));
    assert_eq!(host.names(), ["alice", "bob"]);
    assert!(host.admit().is_whole(), "the same again is no trouble");
}

#[test]
fn unchanged_documents_are_neither_needed_nor_written_again() {
    use std::os::unix::fs::MetadataExt;
    let (host, repository) = second_version();
    let store = host.path("/var/lib/hostward/store/targets");
    let inode = |name: &str| {
        let sha256 = hex(&Sha256::digest(&repository.documents[name]));
        std::fs::metadata(store.join(sha256)).map(|m| m.ino())
    };
    let before = inode("project.json").unwrap();
    let mut files = repository.files();
    files.retain(|name, _| !name.ends_with(".project.json"));
    host.empty_inbox();
    host.put(&files);
    assert_eq!(host.admit().admission, None);
    assert_eq!(inode("project.json").unwrap(), before);
    let count = std::fs::read_dir(&store).unwrap().count();
    assert_eq!(count, repository.documents.len(), "what no policy names any more is gone");
}

#[test]
fn expired_metadata_are_refused() {
    for (role, code) in [
        (Role::Timestamp, "expired-timestamp"),
        (Role::Snapshot, "expired-snapshot"),
        (Role::Targets, "expired-targets"),
    ] {
        let (host, mut repository) = second_version();
        repository.role(role).expires = Utc::now() - TimeDelta::minutes(1);
        host.offer(&repository);
        host.refuses(code);
    }
    let (host, mut repository) = second_version();
    repository.role(Role::Root).expires = Utc::now() - TimeDelta::minutes(1);
    repository.publish_root(&[]);
    host.offer(&repository);
    host.refuses("expired-root");
}

#[test]
fn an_older_version_is_refused() {
    let mut repository = Repository::new(only_alice());
    repository.version = 5;
    let host = Host::applied(&repository);
    repository.version = 4;
    host.offer(&repository);
    host.refuses("rollback");
}

#[test]
fn the_same_version_with_another_content_is_refused() {
    let mut repository = Repository::new(only_alice());
    let host = Host::applied(&repository);
    repository.documents = alice_and_bob();
    host.offer(&repository);
    host.refuses("same-version-other-content");
    // The timestamp alone differs.
    let mut repository = Repository::new(only_alice());
    let host = Host::applied(&repository);
    repository.role(Role::Timestamp).expires += TimeDelta::days(1);
    host.offer(&repository);
    host.refuses("same-version-other-content");
}

#[test]
fn a_second_root_of_the_same_version_is_refused() {
    let (host, repository) = second_version();
    let mut files = repository.files();
    files.insert("1.root.json".into(), Repository::new(only_alice()).roots[&1].clone());
    host.put(&files);
    host.refuses("same-version-other-content");
}

#[test]
fn wrong_signatures_are_refused() {
    for role in [Role::Timestamp, Role::Snapshot, Role::Targets] {
        let (host, mut repository) = second_version();
        repository.role(role).signers = Some(vec![Key::new()]);
        host.offer(&repository);
        host.refuses("bad-signature");
    }
    let (host, mut repository) = second_version();
    repository.role(Role::Root).signers = Some(vec![Key::new()]);
    repository.publish_root(&[]);
    host.offer(&repository);
    host.refuses("bad-signature");
}

#[test]
fn fewer_signatures_than_the_threshold_are_refused() {
    for role in Role::ALL {
        let mut repository = Repository::new(only_alice());
        repository.roots.clear();
        let state = repository.role(role);
        state.keys.push(Key::new());
        state.threshold = 2;
        repository.publish_root(&[]);
        let host = Host::applied(&repository);
        repository.version = 2;
        let state = repository.role(role);
        let second = state.keys.pop().unwrap();
        let first = std::mem::take(&mut state.keys).pop().unwrap();
        state.signers = Some(vec![first]);
        if role == Role::Root {
            repository.role(role).keys = vec![Key::new(), Key::new()];
            repository.publish_root(&[]);
        }
        host.offer(&repository);
        host.refuses("threshold");
        drop(second);
    }
}

#[test]
fn a_root_rotated_once_is_followed() {
    let (host, mut repository) = second_version();
    repository.rotate(Role::Root);
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(report.admission, None);
    assert_eq!(report.policy.unwrap().root_version, 2);
}

#[test]
fn a_root_rotated_three_times_is_followed_step_by_step() {
    let (host, mut repository) = second_version();
    repository.rotate(Role::Root);
    repository.rotate(Role::Timestamp);
    repository.rotate(Role::Root);
    host.empty_inbox();
    let mut files = repository.files();
    let withheld = files.remove("3.root.json").unwrap();
    host.put(&files);
    // What is signed by keys of root 4 means nothing to somebody who is at root 2.
    host.refuses("bad-signature");
    host.put(&[("3.root.json".to_owned(), withheld)].into());
    let report = host.admit();
    assert_eq!(report.admission, None);
    assert_eq!(report.policy.unwrap().root_version, 4);
    assert_eq!(host.names(), ["alice", "bob"]);
}

#[test]
fn after_a_rotation_metadata_of_revoked_keys_stay_refused_although_the_root_is_withheld() {
    let mut repository = Repository::new(only_alice());
    let host = Host::applied(&repository);
    repository.version = 3;
    repository.documents = alice_and_bob();
    let by_old_keys = repository.files();
    repository.version = 2;
    repository.documents = only_alice();
    for role in [Role::Timestamp, Role::Snapshot, Role::Targets] {
        repository.rotate(role);
    }
    host.offer(&repository);
    assert_eq!(host.admit().policy.unwrap().root_version, 4);
    host.empty_inbox();
    host.put(&by_old_keys);
    host.refuses("bad-signature");
    // A restart changes nothing about it.
    let directory = host.directory;
    drop(host.engine);
    let root = hostward_apply::Root::below(directory.path());
    let engine = hostward_apply::engine::Engine::open(root, std::time::Duration::ZERO).unwrap();
    Host { directory, engine }.refuses("bad-signature");
}

#[test]
fn garbage_for_the_next_root_is_refused() {
    let (host, repository) = second_version();
    let mut files = repository.files();
    files.insert("2.root.json".into(), b"{}".to_vec());
    host.put(&files);
    host.refuses("malformed-metadata");
}

#[test]
fn a_version_falls_only_after_the_targets_keys_were_replaced() {
    // Whoever stole the timestamp and snapshot keys cannot make an old targets version count.
    let mut repository = Repository::new(only_alice());
    repository.version = 9;
    let host = Host::applied(&repository);
    repository.version = 2;
    repository.documents = alice_and_bob();
    repository.rotate(Role::Timestamp);
    repository.rotate(Role::Snapshot);
    host.offer(&repository);
    host.refuses("rollback");
    // After the targets keys were replaced it is the recovery from a stolen key.
    repository.rotate(Role::Targets);
    host.empty_inbox();
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(report.admission, None);
    assert_eq!(report.policy.unwrap().version, 2);
}

#[test]
fn a_key_added_to_the_targets_role_replaces_none() {
    let mut repository = Repository::new(only_alice());
    repository.version = 9;
    let host = Host::applied(&repository);
    repository.version = 2;
    repository.rotate(Role::Timestamp);
    repository.rotate(Role::Snapshot);
    repository.role(Role::Targets).keys.push(Key::new());
    repository.publish_root(&[]);
    host.offer(&repository);
    host.refuses("rollback");
}

#[test]
fn a_store_cut_at_any_byte_is_an_error_and_no_beginning_from_nothing() {
    let (host, mut repository) = second_version();
    let path = host.path("/var/lib/hostward/store/committed.json");
    let whole = std::fs::read(&path).unwrap();
    repository.version = 1;
    host.offer(&repository);
    // Every byte is held against the parser in the store's own tests; here a whole pass at some of them.
    for end in (0..whole.len()).step_by(whole.len() / 7) {
        std::fs::write(&path, &whole[..end]).unwrap();
        host.refuses("store-damaged");
    }
    std::fs::write(&path, &whole).unwrap();
    host.refuses("same-version-other-content");
}

#[test]
fn an_altered_document_of_the_store_is_taken_from_the_inbox_again() {
    let (host, mut repository) = second_version();
    repository.version = 1;
    repository.documents = only_alice();
    let sha256 = hex(&Sha256::digest(&repository.documents["users-00.json"]));
    let path = host.path("/var/lib/hostward/store/targets").join(sha256);
    std::fs::write(&path, b"{}").unwrap();
    assert_eq!(codes(&host.apply().admission.into_iter().collect::<Vec<_>>()), ["store-damaged"]);
    assert_eq!(host.names(), ["alice"]);
    repository.version = 2;
    host.offer(&repository);
    assert_eq!(host.admit().admission, None);
    assert_eq!(host.apply().admission, None);
}

#[test]
fn a_clock_that_was_ahead_is_reported_and_not_fatal() {
    let (host, repository) = second_version();
    let ahead = Utc::now() + TimeDelta::days(400);
    let report = host.apply_at(ahead);
    assert_eq!(report.policy.unwrap().staleness, Staleness::OfflineKept);
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(report.admission, None);
    assert_eq!(codes(&report.warnings), ["clock-went-back"]);
    assert_eq!(host.names(), ["alice", "bob"]);
    assert_eq!(codes(&host.apply().warnings), Vec::<&str>::new());
}

#[test]
fn a_wrong_project_is_refused() {
    let (host, mut repository) = second_version();
    let project = json!({ "schema": "hostward/project/1", "id": "p-other" });
    repository.documents.insert("project.json".into(), bytes(&project));
    host.offer(&repository);
    host.refuses("wrong-project");
}

#[test]
fn unknown_members_are_accepted_and_unknown_majors_refused() {
    let (host, mut repository) = second_version();
    let mut users: serde_json::Value =
        serde_json::from_slice(&repository.documents["users-00.json"]).unwrap();
    users["later"] = json!({ "x": 1 });
    users["users"][0]["pronouns"] = json!("she");
    repository.documents.insert("users-00.json".into(), bytes(&users));
    repository.documents.insert("hats-00.json".into(), b"{}".to_vec());
    host.offer(&repository);
    assert_eq!(host.admit().admission, None);
    users["schema"] = json!("hostward/users/2");
    repository.documents.insert("users-00.json".into(), bytes(&users));
    repository.version = 3;
    host.offer(&repository);
    host.refuses("unknown-major");
}

#[test]
fn a_policy_that_empties_the_host_says_so_or_is_refused() {
    let (host, mut repository) = second_version();
    let empty = json!({ "schema": "hostward/users/1", "users": [] });
    repository.documents.insert("users-00.json".into(), bytes(&empty));
    host.offer(&repository);
    host.refuses("policy-empties-host");
    repository.documents.insert("users-00.json".into(), Vec::new());
    repository.version = 3;
    host.offer(&repository);
    host.refuses("document-empty");
    repository.documents = policy::documents(&[]);
    repository.version = 4;
    host.offer(&repository);
    assert_eq!(host.admit().admission, None);
    assert!(host.names().is_empty());
}

#[test]
fn a_document_missing_cut_or_too_large_is_refused() {
    let users = |name: &String| name.ends_with(".users-00.json");
    let (host, repository) = second_version();
    let mut files = repository.files();
    files.retain(|name, _| !users(name));
    host.empty_inbox();
    host.put(&files);
    host.refuses("target-missing");

    let (host, repository) = second_version();
    let mut files = repository.files();
    files.iter_mut().filter(|(name, _)| users(name)).for_each(|(_, bytes)| bytes.truncate(9));
    host.put(&files);
    host.refuses("target-mismatch");

    let (host, repository) = second_version();
    let mut files = repository.files();
    files.iter_mut().filter(|(name, _)| users(name)).for_each(|(_, bytes)| bytes.push(b' '));
    host.put(&files);
    host.refuses("target-mismatch");

    let (host, mut repository) = second_version();
    let large = vec![b' '; 64 * 1024 + 1];
    repository.documents.insert("project.json".into(), large);
    host.offer(&repository);
    host.refuses("target-too-large");
}

#[test]
fn old_and_new_files_mixed_are_refused() {
    let (host, repository) = second_version();
    let new = repository.files();
    // The new timestamp, and of everything else only the old.
    host.put(&[("timestamp.json".to_owned(), new["timestamp.json"].clone())].into());
    host.refuses("metadata-missing");
    let snapshot = "2.snapshot.json".to_owned();
    let old = std::fs::read(host.inbox().join("1.snapshot.json")).unwrap();
    host.put(&[(snapshot, old)].into());
    host.refuses("metadata-mismatch");
}

#[test]
fn a_mirror_that_breaks_off_anywhere_is_refused_and_whole_again_admitted() {
    let (host, repository) = second_version();
    let files = repository.files();
    let complete = ["1.root.json", "timestamp.json"];
    for (left_out, _) in files.iter().filter(|(name, _)| !complete.contains(&name.as_str())) {
        let sha_in_store = left_out.split('.').next().unwrap();
        if host.path("/var/lib/hostward/store/targets").join(sha_in_store).exists() {
            continue;
        }
        host.empty_inbox();
        let mut part = files.clone();
        part.remove(left_out);
        host.put(&part);
        assert!(host.admit().admission.is_some(), "admitted without {left_out}");
        assert_eq!(host.names(), ["alice"]);
    }
    host.offer(&repository);
    assert_eq!(host.admit().admission, None);
}

#[test]
fn what_goes_beyond_tuf_is_demanded() {
    let (host, mut repository) = second_version();
    repository.versions.insert(Role::Snapshot, 3);
    host.offer(&repository);
    host.refuses("versions-differ");

    let (host, mut repository) = second_version();
    repository.consistent = false;
    repository.publish_root(&[]);
    host.offer(&repository);
    host.refuses("not-consistent-snapshot");

    let (host, mut repository) = second_version();
    let role = json!({ "name": "other", "keyids": [], "threshold": 1, "paths": ["*"], "terminating": false });
    repository.targets_extra = Some(("delegations".into(), json!({ "keys": {}, "roles": [role] })));
    host.offer(&repository);
    host.refuses("delegations");
}

#[test]
fn nothing_is_offered_until_something_is() {
    let repository = Repository::new(only_alice());
    let host = Host::of(&repository);
    assert_eq!(host.admit().admission.unwrap().code, "inbox-empty");
}

#[test]
fn a_root_that_is_not_the_pinned_one_is_refused() {
    let repository = Repository::new(only_alice());
    let host = Host::of(&Repository::new(only_alice()));
    host.offer(&repository);
    host.refuses("root-pin-mismatch");
    host.empty_inbox();
    host.refuses("inbox-empty");
    let mut files = repository.files();
    files.remove("1.root.json");
    host.put(&files);
    host.refuses("pinned-root-missing");
}

#[test]
fn a_later_root_may_be_the_pinned_one() {
    let mut repository = Repository::new(only_alice());
    repository.rotate(Role::Root);
    let host = Host::unconfigured();
    host.pin(&repository, 2);
    let mut files = repository.files();
    files.remove("1.root.json");
    host.put(&files);
    assert_eq!(host.admit().policy.unwrap().root_version, 2);
    // An earlier pin given later: the chain from there must lead to what was accepted.
    host.pin(&repository, 1);
    repository.version = 2;
    host.offer(&repository);
    assert_eq!(host.admit().admission, None);
    // A pin of another project's root contradicts what was accepted.
    host.pin(&Repository::new(only_alice()), 1);
    repository.version = 3;
    host.offer(&repository);
    host.refuses("root-pin-mismatch");
    // A pin ahead of what is published is not reached.
    let mut ahead = Repository::new(only_alice());
    for _ in 0..3 {
        ahead.rotate(Role::Timestamp);
    }
    host.pin(&ahead, 4);
    host.refuses("root-pin-mismatch");
}

#[test]
fn the_root_file_of_the_image_is_the_strongest_pin() {
    let repository = Repository::new(only_alice());
    let host = Host::of(&Repository::new(only_alice()));
    std::fs::write(host.path("/etc/hostward/root.json"), &repository.roots[&1]).unwrap();
    let mut files = repository.files();
    files.remove("1.root.json");
    host.put(&files);
    assert_eq!(host.admit().admission, None);
    let status = host.read("/var/lib/hostward/status.json");
    assert!(status.contains("\"trust\":\"root.json\""), "{status}");
}

#[test]
fn without_a_pin_the_first_root_counts_only_where_the_operator_said_so() {
    let repository = Repository::new(only_alice());
    let host = Host::unconfigured();
    host.configure("[trust]\nproject = \"p-test\"\n");
    host.offer(&repository);
    host.refuses("no-root-of-trust");
    host.configure("[trust]\nproject = \"p-test\"\nmode = \"first-use\"\n");
    assert_eq!(host.admit().admission, None);
    assert!(host.read("/var/lib/hostward/status.json").contains("\"trust\":\"first-use\""));
    let other = Repository::new(alice_and_bob());
    host.offer(&other);
    host.refuses("same-version-other-content");
}

#[test]
fn during_an_outage_everything_goes_on_until_the_operator_wants_a_lock() {
    let repository = Repository::new(only_alice());
    let host = Host::applied(&repository);
    std::fs::write(host.path("/etc/sudoers.d/hostward"), "alice ALL=(ALL) ALL\n").unwrap();
    let report = host.apply_at(Utc::now() + TimeDelta::days(3));
    assert_eq!(report.policy.as_ref().unwrap().staleness, Staleness::Stale);
    assert!(!report.drift.is_empty(), "drift is repaired although the backend is silent");
    assert!(!host.read("/etc/sudoers.d/hostward").contains("(ALL) ALL"));
    assert_eq!(host.names(), ["alice"]);

    let past = Utc::now() + TimeDelta::days(60);
    assert_eq!(host.apply_at(past).policy.unwrap().staleness, Staleness::OfflineKept);
    assert_eq!(host.names(), ["alice"]);
    let locked = format!("{}[policy]\non_stale = \"lock\"\n", host.read("/etc/hostward/hostward.toml"));
    host.configure(&locked);
    let report = host.apply_at(past);
    assert_eq!(report.policy.as_ref().unwrap().staleness, Staleness::OfflineLocked);
    assert_eq!(failures(&report), Vec::<&str>::new());
    assert_eq!(report.users, 0);
    assert!(!host.read("/etc/sudoers.d/hostward").contains("/usr/bin/id"), "nobody has sudo");
    assert!(host.users().iter().all(|user| user.principals.is_empty()), "nobody gets in");
}

#[test]
fn an_offer_that_expired_while_it_was_in_force_is_an_outage_and_no_refusal() {
    let mut repository = Repository::new(only_alice());
    let expires = Utc::now() + TimeDelta::seconds(3);
    repository.role(Role::Timestamp).expires = expires;
    let host = Host::applied(&repository);
    // The library reads the clock itself.
    while Utc::now() <= expires + TimeDelta::seconds(1) {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(report.admission, None);
    assert_eq!(report.policy.unwrap().staleness, Staleness::Stale);
    assert_eq!(host.names(), ["alice"]);
}
