//! The JSON documents that make up an image, in OCI's form and docker's, read leniently.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::base::ids::hex;
use crate::pod::image::ImageConfig;

/// The longest document that is read; real ones are a few KiB.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;

/// The type of an OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The type of an OCI manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The type of an OCI configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The type of an OCI layer, before the suffix that names its compression.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Docker's type of an index.
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A reference to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    #[serde(default)]
    pub size: i64,
    /// Notes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "nothing_is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What the blob runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Of a manifest of which only the digest is known.
    pub fn of(digest: &str) -> Self {
        Self {
            media_type: MANIFEST.to_owned(),
            digest: digest.to_owned(),
            size: 0,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    /// Whether the blob is an index of manifests.
    pub fn is_index(&self) -> bool {
        self.media_type == INDEX || self.media_type == DOCKER_LIST
    }

    /// Whether the blob is a statement about an image instead of an image.
    fn is_attestation(&self) -> bool {
        self.annotations
            .get("vnd.docker.reference.type")
            .is_some_and(|kind| kind == "attestation-manifest")
            || self
                .platform
                .as_ref()
                .is_some_and(|p| p.os == "unknown" || p.architecture == "unknown")
    }
}

/// An operating system on a processor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system.
    #[serde(default)]
    pub os: String,
    /// The processor, in Go's words.
    #[serde(default)]
    pub architecture: String,
    /// The processor's kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// How well an image for `self` runs on `host`: the lower the better, `None` not at all.
    fn rank(&self, host: &Platform) -> Option<u32> {
        if self.os != host.os || self.architecture != host.architecture {
            return None;
        }
        match (self.architecture.as_str(), self.variant.as_str(), host.variant.as_str()) {
            ("amd64", "" | "v1", _) | ("arm64", "" | "v8", _) | ("arm", "v7", "v7") => Some(0),
            // An older kind of ARM runs on a newer one.
            ("arm", "v6", _) => Some(1),
            ("arm", "", _) => Some(2),
            ("arm", "v5", _) => Some(3),
            // Newer instructions than the host may have.
            ("amd64" | "arm64" | "arm", _, _) => None,
            _ => Some(0),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// An index: one image for several platforms, or the images of an archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Index {
    /// Each image.
    #[serde(default, deserialize_with = "nothing_is_empty")]
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// The images that run on `host`, the best first; those that do not tell come last.
    pub fn choices(&self, host: &Platform) -> Vec<&Descriptor> {
        let mut ranked: Vec<(u32, &Descriptor)> = self
            .manifests
            .iter()
            .filter(|descriptor| !descriptor.is_attestation())
            .filter_map(|descriptor| match &descriptor.platform {
                Some(platform) if !platform.os.is_empty() => {
                    platform.rank(host).map(|rank| (rank, descriptor))
                }
                _ => Some((u32::MAX, descriptor)),
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, descriptor)| descriptor).collect()
    }

    /// The platforms it has images for, for people.
    pub fn platforms(&self) -> String {
        let platforms: Vec<String> = self
            .manifests
            .iter()
            .filter(|descriptor| !descriptor.is_attestation())
            .filter_map(|descriptor| descriptor.platform.as_ref().map(Platform::to_string))
            .collect();
        if platforms.is_empty() { "none".to_owned() } else { platforms.join(", ") }
    }
}

/// A manifest: one image's configuration and layers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// The manifest's own type.
    #[serde(default)]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    #[serde(default, deserialize_with = "nothing_is_empty")]
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// The bytes of configuration and layers as they travel.
    pub fn size(&self) -> u64 {
        let parts = self.layers.iter().chain([&self.config]);
        parts.map(|part| u64::try_from(part.size).unwrap_or(0)).sum()
    }
}

/// An image's configuration document.
#[derive(Debug, Clone, Deserialize)]
pub struct Configuration {
    /// What the image runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// How to run it.
    #[serde(default)]
    config: Option<RunConfig>,
    /// Its layers, uncompressed.
    #[serde(default)]
    pub rootfs: Rootfs,
}

/// The layers of an image by the digests of their uncompressed form.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Rootfs {
    /// The digests, the lowest layer first.
    #[serde(default, deserialize_with = "nothing_is_empty")]
    pub diff_ids: Vec<String>,
}

