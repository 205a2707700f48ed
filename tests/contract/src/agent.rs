//! A running agent.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use hostward_protocol::local::{AgentReply, AgentRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{PATIENCE, until, within};

/// An agent; killed when dropped.
pub struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    pub(crate) fn new(child: Child, socket: PathBuf) -> Self {
        Agent { child, socket }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it has resident, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it ended");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("no VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("no number")
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it ended").count()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("cannot wait for the agent")
    }

    /// Asks it over its control socket.
    pub fn ask(&self, request: &AgentRequest) -> AgentReply {
        // It may not have made the socket yet.
        let mut stream = until("the control socket", || UnixStream::connect(&self.socket).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("no timeout");
        let mut line = serde_json::to_string(request).expect("not JSON");
        line.push('\n');
        stream.write_all(line.as_bytes()).expect("cannot ask the agent");
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).expect("the agent does not answer");
        serde_json::from_str(&reply).expect("the agent's answer is none")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.nix_pid(), signal).expect("cannot signal the agent");
    }

    /// Ends it as the service manager does, and returns how it ended.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        within(Duration::from_secs(5), "the agent to stop", || self.child.try_wait().ok().flatten())
    }

    /// Ends it as a power cut does.
    pub fn kill(mut self) {
        self.child.kill().expect("cannot kill the agent");
        self.child.wait().expect("cannot wait for the agent");
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("no pid"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
