//! Pulling: what is asked of a registry, when, how often, and what the operator is told.

use anyhow::{Context, Result};
use serde_json::json;

use crate::support::image::architecture;
use crate::support::oci::{Image, Layer, Packing, Words};
use crate::support::proxy::Fault;
use crate::support::scene::{NAME, with_registry};
use crate::support::set::{STAY, Set};

#[test]
fn an_image_that_is_not_here_is_pulled_once_and_told_of() -> Result<()> {
    with_registry(|scene| {
        let image = Image::busybox("first")?;
        let name = scene.push("team/app", "1", &image)?;
        scene.host.start_agent()?;
        scene.start("one", &name)?;
        scene.says("one", "first")?;
        let host = &scene.host;
        assert!(host.has_event("Pulling", &format!("Pulling image \"{name}\""))?);
        let events = host.objects("events")?;
        let pulled = events.iter().find(|event| event["reason"] == "Pulled").context("Pulled")?;
        let message = pulled["message"].as_str().unwrap_or_default();
        let start = format!("Successfully pulled image \"{name}\" in ");
        let end = format!(" including waiting). Image size: {} bytes.", image.size());
        assert!(message.starts_with(&start) && message.ends_with(&end), "{message}");
        let status = host.running("one")?.container("main").clone();
        assert_eq!(status["imageID"], image.digest);

        let asked = scene.proxy.seen("").len();
        scene.start("two", &name)?;
        scene.says("two", "first")?;
        let here = format!("Container image \"{name}\" already present on machine");
        assert!(host.has_event("Pulled", &here)?);
        assert_eq!(scene.proxy.seen("").len(), asked, "IfNotPresent asks for what is not here");
        let names = host.containerd.ctr(&["images", "ls", "-q"])?;
        for name in [name, format!("{NAME}/team/app@{}", image.digest)] {
            assert!(names.lines().any(|line| line == name), "{name} is not in {names}");
        }
        Ok(())
    })
}

#[test]
fn the_policy_always_asks_what_a_tag_means_for_each_new_pod() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("old")?)?;
        scene.host.start_agent()?;
        let always = scene.set("app", &name).container(&json!({"imagePullPolicy": "Always"}));
        scene.host.write("app.yaml", &always.text())?;
        scene.says("app", "old")?;
        let blobs = scene.proxy.seen("/blobs/").len();
        scene.try_again("app")?;
        scene.says("app", "old\nold")?;
        assert_eq!(scene.proxy.seen("/manifests/1").len(), 2);
        assert_eq!(scene.proxy.seen("/blobs/").len(), blobs, "what is here is not fetched");
        scene.push("app", "1", &Image::busybox("new")?)?;
        scene.try_again("app")?;
        scene.says("app", "old\nold\nnew").map(drop)
    })
}

#[test]
fn every_form_of_image_runs_and_no_other_platform_is_fetched() -> Result<()> {
    with_registry(|scene| {
        let packed = |packing| -> Result<[Layer; 2]> {
            Ok([Layer::root(packing)?, Layer::filler("more", 100_000, packing)?])
        };
        let strange = Layer::filler("strange", 100_000, Packing::Gzip)?;
        let foreign = Image::of(Words::Oci, "s390x", "foreign", std::slice::from_ref(&strange));
        let ours = Image::new(Words::Docker, "docker", &packed(Packing::Gzip)?);
        let other = Image::new(Words::Oci, "index", &packed(Packing::Zstd)?);
        let mut containers = vec![];
        for (tag, image) in [
            ("plain", Image::new(Words::Oci, "plain", &packed(Packing::Plain)?)),
            ("gzip", Image::new(Words::Oci, "gzip", &packed(Packing::Gzip)?)),
            ("zstd", Image::new(Words::Oci, "zstd", &packed(Packing::Zstd)?)),
            ("docker", ours.clone()),
            ("index", Image::index(Words::Oci, vec![("s390x", foreign), (architecture(), other)])),
            ("list", Image::index(Words::Docker, vec![(architecture(), ours)])),
        ] {
            let name = scene.push("forms", tag, &image)?;
            let script = format!("test -s /filler/more && echo $SAYS >/out/{tag}; {STAY}");
            containers.push(json!({"name": tag, "image": name, "command": ["sh", "-c", script]}));
        }
        scene.host.start_agent()?;
        let set = Set::named("forms")
            .pod(&json!({"containers": containers}))
            .out(&scene.host.path("out"));
        scene.host.write("forms.yaml", &set.text())?;
        for form in ["plain", "gzip", "zstd", "docker", "index"] {
            scene.says(form, form)?;
        }
        scene.says("list", "docker")?;
        assert!(scene.proxy.seen(&strange.digest).is_empty(), "another platform's layer");
        Ok(())
    })
}

