//! The modules that are compared: ours, those that mark the ends of the scale, and whatever else the machine has.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::peers::{self, Peer};
use crate::people::People;
use crate::worker::Case;

/// The first three of all cases: what a ratio is made of.
pub const SCALE: [&str; 3] = ["null", "limit", "hostward"];

/// What is measured.
#[derive(Debug)]
pub struct Cases {
    /// Each has its data below the directory.
    pub cases: Vec<Case>,
    /// The reason for each peer that is left out.
    pub without: Vec<String>,
    /// Which of the cases ask daemons, that end with this.
    pub daemons: Vec<peers::Daemon>,
}

/// Writes the data of all cases below `data`, and starts what they need.
pub fn prepare(people: &People, data: &Path, libraries: &Path, with_peers: bool) -> Result<Cases> {
    // The same for all three, so that a namespace of its own costs nothing that is put down to a module.
    let binds = vec![(data.join("misc"), "/var/lib/misc")];
    let cases = SCALE.map(|service| Case { service, binds: binds.clone() }).to_vec();
    let mut all = Cases { cases, without: Vec::new(), daemons: Vec::new() };
    if !with_peers {
        return Ok(all);
    }
    let lists = peers::Lists { people, data, libraries, passwd: people.passwd(), group: people.group() };
    let own = |path: &str, text: &str| Ok::<_, anyhow::Error>(fs::read_to_string(path)? + text);
    let files = [(data.join("passwd"), "/etc/passwd"), (data.join("group"), "/etc/group")];
    fs::write(&files[0].0, own(files[0].1, &lists.passwd)?)?;
    fs::write(&files[1].0, own(files[1].1, &lists.group)?)?;
    all.cases.push(Case { service: "files", binds: files.to_vec() });
    for (service, prepare) in peers::ALL {
        match prepare(&lists) {
            Ok(Peer { binds, daemon }) => {
                all.cases.push(Case { service, binds });
                all.daemons.extend(daemon);
            }
            Err(reason) => all.without.push(format!("{service}: {reason:#}")),
        }
    }
    Ok(all)
}
