//! A real step-ca: what it signs, and each way in which it does not.

use std::process::Command;

use chrono::{TimeDelta, Utc};
use hostward_step_ca::{Fault, StepCaError, beyond_need};
use hostward_step_ca_tests::{Ca, Client, jwk};
use serde_json::json;

/// A template that gives the members of `change` in place of step-ca's own.
fn template(change: &str) -> serde_json::Value {
    let template = format!(
        r#"{{"type": {{{{ toJson .Type }}}}, "keyId": {{{{ toJson .KeyID }}}}, "principals": {{{{ toJson .Principals }}}},
            "extensions": {{"permit-pty": "", "permit-port-forwarding": ""}}{change}}}"#
    );
    json!({"ssh": {"template": template}})
}

#[tokio::test]
async fn the_default_template_gives_what_was_asked_for() {
    let ca = Ca::start();
    let client = Client { principals: vec!["deploy".into(), "zone:a".into()], ..ca.client() };
    let issuer = client.issuer();
    let now = Utc::now();
    let certificate = client.ask_of(&issuer, now).await.unwrap();
    assert_eq!(certificate.valid_principals(), ["deploy", "zone:a"]);
    assert_eq!(certificate.key_id(), "service:deploy@ci");
    let seconds = i64::try_from(certificate.valid_before()).unwrap() - now.timestamp();
    assert!((295..=305).contains(&seconds), "good for {seconds} s");
    // The template is the CA's: what it allows beyond need is there to be warned of.
    let beyond = beyond_need(&certificate);
    assert_eq!(beyond, ["permit-X11-forwarding", "permit-agent-forwarding", "permit-user-rc"]);

    let roots = issuer.roots().await.unwrap();
    assert_eq!(roots.user.len(), 1);
    assert_eq!(roots.user[0].key_data(), certificate.signature_key());
    assert_eq!(roots.host.len(), 1);
    assert_ne!(roots.host, roots.user);

    // OpenSSH reads it alike.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("id-cert.pub");
    std::fs::write(&file, certificate.to_openssh().unwrap()).unwrap();
    let listed = Command::new("ssh-keygen").arg("-Lf").arg(&file).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for said in ["ssh-ed25519-cert-v01@openssh.com user certificate", "\"service:deploy@ci\"", "zone:a"] {
        assert!(listed.contains(said), "{listed}");
    }

    // Asked again: a token is good once, and there is a new one.
    let again = client.ask_of(&issuer, Utc::now()).await.unwrap();
    assert_ne!(again.serial(), certificate.serial());
}

