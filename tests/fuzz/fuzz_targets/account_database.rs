//! Any bytes as an account database: no panic, no hang, and never the record of somebody else.
#![no_main]

use hostward_accounts::{Database, Lookup, PROLOGUE, body};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    ask(file);
    // Few bytes get past the magic, the version and the length by themselves.
    let mut repaired = file.to_vec();
    if let Some(header) = repaired.get_mut(PROLOGUE..PROLOGUE + 24) {
        header[..10].copy_from_slice(b"\x89HWDB\r\n\x1a\x01\0");
        header[16..].copy_from_slice(&((file.len() - PROLOGUE) as u64).to_le_bytes());
        ask(&repaired);
    }
});

fn ask(file: &[u8]) {
    let _ = hostward_accounts::decode_all(file);
    let Some(body) = body(file) else { return };
    let Ok(database) = Database::new(body) else { return };
    let name = file.rchunks(8).next().unwrap_or_default();
    let id = name.first_chunk().map_or(0, |id| u32::from_le_bytes(*id));
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
    let mut last = None;
    while let Lookup::Found(group) = database.group_after(last) {
        assert!(last.is_none_or(|last| last < group.gid()), "enumeration goes back");
        last = Some(group.gid());
    }
}
