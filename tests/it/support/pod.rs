//! A pod as `podward get pods -o json` shows it.

use serde_json::Value;

/// One v1 Pod.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pod(pub(crate) Value);

impl Pod {
    /// Its name.
    pub(crate) fn name(&self) -> String {
        text(&self.0["metadata"]["name"])
    }

    /// Its uid.
    pub(crate) fn uid(&self) -> String {
        text(&self.0["metadata"]["uid"])
    }

    /// The set that it belongs to.
    pub(crate) fn set(&self) -> String {
        text(&self.0["metadata"]["ownerReferences"][0]["name"])
    }

    /// Its template hash.
    pub(crate) fn hash(&self) -> String {
        text(&self.0["metadata"]["labels"]["controller-revision-hash"])
    }

    /// Whether it is on its way out.
    pub(crate) fn terminating(&self) -> bool {
        self.0["metadata"]["deletionTimestamp"].is_string()
    }

    /// `Running` and its like.
    pub(crate) fn phase(&self) -> String {
        text(&self.0["status"]["phase"])
    }

    /// Its service class.
    pub(crate) fn qos(&self) -> String {
        text(&self.0["status"]["qosClass"])
    }

    /// The status of one container or init container; null when there is none.
    pub(crate) fn container(&self, name: &str) -> &Value {
        static NONE: Value = Value::Null;
        let lists = ["initContainerStatuses", "containerStatuses"];
        let mut statuses =
            lists.iter().filter_map(|list| self.0["status"][list].as_array()).flatten();
        statuses.find(|status| status["name"] == name).unwrap_or(&NONE)
    }

    /// Whether its condition Ready is true.
    pub(crate) fn ready(&self) -> bool {
        self.condition("Ready")
    }

    /// Whether one of its conditions is true.
    pub(crate) fn condition(&self, kind: &str) -> bool {
        let conditions = self.0["status"]["conditions"].as_array();
        conditions.is_some_and(|list| {
            list.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
        })
    }

    /// The status of one init container; null when there is none.
    pub(crate) fn init(&self, name: &str) -> &Value {
        static NONE: Value = Value::Null;
        let statuses = self.0["status"]["initContainerStatuses"].as_array();
        statuses.and_then(|list| list.iter().find(|status| status["name"] == name)).unwrap_or(&NONE)
    }

    /// How often a container was started again.
    pub(crate) fn restarts(&self, name: &str) -> u64 {
        self.container(name)["restartCount"].as_u64().unwrap_or_default()
    }

    /// Since when a container runs; empty when it does not.
    pub(crate) fn running_since(&self, name: &str) -> String {
        text(&self.container(name)["state"]["running"]["startedAt"])
    }

    /// Why a container waits; empty when it does not.
    pub(crate) fn waits_for(&self, name: &str) -> String {
        text(&self.container(name)["state"]["waiting"]["reason"])
    }

    /// How a container ended the last time.
    pub(crate) fn last_end(&self, name: &str) -> &Value {
        &self.container(name)["lastState"]["terminated"]
    }

    /// containerd's id of a container.
    pub(crate) fn id(&self, name: &str) -> String {
        text(&self.container(name)["containerID"]).trim_start_matches("containerd://").to_owned()
    }

    /// Whether every container of a pod that stays is up.
    pub(crate) fn running(&self) -> bool {
        let wanted = self.0["spec"]["containers"].as_array().map_or(0, Vec::len);
        let statuses = self.0["status"]["containerStatuses"].as_array();
        let up = statuses.map_or(0, |list| {
            list.iter().filter(|status| status["state"]["running"].is_object()).count()
        });
        !self.terminating() && self.phase() == "Running" && wanted > 0 && up == wanted
    }
}

/// The text of a value; empty when it is none.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
