//! `podward version`: this build, and the builds at work on this host.

use std::{io::Write, path::Path, process::ExitCode};

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;

use crate::agent::wire::{VersionRequest, VersionResponse};

use super::client::{self, refusal};
use super::document;
use super::failure::Outcome;

/// This build's version.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// What `version` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Output>,
    /// Only this build, without asking the agent
    #[arg(long)]
    pub client: bool,
}

/// How the versions are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Prints the versions. An agent that does not answer is news, not a failure.
pub fn run(args: &Args, socket: &Path, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let agent = if args.client { None } else { Some(client::converse(ask(socket))) };
    let (agent, trouble) = match agent {
        Some(Ok(agent)) => (Some(agent), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    match args.output {
        None => print(agent.as_ref(), out)?,
        Some(output) => {
            let mut value = json!({"clientVersion": OWN});
            if let Some(VersionResponse { version, node, containerd }) = &agent {
                value["agentVersion"] = json!(version);
                value["node"] = json!(node);
                value["containerdVersion"] = json!(containerd);
            }
            match output {
                Output::Json => document::json(&value, out)?,
                Output::Yaml => document::yaml(&value, out)?,
            }
        }
    }
    if let Some(trouble) = trouble {
        writeln!(err, "note: {trouble:#}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the agent.
async fn ask(socket: &Path) -> anyhow::Result<VersionResponse> {
    let mut control = client::connect(socket).await?;
    let answer = control.version(VersionRequest {}).await.map_err(|status| refusal(&status))?;
    Ok(answer.into_inner())
}

/// Prints for people.
fn print(agent: Option<&VersionResponse>, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "Client Version: v{OWN}")?;
    let Some(agent) = agent else { return Ok(()) };
    writeln!(out, "Agent Version: v{}", agent.version.trim_start_matches('v'))?;
    writeln!(out, "Node: {}", agent.node)?;
    let containerd = agent.containerd.as_str();
    writeln!(
        out,
        "containerd: {}",
        if containerd.is_empty() { "not reachable" } else { containerd }
    )
}
