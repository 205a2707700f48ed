//! The names of all users in the order of their ranks, so that each is found in one place and none is looked for twice.

use std::vec::Vec;

use super::{User, large};
use crate::ahead;

/// The first bytes of a name and its NUL, with zeros behind.
type Short = [u8; 16];

pub(super) struct Names<'a> {
    short: Vec<Short>,
    /// NULs included.
    lens: Vec<u8>,
    users: &'a [&'a User],
}

impl<'a> Names<'a> {
    pub(super) fn of(users: &'a [&'a User]) -> Self {
        let short = |user: &&User| {
            let mut short = Short::default();
            let len = user.name.len().min(short.len());
            short[..len].copy_from_slice(&user.name.as_bytes()[..len]);
            short
        };
        let lens = users.iter().map(|user| user.name.len() as u8 + 1).collect();
        Self { short: large::collect(users.iter().map(short)), lens, users }
    }

    /// How long one is, with its NUL.
    pub(super) fn len(&self, rank: u32) -> usize {
        self.lens[rank as usize].into()
    }

    /// One, without its NUL.
    pub(super) fn bytes(&self, rank: u32) -> &[u8] {
        let len = self.len(rank) - 1;
        self.short[rank as usize].get(..len).unwrap_or_else(|| self.users[rank as usize].name.as_bytes())
    }

    /// Has one fetched that is going to be written soon.
    #[inline]
    pub(super) fn fetch(&self, rank: u32) {
        ahead::fetch_line(self.short.as_ptr().wrapping_add(rank as usize));
    }

    /// Writes one and its NUL to the start of `to`, and says how long that is. What is behind may become zeros.
    #[inline]
    pub(super) fn write(&self, rank: u32, to: &mut [u8]) -> usize {
        let short = &self.short[rank as usize];
        match to.first_chunk_mut() {
            // Copied whole: whatever follows overwrites what is too much.
            Some(to) if short.ends_with(&[0]) => {
                *to = *short;
                size_of::<Short>() - u128::from_le_bytes(*short).leading_zeros() as usize / 8 + 1
            }
            _ => {
                let len = self.len(rank);
                to[..len - 1].copy_from_slice(self.bytes(rank));
                to[len - 1] = 0;
                len
            }
        }
    }
}
