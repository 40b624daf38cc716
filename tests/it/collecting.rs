//! Images go when nothing needs them and the disk is full, and only then; people list, import and remove them.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::image::{self, File, IMAGE};
use crate::support::set::{STAY, Set};
use crate::support::small_disk::SmallDisk;
use crate::support::wait::{PATIENCE, patiently};
use crate::support::{Host, on_host};

/// Runs a test on a host whose containerd has a small disk; then removes every manifest and demands that nothing is left.
fn on_small_disk(
    mebibytes: u32,
    images: &Value,
    test: impl FnOnce(&mut Host, &SmallDisk) -> Result<()>,
) -> Result<()> {
    let Some(mut host) = Host::new()? else { return Ok(()) };
    let disk = SmallDisk::of(mebibytes)?;
    disk.serve(&mut host)?;
    host.configure("images", images.clone())?;
    host.start_agent()?;
    let outcome = test(&mut host, &disk).and_then(|()| host.leave_nothing());
    let outcome = outcome.map_err(|error| error.context(host.last_words()));
    drop(host);
    outcome
}

/// Writes an archive of an image that is this large.
fn archive(host: &Host, name: &str, mebibytes: usize) -> Result<String> {
    let path = host.path(&format!("{}.tar", name.replace(['/', ':'], "-")));
    let ballast = File {
        path: "ballast".into(),
        mode: 0o644,
        bytes: name.as_bytes().repeat((mebibytes << 20) / name.len()),
    };
    image::pack(&path, &[name], &json!({"Env": ["PATH=/bin"], "Cmd": ["sh"]}), &[ballast])?;
    Ok(path.display().to_string())
}

/// Has the agent import an image that is this large.
fn import(host: &Host, name: &str, mebibytes: usize) -> Result<()> {
    let archive = archive(host, name, mebibytes)?;
    let said = host.podward(&["image", "import", &archive])?;
    ensure!(said == format!("imported {name}\n"), "{said}");
    Ok(fs::remove_file(archive)?)
}

/// The names of the images that are here.
fn names(host: &Host) -> Result<Vec<String>> {
    let text = host.podward(&["image", "ls", "-o", "name"])?;
    Ok(text.lines().map(|line| line.trim_start_matches("image/").to_owned()).collect())
}

/// Waits until there is an event, and returns its message.
fn event(host: &Host, reason: &str) -> Result<String> {
    patiently(&format!("an event {reason}"), PATIENCE, || {
        let events = host.objects("events")?;
        let found = events.iter().find(|event| event["reason"] == reason);
        Ok(found.map(|event| event["message"].as_str().unwrap_or_default().to_owned()))
    })
}

/// The node's disk pressure and taints.
fn node(host: &Host) -> Result<(String, Vec<String>)> {
    let nodes = host.objects("nodes")?;
    let node = nodes.first().context("no node")?;
    let conditions = node["status"]["conditions"].as_array().context("no conditions")?;
    let pressure = conditions.iter().find(|condition| condition["type"] == "DiskPressure");
    let pressure = pressure.context("no DiskPressure")?["status"].as_str().unwrap_or_default();
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let keys = taints.filter_map(|taint| taint["key"].as_str()).map(str::to_owned).collect();
    Ok((pressure.to_owned(), keys))
}

/// What a command says that must fail.
fn refused(host: &Host, arguments: &[&str]) -> Result<String> {
    let Output { status, stderr, .. } = host.run(arguments)?;
    ensure!(status.code() == Some(1), "{arguments:?}: {status}");
    Ok(String::from_utf8(stderr)?)
}

/// A set that runs this image.
fn set(name: &str, image: &str) -> String {
    let set = Set::named(name).container(&json!({"image": image, "imagePullPolicy": "Never"}));
    set.script(STAY).text()
}

#[test]
fn above_the_high_mark_the_images_unused_longest_go_until_the_low_mark() -> Result<()> {
    let marks =
        json!({"gcHighThresholdPercent": 60, "gcLowThresholdPercent": 55, "minimumGCAge": "0s"});
    on_small_disk(128, &marks, |host, _disk| {
        // Each takes its bytes twice: as it came, and unpacked.
        import(host, "r.io/used:1", 8)?;
        host.write("web.yaml", &set("web", "r.io/used:1"))?;
        let pod = host.running("web")?;
        host.write("later.yaml", &set("later", "r.io/wanted:1"))?;
        host.until("the pod of later", || Ok(host.pods_of("later")?.first().cloned()))?;
        import(host, "r.io/old:1", 10)?;
        import(host, "r.io/new:1", 10)?;
        import(host, "r.io/wanted:1", 10)?;
        let freed = event(host, "ImageGCSucceeded")?;
        ensure!(freed.starts_with("Removed r.io/old:1: "), "{freed}");
        ensure!(freed.contains("% full and is "), "{freed}");
        patiently("old to be gone", PATIENCE, || {
            let left = names(host)?;
            Ok((left == ["r.io/new:1", "r.io/used:1", "r.io/wanted:1"]).then_some(()))
        })?;
        let (pressure, taints) = node(host)?;
        ensure!((pressure.as_str(), taints.len()) == ("False", 0), "{pressure} {taints:?}");
        let later = host.running("web")?;
        ensure!(later.id("main") == pod.id("main"), "the container was touched");
        host.running("later").map(drop)
    })
}

