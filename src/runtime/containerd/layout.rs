//! What an image archive means: an OCI layout or docker's own form becomes blobs, labels and names.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    archive::{Contents, Entry},
    content::{Blob, Labels},
    images::{holding_labels, layers_of},
};
use crate::image::documents::{
    CONFIG, Configuration, Descriptor, INDEX, Index, LAYER, MANIFEST, Manifest, Platform, digest_of,
};
use crate::image::reference::Reference;

/// Where a blob's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bytes {
    /// An entry of the archive.
    Entry(usize),
    /// Made by us.
    Made(Vec<u8>),
}

/// What an archive brings.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The images' names and top documents.
    pub(super) images: BTreeMap<String, Descriptor>,
    /// The blobs by digest.
    pub(super) blobs: BTreeMap<String, (Blob, Bytes)>,
}

/// docker's list of an archive's images.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    /// The configuration's path.
    config: String,
    /// The images' names.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    /// The layers' paths, the lowest first.
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Plan {
    /// Reads an archive's meaning out of its contents.
    pub(super) fn of(contents: &Contents, host: &Platform) -> Result<Self, String> {
        let mut plan = Self::default();
        let oci = contents.file("index.json");
        let docker = contents.file("manifest.json");
        if oci.is_none() && docker.is_none() {
            return Err("is no image archive: it holds neither index.json (OCI layout) nor manifest.json (docker save)".to_owned());
        }
        let docker: Vec<DockerImage> =
            docker.map_or_else(|| Ok(Vec::new()), |file| parse("manifest.json", file))?;
        if let Some(oci) = oci {
            plan.add_layout(contents, host, &parse("index.json", oci)?)?;
        }
        if plan.images.is_empty() {
            for image in &docker {
                plan.add_docker_image(contents, host, image)?;
            }
        }
        if plan.images.is_empty() {
            return Err("names no image; save it by its name, or annotate it in index.json with io.containerd.image.name".to_owned());
        }
        Ok(plan)
    }

    /// Adds the named images of an OCI layout.
    fn add_layout(
        &mut self,
        contents: &Contents,
        host: &Platform,
        index: &Index,
    ) -> Result<(), String> {
        for top in &index.manifests {
            let Some(name) = layout_name(top)? else {
                continue;
            };
            let target = self
                .add_tree(contents, host, top, 0)
                .map_err(|error| format!("{name}: {error}"))?;
            self.images.insert(name, target);
        }
        Ok(())
    }

    /// Adds an index or a manifest and what this host needs of what is below; returns its descriptor.
    fn add_tree(
        &mut self,
        contents: &Contents,
        host: &Platform,
        here: &Descriptor,
        depth: u32,
    ) -> Result<Descriptor, String> {
        let entry = blob_entry(contents, here)?;
        let document: serde_json::Value = parse(&here.digest, entry)?;
        // The document itself tells better than a type that may be missing.
        if document.get("manifests").is_none() {
            return self.add_manifest(contents, host, here, document);
        }
        if depth > 3 {
            return Err("holds indexes inside each other without an end".to_owned());
        }
        let index: Index = from_value(&here.digest, document)?;
        let choice = index
            .choices(host)
            .into_iter()
            .find(|choice| contents.file(&blob_path(&choice.digest)).is_some())
            .ok_or_else(|| {
                format!("holds no image for {host}; its index names {}", index.platforms())
            })?;
        self.add_tree(contents, host, choice, depth + 1)?;
        let number = index.manifests.iter().position(|child| child == choice).unwrap_or(0);
        let labels = holding_labels([(format!("m.{number}"), choice)]);
        self.add_entry(here, entry, labels);
        Ok(typed(here, entry, INDEX))
    }

    /// Adds a manifest, its configuration and its layers.
    fn add_manifest(
        &mut self,
        contents: &Contents,
        host: &Platform,
        here: &Descriptor,
        document: serde_json::Value,
    ) -> Result<Descriptor, String> {
        let entry = blob_entry(contents, here)?;
        let manifest: Manifest = from_value(&here.digest, document)?;
        let config = blob_entry(contents, &manifest.config)?;
        let configuration: Configuration = parse(&manifest.config.digest, config)?;
        check(&manifest, &configuration, host)?;
        self.add_entry(&manifest.config, config, Labels::new());
        for layer in &manifest.layers {
            self.add_entry(layer, blob_entry(contents, layer)?, Labels::new());
        }
        self.add_entry(here, entry, manifest_labels(&manifest));
        Ok(typed(here, entry, MANIFEST))
    }

    /// Adds an image of docker's form, for which a manifest is made.
    fn add_docker_image(
        &mut self,
        contents: &Contents,
        host: &Platform,
        image: &DockerImage,
    ) -> Result<(), String> {
        let names = image.repo_tags.iter().flatten();
        let names: Vec<String> = names.map(|name| complete(name)).collect::<Result<_, _>>()?;
        let Some(first) = names.first() else {
            return Ok(());
        };
        let blame = |problem| format!("{first}: {problem}");
        let manifest = self.docker_manifest(contents, host, image).map_err(blame)?;
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is plain data");
        let target = Descriptor {
            media_type: MANIFEST.to_owned(),
            digest: digest_of(&bytes),
            size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            annotations: BTreeMap::new(),
            platform: None,
        };
        let blob = Blob {
            digest: target.digest.clone(),
            size: bytes.len() as u64,
            labels: manifest_labels(&manifest),
        };
        self.blobs.insert(blob.digest.clone(), (blob, Bytes::Made(bytes)));
        self.images.extend(names.into_iter().map(|name| (name, target.clone())));
        Ok(())
    }

    /// Makes the manifest of an image of docker's form and adds its parts.
    fn docker_manifest(
        &mut self,
        contents: &Contents,
        host: &Platform,
        image: &DockerImage,
    ) -> Result<Manifest, String> {
        let file = |path: &str| {
            contents.file(path).ok_or_else(|| format!("{path} is missing from the archive"))
        };
        let config = file(&image.config)?;
        let configuration: Configuration = parse(&image.config, config)?;
        let mut layers = Vec::new();
        for path in image.layers.iter().flatten() {
            let layer = file(path)?;
            let descriptor = descriptor(&format!("{LAYER}{}", layer.compression.suffix()), layer);
            self.add_entry(&descriptor, layer, Labels::new());
            layers.push(descriptor);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            config: descriptor(CONFIG, config),
            layers,
        };
        check(&manifest, &configuration, host)?;
        self.add_entry(&manifest.config, config, Labels::new());
        Ok(manifest)
    }

    /// Adds a blob out of the archive.
    fn add_entry(&mut self, descriptor: &Descriptor, entry: &Entry, labels: Labels) {
        let fresh = || {
            let digest = descriptor.digest.clone();
            let blob = Blob { digest, size: entry.size, labels: Labels::new() };
            (blob, Bytes::Entry(entry.ordinal))
        };
        let (blob, _) = self.blobs.entry(descriptor.digest.clone()).or_insert_with(fresh);
        blob.labels.extend(labels);
    }
}

