//! The registries' harness is tested first, by containerd's own client: a peer that is not real proves nothing.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::Host;
use crate::support::certs::Pair;
use crate::support::http::ask;
use crate::support::image::architecture;
use crate::support::oci::{Image, Layer, Packing, Words};
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{self, Door, Registry};
use crate::support::tokens::{Tokens, Wanted};

/// A host without an agent, and an empty registry beside it; none where one of them cannot be.
fn scene() -> Result<Option<(Host, Registry)>> {
    if !registry::able()? {
        return Ok(None);
    }
    let Some(host) = Host::new()? else {
        return Ok(None);
    };
    let registry = Registry::new(&host.path("registry"))?;
    Ok(Some((host, registry)))
}

/// Pulls by containerd's client.
fn pull(host: &Host, reference: &str, options: &[&str]) -> Result<()> {
    let hosts = host.path("certs.d").display().to_string();
    let mut words = vec!["images", "pull", "--hosts-dir", &hosts];
    words.extend(options);
    words.push(reference);
    host.containerd.ctr(&words).map(drop)
}

/// The target of an image in containerd's store.
fn target(host: &Host, reference: &str) -> Result<String> {
    let list = host.containerd.ctr(&["images", "ls"])?;
    let line = list.lines().find(|line| line.starts_with(reference)).context("no such image")?;
    line.split_whitespace().nth(2).map(str::to_owned).context("a digest")
}

#[test]
fn images_in_every_form_are_what_containerd_expects() -> Result<()> {
    let Some((host, registry)) = scene()? else {
        return Ok(());
    };
    host.serves("registry.test", registry.address)?;
    let packed = |packing| -> Result<[Layer; 2]> {
        Ok([Layer::root(packing)?, Layer::filler("more", 300_000, packing)?])
    };
    let ours = Image::new(Words::Docker, "ours", &packed(Packing::Gzip)?);
    let foreign = Image::of(Words::Docker, "s390x", "foreign", &packed(Packing::Gzip)?);
    for (tag, image) in [
        ("plain", Image::new(Words::Oci, "plain", &packed(Packing::Plain)?)),
        ("gzip", Image::new(Words::Oci, "gzip", &packed(Packing::Gzip)?)),
        ("zstd", Image::new(Words::Oci, "zstd", &packed(Packing::Zstd)?)),
        ("docker", ours.clone()),
        ("index", Image::index(Words::Docker, vec![("s390x", foreign), (architecture(), ours)])),
    ] {
        image.push(registry.address, "team/app", tag)?;
        let reference = format!("registry.test/team/app:{tag}");
        pull(&host, &reference, &[])?;
        assert_eq!(target(&host, &reference)?, image.digest, "{tag}");
        let said =
            host.containerd.ctr(&["run", "--rm", &reference, tag, "sh", "-c", "echo $SAYS"])?;
        assert_eq!(said.trim(), if ["index", "docker"].contains(&tag) { "ours" } else { tag });
    }
    Ok(())
}

#[test]
fn a_registry_wants_the_trust_that_its_door_says() -> Result<()> {
    let Some((host, registry)) = scene()? else {
        return Ok(());
    };
    Image::busybox("1")?.push(registry.address, "app", "1")?;
    let certs = host.path("keys");
    let authority = Pair::authority(&certs, "authority")?;
    let leaf = authority.vouch(&certs, "server")?;
    let client = authority.vouch(&certs, "client")?;
    let door = Door {
        tls: Some((leaf.certificate, leaf.key)),
        clients: Some(authority.certificate.clone()),
        login: Some(("ann".into(), "secret".into())),
        ..Door::default()
    };
    let registry = registry.behind(door)?;
    let server = format!("server = \"https://{}\"\n", registry.address);
    let ca = format!("{server}ca = {:?}\n", authority.certificate);
    let both = format!("{ca}client = [[{:?}, {:?}]]\n", client.certificate, client.key);
    let reference = "registry.test/app:1";
    for (text, login, words) in [
        (&server, "ann:secret", "certificate signed by unknown authority"),
        (&ca, "ann:secret", "bad certificate"),
        (&both, "", "401 Unauthorized"),
        (&both, "ann:wrong", "401 Unauthorized"),
    ] {
        host.hosts_toml("registry.test", &format!("{text}[host]\n"))?;
        let login = ["--user", login];
        let options: &[&str] = if login[1].is_empty() { &[] } else { &login };
        let refused = pull(&host, reference, options).expect_err("the door is shut");
        ensure!(refused.to_string().contains(words), "{words}: {refused}");
    }
    pull(&host, reference, &["--user", "ann:secret"])
}

