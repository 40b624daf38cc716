//! How a command fails: what it says, with which hint, and with which exit code.

use std::{error::Error, fmt, io, process::ExitCode};

use crate::spec::{SELECTOR_SYNTAX, Selector};

/// What a command hands back: its exit code, or why it failed.
pub type Outcome = anyhow::Result<ExitCode>;

/// A failure whose remedy is known.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong.
    message: String,
    /// What to do about it.
    hint: Option<String>,
    /// Whether the command itself was written wrongly.
    usage: bool,
}

impl Failure {
    /// A failure with a hint.
    pub fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        Self { message: message.into(), hint: Some(hint.into()), usage: false }.into()
    }

    /// A command that was written wrongly.
    pub fn usage(message: impl Into<String>, hint: Option<String>) -> anyhow::Error {
        Self { message: message.into(), hint, usage: true }.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// Reads a label selector of the command line; none selects everything.
pub fn selector(text: Option<&str>) -> anyhow::Result<Selector> {
    let text = text.unwrap_or_default();
    Selector::parse(text).map_err(|fault| {
        let message = format!("{text:?} is no label selector: {fault}");
        Failure::usage(message, Some(SELECTOR_SYNTAX.to_owned()))
    })
}

/// Says on `err` why a command failed and gives its exit code. A reader that went away, such as
/// `head`, has all it wanted.
pub fn report(error: &anyhow::Error, err: &mut dyn io::Write) -> ExitCode {
    let broken_pipe = error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    });
    if broken_pipe {
        return ExitCode::SUCCESS;
    }
    let known = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    // When even stderr is gone, the exit code says it all.
    let _ = writeln!(err, "error: {error:#}");
    if let Some(hint) = known.and_then(|known| known.hint.as_deref()) {
        let _ = writeln!(err, "hint: {hint}");
    }
    ExitCode::from(if known.is_some_and(|known| known.usage) { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn reported(error: &anyhow::Error) -> (String, ExitCode) {
        let mut err = Vec::new();
        let code = report(error, &mut err);
        (String::from_utf8(err).unwrap(), code)
    }

    #[test]
    fn a_failure_tells_its_chain_and_its_hint() {
        let error = Err::<(), _>(Failure::hinted("no agent", "start one")).context("list pods");
        let (text, code) = reported(&error.unwrap_err());
        assert_eq!(text, "error: list pods: no agent\nhint: start one\n");
        assert_eq!(code, ExitCode::from(1));
    }

    #[test]
    fn wrong_usage_exits_with_two() {
        let (text, code) = reported(&Failure::usage("no such type", None));
        assert_eq!((text.as_str(), code), ("error: no such type\n", ExitCode::from(2)));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(reported(&error.context("print")), (String::new(), ExitCode::SUCCESS));
    }
}
