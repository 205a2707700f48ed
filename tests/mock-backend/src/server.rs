//! Starts everything and keeps it going until it is dropped.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use crate::backend::{Backend, OpenError, Options, origins};
use crate::client::Client;
use crate::file::{self, Access, FileError};
use crate::tls::{ServerTls, TlsError};
use crate::watch::{FileWatch, WatchError};
use hostward_protocol::causes::chain;

use crate::{control, http, note};

/// Why the backend does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// State or file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The server's certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The team file cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Another backend uses the state directory.
    #[error("another backend serves from `{}`", .0.display())]
    Busy(PathBuf),
    /// The address is not to be had.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The control socket is not to be had.
    #[error("cannot listen on `{}`", .0.display())]
    Control(PathBuf, #[source] std::io::Error),
}

/// A backend that runs. It stops when this is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// The URL that tokens name.
    pub url: String,
    /// The certificate of the CA that its own certificate is of.
    pub ca_path: PathBuf,
    backend: Arc<Backend>,
    tasks: JoinSet<()>,
    control: PathBuf,
    _lock: Flock<std::fs::File>,
}

impl Server {
    /// Starts a backend. Needs a tokio runtime.
    pub async fn start(options: Options) -> Result<Server, StartError> {
        let state = options.source.state.clone();
        file::make_private_dir(&state)?;
        let lock = lock(&state)?;
        allow_many_descriptors();
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.map_err(|e| StartError::Listen(options.listen, e))?;
        let address = listener.local_addr().map_err(|e| StartError::Listen(options.listen, e))?;
        let tls = ServerTls::open(&state, &certificate_names(&options, address), Utc::now())?;
        let ca_path = tls.ca_path.clone();
        let team = options.source.team.clone();
        let watch = FileWatch::new(&team)?;
        let backend = Arc::new(Backend::open(options, address, Utc::now())?);
        let control = state.join(control::SOCKET);
        let control_listener = listen_for_commands(&control)?;
        file::replace(&state.join("address"), format!("{address}\n").as_bytes(), Access::Everybody)?;
        file::replace(
            &state.join("team-file"),
            std::path::absolute(&team).unwrap_or(team).as_os_str().as_encoded_bytes(),
            Access::Everybody,
        )?;
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_file(watch, Arc::clone(&backend)));
        tasks.spawn(keep_fresh(Arc::clone(&backend)));
        tasks.spawn(control::serve(control_listener, Arc::clone(&backend)));
        let serving = http::serve(listener, Arc::new(tls), Arc::clone(&backend));
        tasks.spawn(async move {
            let _: std::convert::Infallible = serving.await;
        });
        Ok(Server {
            address,
            url: backend.origins.first().cloned().unwrap_or_default(),
            ca_path,
            backend,
            tasks,
            control,
            _lock: lock,
        })
    }

    /// Asks it what the command line can ask it.
    pub fn client(&self) -> Client {
        Client::new(&self.backend.options.source.state)
    }

    /// What is served now.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.abort_all();
        self.backend.disconnect();
        let _ = std::fs::remove_file(&self.control);
    }
}

fn lock(state: &Path) -> Result<Flock<std::fs::File>, StartError> {
    let path = state.join("lock");
    let file = std::fs::File::create(&path).map_err(|e| FileError::new("make", &path, e))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| StartError::Busy(state.to_owned()))
}

/// Ten thousand hosts that wait are ten thousand connections.
fn allow_many_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Without it the backend serves as many as it may.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn certificate_names(options: &Options, address: SocketAddr) -> Vec<String> {
    let host = |origin: String| {
        let authority = origin.strip_prefix("https://")?.split('/').next()?.to_owned();
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next()?.to_owned(),
            None => authority.split(':').next()?.to_owned(),
        };
        Some(host)
    };
    let mut names: Vec<String> = Vec::new();
    for name in origins(options, address).into_iter().filter_map(host) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The lock is held, so a socket that is there was left over.
fn listen_for_commands(path: &Path) -> Result<UnixListener, StartError> {
    let wrap = |error| StartError::Control(path.to_owned(), error);
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(wrap)?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, owner_only).map_err(wrap)?;
    Ok(listener)
}

async fn follow_file(mut watch: FileWatch, backend: Arc<Backend>) {
    loop {
        if let Err(error) = watch.changed().await {
            note(&format!("the team file is no longer watched: {error}"));
            return;
        }
        let backend = Arc::clone(&backend);
        let reloaded = tokio::task::spawn_blocking(move || match backend.reload() {
            Ok((version, true)) => note(&format!("published version {version}")),
            Ok((_, false)) => {}
            Err(error) => note(&format!("{}\nthe policy before it stays in force", chain(&error))),
        });
        let _ = reloaded.await;
    }
}

async fn keep_fresh(backend: Arc<Backend>) {
    let quarter = backend.options.source.resign / 4;
    let often = quarter.clamp(Duration::from_millis(250), Duration::from_secs(60));
    let mut interval = tokio::time::interval(often);
    loop {
        interval.tick().await;
        let backend = Arc::clone(&backend);
        let _ = tokio::task::spawn_blocking(move || {
            if let Err(error) = backend.resign() {
                note(&format!("cannot sign anew: {}", chain(&error)));
            }
        })
        .await;
    }
}
