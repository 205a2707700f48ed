//! What occurs more than once.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The values that occur at least twice. Costs a hash and a sort of numbers: what occurs once, nearly everything, is
/// never compared.
pub(crate) fn duplicates<T: Hash + Eq + Copy>(values: impl Iterator<Item = T> + Clone) -> HashSet<T> {
    let hash = |value: T| {
        // With fixed keys: two values that collide are told apart below.
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    };
    let mut hashes: Vec<u64> = values.clone().map(hash).collect();
    hashes.sort_unstable();
    let suspects: HashSet<u64> =
        hashes.windows(2).filter(|pair| pair.first() == pair.last()).flatten().copied().collect();
    if suspects.is_empty() {
        return HashSet::new();
    }
    let mut seen = HashSet::new();
    values.filter(|value| suspects.contains(&hash(*value)) && !seen.insert(*value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_occurs_twice() {
        assert_eq!(duplicates(["a", "b", "a", "c", "b", "a"].into_iter()), HashSet::from(["a", "b"]));
        assert!(duplicates(0..1000u64).is_empty());
        assert!(duplicates(std::iter::empty::<u64>()).is_empty());
    }
}
