//! Every manifest that a vendor published runs here as far as it can without an API server.
//!
//! The vendors' programs are not on this machine. A stand-in takes their place, by as few rules as go:
//!
//! 1. Every image has the name that the manifest gives it (without a digest), and holds busybox and the stand-in.
//! 2. A container's command is put behind the stand-in, which stays, or ends at once in an init container; `args` and environment are
//!    the vendor's own. So are the commands of exec probes and hooks, which then succeed.
//! 3. A path of the host that is not there or could be written to lies below the test's own directory; `/dev`, `/proc` and `/sys` stay.
//! 4. Ports are free ones. The stand-in serves them, and the pages that probes ask for; a probe asks it by plain HTTP at the pod's
//!    address, and by TCP in place of gRPC, without a delay and each second.
//! 5. `ConfigMap`s and `Secret`s that the file does not hold, or holds empty, come from `objectsDir`, and seccomp profiles from their directory, as an
//!    operator would give them.
//! 6. The node has the labels of each `nodeSelector`.
//! 7. A field that Kubernetes does not know is warned of, for one of the files has one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use serde_json::{Value, json};

use crate::support::leaks::share;
use crate::support::manifest::{documents, published};
use crate::support::pod::Pod;
use crate::support::stand_in::StandIn;
use crate::support::{Host, on_host};

/// How many sets run at the same time.
const AT_ONCE: usize = 4;

/// The set whose init container copies a directory out of the vendor's image, in which another volume is then mounted read-only.
const NEEDS_ITS_IMAGE: &str = "datadog";

/// A published set that can run.
struct Published {
    /// The file's name.
    file: String,
    /// The set.
    set: Value,
    /// What stands beside it.
    others: Vec<Value>,
}

/// The published sets, in the order of their files.
fn sets() -> Result<Vec<Published>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(published())?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    let mut found = vec![];
    for path in files {
        let (sets, others): (Vec<_>, Vec<_>) =
            documents(&path)?.into_iter().partition(|document| document["kind"] == "DaemonSet");
        let file = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        found.extend(sets.into_iter().map(|set| Published {
            file: file.clone(),
            set,
            others: others.clone(),
        }));
    }
    Ok(found)
}

/// What `podward validate` makes of a set: the word, and each fault and refused field.
fn verdict(host: &Host, set: &Value) -> Result<(String, Vec<String>)> {
    let file = host.path("set.json");
    fs::write(&file, set.to_string())?;
    let output = host.run(&[
        "validate",
        "-f",
        &file.display().to_string(),
        "--validate",
        "Warn",
        "-o",
        "json",
    ])?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let document = &report["files"][0]["documents"][0];
    let faults = document["faults"].as_array().into_iter().flatten();
    let fields = document["fields"].as_array().into_iter().flatten();
    let refused = fields.filter(|field| field["support"] == "refused");
    let reasons = faults.chain(refused).map(|one| format!("{}: {}", one["path"], one["reason"]));
    Ok((document["verdict"].as_str().context("a verdict")?.to_owned(), reasons.collect()))
}

/// A set's name.
fn name(set: &Value) -> &str {
    set["metadata"]["name"].as_str().unwrap_or_default()
}

/// Gives the node every label that a `nodeSelector` asks for, and lets unknown fields pass.
fn prepare(host: &mut Host, sets: &[Published]) -> Result<()> {
    let mut labels = json!({});
    for published in sets {
        let wanted = &published.set["spec"]["template"]["spec"]["nodeSelector"];
        for (key, value) in wanted.as_object().into_iter().flatten() {
            labels[key] = value.clone();
        }
    }
    host.configure("fieldValidation", json!("Warn"))?;
    host.describe_node(&labels, &json!([]))
}