#[test]
fn a_disk_that_no_removal_mends_is_the_nodes_disk_pressure_until_there_is_room() -> Result<()> {
    let marks =
        json!({"gcHighThresholdPercent": 70, "gcLowThresholdPercent": 50, "minimumGCAge": "0s"});
    on_small_disk(100, &marks, |host, disk| {
        host.offer_image()?;
        host.write("web.yaml", &Set::named("web").text())?;
        let pod = host.running("web")?;
        disk.fill(75)?;
        import(host, "r.io/unused:1", 1)?;
        event(host, "NodeHasDiskPressure")?;
        let short = event(host, "FreeDiskSpaceFailed")?;
        ensure!(
            short.starts_with(
                "Failed to garbage collect required amount of images. Attempted to free "
            ),
            "{short}"
        );
        ensure!(names(host)? == [IMAGE], "what is in use, and what has its archive there, stays");
        let tainted = ("True".to_owned(), vec!["node.kubernetes.io/disk-pressure".to_owned()]);
        ensure!(node(host)? == tainted, "{:?}", node(host)?);
        let described = host.podward(&["describe", "node", "it-node"])?;
        ensure!(described.contains("node.kubernetes.io/disk-pressure:NoSchedule"), "{described}");

        // Pods of sets tolerate it, and a new configuration does not wipe it out.
        host.write("more.yaml", &Set::named("more").text())?;
        host.running("more")?;
        host.describe_node(
            &json!({"tier": "front"}),
            &json!([{"key": "own", "effect": "PreferNoSchedule"}]),
        )?;
        patiently("both taints", PATIENCE, || {
            let (_, taints) = node(host)?;
            Ok((taints == ["own", "node.kubernetes.io/disk-pressure"]).then_some(()))
        })?;

        disk.fill(0)?;
        host.remove("more.yaml")?;
        event(host, "NodeHasNoDiskPressure")?;
        let calm = ("False".to_owned(), vec!["own".to_owned()]);
        ensure!(node(host)? == calm, "{:?}", node(host)?);
        ensure!(host.running("web")?.id("main") == pod.id("main"), "the container was touched");
        Ok(())
    })
}

#[test]
fn images_are_listed_imported_and_removed_by_hand() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let pod = host.running("web")?;
        import(host, "r.io/one:1", 1)?;
        import(host, "r.io/two:1", 1)?;
        host.write("two.yaml", &set("two", "r.io/two:1"))?;
        host.running("two")?;
        let table = host.podward(&["image", "list"])?;
        let row =
            |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        ensure!(table.starts_with("IMAGE "), "{table}");
        ensure!(row("docker.io/library/busybox ").contains(&pod.name()), "{table}");
        ensure!(row("docker.io/library/busybox ").ends_with("archive"), "{table}");
        ensure!(row("r.io/one ").contains("<none>"), "{table}");
        let list: Value = serde_json::from_str(&host.podward(&["image", "list", "-o", "json"])?)?;
        let two = list["items"].as_array().into_iter().flatten();
        let mut two = two.filter(|image| image["names"] == json!(["r.io/two:1"]));
        let two = two.next().with_context(|| list.to_string())?;
        ensure!(two["size"].as_u64() > Some(1 << 20), "{two}");
        ensure!(two["usedBy"].as_array().map(Vec::len) == Some(2), "its pod and its set: {two}");

        let said = host.podward(&["image", "prune", "--dry-run"])?;
        ensure!(
            said.starts_with("would remove r.io/one:1 (") && said.lines().count() == 2,
            "{said}"
        );
        ensure!(names(host)?.len() == 3, "a dry run removes nothing");
        let said = host.podward(&["image", "prune"])?;
        ensure!(said.starts_with("removed r.io/one:1 (") && said.ends_with(" freed\n"), "{said}");
        ensure!(names(host)? == [IMAGE, "r.io/two:1"], "{:?}", names(host)?);
        ensure!(host.podward(&["image", "prune"])?.starts_with("nothing to remove"), "twice");

        // Without its archive and its pods, the first one goes as well.
        host.remove("web.yaml")?;
        host.gone("web")?;
        fs::remove_file(host.path("state/images/busybox.tar"))?;
        host.podward(&["image", "prune"])?;
        ensure!(names(host)? == ["r.io/two:1"], "{:?}", names(host)?);
        host.remove("two.yaml")?;
        host.gone("two")?;
        host.podward(&["image", "prune"])?;
        ensure!(names(host)?.is_empty(), "{:?}", names(host)?);
        let blobs = host.containerd.ctr(&["content", "ls", "-q"])?;
        ensure!(blobs.trim().is_empty(), "blobs are left: {blobs}");
        Ok(())
    })
}

#[test]
fn files_that_are_no_archives_are_refused_with_their_names() -> Result<()> {
    on_host(|host| {
        let missing = host.path("missing.tar");
        let said = refused(host, &["image", "import", &missing.display().to_string()])?;
        let wanted = format!("error: image archive {}: cannot be opened: ", missing.display());
        ensure!(said.starts_with(&wanted) && said.lines().count() == 1, "{said}");
        let wrong = host.path("wrong.tar");
        fs::write(&wrong, "no archive\n")?;
        let said = refused(host, &["image", "import", &wrong.display().to_string()])?;
        ensure!(said.starts_with(&format!("error: image archive {}: ", wrong.display())), "{said}");
        ensure!(said.lines().count() == 1, "{said}");
        ensure!(!Path::new(&missing).exists(), "nothing is made");
        let said = refused(host, &["image", "pull", "Not A Reference"])?;
        ensure!(said.contains("Not A Reference") && said.lines().count() == 1, "{said}");
        Ok(())
    })
}
