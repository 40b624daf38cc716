//! The binary: agent, command line and container logger in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // Before anything else starts: a logger is small, and its container waits for it.
    if arguments.next().is_some_and(|verb| verb == "log") {
        let value = arguments.next().unwrap_or_default();
        return match podward::logger::run(&value.to_string_lossy()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    podward::main()
}
