//! In the place of the module's own `kept`: the database is not mapped from a file but the bytes at hand.

use std::cell::Cell;
use std::mem::transmute;

use hostward_accounts::{Database, body};

use crate::status::Outcome;

thread_local! {
    static IN_FORCE: Cell<Option<Database<'static>>> = const { Cell::new(None) };
}

pub(crate) struct Reader(Database<'static>);

impl Reader {
    pub(crate) fn database(&self) -> &Database<'_> {
        &self.0
    }
}

/// Never made.
pub(crate) enum Access {}

impl Access {
    pub(crate) fn database(&self) -> &Database<'_> {
        match *self {}
    }
}

pub(crate) fn in_force() -> Option<Reader> {
    IN_FORCE.get().map(Reader)
}

pub(crate) fn refresh() -> Result<Access, Outcome> {
    Err(Outcome::CORRUPT)
}

/// Has `file` in force while `ask` runs.
pub(crate) fn serve(file: &[u8], ask: impl FnOnce()) {
    let database = body(file).and_then(|body| Database::new(body).ok());
    // SAFETY: taken out again before `file` can go.
    IN_FORCE.set(database.map(|database| unsafe { transmute::<Database<'_>, Database<'static>>(database) }));
    ask();
    IN_FORCE.set(None);
}
