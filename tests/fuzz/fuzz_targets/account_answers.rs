//! Damaged databases, asked through the functions that glibc calls, with the code of the library that is shipped: each
//! answer is the one that a plain reader, written from the format's page, gives for the same bytes. Memory is watched:
//! the file and the caller's buffer are allocations of exactly their size.
//!
//! A database is built once and damaged anew for each input, so that this runs some ten thousand times a second.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "account_answers/bases.rs"]
mod bases;
#[path = "account_answers/callers.rs"]
mod callers;
#[path = "../../../nss-module/src/cursor.rs"]
mod cursor;
#[path = "account_answers/damage.rs"]
mod damage;
#[path = "../../../nss-module/src/entry.rs"]
mod entry;
#[path = "account_answers/kept.rs"]
mod kept;
#[path = "account_answers/page.rs"]
mod page;
#[path = "../../../nss-module/src/status.rs"]
mod status;

fuzz_target!(|input: &[u8]| {
    let mut input = damage::Input(input);
    let base = bases::base(input.byte());
    let query = callers::Query::draw(base, &mut input);
    let mut file = base.file.clone();
    while !input.0.is_empty() {
        damage::hit(&mut file, &mut input);
    }
    kept::serve(&file, || query.ask(&file));
});
