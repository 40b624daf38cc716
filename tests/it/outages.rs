//! Outages: what a host goes on doing without its registry, without its agent, and with images that change behind its back.

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::oci::{Image, Layer, Packing};
use crate::support::proxy::Fault;
use crate::support::scene::{NAME, with_registry};
use crate::support::wait::{PATIENCE, patiently};

#[test]
fn a_crashed_container_starts_again_from_what_is_here_while_the_registry_is_away() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("here")?)?;
        scene.host.start_agent()?;
        let always = scene.set("app", &name).container(&json!({"imagePullPolicy": "Always"}));
        scene.host.write("app.yaml", &always.text())?;
        let pod = scene.host.running("app")?;
        scene.says("app", "here")?;
        scene.away()?;
        kill(Pid::from_raw(scene.host.pid_of(&pod.id("main"))?), Signal::SIGKILL)?;
        let again = scene
            .host
            .until_pod("app", "running again", |pod| pod.running() && pod.restarts("main") == 1)?;
        assert_eq!(again.uid(), pod.uid());
        scene.says("app", "here\nhere")?;
        // A new pod that must ask what its tag means waits for the registry.
        scene.try_again("app")?;
        scene.refused("app", &["connection refused"])?;
        scene.back()?;
        scene.says("app", "here\nhere\nhere").map(drop)
    })
}

#[test]
fn a_host_that_boots_without_its_registry_runs_what_it_ran() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("booted")?)?;
        scene.host.start_agent()?;
        let always = scene.set("app", &name).container(&json!({"imagePullPolicy": "Always"}));
        scene.host.write("app.yaml", &always.text())?;
        let pod = scene.host.running("app")?;
        scene.says("app", "booted")?;
        scene.away()?;
        scene.host.reboot()?;
        scene.says("app", "booted\nbooted")?;
        assert_eq!(scene.host.running("app")?.uid(), pod.uid());
        Ok(())
    })
}

#[test]
fn a_tag_that_moves_changes_no_pod_that_is_there() -> Result<()> {
    with_registry(|scene| {
        let old = Image::busybox("old")?;
        let name = scene.push("app", "1", &old)?;
        scene.host.start_agent()?;
        let always = scene.set("app", &name).container(&json!({"imagePullPolicy": "Always"}));
        scene.host.write("app.yaml", &always.text())?;
        let pod = scene.host.running("app")?;
        scene.says("app", "old")?;
        // Another pod of this host brings what the tag means now.
        scene.push("app", "1", &Image::busybox("new")?)?;
        let other = scene.set("other", &name).container(&json!({"imagePullPolicy": "Always"}));
        scene.host.write("other.yaml", &other.text())?;
        scene.says("other", "new")?;
        scene.collect()?;
        kill(Pid::from_raw(scene.host.pid_of(&pod.id("main"))?), Signal::SIGKILL)?;
        scene.says("app", "old\nold")?;
        scene.host.reboot()?;
        scene.says("app", "old\nold\nold")?;
        let again = scene.host.running("app")?;
        assert_eq!(again.uid(), pod.uid());
        assert_eq!(again.container("main")["imageID"], old.digest);
        Ok(())
    })
}

#[test]
fn a_pod_runs_until_the_images_of_its_next_revision_are_here() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("one")?)?;
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.says("app", "one")?;
        let before = scene.host.running("app")?;
        scene.start("app", &format!("{NAME}/app:2"))?;
        let why = scene.host.until("the reason to be told", || {
            let why = scene.host.podward(&["why", "ds/app"])?;
            Ok(why.contains("manifest 2 of app: not found").then_some(why))
        })?;
        assert!(why.contains("ErrImagePull"), "{why}");
        let sync = scene.host.run(&["sync", "--dry-run"])?;
        let said = String::from_utf8_lossy(&sync.stdout).into_owned();
        assert!(said.contains("manifest 2 of app: not found"), "{said}");
        let still = scene.host.running("app")?;
        assert_eq!((still.uid(), still.id("main")), (before.uid(), before.id("main")));

        // Then it comes, slowly: the old pod runs for as long as the pull takes.
        let image = Image::with("two", &[Layer::filler("two", 1_000_000, Packing::Plain)?])?;
        scene.proxy.always(image.layers()[2], Fault::Hold(500_000));
        scene.push("app", "2", &image)?;
        scene.proxy.until_held(1)?;
        let still = scene.host.running("app")?;
        assert_eq!((still.uid(), still.id("main")), (before.uid(), before.id("main")));
        scene.proxy.heal();
        scene.says("app", "one\ntwo").map(drop)
    })
}

#[test]
fn an_agent_that_is_killed_while_it_pulls_goes_on_and_leaves_nothing() -> Result<()> {
    with_registry(|scene| {
        let layer = Layer::filler("large", 6_000_000, Packing::Plain)?;
        let image = Image::with("whole", std::slice::from_ref(&layer))?;
        let name = scene.push("app", "1", &image)?;
        scene.proxy.times(1, &layer.digest, Fault::Hold(4_000_000));
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.proxy.until_held(1)?;
        // What was sent has arrived.
        patiently("the layer's first part to be here", PATIENCE, || {
            let partial = scene.partial()?;
            let sizes = partial.iter().filter_map(|line| line.split_whitespace().nth(1));
            let size = |text: &str| text.strip_suffix("MB")?.parse::<f64>().ok();
            Ok(sizes.filter_map(size).any(|size| size > 3.5).then_some(()))
        })
        .with_context(|| format!("{:?}", scene.partial()))?;
        scene.host.kill_agent()?;
        scene.proxy.heal();
        scene.collect()?;
        scene.host.start_agent()?;
        scene.says("app", "whole")?;
        let seen = scene.proxy.seen(&layer.digest);
        assert!(seen.last().is_some_and(|seen| seen.range().is_some()), "it began anew");
        let sent = scene.proxy.sent(&layer.digest);
        let size = layer.bytes.len() as u64;
        assert!(sent < size + (2 << 20), "{sent} bytes came of {size}");

        assert_eq!(scene.host.containerd.leases()?, Vec::<String>::new());
        assert_eq!(scene.partial()?, Vec::<String>::new());
        scene.collect()?;
        let mut expected: Vec<String> =
            image.blobs.iter().map(|(digest, _)| digest.clone()).collect();
        expected.push(image.digest.clone());
        expected.sort();
        assert_eq!(scene.blobs()?, expected);
        Ok(())
    })
}

#[test]
fn a_pod_that_is_deleted_while_it_waits_for_its_image_is_gone_at_once() -> Result<()> {
    with_registry(|scene| {
        let layer = Layer::filler("large", 3_000_000, Packing::Plain)?;
        let image = Image::with("never", std::slice::from_ref(&layer))?;
        let name = scene.push("app", "1", &image)?;
        scene.proxy.always(&layer.digest, Fault::Hold(2_000_000));
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.proxy.until_held(1)?;
        let begun = crate::support::wait::clock();
        scene.host.remove("app.yaml")?;
        scene.host.gone("app")?;
        assert!(begun.elapsed().as_secs() < 10, "it waited for the pull");
        // What was pulled in vain is given up as well.
        patiently("the rest of the pull to go", PATIENCE, || {
            let left = scene.partial()?.len() + scene.host.containerd.leases()?.len();
            Ok((left == 0).then_some(()))
        })
    })
}
