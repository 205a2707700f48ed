//! Why there is no certificate, and what to do about it.

use hostward_config::Fingerprint;
use hostward_protocol::report::{Finding, Responsible};

use crate::certificate::CertificateError;
use crate::fault::Fault;
use crate::skew::Skew;

/// Why the CA gave no certificate that can be used.
#[derive(Debug, thiserror::Error)]
pub enum StepCaError {
    /// The CA could not be asked.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Not a URL.
    #[error("`{0}` is not the URL of a CA")]
    Url(String),
    /// No root of this fingerprint.
    #[error("the step-ca at {url} has no root certificate with the fingerprint {fingerprint}")]
    UnknownRoot {
        /// Where it is.
        url: String,
        /// What was asked for.
        fingerprint: Fingerprint,
    },
    /// Another root than was asked for.
    #[error(
        "what answers at {url} presents another root certificate than the one with the fingerprint {fingerprint}"
    )]
    OtherRoot {
        /// Where it is.
        url: String,
        /// What was asked for.
        fingerprint: Fingerprint,
    },
    /// Something else listens there.
    #[error("what answers at {url} is no step-ca (HTTP status {status})")]
    NotStepCa {
        /// What was asked for.
        url: String,
        /// Status of the answer.
        status: u16,
    },
    /// The CA is there and does not work.
    #[error("the CA cannot answer {url} now (HTTP status {status})")]
    Failing {
        /// What was asked for.
        url: String,
        /// Status of the answer.
        status: u16,
    },
    /// No provisioner of this name.
    #[error("the CA has no provisioner `{name}`{}", known(others))]
    UnknownProvisioner {
        /// The name.
        name: String,
        /// Others that it has.
        others: Vec<String>,
    },
    /// A provisioner that has no password.
    #[error("the provisioner `{name}` is of type {kind}, not JWK")]
    NotJwk {
        /// The name.
        name: String,
        /// Its type.
        kind: String,
    },
    /// The key is somewhere else.
    #[error("the CA does not keep the encrypted key of the provisioner `{name}`")]
    NoKey {
        /// The name.
        name: String,
    },
    /// The password is another.
    #[error("the password does not open the key of the provisioner `{name}`")]
    WrongPassword {
        /// The name.
        name: String,
    },
    /// The key cannot be read, or is not used.
    #[error("cannot use the key of the provisioner `{name}`: {message}")]
    UnusableKey {
        /// The name.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// A request could not be made.
    #[error("cannot put a request to the CA together")]
    Request,
    /// The CA signs no SSH certificates at all.
    #[error("the CA has no SSH CA: it was set up without SSH")]
    NoSsh,
    /// The CA signs SSH certificates, but not for this provisioner.
    #[error("SSH certificates are not enabled for the provisioner `{name}`")]
    SshNotEnabled {
        /// The name.
        name: String,
    },
    /// The CA does not accept the token, without saying why.
    #[error("the CA does not accept the provisioner `{name}`: {message}")]
    Unauthorized {
        /// The name.
        name: String,
        /// What the CA said.
        message: String,
    },
    /// The clocks differ.
    #[error("the clocks differ: {0}")]
    ClockSkew(Skew),
    /// Below the provisioner's minimum.
    #[error("the CA refuses a lifetime of {lifetime} as too short: {message}")]
    LifetimeTooShort {
        /// What was asked for.
        lifetime: String,
        /// What the CA said.
        message: String,
    },
    /// Above the provisioner's maximum.
    #[error("the CA refuses a lifetime of {lifetime} as too long: {message}")]
    LifetimeTooLong {
        /// What was asked for.
        lifetime: String,
        /// What the CA said.
        message: String,
    },
    /// The provisioner may not sign for these.
    #[error("the CA refuses the principals {principals}: {message}")]
    PrincipalsRefused {
        /// What was asked for.
        principals: String,
        /// What the CA said.
        message: String,
    },
    /// Anything else.
    #[error("the CA refuses (HTTP status {status} from {url}): {message}")]
    Refused {
        /// What was asked for.
        url: String,
        /// Status of the answer.
        status: u16,
        /// What the CA said.
        message: String,
    },
    /// The CA signed, and not what was asked for.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

fn known(others: &[String]) -> String {
    match others {
        [] => String::new(),
        others => {
            format!("; it has {}", others.iter().map(|o| format!("`{o}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

impl StepCaError {
    /// For people and programs. The operator acts: whoever runs the CA is known to nobody else.
    pub fn finding(&self, subject: &str) -> Finding {
        let (code, mend) = self.advice();
        Finding {
            code: code.into(),
            subject: subject.into(),
            message: self.to_string(),
            responsible: Responsible::Operator,
            mend: mend.into(),
        }
    }

    /// Whether what was remembered of the CA may be why: it is worth asking it anew.
    pub(crate) fn may_be_stale(&self) -> bool {
        match self {
            StepCaError::Fault(fault) => fault.may_be_stale(),
            StepCaError::Unauthorized { .. } | StepCaError::SshNotEnabled { .. } => true,
            _ => false,
        }
    }

    fn advice(&self) -> (&'static str, &'static str) {
        match self {
            StepCaError::Fault(fault) => fault.advice(),
            StepCaError::Certificate(error) => error.advice(),
            StepCaError::Url(_) => ("step-ca-url", "correct [step_ca] url"),
            StepCaError::UnknownRoot { .. } | StepCaError::OtherRoot { .. } => (
                "step-ca-wrong-fingerprint",
                "take the fingerprint on the CA itself (step certificate fingerprint $(step path)/certs/root_ca.crt), put it into \
                 [step_ca] root_fingerprint, and check [step_ca] url",
            ),
            StepCaError::NotStepCa { .. } => {
                ("step-ca-other-server", "correct [step_ca] url: host and port of step-ca, without a path")
            }
            StepCaError::Failing { .. } => {
                ("step-ca-failing", "see the log of step-ca; it is tried again at the next ssh")
            }
            StepCaError::UnknownProvisioner { .. } => (
                "step-ca-unknown-provisioner",
                "correct [step_ca] provisioner, or add it on the CA: step ca provisioner add NAME --type JWK --create --ssh",
            ),
            StepCaError::NotJwk { .. } => (
                "step-ca-not-jwk",
                "name in [step_ca] provisioner one of type JWK (step ca provisioner add NAME --type JWK --create --ssh)",
            ),
            StepCaError::NoKey { .. } => (
                "step-ca-no-key",
                "let the provisioner have its `encryptedKey` in the CA's ca.json (step ca provisioner add NAME --type JWK --create --ssh)",
            ),
            StepCaError::WrongPassword { .. } => (
                "step-ca-wrong-password",
                "write the provisioner's password (not that of the CA's own keys) to /etc/hostward/step-ca.password, then: \
                 systemctl restart hostward",
            ),
            StepCaError::UnusableKey { .. } => (
                "step-ca-unusable-key",
                "make a provisioner with a new key: step ca provisioner add NAME --type JWK --create --ssh",
            ),
            StepCaError::Request => ("step-ca-request", "report this"),
            StepCaError::NoSsh => (
                "step-ca-no-ssh",
                "set SSH up on the CA: ssh.userKey and ssh.hostKey in ca.json (step ca init --ssh makes them), then restart step-ca",
            ),
            StepCaError::SshNotEnabled { .. } => (
                "step-ca-ssh-not-enabled",
                "enable it on the CA (step ca provisioner update NAME --ssh, or claims.enableSSHCA in ca.json), then restart step-ca",
            ),
            StepCaError::Unauthorized { .. } => (
                "step-ca-unauthorized",
                "see the log of step-ca for the reason. Common ones: the host in [step_ca] url is not among `dnsNames` in ca.json; the \
                 provisioner was replaced by another of its name; step-ca was started a moment ago",
            ),
            StepCaError::ClockSkew(_) => (
                "step-ca-clock-skew",
                "see by another clock which of the two is wrong, and set it, on this host or on the CA's \
                 (timedatectl set-ntp true)",
            ),
            StepCaError::LifetimeTooShort { .. } => (
                "step-ca-lifetime-too-short",
                "set [step_ca] lifetime to at least the provisioner's minimum, or lower that on the CA: \
                 step ca provisioner update NAME --ssh-user-min-dur=3m",
            ),
            StepCaError::LifetimeTooLong { .. } => (
                "step-ca-lifetime-too-long",
                "set [step_ca] lifetime to at most the provisioner's maximum, or raise that on the CA: \
                 step ca provisioner update NAME --ssh-user-max-dur=1h",
            ),
            StepCaError::PrincipalsRefused { .. } => (
                "step-ca-principals-refused",
                "correct `principals` in [[step_ca.services]], or allow them on the CA: the provisioner's SSH template \
                 (options.ssh.template) and the policy of the CA (authority.policy.ssh.user.allow.principal)",
            ),
            StepCaError::Refused { .. } => (
                "step-ca-refused",
                "see the message, the log of step-ca, and the provisioner's SSH template (options.ssh.template in ca.json)",
            ),
        }
    }
}
