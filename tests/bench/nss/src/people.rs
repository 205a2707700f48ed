//! The accounts that are looked up: the same for the same number, on every machine.

use std::collections::HashSet;

use hostward_accounts::{Group, User};

/// Each user is in this many groups, beside `everyone`.
pub const GROUPS_EACH: usize = 10;
/// The name of the group that lists all users.
pub const EVERYONE: &str = "everyone";
/// Everybody's primary group.
pub const PRIMARY: u32 = 100;

const FIRST_UID: u32 = 200_000;
const FIRST_GID: u32 = 10_000_000;
const CONSONANTS: &[u8] = b"bdfklmnprstv";
const VOWELS: &[u8] = b"aeiou";

/// Users and groups.
#[derive(Debug)]
pub struct People {
    /// In ascending order of their uids.
    pub users: Vec<User>,
    /// In ascending order of their gids; `everyone` is the last.
    pub groups: Vec<Group>,
}

impl People {
    /// `count` users, a tenth as many groups (at least ten), each user in ten of them, and `everyone`.
    pub fn of(count: usize) -> Self {
        let mut dice = Dice(count as u64);
        let mut taken = HashSet::with_capacity(count);
        let users: Vec<User> =
            (0..count).zip(FIRST_UID..).map(|(n, uid)| user(&mut dice, &mut taken, n, uid)).collect();
        let mut groups: Vec<Group> = (0..(count / 10).max(GROUPS_EACH))
            .zip(FIRST_GID..)
            .map(|(n, gid)| Group {
                name: format!("team-{}-{n}", word(&mut dice, 2)),
                gid,
                members: Vec::new(),
            })
            .collect();
        for member in 0..count as u32 {
            let mut chosen = HashSet::new();
            while chosen.len() < GROUPS_EACH {
                chosen.insert(dice.below(groups.len()));
            }
            chosen.iter().for_each(|n| groups[*n].members.push(member));
        }
        let gid = FIRST_GID + groups.len() as u32;
        groups.push(Group { name: EVERYONE.into(), gid, members: (0..count as u32).collect() });
        Self { users, groups }
    }

    /// The bytes of all users' strings (name, comment, home, shell, principals), without NULs and lengths.
    pub fn text_len(&self) -> usize {
        let principals = |u: &User| u.principals.iter().map(String::len).sum::<usize>();
        let of = |u: &User| u.name.len() + u.gecos.len() + u.home.len() + u.shell.len() + principals(u);
        self.users.iter().map(of).sum()
    }

    /// `/etc/passwd`.
    pub fn passwd(&self) -> String {
        let line =
            |u: &User| format!("{}:*:{}:{}:{}:{}:{}\n", u.name, u.uid, u.gid, u.gecos, u.home, u.shell);
        self.users.iter().map(line).collect()
    }

    /// `/etc/group`.
    pub fn group(&self) -> String {
        let line = |g: &Group| {
            let members: Vec<&str> =
                g.members.iter().map(|m| self.users[*m as usize].name.as_str()).collect();
            format!("{}:*:{}:{}\n", g.name, g.gid, members.join(","))
        };
        self.groups.iter().map(line).collect()
    }

    /// What to ask for, a name and an id a line, in random order: users, and groups but `everyone`.
    pub fn keys(&self) -> (String, String) {
        let mut dice = Dice(7);
        let users = self.users.iter().map(|user| format!("{} {}\n", user.name, user.uid)).collect();
        let teams = self.groups.iter().filter(|group| group.name != EVERYONE);
        let groups = teams.map(|group| format!("{} {}\n", group.name, group.gid)).collect();
        (dice.shuffled(users).concat(), dice.shuffled(groups).concat())
    }
}

fn user(dice: &mut Dice, taken: &mut HashSet<String>, n: usize, uid: u32) -> User {
    let name = loop {
        let family = 2 + dice.below(3);
        let name = format!("{}.{}", word(dice, 2), word(dice, family));
        if taken.insert(name.clone()) {
            break name;
        }
    };
    let gecos = format!("{}, Unit {}", name.replace('.', " ").to_uppercase(), n % 97);
    User {
        uid,
        gid: PRIMARY,
        gecos,
        home: format!("/home/{name}"),
        shell: "/bin/bash".into(),
        principals: vec![name.clone()],
        name,
        ..User::default()
    }
}

fn word(dice: &mut Dice, syllables: usize) -> String {
    let mut letter = |of: &[u8]| char::from(of[dice.below(of.len())]);
    (0..syllables).flat_map(|_| [letter(CONSONANTS), letter(VOWELS)]).collect()
}

/// Random enough, and always the same (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * limit as u128) >> 64) as usize
    }

    fn shuffled(&mut self, mut lines: Vec<String>) -> Vec<String> {
        for n in (1..lines.len()).rev() {
            lines.swap(n, self.below(n + 1));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_in_ten_groups_and_in_everyone() {
        let people = People::of(200);
        let mut of_user = vec![0; 200];
        people
            .groups
            .iter()
            .flat_map(|group| &group.members)
            .for_each(|member| of_user[*member as usize] += 1);
        assert_eq!(of_user, vec![GROUPS_EACH + 1; 200]);
        assert_eq!(people.passwd(), People::of(200).passwd());
        let (users, groups) = people.keys();
        assert_eq!((users.lines().count(), groups.lines().count()), (200, 20));
    }
}
