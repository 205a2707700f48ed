//! The mock backend on a loopback port, with a team file that a test can change.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hostward_mock_backend::backend::Options;
use hostward_mock_backend::client::Client;
use hostward_mock_backend::server::Server;
use hostward_protocol::local::TokenState;
use hostward_protocol::token::EnrollmentToken;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const TEAM: &str = r#"
[project]
id = "acme"

[users.alice]
uid = 70001

[users.bob]
uid = 70002

[groups.staff]
gid = 71001
members = ["alice", "bob"]

[[grants]]
group = "staff"
login = true
"#;

/// A backend that serves until it is dropped.
pub struct Backend {
    server: Option<Server>,
    runtime: Runtime,
    address: SocketAddr,
    options: Options,
    dir: TempDir,
}

impl Backend {
    /// A backend with two users.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// A backend with other options.
    pub fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().expect("no directory");
        let team = dir.path().join("team.toml");
        std::fs::write(&team, TEAM).expect("cannot write the team file");
        let mut options = Options::new(team, dir.path().join("state"));
        change(&mut options);
        let runtime = Runtime::new().expect("no runtime");
        let server = runtime.block_on(Server::start(options.clone())).expect("no backend");
        let address = server.address;
        Backend { server: Some(server), runtime, address, options, dir }
    }

    /// Asks and changes it.
    pub fn client(&self) -> Client {
        Client::new(&self.options.source.state)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The CA of its certificate.
    pub fn ca(&self) -> PathBuf {
        match &self.server {
            Some(server) => server.ca_path.clone(),
            None => self.options.source.state.join("tls/ca.pem"),
        }
    }

    /// A token for one host, as root hands it out.
    pub fn token(&self) -> TokenState {
        self.token_for(1, Duration::from_secs(3600))
    }

    /// A token.
    pub fn token_for(&self, uses: u32, lifetime: Duration) -> TokenState {
        let text = self.client().token(uses, lifetime, true).expect("no token");
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).expect("not base64url");
        let token: EnrollmentToken = serde_json::from_slice(&bytes).expect("not a token");
        TokenState::Ready {
            url: token.url,
            project: token.project,
            secret: token.secret,
            root_version: token.root_version,
        }
    }

    /// Switches a fault on.
    pub fn fault(&self, name: &str, arguments: &[&str]) {
        self.client().fault_on(name, arguments).expect("no such fault");
    }

    /// Switches a fault off.
    pub fn mend(&self, name: &str) {
        self.client().fault_off(Some(name)).expect("no such fault");
    }

    /// Adds text to the team file, and returns the version that has it.
    pub fn add_to_team(&self, more: &str) -> u64 {
        let team = &self.options.source.team;
        let text = std::fs::read_to_string(team).expect("no team file");
        std::fs::write(team, format!("{text}\n{more}\n")).expect("cannot write");
        self.client().sync().expect("not published")
    }

    /// Adds a user, and returns the version that has them.
    pub fn add_user(&self, name: &str, uid: u32) -> u64 {
        self.add_to_team(&format!("[users.{name}]\nuid = {uid}"))
    }

    /// A file of its SSH CAs.
    pub fn ssh_ca(&self, name: &str) -> PathBuf {
        self.options.source.state.join("ssh").join(name)
    }

    /// The version that is published.
    pub fn version(&self) -> u64 {
        self.client().sync().expect("not published")
    }

    /// Stops; a new connection is refused from then on.
    pub fn stop(&mut self) {
        drop(self.server.take());
    }

    /// Serves again at the same address.
    pub fn start_again(&mut self) {
        self.options.listen = self.address;
        let options = self.options.clone();
        // The port may be in use for a moment by what is left of a connection.
        let server =
            crate::until("the backend's port", || self.runtime.block_on(Server::start(options.clone())).ok());
        self.server = Some(server);
    }

    /// A directory of the test's own beside it.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}
