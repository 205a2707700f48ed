//! `hostward resolve`: where a host is, and whether hostward has a part in going there.

use std::process::ExitCode;

use hostward_protocol::api::Target;
use hostward_protocol::report::Finding;
use hostward_protocol::service::{Answer, Query};
use serde::Serialize;

use super::agent::{Agent, ServiceError};
use super::settings;
use crate::cli::Format;
use crate::command::print_json;
use crate::{exit, show};

/// The way to a host.
#[derive(Debug, Serialize)]
pub struct Way {
    /// Login name on each host.
    pub user: String,
    /// Bastions first, the target last: at least one.
    pub route: Vec<Target>,
}

/// Whether to say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Nothing: the exit status is the answer.
    Quiet,
    /// The way, or why there is none.
    Normal,
}

/// Prints it.
pub fn run(name: &str, loudness: Loudness, format: Format) -> anyhow::Result<ExitCode> {
    match (find(name), loudness) {
        (Ok(_), Loudness::Quiet) => Ok(ExitCode::SUCCESS),
        (Ok((way, _)), Loudness::Normal) if format.json => {
            print_json(&way)?;
            Ok(ExitCode::SUCCESS)
        }
        (Ok((way, _)), Loudness::Normal) => {
            print!("{}", text(&way));
            Ok(ExitCode::SUCCESS)
        }
        (Err(ServiceError::Unreachable { .. } | ServiceError::Broken { .. }), Loudness::Quiet) => {
            Ok(ExitCode::from(exit::CANNOT_ASK))
        }
        // hostward has a part in it, which is to say why not: plain ssh must not go elsewhere by the same name.
        (Err(ServiceError::Refused(finding)), Loudness::Quiet) if is_ours(&finding) => Ok(ExitCode::SUCCESS),
        (Err(_), Loudness::Quiet) => Ok(ExitCode::from(exit::ATTENTION)),
        (Err(ServiceError::Refused(finding)), Loudness::Normal) if format.json => {
            print_json(&*finding)?;
            Ok(ExitCode::from(exit::ATTENTION))
        }
        (Err(error), Loudness::Normal) => Err(error.into()),
    }
}

/// Whether the name is that of a host, although there is no one way to it.
fn is_ours(finding: &Finding) -> bool {
    ["target-ambiguous", "bastion-loop"].contains(&finding.code.as_str())
}

/// The way to a host, and whom to ask further.
pub fn find(name: &str) -> Result<(Way, Agent), ServiceError> {
    if settings::is_off()? {
        return Err(ServiceError::TurnedOff);
    }
    let mut agent = Agent::connect()?;
    match agent.ask(&Query::Resolve { name: name.into() })? {
        Answer::Resolved { user, route } if !route.is_empty() => Ok((Way { user, route }, agent)),
        Answer::Refused(finding) => Err(ServiceError::Refused(Box::new(finding))),
        other => Err(agent.unexpected(&other)),
    }
}

fn text(way: &Way) -> String {
    let user = show::clean(&way.user);
    way.route.iter().rev().enumerate().map(|(number, hop)| line(number, &user, hop)).collect()
}

fn line(number: usize, user: &str, hop: &Target) -> String {
    let name = show::clean(hop.canonical_name.as_ref().unwrap_or(&hop.hostname));
    let what = if number == 0 { "host:    " } else { "through: " };
    format!(
        "{what}{name} (id {}) at {} port {}, as {user}\n",
        show::clean(&hop.id),
        show::clean(&hop.address),
        hop.port
    )
}

#[cfg(test)]
pub mod tests {
    use hostward_protocol::api::Matched;

    use super::*;

    /// A host at an address of the documentation's.
    pub fn host(id: &str) -> Target {
        Target {
            id: id.into(),
            project: "acme".into(),
            matched: Matched::Id,
            hostname: format!("{id}.example"),
            canonical_name: None,
            address: "192.0.2.1".into(),
            port: 2222,
            bastion: None,
            last_seen: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_way_is_told_from_its_end() {
        let way = Way { user: "deploy".into(), route: vec![host("bastion"), host("web1")] };
        assert_eq!(
            text(&way),
            "host:    web1.example (id web1) at 192.0.2.1 port 2222, as deploy\n\
             through: bastion.example (id bastion) at 192.0.2.1 port 2222, as deploy\n"
        );
    }
}
