//! Maps and sets, made by insertion.

use std::collections::{BTreeMap, BTreeSet};

/// The pairs as a map; the last one of a key counts. `collect` sorts first, which takes 4 KB of code for each type, more
/// than a map of a few entries is worth.
pub fn keyed<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        map.insert(key, value);
    }
    map
}

/// The items as a set, likewise.
pub fn distinct<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for item in items {
        set.insert(item);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_counts() {
        assert_eq!(keyed([(2, 'b'), (1, 'a'), (2, 'c')]), BTreeMap::from([(1, 'a'), (2, 'c')]));
    }
}
