//! The programs as cargo builds it: a package's tests get no path to another package's binaries.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Builds the agent once and says where it is.
pub fn agent() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| built("hostward-agent"))
}

/// Builds the command line once and says where it is.
pub fn client() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| built("hostward"))
}

fn built(package: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", package, "--message-format=json"])
        .output()
        .expect("cannot run cargo");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8_lossy(&built.stdout).into_owned();
    let found = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == package)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    found.expect("cargo does not say where it is")
}
