//! The modules that are compared: ours, those that mark the ends of the scale, and whatever else the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::people::People;
use crate::worker::Case;

/// The first three of all cases: what a ratio is made of.
pub const SCALE: [&str; 3] = ["null", "limit", "hostward"];

/// All cases, with their data written below `data`; and the reason for each peer that is left out.
pub fn prepare(people: &People, data: &Path) -> Result<(Vec<Case>, Vec<String>)> {
    // The same for all three, so that a namespace of its own costs nothing that is put down to a module.
    let binds = vec![(data.join("misc"), "/var/lib/misc")];
    let mut cases = SCALE.map(|service| Case { service, binds: binds.clone() }).to_vec();
    let (passwd, group) = (people.passwd(), people.group());
    let own = |path: &str, text: &str| Ok::<_, anyhow::Error>(fs::read_to_string(path)? + text);
    let files = [(data.join("passwd"), "/etc/passwd"), (data.join("group"), "/etc/group")];
    fs::write(&files[0].0, own(files[0].1, &passwd)?)?;
    fs::write(&files[1].0, own(files[1].1, &group)?)?;
    cases.push(Case { service: "files", binds: files.to_vec() });

    let mut without = Vec::new();
    let mut peer = |service, prepared: Result<Vec<(PathBuf, &'static str)>>| match prepared {
        Ok(binds) => cases.push(Case { service, binds }),
        Err(reason) => without.push(format!("{service}: {reason:#}")),
    };
    peer("extrausers", extrausers(data, &passwd, &group));
    peer("db", db(data, &passwd, &group));
    peer("cache", cache(data, &passwd, &group));
    for (service, daemon) in [("sss", "sssd"), ("systemd", "systemd-userdbd"), ("ldap", "nslcd")] {
        let why = if installed(service) {
            anyhow::anyhow!("not measured: it needs {daemon} and accounts of its own")
        } else {
            anyhow::anyhow!("not installed")
        };
        peer(service, Err(why));
    }
    Ok((cases, without))
}

fn installed(service: &str) -> bool {
    let library = format!("libnss_{service}.so.2");
    let directories =
        ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    directories.iter().any(|directory| Path::new(directory).join(&library).exists())
}

fn extrausers(data: &Path, passwd: &str, group: &str) -> Result<Vec<(PathBuf, &'static str)>> {
    let place = "/var/lib/extrausers";
    ensure!(installed("extrausers") && Path::new(place).is_dir(), "not installed");
    let own = data.join("extrausers");
    fs::create_dir_all(&own)?;
    fs::write(own.join("passwd"), passwd)?;
    fs::write(own.join("group"), group)?;
    fs::write(own.join("shadow"), "")?;
    Ok(vec![(own, place)])
}

/// glibc's, made by its `makedb`.
fn db(data: &Path, passwd: &str, group: &str) -> Result<Vec<(PathBuf, &'static str)>> {
    ensure!(installed("db"), "not installed");
    // Debian's glibc looks here, others in /var/db.
    let place = "/var/lib/misc";
    let own = data.join("db");
    fs::create_dir_all(&own)?;
    for (name, text) in [("passwd", passwd), ("group", group)] {
        let mut lines = String::new();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (name, id) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
            lines.push_str(&format!(".{name} {line}\n={id} {line}\n"));
        }
        let input = data.join("makedb.in");
        fs::write(&input, lines)?;
        let mut makedb = Command::new("makedb");
        makedb.args(["--quiet", "-o"]).arg(own.join(format!("{name}.db"))).arg(&input).stderr(Stdio::null());
        ensure!(makedb.status().context("no makedb")?.success(), "makedb failed");
    }
    Ok(vec![(own, place)])
}

/// Google's libnss-cache, with sorted indexes beside the lists. All of /etc is copied, so that files can be added to it.
fn cache(data: &Path, passwd: &str, group: &str) -> Result<Vec<(PathBuf, &'static str)>> {
    ensure!(installed("cache"), "not installed");
    let own = data.join("etc");
    if !own.exists() {
        let copied = Command::new("cp").args(["--archive", "/etc"]).arg(&own).status()?;
        ensure!(copied.success(), "/etc cannot be copied");
    }
    for (name, text, id) in [("passwd", passwd, "uid"), ("group", group, "gid")] {
        fs::write(own.join(format!("{name}.cache")), text)?;
        for (index, field) in [("name", 0), (id, 2)] {
            fs::write(own.join(format!("{name}.cache.ix{index}")), sorted(text, field))?;
        }
    }
    Ok(vec![(own, "/etc")])
}

/// Lines of one length: key, NUL, offset of the line that has it, and NULs.
fn sorted(text: &str, field: usize) -> Vec<u8> {
    let (mut lines, mut at) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        lines.push((line.split(':').nth(field).unwrap_or_default(), at.to_string()));
        at += line.len();
    }
    lines.sort();
    let longest = lines.iter().map(|(key, at)| key.len() + at.len() + 1).max().unwrap_or_default();
    let line = |(key, at): &(&str, String)| {
        let mut line = [key.as_bytes(), b"\0", at.as_bytes()].concat();
        line.resize(longest + 1, 0);
        line.push(b'\n');
        line
    };
    lines.iter().flat_map(line).collect()
}
