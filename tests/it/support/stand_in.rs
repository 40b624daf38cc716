//! Stand-ins for vendors' programs: what a published manifest needs so that it can run on a machine that has none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::image::{self, File};

/// Where the program lies in the image.
const PROGRAM: &str = "/stand-in";
/// The program: `end` succeeds at once, and `stay` listens on `STAND_IN_PORTS` and stays until it is asked to go.
/// Whatever words follow are the vendor's own.
const SCRIPT: &str = r#"#!/bin/sh
echo "instead of: $*"
[ "$1" = end ] && exit 0
trap 'exit 0' TERM
for port in $STAND_IN_PORTS; do httpd -p "$port" -h /www; done
while :; do sleep 1000 & wait $!; done
"#;

/// A vendor's set on its way to something that runs here.
#[derive(Debug)]
pub(crate) struct StandIn {
    /// The set.
    pub(crate) set: Value,
    /// The vendor's ports, and those that are free here.
    ports: BTreeMap<u64, u16>,
    /// Paths that its HTTP probes and hooks ask for.
    pages: Vec<String>,
    /// Its images.
    images: Vec<String>,
    /// Ports that one of its containers serves already.
    served: BTreeSet<u16>,
}

impl StandIn {
    /// Takes a set's vendor out of it; what it keeps on the host goes below `root`.
    pub(crate) fn of(set: &Value, root: &Path) -> Result<Self> {
        let mut made = Self {
            set: set.clone(),
            ports: BTreeMap::new(),
            pages: vec![],
            images: vec![],
            served: BTreeSet::new(),
        };
        let mut spec = made.set["spec"]["template"]["spec"].take();
        Self::host_paths(&mut spec, root)?;
        for (kind, word) in [("initContainers", "end"), ("containers", "stay")] {
            for container in list(&mut spec, kind) {
                // A sidecar stays as the others do.
                let word = if container["restartPolicy"] == "Always" { "stay" } else { word };
                made.container(container, word)?;
            }
        }
        made.set["spec"]["template"]["spec"] = spec;
        Ok(made)
    }

