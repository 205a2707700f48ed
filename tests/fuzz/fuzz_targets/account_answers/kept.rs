//! In the place of the module's own `kept`: the database is not mapped from a file but the bytes at hand.

use std::cell::Cell;
use std::mem::transmute;

use hostward_accounts::{Database, body};

use crate::cursor::Cursor;
use crate::entry::forget;
use crate::status::Outcome;

const PLACE: u32 = 1;

pub(crate) struct Held {
    pub(crate) passwd: Cursor,
    pub(crate) group: Cursor,
    pub(crate) shadow: Cursor,
}

pub(crate) static HELD: Held = Held { passwd: Cursor::new(), group: Cursor::new(), shadow: Cursor::new() };

thread_local! {
    static IN_FORCE: Cell<Option<Mapped>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
pub(crate) struct Mapped {
    database: Database<'static>,
}

impl Mapped {
    pub(crate) fn database(&self) -> &Database<'_> {
        &self.database
    }

    pub(crate) fn place(&self) -> u32 {
        PLACE
    }
}

pub(crate) struct One(Mapped);

impl One {
    pub(crate) fn enter() -> Option<Self> {
        IN_FORCE.get().map(One)
    }

    pub(crate) fn mapped(&self) -> &Mapped {
        &self.0
    }

    pub(crate) fn leave(self) {}
}

/// Where no database is in force.
pub(crate) fn by_the_long_way(_: impl FnOnce(&Mapped) -> Outcome) -> Outcome {
    Outcome::CORRUPT
}

/// Has `file` in force while `ask` runs.
pub(crate) fn serve(file: &[u8], ask: impl FnOnce()) {
    forget(PLACE);
    let database = body(file).and_then(|body| Database::new(body).ok());
    let mapped = |database| {
        // SAFETY: taken out again before `file` can go.
        Mapped { database: unsafe { transmute::<Database<'_>, Database<'static>>(database) } }
    };
    IN_FORCE.set(database.map(mapped));
    ask();
    IN_FORCE.set(None);
}
