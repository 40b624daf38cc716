//! Mishaps: a registry that dies, drags or lies, a full disk, a missing tag. What is here already is never paid for twice.

use std::time::Duration;

use anyhow::Result;

use crate::support::oci::{Image, Layer, Packing};
use crate::support::proxy::Fault;
use crate::support::scene::{Scene, why, with_registry};
use crate::support::set::Set;
use crate::support::small_disk::SmallDisk;
use crate::support::wait::patiently;

/// How many bytes of a blob may be lost on the way when its connection breaks.
const ON_THE_WAY: u64 = 1 << 20;

/// An image with one large layer on top, and that layer's digest and size.
fn large(says: &str) -> Result<(Image, String, u64)> {
    let layer = Layer::filler(says, 6_000_000, Packing::Plain)?;
    let (digest, size) = (layer.digest.clone(), layer.bytes.len() as u64);
    Ok((Image::with(says, &[layer])?, digest, size))
}

/// Demands that a layer was asked for again where it broke off, and came no more than once.
fn resumed(scene: &Scene, digest: &str, size: u64) {
    let seen = scene.proxy.seen(digest);
    let from = |range: &str| range.trim_start_matches("bytes=").split('-').next()?.parse().ok();
    let begun: Vec<u64> = seen.iter().filter_map(|seen| from(seen.range()?)).collect();
    assert!(begun.iter().any(|from| *from > 1_000_000), "no later part was asked for: {begun:?}");
    let sent = scene.proxy.sent(digest);
    assert!(sent < size + ON_THE_WAY, "{sent} bytes came of {size}");
}

#[test]
fn a_registry_that_is_killed_in_the_middle_of_a_layer_goes_on_there_when_it_is_back() -> Result<()>
{
    with_registry(|scene| {
        let (image, layer, size) = large("resumed")?;
        let name = scene.push("app", "1", &image)?;
        scene.proxy.times(1, &layer, Fault::Hold(3_000_000));
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.proxy.until_held(1)?;
        scene.away()?;
        // Whichever layer fails first is named.
        scene.refused("app", &["registry.test/app:1", "blob sha256:", "connection refused"])?;
        scene.back()?;
        scene.says("app", "resumed")?;
        resumed(scene, &layer, size);
        Ok(())
    })
}

#[test]
fn a_connection_that_breaks_is_made_again_within_the_same_pull() -> Result<()> {
    with_registry(|scene| {
        let (image, layer, size) = large("twice")?;
        let name = scene.push("app", "1", &image)?;
        scene.proxy.times(1, &layer, Fault::Cut(2_000_000));
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.says("app", "twice")?;
        resumed(scene, &layer, size);
        assert!(!scene.host.has_event("Failed", "")?, "nobody hears of it");
        Ok(())
    })
}

#[test]
fn a_registry_that_serves_no_parts_serves_the_whole_again() -> Result<()> {
    with_registry(|scene| {
        let (image, layer, _) = large("whole")?;
        let name = scene.push("app", "1", &image)?;
        scene.proxy.times(1, &layer, Fault::Cut(2_000_000));
        scene.proxy.always(&layer, Fault::Whole);
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.says("app", "whole").map(drop)
    })
}

#[test]
fn a_busy_registry_is_asked_again_before_anybody_hears_of_it() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("patient")?)?;
        for (path, status) in [("/manifests/", 500), ("/manifests/", 503), ("/blobs/", 429)] {
            scene.proxy.times(1, path, Fault::Status(status));
        }
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.says("app", "patient")?;
        assert!(!scene.host.has_event("Failed", "")?);
        // One that stays so is named with what it says.
        scene.proxy.always("/manifests/", Fault::Status(500));
        scene.start("sick", "registry.test/app:2")?;
        scene.refused("sick", &["manifest 2 of app", "500 Internal Server Error (a bad day)"])?;
        Ok(())
    })
}

#[test]
fn a_slow_pull_shows_how_far_it_is() -> Result<()> {
    with_registry(|scene| {
        let (image, layer, _) = large("slow")?;
        let name = scene.push("app", "1", &image)?;
        scene.proxy.always(&layer, Fault::Slow(500_000));
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        let pod =
            scene.host.until_pod("app", "pulling", |pod| !pod.waits_for("main").is_empty())?;
        let shown = patiently("the layers to be shown", Duration::from_secs(20), || {
            let page = scene.host.podward(&["describe", "pod", &pod.name()])?;
            let line = page.lines().find(|line| line.contains(" layers, ")).map(str::to_owned);
            Ok(line.filter(|line| line.contains("2/3 layers, ")))
        })?;
        assert!(shown.contains(&name) && shown.contains("MiB of "), "{shown}");
        scene.proxy.heal();
        scene.says("app", "slow").map(drop)
    })
}

