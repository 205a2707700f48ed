//! The mapping that is kept from one lookup to the next, so that a warm lookup makes no system call.
//!
//! Readers announce themselves in a counter, never wait and never make anybody wait. Whoever notices that the
//! mapping is superseded maps the new file and puts it in place; whoever finds an old mapping without readers
//! unmaps it. Where that cannot be done at once (somebody else is at it, every place is taken, address space
//! is scarce), the lookup maps the file for itself alone.
//!
//! The counters lie in pages that are zero in a forked child: the threads that were counted do not exist there. The kernel is
//! asked for that only when the first mapping goes out of force. Whoever puts the first one in place needs no counter either,
//! so that a process that asks once, as most do, spends nothing on what only a replacement needs.

#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, transmute};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use hostward_accounts::map::{Head, Mapping};
use hostward_accounts::{Database, PATH, system};

use crate::cursor::Cursor;
use crate::entry::forget;
use crate::status::Outcome;

/// The mapping in force and those that some reader has not left yet.
const PLACES: usize = 3;
/// Counters per place, so that threads rarely share a cache line.
const SHARDS: usize = 31;
/// A process whose address space is limited keeps a mapping only if it takes less than this part of it,
const SHARE_OF_LIMIT: u64 = 8;
/// or no more than this, which no limit that a program can start under is short of.
const ALWAYS_KEPT: usize = 1 << 20;
/// How often the path is opened anew if what it led to was replaced meanwhile.
const ATTEMPTS: usize = 4;

/// A mapping and the database in it.
pub(crate) struct Mapped {
    // Before `mapping`, which it borrows from.
    database: Database<'static>,
    mapping: Mapping,
    /// The number of its place; 0 for one that is not kept.
    place: u32,
}

impl Mapped {
    /// The file in force, unless it is superseded again and again meanwhile.
    ///
    /// Apart, so that what this takes of the stack is not taken while the mapping is put in place.
    #[inline(never)]
    fn open() -> Result<Self, Outcome> {
        let mut head = Head::new();
        let mut opened = Mapping::open_with_head(PATH, &mut head);
        for _ in 1..ATTEMPTS {
            if opened.is_err() || !head.superseded() {
                break;
            }
            opened = Mapping::open_with_head(PATH, &mut head);
        }
        let mapping = opened.map_err(Outcome::from)?;
        let database = mapping.database_with(&head).map_err(|_| Outcome::CORRUPT)?;
        // SAFETY: the pages stay where they are until `mapping` is dropped, wherever the struct itself moves;
        // the lifetime leaves this type only shortened to that of a borrow of it (`Access::database`).
        let database = unsafe { transmute::<Database<'_>, Database<'static>>(database) };
        Ok(Self { database, mapping, place: 0 })
    }

    #[inline(always)]
    pub(crate) fn database(&self) -> &Database<'_> {
        &self.database
    }

    /// Where it is kept, if it is: numbers of its records are good as long as that is so.
    #[inline(always)]
    pub(crate) fn place(&self) -> u32 {
        self.place
    }
}

struct Place {
    content: UnsafeCell<MaybeUninit<Mapped>>,
    /// [`FREE`], [`TAKEN`] or [`FULL`].
    state: AtomicU8,
}

/// Nothing is in it. It is for the holder of `Counters::changing` to fill, but for the first place, which must be taken before.
const FREE: u8 = 0;
/// Only ever the first place: of one thread, which is filling it or reads what it filled it with. Nobody else writes to it or
/// lets it go, in force or not.
const TAKEN: u8 = 1;
/// Initialised. Let go only by who holds `Counters::changing`.
const FULL: u8 = 2;

// SAFETY: `content` is written only by who took the place or holds `Counters::changing`, and taken out only by the latter while
// no reader can reach it: it is not `Held::current` then, and none of its counters is above zero.
unsafe impl Sync for Place {}

impl Place {
    fn is_full(&self) -> bool {
        self.state.load(Ordering::SeqCst) == FULL
    }

    fn is_free(&self) -> bool {
        self.state.load(Ordering::SeqCst) == FREE
    }

