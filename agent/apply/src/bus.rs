//! Calls to systemd and logind over the system bus, by busctl(1).

use std::time::Duration;

use crate::command::{CommandError, Ran, run};
use crate::root::Root;

const LIMIT: Duration = Duration::from_secs(10);

/// Calls a method of logind's manager. logind may not run, or not know the user: what counts is looked at afterwards.
pub fn logind(root: &Root, method: &str, signature: &str, arguments: &[&str]) {
    let object = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"];
    match call(root, &object, method, signature, arguments) {
        Ok(ran) if ran.success => {}
        Ok(ran) => log::info!("logind did not take {method}: {}", ran.said()),
        Err(error) => log::info!("cannot ask logind for {method}: {error}"),
    }
}

/// Calls a method of systemd's manager.
pub fn systemd(root: &Root, method: &str, signature: &str, arguments: &[&str]) -> Result<Ran, CommandError> {
    let object =
        ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    call(root, &object, method, signature, arguments)
}

fn call(
    root: &Root,
    object: &[&str; 3],
    method: &str,
    signature: &str,
    arguments: &[&str],
) -> Result<Ran, CommandError> {
    let mut all = vec!["--system", "--quiet", "--timeout=5", "call"];
    all.extend(object);
    all.extend([method, signature]);
    all.extend(arguments);
    run(&root.path("/usr/bin/busctl"), all, LIMIT)
}