#[test]
fn a_token_opens_what_it_was_given_for() -> Result<()> {
    let Some((host, registry)) = scene()? else {
        return Ok(());
    };
    Image::busybox("1")?.push(registry.address, "app", "1")?;
    let wanted = Wanted::Password("ann".into(), "secret".into());
    let tokens = Tokens::start(&host.path("keys"), wanted)?;
    let registry = registry.behind(tokens.door())?;
    host.serves("registry.test", registry.address)?;
    let reference = "registry.test/app:1";
    assert!(pull(&host, reference, &["--user", "ann:wrong"]).is_err());
    pull(&host, reference, &["--user", "ann:secret"])?;
    assert!(tokens.asked().iter().any(|(_, granted)| *granted));
    assert!(tokens.asked().iter().any(|(_, granted)| !*granted));
    Ok(())
}

#[test]
fn a_bad_day_is_as_bad_as_it_is_told_to_be() -> Result<()> {
    let Some((host, registry)) = scene()? else {
        return Ok(());
    };
    let image = Image::with("1", &[Layer::filler("big", 2_000_000, Packing::Plain)?])?;
    image.push(registry.address, "app", "1")?;
    let store = Proxy::before(registry.address)?;
    let proxy = Proxy::before(registry.address)?;
    host.serves("registry.test", proxy.address())?;
    let (reference, big) = ("registry.test/app:1", image.layers()[2].to_owned());
    let address = proxy.address();
    let get = |range: &str| {
        let headers: &[(&str, &str)] = if range.is_empty() { &[] } else { &[("Range", range)] };
        ask(address, &format!("GET /v2/app/blobs/{big}"), headers, &[])
    };
    proxy.times(1, "/blobs/", Fault::Status(503));
    assert_eq!(get("")?.head.status(), 503);
    proxy.times(1, "/blobs/", Fault::Cut(1000));
    assert_eq!(get("")?.body.len(), 1000);
    let part = get("bytes=1000-")?;
    assert_eq!(
        (part.head.status(), part.body.len() + 1000),
        (206, fs::read(registry.blob(&big))?.len())
    );
    proxy.times(1, "/blobs/", Fault::Whole);
    assert_eq!(get("bytes=1000-")?.head.status(), 200);
    proxy.times(1, "/manifests/", Fault::Instead(b"{}".to_vec()));
    assert!(pull(&host, reference, &[]).is_err(), "{}", proxy.story());
    proxy.always("/blobs/", Fault::Redirect(store.address()));
    pull(&host, reference, &[])?;
    assert!(store.sent(&big) > 0 && store.seen("/blobs/").iter().all(|seen| !seen.authorized()));
    let ranges: Vec<_> = proxy.seen(&big).iter().map(|seen| seen.range().is_some()).collect();
    assert_eq!(ranges[..4], [false, false, true, true]);
    Ok(())
}

#[test]
fn what_is_held_goes_on_when_the_proxy_is_healed() -> Result<()> {
    let Some((host, mut registry)) = scene()? else {
        return Ok(());
    };
    let image = Image::busybox("1")?;
    image.push(registry.address, "app", "1")?;
    let proxy = Proxy::before(registry.address)?;
    host.serves("registry.test", proxy.address())?;
    proxy.always("/blobs/", Fault::Hold(500));
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| pull(&host, "registry.test/app:1", &[]));
        let held = proxy.until_held(1);
        proxy.heal();
        let pulled = pulling.join().expect("ctr ends");
        held.and(pulled)
    })?;
    registry.kill()?;
    let gone = ask(proxy.address(), "GET /v2/", &[], &[]);
    assert!(gone.is_err(), "the registry is away");
    registry.start()?;
    proxy.turn_to(registry.address);
    let back: Value = serde_json::from_slice(&ask(proxy.address(), "GET /v2/", &[], &[])?.body)?;
    assert_eq!(back, json!({}));
    Ok(())
}
