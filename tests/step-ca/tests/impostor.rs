//! What only looks like a step-ca, and what stands between.

use std::time::Duration;

use chrono::Utc;
use hostward_step_ca_tests::{Client, Impostor, Page};

const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn client(impostor: &Impostor, root_fingerprint: &str) -> Client {
    Client {
        url: impostor.url.clone(),
        root_fingerprint: root_fingerprint.into(),
        provisioner: "hostward".into(),
        password: "correct horse".into(),
        lifetime: "5m".into(),
        principals: vec!["deploy".into()],
    }
}

/// The code with which a server of these pages is refused that has a root of its own, which is the pinned one.
async fn refused(pages: Vec<(&'static str, Page)>) -> (String, String) {
    let mut all = vec![("/root/", Page::Answer(200, "{\"ca\": \"ROOT\"}".into()))];
    all.extend(pages);
    let impostor = Impostor::start(all).await;
    let (code, message, _) = client(&impostor, &impostor.fingerprint()).refused(Utc::now()).await;
    (code, message)
}

#[tokio::test]
async fn what_is_no_step_ca_is_told() {
    for page in [
        Page::Answer(200, "<html>It works!</html>".into()),
        Page::Answer(404, "404 page not found\n".into()),
        Page::Answer(200, "{}".into()),
        Page::Answer(403, "{\"message\": \"no\"}".into()),
        Page::Redirect("https://127.0.0.1:1/".into()),
    ] {
        let impostor = Impostor::start(vec![("", page.clone())]).await;
        let (code, message, mend) = client(&impostor, SHA256_OF_NOTHING).refused(Utc::now()).await;
        assert_eq!(code, "step-ca-other-server", "{page:?}: {message}");
        assert!(message.contains("is no step-ca"), "{message}");
        assert!(mend.contains("[step_ca] url"), "{mend}");
    }
}

#[tokio::test]
async fn another_root_than_the_pinned_one_is_not_believed() {
    let impostor = Impostor::start(vec![("/root/", Page::Answer(200, "{\"ca\": \"ROOT\"}".into()))]).await;
    let (code, message, _) = client(&impostor, SHA256_OF_NOTHING).refused(Utc::now()).await;
    assert_eq!(code, "step-ca-wrong-fingerprint");
    assert!(message.contains("presents another root certificate"), "{message}");
}

#[tokio::test]
async fn who_knows_the_root_but_has_no_certificate_under_it_is_not_believed() {
    let other = Impostor::start(Vec::new()).await;
    let root = other.root.replace('\n', "\\n");
    let impostor = Impostor::start(vec![(
        "/root/",
        Page::Answer(200, format!("{{\"ca\": \"{}\"}}", root.replace('\r', ""))),
    )])
    .await;
    let (code, message, mend) = client(&impostor, &other.fingerprint()).refused(Utc::now()).await;
    assert_eq!(code, "step-ca-unknown-issuer", "{message}");
    assert!(mend.contains("a proxy that opens TLS"), "{mend}");
}

#[tokio::test]
async fn answers_that_no_step_ca_gives_are_refused() {
    let json = |text: &str| Page::Answer(200, text.into());
    for (pages, expected) in [
        (vec![("/provisioners", json("[]"))], "step-ca-other-server"),
        (vec![("/provisioners", Page::Redirect("https://127.0.0.1:1/".into()))], "step-ca-other-server"),
        (vec![("/provisioners", Page::Answer(500, "{\"message\": \"x\"}".into()))], "step-ca-failing"),
        (vec![("/provisioners", Page::Answer(502, "bad gateway".into()))], "step-ca-failing"),
        (vec![("/provisioners", Page::Answer(429, "slow down".into()))], "step-ca-failing"),
        (vec![("/provisioners", Page::Endless)], "step-ca-answer-too-long"),
        // The page after this one is this one.
        (
            vec![("/provisioners", json("{\"provisioners\": [], \"nextCursor\": \"x\"}"))],
            "step-ca-unknown-provisioner",
        ),
        (
            vec![
                ("/provisioners/..%2F..%2Fx/encrypted-key", json("{\"key\": \"a.b.c.d.e\"}")),
                (
                    "/provisioners?",
                    json(
                        "{\"provisioners\": [{\"type\": \"JWK\", \"name\": \"hostward\", \"key\": {\"kid\": \"../../x\"}}]}",
                    ),
                ),
            ],
            "step-ca-unusable-key",
        ),
        (
            vec![
                ("/provisioners/k/encrypted-key", Page::Endless),
                (
                    "/provisioners?",
                    json(
                        "{\"provisioners\": [{\"type\": \"JWK\", \"name\": \"hostward\", \"key\": {\"kid\": \"k\"}}]}",
                    ),
                ),
            ],
            "step-ca-answer-too-long",
        ),
    ] {
        let (code, message) = refused(pages.clone()).await;
        assert_eq!(code, expected, "{pages:?}: {message}");
    }
}

#[tokio::test]
async fn what_it_says_obeys_nothing() {
    let page = Page::Answer(403, "{\"message\": \"\\u001b[2J\\u001b]0;x\\u0007 done\"}".into());
    let (code, message) = refused(vec![("/provisioners", page)]).await;
    assert_eq!(code, "step-ca-refused");
    assert!(message.contains("done") && !message.chars().any(char::is_control), "{message:?}");
}

#[tokio::test]
async fn silence_ends_within_the_patience() {
    let begun = tokio::time::Instant::now();
    let (code, message) = refused(vec![("/provisioners", Page::Silence)]).await;
    assert_eq!(code, "step-ca-timeout");
    assert!(message.ends_with("within 4 s"), "{message}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}
