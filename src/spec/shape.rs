//! The walk of a document beside the table: unknown fields, wrong types, missing fields, and what becomes of each field used.

use serde_json::{Map, Number, Value};

use crate::base::{nearest::nearest, quantity::Amount};
use crate::spec::{
    document::FieldUse,
    report::{Report, shown},
    table::{Field, Given, Kind, Rule, Support, Type},
    table_set::SET,
};

/// Walks a DaemonSet: nulls vanish, numbers that stand for quantities become text, whole floats become
/// whole numbers, and whatever cannot be read is reported and taken out.
pub fn walk(object: &mut Map<String, Value>, report: &mut Report) -> Vec<FieldUse> {
    let pod = object
        .get("spec")
        .and_then(|spec| spec.get("template")?.get("spec"))
        .cloned()
        .unwrap_or(Value::Null);
    walk_as(&SET, object, pod, report)
}

/// Walks an object of any type; `pod` is what rules may look at.
pub fn walk_as(
    of: &'static Type,
    object: &mut Map<String, Value>,
    pod: Value,
    report: &mut Report,
) -> Vec<FieldUse> {
    let mut walker = Walker { report, uses: Vec::new(), pod, inherited: None };
    walker.object(of, object, "");
    walker.uses
}

/// The object that holds a field.
struct Holder {
    /// Its type.
    of: &'static Type,
    /// A copy of it, for rules that look at neighbours.
    object: Value,
}

/// The state of a walk.
struct Walker<'a> {
    /// Where faults go.
    report: &'a mut Report,
    /// The fields used so far.
    uses: Vec<FieldUse>,
    /// A copy of the pod spec, for rules that look at it.
    pod: Value,
    /// What was decided for a field above, which goes for all below it.
    inherited: Option<(Support, &'static str)>,
}

impl Walker<'_> {
    /// Walks the fields of one object.
    fn object(&mut self, of: &'static Type, object: &mut Map<String, Value>, prefix: &str) {
        for name in object.keys().filter(|name| of.field(name).is_none()) {
            let path = match prefix.strip_suffix('.') {
                Some(above) => entry_path(above, name),
                None => name.clone(),
            };
            self.unknown(of, name, &object[name], &path);
        }
        object.retain(|name, value| !value.is_null() && of.field(name).is_some());
        let holder = Holder { of, object: Value::Object(object.clone()) };
        let mut unreadable = Vec::new();
        for field in of.fields {
            let path = format!("{prefix}{}", field.name);
            if let Some(value) = object.get_mut(field.name) {
                if !self.field(field, value, &holder, &path) {
                    unreadable.push(field.name);
                }
            } else if field.needed {
                self.report.missing(&path, field.kind);
            }
        }
        for name in unreadable {
            object.remove(name);
        }
    }

    /// Reports a field that the type does not have.
    fn unknown(&mut self, of: &Type, name: &str, value: &Value, path: &str) {
        if self.report.is_full() {
            return;
        }
        let remedy = match nearest(name, of.fields.iter().map(|field| field.name)) {
            Some(known) => format!("did you mean {known}?"),
            None => format!("{} has no such field; remove it", of.name),
        };
        self.report.unknown(path, value, remedy);
    }

    /// Walks one field; false when its value cannot be read.
    fn field(&mut self, field: &Field, value: &mut Value, holder: &Holder, path: &str) -> bool {
        let before = self.inherited;
        let verdict = before.unwrap_or_else(|| self.decide(field.rule, value, holder, ""));
        if verdict.0 != Support::Honoured {
            self.inherited = Some(verdict);
        }
        let readable = match (field.kind, &mut *value) {
            (Kind::Object(inner), Value::Object(object)) => {
                if verdict.0 != Support::Honoured || object.is_empty() {
                    self.note(path, &Value::Object(object.clone()), verdict);
                }
                self.object(inner, object, &format!("{path}."));
                true
            }
            (Kind::List(inner), Value::Array(items)) => {
                if verdict.0 != Support::Honoured || items.is_empty() {
                    self.note(path, &Value::Array(items.clone()), verdict);
                }
                self.list(inner, items, path);
                true
            }
            (Kind::TextMap | Kind::AmountMap, Value::Object(entries)) => {
                self.map(field, entries, holder, path);
                true
            }
            (Kind::Texts | Kind::Ints, Value::Array(items)) => {
                let kind = if matches!(field.kind, Kind::Texts) { Kind::Text } else { Kind::Int64 };
                let written = Value::Array(items.clone());
                self.scalars(kind, items, path);
                self.note(path, &written, verdict);
                true
            }
            (kind, value) => {
                let readable = scalar(kind, value);
                if readable {
                    self.note(path, value, verdict);
                } else {
                    self.report.wrong_type(path, value, kind);
                }
                readable
            }
        };
        self.inherited = before;
        readable
    }

    /// Walks a list of objects.
    fn list(&mut self, inner: &'static Type, items: &mut [Value], path: &str) {
        for (index, item) in items.iter_mut().enumerate() {
            let path = format!("{path}[{index}]");
            if let Value::Object(object) = item {
                self.object(inner, object, &format!("{path}."));
            } else {
                self.report.wrong_type(&path, item, Kind::Object(inner));
                *item = Value::Null;
            }
        }
    }

    /// Walks a list of scalars.
    fn scalars(&mut self, kind: Kind, items: &mut [Value], path: &str) {
        for (index, item) in items.iter_mut().enumerate() {
            if !scalar(kind, item) {
                self.report.wrong_type(&format!("{path}[{index}]"), item, kind);
                *item = Value::Null;
            }
        }
    }

    /// Walks a map, entry by entry.
    fn map(
        &mut self,
        field: &Field,
        entries: &mut Map<String, Value>,
        holder: &Holder,
        path: &str,
    ) {
        if entries.is_empty() {
            self.note(path, &Value::Object(Map::new()), (Support::Honoured, "empty"));
        }
        let kind = if matches!(field.kind, Kind::AmountMap) { Kind::Amount } else { Kind::Text };
        let mut unreadable = Vec::new();
        for (key, value) in entries.iter_mut() {
            let path = entry_path(path, key);
            if value.is_null() {
                // Go's zero value: an entry without a value is kept, for it narrows a selector.
                *value = Value::String(if kind.is_amount() { "0" } else { "" }.to_owned());
            }
            if scalar(kind, value) {
                let verdict =
                    self.inherited.unwrap_or_else(|| self.decide(field.rule, value, holder, key));
                self.note(&path, value, verdict);
            } else {
                self.report.wrong_type(&path, value, kind);
                unreadable.push(key.clone());
            }
        }
        for key in unreadable {
            entries.remove(&key);
        }
    }

    /// What becomes of a value by its rule. What is empty asks for nothing, so nothing is refused of it.
    fn decide(
        &self,
        rule: Rule,
        value: &Value,
        holder: &Holder,
        key: &str,
    ) -> (Support, &'static str) {
        let empty = match value {
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            // An empty volume source is a volume all the same.
            Value::Object(fields) => fields.is_empty() && holder.of.name != "Volume",
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        };
        match rule {
            Rule::Depends(..) if matches!(value, Value::Object(_) | Value::Array(_)) => {
                (Support::Honoured, "")
            }
            Rule::Ignored(_) | Rule::Refused(_) | Rule::Depends(..) if empty => {
                (Support::Honoured, "empty")
            }
            Rule::Honoured => (Support::Honoured, ""),
            Rule::Ignored(reason) => (Support::Ignored, reason),
            Rule::Refused(reason) => (Support::Refused, reason),
            Rule::Depends(decide, _) => {
                decide(&Given { value, key, parent: &holder.object, pod: &self.pod })
            }
        }
    }

    /// Notes a field that was used.
    fn note(&mut self, path: &str, value: &Value, (support, reason): (Support, &'static str)) {
        if path == "apiVersion" || path == "kind" {
            return;
        }
        self.uses.push(FieldUse {
            path: path.to_owned(),
            value: shown(value),
            support,
            reason: reason.to_owned(),
        });
    }
}

