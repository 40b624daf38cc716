//! What is said to and heard from the store, as values.

/// Who answered, and how far the store was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// The cluster's identity: another one is another store.
    pub cluster_id: u64,
    /// The store's revision when it answered.
    pub revision: i64,
}

/// One key with its value. Secrets may be in it, so its `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Kv {
    /// The whole key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision that made it.
    pub create_revision: i64,
    /// The revision that changed it last.
    pub mod_revision: i64,
    /// The store lease that it ends with; 0 for none.
    pub lease: i64,
}

impl std::fmt::Debug for Kv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kv")
            .field("key", &self.key)
            .field("bytes", &self.value.len())
            .field("mod_revision", &self.mod_revision)
            .finish_non_exhaustive()
    }
}

/// Keys from `from` up to, but without, `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first key.
    pub from: String,
    /// The first key that is not meant; empty for `from` alone.
    pub to: String,
}

impl Range {
    /// One key.
    pub fn key(key: impl Into<String>) -> Self {
        Self { from: key.into(), to: String::new() }
    }

    /// Every key that begins so. Our prefixes end in `/`, after which `0` comes next.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        let from = prefix.into();
        let to = format!("{}0", from.strip_suffix('/').unwrap_or(&from));
        Self { from, to }
    }

    /// Every key from the first prefix to the end of the second.
    pub fn span(first: &str, last: &str) -> Self {
        Self { from: first.to_owned(), to: Self::prefix(last).to }
    }
}

/// What a range held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Who said so, and when.
    pub header: Header,
    /// The keys in their order.
    pub kvs: Vec<Kv>,
    /// How many keys the range holds, shown or not.
    pub count: usize,
}

/// One change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was made or changed.
    Put(Kv),
    /// It was deleted, at this revision.
    Delete(String, i64),
}

impl Change {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete(key, _) => key,
        }
    }
}

/// What a transaction demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key is not there.
    Absent(String),
    /// The key is there.
    Present(String),
    /// The key was last changed by this revision (0: it is not there).
    ModRevision(String, i64),
    /// The key was made by this revision.
    CreateRevision(String, i64),
}

/// What a transaction does. Secrets may be in it, so its `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Puts a value, under a store lease when that is not 0.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// The store lease.
        lease: i64,
    },
    /// Deletes.
    Delete(Range),
    /// Reads; the answer is among the outcome's listings.
    Get(Range),
    /// Counts.
    Count(Range),
    /// Reads keys without their values.
    Names(Range),
    /// Reads, of the keys that were made before this revision, the one that was made last; costs the store a look at all.
    Before(Range, i64),
}

impl Op {
    /// Puts a value that stays.
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: 0 }
    }
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put { key, lease, .. } => write!(f, "Put({key}, lease {lease:x})"),
            Self::Delete(range) => write!(f, "Delete({range:?})"),
            Self::Get(range) => write!(f, "Get({range:?})"),
            Self::Count(range) => write!(f, "Count({range:?})"),
            Self::Names(range) => write!(f, "Names({range:?})"),
            Self::Before(range, revision) => write!(f, "Before({range:?}, {revision})"),
        }
    }
}

/// A transaction: `then` when all of `when` holds, else `otherwise`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub when: Vec<Compare>,
    /// What is done then.
    pub then: Vec<Op>,
    /// What is done if not.
    pub otherwise: Vec<Op>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Whether `when` held.
    pub succeeded: bool,
    /// Who said so, and at which revision.
    pub header: Header,
    /// What its reads found, in their order.
    pub listings: Vec<Listing>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_name() {
        assert_eq!(Range::prefix("/a/b/"), Range { from: "/a/b/".into(), to: "/a/b0".into() });
        assert_eq!(Range::span("/a/b/", "/a/d/").to, "/a/d0");
    }
}
