//! Devices by the Container Device Interface: which ones a pod asks for, and what they change in a container.
//!
//! Vendors describe their devices in files; each device, and each vendor's file as a whole, edits the OCI spec.
//! Annotations `cdi.k8s.io/…` of the pod name the devices, and every container of the pod gets them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use oci_spec::runtime::{
    Hook, HookBuilder, Hooks, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, Mount, Spec,
};
use serde::Deserialize;

use super::fault::StartFault;
use super::sandbox::{DeviceKind, HostDevice};

/// What annotations that name devices begin with.
const PREFIX: &str = "cdi.k8s.io/";

/// One file of a vendor.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CdiFile {
    /// Vendor and class, such as `vendor.com/gpu`.
    pub kind: String,
    /// Its devices.
    #[serde(default)]
    pub devices: Vec<CdiDevice>,
    /// What every container with any of them gets.
    #[serde(default)]
    pub container_edits: CdiEdits,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CdiDevice {
    /// Its name within its kind.
    pub name: String,
    /// What a container with it gets.
    #[serde(default)]
    pub container_edits: CdiEdits,
}

/// Changes to a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CdiEdits {
    /// Variables, as `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Device nodes.
    #[serde(default)]
    pub device_nodes: Vec<CdiNode>,
    /// Mounts.
    #[serde(default)]
    pub mounts: Vec<CdiMount>,
    /// Hooks of the runtime.
    #[serde(default)]
    pub hooks: Vec<CdiHook>,
    /// Groups of the process.
    #[serde(default, rename = "additionalGids")]
    pub additional_gids: Vec<u32>,
}

/// One device node. What is left out is taken from the node on the host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CdiNode {
    /// Where the container finds it.
    pub path: PathBuf,
    /// Where it is on the host, if elsewhere.
    pub host_path: Option<PathBuf>,
    /// `b`, `c`, `u` or `p`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The major number.
    pub major: Option<i64>,
    /// The minor number.
    pub minor: Option<i64>,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// What the container may do: some of `rwm`.
    pub permissions: Option<String>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

impl CdiNode {
    /// Where it is on the host.
    pub fn source(&self) -> &PathBuf {
        self.host_path.as_ref().unwrap_or(&self.path)
    }
}

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CdiMount {
    /// Where it is on the host.
    pub host_path: PathBuf,
    /// Where the container finds it.
    pub container_path: PathBuf,
    /// The file system's type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its options.
    pub options: Option<Vec<String>>,
}

/// One hook of the runtime.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CdiHook {
    /// When it runs, such as `createContainer`.
    pub hook_name: String,
    /// The program.
    pub path: PathBuf,
    /// Its arguments, its own name first.
    pub args: Option<Vec<String>>,
    /// Its environment.
    pub env: Option<Vec<String>>,
    /// After how many seconds it is ended.
    pub timeout: Option<i64>,
}

/// The devices of one container: what they change, and the host's nodes that the changes name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// The changes, in order.
    pub edits: Vec<CdiEdits>,
    /// The nodes.
    pub nodes: Vec<HostDevice>,
}

/// The devices that a pod asks for, each once, in the order of its annotations.
pub fn wanted(annotations: Option<&BTreeMap<String, String>>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let named = annotations.into_iter().flatten().filter(|(key, _)| key.starts_with(PREFIX));
    named
        .flat_map(|(_, value)| value.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty() && seen.insert(name.clone()))
        .collect()
}

/// What the devices change, in order: each file's own part comes once, before the first of its devices. The error
/// is the name of a device that no file describes. Of two files with the same device the later one counts.
pub fn edits(wanted: &[String], files: &[CdiFile]) -> Result<Vec<CdiEdits>, String> {
    let (mut all, mut used) = (Vec::new(), BTreeSet::new());
    for name in wanted {
        let (kind, device) = name.split_once('=').ok_or(name.as_str())?;
        let found = files.iter().enumerate().rev().find_map(|(place, file)| {
            let own = file.devices.iter().find(|own| file.kind == kind && own.name == device)?;
            Some((place, file, own))
        });
        let (place, file, device) = found.ok_or(name.as_str())?;
        if used.insert(place) {
            all.push(file.container_edits.clone());
        }
        all.push(device.container_edits.clone());
    }
    Ok(all)
}

/// Lays the changes of devices over a container's spec.
pub fn apply(spec: &mut Spec, devices: &Devices) -> Result<(), StartFault> {
    let nodes = &devices.nodes;
    if devices.edits.is_empty() {
        return Ok(());
    }
    for edit in &devices.edits {
        processes(spec, edit);
        for node in &edit.device_nodes {
            device(spec, node, nodes)?;
        }
        let mounts = spec.mounts_mut().get_or_insert_default();
        for mount in &edit.mounts {
            mounts.retain(|known| *known.destination() != mount.container_path);
            mounts.push(bind(mount));
        }
        for wanted in &edit.hooks {
            hook(spec, wanted)?;
        }
    }
    if let Some(mounts) = spec.mounts_mut() {
        // Stable: a mount never covers one that lies below it.
        mounts.sort_by_key(|mount| mount.destination().components().count());
    }
    Ok(())
}

