//! `hostward config`: what an account decides for itself, in `~/.config/hostward/config.toml`.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::unistd::{User, getuid};
use toml::{Table, Value};

use super::agent::ServiceError;
use crate::cli::Key;

/// Below the home directory.
const FILE: &str = ".config/hostward/config.toml";

/// Whether the account wants to have nothing to do with service users.
pub fn is_off() -> Result<bool, ServiceError> {
    let Some(path) = path() else {
        return Ok(false);
    };
    Ok(value(&read(&path)?, Key::ServiceAuthEnable, &path)? == Some(false))
}

/// Prints or sets a value.
pub fn run(key: Key, wanted: Option<bool>) -> anyhow::Result<ExitCode> {
    let path = path().ok_or_else(|| ServiceError::Settings {
        path: format!("~/{FILE}").into(),
        message: "this account has no entry in passwd and HOME is not set, so it has no home directory"
            .into(),
    })?;
    let mut table = read(&path)?;
    match wanted {
        None => println!("{}", value(&table, key, &path)?.unwrap_or(true)),
        Some(wanted) => {
            set(&mut table, key, wanted, &path)?;
            write(&path, &table).map_err(|error| failed(&path, &error.to_string()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Below the home directory that ssh goes by: what HOME says may be of whoever started this, as it is after `setpriv` or
/// with some settings of sudo.
fn path() -> Option<PathBuf> {
    let home = User::from_uid(getuid()).ok().flatten().map(|user| user.dir);
    let home = home.or_else(|| std::env::var_os("HOME").map(PathBuf::from));
    home.filter(|home| home.is_absolute()).map(|home| home.join(FILE))
}

fn read(path: &Path) -> Result<Table, ServiceError> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| failed(path, &error.to_string())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Table::new())
        }
        Err(error) => Err(failed(path, &format!("cannot read it: {error}"))),
    }
}

fn place(key: Key) -> (&'static str, &'static str) {
    match key {
        Key::ServiceAuthEnable => ("service_auth", "enable"),
    }
}

fn value(table: &Table, key: Key, path: &Path) -> Result<Option<bool>, ServiceError> {
    let (section, name) = place(key);
    let wrong = || failed(path, &format!("`{section}.{name}` must be true or false, in a table [{section}]"));
    let Some(section) = table.get(section) else {
        return Ok(None);
    };
    let value = section.as_table().ok_or_else(wrong)?.get(name);
    value.map(|value| value.as_bool().ok_or_else(wrong)).transpose()
}

fn set(table: &mut Table, key: Key, wanted: bool, path: &Path) -> Result<(), ServiceError> {
    let (section, name) = place(key);
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(section) = entry else {
        return Err(failed(path, &format!("`{section}` is no table")));
    };
    section.insert(name.into(), Value::Boolean(wanted));
    Ok(())
}

/// In one step: an ssh that starts meanwhile reads the old or the new file.
fn write(path: &Path, table: &Table) -> std::io::Result<()> {
    let text = toml::to_string(table).map_err(std::io::Error::other)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let new = dir.join(format!(".config.toml.{}", std::process::id()));
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&new, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&new)))
}

fn failed(path: &Path, message: &str) -> ServiceError {
    ServiceError::Settings { path: path.into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut table = read(&path).unwrap();
        assert_eq!(value(&table, Key::ServiceAuthEnable, &path).unwrap(), None);
        table.insert("other".into(), Value::Integer(7));
        for wanted in [false, true] {
            set(&mut table, Key::ServiceAuthEnable, wanted, &path).unwrap();
            write(&path, &table).unwrap();
            table = read(&path).unwrap();
            assert_eq!(value(&table, Key::ServiceAuthEnable, &path).unwrap(), Some(wanted));
            assert_eq!(table.get("other"), Some(&Value::Integer(7)));
        }
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left over");
        for odd in ["service_auth = 1\n", "service_auth.enable = \"no\"\n"] {
            std::fs::write(&path, odd).unwrap();
            let error = value(&read(&path).unwrap(), Key::ServiceAuthEnable, &path).unwrap_err();
            assert!(error.to_string().contains("`service_auth.enable` must be true or false"), "{error}");
        }
        std::fs::write(&path, "service_auth = 1\n").unwrap();
        let mut table = read(&path).unwrap();
        assert!(set(&mut table, Key::ServiceAuthEnable, true, &path).is_err());
        std::fs::write(&path, "[service_auth\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 1"));
    }
}
