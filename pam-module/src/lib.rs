//! `pam_hostward.so`: says why a managed user may not come in, makes their homes, and records sessions.
//!
//! It runs in sshd, sudo, su, login, cron and systemd's user managers, as root. It asks no process of hostward's, waits for
//! nobody, starts no thread, reads no environment but PAM's, and keeps nothing open. Whoever is not managed is answered
//! `PAM_IGNORE`, whatever has become of hostward's files; whatever cannot be read refuses nobody, since the account database
//! and sshd's principals are the gate.
//!
//! Profiles of pam-auth-update name it three times (`docs/pam.md`): in account, in session with `home` before pam_systemd
//! starts the user manager, and in session with `record` after pam_systemd has made the session.

mod abi;
mod append;
mod entry;
mod home;
mod host;
mod lost;
mod process;
mod refusal;
mod system;
mod who;

#[cfg(test)]
mod tests;