    /// Lends it the host's network.
    pub(crate) fn lend_network(&mut self) {
        self.set["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    }

    /// Writes one image under all names that the set knows its vendor's by.
    pub(crate) fn write_images(&self, archive: &Path) -> Result<()> {
        let mut files = vec![File { path: PROGRAM.into(), mode: 0o755, bytes: SCRIPT.into() }];
        for page in &self.pages {
            let page = page.split('?').next().unwrap_or_default();
            let index = if page.ends_with('/') { "index.html" } else { "" };
            files.push(File {
                path: format!("/www{page}{index}"),
                mode: 0o644,
                bytes: b"ok\n".into(),
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        let names: BTreeSet<&str> = self.images.iter().map(String::as_str).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let config =
            json!({"Env": ["PATH=/bin"], "Entrypoint": [PROGRAM, "stay"], "User": "65532:65532"});
        image::pack(archive, &names, &config, &files)
    }

    /// Lays every path of the host below `root`, but for the kernel's and those that are only read, when they are there.
    fn host_paths(spec: &mut Value, root: &Path) -> Result<()> {
        let containers =
            ["initContainers", "containers"].map(|kind| spec[kind].as_array().cloned());
        let written: Vec<Value> = containers
            .iter()
            .flatten()
            .flatten()
            .flat_map(|container| container["volumeMounts"].as_array().into_iter().flatten())
            .filter(|mount| mount["readOnly"] != true)
            .map(|mount| mount["name"].clone())
            .collect();
        for volume in list(spec, "volumes") {
            let Some(path) = volume["hostPath"]["path"].as_str().map(PathBuf::from) else {
                continue;
            };
            let kind = volume["hostPath"]["type"].as_str().unwrap_or_default();
            let kernels = ["/dev", "/proc", "/sys"].iter().any(|above| path.starts_with(above));
            let read = !written.contains(&volume["name"]);
            if path.exists() && (kernels || read) {
                continue;
            }
            let moved = root.join(path.strip_prefix("/").unwrap_or(&path));
            make(&moved, kind)?;
            volume["hostPath"]["path"] = json!(moved);
        }
        Ok(())
    }

    /// Lets a container run the program, and probes and hooks find it there.
    fn container(&mut self, container: &mut Value, word: &str) -> Result<()> {
        let reference = container["image"].as_str().context("an image")?;
        // A digest names one content only, which nobody here has.
        let reference = reference.split('@').next().unwrap_or_default().to_owned();
        container["image"] = json!(reference);
        self.images.push(full_name(&reference));
        // And no registry has what only this test packs.
        container["imagePullPolicy"] = json!("IfNotPresent");
        if word == "end" || container["command"].is_array() {
            container["command"] = behind(&container["command"], word);
        }
        let mut listens = vec![];
        for port in list(container, "ports") {
            let free = self.port(&port["containerPort"])?;
            if port["protocol"].as_str().unwrap_or("TCP") == "TCP" {
                listens.push(free);
            }
            port["containerPort"] = json!(free);
            if port["hostPort"].is_u64() {
                port["hostPort"] = json!(free);
            }
        }
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
                self.action(probe, &mut listens)?;
                probe["initialDelaySeconds"] = json!(0);
                probe["periodSeconds"] = json!(1);
            }
        }
        for hook in ["postStart", "preStop"] {
            let hook = container.get_mut("lifecycle").and_then(|hooks| hooks.get_mut(hook));
            if let Some(hook) = hook.filter(|hook| hook.is_object()) {
                self.action(hook, &mut listens)?;
            }
        }
        // A port that another container serves is not served twice.
        listens.retain(|port| self.served.insert(*port));
        let ports: Vec<String> = listens.iter().map(ToString::to_string).collect();
        let container = container.as_object_mut().context("a container is an object")?;
        let env = container.entry("env").or_insert_with(|| json!([]));
        if env.is_null() {
            *env = json!([]);
        }
        let env = env.as_array_mut().context("env is a list")?;
        env.push(json!({"name": "STAND_IN_PORTS", "value": ports.join(" ")}));
        Ok(())
    }

    /// Lets a probe or hook ask the program.
    fn action(&mut self, action: &mut Value, listens: &mut Vec<u16>) -> Result<()> {
        let fields = action.as_object_mut().context("an action is an object")?;
        if let Some(grpc) = fields.remove("grpc") {
            // Nothing in busybox speaks gRPC.
            fields.insert("tcpSocket".into(), json!({"port": grpc["port"]}));
        }
        if let Some(exec) = fields.get_mut("exec") {
            exec["command"] = behind(&exec["command"], "end");
        }
        for kind in ["httpGet", "tcpSocket"] {
            let Some(asked) = fields.get_mut(kind).and_then(Value::as_object_mut) else {
                continue;
            };
            asked.remove("host");
            asked.remove("scheme");
            if kind == "httpGet" {
                let page =
                    asked.get("path").and_then(Value::as_str).filter(|path| !path.is_empty());
                self.pages.push(page.unwrap_or("/").to_owned());
            }
            if let Some(port) = asked.get_mut("port").filter(|port| port.is_u64()) {
                let free = self.port(port)?;
                listens.push(free);
                *port = json!(free);
            }
        }
        Ok(())
    }

    /// A free port for one of the vendor's.
    fn port(&mut self, theirs: &Value) -> Result<u16> {
        let theirs = theirs.as_u64().with_context(|| format!("{theirs} is no port"))?;
        if let Some(free) = self.ports.get(&theirs) {
            return Ok(*free);
        }
        let free = TcpListener::bind("0.0.0.0:0")?.local_addr()?.port();
        self.ports.insert(theirs, free);
        Ok(free)
    }
}

/// A command behind the program.
fn behind(command: &Value, word: &str) -> Value {
    let theirs = command.as_array().cloned().unwrap_or_default();
    json!([vec![json!(PROGRAM), json!(word)], theirs].concat())
}

/// The items of a field that is a list; none when it is not there.
fn list<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

/// An image's name as containerd keeps it.
fn full_name(reference: &str) -> String {
    let last = reference.rsplit_once('/').map_or(reference, |(_, last)| last);
    let tagged =
        if last.contains(':') { reference.to_owned() } else { format!("{reference}:latest") };
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => tagged,
        Some(_) => format!("docker.io/{tagged}"),
        None => format!("docker.io/library/{tagged}"),
    }
}

/// Makes what a host that runs such a set would have at a path.
fn make(path: &Path, kind: &str) -> Result<()> {
    let parent = path.parent().context("a path below the root")?;
    fs::create_dir_all(parent)?;
    match kind {
        "File" => fs::write(path, "")?,
        "Socket" => drop(UnixListener::bind(path)?),
        "Directory" => fs::create_dir_all(path)?,
        _ => {}
    }
    Ok(())
}
