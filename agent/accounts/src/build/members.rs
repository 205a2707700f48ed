//! Who is in which group, both ways.

use std::vec;
use std::vec::Vec;

use super::both::both;
use super::{Group, InOrder, User};

/// Members and gids, each side by side for all, with where those of each start.
pub(super) struct Members {
    /// Members of each group as ranks, ascending; `of_group[n]..of_group[n + 1]` are those of group n.
    ranks: Vec<u32>,
    of_group: Vec<usize>,
    /// Gids of each user, ascending, laid out the same way.
    gids: Vec<u32>,
    of_user: Vec<usize>,
}

/// So many users are looked at together that what is known of them stays in a processor's cache.
const NEAR: usize = 1 << 12;

impl Members {
    pub(super) fn new(users: &InOrder<'_, User>, groups: &InOrder<'_, Group>) -> Self {
        let mut ranks = Vec::with_capacity(groups.sorted.iter().map(|group| group.members.len()).sum());
        let mut of_group = vec![0];
        let mut one = Vec::new();
        for group in &groups.sorted {
            one.clear();
            one.extend(group.members.iter().map(|member| users.rank[*member as usize]));
            if !one.is_sorted_by(|a, b| a < b) {
                one.sort_unstable();
                one.dedup();
            }
            ranks.extend_from_slice(&one);
            of_group.push(ranks.len());
        }
        let (gids, of_user) = by_user(users.sorted.len(), groups, &ranks, &of_group);
        Self { ranks, of_group, gids, of_user }
    }

    /// The ranks of the members of a group.
    pub(super) fn of_group(&self, group: usize) -> &[u32] {
        &self.ranks[self.of_group[group]..self.of_group[group + 1]]
    }

    /// The gids of the groups that list a user.
    pub(super) fn of_user(&self, user: usize) -> &[u32] {
        &self.gids[self.of_user[user]..self.of_user[user + 1]]
    }
}

/// Turns groups of users into users with gids: first to stretches of users that are near one another, then to each.
fn by_user(
    users: usize,
    groups: &InOrder<'_, Group>,
    ranks: &[u32],
    of_group: &[usize],
) -> (Vec<u32>, Vec<usize>) {
    let mut next = vec![0; users.div_ceil(NEAR) + 1];
    ranks.iter().for_each(|rank| next[*rank as usize / NEAR + 1] += 1);
    for n in 1..next.len() {
        next[n] += next[n - 1];
    }
    let stretches = next.clone();
    let mut memberships = vec![(0_u16, 0_u32); ranks.len()];
    for (group, span) in groups.sorted.iter().zip(of_group.windows(2)) {
        for rank in &ranks[span[0]..span[1]] {
            let next = &mut next[*rank as usize / NEAR];
            memberships[*next] = ((*rank as usize % NEAR) as u16, group.gid);
            *next += 1;
        }
    }
    drop(next);

    let mut gids = vec![0; ranks.len()];
    let middle = stretches.len() / 2;
    let (first, second) = gids.split_at_mut(stretches[middle]);
    let half =
        |gids: &mut [u32], spans: &[usize], first: usize| sort_out(gids, &memberships, spans, first, users);
    let (one, other) = both(
        ranks.len(),
        || half(first, &stretches[..=middle], 0),
        || half(second, &stretches[middle..], middle * NEAR),
    );
    let mut of_user = one;
    of_user.extend_from_slice(&other);
    of_user.push(ranks.len());
    (gids, of_user)
}

/// Writes the gids of the users from `first` on, whose memberships lie in these stretches, and says where those of each start.
fn sort_out(
    gids: &mut [u32],
    memberships: &[(u16, u32)],
    stretches: &[usize],
    first: usize,
    users: usize,
) -> Vec<usize> {
    let start = stretches[0];
    let mut of_user = Vec::with_capacity((stretches.len() - 1) * NEAR);
    for (first, span) in (first..users).step_by(NEAR).zip(stretches.windows(2)) {
        let memberships = &memberships[span[0]..span[1]];
        let mut counts = [0_u32; NEAR];
        memberships.iter().for_each(|(user, _)| counts[usize::from(*user)] += 1);
        let mut next = [0; NEAR];
        let mut at = span[0];
        for (next, count) in next.iter_mut().zip(counts).take(users - first) {
            *next = at - start;
            of_user.push(at);
            at += count as usize;
        }
        for (user, gid) in memberships {
            let next = &mut next[usize::from(*user)];
            gids[*next] = *gid;
            *next += 1;
        }
    }
    of_user
}
