//! Who is in which group, both ways.

use std::ops::Range;
use std::vec;
use std::vec::Vec;

use super::both::both;
use super::{Group, InOrder, User, large};

/// Members and gids, each side by side for all, with where those of each start.
pub(super) struct Members {
    /// Those of the first half of the groups, and of the second.
    halves: [Half; 2],
    /// Gids of each user, ascending: `of_user[n]..of_user[n + 1]` are those of user n.
    gids: Vec<u32>,
    of_user: Vec<usize>,
}

/// Some groups, side by side in the order of their gids.
struct Half {
    /// Members of each group as ranks, ascending; `of_group[n]..of_group[n + 1]` are those of its group n.
    ranks: Vec<u32>,
    of_group: Vec<usize>,
    /// Of each membership, who of the users near one another it is, and the gid: first all of the first [`NEAR`] users.
    memberships: Vec<(u16, u32)>,
    /// Where those of each such stretch of users start, and the end.
    stretches: Vec<usize>,
}

/// So many users are looked at together that what is known of them stays in a processor's cache.
const NEAR: usize = 1 << 12;

impl Members {
    pub(super) fn new(users: &InOrder<'_, User>, groups: &InOrder<'_, Group>) -> Self {
        let total: usize = groups.sorted.iter().map(|group| group.members.len()).sum();
        let (first, second) = groups.sorted.split_at(middle(&groups.sorted, total));
        let (first, second) = both(total, || Half::new(first, users), || Half::new(second, users));
        let mut halves = [first, second];
        let (gids, of_user) = by_user(users.sorted.len(), &halves);
        for half in &mut halves {
            half.memberships = Vec::new();
        }
        Self { halves, gids, of_user }
    }

    /// The ranks of the members of a group.
    pub(super) fn of_group(&self, group: usize) -> &[u32] {
        let [first, second] = &self.halves;
        let in_first = first.of_group.len() - 1;
        if group < in_first { first.of(group) } else { second.of(group - in_first) }
    }

    /// The gids of the groups that list a user.
    pub(super) fn of_user(&self, user: usize) -> &[u32] {
        &self.gids[self.of_user[user]..self.of_user[user + 1]]
    }
}

/// The number of groups that have about half of all memberships.
fn middle(groups: &[&Group], total: usize) -> usize {
    let mut before = 0;
    groups
        .iter()
        .take_while(|group| {
            before += group.members.len();
            before <= total.div_ceil(2)
        })
        .count()
}

impl Half {
    fn new(groups: &[&Group], users: &InOrder<'_, User>) -> Self {
        let mut ranks = large::with_room(groups.iter().map(|group| group.members.len()).sum());
        let mut of_group = vec![0];
        let mut next = vec![0; users.sorted.len().div_ceil(NEAR) + 1];
        let mut one = Vec::new();
        for group in groups {
            one.clear();
            one.extend(group.members.iter().map(|member| users.rank[*member as usize]));
            if !one.is_sorted_by(|a, b| a < b) {
                one.sort_unstable();
                one.dedup();
            }
            one.iter().for_each(|rank| next[*rank as usize / NEAR + 1] += 1);
            ranks.extend_from_slice(&one);
            of_group.push(ranks.len());
        }
        for n in 1..next.len() {
            next[n] += next[n - 1];
        }
        let stretches = next.clone();
        let mut memberships = large::filled((0_u16, 0_u32), ranks.len());
        for (group, span) in groups.iter().zip(of_group.windows(2)) {
            for rank in &ranks[span[0]..span[1]] {
                let next = &mut next[*rank as usize / NEAR];
                memberships[*next] = ((*rank as usize % NEAR) as u16, group.gid);
                *next += 1;
            }
        }
        Self { ranks, of_group, memberships, stretches }
    }

    fn of(&self, group: usize) -> &[u32] {
        &self.ranks[self.of_group[group]..self.of_group[group + 1]]
    }

    /// The memberships of this stretch of users.
    fn near(&self, stretch: usize) -> &[(u16, u32)] {
        &self.memberships[self.stretches[stretch]..self.stretches[stretch + 1]]
    }
}

/// Turns stretches of users that are near one another into users, each with the gids, and says where those of each start.
fn by_user(users: usize, halves: &[Half; 2]) -> (Vec<u32>, Vec<usize>) {
    let [first, second] = halves;
    let total = first.ranks.len() + second.ranks.len();
    let middle = (first.stretches.len() - 1) / 2;
    let before = first.stretches[middle] + second.stretches[middle];
    let mut gids = large::filled(0, total);
    let (low, high) = gids.split_at_mut(before);
    let (mut of_user, others) = both(
        total,
        || sort_out(low, halves, 0..middle, 0, users),
        || sort_out(high, halves, middle..first.stretches.len() - 1, before, users),
    );
    of_user.extend_from_slice(&others);
    of_user.push(total);
    (gids, of_user)
}

/// Writes the gids of the users of these stretches, `before` being those of all users in front, and says where those of
/// each start.
fn sort_out(
    gids: &mut [u32],
    halves: &[Half; 2],
    stretches: Range<usize>,
    before: usize,
    users: usize,
) -> Vec<usize> {
    let mut of_user = Vec::with_capacity(stretches.len() * NEAR);
    let mut at = 0;
    for stretch in stretches {
        // Groups of the first half have the lower gids.
        let memberships = || halves.iter().flat_map(|half| half.near(stretch));
        let mut counts = [0_u32; NEAR];
        memberships().for_each(|(user, _)| counts[usize::from(*user)] += 1);
        let mut next = [0; NEAR];
        for (next, count) in next.iter_mut().zip(counts).take(users - stretch * NEAR) {
            *next = at;
            of_user.push(before + at);
            at += count as usize;
        }
        memberships().for_each(|(user, gid)| {
            let next = &mut next[usize::from(*user)];
            gids[*next] = *gid;
            *next += 1;
        });
    }
    of_user
}