/// The path of a map's entry: keys with dots, slashes or blanks stand in brackets.
pub fn entry_path(path: &str, key: &str) -> String {
    if key.contains(['.', '/', '[', ']', ' ']) || key.is_empty() {
        format!("{path}[{key}]")
    } else {
        format!("{path}.{key}")
    }
}

/// Whether a value is of the kind; values that mean the same in another form are brought into it.
fn scalar(kind: Kind, value: &mut Value) -> bool {
    match kind {
        Kind::Any => true,
        Kind::Text | Kind::Time => value.is_string(),
        Kind::Flag => value.is_boolean(),
        Kind::Int32 => whole(value).is_some_and(|number| i32::try_from(number).is_ok()),
        Kind::Int64 => whole(value).is_some(),
        Kind::IntOrText => {
            value.is_string() || whole(value).is_some_and(|number| i32::try_from(number).is_ok())
        }
        Kind::Amount => amount(value),
        Kind::Texts
        | Kind::Ints
        | Kind::TextMap
        | Kind::AmountMap
        | Kind::Object(_)
        | Kind::List(_) => false,
    }
}

/// The whole number that a value is; `2.0` becomes `2`, as on its way through JSON in kubectl.
fn whole(value: &mut Value) -> Option<i64> {
    if let Some(float) = value.as_f64().filter(|_| value.is_f64()) {
        // Beyond 2^53 a float is no longer exact, so it is not taken for a whole number.
        if float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0 {
            let text = format!("{float:.0}");
            *value = Value::Number(Number::from(text.parse::<i64>().ok()?));
        }
    }
    value.as_i64()
}

/// Brings a quantity into the one text that the API keeps for it: `0.5` and `500m` are the same.
fn amount(value: &mut Value) -> bool {
    let text = match &*value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return false,
    };
    // A text that is no quantity stays for validation, which says so.
    *value = Value::String(match Amount::parse(&text) {
        Ok(amount) => canonical(amount, text.ends_with('i')),
        Err(_) => text,
    });
    true
}

/// The shortest way to write an amount without a fraction.
fn canonical(amount: Amount, binary: bool) -> String {
    let milli = amount.milli();
    if milli % 1000 != 0 && milli.unsigned_abs() < i64::MAX.unsigned_abs() {
        return format!("{milli}m");
    }
    let (step, suffixes): (i64, [&str; 7]) = if binary && amount.value().abs() >= 1024 {
        (1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
    } else {
        (1000, ["", "k", "M", "G", "T", "P", "E"])
    };
    let mut value = amount.value();
    let mut power = 0;
    while value != 0 && value % step == 0 && power < suffixes.len() - 1 {
        value /= step;
        power += 1;
    }
    format!("{value}{}", suffixes[power])
}
