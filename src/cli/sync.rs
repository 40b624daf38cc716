//! `podward sync`: one pass over the sources through the running agent.

use std::{io::Write, path::Path, process::ExitCode};

use clap::Args as ClapArgs;

use crate::agent::wire::SyncRequest;

use super::client::{self, refusal};
use super::failure::Outcome;

/// What `sync` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Asks the agent for a pass; succeeds when the node has converged, or would without a step.
pub fn run(args: &Args, socket: &Path, out: &mut dyn Write) -> Outcome {
    client::converse(async {
        let mut control = client::connect(socket).await?;
        let request = SyncRequest {
            dry_run: args.dry_run,
        };
        let report = control
            .sync(request)
            .await
            .map_err(|status| refusal(&status))?
            .into_inner();
        for line in &report.lines {
            writeln!(out, "{line}")?;
        }
        Ok(if report.converged {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}
