//! Floor 10: the command line, one file per verb.

pub mod decode;
pub mod documents;
pub mod why;
