//! The form of the support table: which fields there are, of what type, and what podward makes of each.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What podward makes of a field that somebody used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Support {
    /// It works as in Kubernetes.
    Honoured,
    /// It has no effect here, and nobody is less safe for it.
    Ignored,
    /// The set is not run, because without this field it would not be what its author meant.
    Refused,
}

impl Support {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

/// An object type: a name and its fields.
pub struct Type {
    /// The name in the Kubernetes API.
    pub name: &'static str,
    /// The fields, in the API's order.
    pub fields: &'static [Field],
}

impl Type {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// One row of the table.
pub struct Field {
    /// The name as it is written in YAML.
    pub name: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// Whether an object without it is incomplete.
    pub needed: bool,
    /// What podward makes of it.
    pub rule: Rule,
}

/// The type of a field's value.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A whole number, a percentage or a name.
    IntOrText,
    /// A quantity such as `64Mi`; numbers are taken as well.
    Amount,
    /// A point in time.
    Time,
    /// Anything at all.
    Any,
    /// A list of strings.
    Texts,
    /// A list of whole numbers.
    Ints,
    /// String to string.
    TextMap,
    /// Resource name to quantity.
    AmountMap,
    /// An object.
    Object(&'static Type),
    /// A list of objects.
    List(&'static Type),
}

/// What podward makes of a field, whatever stands around it or by what does.
#[derive(Clone, Copy)]
pub enum Rule {
    /// Always honoured, as far as its own fields are.
    Honoured,
    /// Always ignored, with the reason.
    Ignored(&'static str),
    /// Always refused, with the reason.
    Refused(&'static str),
    /// By its value: the decision, and the sentence for the documentation. Maps are decided entry by entry.
    Depends(
        fn(&Given) -> Verdict,
        #[cfg_attr(not(test), expect(dead_code, reason = "only the tests write docs/support.md"))]
        &'static str,
    ),
}

/// What a decision may look at.
pub struct Given<'a> {
    /// The value of the field, or of one entry of a map.
    pub value: &'a Value,
    /// The entry's key, when the field is a map.
    pub key: &'a str,
    /// The object that holds the field.
    pub parent: &'a Value,
    /// The pod spec, or null outside of it.
    pub pod: &'a Value,
}

/// A decision and its reason; honoured fields need none.
pub type Verdict = (Support, &'static str);

/// A row for a field that may be left out.
pub const fn field(name: &'static str, kind: Kind, rule: Rule) -> Field {
    Field { name, kind, needed: false, rule }
}

/// A row for a field that may not be left out.
pub const fn needed(name: &'static str, kind: Kind, rule: Rule) -> Field {
    Field { name, kind, needed: true, rule }
}

/// Every path of the table, such as `spec.template.spec.containers[].image`; keys of maps stand as `{}`.
#[cfg(test)]
pub fn known_paths() -> Vec<String> {
    let mut paths = Vec::new();
    collect_paths(&crate::spec::table_set::SET, "", &mut paths);
    paths
}

/// Adds the paths below one type.
#[cfg(test)]
fn collect_paths(of: &Type, prefix: &str, paths: &mut Vec<String>) {
    for field in of.fields {
        let path = format!("{prefix}{}{}", field.name, field.kind.suffix());
        paths.push(path.clone());
        if let Kind::Object(inner) | Kind::List(inner) = field.kind {
            collect_paths(inner, &format!("{path}."), paths);
        }
    }
}

impl Kind {
    /// What the path of such a field ends in.
    #[cfg(test)]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Texts | Self::Ints | Self::List(_) => "[]",
            Self::TextMap | Self::AmountMap => ".{}",
            Self::Text
            | Self::Flag
            | Self::Int32
            | Self::Int64
            | Self::IntOrText
            | Self::Amount
            | Self::Time
            | Self::Any
            | Self::Object(_) => "",
        }
    }

    /// Whether it is a quantity.
    pub fn is_amount(self) -> bool {
        matches!(self, Self::Amount)
    }

    /// What belongs in such a field, for people.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Flag => "true or false",
            Self::Int32 => "a whole number of 32 bits",
            Self::Int64 => "a whole number of 64 bits",
            Self::IntOrText => "a whole number or a string",
            Self::Amount => "a quantity",
            Self::Time => "a time",
            Self::Any => "anything",
            Self::Texts => "a list of strings",
            Self::Ints => "a list of whole numbers",
            Self::TextMap => "a mapping of strings to strings",
            Self::AmountMap => "a mapping of resource names to quantities",
            Self::Object(_) => "a mapping",
            Self::List(_) => "a list of mappings",
        }
    }
}
