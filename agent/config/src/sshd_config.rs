//! sshd_config(5), as far as something of hostward's depends on what the operator wrote there.

/// Keyword (in lower case) and arguments of each line before the first `Match`: what holds for every connection.
pub fn global(text: &str) -> impl Iterator<Item = (String, Vec<String>)> {
    text.lines().filter_map(words).take_while(|(keyword, _)| keyword != "match")
}

/// Whether an `Include` pattern takes in the files of sshd_config.d. A relative one starts at /etc/ssh.
pub fn includes_drop_ins(pattern: &str) -> bool {
    let pattern = pattern.strip_prefix("/etc/ssh/").unwrap_or(pattern);
    matches!(pattern, "sshd_config.d/*.conf" | "sshd_config.d/*")
}

/// The port that sshd listens on first, from its main file and, where that includes them, its drop-ins in their order.
pub fn port(main: &str, drop_ins: &[String]) -> u16 {
    const DEFAULT: u16 = 22;
    let lines = global(main).flat_map(|(keyword, arguments)| {
        let included = keyword == "include" && arguments.iter().any(|pattern| includes_drop_ins(pattern));
        let texts = drop_ins.iter().filter(move |_| included).flat_map(|text| global(text));
        std::iter::once((keyword, arguments)).chain(texts)
    });
    let (mut port, mut address) = (None, None);
    for (keyword, arguments) in lines {
        let Some(first) = arguments.first() else { continue };
        match keyword.as_str() {
            "port" => port = port.or(first.parse().ok()),
            // One that names a port does not listen on those of `Port`.
            "listenaddress" => address = address.or_else(|| Some(port_of(first))),
            _ => {}
        }
    }
    address.flatten().or(port).unwrap_or(DEFAULT)
}

/// `host:port`, `address:port`, `[address]:port`; an address of IPv6 without brackets has none.
fn port_of(address: &str) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let is_whole = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    port.parse().ok().filter(|_| is_whole)
}

fn words(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_ascii_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let arguments = rest
        .split_ascii_whitespace()
        .take_while(|word| !word.starts_with('#'))
        .map(|word| word.trim_matches('"').to_owned())
        .collect();
    Some((keyword.trim_matches('"').to_ascii_lowercase(), arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_first_line_that_counts() {
        let include = "Include /etc/ssh/sshd_config.d/*.conf\n";
        for (main, drop_in, expected) in [
            ("", "", 22),
            ("#Port 1\nPort 2222\nPort 2223\n", "", 2222),
            ("Port 2222\nListenAddress 192.0.2.1\n", "", 2222),
            ("Port 2222\nListenAddress 192.0.2.1:2200\n", "", 2200),
            ("ListenAddress [2001:db8::1]:2201\n", "", 2201),
            ("ListenAddress 2001:db8::1\n", "", 22),
            ("Match User a\nPort 2222\n", "", 22),
            ("Port 2222\n", "Port 2300\n", 2222),
            (include, "port=2300\n", 2300),
            ("Port x\nPort 2222\n", "", 2222),
        ] {
            assert_eq!(port(main, &[drop_in.to_owned()]), expected, "{main}");
        }
    }
}
