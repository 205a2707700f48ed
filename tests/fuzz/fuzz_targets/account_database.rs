//! Any bytes as an account database: no panic, no hang, and never the record of somebody else.
#![no_main]

use hostward_accounts::{Database, Lookup, body};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u32)| {
    let (file, id) = input;
    let _ = hostward_accounts::decode_all(file);
    let Some(body) = body(file) else { return };
    let Ok(database) = Database::new(body) else { return };
    let name = file.rchunks(8).next().unwrap_or_default();
    if let Lookup::Found(user) = database.user_by_name(name) {
        assert_eq!(user.name(), name);
    }
    if let Lookup::Found(group) = database.group_by_name(name) {
        assert_eq!(group.name(), name);
    }
    if let Lookup::Found(user) = database.user_by_uid(id) {
        assert_eq!(user.uid(), id);
        user.gids().for_each(drop);
    }
    if let Lookup::Found(group) = database.group_by_gid(id) {
        assert_eq!(group.gid(), id);
    }
    let mut last = None;
    while let Lookup::Found(user) = database.user_after(last) {
        assert!(last.is_none_or(|last| last < user.uid()), "enumeration goes back");
        last = Some(user.uid());
    }
});
