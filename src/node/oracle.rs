//! The rules of eligibility a second time, for tests only: over plain JSON, written from the fact
//! sheet and not from the code, in another style and with nothing shared.

use serde_json::Value;

/// What the rules say: may start, may go on, seconds to eviction.
pub type Answer = (bool, bool, Option<u64>);

/// The text of a field; absent and null are empty.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or("")
}

/// The elements of a list; absent and null are none.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether all characters come from `inner`, the outer two from `outer`.
fn spelled(text: &str, outer: &str, inner: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    !letters.is_empty()
        && letters.iter().enumerate().all(|(place, &letter)| {
            outer.contains(letter)
                || (inner.contains(letter) && place != 0 && place + 1 != letters.len())
        })
}

/// The letters of a DNS label.
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
/// The letters of a label's name and value.
const ANY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Whether a label may have this value.
fn legal_value(value: &str) -> bool {
    value.is_empty() || (value.len() < 64 && spelled(value, ANY, "-_."))
}

/// Whether a label may have this key.
fn legal_key(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    let name_fine = |name: &str| name.len() < 64 && spelled(name, ANY, "-_.");
    match parts.as_slice() {
        [name] => name_fine(name),
        [prefix, name] => {
            name_fine(name)
                && prefix.len() < 254
                && prefix.split('.').all(|label| spelled(label, LOWER, "-"))
        }
        _ => false,
    }
}

/// Go's strconv.ParseInt(text, 10, 64).
fn go_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.chars().next()? {
        '-' => (true, &text[1..]),
        '+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut sum: i128 = 0;
    for letter in digits.chars() {
        let place = "0123456789".find(letter)?;
        sum = sum * 10 + i128::try_from(place).unwrap();
        if sum > 1 << 64 {
            return None;
        }
    }
    i64::try_from(if negative { -sum } else { sum }).ok()
}

/// One requirement: unreadable (`None`) or its answer.
fn requirement(wanted: &Value, label: Option<&str>) -> Option<bool> {
    let values: Vec<&str> = items(&wanted["values"]).iter().map(|v| v.as_str().unwrap()).collect();
    if !legal_key(text(wanted, "key")) || !values.iter().all(|value| legal_value(value)) {
        return None;
    }
    let order = |pick: fn(i64, i64) -> bool| {
        if values.len() != 1 {
            return None;
        }
        let bound = go_integer(values[0])?;
        Some(label.and_then(go_integer).is_some_and(|label| pick(label, bound)))
    };
    match (text(wanted, "operator"), values.len()) {
        ("In", 1..) => Some(label.is_some() && values.contains(&label.unwrap())),
        ("NotIn", 1..) => Some(!(label.is_some() && values.contains(&label.unwrap()))),
        ("Exists", 0) => Some(label.is_some()),
        ("DoesNotExist", 0) => Some(label.is_none()),
        ("Gt", _) => order(|label, bound| label > bound),
        ("Lt", _) => order(|label, bound| label < bound),
        _ => None,
    }
}

/// One field requirement: unreadable (`None`) or its answer.
fn field(wanted: &Value, name: &str) -> Option<bool> {
    let values = items(&wanted["values"]);
    let found = if text(wanted, "key") == "metadata.name" { name } else { "" };
    if values.len() != 1 {
        return None;
    }
    let same = values[0].as_str().unwrap() == found;
    match text(wanted, "operator") {
        "In" => Some(same),
        "NotIn" => Some(!same),
        _ => None,
    }
}

/// One term. A single unreadable requirement makes the collected answer `None`.
fn term(term: &Value, node: &Value) -> bool {
    let labels = &node["metadata"]["labels"];
    let mut answers = Vec::new();
    for wanted in items(&term["matchExpressions"]) {
        answers.push(requirement(wanted, labels.get(text(wanted, "key")).and_then(Value::as_str)));
    }
    for wanted in items(&term["matchFields"]) {
        answers.push(field(wanted, text(&node["metadata"], "name")));
    }
    !answers.is_empty() && answers.iter().all(|answer| *answer == Some(true))
}

/// The pod's tolerations after the controller has added its own.
fn merged(spec: &Value) -> Vec<Value> {
    let mut list = items(&spec["tolerations"]).to_vec();
    let mut own = vec![("not-ready", "NoExecute"), ("unreachable", "NoExecute")];
    for pressure in ["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"] {
        own.push((pressure, "NoSchedule"));
    }
    if spec["hostNetwork"] == Value::Bool(true) {
        own.push(("network-unavailable", "NoSchedule"));
    }
    for (name, effect) in own {
        let added = serde_json::json!({
            "key": format!("node.kubernetes.io/{name}"), "operator": "Exists", "effect": effect,
        });
        let mut found = false;
        for old in &mut list {
            if ["key", "operator", "effect", "value"]
                .iter()
                .all(|f| text(old, f) == text(&added, f))
            {
                *old = added.clone();
                found = true;
            }
        }
        if !found {
            list.push(added);
        }
    }
    list
}

/// Whether a toleration matches a taint.
fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let wildcard = |name: &str| {
        let wanted = text(toleration, name);
        wanted.is_empty() || wanted == text(taint, name)
    };
    let operator = text(toleration, "operator");
    let by_value = operator.is_empty() || operator == "Equal";
    wildcard("effect")
        && wildcard("key")
        && (operator == "Exists" || (by_value && text(toleration, "value") == text(taint, "value")))
}

/// The answer for a pod spec on a v1 Node, both as JSON.
pub fn answer(spec: &Value, node: &Value) -> Answer {
    let tolerations = merged(spec);
    let (mut untolerated_schedule, mut untolerated_execute) = (false, false);
    let mut limits: Vec<i64> = Vec::new();
    for taint in items(&node["spec"]["taints"]) {
        let hit = tolerations.iter().find(|toleration| tolerates(toleration, taint));
        match (text(taint, "effect"), hit) {
            ("NoSchedule", None) => untolerated_schedule = true,
            ("NoExecute", None) => {
                untolerated_execute = true;
                limits.push(0);
            }
            ("NoExecute", Some(hit)) => limits.extend(hit["tolerationSeconds"].as_i64()),
            _ => {}
        }
    }
    let evict = limits.iter().map(|limit| u64::try_from(*limit).unwrap_or(0)).min();
    let name = text(&node["metadata"], "name");
    let no_pairs = serde_json::Map::new();
    let pairs = spec["nodeSelector"].as_object().unwrap_or(&no_pairs);
    let required =
        &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let misplaced = (!text(spec, "nodeName").is_empty() && text(spec, "nodeName") != name)
        || pairs.iter().any(|(key, value)| node["metadata"]["labels"].get(key) != Some(value))
        || (required.is_object()
            && !items(&required["nodeSelectorTerms"]).iter().any(|one| term(one, node)));
    if misplaced {
        return (false, false, evict);
    }
    (!untolerated_schedule && !untolerated_execute, !untolerated_execute, evict)
}
