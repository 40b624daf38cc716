//! A fault in something that a person wrote: where it stands, what it says, what to write instead.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One fault, with all that its author needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// The file (or URL, or key) that was read.
    pub origin: String,
    /// The document's number in it, from 1; `None` when the whole file is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// The line in the file, from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The field's path, such as `spec.template.spec.containers[0].image`; empty for the whole document.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The offending value as it was written, shortened; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What is wrong.
    pub problem: String,
    /// What to write or do instead.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Fault {
    /// A fault of a whole file.
    pub fn of_file(
        origin: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            origin: origin.into(),
            document: None,
            line: None,
            path: String::new(),
            value: String::new(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(document) = self.document {
            write!(f, ": document {document}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        if !self.value.is_empty() {
            write!(f, ": {}", self.value)?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_from_file_to_remedy() {
        let fault = Fault {
            origin: "a.yaml".into(),
            document: Some(2),
            line: Some(14),
            path: "spec.template.spec.containers[1].image".into(),
            value: "\"\"".into(),
            problem: "empty".into(),
            remedy: "give a reference such as docker.io/library/busybox:1.36".into(),
        };
        assert_eq!(
            fault.to_string(),
            "a.yaml:14: document 2: spec.template.spec.containers[1].image: \"\": empty; \
             give a reference such as docker.io/library/busybox:1.36"
        );
    }
}
