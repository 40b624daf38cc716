//! Pulls by containerd's Transfer service, which 2.x has, from a real registry; older daemons are refused.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use podward::testing::{
    Endpoint, Login, PullError, Pulled, Reference, Wanted,
    containerd::Containerd,
    progress::{LayerState, Progress},
    transfer,
};
use tokio::sync::watch;

use super::{
    daemon::{Daemon, daemon},
    images::architecture,
    registry::{PASSWORD, Registry, USER, is_there, layout},
};

/// A daemon whose Transfer service is used, and what it is told.
struct Scene {
    daemon: Daemon,
    client: Containerd,
    progress: watch::Sender<Progress>,
}

/// A daemon; `None` where its containerd is too old, or a tool is missing.
async fn scene() -> Option<Scene> {
    let scene = any_scene().await?;
    if is_old(&scene.client).await {
        eprintln!("\n*** SKIPPED: this test needs containerd 2.x ***\n");
        return None;
    }
    is_there().then_some(scene)
}

async fn any_scene() -> Option<Scene> {
    let daemon = daemon().await?;
    let client = daemon.ready().await;
    Some(Scene { daemon, client, progress: watch::Sender::default() })
}

async fn is_old(client: &Containerd) -> bool {
    client.version().await.unwrap().starts_with("1.")
}

impl Scene {
    async fn pull(&self, reference: &str, logins: Vec<Login>) -> Result<Pulled, PullError> {
        self.pull_at(reference, None, logins).await
    }

    /// Pulls from a registry whose logins these are.
    async fn pull_at(
        &self,
        reference: &str,
        digest: Option<&str>,
        logins: Vec<Login>,
    ) -> Result<Pulled, PullError> {
        let reference = Reference::parse(reference).unwrap();
        let (endpoints, logins) = ([endpoint(reference.registry())], [logins]);
        let (hosts_dir, reference) = (&self.hosts_dir(), &reference);
        let wanted =
            Wanted { reference, digest, hosts_dir, endpoints: &endpoints, logins: &logins };
        transfer(&self.client, wanted, &self.progress).await
    }

    /// Pushes an image for this host and another one, and says where the registry's own word is heard.
    fn push(&self, registry: &Registry, name: &str) -> String {
        let dir = self.daemon.path(&name.replace(['/', ':'], "-"));
        let digest = layout(&dir, &[foreign(), architecture()], name);
        registry.push(&dir, name);
        registry.hosts_toml(&self.hosts_dir());
        digest
    }

    fn hosts_dir(&self) -> PathBuf {
        self.daemon.path("certs.d")
    }

    /// Puts a verifier in containerd's way.
    fn verifier(&self, script: &str) {
        let dir = self.daemon.path("verifiers");
        fs::create_dir_all(&dir).unwrap();
        let (aside, path) = (self.daemon.path("verifier"), dir.join("judge"));
        fs::write(&aside, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(aside, path).unwrap();
    }

    fn blobs(&self) -> usize {
        self.daemon.ctr(&["content", "ls", "-q"]).lines().count()
    }
}

/// A processor that this host has not.
fn foreign() -> &'static str {
    if architecture() == "s390x" { "arm64" } else { "s390x" }
}

/// The host of a registry on loopback.
fn endpoint(registry: &str) -> Endpoint {
    Endpoint { tls: false, ..Endpoint::of(registry).unwrap() }
}

fn password(password: &str) -> Login {
    Login::Password { user: USER.into(), password: password.into() }
}

#[tokio::test]
async fn an_old_daemon_is_refused_by_version_with_the_remedy() {
    let Some(scene) = any_scene().await else { return };
    if !is_old(&scene.client).await {
        return;
    }
    let version = scene.client.version().await.unwrap();
    let error = scene.pull("127.0.0.1:1/app:1", vec![]).await.unwrap_err().to_string();
    let told = ["containerd.pull", &version, "set containerd.pull to client"];
    assert!(told.iter().all(|part| error.contains(part)), "{error}");
    scene.daemon.assert_empty();
}

