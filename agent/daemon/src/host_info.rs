//! What the host says of itself.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use hostward_config::{Config, sshd_config};
use hostward_protocol::api::HostInfo;

/// The longest public key file that is read.
const MAX_KEY_LEN: u64 = 16 << 10;
/// Where cloud-init keeps what the cloud calls this instance, in whichever cloud.
const INSTANCE_ID: &str = "/var/lib/cloud/data/instance-id";
/// What it has there where there is no cloud.
const NO_CLOUD: &str = "iid-datasource-none";
/// The longest id that is taken for one.
const MAX_INSTANCE_ID: usize = 128;

/// Collects it. What cannot be read is left out: none of it decides anything.
pub fn collect(config: &Config, machine: &str, etc_ssh: &Path) -> HostInfo {
    let (hostname, architecture) = uname();
    let (os, os_version) = os_release();
    let host = &config.host;
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    HostInfo {
        fqdn: hostward_config::fully_qualified(&hosts, &hostname),
        hostname,
        canonical_name: host.canonical_name.clone(),
        alt_names: host.alt_names.clone(),
        instance_id: instance_id(Path::new(INSTANCE_ID)),
        access_address: host.access_address.clone().or_else(|| {
            let interface = host.access_interface.as_deref()?;
            let address = interface_address(interface);
            if address.is_none() {
                log::warn!("[host] access_interface: `{interface}` has no address that others can reach");
            }
            address
        }),
        bastion: host.bastion.clone(),
        labels: config.labels.clone(),
        os,
        os_version,
        architecture,
        agent_version: env!("CARGO_PKG_VERSION").into(),
        ssh_host_keys: ssh_host_keys(etc_ssh),
        ssh_port: ssh_port(etc_ssh),
        machine: machine.into(),
    }
}

/// What the host calls itself.
pub fn hostname() -> String {
    uname().0
}

fn uname() -> (String, String) {
    match nix::sys::utsname::uname() {
        Ok(names) => {
            (names.nodename().to_string_lossy().into_owned(), names.machine().to_string_lossy().into_owned())
        }
        Err(_) => Default::default(),
    }
}

/// `ID` and `VERSION_ID`, from the places that os-release(5) names.
fn os_release() -> (String, String) {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    (
        os_release_value(&text, "ID").unwrap_or_else(|| "linux".into()),
        os_release_value(&text, "VERSION_ID").unwrap_or_default(),
    )
}

fn os_release_value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    let value = line.trim();
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    Some(quoted('"').or(quoted('\'')).unwrap_or(value).into())
}

/// The public host keys, sorted by file name so that the same keys look the same every time.
fn ssh_host_keys(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("ssh_host_") && name.ends_with("_key.pub"))
        })
        .collect();
    paths.sort();
    paths
        .iter()
        .filter(|path| std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MAX_KEY_LEN))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter_map(|text| Some(text.lines().next()?.trim().to_owned()))
        .filter(|line| !line.is_empty())
        .collect()
}

/// The instance's id, where there is one that can be a name.
fn instance_id(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let id = text.trim();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_one = (1..=MAX_INSTANCE_ID).contains(&id.len()) && id.bytes().all(fits) && id != NO_CLOUD;
    is_one.then(|| id.to_owned())
}

/// Where sshd listens by its configuration, where it is installed and the file is for everybody to read.
fn ssh_port(dir: &Path) -> Option<u16> {
    let main = std::fs::read_to_string(dir.join("sshd_config")).ok()?;
    let entries = std::fs::read_dir(dir.join("sshd_config.d")).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.ends_with(".conf") && !name.starts_with('.'))
    });
    paths.sort();
    let drop_ins: Vec<_> = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    Some(sshd_config::port(&main, &drop_ins))
}

fn interface_address(name: &str) -> Option<String> {
    let addresses: Vec<IpAddr> = nix::ifaddrs::getifaddrs()
        .ok()?
        .filter(|interface| interface.interface_name == name)
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            address
                .as_sockaddr_in()
                .map(|a| a.ip().into())
                .or_else(|| address.as_sockaddr_in6().map(|a| a.ip().into()))
        })
        .collect();
    best(&addresses).map(|address| address.to_string())
}

/// An address that others can use: IPv4 first, as it is what a name-less client expects.
fn best(addresses: &[IpAddr]) -> Option<IpAddr> {
    let is_link_local = |address: &Ipv6Addr| address.segments()[0] & 0xffc0 == 0xfe80;
    let usable = |address: &&IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !is_link_local(v6) && !v6.is_unspecified(),
    };
    let mut candidates: Vec<_> = addresses.iter().filter(usable).collect();
    candidates.sort_by_key(|address| address.is_ipv6());
    candidates.first().copied().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_quotes() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\nVERSION_ID=\"12\"\nX_ID=no\n";
        assert_eq!(os_release_value(text, "ID").as_deref(), Some("debian"));
        assert_eq!(os_release_value(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(os_release_value(text, "BUILD_ID"), None);
    }

    #[test]
    fn addresses_that_others_can_use() {
        let parse = |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|a| a.parse().unwrap()).collect() };
        let found = |list: &[&str]| best(&parse(list)).map(|a| a.to_string());
        assert_eq!(found(&["fe80::1", "2001:db8::1", "192.0.2.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(found(&["169.254.1.1", "2001:db8::1"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(found(&["fe80::1"]), None);
    }

    #[test]
    fn an_instance_id_is_a_name_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("instance-id");
        assert_eq!(instance_id(&path), None);
        for (text, expected) in [
            ("i-0123456789abcdef0\n", Some("i-0123456789abcdef0")),
            ("4012345678901234567", Some("4012345678901234567")),
            ("iid-datasource-none\n", None),
            ("", None),
            ("a b", None),
            ("*", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(instance_id(&path).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_port_is_read_where_sshd_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ssh_port(dir.path()), None);
        std::fs::write(dir.path().join("sshd_config"), "Include /etc/ssh/sshd_config.d/*.conf\nPort 2222\n")
            .unwrap();
        assert_eq!(ssh_port(dir.path()), Some(2222));
        std::fs::create_dir(dir.path().join("sshd_config.d")).unwrap();
        std::fs::write(dir.path().join("sshd_config.d/b.conf"), "Port 2300\n").unwrap();
        std::fs::write(dir.path().join("sshd_config.d/a.conf"), "Port 2400\n").unwrap();
        std::fs::write(dir.path().join("sshd_config.d/.a.new"), "Port 2500\n").unwrap();
        assert_eq!(ssh_port(dir.path()), Some(2400));
    }

    #[test]
    fn host_keys_are_read_in_order_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("ssh_host_rsa_key.pub", "ssh-rsa B root@h\n"),
            ("ssh_host_ed25519_key.pub", "ssh-ed25519 A root@h\n"),
            ("ssh_host_ed25519_key", "private"),
            ("sshd_config", "Port 22"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(ssh_host_keys(dir.path()), ["ssh-ed25519 A root@h", "ssh-rsa B root@h"]);
    }
}
