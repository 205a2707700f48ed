//! What each entry point does, told apart from how C calls it.

use hostward_records::{Id, Record, What};

use crate::append::{FileSizes, append};
use crate::home;
use crate::host::{Host, now_micros};
use crate::process::{Standing, command_line, directory, random_id};
use crate::refusal::Refusal;
use crate::who::{Who, denied};

/// Services through which somebody comes in by hand. Sessions of local users are recorded for these alone: those of
/// cron are many and say nothing.
const INTERACTIVE: [&str; 6] = ["sshd", "login", "su", "su-l", "sudo", "sudo-i"];

/// sudo's services.
const SUDO: [&str; 2] = ["sudo", "sudo-i"];

/// What is asked of PAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Service,
    User,
    Tty,
    RemoteHost,
    RemoteUser,
}

/// The transaction that PAM is in.
pub(crate) trait Transaction {
    /// An item; `None` where it is not set.
    fn item(&self, item: Item) -> Option<String>;
    /// A variable of PAM's own environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// Tells the user something, if there is somebody to tell.
    fn tell(&self, text: &str);
    /// Remembers a session until the transaction ends.
    fn keep(&self, session: Kept);
    /// What was remembered.
    fn kept(&self) -> Option<Kept>;
}

/// What is remembered of a session from its opening to its end: who has left meanwhile was managed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) session: Id,
    pub(crate) uid: Option<u32>,
    pub(crate) managed: bool,
}

/// What PAM is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As if the module were not there.
    Ignore,
    /// Done.
    Success,
    /// The home could not be made.
    SessionFailed,
    /// Not let in.
    Denied,
    /// Not let in any more.
    Expired,
}

/// A user's name as PAM has it, if it can be one.
fn user(pam: &impl Transaction) -> Option<String> {
    pam.item(Item::User).filter(|name| !name.is_empty() && !name.contains([':', '\n', '\0']))
}

/// Whether somebody may come in now.
pub(crate) fn account(pam: &impl Transaction, host: &Host, silent: bool) -> Answer {
    let Some(name) = user(pam) else { return Answer::Ignore };
    let who = Who::is(&name, host);
    if !who.is_managed() {
        return Answer::Ignore;
    }
    let now = now_micros();
    let Some(refusal) = Refusal::of(&who, denied(host, &name).as_ref(), now / 1_000_000) else {
        return Answer::Ignore;
    };
    let what = What::Denied { reason: refusal.reason, until: refusal.until };
    append(host, &record(pam, host, what, name.clone(), who.uid(), true));
    // sudo asks for silence always, and says only that access was denied.
    if !silent || is_sudo(pam) {
        pam.tell(&refusal.message(&name));
    }
    match refusal.reason {
        hostward_records::Reason::Expired => Answer::Expired,
        _ => Answer::Denied,
    }
}

/// Makes the home of a managed user who has none.
pub(crate) fn make_home(pam: &impl Transaction, host: &Host, silent: bool) -> Answer {
    let Some(name) = user(pam) else { return Answer::Ignore };
    let Who::Managed(managed) = Who::is(&name, host) else { return Answer::Ignore };
    let _limit = FileSizes::unlimited();
    match home::make(host, &managed) {
        Ok(home::Made::Already) => Answer::Ignore,
        Ok(home::Made::New) => Answer::Success,
        Err(error) => {
            let text = format!("hostward: cannot make the home `{}`: {error}", managed.home);
            home::complain(host, pam.item(Item::Service).as_deref().unwrap_or("?"), &text);
            if !silent {
                pam.tell(&text);
            }
            Answer::SessionFailed
        }
    }
}

/// Records that a session begins.
pub(crate) fn opened(pam: &impl Transaction, host: &Host) -> Answer {
    let Some(name) = user(pam) else { return Answer::Ignore };
    let who = Who::is(&name, host);
    if !is_recorded(pam, &who) {
        return Answer::Ignore;
    }
    let kept = Kept { session: random_id(), uid: who.uid(), managed: who.is_managed() };
    append(host, &record(pam, host, What::Opened(kept.session), name, kept.uid, kept.managed));
    pam.keep(kept);
    Answer::Ignore
}

/// Records that it ends.
pub(crate) fn closed(pam: &impl Transaction, host: &Host) -> Answer {
    let Some(name) = user(pam) else { return Answer::Ignore };
    let (session, uid, managed) = match pam.kept() {
        Some(kept) => (Some(kept.session), kept.uid, kept.managed),
        None => {
            let who = Who::is(&name, host);
            if !is_recorded(pam, &who) {
                return Answer::Ignore;
            }
            (None, who.uid(), who.is_managed())
        }
    };
    append(host, &record(pam, host, What::Closed(session), name, uid, managed));
    Answer::Ignore
}

fn is_sudo(pam: &impl Transaction) -> bool {
    pam.item(Item::Service).is_some_and(|service| SUDO.contains(&service.as_str()))
}

fn is_recorded(pam: &impl Transaction, who: &Who) -> bool {
    who.is_managed() || pam.item(Item::Service).is_some_and(|service| INTERACTIVE.contains(&service.as_str()))
}

fn record(
    pam: &impl Transaction,
    host: &Host,
    what: What,
    user: String,
    uid: Option<u32>,
    managed: bool,
) -> Record {
    let standing = Standing::now(host);
    let asked_of_sudo = matches!(what, What::Opened(_)) && is_sudo(pam);
    let item = |item| pam.item(item).filter(|text| !text.is_empty());
    let tty = item(Item::Tty).map(|tty| match tty.strip_prefix("/dev/") {
        Some(name) => name.to_owned(),
        None => tty,
    });
    Record {
        id: random_id(),
        what,
        time: now_micros(),
        boot: standing.boot,
        service: item(Item::Service).unwrap_or_default(),
        user,
        uid,
        managed,
        tty,
        rhost: item(Item::RemoteHost),
        ruser: item(Item::RemoteUser),
        auth: pam.variable("SSH_AUTH_INFO_0").filter(|text| !text.is_empty()),
        process: standing.process,
        parent: standing.parent,
        audit_session: standing.audit_session,
        loginuid: standing.loginuid,
        cgroup: standing.cgroup,
        xdg_session: pam.variable("XDG_SESSION_ID").filter(|text| !text.is_empty()),
        ancestors: standing.ancestors,
        directory: if asked_of_sudo { directory(host) } else { None },
        command_line: if asked_of_sudo { command_line(host) } else { None },
    }
}
