//! Reading the file.

use std::path::{Path, PathBuf};

use crate::{Config, Events, Size};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is there and cannot be read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a configuration. The message names line, column and key.
    #[error("`{path}` is no valid configuration:\n{message}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
}

/// The configuration at `path`, the default one where there is no file.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
        Err(source) => Err(LoadError::Read { path: path.into(), source }),
    }
}

/// The configuration in `text`; `path` is for messages only.
pub fn parse(path: &Path, text: &str) -> Result<Config, LoadError> {
    let invalid = |message: String| LoadError::Invalid { path: path.into(), message };
    let config: Config = toml::from_str(text).map_err(|e| invalid(e.to_string()))?;
    let trust = &config.trust;
    if trust.root_sha256.is_some() != trust.root_version.is_some() {
        return Err(invalid(
            "[trust] root_sha256 and root_version belong together: give both or none".into(),
        ));
    }
    if let Some(parent) =
        config.accounts.home_parents.iter().find(|p| !p.is_absolute() || p.as_os_str() == "/")
    {
        return Err(invalid(format!(
            "[accounts] home_parents: `{}` is not an absolute path below /",
            parent.display()
        )));
    }
    if let Some((name, _)) = quotas(&config.events).find(|(_, size)| size.0 < MIN_QUOTA) {
        return Err(invalid(format!("[events] {name}: at least 256KiB, or hardly an event has room")));
    }
    Ok(config)
}

/// What an hour of a quiet host takes.
const MIN_QUOTA: u64 = 256 << 10;

fn quotas(events: &Events) -> impl Iterator<Item = (&'static str, Size)> {
    [("denials", events.denials), ("sessions", events.sessions), ("own", events.own)].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("/etc/hostward/hostward.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse(Path::new("x"), "").unwrap(), Config::default());
    }

    #[test]
    fn the_default_survives_a_round_trip() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(parse(Path::new("x"), &text).unwrap(), Config::default());
    }

    #[test]
    fn mistakes_are_named() {
        let text = error("[accounts]\nid_range = [\"1-2\"]\n");
        assert!(text.contains("line 2") && text.contains("id_range"), "{text}");
        assert!(error("[accounts]\nid_ranges = [\"9-2\"]\n").contains("9-2"));
        assert!(error("[policy]\nmax_offline = \"soon\"\n").contains("soon"));
        assert!(error("[trust]\nroot_version = 1\n").contains("belong together"));
        assert!(error("[accounts]\nhome_parents = [\"/\"]\n").contains("home_parents"));
        assert!(error("[events]\nown = \"16MB\"\n").contains("16MiB"));
        assert!(error("[events]\nown = \"99999999999GiB\"\n").contains("no size"));
        assert!(error("[events]\ndenials = \"1KiB\"\n").contains("denials: at least"));
    }
}
