//! The backend as a whole: what is served, what is remembered, what is wrong on purpose.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use crate::credential::Verifier;
use crate::faults::{Fault, Faults, Layer};
use crate::keys::Role;
use crate::publisher::{PublishError, Publisher, Revocations, SharedView, Source};
use crate::registry::{Registry, RegistryError};
use hostward_protocol::causes::chain;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to publish from, and where the state is.
    pub source: Source,
    /// Where to listen; port 0 for any.
    pub listen: SocketAddr,
    /// Further names of the server.
    pub names: Vec<String>,
    /// The URL that tokens name; from the address where absent.
    pub url: Option<String>,
    /// Whether the repository asks for host credentials.
    pub repository_auth: bool,
    /// Faults that are on from the start: name and arguments.
    pub faults: Vec<(String, Vec<String>)>,
}

impl Options {
    /// The usual options for a team file and a state directory, on a loopback port of the system's choice.
    pub fn new(team: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Options {
        Options {
            source: Source {
                team: team.into(),
                state: state.into(),
                lifetimes: Default::default(),
                resign: std::time::Duration::from_secs(6 * 3600),
            },
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: Vec::new(),
            url: None,
            repository_auth: false,
            faults: Vec::new(),
        }
    }
}

/// The origins by which a backend at an address is known; the first is the one that tokens name.
pub fn origins(options: &Options, address: SocketAddr) -> Vec<String> {
    let port = match address.port() {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let mut hosts = Vec::new();
    if !address.ip().is_unspecified() {
        hosts.push(match address {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        });
    }
    hosts.extend(options.names.iter().cloned());
    hosts.push("localhost".into());
    let own = hosts.iter().map(|host| format!("https://{host}{port}"));
    let url = options.url.iter().map(|url| url.trim_end_matches('/').to_owned());
    url.chain(own).collect()
}

/// The state behind all requests.
pub struct Backend {
    /// How it was started.
    pub options: Options,
    /// Origins by which it is known.
    pub origins: Vec<String>,
    publisher: Mutex<Publisher>,
    registry: Mutex<Registry>,
    verifier: Mutex<Verifier>,
    faults: Mutex<Faults>,
    view: watch::Sender<SharedView>,
    /// Why the team file as it was read last is not what is published.
    team_problem: Mutex<Option<String>>,
    /// Rises when all connections are to end.
    pub connections: watch::Sender<u64>,
}

impl Backend {
    /// Reads state and file.
    pub fn open(options: Options, address: SocketAddr, now: DateTime<Utc>) -> Result<Backend, OpenError> {
        let mut faults = Faults::default();
        for (name, arguments) in &options.faults {
            let fault = crate::faults::parse(name, arguments)?;
            faults.insert(name, fault, arguments);
        }
        crate::file::make_private_dir(&options.source.state).map_err(PublishError::File)?;
        let mut publisher = Publisher::open(options.source.clone(), now)?;
        if faults.iter().any(|fault| fault.layer() == Layer::Publication) {
            publisher.publish(&faults, true, now)?;
        }
        let view = publisher.view(&faults)?;
        let origins = origins(&options, address);
        Ok(Backend {
            registry: Mutex::new(Registry::open(&options.source.state)?),
            verifier: Mutex::new(Verifier::new(origins.clone())),
            publisher: Mutex::new(publisher),
            faults: Mutex::new(faults),
            view: watch::Sender::new(Arc::new(view)),
            team_problem: Mutex::new(None),
            connections: watch::Sender::new(0),
            origins,
            options,
        })
    }

    /// What is served now.
    pub fn view(&self) -> SharedView {
        self.view.borrow().clone()
    }

    /// Tells of every change of what is served.
    pub fn watch_view(&self) -> watch::Receiver<SharedView> {
        self.view.subscribe()
    }

    /// Tokens, hosts, reports.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    /// Verifies credentials.
    pub fn verifier(&self) -> MutexGuard<'_, Verifier> {
        lock(&self.verifier)
    }

    /// The faults that are on.
    pub fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    /// The clock that credentials are held against and `Date` shows, which may be wrong on purpose.
    /// Tokens and all that is published live by the true time.
    pub fn clock(&self) -> DateTime<Utc> {
        let offset = lock(&self.faults).clock_offset();
        let offset = TimeDelta::try_seconds(offset).unwrap_or_default();
        Utc::now().checked_add_signed(offset).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Reads the team file again; returns the version that is published then, and whether the file had changed.
    pub fn reload(&self) -> Result<(u64, bool), PublishError> {
        let reloaded = self.change(|publisher, faults| publisher.reload(faults, Utc::now()));
        *lock(&self.team_problem) = reloaded.as_ref().err().map(|error| chain(error));
        Ok((self.view().version, reloaded?))
    }

    /// Why the team file as it was read last is not what is published.
    pub fn team_problem(&self) -> Option<String> {
        lock(&self.team_problem).clone()
    }

    /// Signs anew what is due.
    pub fn resign(&self) -> Result<(), PublishError> {
        if !lock(&self.publisher).is_due(Utc::now()) {
            return Ok(());
        }
        self.change(|publisher, faults| publisher.publish(faults, false, Utc::now()))
    }

    /// Publishes new roots.
    pub fn rotate(&self, roles: &[Role], steps: u32) -> Result<u64, PublishError> {
        self.change(|publisher, faults| publisher.rotate(roles, steps, faults, Utc::now()))
    }

    /// Changes what is revoked by command.
    pub fn revoke(&self, change: impl FnOnce(&mut Revocations)) -> Result<u64, PublishError> {
        self.change(|publisher, faults| {
            let mut revocations = publisher.revocations().clone();
            change(&mut revocations);
            publisher.revoke(revocations, faults, Utc::now())
        })?;
        Ok(self.view().version)
    }

    /// Certificate principals of a user of the team file.
    pub fn principals(&self, user: &str) -> Option<Vec<String>> {
        lock(&self.publisher).policy().principals.get(user).cloned()
    }

    /// Switches faults: `change` sees those that are on. A change that cannot be published is taken back.
    pub fn switch_faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> Result<T, PublishError> {
        let before = self.faults();
        let mut after = before.clone();
        let result = change(&mut after);
        *lock(&self.faults) = after.clone();
        let layers = changed_layers(&before, &after);
        let published = self.change(|publisher, faults| {
            if layers.contains(&Layer::Publication) {
                publisher.publish(faults, true, Utc::now())?;
            }
            publisher.view(faults)
        });
        if let Err(error) = published {
            *lock(&self.faults) = before;
            return Err(error);
        }
        if layers.contains(&Layer::Tls) {
            self.disconnect();
        }
        Ok(result)
    }

    /// Ends all connections.
    pub fn disconnect(&self) {
        self.connections.send_modify(|generation| *generation += 1);
    }

    /// Changes what is published, and shows it to those who wait.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Publisher, &Faults) -> Result<T, PublishError>,
    ) -> Result<T, PublishError> {
        let mut publisher = lock(&self.publisher);
        let faults = self.faults();
        let result = change(&mut publisher, &faults);
        // Also after a failure: a part may have been published.
        let view = publisher.view(&faults)?;
        self.view.send_replace(Arc::new(view));
        result
    }
}

/// Why a backend cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What it should publish.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// What it should remember.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A fault that is no fault.
    #[error(transparent)]
    Fault(#[from] crate::faults::FaultError),
}

fn changed_layers(before: &Faults, after: &Faults) -> Vec<Layer> {
    let shown = |faults: &Faults| -> BTreeSet<(String, String)> {
        let pairs = faults.shown();
        pairs.map(|(name, arguments)| (name.into(), arguments.into())).collect()
    };
    let (old, new) = (shown(before), shown(after));
    let layer = |(name, fault): (&str, &Fault)| {
        let differs = old.symmetric_difference(&new).any(|(changed, _)| changed == name);
        differs.then(|| fault.layer())
    };
    before.named().chain(after.named()).filter_map(layer).collect()
}

/// Nothing that is locked here is left half-changed by a panic that the process survives.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
