//! `podward delete`: sets, ConfigMaps, Secrets and nodes out of the fleet; pods, so that their sets decide whether others
//! take their places.

use std::{io::Write, process::ExitCode, time::Duration};

use clap::{ArgAction, Args as ClapArgs};
use serde_json::Value;

use crate::agent::wire::DeletePodRequest;
use crate::base::{ids::SetKey, time};
use crate::fleet::{merge3::generation, records::Tombstone};
use crate::spec::{FieldValidation, ObjectKind};
use crate::store::{Op, Range, Txn};

use super::client::{self, Control, Wanted, refusal};
use super::desk::{Desk, Place, ending};
use super::failure::{Failure, Outcome};
use super::manifests::{self, Files};
use super::namespace::OneNamespace;
use super::resource::{self, Kind, Target};
use super::{Globals, delete_node, delete_pod, duration, store_client, wait_gone};

/// What `delete` is asked for.
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the command line")]
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// TYPE NAME... or TYPE/NAME...; types: daemonsets (ds), configmaps (cm), secrets, pods (po), nodes (no)
    #[arg(value_name = "TYPE NAME")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub namespace: OneNamespace,
    /// Seconds between SIGTERM and SIGKILL of a pod, instead of its own
    #[arg(long, value_name = "SECONDS", default_value_t = -1, allow_negative_numbers = true)]
    pub grace_period: i64,
    /// Kill after one second
    #[arg(long, conflicts_with = "grace_period")]
    pub now: bool,
    /// Wait until the pods are gone
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub wait: bool,
    /// How long to wait; 0 for as long as it takes
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "0")]
    pub timeout: Duration,
    /// What is not there is no failure
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Delete a node although it is alive
    #[arg(long)]
    pub force: bool,
}

impl Args {
    /// Seconds between SIGTERM and SIGKILL; negative for the pod's own.
    pub fn grace(&self) -> i64 {
        if self.now { 1 } else { self.grace_period }
    }
}