    fn take(&self) -> bool {
        self.state.compare_exchange(FREE, TAKEN, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

/// All that is written to but the counters.
///
/// In `.data` though it is zeros: the counters have the pages of `.bss` to themselves then, which the advice about forks need
/// not cut in pieces, and the page of `.data` is this process's own once the library is loaded. Aligned so that it is one page.
#[repr(C, align(1024))]
pub(crate) struct Held {
    place: [Place; PLACES],
    /// The number of the place in force plus one, or 0 for none; and `LINGERING`.
    current: AtomicUsize,
    pub(crate) passwd: Cursor,
    pub(crate) group: Cursor,
    pub(crate) shadow: Cursor,
}

const _: () = assert!(size_of::<Held>() == 1024);

#[unsafe(link_section = ".data")]
pub(crate) static HELD: Held = Held {
    place: [const { Place { content: UnsafeCell::new(MaybeUninit::uninit()), state: AtomicU8::new(FREE) } };
        PLACES],
    current: AtomicUsize::new(0),
    passwd: Cursor::new(),
    group: Cursor::new(),
    shadow: Cursor::new(),
};

const NUMBER: usize = 3;
/// Some mapping that is out of force was not left yet when somebody looked. Who leaves looks again.
const LINGERING: usize = 4;

/// In pages of its own, the only ones that a forked child finds empty.
static COUNTERS: Counters = Counters {
    changing: Changing(AtomicU32::new(0)),
    readers: [const { [const { Shard { one: AtomicU32::new(0), others: AtomicU32::new(0) } }; SHARDS] };
        PLACES],
};

#[repr(C, align(4096))]
struct Counters {
    changing: Changing,
    readers: [[Shard; SHARDS]; PLACES],
}

/// 1 while somebody changes `Held::current` and the places. Only ever tried, never waited for.
#[repr(C, align(128))]
struct Changing(AtomicU32);

/// Two cache lines, because processors fetch them in pairs.
#[repr(C, align(128))]
struct Shard {
    /// 1 while the one is there.
    one: AtomicU32,
    others: AtomicU32,
}

impl Shard {
    fn is_empty(&self) -> bool {
        self.one.load(Ordering::SeqCst) == 0 && self.others.load(Ordering::SeqCst) == 0
    }
}

/// Access to the database for one lookup, where the short way is not open.
enum Access {
    Kept(Reader),
    First(First),
    /// For this lookup only.
    Private(Mapped),
}

impl Access {
    fn mapped(&self) -> &Mapped {
        match self {
            Self::Kept(reader) => reader.mapped,
            Self::First(first) => first.mapped,
            Self::Private(mapped) => mapped,
        }
    }
}

/// What `ask` makes of the database in force, where [`One`] cannot be had.
///
/// Apart, so that what mapping a file takes of the stack is taken only then.
#[cold]
#[inline(never)]
pub(crate) fn by_the_long_way(ask: impl FnOnce(&Mapped) -> Outcome) -> Outcome {
    // By reference: a move would take as much of the stack once more.
    match &refresh() {
        Ok(access) => apart(ask, access.mapped()),
        Err(outcome) => *outcome,
    }
}

/// So that what asking takes of the stack is not taken while a file is mapped.
#[inline(never)]
fn apart(ask: impl FnOnce(&Mapped) -> Outcome, mapped: &Mapped) -> Outcome {
    ask(mapped)
}

/// The one reader of its shard: it comes with one exchange and goes with a plain store. Nearly always there is no other.
pub(crate) struct One {
    place: usize,
    shard: &'static Shard,
    mapped: &'static Mapped,
}

impl One {
    /// If the mapping is in force still, and nobody else is counted here: another thread, or this one below a signal
    /// handler.
    #[inline(always)]
    pub(crate) fn enter() -> Option<Self> {
        let (place, content, shard) = in_force()?;
        shard.one.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed).ok()?;
        // In force still, with us counted: it cannot be unmapped before we leave.
        if HELD.current.load(Ordering::SeqCst) & NUMBER == place {
            // SAFETY: the place is in force, so its content was written before (`Held::current` is stored last), and being
            // counted keeps it from being taken away.
            let mapped = unsafe { (*content.get()).assume_init_ref() };
            if !mapped.mapping.superseded() {
                return Some(Self { place, shard, mapped });
            }
        }
        leave_one(shard, place);
        None
    }

    #[inline(always)]
    pub(crate) fn mapped(&self) -> &Mapped {
        self.mapped
    }

    #[inline(always)]
    pub(crate) fn leave(self) {
        leave_one(self.shard, self.place);
    }
}

#[inline(always)]
fn leave_one(shard: &Shard, place: usize) {
    // Release: what was read was read before. The look at `Held::current` may come before others see this; who changes it then
    // finds us here still, and leaves `LINGERING` for whoever comes next.
    shard.one.store(0, Ordering::Release);
    look_again_if_not(place);
}

/// One of the other readers of a shard, counted as long as it lives.
struct Reader {
    place: usize,
    shard: &'static Shard,
    mapped: &'static Mapped,
}

impl Reader {
    fn enter() -> Option<Self> {
        let (place, content, shard) = in_force()?;
        shard.others.fetch_add(1, Ordering::SeqCst);
        if HELD.current.load(Ordering::SeqCst) & NUMBER != place {
            leave_others(shard, place);
            return None;
        }
        // SAFETY: as in `One::enter`.
        let mapped = unsafe { (*content.get()).assume_init_ref() };
        Some(Self { place, shard, mapped })
    }

    fn enter_unless_superseded() -> Option<Self> {
        Self::enter().filter(|reader| !reader.mapped.mapping.superseded())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        leave_others(self.shard, self.place);
    }
}

/// Who put a mapping in force where there was none, and reads it in the first place, which is not full before this is dropped.
struct First {
    place: &'static Place,
    mapped: &'static Mapped,
}

impl First {
    const NUMBER: usize = 1;

    /// The first place, taken, if there is nothing in force and nothing to let go of.
    fn take() -> Option<&'static Place> {
        let place = HELD.place.first()?;
        (nothing_is_mapped() && place.take()).then_some(place)
    }

    /// Puts `fresh` into the place that was taken for it, and in force if there still is nothing in force.
    fn put(fresh: Mapped, place: &'static Place) -> Access {
        fill(fresh, (Self::NUMBER, place));
        let put = HELD.current.compare_exchange(0, Self::NUMBER, Ordering::SeqCst, Ordering::SeqCst);
        if put.is_err() {
            // SAFETY: the place is ours still, and was never in force; it will be written before it is read again.
            let fresh = unsafe { (*place.content.get()).assume_init_read() };
            place.state.store(FREE, Ordering::SeqCst);
            return Access::Private(Mapped { place: 0, ..fresh });
        }
        // SAFETY: filled above, and nobody lets go of it before the place is full.
        let mapped = unsafe { (*place.content.get()).assume_init_ref() };
        Access::First(Self { place, mapped })
    }
}

impl Drop for First {
    fn drop(&mut self) {
        self.place.state.store(FULL, Ordering::SeqCst);
        look_again_if_not(Self::NUMBER);
    }
}

fn leave_others(shard: &Shard, place: usize) {
    if shard.others.fetch_sub(1, Ordering::SeqCst) == 0 {
        // A signal handler forked in the middle of a lookup of this very thread, and this is the child.
        shard.others.store(0, Ordering::SeqCst);
    }
    look_again_if_not(place);
}

#[inline(always)]
fn look_again_if_not(place: usize) {
    if HELD.current.load(Ordering::SeqCst) != place {
        unmap_what_nobody_reads();
    }
}

/// The number of the place in force, its content, and where this thread is counted that reads it.
#[inline(always)]
fn in_force() -> Option<(usize, &'static UnsafeCell<MaybeUninit<Mapped>>, &'static Shard)> {
    let place = HELD.current.load(Ordering::Acquire) & NUMBER;
    let index = place.checked_sub(1)?;
    Some((place, &HELD.place.get(index)?.content, COUNTERS.readers.get(index)?.get(shard())?))
}

/// Which counter this thread takes: stacks lie apart, so that an address on it tells threads apart.
#[inline(always)]
fn shard() -> usize {
    let here = 0_u8;
    let address = (&raw const here).addr() as u64;
    let mixed = (address >> 14).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (mixed.wrapping_mul(SHARDS as u64) >> 32) as usize
}

/// The database in force, mapped anew if need be.
#[inline(never)]
fn refresh() -> Result<Access, Outcome> {
    if let Some(reader) = Reader::enter_unless_superseded() {
        return Ok(Access::Kept(reader));
    }
    let mut fresh = Mapped::open();
    if let Err(outcome) = fresh {
        let answer = nothing_to_map(outcome);
        if answer.is_ok() || outcome.errno != libc::ENOMEM {
            return answer;
        }
        // The mapping that was superseded may have taken the room.
        fresh = Mapped::open();
    }
    match fresh {
        Ok(fresh) if may_keep(fresh.mapping.len()) => keep(fresh),
        Ok(fresh) => Ok(Access::Private(fresh)),
        Err(outcome) => Err(outcome),
    }
}

/// Puts `fresh` in force if that can be done at once.
#[inline(never)]
fn keep(fresh: Mapped) -> Result<Access, Outcome> {
    if let Some(place) = First::take() {
        return Ok(First::put(fresh, place));
    }
    empty_in_children();
    let Some(change) = Change::begin() else {
        return Ok(Access::Private(fresh));
    };
    // Somebody may have been faster; what is in force is then as fresh as what we have.
    if let Some(reader) = Reader::enter_unless_superseded() {
        return Ok(Access::Kept(reader));
    }
    change.unmap_what_nobody_reads();
    let Some((number, place)) = change.vacant() else {
        return Ok(Access::Private(fresh));
    };
    fill(fresh, (number, place));
    place.state.store(FULL, Ordering::SeqCst);
    HELD.current.store(number, Ordering::SeqCst);
    match Reader::enter() {
        Some(reader) => Ok(Access::Kept(reader)),
        // Cannot be while `changing` is ours.
        None => Mapped::open().map(Access::Private),
    }
}

/// Fills a place that is this thread's, and not in force.
fn fill(mut fresh: Mapped, (number, place): (usize, &'static Place)) {
    fresh.place = number as u32;
    // Nobody has read what was there since before the place was emptied.
    forget(fresh.place);
    // SAFETY: the place is ours, and not in force: no reader gets as far as its content.
    unsafe { (*place.content.get()).write(fresh) };
}

fn nothing_is_mapped() -> bool {
    HELD.current.load(Ordering::SeqCst) == 0 && !HELD.place.iter().any(Place::is_full)
}

/// What is superseded is never served again, and should not take up disk space either.
///
/// But where it is this process that may not or cannot open the new file: letting go takes system calls, of which a sandbox
/// may not bear with any.
fn nothing_to_map(outcome: Outcome) -> Result<Access, Outcome> {
    let this_process =
        matches!(outcome.errno, libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EMFILE | libc::ENFILE);
    if this_process || nothing_is_mapped() {
        return Err(outcome);
    }
    empty_in_children();
    if let Some(change) = Change::begin() {
        if let Some(reader) = Reader::enter_unless_superseded() {
            return Ok(Access::Kept(reader));
        }
        // From nothing to something others may go meanwhile, but nowhere else.
        if HELD.current.load(Ordering::SeqCst) & NUMBER != 0 {
            HELD.current.store(0, Ordering::SeqCst);
        }
        drop(change);
    }
    Err(outcome)
}

#[cold]
#[inline(never)]
fn unmap_what_nobody_reads() {
    // If somebody else holds it, that one looks again after letting go.
    drop(Change::begin());
}

/// The right to change `Held::current` and the places, held until dropped.
struct Change(());

impl Change {
    fn begin() -> Option<Self> {
        let begun = COUNTERS.changing.0.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
        // Not `then_some`: a `Self` made and dropped without being held would let go of what another holds.
        begun.is_ok().then(|| Self(()))
    }

    /// A place to fill. The first only if there is no other, because that one has to be taken.
    fn vacant(&self) -> Option<(usize, &'static Place)> {
        let mut places = (1..).zip(&HELD.place);
        let first = places.next();
        places.find(|(_, place)| place.is_free()).or_else(|| first.filter(|(_, place)| place.take()))
    }

    /// Places that hold a mapping which is out of force, with their readers.
    ///
    /// The state is looked at first: what is full was in force before ([`First`]) or is put there by us, so that what is not in
    /// force then does not come into force any more.
    fn superseded(&self) -> impl Iterator<Item = (&'static Place, &'static [Shard; SHARDS])> {
        let places = HELD.place.iter().zip(&COUNTERS.readers).zip(1..);
        places.filter_map(|(place, number)| {
            let superseded = place.0.is_full() && HELD.current.load(Ordering::SeqCst) & NUMBER != number;
            superseded.then_some(place)
        })
    }

    /// Those of them that have no reader.
    fn idle(&self) -> impl Iterator<Item = &'static Place> {
        let idle =
            |(place, readers): (_, &[Shard; SHARDS])| readers.iter().all(Shard::is_empty).then_some(place);
        self.superseded().filter_map(idle)
    }

    fn unmap_what_nobody_reads(&self) {
        for place in self.idle() {
            // SAFETY: we hold `changing`; the content was initialised, and will be written before it is read again.
            // Readers counted from now on see that the place is not in force.
            let gone = unsafe { (*place.content.get()).assume_init_read() };
            // Before the memory goes: a child forked in between must not unmap what is something else by then.
            place.state.store(FREE, Ordering::SeqCst);
            drop(gone);
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        loop {
            self.unmap_what_nobody_reads();
            // Without a look at what it was: it may go from nothing to something meanwhile.
            if self.superseded().next().is_some() {
                HELD.current.fetch_or(LINGERING, Ordering::SeqCst);
            } else if HELD.current.load(Ordering::SeqCst) & LINGERING != 0 {
                HELD.current.fetch_and(NUMBER, Ordering::SeqCst);
            }
            COUNTERS.changing.0.store(0, Ordering::SeqCst);
            // Who left meanwhile, or had the first place, could not begin a change of its own.
            if self.idle().next().is_none() {
                return;
            }
            let again = COUNTERS.changing.0.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
            if again.is_err() {
                return;
            }
        }
    }
}

/// Has a forked child find the counters empty. Before anything goes out of force.
///
/// A child that was forked before that (or on Linux before 4.14), during another thread's lookup, keeps the mapping of that lookup.
fn empty_in_children() {
    // SAFETY: whole pages of our own, in which zeros are what they are made of.
    unsafe { system::empty_in_children((&raw const COUNTERS).cast(), size_of::<Counters>()) };
}

fn may_keep(len: usize) -> bool {
    len <= ALWAYS_KEPT
        || system::address_space_limit()
            .is_some_and(|limit| limit == u64::MAX || len as u64 <= limit / SHARE_OF_LIMIT)
}
