//! Takes the fields that eligibility looks at out of an object, as the API server decodes them.
//!
//! All other fields are passed over, so that a fault elsewhere does not hide the answer. A null in a
//! list or a map is an empty element, as in Go.

use std::cell::OnceCell;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::base::fault::Fault;
use crate::cli::documents::{Document, scalar_texts, yaml};
use crate::spec::entry_path;

/// The form of a field.
#[derive(Debug)]
enum Shape {
    /// A text.
    Text,
    /// A whole number.
    Whole,
    /// True or false.
    Flag,
    /// Texts by name.
    TextMap,
    /// A list of one shape.
    List(&'static Shape),
    /// Fields by name.
    Object(&'static [(&'static str, Shape)]),
}

use Shape::{Flag, List, Object, Text, TextMap, Whole};

/// A requirement of a node selector term.
const REQUIREMENT: Shape = Object(&[("key", Text), ("operator", Text), ("values", List(&Text))]);
/// A term of a node selector.
const TERM: Shape =
    Object(&[("matchExpressions", List(&REQUIREMENT)), ("matchFields", List(&REQUIREMENT))]);
/// A toleration.
const TOLERATION: Shape = Object(&[
    ("key", Text),
    ("operator", Text),
    ("value", Text),
    ("effect", Text),
    ("tolerationSeconds", Whole),
]);
/// The required node affinity.
const REQUIRED: Shape = Object(&[("nodeSelectorTerms", List(&TERM))]);
/// What of a pod spec counts.
const POD: Shape = Object(&[
    ("nodeName", Text),
    ("nodeSelector", TextMap),
    (
        "affinity",
        Object(&[(
            "nodeAffinity",
            Object(&[("requiredDuringSchedulingIgnoredDuringExecution", REQUIRED)]),
        )]),
    ),
    ("tolerations", List(&TOLERATION)),
    ("hostNetwork", Flag),
]);
/// What of a DaemonSet counts.
const SET: Shape = Object(&[
    ("metadata", Object(&[("name", Text), ("namespace", Text)])),
    ("spec", Object(&[("template", Object(&[("spec", POD)]))])),
]);
/// A taint.
const TAINT: Shape = Object(&[("key", Text), ("value", Text), ("effect", Text)]);
/// What of a Node counts.
const NODE: Shape = Object(&[
    ("metadata", Object(&[("name", Text), ("labels", TextMap)])),
    ("spec", Object(&[("taints", List(&TAINT))])),
]);

/// An object, with what Kubernetes would not like in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<T> {
    /// The object with the fields that count.
    pub object: T,
    /// What Kubernetes would refuse, while its meaning is plain.
    pub warnings: Vec<Fault>,
}

/// The DaemonSet of a document.
pub fn set(origin: &str, document: &Document<'_>) -> Result<Decoded<DaemonSet>, Vec<Fault>> {
    decode(origin, document, &SET, ("apps/v1", "DaemonSet"))
}

/// The Node of a document.
pub fn node(origin: &str, document: &Document<'_>) -> Result<Decoded<v1::Node>, Vec<Fault>> {
    decode(origin, document, &NODE, ("v1", "Node"))
}

/// An object of the given shape, version and kind.
fn decode<T: DeserializeOwned>(
    origin: &str,
    document: &Document<'_>,
    shape: &Shape,
    (api_version, kind): (&str, &str),
) -> Result<Decoded<T>, Vec<Fault>> {
    let mut decoder = Decoder {
        origin,
        document,
        texts: OnceCell::new(),
        path: Vec::new(),
        warnings: Vec::new(),
        faults: Vec::new(),
    };
    let mut value = decoder.take(shape, &document.value).unwrap_or_default();
    if !decoder.faults.is_empty() {
        return Err(decoder.faults);
    }
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    match serde_json::from_value(value) {
        Ok(object) => Ok(Decoded { object, warnings: decoder.warnings }),
        Err(error) => Err(vec![decoder.fault(None, &error.to_string(), "mend the document")]),
    }
}

/// One step from an object into it.
#[derive(Debug, Clone)]
enum Step {
    /// A field of a known name.
    Field(&'static str),
    /// A key of a map.
    Key(String),
    /// A place in a list.
    Index(usize),
}

/// The state of decoding one object.
struct Decoder<'a> {
    /// The file.
    origin: &'a str,
    /// The document.
    document: &'a Document<'a>,
    /// The texts of the document's scalars, read when they are needed first.
    texts: OnceCell<Option<Value>>,
    /// Where we are.
    path: Vec<Step>,
    /// What was found that Kubernetes would refuse.
    warnings: Vec<Fault>,
    /// What was found that has no meaning.
    faults: Vec<Fault>,
}

