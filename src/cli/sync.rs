//! `podward sync`: one pass over the sources, by the running agent or, where none runs, by this process.

use std::{io::Write, os::unix::net::UnixStream, path::Path, process::ExitCode};

use clap::Args as ClapArgs;

use crate::agent::{app, wire::SyncRequest};

use super::Globals;
use super::agent;
use super::client::{self, refusal};
use super::failure::Outcome;

/// What `sync` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Asks the agent for a pass, or makes one here when no agent runs; succeeds when the node has converged, or
/// would without a step.
pub fn run(args: &Args, globals: &Globals, socket: &Path, out: &mut dyn Write) -> Outcome {
    let agent_runs = UnixStream::connect(socket).is_ok();
    let (lines, converged) = if agent_runs { ask(args, socket)? } else { alone(args, globals)? };
    for line in &lines {
        writeln!(out, "{line}")?;
    }
    Ok(if converged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A pass by the agent.
fn ask(args: &Args, socket: &Path) -> anyhow::Result<(Vec<String>, bool)> {
    client::converse(async {
        let mut control = client::connect(socket).await?;
        let request = SyncRequest { dry_run: args.dry_run };
        let report = control.sync(request).await.map_err(|status| refusal(&status))?.into_inner();
        Ok((report.lines, report.converged))
    })
}

/// A pass by this process. What crashes afterwards is started again by the next one.
fn alone(args: &Args, globals: &Globals) -> anyhow::Result<(Vec<String>, bool)> {
    let launch = agent::launch(globals)?;
    let report = agent::runtime()?.block_on(app::sync(launch, args.dry_run))?;
    Ok((report.lines, report.converged))
}
