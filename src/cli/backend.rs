//! Where `get` and `describe` look: at the fleet in etcd, or at what the agent on this host knows.

use std::io::Write;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use tonic::Streaming;

use crate::agent::wire::{ListResponse, VersionRequest};
use crate::base::time;
use crate::config::Settings;
use crate::store::{self, Keys, Store};

use super::{
    Globals,
    client::{self, Control, Wanted},
    failure::Failure,
    fleet_view::{FleetView, Wish},
    resource::{self, Kind},
    store_client::{self, Fleet},
};

/// Who answers.
#[derive(Debug)]
pub enum Backend {
    /// The agent on this host.
    Agent(Control),
    /// The shared store.
    Fleet(Box<Fleet>, Box<store::Settings>),
}

/// Lists that go on.
#[derive(Debug)]
pub enum Lists {
    /// The agent's.
    Agent(Box<Streaming<ListResponse>>),
    /// The store's.
    Fleet(Box<FleetView>),
}

impl Backend {
    /// The fleet's store where one is configured and answers, otherwise the agent on this host; says on `err` when that is
    /// less than was asked for.
    pub async fn open(globals: &Globals, err: &mut dyn Write) -> anyhow::Result<Self> {
        let settings = globals.settings_to_ask()?;
        let socket = globals.control_socket();
        if globals.local || settings.etcd.endpoints.is_empty() {
            return Ok(Self::Agent(client::connect(&socket).await?));
        }
        let outage = match reach(&settings).await {
            Ok((fleet, connection)) => return Ok(Self::Fleet(fleet.into(), connection.into())),
            Err(store::Error::Unreachable(why)) => why,
            Err(error) => return Err(store_client::refusal(error)),
        };
        let Ok(mut control) = client::connect(&socket).await else {
            return Err(store_client::refusal(store::Error::Unreachable(outage)));
        };
        let known = what_is_known(&mut control, time::now().wall).await;
        writeln!(err, "warning: etcd cannot be reached ({outage}); {known}")?;
        Ok(Self::Agent(control))
    }

    /// Lists objects once.
    pub async fn list(&mut self, wanted: &Wanted<'_>) -> anyhow::Result<Vec<Value>> {
        match self {
            Self::Agent(control) => {
                shared(wanted.kind)?;
                client::list(control, wanted).await
            }
            Self::Fleet(fleet, connection) => {
                FleetView::new(fleet, connection, wish(wanted)).list().await
            }
        }
    }

    /// Begins a list that goes on with each change.
    pub async fn watch(&mut self, wanted: &Wanted<'_>) -> anyhow::Result<Lists> {
        Ok(match self {
            Self::Agent(control) => {
                shared(wanted.kind)?;
                Lists::Agent(client::lists(control, wanted, true).await?.into())
            }
            Self::Fleet(fleet, connection) => {
                Lists::Fleet(Box::new(FleetView::new(fleet, connection, wish(wanted))))
            }
        })
    }
}

impl Lists {
    /// The next list; `None` when the agent has ended it.
    pub async fn next(&mut self) -> anyhow::Result<Option<Vec<Value>>> {
        match self {
            Self::Agent(lists) => client::next(lists).await,
            Self::Fleet(view) => view.next().await.map(Some),
        }
    }
}

impl Globals {
    /// The settings, for a question. A settings file that is faulty, or that only root may read, is no reason for a
    /// question to fail, unless the store was named on the command line.
    pub fn settings_to_ask(&self) -> anyhow::Result<Settings> {
        match self.fleet_settings() {
            Err(_) if self.etcd.is_none() => Ok(Settings::default()),
            settings => settings,
        }
    }
}

/// Connects to the store and sees whether it answers: members without a majority take connections, too.
async fn reach(settings: &Settings) -> Result<(Fleet, store::Settings), store::Error> {
    let Some(connection) = store_client::connection(settings) else {
        return Err(store::Error::Settings("no shared store is configured".into()));
    };
    // Commands spread over the members by themselves.
    let first = usize::try_from(std::process::id()).unwrap_or_default();
    let store = Store::connect(&connection, first).await?;
    let keys = Keys::new(&settings.etcd.prefix, &settings.cluster);
    store.get(&keys.accept()).await?;
    Ok((Fleet { store, keys }, connection))
}

/// What is wanted, without the command line.
fn wish(wanted: &Wanted<'_>) -> Wish {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Wish { kind: wanted.kind, namespace: owned(wanted.namespace), name: owned(wanted.name) }
}

/// Refuses what the agent does not list.
fn shared(kind: Kind) -> anyhow::Result<()> {
    if !kind.only_shared() {
        return Ok(());
    }
    Err(Failure::hinted(
        format!(
            "{} are shown from the shared store, which is not asked here",
            resource::plural(kind)
        ),
        "name its endpoints by --etcd URL,URL or in etcd.endpoints of the settings; leave --local out",
    ))
}

/// In how far the agent's view is less than the fleet's: which node's it is, and how old its specs are.
async fn what_is_known(control: &mut Control, now: Timestamp) -> String {
    let version = control.version(VersionRequest {}).await.map(tonic::Response::into_inner);
    let name = version.map(|version| version.node).unwrap_or_default();
    let wanted = Wanted { kind: Kind::Node, namespace: None, name: None };
    let nodes = client::list(control, &wanted).await.unwrap_or_default();
    let known = format!("this is what node {name} knows");
    match nodes.first().and_then(specs_from) {
        None => known,
        Some(at) => {
            let clock = at.to_zoned(TimeZone::system()).strftime("%H:%M").to_string();
            let age = time::age(time::elapsed(at, now));
            format!("{known}; its specs are from {clock} ({age} ago)")
        }
    }
}

/// Since when a node follows the store no longer, by its condition `StoreReady`.
fn specs_from(node: &Value) -> Option<Timestamp> {
    let conditions = node["status"]["conditions"].as_array()?;
    let reach = conditions.iter().find(|one| one["type"] == "StoreReady")?;
    if reach["status"] == "True" {
        return None;
    }
    let at = |field: &str| reach[field].as_str().and_then(|text| text.parse().ok());
    at("lastHeartbeatTime").or_else(|| at("lastTransitionTime"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_says_how_old_its_specs_are() {
        let node = |condition: Value| json!({"status": {"conditions": [condition]}});
        let at = "2026-01-01T12:04:00Z";
        for (condition, known) in [
            (json!({"type": "StoreReady", "status": "False", "lastTransitionTime": at}), true),
            (json!({"type": "StoreReady", "status": "True", "lastTransitionTime": at}), false),
            (json!({"type": "Ready", "status": "False", "lastTransitionTime": at}), false),
            (json!({"type": "StoreReady", "status": "False"}), false),
        ] {
            assert_eq!(specs_from(&node(condition.clone())).is_some(), known, "{condition}");
        }
        assert_eq!(specs_from(&json!({})), None);
    }
}
