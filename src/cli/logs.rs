//! `podward logs`: one container's log.

use std::{io::Write, path::Path, process::ExitCode, time::Duration};

use clap::Args as ClapArgs;
use jiff::Timestamp;

use crate::agent::wire::LogsRequest;
use crate::base::time;

use super::client::{self, refusal};
use super::duration;
use super::failure::Outcome;
use super::namespace::OneNamespace;
use super::resource;

/// What `logs` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The pod
    #[arg(value_name = "POD")]
    pub pod: String,
    #[command(flatten)]
    pub namespace: OneNamespace,
    /// The container; needed when the pod has several
    #[arg(short, long, value_name = "CONTAINER")]
    pub container: Option<String>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub tail: i64,
    /// Only lines younger than this, such as 5s, 2m or 3h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "since_time")]
    pub since: Option<Duration>,
    /// Only lines written at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME")]
    pub since_time: Option<Timestamp>,
    /// The container's previous run
    #[arg(short, long)]
    pub previous: bool,
    /// Begin each line with its time
    #[arg(long)]
    pub timestamps: bool,
}

/// Prints the log.
pub fn run(args: &Args, socket: &Path, out: &mut dyn Write) -> Outcome {
    let request = request(args)?;
    client::converse(async {
        let mut control = client::connect(socket).await?;
        let answer = control.logs(request).await.map_err(|status| refusal(&status))?;
        let mut pieces = answer.into_inner();
        while let Some(piece) = pieces.message().await.map_err(|status| refusal(&status))? {
            out.write_all(&piece.data)?;
            out.flush()?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What to ask the agent for.
fn request(args: &Args) -> anyhow::Result<LogsRequest> {
    let pod = resource::pod(&args.pod, "logs are those of a pod")?;
    let since = match args.since {
        Some(since) => Some(time::now().wall - since),
        None => args.since_time,
    };
    Ok(LogsRequest {
        namespace: args.namespace.namespace.clone(),
        pod,
        container: args.container.clone().unwrap_or_default(),
        follow: args.follow,
        previous: args.previous,
        tail: args.tail,
        since_time: since.map(|since| since.to_string()).unwrap_or_default(),
        timestamps: args.timestamps,
    })
}
