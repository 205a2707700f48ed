//! Who asks.

use std::path::Path;

use chrono::{DateTime, Utc};
use hostward_step_ca::{Password, StepCa, StepCaError, Wanted};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{Certificate, PrivateKey};
use zeroize::Zeroizing;

/// What the operator wrote, and what is asked for.
#[derive(Clone, Debug)]
pub struct Client {
    /// `[step_ca] url`
    pub url: String,
    /// `[step_ca] root_fingerprint`
    pub root_fingerprint: String,
    /// `[step_ca] provisioner`
    pub provisioner: String,
    /// What systemd hands over.
    pub password: String,
    /// `[step_ca] lifetime`
    pub lifetime: String,
    /// `principals` of the service.
    pub principals: Vec<String>,
}

/// `[step_ca]` of a configuration, by way of its text.
pub fn configuration(client: &Client) -> hostward_config::StepCa {
    let Client { url, root_fingerprint, provisioner, lifetime, .. } = client;
    let text = format!(
        "[step_ca]\nurl = \"{url}\"\nroot_fingerprint = \"{root_fingerprint}\"\nprovisioner = \"{provisioner}\"\nlifetime = \"{lifetime}\"\n"
    );
    let config = hostward_config::parse(Path::new("hostward.toml"), &text).expect("a configuration");
    config.step_ca.expect("[step_ca]")
}

impl Client {
    /// The issuer, which has asked nothing yet.
    pub fn issuer(&self) -> StepCa {
        let password = Password::new(Zeroizing::new(self.password.clone().into_bytes()));
        StepCa::new(&configuration(self), password).expect("an issuer")
    }

    /// Asks once, with a new key and the key id `service:deploy@ci`.
    pub async fn ask(&self, now: DateTime<Utc>) -> Result<Certificate, StepCaError> {
        self.ask_of(&self.issuer(), now).await
    }

    /// The same of an issuer that may have asked before.
    pub async fn ask_of(&self, issuer: &StepCa, now: DateTime<Utc>) -> Result<Certificate, StepCaError> {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&rand::random()));
        let wanted = Wanted {
            public_key: key.public_key(),
            key_id: "service:deploy@ci",
            principals: &self.principals,
        };
        let certificate = issuer.issue(wanted, now).await?.certificate;
        assert_eq!(certificate.public_key(), key.public_key().key_data());
        Ok(certificate)
    }

    /// Why it is refused: code, message and what to do.
    ///
    /// # Panics
    /// When it is not.
    pub async fn refused(&self, now: DateTime<Utc>) -> (String, String, String) {
        let finding = self.ask(now).await.expect_err("this was to be refused").finding("step-ca");
        (finding.code, finding.message, finding.mend)
    }
}