/// How an image wants to be run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    /// The user.
    #[serde(default)]
    user: Option<String>,
    /// The variables.
    #[serde(default, deserialize_with = "nothing_is_empty")]
    env: Vec<String>,
    /// The entry point.
    #[serde(default, deserialize_with = "nothing_is_empty")]
    entrypoint: Vec<String>,
    /// The arguments.
    #[serde(default, deserialize_with = "nothing_is_empty")]
    cmd: Vec<String>,
    /// Declared volumes, as the keys of an object.
    #[serde(default, deserialize_with = "nothing_is_empty")]
    volumes: BTreeMap<String, serde_json::Value>,
    /// The working directory.
    #[serde(default)]
    working_dir: Option<String>,
    /// The signal that stops it.
    #[serde(default)]
    stop_signal: Option<String>,
}

impl Configuration {
    /// Whether the image runs on `host`; one that does not tell is believed to.
    pub fn runs_on(&self, host: &Platform) -> bool {
        self.platform.architecture.is_empty() || self.platform.rank(host).is_some()
    }

    /// The parts that a container starts from.
    pub fn image_config(&self) -> ImageConfig {
        let config = self.config.clone().unwrap_or_default();
        ImageConfig {
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: config.env,
            working_dir: config.working_dir.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            stop_signal: config.stop_signal.unwrap_or_default(),
            volumes: config.volumes.into_keys().collect(),
        }
    }

    /// The names of the snapshots that the layers become, the lowest first.
    pub fn chain_ids(&self) -> Vec<String> {
        let mut chain: Vec<String> = Vec::with_capacity(self.rootfs.diff_ids.len());
        for diff_id in &self.rootfs.diff_ids {
            let next = match chain.last() {
                None => diff_id.clone(),
                Some(below) => digest_of(format!("{below} {diff_id}").as_bytes()),
            };
            chain.push(next);
        }
        chain
    }
}

/// The digest of some bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Reads `null` as an empty collection: Go writes it so.
fn nothing_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(architecture: &str, variant: &str) -> Platform {
        Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    #[test]
    fn the_hosts_image_is_chosen_from_an_index() {
        let index: Index = serde_json::from_str(
            r#"{"manifests":[
                {"digest":"a","platform":{"os":"unknown","architecture":"unknown"}},
                {"digest":"b","platform":{"os":"linux","architecture":"arm64","variant":"v8"}},
                {"digest":"c","platform":{"os":"linux","architecture":"amd64","variant":"v3"}},
                {"digest":"d","platform":{"os":"linux","architecture":"amd64"}},
                {"digest":"e","platform":{"os":"linux","architecture":"arm","variant":"v6"}},
                {"digest":"f","platform":{"os":"linux","architecture":"arm","variant":"v7"}},
                {"digest":"g","platform":{"os":"windows","architecture":"amd64"}},
                {"digest":"h","annotations":{"vnd.docker.reference.type":"attestation-manifest"}},
                {"digest":"i"}]}"#,
        )
        .unwrap();
        let chosen = |host: &Platform| -> Vec<String> {
            index.choices(host).iter().map(|descriptor| descriptor.digest.clone()).collect()
        };
        assert_eq!(chosen(&platform("amd64", "")), ["d", "i"]);
        assert_eq!(chosen(&platform("arm64", "v8")), ["b", "i"]);
        assert_eq!(chosen(&platform("arm", "v7")), ["f", "e", "i"]);
        assert_eq!(chosen(&platform("riscv64", "")), ["i"]);
    }

    #[test]
    fn a_configuration_with_nulls_is_read() {
        let config: Configuration = serde_json::from_str(
            r#"{"os":"linux","architecture":"amd64","config":{"Env":null,"Cmd":["sh"],"Entrypoint":null,
                "Volumes":{"/data":{}},"User":"nobody"},"rootfs":{"type":"layers","diff_ids":null}}"#,
        )
        .unwrap();
        let image = config.image_config();
        assert_eq!(
            (image.cmd, image.user, image.volumes),
            (vec!["sh".into()], "nobody".into(), vec!["/data".into()])
        );
        assert_eq!(config.chain_ids(), Vec::<String>::new());
    }

    #[test]
    fn a_chain_id_covers_all_layers_below() {
        let config: Configuration =
            serde_json::from_str(r#"{"rootfs":{"diff_ids":["sha256:a","sha256:b"]}}"#).unwrap();
        let chain = config.chain_ids();
        assert_eq!(chain[0], "sha256:a");
        assert_eq!(chain[1], digest_of(b"sha256:a sha256:b"));
    }
}