#[tokio::test]
async fn a_template_may_narrow_what_a_certificate_is_good_for() {
    let ca = Ca::with(vec![jwk(
        json!({"options": template(r#", "criticalOptions": {"source-address": "127.0.0.1/32"}"#)}),
    )]);
    let certificate = ca.client().ask(Utc::now()).await.unwrap();
    assert!(beyond_need(&certificate).is_empty());
    assert_eq!(certificate.critical_options()["source-address"], "127.0.0.1/32");
}

#[tokio::test]
async fn a_template_with_principals_of_its_own_is_seen_through() {
    let hard =
        json!({"ssh": {"template": r#"{"type": "user", "keyId": "x", "principals": ["ops", "root"]}"#}});
    let ca = Ca::with(vec![jwk(json!({"options": hard}))]);
    let (code, message, mend) = ca.client().refused(Utc::now()).await;
    assert_eq!(code, "step-ca-other-principals");
    assert_eq!(message, "the CA signed for `ops`, `root`, not for `deploy`");
    assert!(
        mend.contains("options.ssh.template") && mend.contains("`principals` of [[step_ca.services]]"),
        "{mend}"
    );

    // With the same ones in the configuration it is as it should be.
    let client = Client { principals: vec!["root".into(), "ops".into()], ..ca.client() };
    assert_eq!(client.ask(Utc::now()).await.unwrap().valid_principals(), ["ops", "root"]);
}

#[tokio::test]
async fn a_template_without_principals_or_for_hosts_is_refused() {
    for (template, expected) in [
        (r#"{"type": "user", "keyId": "x", "principals": []}"#, "step-ca-no-principals"),
        (r#"{"type": "host", "keyId": "x", "principals": ["deploy"]}"#, "step-ca-other-certificate"),
    ] {
        let ca = Ca::with(vec![jwk(json!({"options": {"ssh": {"template": template}}}))]);
        let (code, message, _) = ca.client().refused(Utc::now()).await;
        assert_eq!(code, expected, "{message}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let ca = Ca::start();
    let client = Client { password: "battery staple".into(), ..ca.client() };
    let (code, message, mend) = client.refused(Utc::now()).await;
    assert_eq!(code, "step-ca-wrong-password");
    assert_eq!(message, "the password does not open the key of the provisioner `hostward`");
    assert!(mend.contains("/etc/hostward/step-ca.password") && mend.contains("restart hostward"), "{mend}");
    assert!(!message.contains("battery") && !mend.contains("battery"));
}

#[tokio::test]
async fn a_wrong_fingerprint_is_told() {
    let (ca, other) = (Ca::start(), Ca::start());
    let client = Client { root_fingerprint: other.root_fingerprint.clone(), ..ca.client() };
    let (code, message, mend) = client.refused(Utc::now()).await;
    assert_eq!(code, "step-ca-wrong-fingerprint");
    let expected = format!(
        "the step-ca at {}/ has no root certificate with the fingerprint {}",
        ca.url, other.root_fingerprint
    );
    assert_eq!(message, expected);
    assert!(mend.contains("step certificate fingerprint") && mend.contains("root_fingerprint"), "{mend}");
}

#[tokio::test]
async fn an_unknown_provisioner_is_told_with_those_there_are() {
    let ca = Ca::with(vec![jwk(json!({})), json!({"type": "ACME", "name": "acme"})]);
    let client = Client { provisioner: "hostwad".into(), ..ca.client() };
    let (code, message, mend) = client.refused(Utc::now()).await;
    assert_eq!(code, "step-ca-unknown-provisioner");
    assert_eq!(message, "the CA has no provisioner `hostwad`; it has `hostward`, `acme`");
    assert!(mend.contains("[step_ca] provisioner"), "{mend}");
}

#[tokio::test]
async fn a_provisioner_of_another_type_is_told() {
    let ca = Ca::with(vec![jwk(json!({})), json!({"type": "ACME", "name": "acme"})]);
    let client = Client { provisioner: "acme".into(), ..ca.client() };
    let (code, message, mend) = client.refused(Utc::now()).await;
    assert_eq!(code, "step-ca-not-jwk");
    assert_eq!(message, "the provisioner `acme` is of type ACME, not JWK");
    assert!(mend.contains("JWK"), "{mend}");
}

#[tokio::test]
async fn a_provisioner_is_found_on_any_page() {
    // The CA sorts them by a hash: with three pages of them the one is mostly not on the first.
    let many = (0..55).map(|n| json!({"type": "ACME", "name": format!("acme-{n}")}));
    let ca = Ca::with(many.chain([jwk(json!({}))]).collect());
    ca.client().ask(Utc::now()).await.unwrap();
    let client = Client { provisioner: "nobody".into(), ..ca.client() };
    let (_, message, _) = client.refused(Utc::now()).await;
    assert!(message.contains("`acme-0`"), "{message}");
}

#[tokio::test]
async fn a_key_that_the_ca_does_not_keep_is_told() {
    let key = json!({"use": "sig", "kty": "EC", "kid": "k", "crv": "P-256", "alg": "ES256",
        "x": "BYHwBde6lNY_QDr1MKWbeQGNcpeQWIZzo3iGCPDGloA", "y": "bgH4P1OEanBdiN39QtpXTO_B1D7htTF6kBYx2n9YAGk"});
    let ca = Ca::with(vec![json!({"type": "JWK", "name": "hostward", "key": key})]);
    let (code, message, mend) = ca.client().refused(Utc::now()).await;
    assert_eq!(code, "step-ca-no-key");
    assert_eq!(message, "the CA does not keep the encrypted key of the provisioner `hostward`");
    assert!(mend.contains("encryptedKey"), "{mend}");
}

#[tokio::test]
async fn ssh_that_is_not_enabled_is_told() {
    let ca = Ca::with(vec![jwk(json!({"claims": {}}))]);
    let (code, message, mend) = ca.client().refused(Utc::now()).await;
    assert_eq!(code, "step-ca-ssh-not-enabled");
    assert_eq!(message, "SSH certificates are not enabled for the provisioner `hostward`");
    assert!(mend.contains("claims.enableSSHCA"), "{mend}");
}

#[tokio::test]
async fn a_ca_without_ssh_is_told() {
    let ca = Ca::without_ssh();
    let (code, message, mend) = ca.client().refused(Utc::now()).await;
    assert_eq!(code, "step-ca-no-ssh");
    assert_eq!(message, "the CA has no SSH CA: it was set up without SSH");
    assert!(mend.contains("ssh.userKey"), "{mend}");
    assert!(matches!(ca.client().issuer().roots().await, Err(StepCaError::NoSsh)));
}

#[tokio::test]
async fn a_lifetime_outside_of_the_bounds_is_told() {
    let ca = Ca::with(vec![jwk(json!({"claims": {"enableSSHCA": true, "maxUserSSHCertDuration": "1h",
        "defaultUserSSHCertDuration": "1h"}}))]);
    let (code, message, mend) = Client { lifetime: "2m".into(), ..ca.client() }.refused(Utc::now()).await;
    assert_eq!(code, "step-ca-lifetime-too-short");
    assert!(message.starts_with("the CA refuses a lifetime of 120s as too short: "), "{message}");
    assert!(message.contains("5m0s"), "{message}");
    assert!(mend.contains("[step_ca] lifetime") && mend.contains("--ssh-user-min-dur"), "{mend}");

    let (code, message, mend) = Client { lifetime: "3h".into(), ..ca.client() }.refused(Utc::now()).await;
    assert_eq!(code, "step-ca-lifetime-too-long");
    assert!(message.starts_with("the CA refuses a lifetime of 10800s as too long: "), "{message}");
    assert!(mend.contains("--ssh-user-max-dur"), "{mend}");

    // A provisioner whose minimum was lowered gives what hostward's own certificates live.
    let ca = Ca::with(vec![jwk(json!({"claims": {"enableSSHCA": true, "minUserSSHCertDuration": "1m"}}))]);
    Client { lifetime: "3m".into(), ..ca.client() }.ask(Utc::now()).await.unwrap();
}

#[tokio::test]
async fn clocks_that_differ_are_told() {
    let ca = Ca::start();
    for (off, said) in [
        (-600, "about 10 minutes behind"),
        (600, "about 10 minutes ahead of"),
        (-110, "s behind"),
        (7210, "about 2 hours ahead of"),
    ] {
        let (code, message, mend) = ca.client().refused(Utc::now() + TimeDelta::seconds(off)).await;
        assert_eq!(code, "step-ca-clock-skew", "{message}");
        assert!(message.starts_with("the clocks differ: this host's is "), "{message}");
        assert!(message.contains(&format!("{said} the CA's: ")), "{message}");
        assert!(mend.contains("timedatectl"), "{mend}");
    }
    // Half a minute is what clocks differ by.
    ca.client().ask(Utc::now() + TimeDelta::seconds(30)).await.unwrap();
}

#[tokio::test]
async fn principals_that_are_not_allowed_are_told() {
    let refusing = r#"{{ range .Principals }}{{ if ne . "backup" }}{{ fail (printf "principal %s is not allowed" .) }}{{ end }}{{ end }}
        {"type": "user", "keyId": {{ toJson .KeyID }}, "principals": {{ toJson .Principals }}}"#;
    // step-ca takes for base64 what does not begin with a brace.
    let template = format!("{{{{/* */}}}}{refusing}");
    let ca = Ca::with(vec![jwk(json!({"options": {"ssh": {"template": template}}}))]);
    let (code, message, mend) = ca.client().refused(Utc::now()).await;
    assert_eq!(code, "step-ca-principals-refused", "{message}");
    assert!(message.starts_with("the CA refuses the principals `deploy`: "), "{message}");
    assert!(message.contains("principal deploy is not allowed"), "{message}");
    assert!(mend.contains("`principals` in [[step_ca.services]]"), "{mend}");
    Client { principals: vec!["backup".into()], ..ca.client() }.ask(Utc::now()).await.unwrap();
}

#[tokio::test]
async fn a_name_that_the_ca_does_not_go_by_is_told() {
    let ca = Ca::named("ca.example");
    let (code, message, mend) = ca.client().refused(Utc::now()).await;
    assert_eq!(code, "step-ca-wrong-name");
    assert_eq!(message, "the TLS certificate of the CA is not for 127.0.0.1");
    assert!(mend.contains("dnsNames"), "{mend}");
}

#[tokio::test]
async fn a_ca_that_is_down_is_told_and_used_again_when_it_is_up() {
    let mut ca = Ca::start();
    let client = ca.client();
    let issuer = client.issuer();
    client.ask_of(&issuer, Utc::now()).await.unwrap();
    ca.stop();
    for issuer in [&issuer, &client.issuer()] {
        let error = client.ask_of(issuer, Utc::now()).await.unwrap_err();
        let finding = error.finding("step-ca");
        assert_eq!(finding.code, "step-ca-down", "{}", finding.message);
        let port = ca.url.rsplit(':').next().unwrap();
        assert_eq!(finding.message, format!("the CA is down: 127.0.0.1 refuses connections on port {port}"));
        assert!(finding.mend.contains("systemctl status step-ca"), "{}", finding.mend);
        assert!(matches!(error, StepCaError::Fault(Fault::ConnectionRefused { .. })));
    }
    ca.restart(vec![jwk(json!({}))]);
    client.ask_of(&issuer, Utc::now() + TimeDelta::seconds(1)).await.unwrap();
}

#[tokio::test]
async fn a_provisioner_that_got_a_new_key_is_found_again() {
    let mut ca = Ca::start();
    let client = ca.client();
    let issuer = client.issuer();
    client.ask_of(&issuer, Utc::now()).await.unwrap();
    ca.restart(vec![jwk(json!({}))]);
    // It may have been started in this second, and takes no token from before its start.
    let certificate = client.ask_of(&issuer, Utc::now() + TimeDelta::seconds(1)).await.unwrap();
    assert_eq!(certificate.valid_principals(), ["deploy"]);
}

#[tokio::test]
async fn many_ask_at_once() {
    let ca = Ca::start();
    let client = ca.client();
    let issuer = client.issuer();
    let now = Utc::now();
    let asking = (0..20).map(|_| Box::pin(client.ask_of(&issuer, now)));
    let mut serials = Vec::new();
    let mut asking: Vec<_> = asking.collect();
    std::future::poll_fn(|context| {
        asking.retain_mut(|ask| match ask.as_mut().poll(context) {
            std::task::Poll::Ready(certificate) => {
                serials.push(certificate.unwrap().serial());
                false
            }
            std::task::Poll::Pending => true,
        });
        if asking.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), 20);
}
