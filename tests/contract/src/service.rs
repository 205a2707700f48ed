//! A host with local accounts that stand for service users, and what those accounts run.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use hostward_protocol::service::{Answer, Query};

use crate::{Agent, Backend, Host, binary, until};

/// A host of the role that services select, with its agent.
pub struct Service {
    /// The backend.
    pub backend: Backend,
    /// The host.
    pub host: Host,
    /// Its agent.
    pub agent: Agent,
}

/// A local account: only its uid counts.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    service: &'a Service,
    uid: u32,
}

/// Accounts that every Debian has, since ssh wants one: two that stand for `deploy`, one that only root says so of, and
/// one that stands for nobody.
pub const JENKINS: u32 = 9;
/// The other one that stands for `deploy`.
pub const SECOND: u32 = 10;
/// It stands for `deploy` too, and has no account, as in a container: its home is what HOME says.
pub const HOMELESS: u32 = 61_234;
/// Root says that it stands for `deploy`, the backend does not.
pub const UNKNOWN: u32 = 7;
/// Stands for nobody.
pub const STRANGER: u32 = 5;

const TEAM: &str = r#"
[users.deploy]
uid = 70020
principals = ["deploy", "root"]

[groups.robots]
gid = 71020
members = ["deploy"]

[[grants]]
group = "robots"
login = true

[[services]]
user = "deploy"
hosts = "labels.role = ci"
uid = 9

[[services]]
user = "deploy"
hosts = "labels.role = ci"
uid = 10

[[services]]
user = "deploy"
hosts = "labels.role = ci"
uid = 61234
"#;

impl Service {
    /// A host on which [`Service::jenkins`] and one more account stand for `deploy`.
    ///
    /// # Panics
    /// Where the test does not run as root: no other uid can be taken then.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with more in the configuration.
    ///
    /// # Panics
    /// As [`Service::start`].
    pub fn start_with(configuration: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "run this as root: it takes other uids");
        let backend = Backend::start();
        backend.add_to_team(TEAM);
        let host = Host::new(&backend);
        host.configure(&format!(
            "[backend]\nca_file = {:?}\n[labels]\nrole = \"ci\"\n{configuration}",
            backend.ca()
        ));
        let agent = host.enroll(&backend);
        let service = Service { backend, host, agent };
        let read = |name: &str| std::fs::read_to_string(service.backend.ssh_ca(name)).expect("no CA");
        service.host.put_ssh("user_ca.pub", &read("user_ca.pub"));
        service.host.put_ssh("known_hosts", &format!("@cert-authority * {}", read("host_ca.pub")));
        service.bind(&[(JENKINS, "deploy"), (SECOND, "deploy")]);
        service.open_to_all();
        service
    }

    /// Ends the agent, and starts it with an environment.
    pub fn restarted_with(self, environment: &[(&str, &str)]) -> Self {
        let Service { backend, host, agent } = self;
        agent.stop();
        let agent = host.start_with(environment);
        let service = Service { backend, host, agent };
        service.open_to_all();
        service
    }

    fn open_to_all(&self) {
        // The agent is root here: others come in as they do to a directory of root's.
        let public = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("no such file");
        };
        public(self.host.dir(), 0o755);
        until("the SSH agent's socket", || UnixStream::connect(self.host.ssh_agent()).ok());
        public(&self.host.ssh_agent(), 0o666);
    }

    /// Does what root does when the policy changes.
    pub fn bind(&self, services: &[(u32, &str)]) {
        let services: Vec<_> = services
            .iter()
            .map(|(uid, user)| serde_json::json!({"uid": uid, "user": user, "principals": [user, "root"]}))
            .collect();
        let text = serde_json::json!({"schema": "hostward/bound-services/1", "services": services});
        self.host.put_ssh("services.json", &text.to_string());
    }

    /// The account that stands for `deploy`.
    pub fn jenkins(&self) -> Account<'_> {
        self.account(JENKINS)
    }

    /// Any account.
    pub fn account(&self, uid: u32) -> Account<'_> {
        Account { service: self, uid }
    }

    /// How many certificates the backend gave.
    pub fn issued(&self) -> usize {
        let all = self.backend.client().certificates().expect("no certificates");
        all.iter().filter(|one| one.key_id.starts_with("service:")).count()
    }
}

impl Account<'_> {
    /// A command of this account's, whose ssh tools use the agent.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .uid(self.uid)
            .gid(self.uid)
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", "/nonexistent")
            .env("SSH_AUTH_SOCK", self.service.host.ssh_agent())
            .env("HOSTWARD_SSH_AGENT", self.service.host.ssh_agent())
            .stdin(Stdio::null());
        command
    }

    /// Runs a program.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program).args(arguments).output().expect("cannot be run")
    }

    /// Runs `hostward`.
    pub fn hostward(&self, arguments: &[&str]) -> Output {
        // cargo's directory may be closed to others; the file is not.
        let program = self.service.host.dir().join("hostward");
        if !program.exists() {
            // By another process: what another thread starts meanwhile would inherit a file that is open for writing,
            // and nobody can run that.
            let copied = Command::new("cp").arg(binary::client()).arg(&program).status();
            assert!(copied.expect("no cp").success(), "cannot copy the client");
        }
        self.run(program.to_str().expect("not UTF-8"), arguments)
    }

    /// The certificates that `ssh-add -L` lists; empty where there are none or the agent fails.
    pub fn certificates(&self) -> Vec<String> {
        let listed = self.run("ssh-add", &["-L"]);
        if !listed.status.success() {
            return Vec::new();
        }
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    }

    /// Asks as hostward's own client does.
    pub fn ask(&self, query: &Query) -> Answer {
        let json = serde_json::to_string(query).expect("not JSON");
        let output = self.run("python3", &["-c", ASK, &json]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The code of what keeps the account from having a certificate.
    pub fn problem(&self) -> Option<String> {
        match self.ask(&Query::Service) {
            Answer::Service(state) => state.problem.map(|problem| problem.code),
            other => panic!("{other:?}"),
        }
    }
}

/// One query, its answer on standard output.
const ASK: &str = r#"
import os, socket, struct, sys
string = lambda b: struct.pack(">I", len(b)) + b
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(os.environ["SSH_AUTH_SOCK"])
s.sendall(string(b"\x1b" + string(b"query@hostward") + string(sys.argv[1].encode())))
data = b""
while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
    part = s.recv(65536)
    if not part: sys.exit("cut")
    data += part
assert data[4] == 29, data
print(data[4 + 1 + 4 + 14 + 4:].decode())
"#;
