//! Why somebody can or cannot log in here, and what they may run.

use chrono::{DateTime, Utc};
use hostward_config::Config;
use hostward_protocol::document;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::policy::Policy;
use crate::resolve::{GrantEntry, GrantState, Resolution, Standing};
use crate::text::shown;

/// The answer to `hostward explain USER`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The user name asked for.
    pub user: String,
    /// Whether the user may log in here now, as far as that is hostward's to say.
    pub login: bool,
    /// Whether it is a local account of this host, in which hostward has no say.
    #[serde(default)]
    pub local: bool,
    /// Why, or why not, in order of weight.
    pub reasons: Vec<String>,
    /// Each sudo command as `sudo -l` shows it, with the grant and entitlement that it comes from.
    pub commands: Vec<ExplainedCommand>,
}

/// One sudo command and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedCommand {
    /// As sudoers has it.
    pub command: String,
    /// Name of the entitlement.
    pub entitlement: String,
    /// Id of the grant.
    pub grant: String,
    /// Name of the group that has the grant.
    pub group: String,
}

/// Explains what `policy` gives `user` on this host.
pub fn explain(
    policy: &Policy,
    config: &Config,
    facts: &Facts,
    now: DateTime<Utc>,
    user: &str,
) -> Explanation {
    let resolution = Resolution::new(policy, config, facts, now);
    let mut explanation = Explanation {
        user: user.to_owned(),
        login: false,
        local: is_local(facts, user),
        reasons: Vec::new(),
        commands: Vec::new(),
    };
    let entries: Vec<_> = resolution.people.entries.iter().filter(|(entry, _)| entry.name == user).collect();
    if entries.is_empty() {
        explanation.reasons.push(unknown(policy, facts, user));
    }
    for (entry, standing) in entries {
        let reasons = &mut explanation.reasons;
        match standing {
            Standing::Suspended => {
                reasons.push("suspended: the policy says that this user logs in nowhere".into())
            }
            Standing::Expired => reasons.push(match entry.expires {
                Some(expires) => format!("expired: the user was to have access until {expires}"),
                None => "expired".into(),
            }),
            Standing::Refused(refusals) => reasons.extend(
                refusals
                    .iter()
                    .map(|refusal| format!("refused on this host: {} ({})", refusal.message, refusal.mend)),
            ),
            Standing::NoGrant => reasons.push("no grant gives this user login on this host now".into()),
            Standing::Admitted(position) => {
                let has_principals = resolution
                    .people
                    .admitted
                    .get(*position)
                    .is_some_and(|person| !person.principals.is_empty());
                explanation.login = has_principals && !resolution.is_locked();
                if !has_principals {
                    reasons.push(
                        "no certificate lets the user in: the policy lists no principal for them".into(),
                    );
                }
                explanation.commands = commands(&resolution, config, facts, &entry.id);
            }
        }
        reasons.extend(grants(&resolution, &entry.id));
    }
    if resolution.is_locked() {
        let reason = "locked: the policy is older than `max_offline` allows, and `on_stale` is `lock`";
        explanation.reasons.insert(0, reason.into());
    }
    if facts.hostward_users.is_none() {
        explanation
            .reasons
            .push("the local group `hostward-users` does not exist: run `systemd-sysusers`".into());
        explanation.login = false;
    }
    explanation
}

fn is_local(facts: &Facts, user: &str) -> bool {
    facts.local_users.iter().any(|local| local.name == user)
}

fn unknown(policy: &Policy, facts: &Facts, user: &str) -> String {
    if is_local(facts, user) {
        return "a local user of this host: hostward neither serves nor changes it".into();
    }
    format!("the policy (version {}) has no user of this name", policy.version)
}

/// What each grant of a group that the user is in does for them here, those in force first.
fn grants(resolution: &Resolution<'_>, id: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    for GrantEntry { document: grant, state } in &resolution.grants {
        let Some(group) =
            group_of(resolution, &grant.group).filter(|group| group.members.iter().any(|m| m == id))
        else {
            continue;
        };
        let (weight, what) = match state {
            GrantState::InForce(_) if grant.login => match grant.until {
                Some(until) => (0, format!("gives login until {until}")),
                None => (0, "gives login".to_owned()),
            },
            GrantState::InForce(_) => (1, "is in force, and does not give login".to_owned()),
            GrantState::NotYet(_, from) => (2, format!("begins at {from}")),
            GrantState::Over(_, until) => (3, format!("ended at {until}")),
            GrantState::Refused => (4, "is refused: `hostward status` says why".to_owned()),
            GrantState::OtherHosts => (5, format!("is for other hosts: `{}`", shown(&grant.hosts))),
        };
        reasons
            .push((weight, format!("grant `{}` (group `{}`) {what}", shown(&grant.id), shown(&group.name))));
    }
    reasons.sort();
    reasons.into_iter().map(|(_, reason)| reason).collect()
}

fn group_of<'a>(resolution: &Resolution<'a>, id: &str) -> Option<&'a document::Group> {
    resolution.groups.entries.iter().map(|group| group.document).find(|group| group.id == id)
}

fn commands(resolution: &Resolution<'_>, config: &Config, facts: &Facts, id: &str) -> Vec<ExplainedCommand> {
    let mut commands = Vec::new();
    if resolution.is_locked() || !config.sudo.manage || facts.sudo.is_empty() {
        return commands;
    }
    for (source, grants) in resolution.sudo.file.blocks() {
        let is_member = resolution.groups.entries.iter().any(|group| {
            group.posix.as_ref().is_ok_and(|(_, gid)| gid.number() == source.gid)
                && group.document.members.iter().any(|member| member == id)
        });
        let Some(expressed) = resolution.sudo.expressed.get(source.entitlement).filter(|_| is_member) else {
            continue;
        };
        for (grant, rule) in
            grants.iter().flat_map(|grant| expressed.rules.iter().map(move |rule| (grant, rule)))
        {
            commands.push(ExplainedCommand {
                command: rule.clone(),
                entitlement: source.entitlement.to_owned(),
                grant: (*grant).to_owned(),
                group: source.group.to_owned(),
            });
        }
    }
    commands
}