#[tokio::test]
async fn a_transfer_obeys_hosts_toml_and_leaves_an_image_that_lasts() {
    let Some(scene) = scene().await else { return };
    let registry = Registry::open();
    let digest = scene.push(&registry, "team/app:1");
    let name = format!("{}/team/app:1", registry.host);
    let pulled = scene.pull(&name, vec![]).await.unwrap();
    assert_eq!(
        (pulled.image.reference.as_str(), pulled.image.config.env.len()),
        (name.as_str(), 1)
    );
    let layers = scene.progress.borrow().clone();
    assert_eq!((layers.layers.len(), layers.done(), layers.here()), (2, 2, layers.size()));
    assert!(layers.layers.iter().all(|layer| layer.state == LayerState::Done), "{layers:?}");
    assert!(layers.layers[0].size > layers.layers[1].size, "the lowest comes first: {layers:?}");
    assert!(pulled.size > layers.size(), "the configuration counts: {pulled:?}");
    let second = format!("{}/team/app@{digest}", registry.host);
    let mut names = scene.daemon.images();
    names.sort();
    assert_eq!(names, [(name.clone(), digest.clone()), (second, digest.clone())]);
    // What is left of the tag does not matter to what holds the digest.
    scene.daemon.ctr(&["images", "rm", &name]);
    scene.daemon.collect_garbage();
    let image = scene.client.image(&format!("{}/team/app@{digest}", registry.host)).await.unwrap();
    assert_eq!(image.unwrap().chain_id, pulled.image.chain_id);
    let again = scene.pull(&format!("{name}@{digest}"), vec![]).await.unwrap();
    assert_eq!(again.image.chain_id, pulled.image.chain_id);
    let layers = scene.progress.borrow().clone();
    assert!(layers.layers.iter().all(|layer| layer.state == LayerState::Present), "{layers:?}");
    scene.daemon.assert_empty();
}

#[tokio::test]
async fn plain_http_is_for_hosts_that_say_so_even_on_loopback() {
    let Some(scene) = scene().await else { return };
    let registry = Registry::open();
    scene.push(&registry, "app:1");
    fs::remove_dir_all(scene.hosts_dir()).unwrap();
    let error = scene.pull(&format!("{}/app:1", registry.host), vec![]).await.unwrap_err();
    assert!(matches!(error, PullError::Hosts { .. }), "{error:?}");
    assert!(error.to_string().contains("server gave HTTP response to HTTPS client"), "{error}");
}

