//! `podward delete pod`: stops a pod; its set decides whether another takes its place.

use std::{io::Write, path::Path, process::ExitCode};

use clap::{ArgAction, Args as ClapArgs};
use serde_json::Value;

use crate::agent::handle::Kind;
use crate::agent::wire::DeletePodRequest;

use super::client::{self, Control, Wanted, refusal};
use super::failure::{Failure, Outcome};
use super::namespace::OneNamespace;
use super::resource::{self, Target};

/// What `delete` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// pod NAME... or pod/NAME...
    #[arg(required = true, value_name = "pod NAME")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub namespace: OneNamespace,
    /// Seconds between SIGTERM and SIGKILL, instead of the pod's own
    #[arg(long, value_name = "SECONDS", default_value_t = -1, allow_negative_numbers = true)]
    pub grace_period: i64,
    /// Kill after one second
    #[arg(long, conflicts_with = "grace_period")]
    pub now: bool,
    /// Wait until the pod is gone
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub wait: bool,
}

/// Deletes pods, one after the other.
pub fn run(args: &Args, socket: &Path, out: &mut dyn Write) -> Outcome {
    let names = names(args)?;
    client::converse(async {
        let mut control = client::connect(socket).await?;
        for name in &names {
            delete(&mut control, args, name, out).await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The pods' names.
fn names(args: &Args) -> anyhow::Result<Vec<String>> {
    match resource::targets(&args.targets)?.as_slice() {
        [Target { kind: Kind::Pod, names }] if !names.is_empty() => Ok(names.clone()),
        [Target { kind: Kind::Pod, .. }] => Err(Failure::usage("name the pod to delete", None)),
        _ => Err(Failure::usage(
            "only pods are deleted by name",
            Some("a set goes when its document is removed from its source".to_owned()),
        )),
    }
}

/// Deletes one pod and waits until it is gone.
async fn delete(
    control: &mut Control,
    args: &Args,
    name: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let namespace = args.namespace.namespace.as_str();
    let wanted = Wanted { kind: Kind::Pod, namespace: Some(namespace), name: Some(name) };
    let uids = uids(&client::list(control, &wanted).await?);
    if uids.is_empty() {
        anyhow::bail!("pods {name:?} not found");
    }
    let request = DeletePodRequest {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        grace_period_seconds: if args.now { 1 } else { args.grace_period },
    };
    control.delete_pod(request).await.map_err(|status| refusal(&status))?;
    writeln!(out, "pod {name:?} deleted from {namespace} namespace")?;
    out.flush()?;
    if args.wait {
        let mut lists = client::lists(control, &wanted, true).await?;
        while let Some(pods) = client::next(&mut lists).await? {
            if !self::uids(&pods).iter().any(|uid| uids.contains(uid)) {
                break;
            }
        }
    }
    Ok(())
}

/// The uids of pods.
fn uids(pods: &[Value]) -> Vec<String> {
    let uids = pods.iter().filter_map(|pod| pod.pointer("/metadata/uid")?.as_str());
    uids.map(str::to_owned).collect()
}