#[test]
fn one_pull_serves_all_pods_that_wait_for_the_image() -> Result<()> {
    with_registry(|scene| {
        let image = Image::busybox("shared")?;
        let name = scene.push("app", "1", &image)?;
        let layer = image.layers()[0];
        scene.proxy.always(layer, Fault::Hold(1000));
        scene.host.start_agent()?;
        let sets = ["a", "b", "c", "d"];
        for set in sets {
            scene.start(set, &name)?;
        }
        scene.proxy.until_held(1)?;
        for set in sets {
            scene.host.until_pod(set, "waiting", |pod| !pod.waits_for("main").is_empty())?;
        }
        scene.proxy.heal();
        for set in sets {
            scene.says(set, "shared")?;
        }
        for digest in image.blobs.iter().map(|(digest, _)| digest) {
            assert_eq!(scene.proxy.seen(digest).len(), 1, "{digest}");
        }
        assert_eq!(scene.proxy.seen("/manifests/1").len(), 1);
        Ok(())
    })
}

#[test]
fn no_more_images_are_pulled_at_once_than_the_operator_says() -> Result<()> {
    with_registry(|scene| {
        scene.host.configure("images", json!({"maxParallelPulls": 2}))?;
        let sets = ["a", "b", "c", "d"];
        let mut all = vec![];
        for set in sets {
            let filler = Layer::filler(set, 100_000, Packing::Plain)?;
            scene.proxy.always(&filler.digest, Fault::Hold(50_000));
            let name = scene.push(set, "1", &Image::with(set, &[filler])?)?;
            all.push(scene.set(set, &name).text());
        }
        scene.host.start_agent()?;
        scene.host.write("all.yaml", &all.join("---\n"))?;
        scene.proxy.until_held(2)?;
        for set in sets {
            scene.host.until_pod(set, "waiting", |pod| !pod.waits_for("main").is_empty())?;
        }
        let events = scene.host.objects("events")?;
        assert_eq!(events.iter().filter(|event| event["reason"] == "Pulling").count(), 2);
        scene.proxy.heal();
        for set in sets {
            scene.says(set, set)?;
        }
        assert_eq!(scene.proxy.peak(), 2, "{}", scene.proxy.story());
        Ok(())
    })
}

#[test]
fn layers_that_images_share_are_fetched_once() -> Result<()> {
    with_registry(|scene| {
        let common = Layer::filler("common", 500_000, Packing::Gzip)?;
        let first = scene.push("first", "1", &Image::with("1", std::slice::from_ref(&common))?)?;
        let own = Layer::filler("own", 1000, Packing::Gzip)?;
        let image = Image::with("1", &[common.clone(), own.clone()])?;
        let second = scene.push("second", "1", &image)?;
        scene.host.start_agent()?;
        scene.start("first", &first)?;
        scene.says("first", "1")?;
        scene.start("second", &second)?;
        scene.says("second", "1")?;
        let fetched: Vec<String> =
            scene.proxy.seen("/second/blobs/").iter().map(|seen| seen.path().to_owned()).collect();
        let config = &image.blobs[0].0;
        for path in &fetched {
            assert!(path.ends_with(config) || path.ends_with(&own.digest), "{path}");
        }
        assert_eq!(fetched.len(), 2, "{fetched:?}");
        Ok(())
    })
}

#[test]
fn a_digest_names_one_image_whatever_its_tag_has_become() -> Result<()> {
    with_registry(|scene| {
        let old = Image::busybox("old")?;
        scene.push("app", "1", &old)?;
        scene.push("app", "1", &Image::busybox("new")?)?;
        scene.host.start_agent()?;
        scene.start("bare", &format!("{NAME}/app@{}", old.digest))?;
        scene.start("both", &format!("{NAME}/app:1@{}", old.digest))?;
        scene.says("bare", "old")?;
        scene.says("both", "old")?;
        assert!(scene.proxy.seen("/manifests/1").is_empty(), "nobody asks what the tag means");
        Ok(())
    })
}

#[test]
fn a_name_that_can_be_no_image_is_refused_before_there_is_a_pod() -> Result<()> {
    with_registry(|scene| {
        scene.host.start_agent()?;
        scene.start("odd", &format!("{NAME}/Not/An:Image:1"))?;
        scene.host.until("the refusal", || {
            let events = scene.host.objects("events")?;
            let mut said = events.iter().filter_map(|event| event["message"].as_str());
            let told = said.any(|said| {
                said.contains("no image can have this name") && said.contains("containers[0].image")
            });
            Ok(told.then_some(()))
        })?;
        assert!(scene.host.pods_of("odd")?.is_empty());
        assert!(scene.proxy.seen("").is_empty());
        Ok(())
    })
}

#[test]
fn an_operator_pulls_by_hand_what_pods_then_find_here() -> Result<()> {
    with_registry(|scene| {
        let image = Image::busybox("by hand")?;
        let name = scene.push("app", "1", &image)?;
        scene.host.start_agent()?;
        let said = scene.host.podward(&["image", "pull", &name])?;
        assert!(said.contains(&format!("Successfully pulled image \"{name}\" in ")), "{said}");
        assert!(said.ends_with(&format!("Digest: {}\n", image.digest)), "{said}");
        let missing = scene.host.run(&["image", "pull", &format!("{NAME}/app:2")])?;
        let said = String::from_utf8_lossy(&missing.stderr).into_owned();
        assert_eq!(missing.status.code(), Some(1), "{said}");
        assert!(said.contains("manifest 2 of app: not found"), "{said}");
        let asked = scene.proxy.seen("").len();
        scene.start("app", &name)?;
        scene.says("app", "by hand")?;
        assert_eq!(scene.proxy.seen("").len(), asked);
        Ok(())
    })
}
