//! Who has which ids: the account database and the local file together.

use core::ops::ControlFlow;

use hostward_accounts::map::{MapError, Mapping};
use hostward_accounts::{Lookup, PATH, SUBID_LINE_LIMIT, SubidLine};

use crate::system::{File, uid_of};

/// Which ids are asked for.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Uid,
    Gid,
}

/// Consecutive ids.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) count: u64,
}

/// It cannot be known: the database or the file cannot be read.
pub(crate) struct Unknown;

/// Somebody whose ranges are asked for.
pub(crate) struct Owner<'a> {
    name: &'a [u8],
    uid: Option<u32>,
}

impl<'a> Owner<'a> {
    pub(crate) fn of(name: &'a [u8]) -> Self {
        Owner { name, uid: uid_of(name) }
    }

    /// Whether a line of the local file is about them: by name, by uid, or by another name of the same uid.
    fn has(&self, line: &SubidLine<'_>) -> bool {
        if line.owner == self.name {
            return true;
        }
        let Some(uid) = self.uid else { return false };
        match number(line.owner) {
            Some(number) => number == uid,
            None => uid_of(line.owner) == Some(uid),
        }
    }

    /// Shows `each` every range of theirs, until it has seen enough.
    pub(crate) fn ranges(
        &self,
        kind: Kind,
        mut each: impl FnMut(Range) -> ControlFlow<()>,
    ) -> Result<(), Unknown> {
        let stopped = lines(kind, |line| match local(&line) {
            range if range.count > 0 && self.has(&line) => each(range),
            _ => ControlFlow::Continue(()),
        })?;
        if stopped.is_break() {
            return Ok(());
        }
        with_database(|mapping| {
            let database = mapping.database().map_err(|_| Unknown)?;
            let uid = match database.user_by_name(self.name) {
                Lookup::Found(user) => user.uid(),
                Lookup::NotFound => return Ok(()),
                Lookup::Corrupt => return Err(Unknown),
            };
            for range in mapping.subids().map_err(|_| Unknown)?.of(uid) {
                if each(Range { start: range.start.into(), count: range.count.into() }).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Whether all of these ids are theirs, in however many ranges.
    pub(crate) fn covers(&self, kind: Kind, wanted: Range) -> Result<bool, Unknown> {
        let Some(end) = wanted.start.checked_add(wanted.count).filter(|_| wanted.count > 0) else {
            return Ok(false);
        };
        let mut from = wanted.start;
        while from < end {
            let mut reach = from;
            self.ranges(kind, |range| {
                let beyond = range.start.saturating_add(range.count);
                if range.start <= from && beyond > reach {
                    reach = beyond;
                }
                ControlFlow::Continue(())
            })?;
            if reach == from {
                return Ok(false);
            }
            from = reach;
        }
        Ok(true)
    }
}

/// Shows `each` the uid of everybody who has this id.
pub(crate) fn owners(
    kind: Kind,
    id: u64,
    mut each: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<(), Unknown> {
    let stopped = lines(kind, |line| {
        let range = local(&line);
        let has = range.start <= id && id < range.start.saturating_add(range.count);
        match number(line.owner).or_else(|| uid_of(line.owner)).filter(|_| has) {
            Some(uid) => each(uid),
            None => ControlFlow::Continue(()),
        }
    })?;
    let Some(id) = u32::try_from(id).ok().filter(|_| stopped.is_continue()) else { return Ok(()) };
    with_database(|mapping| match mapping.subids().map_err(|_| Unknown)?.owner(id) {
        Lookup::Found(uid) => {
            let _ = each(uid);
            Ok(())
        }
        Lookup::NotFound => Ok(()),
        Lookup::Corrupt => Err(Unknown),
    })
}

fn local(line: &SubidLine<'_>) -> Range {
    Range { start: line.start, count: line.last().map_or(0, |_| line.count) }
}

/// A uid in decimal.
fn number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().all(u8::is_ascii_digit) && !text.is_empty();
    core::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// Without a database nobody is managed here.
fn with_database(ask: impl FnOnce(&Mapping) -> Result<(), Unknown>) -> Result<(), Unknown> {
    match Mapping::open(PATH) {
        Ok(mapping) => ask(&mapping),
        Err(MapError::Os(libc::ENOENT)) => Ok(()),
        Err(_) => Err(Unknown),
    }
}

/// Shows `each` what the lines of the local file give. No file gives nothing.
fn lines(
    kind: Kind,
    mut each: impl FnMut(SubidLine<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Unknown> {
    let path = match kind {
        Kind::Uid => c"/etc/subuid",
        Kind::Gid => c"/etc/subgid",
    };
    let Some(mut file) = File::open(path).map_err(|_| Unknown)? else { return Ok(ControlFlow::Continue(())) };
    let mut buffer = [0_u8; 4096];
    let mut line = [0_u8; SUBID_LINE_LIMIT];
    // How much of the line there is; as much as fits of one that is too long, which gives nothing.
    let mut len = 0_usize;
    loop {
        let read = file.read(&mut buffer).map_err(|_| Unknown)?;
        for byte in buffer.get(..read).ok_or(Unknown)? {
            if *byte == b'\n' {
                if finish(&line, len, &mut each).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                len = 0;
            } else {
                if let Some(place) = line.get_mut(len) {
                    *place = *byte;
                }
                len = len.saturating_add(1);
            }
        }
        if read == 0 {
            return Ok(finish(&line, len, &mut each));
        }
    }
}

fn finish(
    line: &[u8],
    len: usize,
    each: &mut impl FnMut(SubidLine<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match line.get(..len).and_then(SubidLine::parse) {
        Some(line) => each(line),
        None => ControlFlow::Continue(()),
    }
}
