//! The real one, built by `make step-ca` from `ca/main.go`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::Client;

/// The password of every JWK provisioner here.
pub const PASSWORD: &str = "correct horse";

/// A running step-ca; it ends when this is dropped.
#[derive(Debug)]
pub struct Ca {
    directory: tempfile::TempDir,
    process: Child,
    /// `https://127.0.0.1:PORT`
    pub url: String,
    /// SHA-256 of its root, hex.
    pub root_fingerprint: String,
}

#[derive(Deserialize)]
struct Ready {
    address: String,
    root_fingerprint: String,
}

impl Ca {
    /// One with an SSH CA, and a provisioner `hostward` of type JWK that may sign SSH certificates.
    pub fn start() -> Self {
        Self::with(vec![jwk(json!({}))])
    }

    /// One with an SSH CA and these provisioners, as ca.json has them; where they have a `password` their key is made.
    pub fn with(provisioners: Vec<Value>) -> Self {
        Self::set_up(true, "127.0.0.1", provisioners)
    }

    /// One without an SSH CA.
    pub fn without_ssh() -> Self {
        Self::set_up(false, "127.0.0.1", vec![jwk(json!({}))])
    }

    /// One that goes by another name than the address it is asked at.
    pub fn named(name: &str) -> Self {
        Self::set_up(true, name, vec![jwk(json!({}))])
    }

    fn set_up(ssh: bool, name: &str, provisioners: Vec<Value>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (process, ready) = run(directory.path(), ssh, name, provisioners);
        let url = format!("https://{}", ready.address);
        Ca { directory, process, url, root_fingerprint: ready.root_fingerprint }
    }

    /// Ends it; it can be started again.
    pub fn stop(&mut self) {
        self.process.kill().expect("step-ca runs no longer");
        self.process.wait().expect("step-ca does not end");
    }

    /// Starts it again, where it was and with the keys that it had, with these provisioners.
    pub fn restart(&mut self, provisioners: Vec<Value>) {
        self.stop();
        self.process = run(self.directory.path(), true, "127.0.0.1", provisioners).0;
    }

    /// Whoever asks it, with the provisioner `hostward` and its password.
    pub fn client(&self) -> Client {
        Client {
            url: self.url.clone(),
            root_fingerprint: self.root_fingerprint.clone(),
            provisioner: "hostward".into(),
            password: PASSWORD.into(),
            lifetime: "5m".into(),
            principals: vec!["deploy".into()],
        }
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A provisioner `hostward` of type JWK that may sign SSH certificates, but for what `change` has in place of that.
pub fn jwk(change: Value) -> Value {
    let mut provisioner =
        json!({"type": "JWK", "name": "hostward", "password": PASSWORD, "claims": {"enableSSHCA": true}});
    if let (Some(members), Value::Object(change)) = (provisioner.as_object_mut(), change) {
        members.extend(change);
    }
    provisioner
}

/// Another process may take the port between its being found free and its being used: that is tried again.
fn run(directory: &Path, ssh: bool, name: &str, provisioners: Vec<Value>) -> (Child, Ready) {
    let program = std::env::var_os("HOSTWARD_STEP_CA")
        .expect("HOSTWARD_STEP_CA names no step-ca: `make step-ca` builds target/tools/step-ca/step-ca");
    let setup = directory.join("setup.json");
    let wanted = json!({"ssh": ssh, "dns_names": [name], "provisioners": provisioners});
    std::fs::write(&setup, wanted.to_string()).expect("cannot write the setup");
    let log = || std::fs::File::create(directory.join("log")).expect("cannot write the log");
    for _ in 0..3 {
        let mut process = Command::new(&program)
            .arg(&setup)
            .env("STEPPATH", directory.join("step"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log())
            .spawn()
            .expect("cannot run step-ca");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("cannot read what step-ca says");
        if let Ok(ready) = serde_json::from_str(&line) {
            return (process, ready);
        }
        process.wait().expect("step-ca does not end");
    }
    panic!("step-ca does not start: {}", std::fs::read_to_string(directory.join("log")).unwrap_or_default());
}
