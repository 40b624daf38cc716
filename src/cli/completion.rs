//! `podward completion`: completion scripts for shells.

use std::{io::Write, process::ExitCode};

use clap::{Args as ClapArgs, Command};
use clap_complete::{Shell, generate};

use super::failure::Outcome;

/// What `completion` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script, to be sourced by the shell.
pub fn run(args: &Args, mut command: Command, out: &mut dyn Write) -> Outcome {
    // The generator panics when its writer fails, as a closed pipe would.
    let mut script = Vec::new();
    generate(args.shell, &mut command, "podward", &mut script);
    out.write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
