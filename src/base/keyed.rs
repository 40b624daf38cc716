//! Maps out of pairs, by insertion.

use std::collections::BTreeMap;

/// The pairs as a map; the last one of a key counts. `collect` sorts first, which takes 4 KB of code for each type, more
/// than a map of a few entries is worth.
pub fn keyed<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        map.insert(key, value);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_counts() {
        assert_eq!(keyed([(2, 'b'), (1, 'a'), (2, 'c')]), BTreeMap::from([(1, 'a'), (2, 'c')]));
    }
}
