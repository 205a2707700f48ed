//! What a client sees at the desk and over the socket.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hostward_protocol::service::{Answer, Query, SERVICES_SCHEMA, ServiceState};
use hostward_ssh_agent::Session;

use super::super::caller::Caller;
use super::super::{Desk, Issuer};
use super::script::{Mode, Script};
use crate::clock::Clock;

const JENKINS: u32 = 112;
const IDENTITIES: &[u8] = &[11];
const FAILURE: &[u8] = &[0, 0, 0, 1, 5];
const NONE: &[u8] = &[0, 0, 0, 5, 12, 0, 0, 0, 0];

/// A host on which uid 112 stands for `deploy`.
struct World {
    desk: Arc<Desk>,
    script: Arc<Script>,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let (dir, script) = (tempfile::tempdir().unwrap(), Script::new());
        let desk = Arc::new(Desk::new(dir.path().into(), Arc::new(Clock::default()), None));
        put(dir.path(), "user_ca.pub", &script.ca.line());
        desk.set_issuer(Some(Issuer::Script(script.clone())));
        let world = World { desk, script, dir };
        world.bind(&[(JENKINS, "deploy")]);
        world
    }

    fn bind(&self, services: &[(u32, &str)]) {
        let services: Vec<_> = services
            .iter()
            .map(|(uid, user)| serde_json::json!({"uid": uid, "user": user, "principals": [user]}))
            .collect();
        let text = serde_json::json!({"schema": SERVICES_SCHEMA, "services": services}).to_string();
        put(self.dir.path(), "services.json", &text);
    }

    async fn answer(&self, uid: u32, message: &[u8]) -> Vec<u8> {
        self.desk.answer(&caller(uid), &mut Session::default(), message).await
    }

    async fn query(&self, uid: u32, query: &Query) -> Answer {
        let json = serde_json::to_vec(query).unwrap();
        let mut message = vec![27];
        for part in [&b"query@hostward"[..], &json] {
            message.extend_from_slice(&(part.len() as u32).to_be_bytes());
            message.extend_from_slice(part);
        }
        let answer = self.answer(uid, &message).await;
        let (head, json) = answer.split_at(4 + 1 + 4 + 14 + 4);
        assert_eq!(head[4], 29);
        serde_json::from_slice(json).unwrap()
    }

    async fn resolve(&self, name: &str) -> Result<Vec<String>, String> {
        match self.query(JENKINS, &Query::Resolve { name: name.into() }).await {
            Answer::Resolved { user, route } => {
                assert_eq!(user, "deploy");
                Ok(route.into_iter().map(|hop| hop.id).collect())
            }
            Answer::Refused(finding) => Err(finding.code),
            other => panic!("{other:?}"),
        }
    }

    async fn state(&self, uid: u32) -> ServiceState {
        match self.query(uid, &Query::Service).await {
            Answer::Service(state) => state,
            other => panic!("{other:?}"),
        }
    }
}

fn put(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join("new"), text).unwrap();
    std::fs::rename(dir.join("new"), dir.join(name)).unwrap();
}

fn caller(uid: u32) -> Caller {
    Caller { uid, pid: None }
}

/// The one certificate in an answer.
fn certificate(answer: &[u8]) -> Vec<u8> {
    assert_eq!(answer[4..9], [12, 0, 0, 0, 1], "{answer:?}");
    let length = u32::from_be_bytes(answer[9..13].try_into().unwrap()) as usize;
    answer[13..13 + length].to_vec()
}

/// A login as deploy with a certificate.
fn login(certificate: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    let put = |out: &mut Vec<u8>, part: &[u8]| {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    };
    put(&mut data, &[9; 32]);
    data.push(50);
    for part in ["deploy", "ssh-connection", "publickey"] {
        put(&mut data, part.as_bytes());
    }
    data.push(1);
    put(&mut data, b"ssh-ed25519-cert-v01@openssh.com");
    put(&mut data, certificate);
    let mut message = vec![13];
    put(&mut message, certificate);
    put(&mut message, &data);
    message.extend_from_slice(&[0; 4]);
    message
}