/// Deletes one after the other; what fails does not keep the rest.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let targets = targets(args)?;
    let settings = globals.settings_to_ask()?;
    let shared = !globals.local && store_client::connection(&settings).is_some();
    let pods = matches!(targets.as_slice(), [target] if target.kind == Kind::Pod);
    if globals.local && !pods {
        let hint =
            "leave --local out; on this host, a set goes when its document leaves its source";
        return Err(Failure::usage("with --local only pods are deleted", Some(hint.to_owned())));
    }
    client::converse(async {
        if pods && !shared {
            let mut control = client::connect(&globals.control_socket()).await?;
            for name in &targets[0].names {
                local_pod(&mut control, args, name, out).await?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let desk = Desk::open(globals).await?;
        let mut failed = None;
        for (kind, namespace, name) in each(args, &targets, err)? {
            let place = |kind| Place::object(kind, &namespace, &name);
            let done = match kind {
                Kind::Pod => delete_pod::run(&desk, args, &namespace, &name, (out, err)).await,
                Kind::Node => delete_node::run(&desk, args, &name, out).await,
                Kind::ConfigMap => {
                    delete(&desk, args, &place(ObjectKind::ConfigMap), (out, err)).await
                }
                Kind::Secret => delete(&desk, args, &place(ObjectKind::Secret), (out, err)).await,
                _ => {
                    let set = Place::Set(SetKey::new(&namespace, &name));
                    delete(&desk, args, &set, (out, err)).await
                }
            };
            if let Err(error) = done
                && let Some(before) = failed.replace(error)
            {
                writeln!(err, "error: {before:#}")?;
            }
        }
        ending(failed)
    })
}

/// The kinds and names of the command line.
fn targets(args: &Args) -> anyhow::Result<Vec<Target>> {
    let refuse = |message: &str, hint: &str| Err(Failure::usage(message, Some(hint.to_owned())));
    match (args.targets.is_empty(), args.files.files.is_empty()) {
        (true, true) => {
            return refuse(
                "name what to delete",
                "such as `delete ds web` or `delete -f set.yaml`",
            );
        }
        (false, false) => return refuse("names and -f do not go together", "give one of them"),
        (true, false) => return Ok(Vec::new()),
        (false, true) => {}
    }
    let targets = resource::targets(&args.targets)?;
    for target in &targets {
        if target.names.is_empty() {
            let kind = resource::singular(target.kind);
            return refuse(
                &format!("name the {kind} to delete"),
                "everything of a type is never deleted",
            );
        }
        if matches!(target.kind, Kind::Event | Kind::Revision) {
            return refuse(
                "events and revisions go by themselves",
                "delete the set they belong to",
            );
        }
    }
    Ok(targets)
}

/// Each thing to delete: kind, namespace, name; sets before the objects that they take from.
fn each(
    args: &Args,
    targets: &[Target],
    err: &mut dyn Write,
) -> anyhow::Result<Vec<(Kind, String, String)>> {
    if args.files.files.is_empty() {
        let namespace = &args.namespace.namespace;
        let named = targets.iter().flat_map(|target| {
            target.names.iter().map(|name| (target.kind, namespace.clone(), name.clone()))
        });
        return Ok(named.collect());
    }
    let namespace = (args.namespace.namespace != "default").then_some(&*args.namespace.namespace);
    // What is to go need not be without fault.
    let manifests = manifests::read(&args.files, namespace, FieldValidation::Ignore, err)?;
    let described = manifests.iter().rev().map(|manifest| match &manifest.place {
        Place::Set(set) => (Kind::DaemonSet, set.namespace.clone(), set.name.clone()),
        Place::Object(object) => {
            let kind = match object.kind {
                ObjectKind::ConfigMap => Kind::ConfigMap,
                ObjectKind::Secret => Kind::Secret,
            };
            (kind, object.namespace.clone(), object.name.clone())
        }
    });
    Ok(described.collect())
}

/// Deletes a set or an object: its tombstone, its key and its history in one transaction.
async fn delete(
    desk: &Desk,
    args: &Args,
    place: &Place,
    (out, err): (&mut dyn Write, &mut dyn Write),
) -> anyhow::Result<()> {
    let keys = desk.keys();
    for attempt in 0.. {
        let standing = desk.standing(place).await?;
        let left = left_on_nodes(desk, place).await?;
        let (pods, seen) = (left.pods, left.generation);
        let missing = standing.live.is_none()
            && pods == 0
            && (standing.tombstone.is_some() || left.members == 0);
        if missing {
            if args.ignore_not_found {
                return Ok(());
            }
            anyhow::bail!("{} not found in namespace {:?}", place.quoted(), place.namespace());
        }
        // What is deleted already is not deleted again; that pods are left of it is worth waiting for.
        let again = standing.live.is_none() && standing.tombstone.is_some();
        let live = standing.live.as_ref();
        let uid = live.and_then(|live| live["metadata"]["uid"].as_str()).unwrap_or(&left.uid);
        let before = live.map_or(0, generation).max(seen).max(standing.buried());
        let tombstone = Tombstone {
            name: place.buried_as(),
            uid: uid.to_owned(),
            generation: before + 1,
            deleted: time::now().wall,
            grace_period_seconds: None,
        };
        let mut then = vec![
            desk.put(place.tombstone(keys), &serde_json::to_value(&tombstone)?, 0)?,
            Op::Delete(Range::key(place.key(keys))),
        ];
        if let Place::Set(set) = place {
            // What failed of this set says nothing of the next one of its name.
            let below = [keys.revisions(set), keys.gates(set), keys.queue_marks(set)];
            then.extend(below.map(|below| Op::Delete(Range::prefix(below))));
        }
        let txn = Txn { when: standing.unchanged(keys), then, otherwise: Vec::new() };
        if again || desk.commit(&txn).await? {
            break;
        }
        desk.after_conflict(attempt, &place.shown()).await?;
    }
    writeln!(out, "{} deleted from {} namespace", named(place), place.namespace())?;
    out.flush()?;
    let Place::Set(set) = place else { return Ok(()) };
    if !args.wait {
        return Ok(());
    }
    let owned = |pod: &Value| owned(pod, set);
    let namespace = Some(set.namespace.clone());
    wait_gone::pods(desk, namespace, &owned, (&place.shown(), args.timeout), err).await
}

/// kubectl's words for what was deleted.
fn named(place: &Place) -> String {
    match place {
        Place::Set(set) => format!("daemonset.apps {:?}", set.name),
        Place::Object(object) => format!("{} {:?}", object.kind, object.name),
    }
}

/// What nodes still have of a set.
#[derive(Debug, Default)]
struct Left {
    /// How many pods.
    pods: usize,
    /// How many nodes know it.
    members: usize,
    /// Its uid, as they say.
    uid: String,
    /// The highest generation that one of them has seen.
    generation: i64,
}

/// Asks what nodes still have of a set. Of other objects they say nothing.
async fn left_on_nodes(desk: &Desk, place: &Place) -> anyhow::Result<Left> {
    let Place::Set(set) = place else { return Ok(Left::default()) };
    let keys = desk.keys();
    let kvs = desk.read(&[Range::prefix(keys.members(set)), Range::prefix(keys.pods())]).await?;
    let mut left = Left::default();
    for kv in kvs {
        let Ok(value) = serde_json::from_slice::<Value>(&kv.value) else { continue };
        if kv.key.starts_with(&keys.pods()) {
            left.pods += usize::from(owned(&value, set));
        } else {
            left.members += 1;
            value["uid"].as_str().unwrap_or_default().clone_into(&mut left.uid);
            let seen = value["status"]["observedGeneration"].as_i64().unwrap_or(0);
            left.generation = left.generation.max(seen);
        }
    }
    Ok(left)
}

/// Whether a pod belongs to a set of this name.
fn owned(pod: &Value, set: &SetKey) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    pod["metadata"]["namespace"] == set.namespace.as_str()
        && owners
            .into_iter()
            .flatten()
            .any(|owner| owner["kind"] == "DaemonSet" && owner["name"] == set.name.as_str())
}

/// Deletes one pod of this host and waits until it is gone.
async fn local_pod(
    control: &mut Control,
    args: &Args,
    name: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let namespace = args.namespace.namespace.as_str();
    let wanted = Wanted { kind: Kind::Pod, namespace: Some(namespace), name: Some(name) };
    let uids = uids(&client::list(control, &wanted).await?);
    if uids.is_empty() {
        if args.ignore_not_found {
            return Ok(());
        }
        anyhow::bail!("pods {name:?} not found");
    }
    let request = DeletePodRequest {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        grace_period_seconds: args.grace(),
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