impl Decoder<'_> {
    /// The value in its shape; `None` when it is null or faulty.
    fn take(&mut self, shape: &Shape, value: &Value) -> Option<Value> {
        match (shape, value) {
            (_, Value::Null) => None,
            (Text, Value::String(_)) | (Flag, Value::Bool(_)) => Some(value.clone()),
            (Text, Value::Bool(_) | Value::Number(_)) => Some(self.unquoted(value)),
            (Whole, Value::Number(_)) if whole(value).is_some() => whole(value).map(Value::from),
            (TextMap, Value::Object(map)) => Some(self.text_map(map)),
            (List(element), Value::Array(list)) => Some(self.list(element, list)),
            (Object(fields), Value::Object(map)) => Some(self.object(fields, map)),
            _ => {
                let problem = format!("{} where {} belongs", found(value), wanted(shape));
                let fault = self.fault(Some(value), &problem, "write the field as Kubernetes does");
                self.faults.push(fault);
                None
            }
        }
    }

    /// A number or boolean where text belongs: what was written is taken, with a warning.
    fn unquoted(&mut self, value: &Value) -> Value {
        let texts = self.texts.get_or_init(|| {
            let text = self.document.text?;
            let whole: Value = match self.document.item {
                None => return scalar_texts(text, &self.document.value),
                Some(_) => yaml(text)?,
            };
            scalar_texts(text, &whole)
        });
        let mut pointer = String::new();
        if let Some(item) = self.document.item {
            pointer = format!("/items/{item}");
        }
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Field(name) => pointer.push_str(name),
                Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Step::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        let written = texts.as_ref().and_then(|texts| texts.pointer(&pointer)?.as_str());
        let written = written.map_or_else(|| value.to_string(), str::to_owned);
        let problem = format!("{} where a text belongs, taken as one here", found(value));
        let remedy = format!("write {written:?} with quotes: Kubernetes refuses it without");
        let warning = self.fault(Some(value), &problem, &remedy);
        self.warnings.push(Fault { value: written.clone(), ..warning });
        written.into()
    }

    /// Texts by name; a null is an empty text.
    fn text_map(&mut self, map: &Map<String, Value>) -> Value {
        let mut texts = Map::new();
        for (key, value) in map {
            let text = self.at(Step::Key(key.clone()), |this| this.take(&Text, value));
            texts.insert(key.clone(), text.unwrap_or_else(|| "".into()));
        }
        Value::Object(texts)
    }

    /// A list; a null is an empty element.
    fn list(&mut self, element: &Shape, list: &[Value]) -> Value {
        let empty = match element {
            Object(_) => Value::Object(Map::new()),
            _ => "".into(),
        };
        let take = |(index, value): (usize, &Value)| {
            let taken = self.at(Step::Index(index), |this| this.take(element, value));
            taken.unwrap_or_else(|| empty.clone())
        };
        list.iter().enumerate().map(take).collect()
    }

    /// The known fields of an object; a null field is an absent one.
    fn object(
        &mut self,
        fields: &'static [(&'static str, Shape)],
        map: &Map<String, Value>,
    ) -> Value {
        let mut taken = Map::new();
        for (name, shape) in fields {
            let Some(value) = map.get(*name) else {
                continue;
            };
            if let Some(value) = self.at(Step::Field(name), |this| this.take(shape, value)) {
                taken.insert((*name).to_owned(), value);
            }
        }
        Value::Object(taken)
    }

    /// Takes something one step further in.
    fn at<T>(&mut self, step: Step, take: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let taken = take(self);
        self.path.pop();
        taken
    }

    /// A fault at this place.
    fn fault(&self, value: Option<&Value>, problem: &str, remedy: &str) -> Fault {
        let mut path = self.document.item.map(|item| format!("items[{item}]")).unwrap_or_default();
        for step in &self.path {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Key(key) => path = entry_path(&path, key),
                Step::Index(index) => path.extend(["[", &index.to_string(), "]"]),
            }
        }
        Fault {
            document: Some(self.document.index),
            path,
            value: value.map(shortened).unwrap_or_default(),
            ..Fault::of_file(self.origin, problem, remedy)
        }
    }
}

/// A whole number; `30.0` is one too.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let float = value.as_f64().filter(|float| float.fract() == 0.0)?;
        format!("{float:.0}").parse().ok()
    })
}

/// What a value is, in words.
fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What a shape wants, in words.
fn wanted(shape: &Shape) -> &'static str {
    match shape {
        Text => "a text",
        Whole => "a whole number",
        Flag => "true or false",
        TextMap => "an object of texts",
        List(_) => "a list",
        Object(_) => "an object",
    }
}

/// A value in JSON, its end left out when it is long.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