#[tokio::test]
async fn a_verifier_that_says_no_is_quoted_and_nothing_is_fetched() {
    let Some(scene) = scene().await else { return };
    let registry = Registry::open();
    scene.push(&registry, "app:1");
    let name = format!("{}/app:1", registry.host);
    scene.verifier("echo 'not signed by the shipyard'; exit 1");
    let error = scene.pull(&name, vec![]).await.unwrap_err();
    assert!(matches!(error, PullError::Signature { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("not signed by the shipyard") && text.contains(&name), "{text}");
    assert_eq!(scene.daemon.images(), []);
    scene.daemon.assert_empty();
    scene.daemon.collect_garbage();
    assert_eq!(scene.blobs(), 0);
    // A verifier is told the name, the digest, and by its input the kind.
    scene.verifier(r#"test "$1 $3" = "-name -digest" && grep -q mediaType && echo "signed $4""#);
    scene.pull(&name, vec![]).await.unwrap();
}

#[tokio::test]
async fn logins_are_tried_in_their_order_and_shown_to_nobody_else() {
    let Some(scene) = scene().await else { return };
    let registry = Registry::closed();
    let digest = scene.push(&registry, "app:1");
    let name = format!("{}/app:1", registry.host);
    for logins in [vec![], vec![password("wrong")], vec![password("wrong"), password("too")]] {
        let error = scene.pull(&name, logins).await.unwrap_err();
        assert!(matches!(error, PullError::Unauthorized { .. }), "{error:?}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    // The registry's mirror is another host: it is asked without them, and the registry after it.
    let mirror = Registry::closed();
    let host = &registry.host;
    let hosts = format!(
        "server = \"http://{host}\"\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        mirror.host
    );
    fs::write(scene.hosts_dir().join(host).join("hosts.toml"), hosts).unwrap();
    let logins = vec![password("wrong"), password(PASSWORD)];
    let pulled = scene.pull(&format!("{host}/app@{digest}"), logins).await.unwrap();
    assert_ne!(pulled.image.chain_id, "");
    let let_in = |registry: &Registry| registry.log().contains("authorized request");
    assert!(let_in(&registry) && !let_in(&mirror), "{}", mirror.log());
    assert!(
        mirror.log().contains("response.status=401") || mirror.log().contains("401"),
        "{}",
        mirror.log()
    );
    let log = fs::read_to_string(scene.daemon.path("log")).unwrap();
    assert!(!log.contains(PASSWORD), "{log}");
}

#[tokio::test]
async fn what_is_missing_wrong_or_away_is_told_apart() {
    let Some(scene) = scene().await else { return };
    let mut registry = Registry::open();
    scene.push(&registry, "app:1");
    let host = registry.host.clone();
    let error = scene.pull(&format!("{host}/app:2"), vec![]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{host}: image app:2: not found"));
    let wrong = format!("sha256:{}", "0".repeat(64));
    let error = scene.pull(&format!("{host}/app:1@{wrong}"), vec![]).await.unwrap_err();
    assert!(matches!(error, PullError::Missing { .. }), "{error:?}");
    let dir = scene.daemon.path("foreign");
    layout(&dir, &[foreign()], "foreign");
    registry.push(&dir, "foreign:1");
    let error = scene.pull(&format!("{host}/foreign:1"), vec![]).await.unwrap_err();
    assert!(matches!(error, PullError::Broken { .. }), "{error:?}");
    // A tag that has moved since somebody looked does not bring what nobody has seen.
    let old = scene.push(&registry, "moving:1");
    registry.push(&dir, "moving:1");
    let pulled = scene.pull_at(&format!("{host}/moving:1"), Some(&old), vec![]).await.unwrap();
    assert_eq!(pulled.image.reference, format!("{host}/moving:1"));
    registry.kill();
    let error = scene.pull(&format!("{host}/app:1"), vec![]).await.unwrap_err();
    assert!(matches!(error, PullError::Hosts { .. }), "{error:?}");
    assert!(error.to_string().contains("connection refused"), "{error}");
    scene.daemon.assert_empty();
}

#[tokio::test]
async fn a_pull_that_is_given_up_ends_in_the_daemon_too() {
    let Some(scene) = scene().await else { return };
    // A registry that listens and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let dir = scene.hosts_dir().join(&host);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("hosts.toml"), format!("server = \"http://{host}\"\n")).unwrap();
    let name = format!("{host}/app:1");
    let pull = scene.pull(&name, vec![]);
    let asked = async {
        let (mut peer, _) = silent.accept().await.unwrap();
        tokio::io::AsyncReadExt::read(&mut peer, &mut [0; 1]).await.unwrap();
        peer
    };
    let peer = tokio::select! {
        outcome = pull => panic!("{outcome:?}"),
        peer = asked => peer,
    };
    // The daemon hangs up.
    let gone = tokio::time::timeout(Duration::from_secs(20), hung_up(peer)).await;
    assert!(gone.is_ok(), "the daemon went on");
    scene.daemon.assert_empty();
}

/// Waits until the peer has closed the connection.
async fn hung_up(mut peer: tokio::net::TcpStream) {
    let mut bytes = [0; 1024];
    while tokio::io::AsyncReadExt::read(&mut peer, &mut bytes).await.is_ok_and(|read| read > 0) {}
}
