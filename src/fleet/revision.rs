//! The history of a set: one `ControllerRevision` for each pod template that it had.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::base::ids::{SetKey, TemplateHash};

use super::merge3::{annotation, second};

/// The annotation that says why a set was changed.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// The label of an entry that holds the identity of its template.
pub const HASH: &str = "controller-revision-hash";
/// How many old entries a set keeps that says nothing.
const LIMIT: usize = 10;

/// One entry of a history, as far as the next one depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub number: i64,
    /// The identity of its template.
    pub hash: String,
}

impl Entry {
    /// Reads an entry.
    pub fn of(revision: &Value) -> Self {
        let hash = revision["metadata"]["labels"][HASH].as_str().unwrap_or_default();
        Self { number: revision["revision"].as_i64().unwrap_or(0), hash: hash.to_owned() }
    }
}

/// What a change of a set does to its history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// The new entry with its number; `None` while the template stays.
    pub new: Option<(i64, Value)>,
    /// The numbers of the entries that go.
    pub gone: Vec<i64>,
}

/// What is known of a changed set.
#[derive(Debug, Clone, Copy)]
pub struct Changed<'a> {
    /// Which set.
    pub key: &'a SetKey,
    /// The set as it is written.
    pub set: &'a Value,
    /// The identity of its template.
    pub hash: &'a TemplateHash,
    /// Why, when the set itself does not say it.
    pub cause: &'a str,
    /// When.
    pub now: Timestamp,
}

/// The next state of a history. A template that was there before moves to the end; beyond the set's limit the oldest go.
pub fn change(changed: Changed<'_>, history: &[Entry]) -> Change {
    let newest = history.iter().max_by_key(|entry| entry.number);
    let mut kept: Vec<&Entry> = history.iter().collect();
    let mut gone = Vec::new();
    let mut new = None;
    if newest.is_none_or(|newest| newest.hash != changed.hash.as_str()) {
        let number = newest.map_or(1, |newest| newest.number + 1);
        kept.retain(|entry| {
            let same = entry.hash == changed.hash.as_str();
            if same {
                gone.push(entry.number);
            }
            !same
        });
        new = Some((number, object(changed, number)));
    } else {
        // The newest is not history yet.
        kept.retain(|entry| Some(*entry) != newest);
    }
    kept.sort_unstable_by_key(|entry| entry.number);
    let limit = changed.set["spec"]["revisionHistoryLimit"].as_u64();
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LIMIT);
    let beyond = kept.len().saturating_sub(limit);
    gone.extend(kept.iter().take(beyond).map(|entry| entry.number));
    gone.sort_unstable();
    Change { new, gone }
}

/// An entry as Kubernetes shapes it.
fn object(changed: Changed<'_>, number: i64) -> Value {
    let Changed { key, set, hash, cause, now } = changed;
    let cause = annotation(set, CHANGE_CAUSE).unwrap_or(cause);
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", key.name),
            "namespace": key.namespace,
            "creationTimestamp": second(now),
            "labels": { HASH: hash },
            "annotations": { CHANGE_CAUSE: cause },
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "name": key.name,
                "uid": set["metadata"]["uid"],
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "data": { "spec": { "template": set["spec"]["template"] } },
        "revision": number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(entries: &[(i64, &str)]) -> Vec<Entry> {
        entries
            .iter()
            .map(|(number, hash)| Entry { number: *number, hash: (*hash).into() })
            .collect()
    }

    fn next(hash: &str, limit: Option<u64>, history: &[(i64, &str)]) -> (Option<i64>, Vec<i64>) {
        let mut set = json!({"metadata": {"uid": "u"}, "spec": {"template": {"a": 1}}});
        if let Some(limit) = limit {
            set["spec"]["revisionHistoryLimit"] = limit.into();
        }
        let (key, hash) = (SetKey::new("x", "web"), TemplateHash::new(hash));
        let changed =
            Changed { key: &key, set: &set, hash: &hash, cause: "c", now: Timestamp::UNIX_EPOCH };
        let change = change(changed, &entries(history));
        (change.new.map(|(number, _)| number), change.gone)
    }

    #[test]
    fn a_history_grows_with_new_templates_only() {
        for (hash, limit, history, outcome) in [
            ("a", None, vec![], (Some(1), vec![])),
            ("a", None, vec![(1, "a")], (None, vec![])),
            ("b", None, vec![(1, "a")], (Some(2), vec![])),
            // As it was before: the old entry moves to the end.
            ("a", None, vec![(1, "a"), (2, "b")], (Some(3), vec![1])),
            // The limit counts old entries, the present one apart.
            ("d", Some(2), vec![(1, "a"), (2, "b"), (3, "c")], (Some(4), vec![1])),
            ("b", Some(1), vec![(1, "a"), (2, "b"), (3, "c")], (Some(4), vec![1, 2])),
            ("b", Some(0), vec![(1, "a")], (Some(2), vec![1])),
            // A lower limit counts at once.
            ("c", Some(1), vec![(1, "a"), (2, "b"), (3, "c")], (None, vec![1])),
        ] {
            assert_eq!(next(hash, limit, &history), outcome, "{hash} {limit:?} {history:?}");
        }
        let long: Vec<(i64, String)> = (1..=11).map(|n| (n, format!("h{n}"))).collect();
        let long: Vec<(i64, &str)> = long.iter().map(|(n, hash)| (*n, hash.as_str())).collect();
        assert_eq!(next("new", None, &long), (Some(12), vec![1]));
    }

    #[test]
    fn an_entry_says_why_and_holds_the_template() {
        let set = json!({"metadata": {"uid": "u", "annotations": {CHANGE_CAUSE: "release 7"}},
            "spec": {"template": {"spec": {"containers": []}}}});
        let (key, hash) = (SetKey::new("x", "web"), TemplateHash::new("bcd"));
        let changed =
            Changed { key: &key, set: &set, hash: &hash, cause: "c", now: Timestamp::UNIX_EPOCH };
        let (_, entry) = change(changed, &[]).new.unwrap();
        assert_eq!(entry["metadata"]["name"], "web-bcd");
        assert_eq!(entry["metadata"]["annotations"][CHANGE_CAUSE], "release 7");
        assert_eq!(entry["data"]["spec"]["template"], set["spec"]["template"]);
        assert_eq!(Entry::of(&entry), Entry { number: 1, hash: "bcd".into() });
    }
}
