//! The downward API: what a pod may know of itself and of its node, by the kubelet's names of fields.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ResourceFieldSelector};

use crate::base::ids::NodeName;
use crate::base::quantity::Amount;

use super::record::PodRecord;
use super::resources::{Side, all_containers, declared};

/// The service account of a pod that names none.
const DEFAULT_ACCOUNT: &str = "default";

/// The node as its pods may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub name: NodeName,
    /// Its addresses, the chief one first.
    pub addresses: Vec<IpAddr>,
    /// Its processors.
    pub cpus: u32,
    /// Its memory in bytes.
    pub memory: u64,
    /// The size of the file system that pods write to, in bytes.
    pub storage: u64,
}

/// A pod and its node, to be asked for fields.
#[derive(Clone, Copy, Debug)]
pub struct Downward<'a> {
    /// The pod.
    pub record: &'a PodRecord,
    /// The node that it runs on.
    pub node: &'a NodeView,
}

impl Downward<'_> {
    /// A field as an environment variable shows it. The error says what is wrong with the field.
    pub fn field(&self, path: &str) -> Result<String, String> {
        let spec = self.record.spec();
        let addresses = || {
            let list: Vec<String> = self.node.addresses.iter().map(ToString::to_string).collect();
            if list.is_empty() {
                return Err(format!(
                    "{path}: host IP unknown: no interface of this host has an address that others \
                     can reach yet"
                ));
            }
            Ok(list)
        };
        match path {
            "spec.nodeName" => Ok(self.node.name.to_string()),
            "spec.serviceAccountName" => {
                let name = spec.service_account_name.as_deref().filter(|name| !name.is_empty());
                Ok(name.unwrap_or(DEFAULT_ACCOUNT).to_owned())
            }
            // A pod on the host's network has the host's addresses; another has none yet.
            "status.podIP" | "status.podIPs" if spec.host_network != Some(true) => {
                Ok(String::new())
            }
            "status.hostIP" | "status.podIP" => Ok(addresses()?.swap_remove(0)),
            "status.hostIPs" | "status.podIPs" => Ok(addresses()?.join(",")),
            "metadata.labels" | "metadata.annotations" => {
                Err(format!("{path}: a whole map fits a volume's file only"))
            }
            _ => self.file_field(path),
        }
    }

    /// A field as a volume's file shows it: metadata only, maps as sorted lines.
    pub fn file_field(&self, path: &str) -> Result<String, String> {
        let record = self.record;
        if let Some((map, key)) = subscript(path) {
            let map = match map {
                "metadata.labels" => record.labels(),
                "metadata.annotations" => record.annotations(),
                _ => return Err(format!("{path}: unsupported fieldPath")),
            };
            return Ok(map.get(key).cloned().unwrap_or_default());
        }
        match path {
            "metadata.name" => Ok(record.name.clone()),
            "metadata.namespace" => Ok(record.set.namespace.clone()),
            "metadata.uid" => Ok(record.uid.to_string()),
            "metadata.labels" => Ok(lines(&record.labels())),
            "metadata.annotations" => Ok(lines(&record.annotations())),
            _ => Err(format!("{path}: unsupported fieldPath")),
        }
    }

    /// An amount of a container, `own` where the selector names none, counted in its divisor.
    pub fn resource(
        &self,
        selector: &ResourceFieldSelector,
        own: Option<&Container>,
    ) -> Result<String, String> {
        let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
        let container = match named {
            Some(name) => all_containers(self.record.spec())
                .find(|container| container.name == name)
                .ok_or_else(|| format!("resourceFieldRef: container {name} not found"))?,
            None => own.ok_or("resourceFieldRef: containerName is missing")?,
        };
        let unknown = || format!("resourceFieldRef: {}: unsupported resource", selector.resource);
        let (side, resource) = selector.resource.split_once('.').ok_or_else(unknown)?;
        let amount = match side {
            "limits" => self.limit(container, resource),
            "requests" => declared(container, Side::Requests, resource),
            _ => return Err(unknown()),
        };
        let divisor = selector.divisor.as_ref().and_then(|text| Amount::parse(&text.0).ok());
        let divisor = divisor.filter(|divisor| !divisor.is_zero());
        // Processors are counted in thousandths, all else in whole units.
        let (count, whole): (fn(Amount) -> i64, i64) =
            if resource == "cpu" { (Amount::milli, 1000) } else { (Amount::value, 1) };
        let amount = i128::from(amount.map_or(0, count));
        let divisor = i128::from(divisor.map_or(whole, count).max(1));
        Ok(((amount + divisor - 1) / divisor).to_string())
    }

    /// A limit; one that is not set is what the node has.
    fn limit(&self, container: &Container, resource: &str) -> Option<Amount> {
        let set = declared(container, Side::Limits, resource);
        let capacity = match resource {
            "cpu" => u64::from(self.node.cpus),
            "memory" => self.node.memory,
            "ephemeral-storage" => self.node.storage,
            // Huge pages are never shared out beyond what was asked for.
            _ => return set,
        };
        let of_node = || Amount::parse(&capacity.to_string()).ok();
        set.filter(|amount| !amount.is_zero()).or_else(of_node)
    }
}

/// Splits `metadata.labels['key']` into map and key.
pub fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    (!map.is_empty() && !key.contains("['")).then_some((map, key))
}

/// A map as the kubelet writes it into a file: sorted, one `key="value"` on each line, none at the end.
fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> =
        map.iter().map(|(key, value)| format!("{key}={}", quote(value))).collect();
    lines.join("\n")
}

/// A text in quotes, as Go's `%q` writes it: what is not printable is escaped.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let _ = match code {
                    0..0x80 => write!(out, "\\x{code:02x}"),
                    0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

/// Whether a character shows: neither a control nor a space other than the plain one.
fn is_printable(c: char) -> bool {
    // Behind another character, combining marks are left as they are.
    c == '\'' || format!("x{c}").escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
pub mod tests;
