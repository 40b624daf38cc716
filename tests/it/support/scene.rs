//! A host with a registry beside it, and what pulls are asked for there.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Host;
use super::oci::Image;
use super::pod::Pod;
use super::proxy::Proxy;
use super::registry::{self, Registry};
use super::set::{STAY, Set};
use super::wait::{PATIENCE, patiently};

/// The registry's name; `hosts.toml` says where it is.
pub(crate) const NAME: &str = "registry.test";

/// A host without an agent, a registry, and the proxy by which the host reaches it.
#[derive(Debug)]
pub(crate) struct Scene {
    /// The host.
    pub(crate) host: Host,
    /// What stands between.
    pub(crate) proxy: Proxy,
    /// The registry.
    pub(crate) registry: Registry,
}

/// Runs a test on a host with an empty registry. The test starts the agent; at the end nothing may be left of pods and pulls.
pub(crate) fn with_registry(test: impl FnOnce(&mut Scene) -> Result<()>) -> Result<()> {
    let Some(mut scene) = Scene::new()? else {
        return Ok(());
    };
    let outcome = test(&mut scene).and_then(|()| scene.leave_nothing());
    outcome.map_err(|error| error.context(scene.proxy.story()).context(scene.host.last_words()))
}

impl Scene {
    /// A scene; none where containers or registries cannot be.
    fn new() -> Result<Option<Self>> {
        if !registry::able()? {
            return Ok(None);
        }
        let Some(host) = Host::new()? else {
            return Ok(None);
        };
        let registry = Registry::new(&host.path("registry"))?;
        let proxy = Proxy::before(registry.address)?;
        host.serves(NAME, proxy.address())?;
        Ok(Some(Self { host, proxy, registry }))
    }

    /// Puts an image into the registry and returns its full name.
    pub(crate) fn push(&self, repository: &str, tag: &str, image: &Image) -> Result<String> {
        image.push(self.registry.address, repository, tag)?;
        Ok(format!("{NAME}/{repository}:{tag}"))
    }

    /// A set that runs an image, writes into `out/NAME` what the image says it is, and stays.
    pub(crate) fn set(&self, name: &str, image: &str) -> Set {
        Set::named(name)
            .script(&format!("echo $SAYS >>/out/{name}; {STAY}"))
            .container(&json!({"image": image}))
            .out(&self.host.path("out"))
    }

    /// Starts a set that runs an image.
    pub(crate) fn start(&self, name: &str, image: &str) -> Result<()> {
        self.host.write(&format!("{name}.yaml"), &self.set(name, image).text())
    }

    /// Waits until a set's pod says which image it runs.
    pub(crate) fn says(&self, name: &str, words: &str) -> Result<String> {
        Host::reads(&self.host.path("out").join(name), &format!("{words}\n"))
    }

    /// Waits until the pod of a set waits for an image that cannot be had, for a reason that says all of this; gives the message.
    pub(crate) fn refused(&self, set: &str, words: &[&str]) -> Result<String> {
        let pod = self.host.until_pod(set, &format!("refused for {words:?}"), |pod| {
            let message = why(pod);
            ["ErrImagePull", "ImagePullBackOff"].contains(&pod.waits_for("main").as_str())
                && words.iter().all(|word| message.contains(word))
        })?;
        Ok(why(&pod))
    }

    /// Kills the registry, and ends whatever is held; whoever comes now is refused.
    pub(crate) fn away(&mut self) -> Result<()> {
        self.registry.kill()?;
        self.proxy.close();
        self.proxy.heal();
        Ok(())
    }

    /// Starts the registry again.
    pub(crate) fn back(&mut self) -> Result<()> {
        self.registry.start()?;
        self.proxy.turn_to(self.registry.address);
        self.proxy.open()
    }

    /// Deletes the pod of a set, so that the next one tries at once.
    pub(crate) fn try_again(&self, set: &str) -> Result<()> {
        let pods = self.host.pods_of(set)?;
        let pod = pods.first().context("no pod")?;
        self.host.podward(&["delete", "pod", &pod.name()]).map(drop)
    }

    /// The digests of all blobs in containerd's store.
    pub(crate) fn blobs(&self) -> Result<Vec<String>> {
        let mut blobs: Vec<String> = self
            .host
            .containerd
            .ctr(&["content", "ls", "-q"])?
            .lines()
            .map(str::to_owned)
            .collect();
        blobs.sort();
        Ok(blobs)
    }

    /// The blobs that containerd is still being given, as `ctr content active` lists them.
    pub(crate) fn partial(&self) -> Result<Vec<String>> {
        let list = self.host.containerd.ctr(&["content", "active"])?;
        Ok(list.lines().skip(1).filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
    }

    /// Has containerd collect its garbage.
    pub(crate) fn collect(&self) -> Result<()> {
        let ctr = |words: &[&str]| self.host.containerd.ctr(words).map(drop);
        ctr(&["leases", "create", "--id", "collect"])?;
        ctr(&["leases", "delete", "--sync", "collect"])
    }

    /// Removes every set; then nothing of pods may be left, nor of pulls that ended or were given up.
    fn leave_nothing(&mut self) -> Result<()> {
        self.proxy.heal();
        self.host.leave_nothing()?;
        let partial = patiently("nothing to be left of pulls", PATIENCE, || {
            let partial = self.partial()?;
            Ok(partial.is_empty().then_some(()))
        });
        partial.map_err(|error| error.context(format!("{:?}", self.partial())))?;
        let log = std::fs::read_to_string(self.host.path("agent.log"))?;
        ensure!(!log.contains(HUSH), "a password stands in the agent's log");
        Ok(())
    }
}

/// The password of every test: it may stand in nothing that operators read.
pub(crate) const HUSH: &str = "hush-5f0a";

/// Why the main container of a pod waits.
pub(crate) fn why(pod: &Pod) -> String {
    let message = &pod.container("main")["state"]["waiting"]["message"];
    message.as_str().unwrap_or_default().to_owned()
}

/// A Secret as a document.
pub(crate) fn secret(name: &str, kind: &str, key: &str, content: &Value) -> String {
    let document = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "type": kind, "stringData": {key: content.to_string()},
    });
    format!("{document}\n")
}
