//! Fills the four indexes: slots sorted by tag, each at its home or a little behind.

use std::vec;
use std::vec::Vec;

use super::both::both;
use super::{BuildError, count};
use crate::format::{EMPTY, HEADER, Name, PROBE_LIMIT, PROLOGUE, SLOT, home, id_tag};

/// Where the four indexes are: user names, uids, group names, gids.
pub(super) struct Tables {
    pub(super) tables: [Table; 4],
    pub(super) end: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Table {
    pub(super) at: usize,
    pub(super) homes: u32,
}

pub(super) enum Keys<'a> {
    Names(Vec<&'a [u8]>),
    Ids(Vec<u32>),
}

pub(super) enum Unplaced {
    /// Too many keys near one another: another seed may do.
    Collisions,
    /// Two keys are the same.
    Same { table: usize, key: usize },
}

impl Tables {
    pub(super) fn new(counts: [usize; 4]) -> Result<Self, BuildError> {
        let mut end = HEADER;
        let mut tables = [Table { at: 0, homes: 0 }; 4];
        for (table, entries) in tables.iter_mut().zip(counts) {
            // Two thirds full: a key lies one slot behind its home on average, about twenty at most among a million.
            let homes = count(entries.max(1).saturating_mul(3).div_ceil(2))?;
            let slots = homes.checked_add(PROBE_LIMIT).ok_or(BuildError::TooLarge)?;
            *table = Table { at: end, homes };
            end += slots as usize * SLOT;
        }
        Ok(Self { tables, end })
    }

    /// Fills all of them: that of the users' names takes as long as the others together.
    pub(super) fn fill(
        &self,
        file: &mut [u8],
        seed: u64,
        keys: &[(Keys<'_>, &Vec<u32>); 4],
    ) -> Result<(), Unplaced> {
        let [first, others @ ..] = &self.tables;
        let (slots, mut rest) = file[PROLOGUE + first.at..].split_at_mut(first.len());
        let fill_others = || {
            for ((index, table), (keys, records)) in (1..).zip(others).zip(&keys[1..]) {
                let (slots, behind) = std::mem::take(&mut rest).split_at_mut(table.len());
                table.fill(slots, seed, keys, records).map_err(|unplaced| unplaced.of(index))?;
                rest = behind;
            }
            Ok(())
        };
        let (keys, records) = &keys[0];
        let (first, others) = both(records.len(), || first.fill(slots, seed, keys, records), fill_others);
        first.and(others)
    }
}

impl Unplaced {
    fn of(self, table: usize) -> Self {
        match self {
            Self::Same { key, .. } => Self::Same { table, key },
            Self::Collisions => Self::Collisions,
        }
    }
}

impl Table {
    fn len(self) -> usize {
        (self.homes + PROBE_LIMIT) as usize * SLOT
    }

    fn fill(self, slots: &mut [u8], seed: u64, keys: &Keys<'_>, records: &[u32]) -> Result<(), Unplaced> {
        let tagged = |(n, tag): (usize, u32)| u64::from(tag) << 32 | n as u64;
        let mut order: Vec<u64> = match keys {
            Keys::Names(names) => names
                .iter()
                .map(|name| Name::new(name).map_or(0, |name| name.tag(seed)))
                .enumerate()
                .map(tagged)
                .collect(),
            Keys::Ids(ids) => ids.iter().map(|id| id_tag(seed, *id)).enumerate().map(tagged).collect(),
        };
        sort_by_tag(&mut order);
        if let Keys::Names(names) = keys {
            same_name(&order, names)?;
        }
        slots.fill(EMPTY as u8);
        let mut next = 0;
        for key in order {
            let (tag, n) = ((key >> 32) as u32, key as u32 as usize);
            let home = home(tag, self.homes);
            let slot = home.max(next);
            if slot - home >= PROBE_LIMIT {
                return Err(Unplaced::Collisions);
            }
            let value = u64::from(records[n]) << 32 | u64::from(tag);
            slots[slot as usize * SLOT..][..SLOT].copy_from_slice(&value.to_le_bytes());
            next = slot + 1;
        }
        Ok(())
    }
}

/// Sorts by the upper half, byte by byte from the lowest. Equal tags stay as they are, in the order of their numbers.
fn sort_by_tag(order: &mut Vec<u64>) {
    let mut sorted = vec![0; order.len()];
    for shift in [32, 40, 48, 56] {
        let byte = |key: u64| (key >> shift) as u8 as usize;
        let mut next = [0; 256];
        order.iter().for_each(|key| next[byte(*key)] += 1);
        let mut at = 0;
        for next in &mut next {
            at += std::mem::replace(next, at);
        }
        for key in &*order {
            let next = &mut next[byte(*key)];
            sorted[*next] = *key;
            *next += 1;
        }
        std::mem::swap(order, &mut sorted);
    }
}

/// Equal names have equal tags, so they are neighbours, or nearly.
fn same_name(order: &[u64], names: &[&[u8]]) -> Result<(), Unplaced> {
    for run in order.chunk_by(|a, b| a >> 32 == b >> 32).filter(|run| run.len() > 1) {
        let mut run: Vec<usize> = run.iter().map(|key| *key as u32 as usize).collect();
        run.sort_unstable_by_key(|n| names[*n]);
        if let Some(pair) = run.windows(2).find(|pair| names[pair[0]] == names[pair[1]]) {
            return Err(Unplaced::Same { table: 0, key: pair[0] });
        }
    }
    Ok(())
}
