//! The SSH agent: the real one on a real socket, clients of OpenSSH and by hand, a real sshd, the mock backend.

mod backend;
mod clients;
mod crowd;
mod logins;
mod sshd;
mod step_ca;
