//! Errors for people: the whole chain in one line, and tear-downs that go on to their end.

use std::{error::Error, fmt};

/// Prints an error and everything that caused it, joined by colons.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// The failures of a tear-down: each step is tried, whatever happened to the one before.
#[derive(Debug, Default)]
pub struct Errors(Vec<String>);

impl Errors {
    /// Notes a failure and goes on.
    pub fn note<T, E: Error + 'static>(&mut self, step: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(format!("{step}: {}", Chain(&error)))).ok()
    }

    /// `Err` with every failure when there was one.
    pub fn into_result(self) -> Result<(), Errors> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Error for Errors {}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read the record")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_chain_names_every_cause() {
        let error = Outer(io::Error::other("disk on fire"));
        assert_eq!(Chain(&error).to_string(), "read the record: disk on fire");
    }

    #[test]
    fn a_tear_down_reports_all_that_failed() {
        let mut errors = Errors::default();
        errors.note("unmount", Err::<(), _>(io::Error::other("busy")));
        assert_eq!(errors.note("remove", Ok::<_, io::Error>(7)), Some(7));
        errors.note("unlink", Err::<(), _>(io::Error::other("gone")));
        assert_eq!(errors.into_result().unwrap_err().to_string(), "unmount: busy; unlink: gone");
    }
}
