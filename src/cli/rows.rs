//! One row of `get` for each kind.

use anyhow::Context as _;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    daemon_set_row, event_row, history_row, node_row, object_row, pod_row, resource::Kind,
};

/// A column's header and whether only `-o wide` shows it.
pub type Column = (&'static str, bool);

/// The columns of a kind.
pub fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::DaemonSet => &daemon_set_row::COLUMNS,
        Kind::Pod => &pod_row::COLUMNS,
        Kind::Node => &node_row::COLUMNS,
        Kind::Event => &event_row::COLUMNS,
        Kind::Revision => &history_row::COLUMNS,
        Kind::ConfigMap => &object_row::CONFIG_MAP,
        Kind::Secret => &object_row::SECRET,
    }
}

/// The cells of an object, one for each column of its kind.
pub fn cells(kind: Kind, object: &Value, now: Timestamp) -> anyhow::Result<Vec<String>> {
    Ok(match kind {
        Kind::DaemonSet => daemon_set_row::cells(&typed(object)?, now),
        Kind::Pod => pod_row::cells(&typed(object)?, now),
        Kind::Node => node_row::cells(&typed(object)?, now),
        Kind::Event => event_row::cells(&typed(object)?, now),
        Kind::Revision => history_row::cells(object, now),
        Kind::ConfigMap | Kind::Secret => object_row::cells(kind, object, now),
    })
}

/// The object as its Kubernetes type.
pub fn typed<T: DeserializeOwned>(object: &Value) -> anyhow::Result<T> {
    // By value: code that reads Kubernetes' types by reference would be there for this alone, and it is large.
    serde_json::from_value(object.clone()).context("read an object of the agent's answer")
}
