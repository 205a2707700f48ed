//! The section of subordinate ids: entries by uid, and in each the place of one in the order of the ids.

use std::vec::Vec;

use super::{BuildError, User, count};
use crate::format::SUBID_ENTRY;
use crate::subids::SubidRange;

/// How long the section is: nothing where nobody has any.
pub(super) fn subids_len(users: &[&User]) -> usize {
    users.iter().map(|user| user.subids.len() * SUBID_ENTRY).sum()
}

/// Writes the section. `users` are in the order of their uids.
pub(super) fn write_subids(section: &mut [u8], users: &[&User]) -> Result<(), BuildError> {
    let mut entries: Vec<(&User, SubidRange)> = Vec::new();
    for user in users {
        let first = entries.len();
        entries.extend(user.subids.iter().map(|range| (*user, *range)));
        if let Some(own) = entries.get_mut(first..) {
            own.sort_unstable_by_key(|(_, range)| *range);
        }
    }
    let by_start = by_start(&entries, users)?;
    let places = section.as_chunks_mut::<SUBID_ENTRY>().0.iter_mut();
    for ((to, (user, range)), place) in places.zip(&entries).zip(by_start) {
        for (to, word) in
            to.as_chunks_mut::<4>().0.iter_mut().zip([user.uid, range.start, range.count, place])
        {
            *to = word.to_le_bytes();
        }
    }
    Ok(())
}

/// Places of the entries in the order of the ids, of which each is only once there and none is a user's own.
fn by_start(entries: &[(&User, SubidRange)], users: &[&User]) -> Result<Vec<u32>, BuildError> {
    let places = count(entries.len())?;
    let mut order: Vec<(u32, u32)> = entries.iter().map(|(_, range)| range.start).zip(0..places).collect();
    order.sort_unstable();
    let mut before: Option<(&User, u32)> = None;
    for (start, place) in &order {
        let Some((user, range)) = entries.get(*place as usize) else { continue };
        let last = range.last().filter(|last| *start != 0 && *last != u32::MAX);
        let last = last.ok_or_else(|| BuildError::SubidRange {
            of: user.name.clone(),
            start: range.start,
            count: range.count,
        })?;
        if let Some((other, taken)) = before.filter(|(_, taken)| taken >= start) {
            return Err(BuildError::SharedSubid {
                of: user.name.clone(),
                and: other.name.clone(),
                id: *start.min(&taken),
            });
        }
        let next = users.partition_point(|other| other.uid < *start);
        if let Some(other) = users.get(next).filter(|other| other.uid <= last) {
            return Err(BuildError::SubidOfUser {
                of: user.name.clone(),
                and: other.name.clone(),
                id: other.uid,
            });
        }
        before = Some((user, last));
    }
    Ok(order.into_iter().map(|(_, place)| place).collect())
}
