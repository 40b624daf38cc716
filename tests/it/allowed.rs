//! What the operator allows: repositories, digests, signatures; the refusal names the key and the remedy.

use std::fs;

use anyhow::Result;
use serde_json::json;

use crate::support::certs::Pair;
use crate::support::oci::Image;
use crate::support::scene::{NAME, why, with_registry};

#[test]
fn an_image_from_elsewhere_is_refused_before_anybody_is_asked() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("other/app", "1", &Image::busybox("elsewhere")?)?;
        let allowed = scene.push("team/app", "1", &Image::busybox("allowed")?)?;
        let team = format!("{NAME}/team/*");
        scene.host.configure("images", json!({"policy": {"allowed": [team]}}))?;
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        let key = format!("images.policy.allowed has {NAME}/team/*");
        let remedy = format!("add {NAME}/other/app to the list");
        scene.refused("app", &["is not allowed here", &key, &remedy])?;
        assert!(scene.proxy.seen("").is_empty());
        scene.start("team", &allowed)?;
        scene.says("team", "allowed").map(drop)
    })
}

#[test]
fn a_tag_alone_is_refused_where_digests_are_required() -> Result<()> {
    with_registry(|scene| {
        let image = Image::busybox("pinned")?;
        let name = scene.push("app", "1", &image)?;
        scene.host.configure("images", json!({"policy": {"requireDigest": true}}))?;
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.refused("app", &["images.policy.requireDigest is on", "app:1@sha256:"])?;
        scene.start("app", &format!("{name}@{}", image.digest))?;
        scene.says("app", "pinned").map(drop)
    })
}

#[test]
fn an_image_runs_with_the_signature_that_is_asked_for_and_not_without() -> Result<()> {
    with_registry(|scene| {
        let keys = scene.host.path("keys");
        let (ours, others) = (Pair::authority(&keys, "ours")?, Pair::authority(&keys, "others")?);
        let key = ours.public_key()?;
        let rules = json!([{"match": format!("{NAME}/signed"), "keys": [key]}]);
        scene.host.configure("images", json!({"policy": {"signatures": rules}}))?;
        for name in ["good", "strange", "moved", "bare"] {
            let repository = format!("signed/{name}");
            let image = Image::busybox(name)?;
            scene.push(&repository, "1", &image)?;
            let (pair, of) = match name {
                "good" => (&ours, image.digest.clone()),
                "strange" => (&others, image.digest.clone()),
                // Of another image, as somebody would copy it who has no key.
                "moved" => (&ours, Image::busybox("another")?.digest),
                _ => continue,
            };
            let signature = Image::signature(pair, &format!("{NAME}/{repository}"), &of)?;
            scene.push(&repository, &Image::signature_tag(&image.digest), &signature)?;
        }
        scene.push("free", "1", &Image::busybox("free")?)?;
        scene.host.start_agent()?;
        scene.start("good", &format!("{NAME}/signed/good:1"))?;
        scene.start("free", &format!("{NAME}/free:1"))?;
        scene.says("good", "good")?;
        scene.says("free", "free")?;
        for name in ["strange", "moved", "bare"] {
            scene.start(name, &format!("{NAME}/signed/{name}:1"))?;
            let pod = scene.host.until_pod(name, "refused", |pod| {
                pod.waits_for("main") == "SignatureValidationFailed"
            })?;
            let message = why(&pod);
            assert!(message.contains("signature validation failed"), "{message}");
            assert!(message.contains(&fs::canonicalize(&key)?.display().to_string()), "{message}");
            let layers = scene.proxy.seen(&format!("/signed/{name}/blobs/"));
            let big = Image::busybox(name)?.layers()[0].to_owned();
            assert!(layers.iter().all(|seen| !seen.path().ends_with(&big)), "{layers:?}");
        }
        Ok(())
    })
}
