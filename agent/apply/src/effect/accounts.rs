//! The account database, and nscd, which caches what it said before.

use hostward_accounts::{BuildError, ReplaceError};
use hostward_plan::facts::Accounts;
use hostward_protocol::report::{Finding, Responsible};

use crate::command::{QUICK, run};
use crate::durable::fault::point;
use crate::finding::{chain, finding, host};
use crate::processes::exists;
use crate::root::{DATABASE, Root};

const SUBJECT: &str = "`/var/lib/misc/hostward.db`";

/// Replaces the database. Answers with its bytes.
pub fn replace(root: &Root, accounts: &Accounts, generation: u64) -> Result<Vec<u8>, Finding> {
    let bytes = hostward_accounts::build(&accounts.users, &accounts.groups, generation)
        .map_err(|error| not_built(&error))?;
    point("replace accounts").map_err(|error| host("accounts-failed", SUBJECT, &error)).and_then(|()| {
        hostward_accounts::replace(&root.path(DATABASE), &bytes).map_err(|error| failed(&error))
    })?;
    forget_caches(root);
    Ok(bytes)
}

/// Removes the database.
pub fn remove(root: &Root) -> Result<(), Finding> {
    point("remove accounts")
        .map_err(|error| host("accounts-failed", SUBJECT, &error))
        .and_then(|()| hostward_accounts::remove(&root.path(DATABASE)).map_err(|error| failed(&error)))?;
    forget_caches(root);
    Ok(())
}

fn not_built(error: &BuildError) -> Finding {
    finding(
        Responsible::Backend,
        "accounts-not-built",
        SUBJECT,
        chain(error),
        "correct the entry in the policy; if the message does not help, report it as a defect of hostward",
    )
}

fn failed(error: &ReplaceError) -> Finding {
    host("accounts-failed", SUBJECT, error)
}

/// nscd keeps removed users, and that new ones do not exist, for minutes.
fn forget_caches(root: &Root) {
    let nscd = root.path("/usr/sbin/nscd");
    if !nscd.is_file() || !exists(&root.path("/run/nscd/socket")) {
        return;
    }
    for table in ["passwd", "group"] {
        match run(&nscd, ["-i", table], QUICK) {
            Ok(ran) if ran.success => {}
            Ok(ran) => log::warn!("nscd did not forget its {table} table: {}", ran.said()),
            Err(error) => log::warn!("nscd did not forget its {table} table: {}", chain(&error)),
        }
    }
}
