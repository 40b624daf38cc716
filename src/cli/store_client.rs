//! The shared store as commands reach it: by the settings, or by `--etcd` from any machine.

use crate::agent::feeding::store_settings;
use crate::config::Settings;
use crate::store::{self, Keys, Store};

use super::{Globals, failure::Failure};

/// A connection to the fleet's store, and what its keys are called.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The connection.
    pub store: Store,
    /// The keys.
    pub keys: Keys,
}

impl Globals {
    /// The settings, with `--etcd` laid over them.
    pub fn fleet_settings(&self) -> anyhow::Result<Settings> {
        let mut settings = self.settings()?;
        if let Some(endpoints) = &self.etcd {
            settings.etcd.endpoints = endpoints.iter().map(|one| address(one)).collect();
        }
        Ok(settings)
    }
}

/// An endpoint as the settings want it: what says nothing of TLS goes without, as with etcdctl.
fn address(endpoint: &str) -> String {
    let endpoint = endpoint.trim().trim_end_matches('/');
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") }
}

/// What the settings say of a connection; `None` where they name no store.
pub fn connection(settings: &Settings) -> Option<store::Settings> {
    (!settings.etcd.endpoints.is_empty()).then(|| store_settings(&settings.etcd))
}

/// The same; a command that is about the store cannot do without one.
pub fn required(settings: &Settings) -> anyhow::Result<store::Settings> {
    connection(settings).ok_or_else(|| {
        Failure::usage(
            "no shared store is configured",
            Some(
                "name its endpoints by --etcd URL,URL or in etcd.endpoints of the settings".into(),
            ),
        )
    })
}

/// Connects to the store that the settings name.
pub async fn connect(settings: &Settings) -> anyhow::Result<Fleet> {
    // Commands spread over the members by themselves.
    let first = usize::try_from(std::process::id()).unwrap_or_default();
    let store = Store::connect(&required(settings)?, first).await.map_err(refusal)?;
    Ok(Fleet { store, keys: Keys::new(&settings.etcd.prefix, &settings.cluster) })
}

/// Why the store could not be asked, and what to do.
pub fn refusal(error: store::Error) -> anyhow::Error {
    let hint = match &error {
        store::Error::Unreachable(_) => {
            "see `podward store status`; the endpoints are those of --etcd or etcd.endpoints"
        }
        store::Error::Denied(_) => {
            "use credentials of an operator; `podward store init` makes them"
        }
        store::Error::Settings(_) => "docs/config.md has every key below `etcd`",
        _ => return anyhow::Error::new(error),
    };
    Failure::hinted(error.to_string(), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_settings() {
        let etcd = Some(vec!["10.0.0.1:2379".into(), "http://b:2379/".into()]);
        let globals = Globals { etcd, ..Globals::default() };
        let settings = globals.fleet_settings().unwrap();
        let connection = connection(&settings).unwrap();
        assert_eq!(connection.endpoints, ["http://10.0.0.1:2379", "http://b:2379"]);
    }

    #[test]
    fn without_endpoints_there_is_no_store() {
        let settings = Settings::default();
        assert_eq!(connection(&settings), None);
        let error = required(&settings).unwrap_err().to_string();
        assert_eq!(error, "no shared store is configured");
    }
}
