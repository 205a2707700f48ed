//! The mapping that is kept from one lookup to the next, so that a warm lookup makes no system call.
//!
//! Readers announce themselves in a counter, never wait and never make anybody wait. Whoever notices that the
//! mapping is superseded maps the new file and puts it in place; whoever finds an old mapping without readers
//! unmaps it. Where that cannot be done at once (somebody else is at it, every place is taken, address space
//! is scarce), the lookup maps the file for itself alone.
//!
//! The counters lie in a page that is zero in a forked child: the threads that were counted do not exist there.

#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, transmute};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use hostward_accounts::map::Mapping;
use hostward_accounts::{Database, PATH};

use crate::status::Outcome;

/// The mapping in force and those that some reader has not left yet.
const PLACES: usize = 3;
/// Counters per place, so that threads rarely share a cache line.
const SHARDS: usize = 16;
/// A process whose address space is limited keeps a mapping only if it takes less than this part of it.
const SHARE_OF_LIMIT: u64 = 8;
/// How often the path is opened anew if what it led to was replaced meanwhile.
const ATTEMPTS: usize = 4;

/// A mapping and the database in it.
pub(crate) struct Mapped {
    // Before `mapping`, which it borrows from.
    database: Database<'static>,
    mapping: Mapping,
}

impl Mapped {
    fn open() -> Result<Self, Outcome> {
        let mapping = Mapping::open(PATH).map_err(Outcome::from)?;
        let database = mapping.database().map_err(|_| Outcome::CORRUPT)?;
        // SAFETY: the pages stay where they are until `mapping` is dropped, wherever the struct itself moves;
        // the lifetime leaves this type only shortened to that of a borrow of it (`Access::database`).
        let database = unsafe { transmute::<Database<'_>, Database<'static>>(database) };
        Ok(Self { database, mapping })
    }
}

struct Place {
    content: UnsafeCell<MaybeUninit<Mapped>>,
    /// Whether `content` is initialised. Changed only by who holds `Counters::changing`.
    full: AtomicBool,
}

// SAFETY: `content` is written only by the holder of `Counters::changing`, and only while no reader can reach it:
// it is not `CURRENT` then, and none of its counters is above zero.
unsafe impl Sync for Place {}

static PLACE: [Place; PLACES] =
    [const { Place { content: UnsafeCell::new(MaybeUninit::uninit()), full: AtomicBool::new(false) } };
        PLACES];

/// The number of the place in force plus one; 0 for none.
static CURRENT: AtomicUsize = AtomicUsize::new(0);

/// Null until the first lookup; then a page of its own for the life of the process.
static COUNTERS: AtomicPtr<Counters> = AtomicPtr::new(ptr::null_mut());

#[repr(C)]
struct Counters {
    readers: [[Shard; SHARDS]; PLACES],
    /// 1 while somebody changes `CURRENT` and the places. Only ever tried, never waited for.
    changing: AtomicU32,
}

#[repr(C, align(64))]
struct Shard(AtomicU32);

/// Access to the database for one lookup.
pub(crate) enum Access {
    Kept(Reader),
    /// For this lookup only.
    Private(Mapped),
}

impl Access {
    pub(crate) fn database(&self) -> &Database<'_> {
        match self {
            Self::Kept(reader) => reader.database(),
            Self::Private(mapped) => &mapped.database,
        }
    }
}

/// A reader of the mapping in force, counted as long as it lives.
pub(crate) struct Reader {
    place: usize,
    count: &'static AtomicU32,
    mapped: &'static Mapped,
}

impl Reader {
    #[inline]
    fn enter() -> Option<Self> {
        // SAFETY: null, or a page that was initialised before the pointer was published and is never unmapped.
        let counters = unsafe { COUNTERS.load(Ordering::Acquire).as_ref() }?;
        let place = CURRENT.load(Ordering::Acquire);
        let index = place.checked_sub(1)?;
        let content = &PLACE.get(index)?.content;
        let count = &counters.readers.get(index)?.get(shard())?.0;
        count.fetch_add(1, Ordering::SeqCst);
        // In force still, with us counted: it cannot be unmapped before we leave.
        if CURRENT.load(Ordering::SeqCst) != place {
            leave(count, place);
            return None;
        }
        // SAFETY: the place is in force, so its content was written before (`CURRENT` is stored last), and being
        // counted keeps it from being taken away.
        let mapped = unsafe { (*content.get()).assume_init_ref() };
        Some(Self { place, count, mapped })
    }

    #[inline]
    fn enter_unless_superseded() -> Option<Self> {
        Self::enter().filter(|reader| !reader.mapped.mapping.superseded())
    }

    #[inline]
    pub(crate) fn database(&self) -> &Database<'_> {
        &self.mapped.database
    }
}

impl Drop for Reader {
    #[inline]
    fn drop(&mut self) {
        leave(self.count, self.place);
    }
}

#[inline]
fn leave(count: &AtomicU32, place: usize) {
    if count.fetch_sub(1, Ordering::SeqCst) == 0 {
        // A signal handler forked in the middle of a lookup of this very thread, and this is the child.
        count.store(0, Ordering::SeqCst);
    }
    if CURRENT.load(Ordering::SeqCst) != place {
        unmap_what_nobody_reads();
    }
}

/// Which counter this thread takes: stacks lie apart, so that an address on it tells threads apart.
#[inline]
fn shard() -> usize {
    let here = 0_u8;
    let address = (&raw const here).addr();
    (address >> 14).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60
}

