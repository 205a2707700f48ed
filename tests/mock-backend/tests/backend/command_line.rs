//! The program itself, as a person uses it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use hostward_mock_backend::client::{Client, ClientError};
use hostward_mock_backend::control::SOCKET;

use crate::support::{TEAM, read_token};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hostward-mock-backend");

struct Serving {
    child: Child,
    lines: Vec<String>,
}

impl Serving {
    fn start(directory: &Path, arguments: &[&str]) -> Serving {
        let mut child = Command::new(PROGRAM)
            .current_dir(directory)
            .args(["serve", "--team", "team.toml", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            lines.push(line.unwrap());
            if lines.last().unwrap().starts_with("serving ") {
                break;
            }
        }
        Serving { child, lines }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).current_dir(directory).args(arguments).output().unwrap()
}

fn succeed(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fail(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_persons_session() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("team.toml"), TEAM).unwrap();
    assert!(fail(path, &["token"]).contains("no backend runs on"));

    let serving = Serving::start(path, &[]);
    assert_eq!(serving.lines[0], "project acme, policy version 1");
    let address = std::fs::read_to_string(path.join("mock-backend-state/address")).unwrap();
    assert!(serving.lines[2].contains(address.trim()), "{:?}", serving.lines);
    let ca = std::fs::read_to_string(path.join("mock-backend-state/tls/ca.pem")).unwrap();
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"));

    let token = read_token(succeed(path, &["token", "--uses", "5", "--ttl", "10m"]).trim());
    assert_eq!(token.url, format!("https://{}", address.trim()));
    let unpinned = read_token(succeed(path, &["token", "--no-pin"]).trim());
    assert_eq!(unpinned.root_sha256, None);
    let root = succeed(path, &["root"]);
    assert_eq!(root.trim(), format!("1 {}", token.root_sha256.unwrap()));

    std::fs::write(path.join("team.toml"), TEAM.replace("Bob Brown", "Bob B.")).unwrap();
    assert_eq!(succeed(path, &["sync"]).trim(), "2");
    assert!(succeed(path, &["policy", "--documents"]).contains("Bob B."));
    assert!(succeed(path, &["revoke", "--serial", "7"]).contains("version 3"));
    assert!(fail(path, &["revoke"]).contains("revoke what?"));
    assert!(succeed(path, &["rotate-root", "--keys", "all", "--steps", "2"]).contains("version 3"));

    assert_eq!(succeed(path, &["faults"]).trim(), "no faults");
    assert!(succeed(path, &["faults", "--all"]).contains("tls-expired"));
    assert_eq!(succeed(path, &["fault", "delay", "on", "ms=5", "count=1"]).trim(), "delay ms=5 count=1");
    assert_eq!(succeed(path, &["fault", "all", "off"]).trim(), "no faults");
    assert!(fail(path, &["fault", "nonsense", "off"]).contains("there is no fault `nonsense`"));
    assert_eq!(succeed(path, &["hosts", "--json"]).trim(), "[]");
    assert_eq!(succeed(path, &["reports"]), "");
    assert!(fail(path, &["reports", "web1"]).contains("`web1`"));
}

#[test]
fn keys_are_signed_with_and_without_a_backend() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("team.toml"), TEAM).unwrap();
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&rand::random());
    let public = ssh_key::PrivateKey::from(pair).public_key().to_openssh().unwrap();
    std::fs::write(path.join("key.pub"), public).unwrap();
    let arguments = ["sign-key", "--user", "alice", "--pubkey", "key.pub"];
    assert!(fail(path, &arguments).contains("no backend ever served"));
    let signed = || {
        let line = std::fs::read_to_string(path.join("key-cert.pub")).unwrap();
        ssh_key::Certificate::from_openssh(&line).unwrap()
    };
    let serving = Serving::start(path, &[]);
    succeed(path, &arguments);
    let lifetime = signed().valid_before() - signed().valid_after();
    assert_eq!((signed().valid_principals()[0].as_str(), lifetime), ("alice", 240));
    let unknown = fail(path, &["sign-key", "--user", "mallory", "--pubkey", "key.pub"]);
    assert!(unknown.contains("no [users.mallory]"), "{unknown}");
    drop(serving);
    let hostile = ["--valid-from", "-2h", "--valid-to", "-1h", "--serial", "9", "--host-cert"];
    succeed(path, &[&arguments[..], &hostile[..]].concat());
    assert_eq!(signed().valid_before() - signed().valid_after(), 3600);
    assert_eq!((signed().serial(), signed().cert_type().is_host()), (9, true));
    assert!(fail(path, &["sign-key", "--pubkey", "key.pub"]).contains("whose certificate?"));
}

#[test]
fn faults_can_be_on_from_the_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("team.toml"), TEAM).unwrap();
    let arguments = ["--fault", "expired role=timestamp", "--fault", "no-wait"];
    let _serving = Serving::start(directory.path(), &arguments);
    assert_eq!(succeed(directory.path(), &["faults"]), "expired role=timestamp\nno-wait \n");
    assert!(succeed(directory.path(), &["policy"]).contains("version 2"));
}

#[test]
fn a_team_file_that_cannot_be_used_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let team = TEAM.replace("group = \"admins\"", "group = \"admin\"");
    std::fs::write(directory.path().join("team.toml"), team).unwrap();
    let error = fail(directory.path(), &["serve", "--team", "team.toml", "--listen", "127.0.0.1:0"]);
    let line = 1 + TEAM.lines().position(|line| line == "group = \"admins\"").unwrap();
    assert!(error.contains(&format!("line {line}:")), "{error}");
    assert!(error.contains("there is no [groups.admin]"), "{error}");
}

#[test]
fn whoever_asks_is_told_that_the_team_file_is_not_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("team.toml"), TEAM).unwrap();
    let _serving = Serving::start(path, &[]);
    assert!(succeed(path, &["status"]).starts_with("project acme, policy version 1, hosts: 0, serving at "));
    std::fs::write(path.join("team.toml"), TEAM.replace("group = \"admins\"", "group = \"admin\"")).unwrap();
    assert!(fail(path, &["sync"]).contains("there is no [groups.admin]"));
    for command in ["hosts", "reports", "policy"] {
        let output = run(path, &[command]);
        let warning = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{command}: {warning}");
        assert!(warning.contains("there is no [groups.admin]"), "{command}: {warning}");
    }
    assert!(fail(path, &["status"]).contains("there is no [groups.admin]"));
    std::fs::write(path.join("team.toml"), TEAM).unwrap();
    succeed(path, &["sync"]);
    succeed(path, &["status"]);
    assert!(run(path, &["hosts"]).stderr.is_empty());
}

#[test]
fn a_backend_that_does_not_answer_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    // It takes connections, as that of a suspended process does, and nobody reads from them.
    let _silent = std::os::unix::net::UnixListener::bind(state.join(SOCKET)).unwrap();
    let client = Client::new(state).patience(Duration::from_millis(10));
    let error = client.principals("alice").unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }), "{error}");
    assert!(error.to_string().contains("did not answer within 10ms"), "{error}");
}
