//! Documents in which every value knows its line; and the line of a field, found by a second look at the text when there is
//! something to say about it.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::{Error, Spanned};

use crate::spec::{bytes, shape::entry_path};

/// The lines of one document's fields.
pub struct Lines<'t> {
    /// The document's text.
    text: &'t str,
    /// The document, or nothing when it cannot be read.
    root: Option<Tree>,
    /// The line of the file that it begins on.
    first: usize,
}

impl<'t> Lines<'t> {
    /// Reads a document's text once more for its lines.
    pub fn of(text: &'t str, first: usize) -> Self {
        Self { text, root: places(text, true).ok().map(|root| root.tree), first }
    }

    /// The line of a field, or of the nearest thing around it.
    pub fn line(&self, path: &str) -> usize {
        let line = self.walk(path).0.map_or(1, |place| place.line);
        self.first + line.max(1) - 1
    }

    /// A scalar as it was written: `y`, `0644` and `1.10` say more than `true`, `420` and `1.1`.
    pub fn written(&self, path: &str) -> Option<&'t str> {
        let (Some(place), "") = self.walk(path) else {
            return None;
        };
        let Tree::Scalar(_, span) = &place.tree else {
            return None;
        };
        let written = self.text.get(span.clone())?.trim();
        (!written.is_empty()).then_some(written)
    }

    /// The last place on the way along a path, and what of the path was not found.
    fn walk<'a, 'p>(&'a self, path: &'p str) -> (Option<&'a Place>, &'p str) {
        let mut last = None;
        let mut tree = self.root.as_ref();
        let mut rest = path;
        while let Some((below, after)) = tree.and_then(|tree| tree.step(rest)) {
            last = Some(below);
            tree = Some(&below.tree);
            rest = after;
        }
        (last, rest)
    }
}

/// Reads a document with the places of its values. Of a key given twice the last counts where that is let pass.
pub fn places(text: &str, lenient: bool) -> Result<Place, Error> {
    let root: Spanned<Tree> = serde_saphyr::from_str_with_options(text, bytes::options(lenient))?;
    Ok(Place { line: line_of(&root), own: line_of(&root), tree: spanned(root) })
}

/// A document.
#[derive(Debug)]
pub enum Tree {
    /// A mapping: key, and what stands there.
    Mapping(Vec<(String, Place)>),
    /// A list.
    List(Vec<Place>),
    /// Anything else, with its bytes of the text.
    Scalar(Value, Range<usize>),
}

/// A value's place.
#[derive(Debug)]
pub struct Place {
    /// The line of its key, or of itself in a list, from 1; 0 where there is none.
    pub line: usize,
    /// The line of itself.
    pub own: usize,
    /// What is below.
    pub tree: Tree,
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
            Self::Scalar(..) => None,
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

/// Visits of scalars.
macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E: de::Error>(self, value: $type) -> Result<Tree, E> {
            Ok(Tree::Scalar(value.into(), 0..0))
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
        Ok(Tree::Scalar(Value::Null, 0..0))
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null, 0..0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            let line = line_of(&item);
            list.push(Place { line, own: line, tree: spanned(item) });
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let line = line_of(&key);
            let value = entries.next_value::<Spanned<Tree>>()?;
            fields.push((key.value, Place { line, own: line_of(&value), tree: spanned(value) }));
        }
        Ok(Tree::Mapping(fields))
    }
}

/// A tree; a scalar gets its bytes. An alias has none of its own.
fn spanned(read: Spanned<Tree>) -> Tree {
    let span = read.referenced.span();
    match (read.value, span.byte_offset(), span.byte_len()) {
        (Tree::Scalar(value, _), Some(start), Some(length)) if read.referenced == read.defined => {
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let length = usize::try_from(length).unwrap_or(0);
            Tree::Scalar(value, start..start.saturating_add(length))
        }
        (tree, ..) => tree,
    }
}

/// The line on which something stands.
fn line_of<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or(1)
}