/// The database that is mapped, if it is in force still.
#[inline]
pub(crate) fn in_force() -> Option<Reader> {
    Reader::enter_unless_superseded()
}

/// The database in force, mapped anew.
///
/// Leaves `errno` as it was.
#[cold]
#[inline(never)]
pub(crate) fn refresh() -> Result<Access, Outcome> {
    // SAFETY: always a valid pointer to the calling thread's errno.
    let errno = unsafe { *libc::__errno_location() };
    let access = map_anew();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    access
}

fn map_anew() -> Result<Access, Outcome> {
    let mut fresh = Mapped::open();
    for _ in 1..ATTEMPTS {
        match &fresh {
            Ok(mapped) if mapped.mapping.superseded() => fresh = Mapped::open(),
            _ => break,
        }
    }
    match fresh {
        Ok(fresh) if may_keep(fresh.mapping.len()) => keep(fresh),
        Ok(fresh) => Ok(Access::Private(fresh)),
        Err(outcome) => nothing_to_map(outcome),
    }
}

/// Puts `fresh` in force if that can be done at once.
fn keep(fresh: Mapped) -> Result<Access, Outcome> {
    let Some(change) = Change::begin() else {
        return Ok(Access::Private(fresh));
    };
    // Somebody may have been faster; what is in force is then as fresh as what we have.
    if let Some(reader) = Reader::enter_unless_superseded() {
        return Ok(Access::Kept(reader));
    }
    change.unmap_what_nobody_reads();
    let free = PLACE.iter().position(|place| !place.full.load(Ordering::Acquire));
    let Some((index, place)) = free.and_then(|index| Some((index, PLACE.get(index)?))) else {
        return Ok(Access::Private(fresh));
    };
    // SAFETY: we hold `changing`, and the place is not full: no reader gets as far as its content.
    unsafe { (*place.content.get()).write(fresh) };
    place.full.store(true, Ordering::SeqCst);
    CURRENT.store(index.wrapping_add(1), Ordering::SeqCst);
    match Reader::enter() {
        Some(reader) => Ok(Access::Kept(reader)),
        // Cannot be while `changing` is ours.
        None => Mapped::open().map(Access::Private),
    }
}

/// What is superseded is never served again, and should not take up disk space either.
fn nothing_to_map(outcome: Outcome) -> Result<Access, Outcome> {
    if let Some(change) = Change::begin() {
        if let Some(reader) = Reader::enter_unless_superseded() {
            return Ok(Access::Kept(reader));
        }
        CURRENT.store(0, Ordering::SeqCst);
        drop(change);
    }
    Err(outcome)
}

fn unmap_what_nobody_reads() {
    // If somebody else holds it, that one looks again after letting go.
    drop(Change::begin());
}

/// The right to change `CURRENT` and the places, held until dropped.
struct Change {
    counters: &'static Counters,
}

impl Change {
    fn begin() -> Option<Self> {
        let counters = Counters::of_this_process()?;
        let begun = counters.changing.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
        // Not `then_some`: a `Self` made and dropped without being held would let go of what another holds.
        begun.is_ok().then(|| Self { counters })
    }

    /// Places that hold a mapping which is out of force and has no reader.
    fn idle(&self) -> impl Iterator<Item = &'static Place> {
        let current = CURRENT.load(Ordering::SeqCst);
        PLACE.iter().zip(&self.counters.readers).zip(1..).filter_map(move |((place, readers), number)| {
            let idle = number != current
                && place.full.load(Ordering::SeqCst)
                && readers.iter().all(|shard| shard.0.load(Ordering::SeqCst) == 0);
            idle.then_some(place)
        })
    }

    fn unmap_what_nobody_reads(&self) {
        for place in self.idle() {
            // Before the memory goes: a child forked in between must not unmap what is something else by then.
            place.full.store(false, Ordering::SeqCst);
            // SAFETY: we hold `changing`; the content was initialised, and will be written before it is read again.
            // Readers counted from now on see that the place is not in force.
            drop(unsafe { (*place.content.get()).assume_init_read() });
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        loop {
            self.unmap_what_nobody_reads();
            self.counters.changing.store(0, Ordering::SeqCst);
            // A reader that left meanwhile could not begin a change of its own.
            if self.idle().next().is_none() {
                return;
            }
            let again = self.counters.changing.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
            if again.is_err() {
                return;
            }
        }
    }
}

impl Counters {
    /// The counters, made now if this is the first lookup of the process.
    fn of_this_process() -> Option<&'static Self> {
        let known = COUNTERS.load(Ordering::Acquire);
        let counters = if known.is_null() { Self::make()? } else { known };
        // SAFETY: of a page that is valid for all zeros, was published initialised, and is never unmapped.
        unsafe { counters.as_ref() }
    }

    fn make() -> Option<*mut Self> {
        const LEN: usize = size_of::<Counters>();
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let page = unsafe { libc::mmap(ptr::null_mut(), LEN, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return None;
        }
        // Without it (Linux before 4.14), a child that was forked during another thread's lookup keeps that mapping.
        // SAFETY: the pages are ours alone.
        unsafe { libc::madvise(page, LEN, libc::MADV_WIPEONFORK) };
        let made = page.cast();
        match COUNTERS.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(made),
            Err(faster) => {
                // SAFETY: nobody has seen this page.
                unsafe { libc::munmap(page, LEN) };
                Some(faster)
            }
        }
    }
}

fn may_keep(len: usize) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the type that getrlimit fills.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
    known && (limit.rlim_cur == libc::RLIM_INFINITY || len as u64 <= limit.rlim_cur / SHARE_OF_LIMIT)
}
