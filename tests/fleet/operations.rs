//! What operators do with a fleet, from one machine that runs nothing: the expected pods on the expected hosts.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::hosts::{Fleet, on_store};
use crate::support::set::Set;
use crate::support::wait::{PATIENCE, patiently};

/// Waits until a set runs on exactly these hosts, by what the hosts say and by what the store says of them.
fn runs_on(fleet: &Fleet, set: &str, wanted: &[&str]) -> Result<()> {
    for host in &fleet.hosts {
        if wanted.contains(&host.name.as_str()) {
            host.runs(set).map(drop)
        } else {
            host.lacks(set)
        }?;
    }
    patiently(&format!("the store to say that {set} runs on {wanted:?}"), PATIENCE, || {
        let pods = fleet.podward(&["get", "pods", "-A", "-o", "json"])?;
        let pods: Value = serde_json::from_str(&pods)?;
        let mut places: Vec<&str> = vec![];
        for pod in pods["items"].as_array().context("a list")? {
            let owner = &pod["metadata"]["ownerReferences"][0]["name"];
            if owner == set && pod["status"]["phase"] == "Running" {
                places.push(pod["spec"]["nodeName"].as_str().unwrap_or_default());
            }
        }
        places.sort_unstable();
        Ok((places == wanted).then_some(()))
    })
}

/// One line of `podward get ds`.
fn counts(fleet: &Fleet, set: &str) -> Result<Value> {
    let sets = fleet.podward(&["get", "ds", set, "-o", "json"])?;
    let mut set: Value = serde_json::from_str(&sets)?;
    if let Some(first) = set["items"].get_mut(0) {
        set = first.take();
    }
    Ok(set["status"].take())
}

#[test]
fn sets_labels_taints_and_deletions_reach_the_hosts_that_they_mean() -> Result<()> {
    on_store(5, 1, |fleet| {
        fleet.apply(&Set::named("everywhere"))?;
        fleet.apply(&Set::named("some").pod(&json!({"nodeSelector": {"role": "edge"}})))?;
        runs_on(fleet, "everywhere", &["h1", "h2", "h3", "h4", "h5"])?;
        runs_on(fleet, "some", &[])?;

        fleet.podward(&["label", "node", "h2", "h4", "role=edge"])?;
        runs_on(fleet, "some", &["h2", "h4"])?;
        let status = counts(fleet, "some")?;
        ensure!(status["desiredNumberScheduled"] == 2 && status["numberReady"] == 2, "{status}");

        fleet.podward(&["taint", "node", "h2", "broken=yes:NoExecute"])?;
        runs_on(fleet, "everywhere", &["h1", "h3", "h4", "h5"])?;
        runs_on(fleet, "some", &["h4"])?;
        fleet.podward(&["taint", "node", "h2", "broken:NoExecute-"])?;
        runs_on(fleet, "everywhere", &["h1", "h2", "h3", "h4", "h5"])?;
        runs_on(fleet, "some", &["h2", "h4"])?;

        fleet.podward(&["label", "node", "h4", "role-"])?;
        runs_on(fleet, "some", &["h2"])?;
        fleet.podward(&["delete", "ds", "everywhere"])?;
        for host in &fleet.hosts {
            ensure!(host.pods_of("everywhere")?.is_empty(), "delete waits until the pods are gone");
        }
        runs_on(fleet, "some", &["h2"])
    })
}

#[test]
fn a_changed_template_reaches_every_host_through_three_members() -> Result<()> {
    on_store(3, 3, |fleet| {
        fleet.apply(&Set::named("web"))?;
        runs_on(fleet, "web", &["h1", "h2", "h3"])?;
        let before = fleet.running()?;
        let said = fleet.apply(&Set::named("web"))?;
        ensure!(said.contains("unchanged"), "{said}");
        fleet.apply(
            &Set::named("web").container(&json!({"env": [{"name": "NEW", "value": "yes"}]})),
        )?;
        for (host, before) in fleet.hosts.iter().zip(&before) {
            host.until("the new pod to run alone", || {
                let pods = host.pods_of("web")?;
                let new = |pod: &crate::support::pod::Pod| {
                    pod.running() && before.iter().all(|old| old.id != pod.id("main"))
                };
                Ok((pods.len() == 1 && pods.iter().all(new)).then_some(()))
            })?;
        }
        let revisions = fleet.podward(&["get", "revisions", "-o", "json"])?;
        let revisions: Value = serde_json::from_str(&revisions)?;
        let count = revisions["items"].as_array().map_or(0, Vec::len);
        ensure!(count == 2, "{count} revisions: {revisions}");
        Ok(())
    })
}

#[test]
fn hosts_join_and_leave() -> Result<()> {
    on_store(2, 1, |fleet| {
        fleet.apply(&Set::named("web"))?;
        runs_on(fleet, "web", &["h1", "h2"])?;
        let before = fleet.running()?;
        fleet.join(1, &json!({}))?;
        runs_on(fleet, "web", &["h1", "h2", "h3"])?;
        ensure!(fleet.keys("fleet/nodes/")?.len() == 3);

        fleet.hosts[2].kill()?;
        patiently("h3 alone to count as away", PATIENCE, || {
            let nodes = fleet.podward(&["get", "nodes", "--no-headers"])?;
            let away = |line: &str| line.contains("NotReady") == line.starts_with("h3 ");
            Ok((nodes.lines().count() == 3 && nodes.lines().all(away)).then_some(()))
        })?;
        fleet.podward(&["delete", "node", "h3"])?;
        fleet.hosts.pop();
        let left = fleet.keys("fleet/")?;
        ensure!(!left.iter().any(|key| key.contains("h3")), "{left:?}");
        runs_on(fleet, "web", &["h1", "h2"])?;
        ensure!(fleet.running()? == before, "the others do not care");
        Ok(())
    })
}

#[test]
fn a_pod_that_is_deleted_from_afar_is_replaced_on_its_host_alone() -> Result<()> {
    on_store(2, 1, |fleet| {
        fleet.apply(&Set::named("web"))?;
        runs_on(fleet, "web", &["h1", "h2"])?;
        let (before, old) = (fleet.running()?, fleet.hosts[0].runs("web")?);
        fleet.podward(&["delete", "pod", &old.name()])?;
        fleet.hosts[0].until("another pod to run", || {
            let pods = fleet.hosts[0].pods_of("web")?;
            Ok(pods.iter().any(|pod| pod.running() && pod.uid() != old.uid()).then_some(()))
        })?;
        runs_on(fleet, "web", &["h1", "h2"])?;
        ensure!(fleet.hosts[1].running()? == before[1], "the other host does not care");
        Ok(())
    })
}

#[test]
fn a_cordon_shows_and_keeps_no_daemon_set_off() -> Result<()> {
    on_store(2, 1, |fleet| {
        fleet.apply(&Set::named("web"))?;
        runs_on(fleet, "web", &["h1", "h2"])?;
        fleet.podward(&["cordon", "h2"])?;
        let nodes = |fleet: &Fleet| fleet.podward(&["get", "nodes"]);
        patiently("h2 to show as cordoned", PATIENCE, || {
            Ok(nodes(fleet)?.contains("SchedulingDisabled").then_some(()))
        })?;
        // As in Kubernetes, the pods of DaemonSets tolerate a cordon.
        fleet.apply(&Set::named("more"))?;
        runs_on(fleet, "more", &["h1", "h2"])?;
        fleet.podward(&["uncordon", "h2"])?;
        patiently("h2 to show as usable", PATIENCE, || {
            Ok((!nodes(fleet)?.contains("SchedulingDisabled")).then_some(()))
        })
    })
}