/// Variables and groups; a variable replaces one of the same name.
fn processes(spec: &mut Spec, edit: &CdiEdits) {
    let Some(process) = spec.process_mut() else { return };
    let env = process.env_mut().get_or_insert_default();
    for entry in &edit.env {
        let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
        env.retain(|known| known.split_once('=').map_or(known.as_str(), |(name, _)| name) != name);
        env.push(entry.clone());
    }
    let user = process.user_mut();
    let mut gids = user.additional_gids().clone().unwrap_or_default();
    // The root group is never given away, as the interface's own library has it.
    for gid in edit.additional_gids.iter().filter(|gid| **gid != 0) {
        if !gids.contains(gid) {
            gids.push(*gid);
        }
    }
    user.set_additional_gids(Some(gids));
}

/// A device node and the leave to use it.
fn device(spec: &mut Spec, node: &CdiNode, nodes: &[HostDevice]) -> Result<(), StartFault> {
    let there = nodes.iter().find(|known| known.path == *node.source());
    let missing = || {
        StartFault::create(format!("CDI device node {}: not on this host", node.source().display()))
    };
    let kind = match node.kind.as_deref() {
        Some("b") => LinuxDeviceType::B,
        Some("c") => LinuxDeviceType::C,
        Some("u") => LinuxDeviceType::U,
        Some("p") => LinuxDeviceType::P,
        _ => match there.ok_or_else(missing)?.kind {
            DeviceKind::Block => LinuxDeviceType::B,
            DeviceKind::Character => LinuxDeviceType::C,
        },
    };
    let number = |own: Option<i64>, theirs: fn(&HostDevice) -> u32| match own.filter(|n| *n != 0) {
        Some(number) => Ok(number),
        None => there.map(|there| theirs(there).into()).ok_or_else(missing),
    };
    let (major, minor) = match kind {
        LinuxDeviceType::P => (0, 0),
        _ => (number(node.major, |d| d.major)?, number(node.minor, |d| d.minor)?),
    };
    let user = spec.process().as_ref().map(|process| (process.user().uid(), process.user().gid()));
    let (uid, gid) = user.unwrap_or_default();
    let mut entry = LinuxDevice::default();
    entry
        .set_path(node.path.clone())
        .set_typ(kind)
        .set_major(major)
        .set_minor(minor)
        .set_file_mode(node.file_mode.or(there.map(|there| there.mode)))
        .set_uid(node.uid.or(Some(uid)))
        .set_gid(node.gid.or(Some(gid)));
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(true)
        .set_typ(Some(kind))
        .set_major(Some(major))
        .set_minor(Some(minor))
        .set_access(Some(node.permissions.clone().unwrap_or_else(|| "rwm".into())));
    let Some(linux) = spec.linux_mut() else { return Ok(()) };
    let devices = linux.devices_mut().get_or_insert_default();
    devices.retain(|known| *known.path() != node.path);
    devices.push(entry);
    if kind != LinuxDeviceType::P
        && let Some(resources) = linux.resources_mut()
    {
        resources.devices_mut().get_or_insert_default().push(rule);
    }
    Ok(())
}

/// A mount as the runtime takes it.
fn bind(wanted: &CdiMount) -> Mount {
    let mut mount = Mount::default();
    let options = || ["ro", "nosuid", "nodev", "bind"].map(str::to_owned).to_vec();
    mount
        .set_destination(wanted.container_path.clone())
        .set_source(Some(wanted.host_path.clone()))
        .set_typ(wanted.kind.clone().or_else(|| Some("bind".into())))
        .set_options(Some(wanted.options.clone().unwrap_or_else(options)));
    mount
}

/// A hook at its place.
fn hook(spec: &mut Spec, wanted: &CdiHook) -> Result<(), StartFault> {
    let mut builder = HookBuilder::default().path(wanted.path.clone());
    if let Some(args) = &wanted.args {
        builder = builder.args(args.clone());
    }
    if let Some(env) = &wanted.env {
        builder = builder.env(env.clone());
    }
    if let Some(timeout) = wanted.timeout {
        builder = builder.timeout(timeout);
    }
    let unfit =
        |error: String| StartFault::create(format!("CDI hook {}: {error}", wanted.hook_name));
    let made = builder.build().map_err(|error| unfit(error.to_string()))?;
    let mut hooks = spec.hooks().clone().unwrap_or_default();
    let list = place(&mut hooks, &wanted.hook_name).ok_or_else(|| unfit("no such hook".into()))?;
    list.get_or_insert_default().push(made);
    spec.set_hooks(Some(hooks));
    Ok(())
}

/// The list of the hooks of one moment.
fn place<'a>(hooks: &'a mut Hooks, name: &str) -> Option<&'a mut Option<Vec<Hook>>> {
    match name {
        // `prestart` is how old files say `createRuntime`.
        "createRuntime" | "prestart" => Some(hooks.create_runtime_mut()),
        "createContainer" => Some(hooks.create_container_mut()),
        "startContainer" => Some(hooks.start_container_mut()),
        "poststart" => Some(hooks.poststart_mut()),
        "poststop" => Some(hooks.poststop_mut()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
