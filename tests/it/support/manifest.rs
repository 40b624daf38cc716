//! Manifests that lie in the repository, as documents to be changed before they are run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// Where the manifests lie that vendors published.
pub(crate) fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/daemonsets")
}

/// Where those lie that users begin with.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The documents of a file, those of its lists one by one.
pub(crate) fn documents(path: &Path) -> Result<Vec<Value>> {
    let named = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(named)?;
    // Modes such as 0640 are octal, as Kubernetes reads YAML.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(&text, options).with_context(named)?;
    let unfolded = documents.into_iter().flat_map(|document| match document.get("items") {
        Some(Value::Array(items)) => items.clone(),
        _ => vec![document],
    });
    Ok(unfolded.filter(Value::is_object).collect())
}

/// The only DaemonSet of a file.
pub(crate) fn daemon_set(path: &Path) -> Result<Value> {
    let mut sets = documents(path)?;
    sets.retain(|document| document["kind"] == "DaemonSet");
    sets.pop().with_context(|| format!("{} holds no DaemonSet", path.display()))
}

/// The containers of a set.
pub(crate) fn containers(set: &mut Value) -> Result<&mut Vec<Value>> {
    let containers = &mut set["spec"]["template"]["spec"]["containers"];
    containers.as_array_mut().context("containers are a list")
}
