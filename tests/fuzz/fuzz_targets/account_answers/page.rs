//! A reader written from `docs/account-database.md`, as plainly as can be: what the real one is held against.

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd6e8_feb8_6659_fd93;
const K2: u64 = 0xa076_1d64_78bd_642f;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer<T> {
    Found(T),
    Absent,
    Damaged,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) gids: Vec<u32>,
    /// Name, password, gecos, home and shell.
    pub(crate) strings: [Vec<u8>; 5],
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) gid: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) members: Vec<Vec<u8>>,
}

pub(crate) enum Key<'a> {
    Name(&'a [u8]),
    Id(u32),
}

pub(crate) struct Page<'a> {
    body: &'a [u8],
}

impl<'a> Page<'a> {
    pub(crate) fn open(file: &'a [u8]) -> Option<Self> {
        let page = Self { body: file.get(64..)? };
        let len = page.body.len();
        let sound = len >= 192
            && page.body.starts_with(b"\x89HWDB\r\n\x1a")
            && page.number(8, 2)? == 1
            && page.number(16, 8)? == len as u64;
        let placed = |at: u64, len_of_it: u128, page: &Self| {
            at % 8 == 0 && at >= 192 && u128::from(at) + len_of_it <= page.body.len() as u128
        };
        for index in 0..4 {
            let homes = page.number(48 + index * 16 + 8, 4)?;
            let at = page.number(48 + index * 16, 8)?;
            if homes == 0 || !placed(at, (u128::from(homes) + 64) * 8, &page) {
                return None;
            }
        }
        for section in [112, 128] {
            let (at, len) = (page.number(section, 8)?, page.number(section + 8, 8)?);
            if len % 8 != 0 || !placed(at, len.into(), &page) {
                return None;
            }
        }
        sound.then_some(page)
    }

    pub(crate) fn user(&self, key: &Key<'_>) -> Answer<User> {
        self.find(0, key, |at| {
            let user = self.user_at(at)?;
            let same = match key {
                Key::Name(name) => self.is_or_belongs(&user.strings[0], name)?,
                Key::Id(id) => user.uid == *id,
            };
            Some((same, user))
        })
    }

    pub(crate) fn group(&self, key: &Key<'_>) -> Answer<Group> {
        let found = self.find(2, key, |at| {
            let (gid, name) = self.group_head(at)?;
            let same = match key {
                Key::Name(wanted) => self.is_or_belongs(&name, wanted)?,
                Key::Id(id) => gid == *id,
            };
            Some((same, at))
        });
        match found {
            Answer::Found(at) => self.group_at(at).map_or(Answer::Damaged, Answer::Found),
            Answer::Absent => Answer::Absent,
            Answer::Damaged => Answer::Damaged,
        }
    }

    /// Whether a name found is the one wanted; nothing if it should not be where it is.
    fn is_or_belongs(&self, found: &[u8], wanted: &[u8]) -> Option<bool> {
        let seed = self.number(32, 8)?;
        let belongs = name_tag(seed, found) == name_tag(seed, wanted);
        if found == wanted { Some(true) } else { belongs.then_some(false) }
    }

    fn find<T>(&self, first: usize, key: &Key<'_>, read: impl Fn(usize) -> Option<(bool, T)>) -> Answer<T> {
        self.look(first, key, read).unwrap_or(Answer::Damaged)
    }

    fn look<T>(
        &self,
        first: usize,
        key: &Key<'_>,
        read: impl Fn(usize) -> Option<(bool, T)>,
    ) -> Option<Answer<T>> {
        let seed = self.number(32, 8)?;
        let (index, wanted) = match key {
            Key::Name(name) if name.is_empty() || name.len() > 32 => return Some(Answer::Absent),
            Key::Name(name) => (first, name_tag(seed, name)),
            Key::Id(id) => (first + 1, id_tag(seed, *id)),
        };
        let table = self.number(48 + index * 16, 8)? as usize;
        let homes = self.number(48 + index * 16 + 8, 4)?;
        let home = (wanted * homes) >> 32;
        for slot in home..home + 64 {
            let at = table + slot as usize * 8;
            let (tag, record) = (self.number(at, 4)?, self.number(at + 4, 4)?);
            if tag == 0xffff_ffff && record == 0xffff_ffff {
                return Some(Answer::Absent);
            }
            if record == 0 {
                return None;
            }
            if tag == wanted {
                match (read(record as usize * 8)?, key) {
                    ((true, entry), _) => return Some(Answer::Found(entry)),
                    ((false, _), Key::Name(_)) => continue,
                    ((false, _), Key::Id(_)) => return None,
                }
            }
            let its_home = (tag * homes) >> 32;
            if its_home > slot || slot - its_home >= 64 {
                return None;
            }
            if tag > wanted {
                return Some(Answer::Absent);
            }
        }
        Some(Answer::Absent)
    }

