//! Registries: how they are reached, whom podward believes there, and whom it tells nothing.

use std::fs;

use anyhow::Result;
use serde_json::json;

use crate::support::NOWHERE;
use crate::support::certs::Pair;
use crate::support::oci::Image;
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{Door, Registry};
use crate::support::scene::{NAME, with_registry};

#[test]
fn a_registry_of_a_private_authority_is_believed_once_the_authority_is_named() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("tls")?)?;
        let keys = scene.host.path("keys");
        let authority = Pair::authority(&keys, "authority")?;
        let Pair { certificate, key } = authority.vouch(&keys, "server")?;
        let door = Door { tls: Some((certificate, key)), ..Door::default() };
        let registry = Registry::with(&scene.host.path("registry"), door)?;
        let server = format!("server = \"https://{}\"\n", registry.address);
        scene.host.hosts_toml(NAME, &server)?;
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        let address = registry.address.to_string();
        let remedy = "name its CA certificate in `ca` of the host's hosts.toml";
        scene.refused("app", &[&address, "tls: the certificate of 127.0.0.1", remedy])?;
        let ca = scene.host.path("certs.d").join(NAME).join("authority.crt");
        fs::copy(authority.certificate, ca)?;
        // A path in it begins where the file is.
        scene.host.hosts_toml(NAME, &format!("{server}ca = \"authority.crt\"\n"))?;
        scene.try_again("app")?;
        scene.says("app", "tls").map(drop)
    })
}

#[test]
fn a_certificate_that_vouches_for_itself_is_believed_when_it_is_named() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("self-signed")?)?;
        let Pair { certificate, key } = Pair::self_signed(&scene.host.path("keys"))?;
        let door = Door { tls: Some((certificate.clone(), key)), ..Door::default() };
        let registry = Registry::with(&scene.host.path("registry"), door)?;
        let server = format!("server = \"https://{}\"\n", registry.address);
        scene.host.hosts_toml(NAME, &format!("{server}ca = {certificate:?}\n"))?;
        scene.host.start_agent()?;
        scene.start("named", &name)?;
        scene.says("named", "self-signed")?;
        // Or when the operator looks away.
        scene.host.hosts_toml("away.test", &format!("{server}skip_verify = true\n"))?;
        scene.start("away", "away.test/app:1")?;
        scene.says("away", "self-signed").map(drop)
    })
}

#[test]
fn a_registry_that_wants_a_certificate_of_us_gets_it() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("mutual")?)?;
        let keys = scene.host.path("keys");
        let authority = Pair::authority(&keys, "authority")?;
        let Pair { certificate, key } = authority.vouch(&keys, "server")?;
        let client = authority.vouch(&keys, "client")?;
        let clients = Some(authority.certificate.clone());
        let door = Door { tls: Some((certificate, key)), clients, ..Door::default() };
        let registry = Registry::with(&scene.host.path("registry"), door)?;
        let server = format!(
            "server = \"https://{}\"\nca = {:?}\n",
            registry.address, authority.certificate
        );
        scene.host.hosts_toml(NAME, &server)?;
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.refused("app", &["it wants a client certificate, or another one"])?;
        let client = format!("client = [[{:?}, {:?}]]\n", client.certificate, client.key);
        scene.host.hosts_toml(NAME, &(server + &client))?;
        scene.try_again("app")?;
        scene.says("app", "mutual").map(drop)
    })
}

#[test]
fn a_registry_without_tls_is_named_as_such() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("plain")?)?;
        let address = scene.registry.address;
        scene.host.hosts_toml(NAME, &format!("server = \"https://{address}\"\n"))?;
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        let remedy = format!("write \"http://{address}\" in its hosts.toml");
        scene.refused("app", &["it speaks plain HTTP and not TLS", &remedy])?;
        assert!(scene.proxy.seen("").is_empty());
        Ok(())
    })
}

#[test]
fn the_second_mirror_serves_when_the_first_is_dead() -> Result<()> {
    with_registry(|scene| {
        scene.push("library/busybox", "7", &Image::busybox("mirrored")?)?;
        let mirrors = format!(
            "server = \"http://{NOWHERE}\"\n[host.\"http://{NOWHERE}\"]\n[host.\"http://{}\"]\n",
            scene.proxy.address()
        );
        scene.host.hosts_toml("docker.io", &mirrors)?;
        scene.host.start_agent()?;
        scene.start("app", "busybox:7")?;
        scene.says("app", "mirrored")?;
        for seen in scene.proxy.seen("") {
            assert!(seen.head.target().ends_with("?ns=docker.io"), "{}", seen.head.first);
        }
        // And when all are, each is named.
        scene.start("none", "busybox:8")?;
        let words = ["no host of docker.io serves it", NOWHERE, "connection refused"];
        let message = scene.refused("none", &words)?;
        let proxy = scene.proxy.address().to_string();
        assert!(
            message.contains(&format!("{proxy}: manifest 8 of library/busybox: not found")),
            "{message}"
        );
        Ok(())
    })
}

#[test]
fn a_registry_that_nobody_can_reach_is_said_to_be_so() -> Result<()> {
    with_registry(|scene| {
        scene.host.start_agent()?;
        scene.start("far", "far.test/app:1")?;
        scene.refused(
            "far",
            &["Failed to pull image \"far.test/app:1\"", NOWHERE, "connection refused"],
        )?;
        Ok(())
    })
}

#[test]
fn a_storage_that_blobs_are_redirected_to_learns_no_credentials() -> Result<()> {
    with_registry(|scene| {
        let name = scene.push("app", "1", &Image::busybox("stored")?)?;
        let login = Some(("ann".to_owned(), crate::support::scene::HUSH.to_owned()));
        let guarded =
            Registry::with(&scene.host.path("registry"), Door { login, ..Door::default() })?;
        scene.proxy.turn_to(guarded.address);
        let storage = Proxy::before(scene.registry.address)?;
        scene.proxy.always("/blobs/", Fault::Redirect(storage.address()));
        // A header of the operator's is for the host that it was written for.
        let hosts = format!(
            "server = \"http://{0}\"\n[host.\"http://{0}\"]\n[host.\"http://{0}\".header]\nx-team = \"ours\"\n",
            scene.proxy.address()
        );
        scene.host.hosts_toml(NAME, &hosts)?;
        let auth = json!({"auths": {NAME: {"username": "ann", "password": crate::support::scene::HUSH}, scene.proxy.address().to_string(): {"username": "ann", "password": crate::support::scene::HUSH}}});
        fs::write(scene.host.path("auth.json"), auth.to_string())?;
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.says("app", "stored")?;
        assert!(
            scene
                .proxy
                .seen("/manifests/")
                .iter()
                .any(|seen| { seen.authorized() && seen.head.header("x-team") == Some("ours") })
        );
        let stored = storage.seen("/blobs/");
        assert!(!stored.is_empty());
        for seen in stored {
            assert!(!seen.authorized() && seen.head.header("x-team").is_none(), "{:?}", seen.head);
        }
        Ok(())
    })
}