/// The name that an OCI layout gives an image: containerd's annotation, or OCI's own. The latter may
/// hold a bare word, which then is a name and not a tag.
fn layout_name(top: &Descriptor) -> Result<Option<String>, String> {
    ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
        .iter()
        .find_map(|key| top.annotations.get(*key))
        .map(|name| complete(name))
        .transpose()
}

/// A completed image name.
fn complete(name: &str) -> Result<String, String> {
    let reference = Reference::parse(name).map_err(|error| error.to_string())?;
    Ok(reference.names().swap_remove(0))
}

/// Whether a manifest and its configuration belong together and to this host.
fn check(manifest: &Manifest, config: &Configuration, host: &Platform) -> Result<(), String> {
    if !config.runs_on(host) {
        return Err(format!("is for {}, this host is {host}", config.platform));
    }
    for layer in layers_of(manifest, config)? {
        // An uncompressed layer is checked here; a compressed one when it is unpacked.
        if layer.descriptor.media_type == LAYER && layer.descriptor.digest != layer.diff_id {
            return Err(format!(
                "layer {} should be {}; the archive is corrupt, save it again",
                layer.descriptor.digest, layer.diff_id
            ));
        }
    }
    Ok(())
}

/// The labels by which a manifest holds its parts.
fn manifest_labels(manifest: &Manifest) -> Labels {
    let layers = manifest.layers.iter().enumerate();
    let layers = layers.map(|(number, layer)| (format!("l.{number}"), layer));
    holding_labels(layers.chain([("config".to_owned(), &manifest.config)]))
}

/// The path of a blob in an OCI layout.
fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// A blob's entry, whose bytes must be what its name says.
fn blob_entry<'a>(contents: &'a Contents, descriptor: &Descriptor) -> Result<&'a Entry, String> {
    let path = blob_path(&descriptor.digest);
    let entry =
        contents.file(&path).ok_or_else(|| format!("{path} is missing from the archive"))?;
    if entry.digest != descriptor.digest {
        return Err(format!(
            "{path} holds {}; the archive is corrupt, copy or save it again",
            entry.digest
        ));
    }
    Ok(entry)
}

/// A descriptor of an entry.
fn descriptor(media_type: &str, entry: &Entry) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: entry.digest.clone(),
        size: i64::try_from(entry.size).unwrap_or(i64::MAX),
        annotations: BTreeMap::new(),
        platform: None,
    }
}

/// A top descriptor as the image's record keeps it, with a type if it has none.
fn typed(here: &Descriptor, entry: &Entry, media_type: &str) -> Descriptor {
    let known = if here.media_type.is_empty() { media_type } else { &here.media_type };
    descriptor(known, entry)
}

/// Reads an entry as a document.
fn parse<T: DeserializeOwned>(name: &str, entry: &Entry) -> Result<T, String> {
    let bytes = entry.document.as_deref().unwrap_or_default();
    serde_json::from_slice(bytes).map_err(|error| format!("{name} cannot be read: {error}"))
}

/// Reads a document's value.
fn from_value<T: DeserializeOwned>(name: &str, value: serde_json::Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("{name} cannot be read: {error}"))
}
