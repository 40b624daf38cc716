//! Floor 1: what the operator wrote, from bytes to a defaulted, valid DaemonSet with a template hash.

mod bytes;
mod convert;
mod defaults;
mod document;
mod hash;
mod identity;
mod kinds;
mod lines;
#[cfg(test)]
mod markdown;
pub mod names;
mod object;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod proofs_volume;
mod read;
mod read_object;
mod reasons;
mod report;
mod rollout;
mod rules;
mod selector;
mod shape;
mod spot;
mod table;
mod table_affinity;
mod table_cloud;
mod table_container;
mod table_env;
mod table_object;
mod table_pod;
mod table_probe;
mod table_set;
mod table_volume;
mod validate;
mod validate_container;
mod validate_pod;
mod validate_probe;
mod validate_restart;
mod validate_scheduling;
mod validate_security;
mod validate_values;
mod validate_volume;

#[cfg(test)]
mod tests;

pub use bytes::{
    MAX_BYTES, MAX_DOCUMENTS, ParseFault, Piece, decode, json, options, pieces, too_large,
    too_many, yaml,
};
pub use document::{Document, FieldUse, FieldValidation, Outcome, Reading, Set};
pub use hash::{hash_of, template_hash};
pub use lines::{Place, Tree, places};
#[cfg(test)]
pub use markdown::{markdown, table_rows};
pub use object::{MAX_OBJECT, Object, ObjectDocument, ObjectKey, ObjectKind, Objects};
pub use read::read;
pub use rollout::{Amount, PAUSED, PROMOTED, ROLLED_BACK, Rollout};
pub use selector::{SELECTOR_SYNTAX, Selector};
pub use shape::entry_path;
pub use table::Support;
#[cfg(test)]
pub use table::known_paths;
