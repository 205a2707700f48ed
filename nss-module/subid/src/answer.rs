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

impl Range {
    /// The first number behind it, if it has `id`.
    fn beyond(self, id: u64) -> Option<u64> {
        (id.checked_sub(self.start)? < self.count).then(|| self.start.saturating_add(self.count))
    }
}

impl From<&SubidLine<'_>> for Range {
    fn from(line: &SubidLine<'_>) -> Self {
        Range { start: line.start, count: line.count }
    }
}

/// It cannot be known: the database or the file cannot be read.
pub(crate) struct Unknown;

/// Somebody whose ranges are asked for, by login name.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a>(pub(crate) &'a [u8]);

impl Owner<'_> {
    /// Shows `each` every range of theirs, until it has seen enough. Lines of the file as `list_owner_ranges` of shadow:
    /// by name and by uid.
    pub(crate) fn ranges(
        self,
        kind: Kind,
        mut each: impl FnMut(Range) -> ControlFlow<()>,
    ) -> Result<(), Unknown> {
        let uid = uid_of(self.0);
        let mut local = false;
        let stopped = lines(kind, |line| {
            if line.owner != self.0 && !uid.is_some_and(|uid| is(line.owner, uid)) {
                return ControlFlow::Continue(());
            }
            local = true;
            each(Range::from(line))
        })?;
        match uid.filter(|_| stopped.is_continue()) {
            // Who has ranges in the file keeps them, whatever has become of the database.
            Some(uid) => self.managed(uid, each).or(if local { Ok(()) } else { Err(Unknown) }),
            None => Ok(()),
        }
    }

    /// Whether all of these ids are theirs, in however many ranges.
    pub(crate) fn covers(self, kind: Kind, wanted: Range) -> Result<bool, Unknown> {
        let Some(end) = wanted.start.checked_add(wanted.count).filter(|_| wanted.count > 0) else {
            return Ok(false);
        };
        let mut from = wanted.start;
        while from < end {
            match self.beyond(kind, from)? {
                Some(beyond) if beyond > from => from = beyond,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The first number behind a range of theirs that has `id`. In the order of `find_range` of shadow: for who is in the
    /// file by name, nobody is asked for anything, and for no line that is not about `id`.
    fn beyond(self, kind: Kind, id: u64) -> Result<Option<u64>, Unknown> {
        let named = first(kind, id, |line| line.owner == self.0)?;
        if named.is_some() {
            return Ok(named);
        }
        let Some(uid) = uid_of(self.0) else { return Ok(None) };
        let mut managed = None;
        let asked = self.managed(uid, |range| {
            managed = range.beyond(id);
            if managed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if managed.is_some() {
            return Ok(managed);
        }
        // By number, or by another name of the same uid.
        let local = first(kind, id, |line| is(line.owner, uid) || uid_of(line.owner) == Some(uid))?;
        if local.is_none() { asked.map(|()| None) } else { Ok(local) }
    }

    /// Shows `each` the ranges that the database has for them, if it is they who have the name on this host: what exists
    /// locally is never served.
    fn managed(self, uid: u32, mut each: impl FnMut(Range) -> ControlFlow<()>) -> Result<(), Unknown> {
        with_database(|mapping| {
            match mapping.database().map_err(|_| Unknown)?.user_by_name(self.0) {
                Lookup::Found(user) if user.uid() == uid => {}
                Lookup::Found(_) | Lookup::NotFound => return Ok(()),
                Lookup::Corrupt => return Err(Unknown),
            }
            for range in mapping.subids().map_err(|_| Unknown)?.of(uid) {
                if each(Range { start: range.start.into(), count: range.count.into() }).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// Shows `each` the uid of everybody who has this id.
pub(crate) fn owners(
    kind: Kind,
    id: u64,
    mut each: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<(), Unknown> {
    let stopped = lines(kind, |line| {
        // Whose line it is may have to be asked of somebody far away: only where it is about this id.
        let has = Range::from(line).beyond(id).is_some();
        match has.then(|| number(line.owner).or_else(|| uid_of(line.owner))).flatten() {
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

/// The first number behind the range of the first line that has `id` and is `theirs`.
fn first(kind: Kind, id: u64, theirs: impl Fn(&SubidLine<'_>) -> bool) -> Result<Option<u64>, Unknown> {
    let mut found = None;
    let _ = lines(kind, |line| {
        found = Range::from(line).beyond(id).filter(|_| theirs(line));
        if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

/// Whether this is the uid as shadow writes it: no zero before it.
fn is(text: &[u8], uid: u32) -> bool {
    number(text) == Some(uid) && (text.len() == 1 || text.first() != Some(&b'0'))
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
    mut each: impl FnMut(&SubidLine<'_>) -> ControlFlow<()>,
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
    each: &mut impl FnMut(&SubidLine<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match line.get(..len).and_then(SubidLine::parse) {
        Some(line) => each(&line),
        None => ControlFlow::Continue(()),
    }
}