/// A `ConfigMap` or `Secret` that a set cannot do without: its kind's folder, its name and the keys that are asked for.
type Wanted = (&'static str, String, Vec<String>);

/// Adds what a part of a set refers to.
fn references(part: &Value, found: &mut Vec<Wanted>) {
    for (field, value) in part.as_object().into_iter().flatten() {
        let folder = match field.as_str() {
            "configMapKeyRef" | "configMapRef" | "configMap" => "configmaps",
            "secretKeyRef" | "secretRef" | "secret" => "secrets",
            _ => {
                references(value, found);
                continue;
            }
        };
        let name = value["name"].as_str().or(value["secretName"].as_str());
        let items = value["items"].as_array().into_iter().flatten().map(|item| &item["key"]);
        let keys = items.chain([&value["key"]]).filter_map(Value::as_str).map(str::to_owned);
        if let Some(name) = name.filter(|_| value["optional"] != true) {
            found.push((folder, name.to_owned(), keys.collect()));
        }
    }
    part.as_array().into_iter().flatten().for_each(|item| references(item, found));
}

/// Lays the objects that a set refers to and its file does not hold into the operator's directory, for root alone.
fn give_objects(host: &Host, published: &Published) -> Result<()> {
    let mut wanted = vec![];
    references(&published.set["spec"]["template"]["spec"], &mut wanted);
    let namespace = published.set["metadata"]["namespace"].as_str().unwrap_or("default");
    for (folder, name, keys) in wanted {
        let kind = if folder == "secrets" { "Secret" } else { "ConfigMap" };
        let held = published.others.iter().any(|other| {
            let place = other["metadata"]["namespace"].as_str().unwrap_or("default");
            let same = other["kind"] == kind && other["metadata"]["name"] == name.as_str();
            same && place == namespace && !is_hollow(other)
        });
        if held {
            continue;
        }
        let above = host.path("objects").join(namespace).join(folder);
        let dir = above.join(name);
        fs::create_dir_all(&dir)?;
        for dir in [&above, &dir] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        }
        let keys = if keys.is_empty() { vec!["key".to_owned()] } else { keys };
        for key in keys {
            fs::write(dir.join(&key), "given")?;
            fs::set_permissions(dir.join(&key), fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// Whether a document is a `Secret` that somebody else is to fill.
fn is_hollow(document: &Value) -> bool {
    let filled = ["data", "stringData"]
        .iter()
        .any(|part| document[*part].as_object().is_some_and(|keys| !keys.is_empty()));
    document["kind"] == "Secret" && !filled
}

/// Lays every seccomp profile that a set names, which lets all calls pass, where the operator would put it.
fn give_profiles(host: &Host, part: &Value) -> Result<()> {
    if let Some(name) = part["seccompProfile"]["localhostProfile"].as_str() {
        let file = host.path("state/seccomp").join(name);
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::write(file, r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#)?;
    }
    let fields = part.as_object().into_iter().flatten().map(|(_, value)| value);
    fields
        .chain(part.as_array().into_iter().flatten())
        .try_for_each(|part| give_profiles(host, part))
}

/// Whether a set belongs on this node.
fn belongs_here(host: &Host, set: &Value) -> Result<bool> {
    let namespace = set["metadata"]["namespace"].as_str().unwrap_or("default");
    let set = format!("ds/{}", name(set));
    let why: Value =
        serde_json::from_str(&host.podward(&["why", &set, "-n", namespace, "-o", "json"])?)?;
    Ok(why["shouldRun"] == true)
}

/// Runs sets a few at a time until each is ready; returns the names of those that belong on other nodes.
fn run_all(host: &mut Host, sets: &[(&Published, StandIn)]) -> Result<Vec<String>> {
    let mut elsewhere = vec![];
    for some in sets.chunks(AT_ONCE) {
        for (number, (published, stand_in)) in some.iter().enumerate() {
            give_objects(host, published)?;
            give_profiles(host, &published.set)?;
            let image = host.path("state/images").join(format!("{}-{number}.tar", published.file));
            stand_in.write_images(&image)?;
            let beside = published.others.iter().filter(|other| !is_hollow(other));
            let beside = beside.map(Value::to_string);
            let documents: Vec<String> = beside.chain([stand_in.set.to_string()]).collect();
            host.write(&format!("{number}.yaml"), &documents.join("\n---\n"))?;
        }
        host.run(&["sync"])?;
        for (published, stand_in) in some {
            if belongs_here(host, &stand_in.set)? {
                host.until_pod(name(&stand_in.set), "running and ready", |pod| {
                    pod.running() && pod.ready()
                })
                .with_context(|| published.file.clone())?;
            } else {
                elsewhere.push(name(&stand_in.set).to_owned());
            }
        }
        for number in 0..some.len() {
            host.remove(&format!("{number}.yaml"))?;
        }
        for (published, stand_in) in some {
            host.gone(name(&stand_in.set)).with_context(|| published.file.clone())?;
        }
    }
    Ok(elsewhere)
}

/// Runs every published set that is on the host's network, or, with that lent, every other one. Refused are those that ask outright
/// for a token of an API server.
fn run_published(lend: bool, refused: &[&str], elsewhere: &[&str]) -> Result<()> {
    let sets = sets()?;
    on_host(|host| {
        let root = host.path("host");
        share(&root)?;
        prepare(host, &sets)?;
        let (mut able, mut unable) = (vec![], BTreeMap::new());
        for published in &sets {
            if (published.set["spec"]["template"]["spec"]["hostNetwork"] == true) == lend {
                continue;
            }
            let mut stand_in = StandIn::of(&published.set, &root)?;
            if lend {
                stand_in.lend_network();
            }
            let (verdict, reasons) = verdict(host, &stand_in.set)?;
            if verdict == "accepted" && name(&published.set) == NEEDS_ITS_IMAGE {
                continue;
            }
            if verdict == "accepted" {
                able.push((published, stand_in));
            } else {
                unable.insert(name(&published.set).to_owned(), reasons);
            }
        }
        let names: Vec<&str> = unable.keys().map(String::as_str).collect();
        assert_eq!(names, refused, "{unable:#?}");
        assert_eq!(run_all(host, &able)?, elsewhere);
        Ok(umount2(&root, MntFlags::MNT_DETACH)?)
    })
}

#[test]
fn each_published_set_on_the_hosts_network_runs_and_is_ready() -> Result<()> {
    run_published(false, &["spire-agent"], &[])
}

#[test]
fn each_other_published_set_runs_and_is_ready_once_it_is_lent_the_hosts_network() -> Result<()> {
    run_published(true, &["ama-logs"], &["ama-logs-windows"])
}

#[test]
fn each_published_set_with_a_network_of_its_own_says_what_it_waits_for() -> Result<()> {
    let sets = sets()?;
    on_host(|host| {
        prepare(host, &sets)?;
        let mut waiting = vec![];
        for (number, published) in sets.iter().enumerate() {
            let own = published.set["spec"]["template"]["spec"]["hostNetwork"] != true;
            if own && verdict(host, &published.set)?.0 == "accepted" {
                host.write(&format!("{number}.yaml"), &published.set.to_string())?;
                waiting.push(&published.set);
            }
        }
        host.run(&["sync"])?;
        waiting.retain(|set| belongs_here(host, set).unwrap_or_default());
        let waiting: Vec<&str> = waiting.into_iter().map(name).collect();
        assert!(waiting.len() > 15, "{waiting:?}");
        host.until("each to say that it has no network", || {
            let pods = host.pods()?;
            let events = host.objects("events")?;
            let says = |pod: &Pod, set: &str| {
                let told = events.iter().any(|event| {
                    event["reason"] == "NetworkNotReady"
                        && event["involvedObject"]["name"] == pod.name()
                });
                pod.set() == set && pod.phase() == "Pending" && told
            };
            let all = waiting.iter().all(|set| pods.iter().any(|pod| says(pod, set)));
            Ok(all.then_some(()))
        })?;
        assert!(host.containerd.containers()?.is_empty());
        Ok(())
    })
}
