//! What can be checked of a new pod while the old one still runs: its volumes, ports, devices, users and configuration. A
//! pod is not given up for one of which it can be known that it would not start.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::PodSpec;

use crate::base::{errors::Chain, ids::PodUid, time};
use crate::host::{ports, volumes};
use crate::pod::{
    downward::Downward,
    environment::own_environment,
    record::{PinnedImage, PodRecord, VERSION},
    resources::all_containers,
    user::user_request,
    values::Values,
};
use crate::spec::Objects;

use super::{
    effects::{Effects, blocking},
    reconciler::Reconciler,
    sets::Entry,
};

/// A port of the host, by protocol.
type Port = (String, i32);

/// A new pod that is still to come.
#[derive(Debug)]
pub(super) struct Candidate {
    /// What its record would be.
    record: PodRecord,
    /// The ports of the host that it wants and that nobody of its own set has.
    ports: Vec<Port>,
    /// The pods of its own set, which may hold them undeclared.
    own: Vec<PodUid>,
    /// Those that pods of other sets have, with their names.
    taken: Vec<(Port, String)>,
    /// The ConfigMaps and Secrets.
    objects: Arc<Objects>,
}

/// The ports of the host that a pod takes.
fn host_ports(spec: &PodSpec) -> Vec<Port> {
    let host = spec.host_network == Some(true);
    let ports = all_containers(spec).flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let number =
            port.host_port.filter(|port| *port != 0).or(host.then_some(port.container_port));
        Some((port.protocol.clone().unwrap_or_else(|| "TCP".into()), number?))
    });
    taken.collect()
}

impl Reconciler {
    /// The set's next pod, as it would be made.
    pub(super) fn candidate(&self, entry: &Entry) -> Candidate {
        let key = &entry.set.key;
        let hash = self.standings.get(key).map_or(&entry.set.hash, |standing| &standing.hash);
        let template = entry.run().template().clone();
        let wanted = template.spec.as_ref().map(host_ports).unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) =
            self.pods.values().partition(|pod| pod.record.set == *key);
        let declared: Vec<Port> =
            own.iter().flat_map(|pod| host_ports(pod.record.spec())).collect();
        let taken = others.iter().filter(|pod| pod.over().is_none()).flat_map(|pod| {
            let name = format!("{}/{}", pod.record.set.namespace, pod.record.name);
            host_ports(pod.record.spec()).into_iter().map(move |port| (port, name.clone()))
        });
        Candidate {
            ports: wanted.into_iter().filter(|port| !declared.contains(port)).collect(),
            own: own.iter().map(|pod| pod.record.uid.clone()).collect(),
            taken: taken.collect(),
            objects: Arc::clone(&self.objects),
            record: PodRecord {
                version: VERSION,
                uid: PodUid::new("00000000-0000-0000-0000-000000000000"),
                name: format!("{}-xxxxx", key.name),
                set: key.clone(),
                set_uid: entry.uid.clone(),
                hash: hash.clone(),
                created: time::now().wall,
                template,
                sandbox: None,
                volumes: BTreeMap::new(),
                initialized: None,
                readiness: None,
                deletion: None,
                containers: BTreeMap::new(),
            },
        }
    }
}

impl Effects {
    /// Why a pod could not start here; its images are here.
    pub(super) async fn preflight(
        self: &Arc<Self>,
        candidate: Candidate,
        images: &BTreeMap<String, PinnedImage>,
    ) -> Result<(), String> {
        let Candidate { record, ports, own, taken, objects } = candidate;
        let told =
            |fault: crate::pod::fault::StartFault| format!("{}: {}", fault.reason, fault.message);
        for ((protocol, port), pod) in &taken {
            if ports.iter().any(|wanted| wanted == &(protocol.clone(), *port)) {
                return Err(format!("port {port}/{protocol} of the host is taken by pod {pod}"));
            }
        }
        let spec = record.spec().clone();
        let looked = move || {
            volumes::check(&spec).map_err(|error| format!("FailedMount: {}", Chain(&error)))?;
            match ports.iter().find(|(protocol, port)| ports::taken(protocol, *port, &own)) {
                Some((protocol, port)) => Err(format!(
                    "port {port}/{protocol} of the host is taken by a process that is none of podward's"
                )),
                None => Ok(()),
            }
        };
        blocking(looked).await?;
        self.devices(&record).await.map_err(told)?;
        let node = self.node_view();
        let values =
            Values { objects: &objects, downward: Downward { record: &record, node: &node } };
        for container in all_containers(record.spec()) {
            let of = |fault| format!("container {}: {}", container.name, told(fault));
            self.confinement(&record, container).await.map_err(of)?;
            own_environment(container, &values).map_err(of)?;
            if let Some(image) = images.get(&container.name) {
                user_request(record.spec(), container, &image.config).map_err(of)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_ports_of_a_pod_on_the_hosts_network_are_the_hosts() {
        let spec = |host: bool| -> PodSpec {
            serde_json::from_value(json!({"hostNetwork": host, "containers": [
                {"name": "a", "ports": [{"containerPort": 9100}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]}]}))
            .unwrap()
        };
        let port = |protocol: &str, port| (protocol.to_owned(), port);
        assert_eq!(host_ports(&spec(true)), [port("TCP", 9100), port("UDP", 5353)]);
        assert_eq!(host_ports(&spec(false)), [port("UDP", 5353)]);
    }
}
