//! Floor 8: flags, environment and file, made into settings.

mod file;
mod keys;
mod keys_images;
mod keys_sources;
mod overrides;
mod read;
#[cfg(test)]
mod reference;
mod settings;
#[cfg(test)]
mod tests;
mod values;
mod values_images;
mod values_sources;

pub use keys::keys;
pub use overrides::Overrides;
pub use settings::{CgroupDriver, EtcdSettings, HttpSettings, PullBy, Settings, SourceSettings};

use std::{collections::BTreeSet, path::Path};

use crate::base::fault::Fault;

use keys::Key;

/// Where the settings are read from unless another file is named.
pub const DEFAULT_PATH: &str = "/etc/podward/config.yaml";

/// The settings out of the file (the default one may be missing), with the overrides laid over them.
/// All faults at once.
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Settings, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut settings = Settings::default();
    let origin = path.unwrap_or(Path::new(DEFAULT_PATH));
    let shown = origin.display().to_string();
    let mut sources_named = false;
    match file::text(origin, path.is_some()) {
        Ok(Some(text)) => {
            sources_named = read::file(&shown, &text, &mut settings, &mut faults);
        }
        Ok(None) => {}
        Err(fault) => faults.push(*fault),
    }
    overrides.apply(&mut settings, &mut faults);
    if !sources_named {
        values_sources::default_sources(&mut settings);
    }
    faults.extend(values_images::together(&shown, &settings));
    faults.extend(values_sources::together(&shown, &settings));
    if faults.is_empty() { Ok(settings) } else { Err(faults) }
}

impl Settings {
    /// The changed keys that take effect at once.
    pub fn changed_live_keys(old: &Self, new: &Self) -> BTreeSet<&'static str> {
        changed(old, new, |key| key.live)
    }

    /// The changed keys that take effect when the agent starts again.
    pub fn changed_restart_keys(old: &Self, new: &Self) -> BTreeSet<&'static str> {
        changed(old, new, |key| !key.live)
    }
}

/// The keys of one sort whose values differ.
fn changed(old: &Settings, new: &Settings, sort: fn(&Key) -> bool) -> BTreeSet<&'static str> {
    let differing = keys().filter(|key| sort(key) && (key.show)(old) != (key.show)(new));
    differing.map(|key| key.path).collect()
}