#[tokio::test]
async fn a_bound_account_gets_its_own_certificate_and_nobody_else_does() {
    let world = World::new();
    let own = certificate(&world.answer(JENKINS, IDENTITIES).await);
    assert_eq!(certificate(&world.answer(JENKINS, IDENTITIES).await), own, "reused");
    assert_eq!(world.answer(JENKINS, &login(&own)).await[4], 14);
    for uid in [0, 111, 113, 65534, u32::MAX, nix::unistd::geteuid().as_raw()] {
        assert_eq!(world.answer(uid, IDENTITIES).await, NONE);
        assert_eq!(world.answer(uid, &login(&own)).await, FAILURE, "{uid}");
        assert_eq!(world.state(uid).await.user, None);
    }
    world.bind(&[(JENKINS, "deploy"), (113, "deploy")]);
    let other = certificate(&world.answer(113, IDENTITIES).await);
    assert_ne!(other, own);
    assert_eq!(world.answer(113, &login(&own)).await, FAILURE, "the same user, somebody else's key");
    assert_eq!(world.answer(113, &login(&other)).await[4], 14);
}

#[tokio::test]
async fn what_changes_an_agent_is_refused_and_what_it_can_is_told() {
    let world = World::new();
    for kind in [17, 18, 19, 20, 21, 22, 23, 25, 26, 1, 200] {
        assert_eq!(world.answer(JENKINS, &[&[kind][..], &[0; 40]].concat()).await, FAILURE, "{kind}");
    }
    let extensions = world.answer(113, &[&[27, 0, 0, 0, 5][..], b"query"].concat()).await;
    assert!(String::from_utf8_lossy(&extensions).contains("session-bind@openssh.com"));
    let unknown = [&[27, 0, 0, 0, 3][..], b"x@y"].concat();
    assert_eq!(world.answer(JENKINS, &unknown).await, FAILURE);
}

#[tokio::test]
async fn what_is_unbound_signs_nothing_more() {
    let world = World::new();
    let own = certificate(&world.answer(JENKINS, IDENTITIES).await);
    world.bind(&[]);
    assert_eq!(world.answer(JENKINS, &login(&own)).await, FAILURE);
    assert_eq!(world.answer(JENKINS, IDENTITIES).await, NONE);
    // Bound again it is another identity: the key is gone.
    world.desk.look();
    world.bind(&[(JENKINS, "deploy")]);
    assert_eq!(world.answer(JENKINS, &login(&own)).await, FAILURE);
    assert_ne!(certificate(&world.answer(JENKINS, IDENTITIES).await), own);
}

#[tokio::test]
async fn what_arrives_after_an_unbinding_is_not_kept() {
    let world = Arc::new(World::new());
    world.script.open.send_replace(false);
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { world.answer(JENKINS, IDENTITIES).await }
    });
    tokio::task::yield_now().await;
    world.bind(&[(JENKINS, "backup")]);
    world.script.open.send_replace(true);
    assert_eq!(waiting.await.unwrap(), FAILURE);
    assert_eq!(world.state(JENKINS).await.certificate_until, None);
}

