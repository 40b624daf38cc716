//! The line of a field, found by a second look at the text when there is something to say about it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use crate::spec::{bytes, shape::entry_path};

/// The lines of one document's fields.
pub struct Lines {
    /// The document, or nothing when it cannot be read.
    root: Option<Tree>,
    /// The line of the file that it begins on.
    first: usize,
}

impl Lines {
    /// Reads a document's text once more for its lines.
    pub fn of(text: &str, first: usize) -> Self {
        let options = bytes::options(true);
        Self { root: serde_saphyr::from_str_with_options(text, options).ok(), first }
    }

    /// The line of a field, or of the nearest thing around it.
    pub fn line(&self, path: &str) -> usize {
        let mut line = 1;
        let mut tree = self.root.as_ref();
        let mut rest = path;
        while let Some(here) = tree {
            let Some((below, after)) = here.step(rest) else {
                break;
            };
            line = below.line;
            tree = Some(&below.tree);
            rest = after;
        }
        self.first + line.max(1) - 1
    }
}

/// A document without its values.
#[derive(Debug)]
enum Tree {
    /// A mapping: key, and what stands there.
    Mapping(Vec<(String, Place)>),
    /// A list.
    List(Vec<Place>),
    /// Anything else.
    Scalar,
}

/// A value's place.
#[derive(Debug)]
struct Place {
    /// The line of its key, or of itself in a list, from 1.
    line: usize,
    /// What is below.
    tree: Tree,
}

impl Tree {
    /// One step along a path: what the path names next, and the rest of it.
    fn step<'a, 'p>(&'a self, path: &'p str) -> Option<(&'a Place, &'p str)> {
        match self {
            Self::Mapping(fields) => fields.iter().find_map(|(key, place)| {
                let segment = entry_path("", key);
                let segment = segment.trim_start_matches('.');
                let rest = path.trim_start_matches('.').strip_prefix(segment)?;
                let whole = rest.is_empty() || rest.starts_with(['.', '[']);
                whole.then_some((place, rest))
            }),
            Self::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                Some((items.get(index.parse::<usize>().ok()?)?, rest))
            }
            Self::Scalar => None,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

/// Builds a [`Tree`].
struct TreeVisitor;

/// Visits of scalars, whose values do not matter here.
macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E: de::Error>(self, _: $type) -> Result<Tree, E> {
            Ok(Tree::Scalar)
        })*
    };
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            list.push(Place { line: line_of(&item), tree: item.value });
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let line = line_of(&key);
            fields.push((key.value, Place { line, tree: entries.next_value()? }));
        }
        Ok(Tree::Mapping(fields))
    }
}

/// The line on which something stands.
fn line_of<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or(1)
}
