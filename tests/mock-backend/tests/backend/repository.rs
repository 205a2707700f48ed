//! The repository as `tough` sees it.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use hostward_protocol::document::{self, Kind, Project, Users};
use tough::schema::Target;
use tough::{
    ExpirationEnforcement, IntoVec, Repository, RepositoryLoader, TargetName, Transport, TransportError,
    TransportErrorKind, TransportStream,
};
use url::Url;

use crate::support::{Bench, TEAM};

#[derive(Clone, Debug)]
struct Http(reqwest::Client);

#[async_trait]
impl Transport for Http {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let other =
            |error: reqwest::Error| TransportError::new_with_cause(TransportErrorKind::Other, &url, error);
        let response = self.0.get(url.clone()).send().await.map_err(other)?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Err(TransportError::new(TransportErrorKind::FileNotFound, &url));
        }
        let body = response.error_for_status().map_err(other)?.bytes().await.map_err(other)?;
        Ok(Box::pin(futures_util::stream::iter([Ok(body)])))
    }
}

/// Loads the repository from a root as a host does.
pub async fn load(
    bench: &Bench,
    root: &[u8],
    datastore: Option<&Path>,
) -> Result<Repository, tough::error::Error> {
    let base = Url::parse(&bench.repository_url("")).unwrap();
    let targets = base.join("targets/").unwrap();
    let root = root.to_vec();
    let mut loader = RepositoryLoader::new(&root, base, targets)
        .transport(Http(bench.http.clone()))
        .expiration_enforcement(ExpirationEnforcement::Safe);
    if let Some(path) = datastore {
        loader = loader.datastore(path);
    }
    loader.load().await
}

pub async fn root(bench: &Bench, version: u64) -> Vec<u8> {
    let url = bench.repository_url(&format!("{version}.root.json"));
    let response = bench.http.get(url).send().await.unwrap();
    response.error_for_status().unwrap().bytes().await.unwrap().to_vec()
}

/// A target whose length and hash `tough` checked; `None` where they are wrong or it is missing.
pub async fn read(repository: &Repository, name: &str) -> Option<Vec<u8>> {
    let name = TargetName::new(name).unwrap();
    let stream = repository.read_target(&name).await.ok()??;
    stream.into_vec().await.ok()
}