#[test]
fn bytes_that_are_not_what_their_digest_says_never_run() -> Result<()> {
    with_registry(|scene| {
        let image = Image::busybox("right")?;
        let name = scene.push("app", "1", &image)?;
        let wrong = Image::busybox("wrong")?;
        scene.proxy.always("/manifests/1", Fault::Instead(wrong.bytes.clone()));
        let by_digest = format!("/manifests/{}", image.digest);
        scene.proxy.always(&by_digest, Fault::Instead(wrong.bytes.clone()));
        scene.host.start_agent()?;
        let words = "its bytes are not what the digest says";
        scene.start("tag", &name)?;
        scene.refused("tag", &["manifest 1 of app", words, &image.digest, &wrong.digest])?;
        scene.start("digest", &format!("registry.test/app@{}", image.digest))?;
        scene.refused("digest", &[words, &image.digest, &wrong.digest])?;

        scene.proxy.heal();
        let (digest, bytes) = &image.blobs[2];
        let mut wrong = bytes.clone();
        wrong[bytes.len() / 2] ^= 1;
        scene.proxy.always(digest, Fault::Instead(wrong));
        scene.try_again("tag")?;
        scene.refused("tag", &[digest])?;
        assert!(!scene.blobs()?.contains(digest));
        scene.proxy.heal();
        scene.try_again("tag")?;
        scene.says("tag", "right").map(drop)
    })
}

#[test]
fn a_missing_tag_is_told_then_waited_for_and_found_when_it_is_pushed() -> Result<()> {
    with_registry(|scene| {
        scene.push("app", "1", &Image::busybox("other")?)?;
        scene.host.start_agent()?;
        scene.start("app", "registry.test/app:2")?;
        let failed = scene
            .host
            .until_pod("app", "refused", |pod| pod.waits_for("main") == "ErrImagePull")?;
        let address = scene.proxy.address();
        assert_eq!(
            why(&failed),
            format!(
                "Failed to pull image \"registry.test/app:2\": {address}: manifest 2 of app: not found"
            )
        );
        let waits = scene
            .host
            .until_pod("app", "waiting", |pod| pod.waits_for("main") == "ImagePullBackOff")?;
        let text = "Back-off pulling image \"registry.test/app:2\": ErrImagePull: Failed to pull";
        assert!(why(&waits).starts_with(text), "{}", why(&waits));
        for (reason, words) in [
            ("Pulling", "Pulling image \"registry.test/app:2\""),
            ("Failed", "Failed to pull image \"registry.test/app:2\""),
            ("Failed", "Error: ErrImagePull"),
            ("BackOff", "Back-off pulling image \"registry.test/app:2\""),
            ("Failed", "Error: ImagePullBackOff"),
        ] {
            assert!(scene.host.has_event(reason, words)?, "{reason}: {words}");
        }
        scene.push("app", "2", &Image::busybox("late")?)?;
        scene.says("app", "late")?;
        assert_eq!(scene.host.running("app")?.uid(), failed.uid());
        Ok(())
    })
}

#[test]
fn a_full_disk_is_said_to_be_full_and_what_runs_goes_on() -> Result<()> {
    // It outlives the scene.
    let disk = SmallDisk::of(24)?;
    with_registry(|scene| {
        disk.serve(&mut scene.host)?;
        scene.host.offer_image()?;
        scene.host.start_agent()?;
        scene.host.write("runs.yaml", &Set::named("runs").text())?;
        let before = scene.host.running("runs")?;
        let fillers = ["a", "b"].map(|name| Layer::filler(name, 14_000_000, Packing::Plain));
        let [first, second] = fillers;
        let name = scene.push("app", "1", &Image::with("too large", &[first?, second?])?)?;
        scene.start("app", &name)?;
        scene.refused("app", &["no space left on device"])?;
        let after = scene.host.running("runs")?;
        assert_eq!((after.id("main"), after.restarts("main")), (before.id("main"), 0));
        // Nor is the disk left full for everybody else.
        patiently("some room", Duration::from_secs(20), || {
            Ok((disk.free()? > 8 << 20).then_some(()))
        })?;
        scene.host.write("more.yaml", &Set::named("more").text())?;
        scene.host.running("more").map(drop)
    })
}