    fn user_at(&self, at: usize) -> Option<User> {
        let record = self.section(112, at)?;
        let head = |at, size| Page { body: record }.number(at, size).map(|n| n as usize);
        let lens = [head(22, 1)?, 1, head(16, 2)?, head(18, 2)?, head(20, 2)?];
        let (count, tail) = (head(8, 4)?, head(12, 4)?);
        if lens[0] == 0 || lens[0] > 32 {
            return None;
        }
        let mut at = 24;
        let mut strings: [Vec<u8>; 5] = Default::default();
        for (string, len) in strings.iter_mut().zip(lens) {
            *string = record.get(at..at + len)?.to_vec();
            if *record.get(at + len)? != 0 {
                return None;
            }
            at += len + 1;
        }
        if strings[1] != b"*" {
            return None;
        }
        at = at.next_multiple_of(4);
        let gids = record.get(at..at + count * 4)?;
        record.get(at + count * 4..at + count * 4 + tail)?;
        let gids = gids.chunks(4).map(|gid| u32::from_le_bytes(gid.try_into().expect("four"))).collect();
        let (uid, gid) = (head(0, 4)? as u32, head(4, 4)? as u32);
        (!is_reserved(uid) && !is_reserved(gid)).then_some(User { uid, gid, gids, strings })
    }

    fn group_head(&self, at: usize) -> Option<(u32, Vec<u8>)> {
        let (gid, name, _, _) = self.group_parts(at)?;
        Some((gid, name.to_vec()))
    }

    /// Gid, name, names of the members and where they start.
    fn group_parts(&self, at: usize) -> Option<(u32, &'a [u8], &'a [u8], Vec<u16>)> {
        let record = self.section(128, at)?;
        let head = |at, size| Page { body: record }.number(at, size).map(|n| n as usize);
        let (members, names, name) = (head(4, 4)?, head(8, 4)?, head(12, 1)?);
        let starts = record.get(16..16 + members * 2)?;
        let strings = record.get(16 + (members * 2).next_multiple_of(8)..)?.get(..name + 3 + names)?;
        let sound = (1..=32).contains(&name)
            && strings.get(name..name + 3)? == b"\0*\0"
            && strings.last() == Some(&0)
            && !is_reserved(head(0, 4)? as u32);
        let starts =
            starts.chunks(2).map(|start| u16::from_le_bytes(start.try_into().expect("two"))).collect();
        sound.then(|| (head(0, 4).unwrap_or_default() as u32, &strings[..name], &strings[name + 3..], starts))
    }

    fn group_at(&self, at: usize) -> Option<Group> {
        let (gid, name, names, starts) = self.group_parts(at)?;
        let (mut members, mut at) = (Vec::new(), 0);
        for (n, start) in starts.iter().enumerate() {
            if *start != (name.len() + 3 + at) as u16 {
                return None;
            }
            let with_nul = match starts.get(n + 1) {
                Some(next) => usize::from(next.wrapping_sub(*start)),
                None => names.len() - at,
            };
            if !(2..=33).contains(&with_nul) || *names.get(at + with_nul - 1)? != 0 {
                return None;
            }
            members.push(names[at..at + with_nul - 1].to_vec());
            at += with_nul;
        }
        (at == names.len()).then_some(Group { gid, name: name.to_vec(), members })
    }

    /// From `at` to the end of the section that a descriptor tells of.
    fn section(&self, descriptor: usize, at: usize) -> Option<&'a [u8]> {
        let start = self.number(descriptor, 8)? as usize;
        let len = self.number(descriptor + 8, 8)? as usize;
        if at < start { None } else { self.body.get(at..start + len) }
    }

    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.body.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

pub(crate) fn is_reserved(id: u32) -> bool {
    id == 0 || id == u32::MAX
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn name_tag(seed: u64, name: &[u8]) -> u64 {
    let mut padded = [0; 32];
    padded[..name.len()].copy_from_slice(name);
    let word = |n: usize| u64::from_le_bytes(padded[n * 8..n * 8 + 8].try_into().expect("eight"));
    let mut x = fold(word(0) ^ seed ^ K0, word(1) ^ K1 ^ name.len() as u64);
    if name.len() > 16 {
        x = fold(word(2) ^ x ^ K0, word(3) ^ K2);
    }
    fold(x ^ K2, K0) >> 32
}

fn id_tag(seed: u64, id: u32) -> u64 {
    let mut t = id ^ seed as u32;
    t = (t ^ (t >> 16)).wrapping_mul(0x85eb_ca6b);
    t = (t ^ (t >> 13)).wrapping_mul(0xc2b2_ae35);
    u64::from(t ^ (t >> 16))
}