#[tokio::test]
async fn a_thousand_ask_and_the_issuer_is_asked_once() {
    let world = Arc::new(World::new());
    world.script.open.send_replace(false);
    let asking: Vec<_> = (0..1000)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.answer(JENKINS, IDENTITIES).await })
        })
        .collect();
    tokio::task::yield_now().await;
    world.script.open.send_replace(true);
    let mut answers = Vec::new();
    for answer in asking {
        answers.push(certificate(&answer.await.unwrap()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.script.issued.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn why_there_is_no_certificate_is_told_to_whom_it_concerns() {
    let world = World::new();
    world.script.set(Mode::Fail("backend-failing"));
    assert_eq!(world.answer(JENKINS, IDENTITIES).await, FAILURE);
    let state = world.state(JENKINS).await;
    assert_eq!((state.uid, state.user.as_deref()), (JENKINS, Some("deploy")));
    assert_eq!(state.problem.unwrap().code, "backend-failing");
    assert_eq!(world.state(113).await.problem, None);
    // Another failure is not asked for at once.
    assert_eq!(world.answer(JENKINS, IDENTITIES).await, FAILURE);
    assert_eq!(world.script.issued.load(Ordering::Relaxed), 1);
    world.script.set(Mode::Issue("deploy"));
    world.desk.look();
    certificate(&world.answer(JENKINS, IDENTITIES).await);
    let state = world.state(JENKINS).await;
    assert!(state.problem.is_none() && state.certificate_until.is_some());
}

#[tokio::test]
async fn a_certificate_for_somebody_else_is_not_used() {
    let world = World::new();
    world.script.set(Mode::Issue("root"));
    assert_eq!(world.answer(JENKINS, IDENTITIES).await, FAILURE);
    let problem = world.state(JENKINS).await.problem.unwrap();
    assert!(problem.code == "certificate-unacceptable" && problem.message.contains("`root`"), "{problem:?}");
    world.script.set(Mode::Issue("deploy"));
    std::fs::remove_file(world.dir.path().join("user_ca.pub")).unwrap();
    world.desk.look();
    assert_eq!(world.answer(JENKINS, IDENTITIES).await, FAILURE);
    assert_eq!(world.state(JENKINS).await.problem.unwrap().code, "user-ca-unknown");
}

#[tokio::test]
async fn without_an_enrollment_nobody_issues() {
    let world = World::new();
    world.desk.set_issuer(None);
    assert_eq!(world.answer(JENKINS, IDENTITIES).await, FAILURE);
    assert_eq!(world.state(JENKINS).await.problem.unwrap().code, "not-enrolled");
    assert_eq!(world.resolve("web1").await, Err("not-enrolled".into()));
    world.desk.set_issuer(Some(Issuer::Script(world.script.clone())));
    certificate(&world.answer(JENKINS, IDENTITIES).await);
}

#[tokio::test]
async fn names_are_ways_over_bastions() {
    let world = World::new();
    assert_eq!(world.resolve("web1").await.unwrap(), ["h2", "h1"]);
    assert_eq!(world.resolve("bastion").await.unwrap(), ["h2"]);
    assert_eq!(world.resolve("h1").await.unwrap(), ["h2", "h1"], "by what ssh goes on with");
    assert_eq!(world.script.looked_up.load(Ordering::Relaxed), 2, "kept");
    assert_eq!(world.resolve("db").await.unwrap_err(), "target-ambiguous");
    assert_eq!(world.resolve("a").await.unwrap_err(), "bastion-loop");
    for unknown in ["github.com", "", "-oProxyCommand=x", "a b", "a\nb", &"x".repeat(256)] {
        assert_eq!(world.resolve(unknown).await.unwrap_err(), "target-unknown", "{unknown}");
    }
    let Answer::Refused(finding) = world.query(113, &Query::Resolve { name: "web1".into() }).await else {
        panic!("resolved for anybody");
    };
    assert_eq!(finding.code, "service-not-bound");
    let Answer::Refused(finding) = world.query(JENKINS, &Query::Resolve { name: "db".into() }).await else {
        panic!("one of two");
    };
    assert!(finding.message.contains("h3 (db, 192.0.2.1), h4 (db, 192.0.2.1)"), "{}", finding.message);
}

#[tokio::test]
async fn the_operator_says_which_names_are_gone_by() {
    let world = World::new();
    world.desk.set_hosts(Some(vec!["web?".into()]));
    assert_eq!(world.resolve("web1").await.unwrap(), ["h2", "h1"], "whatever its bastion is called");
    assert_eq!(world.resolve("bastion").await.unwrap_err(), "target-not-selected");
    assert_eq!(world.resolve("h2").await.unwrap(), ["h2"]);
    assert_eq!(world.resolve("github.com").await.unwrap_err(), "target-unknown");
    world.desk.set_hosts(None);
    assert_eq!(world.resolve("bastion").await.unwrap(), ["h2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_told_while_the_backend_is_down() {
    let world = World::new();
    world.resolve("web1").await.unwrap();
    let own = certificate(&world.answer(JENKINS, IDENTITIES).await);
    world.script.set(Mode::Down);
    assert_eq!(world.resolve("web1").await.unwrap(), ["h2", "h1"]);
    assert_eq!(world.resolve("h1").await.unwrap(), ["h2", "h1"], "found by another name");
    assert_eq!(world.resolve("web2").await, Err("backend-connection-refused".into()));
    assert_eq!(certificate(&world.answer(JENKINS, IDENTITIES).await), own);
    // Down for one question is down for all, for a while: nobody waits for it twice.
    world.bind(&[(JENKINS, "deploy"), (113, "deploy")]);
    assert_eq!(world.answer(113, IDENTITIES).await, FAILURE);
    assert_eq!(world.script.issued.load(Ordering::Relaxed), 1);
    assert_eq!(world.state(113).await.problem.unwrap().code, "backend-connection-refused");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_backend_that_says_nothing() {
    let world = World::new();
    world.script.open.send_replace(false);
    let start = tokio::time::Instant::now();
    assert_eq!(world.resolve("web1").await, Err("backend-timeout".into()));
    assert_eq!(world.answer(JENKINS, IDENTITIES).await, FAILURE);
    // For all of it: what a login needs one after the other.
    let most = super::super::issuer::PATIENCE;
    assert!(start.elapsed() <= most, "{:?}", start.elapsed());
    assert_eq!(world.state(JENKINS).await.problem.unwrap().code, "backend-timeout");
}
