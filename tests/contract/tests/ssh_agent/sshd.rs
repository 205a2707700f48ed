//! A real sshd on a loopback port, whose user CA and host CA are the backend's.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hostward_contract_tests::{Account, Service, until};

/// An sshd; it ends when this is dropped.
pub struct Sshd {
    child: Child,
    port: u16,
    dir: PathBuf,
    host_key: HostKey,
}

/// Whose key the host presents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum HostKey {
    /// One that the project's host CA certified.
    Certified,
    /// The same kind of key, certified by nobody.
    Plain,
}

impl Sshd {
    /// Starts one that lets root in with a certificate.
    pub fn start(service: &Service, name: &str, host_key: HostKey) -> Self {
        let dir = service.host.dir().join(name);
        std::fs::create_dir(&dir).expect("an sshd");
        std::fs::create_dir_all("/run/sshd").expect("an sshd");
        let port = TcpListener::bind("127.0.0.1:0").expect("an sshd").local_addr().expect("an sshd").port();
        let key = dir.join("key");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        let mut certificate = String::new();
        if host_key == HostKey::Certified {
            let ca = service.backend.ssh_ca("host_ca");
            run(Command::new("ssh-keygen")
                .arg("-q")
                .arg("-s")
                .arg(ca)
                .args(["-h", "-I", name, "-n", name])
                .arg(dir.join("key.pub")));
            certificate = format!("HostCertificate {}/key-cert.pub\n", dir.display());
        }
        let config = dir.join("config");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {key}\n{certificate}TrustedUserCAKeys {ca}\nStrictModes no\n\
             UsePAM no\nPidFile none\nPermitRootLogin yes\nAuthorizedKeysFile none\nLogLevel VERBOSE\nMaxStartups 1000\n",
            key = key.display(),
            ca = service.backend.ssh_ca("user_ca.pub").display(),
        );
        std::fs::write(&config, text).expect("an sshd");
        let log = std::fs::File::create(dir.join("log")).expect("an sshd");
        let child = Command::new("/usr/sbin/sshd")
            .arg("-D")
            .arg("-e")
            .arg("-f")
            .arg(config)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("an sshd");
        let sshd = Sshd { child, port, dir, host_key };
        until("sshd", || TcpStream::connect(("127.0.0.1", port)).ok());
        sshd
    }

    /// An ssh of an account's to this sshd, as its user root.
    pub fn ssh(&self, account: Account<'_>, more: &[&str], user: &str, remote: &str) -> std::process::Output {
        let host_key = std::fs::read_to_string(self.dir.join("key.pub")).expect("an sshd");
        let known = self.dir.join("known_hosts");
        let authority = self.dir.parent().expect("an sshd").join("ssh/known_hosts");
        let authority = std::fs::read_to_string(authority).expect("an sshd");
        let name = self.dir.file_name().expect("an sshd").to_str().expect("an sshd");
        // ssh prefers the kind of key that it knows.
        let line = match self.host_key {
            HostKey::Certified => authority,
            HostKey::Plain => format!("{name} {host_key}"),
        };
        std::fs::write(&known, line).expect("an sshd");
        let (port, known) = (self.port.to_string(), format!("UserKnownHostsFile={}", known.display()));
        let alias = format!("HostKeyAlias={name}");
        let mut arguments = vec!["-F", "none", "-p", &port, "-l", user, "-o", &known, "-o", &alias];
        for option in [
            "GlobalKnownHostsFile=none",
            "StrictHostKeyChecking=yes",
            "IdentityFile=none",
            "BatchMode=yes",
            "PreferredAuthentications=publickey",
        ] {
            arguments.extend(["-o", option]);
        }
        arguments.extend(more);
        arguments.extend(["127.0.0.1", remote]);
        account.run("ssh", &arguments)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).expect("an sshd")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("an sshd");
    assert!(output.status.success(), "{output:?}");
}