pub fn targets(repository: &Repository) -> BTreeMap<String, Target> {
    let targets = repository.all_targets();
    targets.map(|(name, target)| (name.raw().to_owned(), target.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tough_verifies_all_of_it() {
    let bench = Bench::start().await;
    let repository = load(&bench, &root(&bench, 1).await, None).await.unwrap();
    assert_eq!(repository.root().signed.version.get(), 1);
    let version = repository.targets().signed.version;
    assert_eq!(repository.snapshot().signed.version, version);
    assert_eq!(repository.timestamp().signed.version, version);
    let mut names = Vec::new();
    for name in targets(&repository).into_keys() {
        let bytes = read(&repository, &name).await.unwrap();
        let (kind, _) = Kind::of_target(&name).unwrap();
        match kind {
            Kind::Users => {
                let users: Users = document::parse(&bytes).unwrap();
                names.extend(users.users.iter().map(|user| user.shaped().unwrap().name.clone()));
            }
            Kind::Project => {
                let project: Project = document::parse(&bytes).unwrap();
                assert_eq!(project.id, "acme");
                assert_eq!(project.settings, document::Settings::default());
            }
            Kind::Groups => _ = document::parse::<document::Groups>(&bytes).unwrap(),
            Kind::Grants => _ = document::parse::<document::Grants>(&bytes).unwrap(),
            Kind::Entitlements => _ = document::parse::<document::Entitlements>(&bytes).unwrap(),
            Kind::Ssh => _ = document::parse::<document::Ssh>(&bytes).unwrap(),
            Kind::Services => _ = document::parse::<document::Services>(&bytes).unwrap(),
        }
    }
    names.sort();
    assert_eq!(names, ["alice", "bob", "carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn expiries_are_those_of_the_specification() {
    let bench = Bench::start().await;
    let repository = load(&bench, &root(&bench, 1).await, None).await.unwrap();
    let now = chrono::Utc::now().timestamp();
    for (expires, days) in [
        (repository.timestamp().signed.expires, 1),
        (repository.snapshot().signed.expires, 30),
        (repository.targets().signed.expires, 30),
        (repository.root().signed.expires, 365),
    ] {
        let off = expires.as_second() - (now + days * 86_400);
        assert!((-60..=0).contains(&off), "{days} days: {off}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_other_shards_alone() {
    let bench = Bench::start().await;
    let many = |first: &str| {
        let mut text = String::from("[project]\nid = \"acme\"\n");
        for n in 0..1000 {
            let gecos = if n == 0 { first } else { "Somebody" };
            text += &format!("[users.u{n}]\nuid = {}\ngecos = {gecos:?}\n", 100_000 + n);
        }
        text
    };
    let before_version = bench.write_team(&many("First"));
    let root = root(&bench, 1).await;
    let before = targets(&load(&bench, &root, None).await.unwrap());
    let users = before.keys().filter(|name| name.starts_with("users-")).count();
    assert_eq!(users, 32, "a power of two near the square root of 2000");
    assert_eq!(bench.write_team(&many("Changed")), before_version + 1);
    let after = targets(&load(&bench, &root, None).await.unwrap());
    let changed: Vec<_> = after.iter().filter(|(name, target)| before[*name] != **target).collect();
    assert_eq!(after.len(), before.len());
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(bench.client().sync().unwrap(), before_version + 1, "nothing changed since");
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_can_be_followed_from_the_first() {
    let bench = Bench::start().await;
    let first = root(&bench, 1).await;
    let roles = hostward_mock_backend::keys::Role::ALL;
    assert_eq!(bench.client().rotate_root(&roles, 3).unwrap(), 4);
    let repository = load(&bench, &first, None).await.unwrap();
    assert_eq!(repository.root().signed.version.get(), 4);
    assert_eq!(root(&bench, 1).await, first, "all roots stay published");
    let pinned = bench.client().roots().unwrap();
    let bytes = root(&bench, 4).await;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(pinned.last().unwrap().sha256, hex);
    assert_eq!(bench.token().root_sha256, Some(hex));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was() {
    let bench = Bench::start().await;
    let version = bench.touch_policy();
    let first = root(&bench, 1).await;
    let timestamp = bench.http.get(bench.repository_url("timestamp.json"));
    let timestamp = timestamp.send().await.unwrap().bytes().await.unwrap();
    let bench = bench.restart().await;
    assert_eq!(bench.client().policy(false).unwrap().version, version);
    let again = bench.http.get(bench.repository_url("timestamp.json"));
    assert_eq!(again.send().await.unwrap().bytes().await.unwrap(), timestamp);
    assert_eq!(root(&bench, 1).await, first);
    assert_eq!(bench.touch_policy(), version + 1);
    load(&bench, &first, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_backends_never_share_a_state_directory() {
    let bench = Bench::start().await;
    let options = bench.server.backend().options.clone();
    let error = hostward_mock_backend::server::Server::start(options).await.err().unwrap();
    assert!(error.to_string().contains("another backend"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_leaves_the_policy_before_it() {
    let bench = Bench::start().await;
    let version = bench.touch_policy();
    for (text, expected) in [
        (TEAM.replace("uid = 70002", "uid = 70002\nuidd = 1"), "line 27"),
        (TEAM.replace("members = [\"alice\"]", "members = [\"nobody\"]"), "there is no [users.nobody]"),
        (TEAM.replace("\"acme\"", "\"other\""), "is of project `other`"),
        (String::from("[project"), "line 1"),
    ] {
        std::fs::write(bench.team_file(), text).unwrap();
        let error = bench.client().sync().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(bench.client().policy(false).unwrap().version, version);
    }
    let root = root(&bench, 1).await;
    load(&bench, &root, None).await.unwrap();
    assert_eq!(bench.write_team(TEAM), version + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_entries_and_documents_are_published_as_they_stand() {
    let bench = Bench::start().await;
    let raw = r#"
        [raw]
        users = ['{"id": "x",  "name": "root", "uid": 0, "gid": -1}', '17']
        [raw.documents]
        "users-99.json" = ""
    "#;
    bench.write_team(&format!("{TEAM}\n{raw}"));
    let published = bench.client().policy(true).unwrap();
    let content = |name: &str| {
        let target = published.targets.iter().find(|target| target.name == name);
        target.and_then(|target| target.content.clone()).unwrap()
    };
    let users: String = (0..2).map(|n| content(&format!("users-{n:02}.json"))).collect();
    assert!(users.contains("\n{\"id\": \"x\",  \"name\": \"root\", \"uid\": 0, \"gid\": -1}"), "{users}");
    assert!(users.contains("\n17"), "{users}");
    assert_eq!(content("users-99.json"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_must_prove_themselves_where_the_repository_asks_for_it() {
    let bench = Bench::with(|options| options.repository_auth = true).await;
    let path = "/v1/projects/acme/tuf/timestamp.json";
    let refused = crate::support::problem(bench.get(path).await).await;
    assert_eq!(refused.0, 401);
    let host = bench.enrolled_host().await;
    let response = host.send(&bench, reqwest::Method::GET, path, Vec::new()).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_versions_are_kept() {
    let bench = Bench::start().await;
    for _ in 0..70 {
        bench.touch_policy();
    }
    let newest = bench.client().policy(false).unwrap().version;
    let status = async |version: u64| {
        let url = bench.repository_url(&format!("{version}.targets.json"));
        bench.http.get(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!((status(newest).await, status(newest - 63).await), (200, 200));
    assert_eq!(status(newest - 64).await, 404);
    let files = std::fs::read_dir(bench.state().join("tuf/targets")).unwrap().count();
    assert!(files < 100, "targets of forgotten versions go: {files}");
}
