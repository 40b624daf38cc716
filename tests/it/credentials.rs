//! Credentials: whose are shown to a registry, and what is said when none opens it.

use std::fs;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::oci::Image;
use crate::support::registry::{Door, Registry};
use crate::support::scene::{HUSH, Scene, secret, with_registry};
use crate::support::tokens::{Tokens, Wanted};

/// The type of a Secret with a docker configuration.
const CONFIG: &str = "kubernetes.io/dockerconfigjson";
/// The type of the older form.
const OLD_CONFIG: &str = "kubernetes.io/dockercfg";

/// A docker configuration that knows the registry.
fn config(scene: &Scene, password: &str) -> Value {
    let registry = scene.proxy.address().to_string();
    json!({"auths": {registry: {"auth": STANDARD.encode(format!("ann:{password}"))}}})
}

/// Puts an image into the registry and returns its name by the registry's address: credentials are shown to whom they name.
fn push(scene: &Scene, repository: &str, says: &str) -> Result<String> {
    let (address, image) = (scene.proxy.address(), Image::busybox(says)?);
    image.push(scene.registry.address, repository, "1")?;
    scene.host.serves(&address.to_string(), address)?;
    Ok(format!("{address}/{repository}:1"))
}

/// Puts a door with a password before the registry's files.
fn guard(scene: &Scene) -> Result<Registry> {
    let door = Door { login: Some(("ann".into(), HUSH.into())), ..Door::default() };
    let registry = Registry::with(&scene.host.path("registry"), door)?;
    scene.proxy.turn_to(registry.address);
    Ok(registry)
}

/// Demands that the password stands in nothing that operators read.
fn hushed(scene: &Scene) -> Result<()> {
    let encoded = STANDARD.encode(format!("ann:{HUSH}"));
    let mut told = fs::read_to_string(scene.host.path("agent.log"))?;
    for kind in ["pods", "ds", "events"] {
        told += &serde_json::to_string(&scene.host.objects(kind)?)?;
    }
    assert!(!told.contains(HUSH) && !told.contains(&encoded), "a password was told");
    Ok(())
}

#[test]
fn a_guarded_registry_opens_for_the_pods_own_secret_alone() -> Result<()> {
    with_registry(|scene| {
        let name = push(scene, "app", "guarded")?;
        let _guarded = guard(scene)?;
        scene.host.start_agent()?;
        let set = scene.set("app", &name);
        scene.host.write("app.yaml", &set.text())?;
        let message =
            scene.refused("app", &["401 Unauthorized", "no credentials are known for it"])?;
        assert!(
            message.contains("give credentials by imagePullSecrets or images.authFile"),
            "{message}"
        );

        let pod = json!({"imagePullSecrets": [{"name": "team"}]});
        let wrong = secret("team", CONFIG, ".dockerconfigjson", &config(scene, "wrong-one"));
        scene.host.write("team.yaml", &wrong)?;
        scene.host.write("app.yaml", &set.clone().pod(&pod).text())?;
        // What is there stays until the next revision's images are here.
        scene.host.until("the reason to be told", || {
            let why = scene.host.podward(&["why", "ds/app"])?;
            Ok(why.contains("the credentials that were shown do not open it").then_some(()))
        })?;

        let right = secret("team", CONFIG, ".dockerconfigjson", &config(scene, HUSH));
        scene.host.write("team.yaml", &right)?;
        scene.host.run(&["sync"])?;
        scene.try_again("app")?;
        scene.says("app", "guarded")?;
        hushed(scene)
    })
}

#[test]
fn the_older_form_of_a_secret_and_the_hosts_own_file_open_a_registry_too() -> Result<()> {
    with_registry(|scene| {
        let old = push(scene, "old", "old form")?;
        let hosts = push(scene, "hosts", "host's file")?;
        let _guarded = guard(scene)?;
        scene.host.start_agent()?;
        let form = secret("old", OLD_CONFIG, ".dockercfg", &config(scene, HUSH)["auths"]);
        let set = scene.set("old", &old).pod(&json!({"imagePullSecrets": [{"name": "old"}]}));
        scene.host.write("old.yaml", &format!("{form}---\n{}", set.text()))?;
        scene.says("old", "old form")?;
        // The file is read when it is needed.
        fs::write(scene.host.path("auth.json"), config(scene, HUSH).to_string())?;
        scene.start("hosts", &hosts)?;
        scene.says("hosts", "host's file")?;
        hushed(scene)
    })
}

#[test]
fn a_token_is_fetched_with_the_password_and_for_no_more_than_is_needed() -> Result<()> {
    with_registry(|scene| {
        let name = push(scene, "team/app", "token")?;
        let wanted = Wanted::Password("ann".into(), HUSH.into());
        let tokens = Tokens::start(&scene.host.path("keys"), wanted)?;
        let guarded = Registry::with(&scene.host.path("registry"), tokens.door())?;
        scene.proxy.turn_to(guarded.address);
        scene.host.start_agent()?;
        scene.start("app", &name)?;
        scene.refused("app", &["its token server", "401 Unauthorized"])?;
        fs::write(scene.host.path("auth.json"), config(scene, HUSH).to_string())?;
        scene.try_again("app")?;
        scene.says("app", "token")?;
        let asked = tokens.asked();
        assert!(asked.iter().any(|(_, granted)| *granted));
        for (request, _) in &asked {
            let target = request.head.target().replace("%3A", ":").replace("%2F", "/");
            assert!(target.contains("scope=repository:team/app:pull"), "{target}");
        }
        // One token serves the whole pull.
        assert_eq!(asked.iter().filter(|(_, granted)| *granted).count(), 1);
        let mut blobs = scene.proxy.seen("/blobs/");
        blobs.retain(|seen| {
            !seen.head.header("authorization").is_some_and(|shown| shown.starts_with("Bearer "))
        });
        assert!(blobs.is_empty(), "{blobs:?}");
        hushed(scene)
    })
}

#[test]
fn a_token_is_had_anonymously_or_for_an_identity_token() -> Result<()> {
    with_registry(|scene| {
        let open = push(scene, "open", "anonymous")?;
        let known = push(scene, "known", "identity")?;
        let tokens = Tokens::start(&scene.host.path("keys"), Wanted::Nothing)?;
        let guarded = Registry::with(&scene.host.path("registry"), tokens.door())?;
        scene.proxy.turn_to(guarded.address);
        scene.host.start_agent()?;
        scene.start("open", &open)?;
        scene.says("open", "anonymous")?;

        let wanted = Wanted::Identity(HUSH.into());
        let others = Tokens::start(&scene.host.path("other-keys"), wanted)?;
        let guarded = Registry::with(&scene.host.path("registry"), others.door())?;
        scene.proxy.turn_to(guarded.address);
        let auth = json!({"auths": {scene.proxy.address().to_string(): {"identitytoken": HUSH}}});
        fs::write(scene.host.path("auth.json"), auth.to_string())?;
        scene.start("known", &known)?;
        scene.says("known", "identity")?;
        assert!(others.asked().iter().all(|(request, _)| !request.head.target().contains(HUSH)));
        Ok(())
    })
}
