//! The socket: who may ask what, and that nobody can keep others from being answered.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::host::{AGENT, Host, report};
use common::policy::alice_and_bob;
use common::repository::Repository;
use hostward_apply::serve;
use hostward_protocol::local::{ApplyReply, ApplyRequest};

struct Server {
    host: Host,
    socket: PathBuf,
}

impl Server {
    fn start(host: Host) -> Server {
        use std::os::unix::fs::PermissionsExt;
        let socket = host.path("/run/hostward/apply.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
        std::fs::set_permissions(host.directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let engine = Arc::clone(&host.engine);
        std::thread::spawn(move || serve::serve(&engine, &listener, Duration::from_secs(3600)));
        Server { host, socket }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).unwrap()
    }

    fn ask(&self, request: &ApplyRequest) -> ApplyReply {
        let mut stream = self.connect();
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        stream.write_all(&line).unwrap();
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap()
    }

    /// What a process with this uid gets for a line, empty where the connection is closed on it.
    fn ask_as(&self, uid: u32, line: &str) -> String {
        let mut child = Command::new("python3")
            .args(["-c", ASK])
            .arg(&self.socket)
            .uid(uid)
            .gid(uid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }
}

const ASK: &str = r"
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.sendall(sys.stdin.buffer.read())
    while True:
        part = s.recv(65536)
        if not part: break
        sys.stdout.buffer.write(part)
except (ConnectionResetError, BrokenPipeError):
    pass
";

fn server() -> Server {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    host.offer(&repository);
    Server::start(host)
}

#[test]
fn root_and_the_agent_are_answered_and_others_are_not() {
    let server = server();
    assert!(report(server.ask(&ApplyRequest::Admit)).is_whole());
    assert!(server.ask_as(AGENT, "{\"request\":\"read-token\"}\n").contains("\"absent\""));
    for line in [
        "{\"request\":\"plan\"}\n",
        "{\"request\":\"unenroll\"}\n",
        "{\"request\":\"apply\",\"cause\":\"timer\"}\n",
    ] {
        assert_eq!(server.ask_as(AGENT, line), "", "{line}");
        assert_eq!(server.ask_as(AGENT + 1, line), "", "{line}");
    }
    assert_eq!(server.ask_as(AGENT + 1, "{\"request\":\"read-token\"}\n"), "");
    assert!(matches!(server.ask(&ApplyRequest::Plan), ApplyReply::Text { .. }));
    assert_eq!(server.host.names(), ["alice", "bob"]);
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let server = server();
    let long = format!("{{\"request\":\"explain\",\"user\":\"{}\"}}\n", "a".repeat(70_000));
    for line in ["\n", "{}\n", "admit\n", "{\"request\":\"shell\"}\n", &long] {
        let mut stream = server.connect();
        let _ = stream.write_all(line.as_bytes());
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        assert!(reply.is_empty(), "{line:.40}");
    }
    assert!(matches!(server.ask(&ApplyRequest::Plan), ApplyReply::Text { .. }));
}

#[test]
fn silent_peers_keep_nobody_waiting() {
    let server = server();
    // More than may be open: the agent's own are used up, root's are not.
    let silent = Command::new("python3")
        .args(["-c", SILENT])
        .arg(&server.socket)
        .uid(AGENT)
        .gid(AGENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut silent = silent;
    let mut ready = [0; 3];
    silent.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let before = Instant::now();
    assert!(matches!(server.ask(&ApplyRequest::Plan), ApplyReply::Text { .. }));
    assert!(before.elapsed() < Duration::from_secs(5), "nobody's timeout was waited for");
    drop(silent.stdin.take());
    silent.wait().unwrap();
}

/// Connects a hundred times, sends half a request each time, and reads nothing.
const SILENT: &str = r#"
import socket, sys
held = []
for n in range(100):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    try: s.sendall(b'{"request":')
    except OSError: pass
    held.append(s)
sys.stdout.write('ok\n'); sys.stdout.flush()
sys.stdin.read()
"#;

#[test]
fn requests_to_admit_share_admissions() {
    let server = server();
    let before = Instant::now();
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..10).map(|_| scope.spawn(|| server.ask(&ApplyRequest::Admit))).collect();
        let reports: Vec<_> = asked.into_iter().map(|ask| report(ask.join().unwrap())).collect();
        assert!(reports.iter().all(|report| report.is_whole()));
        let mut times: Vec<_> = reports.iter().map(|report| report.at).collect();
        times.sort();
        times.dedup();
        let most = 2 + usize::try_from(before.elapsed().as_secs()).unwrap();
        assert!(times.len() <= most, "{} admissions in {:?}", times.len(), before.elapsed());
    });
}

#[test]
fn the_agents_small_requests_are_spaced_out() {
    let server = server();
    let before = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                assert!(server.ask_as(AGENT, "{\"request\":\"read-token\"}\n").contains("\"absent\""))
            });
        }
    });
    assert!(before.elapsed() >= Duration::from_secs(1), "five in {:?}", before.elapsed());
}

#[test]
fn an_idle_server_ends_by_itself() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    let listener = UnixListener::bind(host.path("/run/hostward/apply.sock")).unwrap();
    serve::serve(&host.engine, &listener, Duration::ZERO).unwrap();
}

#[test]
fn two_never_work_at_once() {
    let host = Host::of(&Repository::new(alice_and_bob()));
    let root = host.root();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let engine = hostward_apply::engine::Engine::open(root, Duration::ZERO);
        sender.send(engine.is_ok()).unwrap();
    });
    assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err(), "the second waits");
    drop(host.engine);
    assert!(receiver.recv().unwrap());
}
