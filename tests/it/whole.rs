//! A pod with nearly everything at once: each part does its work, in the order that Kubernetes has.

use std::fs;
use std::net::TcpListener;

use anyhow::{Context, Result};

use crate::support::pod::Pod;
use crate::support::rich::rich;
use crate::support::wait::{PATIENCE, patiently};
use crate::support::{Host, on_host};

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until a story ends in a line, and returns its lines.
fn story(host: &Host, name: &str, last: &str) -> Result<Vec<String>> {
    let path = host.path("out").join(name);
    let text = patiently(&format!("{last:?} at the end of {}", path.display()), PATIENCE, || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        Ok(Some(text).filter(|text| text.lines().any(|line| line == last)))
    })?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[test]
fn a_pod_with_everything_begins_lives_and_ends_in_order() -> Result<()> {
    on_host(|host| {
        host.write("all.yaml", &rich("all", "v1", &host.path("out"), free_port()?))?;
        let pod = host.until_pod("all", "ready", |pod| pod.running() && pod.ready())?;
        let mut begun = story(host, "all", "postStart")?;
        // A hook runs beside the container's own process, so either may speak first.
        begun[3..].sort();
        assert_eq!(begun, ["first", "side", "second reads v1", "main v1 of v1", "postStart"]);
        for container in ["first", "second"] {
            let ended = &pod.init(container)["state"]["terminated"];
            assert_eq!(
                (&ended["reason"], &ended["exitCode"]),
                (&"Completed".into(), &0.into()),
                "{container}"
            );
        }
        assert!(pod.init("side")["state"]["running"].is_object());
        assert_eq!(pod.init("side")["started"], true);
        for condition in ["Initialized", "ContainersReady"] {
            let conditions = pod.0["status"]["conditions"].as_array();
            let holds = conditions.is_some_and(|list| {
                list.iter().any(|one| one["type"] == condition && one["status"] == "True")
            });
            assert!(holds, "{condition}: {:#}", pod.0["status"]);
        }
        let pid = host.pid_of(&pod.id("main"))?;
        let read = |path: &str| fs::read_to_string(format!("/proc/{pid}/root/all/{path}"));
        assert_eq!(
            (read("conf/version")?, read("password")?),
            ("v1".into(), "secret of v1".into())
        );
        assert_eq!(read("pod")?, pod.name());

        host.remove("all.yaml")?;
        host.gone("all")?;
        let told = story(host, "all", "side ends")?;
        let at = |line: &str| told.iter().position(|told| told == line).context(line.to_owned());
        // The sidecar's hook does not wait for its turn, its stop signal does.
        let main = (at("preStop")?, at("main v1 of v1 ends")?);
        let side = (at("side preStop")?, at("side ends")?);
        assert!(main.0 < main.1 && side.0 < side.1 && main.1 < side.1, "{told:?}");
        assert_eq!(told.len(), 9, "each once: {told:?}");
        Ok(())
    })
}

#[test]
fn a_change_of_the_configuration_that_a_pod_was_started_with_replaces_it() -> Result<()> {
    on_host(|host| {
        let port = free_port()?;
        host.write("all.yaml", &rich("all", "v1", &host.path("out"), port))?;
        let before = host.until_pod("all", "ready", Pod::ready)?;
        host.write("all.yaml", &rich("all", "v2", &host.path("out"), port))?;
        let after = host.until_pod("all", "replaced and ready", |pod| {
            pod.ready() && pod.uid() != before.uid()
        })?;
        assert_ne!(after.hash(), before.hash());
        story(host, "all", "main v2 of v2")?;
        Ok(())
    })
}

#[test]
fn a_pod_with_everything_comes_back_after_a_reboot() -> Result<()> {
    on_host(|host| {
        host.write("all.yaml", &rich("all", "v1", &host.path("out"), free_port()?))?;
        let before = host.until_pod("all", "ready", Pod::ready)?;
        fs::remove_file(host.path("out/all"))?;
        host.reboot()?;
        let after = host.until_pod("all", "ready again", |pod| pod.running() && pod.ready())?;
        assert_eq!(after.uid(), before.uid());
        let told = story(host, "all", "postStart")?;
        assert_eq!(told[..3], ["first", "side", "second reads v1"]);
        Ok(())
    })
}
