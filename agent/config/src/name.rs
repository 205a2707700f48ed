//! The host's own name.

/// The name with a domain that hosts(5) has for `name`, or `name` itself where it has one. Nobody on a network is asked.
pub fn fully_qualified(hosts: &str, name: &str) -> Option<String> {
    if name.contains('.') {
        return Some(name.to_owned());
    }
    hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .map(|line| line.split_ascii_whitespace().skip(1).collect::<Vec<_>>())
        .filter(|names| names.contains(&name))
        .find_map(|names| {
            let with_domain = |full: &&str| full.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            names.into_iter().find(with_domain)
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_comes_from_the_hosts_file() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1 web1.example.org web1 # web1.other\n";
        assert_eq!(fully_qualified("", "web1"), None);
        assert_eq!(fully_qualified(hosts, "web1").as_deref(), Some("web1.example.org"));
        assert_eq!(fully_qualified(hosts, "web"), None);
        assert_eq!(fully_qualified(hosts, "web1.net").as_deref(), Some("web1.net"));
    }
}
