//! `podward describe`: one object with all that belongs to it.

use std::{io::Write, process::ExitCode};

use clap::Args as ClapArgs;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::Value;

use crate::base::time;
use crate::fleet::rollout_summary::Summary;

use super::Globals;
use super::backend::Backend;
use super::client::{self, Wanted};
use super::failure::{self, Failure, Outcome};
use super::namespace::OneNamespace;
use super::page::Page;
use super::resource::{self, Kind, Target};
use super::rows::typed;
use super::{describe_node, describe_pod, describe_rollout, describe_set, view};

/// What `describe` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// TYPE [NAME...] or TYPE/NAME...; types: daemonsets (ds), pods (po), nodes (no)
    #[arg(required = true, value_name = "TYPE")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub namespace: OneNamespace,
    /// Only objects whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
}

/// Everything else that is known, as far as descriptions need it.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The pods.
    pub pods: Vec<Pod>,
    /// The events.
    pub events: Vec<Event>,
    /// The turns of nodes: node, set and how the turn goes; once they were asked for.
    pub turns: Option<Vec<[String; 3]>>,
}

impl Surroundings {
    /// Asks for it.
    async fn ask(backend: &mut Backend) -> anyhow::Result<Self> {
        let everything = |kind| Wanted { kind, namespace: None, name: None };
        let pods = backend.list(&everything(Kind::Pod)).await?;
        let events = backend.list(&everything(Kind::Event)).await?;
        Ok(Self {
            pods: pods.iter().map(typed).collect::<anyhow::Result<_>>()?,
            events: events.iter().map(typed).collect::<anyhow::Result<_>>()?,
            turns: None,
        })
    }

    /// The events of one object.
    pub fn events_of(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Vec<Event> {
        let about = |event: &&Event| {
            let involved = &event.involved_object;
            involved.kind.as_deref() == Some(kind.as_str())
                && involved.name.as_deref() == Some(name)
                && (kind == Kind::Node || involved.namespace.as_deref() == namespace)
        };
        self.events.iter().filter(about).cloned().collect()
    }
}

/// Describes each object asked for.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let targets = resource::targets(&args.targets)?;
    if targets.iter().any(|target| target.kind == Kind::Event) {
        let hint = "`podward get events -o yaml` shows everything that there is to an event";
        return Err(Failure::usage("events have no description", Some(hint.to_owned())));
    }
    if let Some(target) = targets.iter().find(|target| target.kind.only_shared()) {
        let plural = resource::plural(target.kind);
        let hint = format!("`podward get {plural} -o yaml` shows everything");
        return Err(Failure::usage(format!("{plural} have no description"), Some(hint)));
    }
    let selector = failure::selector(args.selector.as_deref())?;
    client::converse(async {
        let mut backend = Backend::open(globals, err).await?;
        let mut around = Surroundings::ask(&mut backend).await?;
        let mut pages = Vec::new();
        let mut missing = None;
        for target in &targets {
            let objects = found(&mut backend, args, target).await?;
            for name in &target.names {
                if !objects.iter().any(|object| is(object, name)) {
                    missing = Some(format!("{} {name:?} not found", resource::plural(target.kind)));
                }
            }
            for object in objects.iter().filter(|object| selector.selects(&view::labels(object))) {
                let now = time::now().wall;
                let rollout = match target.kind {
                    Kind::DaemonSet => describe_rollout::of_set(&backend, object, now).await?,
                    _ => Summary::new(),
                };
                if target.kind == Kind::Node && around.turns.is_none() {
                    around.turns = Some(describe_rollout::turns(&backend, now).await?);
                }
                pages.push(page(target.kind, object, &around, &rollout, now)?);
            }
        }
        for (index, page) in pages.iter().enumerate() {
            if index > 0 {
                writeln!(out, "\n")?;
            }
            page.print(out)?;
        }
        match missing {
            Some(missing) => Err(anyhow::Error::msg(missing)),
            None if pages.is_empty() => anyhow::bail!("no resources found"),
            None => Ok(ExitCode::SUCCESS),
        }
    })
}

/// The objects that a target names.
async fn found(backend: &mut Backend, args: &Args, target: &Target) -> anyhow::Result<Vec<Value>> {
    let namespace = Some(args.namespace.namespace.as_str());
    let namespace = namespace.filter(|_| resource::namespaced(target.kind));
    let wanted = Wanted { kind: target.kind, namespace, name: None };
    let objects = backend.list(&wanted).await?;
    let named = |object: &Value| target.names.iter().any(|name| is(object, name));
    Ok(objects.into_iter().filter(|object| target.names.is_empty() || named(object)).collect())
}

/// Whether an object has this name.
fn is(object: &Value, name: &str) -> bool {
    object.pointer("/metadata/name").and_then(Value::as_str) == Some(name)
}

/// The page of one object.
fn page(
    kind: Kind,
    object: &Value,
    around: &Surroundings,
    rollout: &Summary,
    now: Timestamp,
) -> anyhow::Result<Page> {
    Ok(match kind {
        Kind::DaemonSet => describe_set::page(&typed::<DaemonSet>(object)?, around, rollout, now),
        Kind::Pod => describe_pod::page(&typed(object)?, around, now),
        Kind::Node => describe_node::page(&typed(object)?, around, now),
        Kind::Event | Kind::Revision | Kind::ConfigMap | Kind::Secret => Page::default(),
    })
}
