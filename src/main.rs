//! The binary: agent, command line, container logger and holder of processes in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next().unwrap_or_default();
    // Before anything else starts: a logger is small, and its container waits for it. So is a holder.
    let done = if verb == "log" {
        let value = arguments.next().unwrap_or_default();
        podward::logger::run(&value.to_string_lossy()).is_ok()
    } else if verb == "hold" {
        podward::holder::run().is_ok()
    } else {
        return podward::main();
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
