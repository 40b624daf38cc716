//! The binary: agent, command line and container logger in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    podward::main()
}
