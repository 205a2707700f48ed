//! A real step-ca on the lab's side of the network, and hosts that trust it. No backend has a part in this.

use std::fs;
use std::path::PathBuf;

use hostward_lab::{BACKEND_NAME, Background, HERE, Host, Lab, wait_for};
use serde_json::{Value, json};

use crate::state::SOON;

const PORT: u16 = 9443;
/// Of the authority's own keys, as its program has it.
const AUTHORITY_PASSWORD: &str = "of the authority";

/// It; it ends when this is dropped.
pub struct StepCa<'lab> {
    lab: &'lab Lab,
    directory: PathBuf,
    server: Option<Background>,
    /// SHA-256 of its root, hex.
    pub root_fingerprint: String,
}

impl std::fmt::Debug for StepCa<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepCa").field("root_fingerprint", &self.root_fingerprint).finish_non_exhaustive()
    }
}

impl<'lab> StepCa<'lab> {
    /// The password of its provisioners.
    pub const PASSWORD: &'static str = "correct horse";

    /// One whose provisioner `ci` signs SSH certificates as the template of docs/step-ca.md has them, for a minute at
    /// least; the provisioner `x509` signs none.
    #[track_caller]
    #[must_use]
    pub fn start(lab: &'lab Lab) -> Self {
        let directory = lab.directory("step-ca").expect("a directory");
        let mut ca = StepCa { lab, directory, server: None, root_fingerprint: String::new() };
        let ready = ca.run();
        ca.root_fingerprint = ready["root_fingerprint"].as_str().expect("a fingerprint").to_owned();
        ca
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again, with the keys that it had but for those of its provisioners.
    #[track_caller]
    pub fn start_again(&mut self) {
        let _fingerprint_is_known = self.run();
    }

    /// `[step_ca]` for the provisioner `ci`, and what is to follow.
    #[must_use]
    pub fn configuration(&self, services: &str) -> String {
        let fingerprint = &self.root_fingerprint;
        format!(
            "[step_ca]\nurl = \"https://{BACKEND_NAME}:{PORT}\"\nroot_fingerprint = \"{fingerprint}\"\n\
             provisioner = \"ci\"\nlifetime = \"3m\"\n\n{services}"
        )
    }

    /// Makes a host let users in with its certificates, and present one of it for its own key.
    #[track_caller]
    pub fn trusted_by(&self, host: &Host) {
        let certs = self.directory.join("step/certs");
        let user_ca = fs::read_to_string(certs.join("ssh_user_ca_key.pub")).expect("the user CA");
        host.write("/etc/ssh/step_user_ca.pub", 0o644, "root:root", user_ca);
        let key = host.read("/etc/ssh/ssh_host_ed25519_key.pub");
        let certificate = self.host_certificate(host.name(), &key);
        host.write("/etc/ssh/ssh_host_ed25519_key-cert.pub", 0o644, "root:root", certificate);
        host.must(
            "printf '%s\\n' 'TrustedUserCAKeys /etc/ssh/step_user_ca.pub' 'HostCertificate \
             /etc/ssh/ssh_host_ed25519_key-cert.pub' | cat - /etc/ssh/sshd_config >/tmp/new && cat /tmp/new >/etc/ssh/sshd_config && \
             systemctl restart ssh",
        );
    }

    /// As whoever runs the CA makes one.
    #[track_caller]
    fn host_certificate(&self, name: &str, key: &str) -> String {
        let directory = self.lab.directory(&format!("step-ca-{name}")).expect("a directory");
        fs::write(directory.join("key.pub"), key).expect("the key");
        let ask = directory.join("ask");
        fs::write(&ask, format!("#!/bin/sh\necho '{AUTHORITY_PASSWORD}'\n")).expect("the password");
        let command = format!(
            "chmod 0700 {ask} && SSH_ASKPASS={ask} SSH_ASKPASS_REQUIRE=force ssh-keygen -q -s {ca} -h -I {name} -n {name} \
             -V -5m:+1h {key}",
            ask = ask.display(),
            ca = self.directory.join("step/secrets/ssh_host_ca_key").display(),
            key = directory.join("key.pub").display(),
        );
        let _silence = self.lab.run_in_network(&command).expect_success();
        fs::read_to_string(directory.join("key-cert.pub")).expect("the certificate")
    }

    #[track_caller]
    fn run(&mut self) -> Value {
        let program = std::env::var("HOSTWARD_STEP_CA")
            .expect("HOSTWARD_STEP_CA names no step-ca: `make step-ca` builds target/tools/step-ca/step-ca");
        let template = "{\"type\": \"user\", \"keyId\": {{ toJson .KeyID }}, \"principals\": [\"deploy\"], \
                        \"extensions\": {\"permit-pty\": \"\", \"permit-port-forwarding\": \"\"}}";
        let wanted = json!({
            "ssh": true,
            "address": format!("{HERE}:{PORT}"),
            "dns_names": [BACKEND_NAME],
            "provisioners": [
                {"type": "JWK", "name": "ci", "password": Self::PASSWORD,
                 "claims": {"enableSSHCA": true, "minUserSSHCertDuration": "1m"},
                 "options": {"ssh": {"template": template}}},
                {"type": "JWK", "name": "x509", "password": Self::PASSWORD, "claims": {"enableSSHCA": false}},
            ],
        });
        let setup = self.directory.join("setup.json");
        fs::write(&setup, wanted.to_string()).expect("the setup");
        // It ends with its standard input.
        let command = format!(
            "sleep infinity | STEPPATH={} {program} {}",
            self.directory.join("step").display(),
            setup.display()
        );
        let mut server = self.lab.spawn_in_network(&command);
        let mut ready = Value::Null;
        wait_for(SOON, "step-ca to serve", || {
            match serde_json::from_str(&server.stdout()) {
                Ok(said) => ready = said,
                Err(_) if server.is_running() => return Err(server.stderr()),
                Err(_) => panic!("step-ca ended: {}", server.stderr()),
            }
            Ok(())
        });
        self.server = Some(server);
        ready
    }
}
