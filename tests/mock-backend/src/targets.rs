//! Hosts by their names: where a client can go, and which names a host certificate may have.

use chrono::{DateTime, TimeDelta, Utc};
use hostward_protocol::api::{Matched, Target};

use crate::registry::Host;

/// How long a host counts as live after it was heard of.
pub(crate) const HEARD_WITHIN: TimeDelta = TimeDelta::minutes(15);

/// Hosts that were heard of since `since`, found by the best kind of name that any of them has; by id.
pub(crate) fn find<'a>(
    hosts: impl Iterator<Item = &'a Host>,
    name: &str,
    since: DateTime<Utc>,
) -> Vec<(Matched, &'a Host)> {
    let live = hosts.filter(|host| host.last_seen >= since);
    let mut found: Vec<_> = live.filter_map(|host| Some((matched(host, name)?, host))).collect();
    let best = found.iter().map(|(matched, _)| *matched).min();
    found.retain(|(matched, _)| Some(*matched) == best);
    found.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
    found
}

/// What a client is told of a host.
pub(crate) fn target(host: &Host, matched: Matched, project: &str) -> Target {
    let info = &host.info;
    Target {
        id: host.id.clone(),
        project: project.to_owned(),
        matched,
        hostname: info.hostname.clone(),
        canonical_name: info.canonical_name.clone(),
        address: address(host).unwrap_or(&info.hostname).to_owned(),
        port: info.ssh_port.unwrap_or(22),
        bastion: info.bastion.clone(),
        last_seen: host.last_seen,
    }
}

/// The names that a host's certificate is good for: its id, and of what it calls itself all that no other host that was
/// heard of since `since` is called too. A name that ssh would take for a pattern is none.
pub(crate) fn principals(host: &Host, all: &[&Host], since: DateTime<Utc>) -> Vec<String> {
    let mut principals = vec![host.id.clone()];
    for name in names(host) {
        let is_anothers = |other: &&&Host| {
            let is_live = other.last_seen >= since && names(other).any(|taken| is_same(taken, name));
            other.id != host.id && (is_same(&other.id, name) || is_live)
        };
        if is_plain(name)
            && !all.iter().any(|other| is_anothers(&other))
            && !principals.iter().any(|known| is_same(known, name))
        {
            principals.push(name.to_lowercase());
        }
    }
    principals
}

fn matched(host: &Host, name: &str) -> Option<Matched> {
    let info = &host.info;
    let is = |candidate: &String| is_same(candidate, name);
    if is(&host.id) || info.canonical_name.as_ref().is_some_and(is) {
        Some(Matched::Id)
    } else if info.instance_id.as_ref().is_some_and(is) {
        Some(Matched::Instance)
    } else if is(&info.hostname) || info.fqdn.as_ref().is_some_and(is) {
        Some(Matched::Hostname)
    } else if info.alt_names.iter().any(is) {
        Some(Matched::AltName)
    } else if address(host).is_some_and(|address| is_same(address, name)) {
        Some(Matched::Address)
    } else {
        None
    }
}

fn names(host: &Host) -> impl Iterator<Item = &str> {
    let info = &host.info;
    let given = info.canonical_name.iter().chain(&info.instance_id).chain([&info.hostname]);
    let given = given.chain(&info.fqdn).chain(&info.alt_names);
    given.map(String::as_str).chain(address(host)).filter(|name| !name.is_empty())
}

/// Where it says that clients should connect to, else where its requests come from.
fn address(host: &Host) -> Option<&str> {
    host.info.access_address.as_deref().or(host.address.as_deref())
}

fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn is_plain(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    name.len() <= 255 && name.bytes().all(fits) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use hostward_protocol::api::HostInfo;

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn host(id: &str, hostname: &str, seen: i64, change: impl FnOnce(&mut HostInfo)) -> Host {
        let mut info = HostInfo { hostname: hostname.into(), ..HostInfo::default() };
        change(&mut info);
        Host {
            id: id.into(),
            key: String::new(),
            token: String::new(),
            enrolled: at(0),
            last_seen: at(seen),
            address: Some(format!("192.0.2.{seen}")),
            info,
            enrollment: None,
        }
    }

    #[test]
    fn the_best_kind_of_name_wins_among_the_living() {
        let hosts = [
            host("h-1", "web1", 20, |info| info.alt_names = vec!["www".into()]),
            host("h-2", "web1", 21, |info| info.canonical_name = Some("www".into())),
            host("h-3", "www", 1, |_| {}),
            host("h-4", "db", 22, |info| info.access_address = Some("db.example".into())),
            host("h-5", "i-1", 23, |_| {}),
            host("h-6", "app", 24, |info| info.instance_id = Some("i-1".into())),
        ];
        let found = |name| -> Vec<_> {
            let found = find(hosts.iter(), name, at(10));
            found.into_iter().map(|(matched, host)| (matched, host.id.as_str())).collect()
        };
        assert_eq!(found("www"), [(Matched::Id, "h-2")]);
        assert_eq!(found("WEB1"), [(Matched::Hostname, "h-1"), (Matched::Hostname, "h-2")]);
        assert_eq!(found("i-1"), [(Matched::Instance, "h-6")]);
        assert_eq!(found("h-3"), [], "not heard of for long");
        assert_eq!(found("192.0.2.20"), [(Matched::Address, "h-1")]);
        assert_eq!(found("192.0.2.22"), [], "it said where to connect to");
        assert_eq!(found("db.example"), [(Matched::Address, "h-4")]);
        assert_eq!(found(""), []);
    }

    #[test]
    fn a_certificate_has_no_name_that_is_anothers_or_a_pattern() {
        let hosts = [
            host("h-1", "Web1", 20, |info| info.alt_names = vec!["www".into(), "*".into(), "h-2".into()]),
            host("h-2", "web2", 21, |info| info.alt_names = vec!["WWW".into(), "!x".into()]),
            host("h-3", "web1", 1, |_| {}),
        ];
        let all: Vec<&Host> = hosts.iter().collect();
        assert_eq!(principals(all[0], &all, at(10)), ["h-1", "web1", "192.0.2.20"]);
        assert_eq!(principals(all[1], &all, at(10)), ["h-2", "web2", "192.0.2.21"]);
        assert_eq!(principals(all[0], &all, at(0)), ["h-1", "192.0.2.20"], "the other web1 is live");
    }
}
