//! Reading sources, configuration and archives again when their files change.

use std::{
    collections::BTreeMap,
    mem,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::base::{
    backoff::{Backoff, Bounds},
    fault::Fault,
    time,
};
use crate::config::{Settings, SourceSettings};
use crate::fleet::events::EventType;
use crate::source::{
    file::{concerns, read_changes, read_source},
    merge::{Merged, SourceReading, merge},
};

use super::{
    effects::blocking,
    images::{ImageKeeper, Import},
    reconciler::{Done, Reconciler},
    sets::Change,
};

/// How long a set must be missing from its source to count as deleted.
const MISSING_GRACE: Duration = Duration::from_millis(250);

/// How soon an archive that could not be imported is tried again.
const IMPORT_RETRY: Bounds =
    Bounds { initial: Duration::from_secs(1), cap: Duration::from_mins(5) };

/// The paths of the file sources.
pub(super) fn source_paths(settings: &Settings) -> Vec<PathBuf> {
    let file = |source: &SourceSettings| match source {
        SourceSettings::File { path } => Some(path.clone()),
        SourceSettings::Http(_) | SourceSettings::Etcd => None,
    };
    settings.sources.iter().filter_map(file).collect()
}

impl Reconciler {
    /// A path changed: whose is it?
    pub(super) fn touched(&mut self, path: PathBuf) {
        self.watcher.renew(&path);
        if concerns(&self.config, &path) {
            self.read_config();
        }
        if self.settings.trusted_keys.iter().any(|key| concerns(key, &path)) {
            // What was refused may be believed now.
            self.read_sources();
        }
        if concerns(&self.images_dir, &path) {
            self.import_images();
        }
        if concerns(&self.own_objects.dir, &path) {
            self.read_own_objects();
        }
        if source_paths(&self.settings).iter().any(|source| concerns(source, &path)) {
            self.changed.insert(path);
            self.read_changed();
        }
    }

    /// Reads every source anew; pages are asked for at once.
    pub(super) fn read_sources(&mut self) {
        self.feeds.poke.notify_waiters();
        let Some(_) = self.readings.take() else {
            // Under way already: what it may have missed is read after it.
            self.changed.insert(PathBuf::from("/"));
            return;
        };
        let (paths, validation) = (source_paths(&self.settings), self.settings.field_validation);
        let trust = Arc::clone(&self.trust);
        self.work.spawn(async move {
            let read =
                move || paths.iter().map(|path| read_source(path, validation, &trust)).collect();
            Done::Read(blocking(read).await)
        });
    }

    /// Reads every source here and now.
    pub(super) fn read_now(&self) -> Vec<SourceReading> {
        let validation = self.settings.field_validation;
        let read = |path: &PathBuf| read_source(path, validation, &self.trust);
        source_paths(&self.settings).iter().map(read).collect()
    }

    /// Reads those files again that changed, unless a read is under way, which is followed by another.
    pub(super) fn read_changed(&mut self) {
        let Some(mut readings) = self.readings.take() else { return };
        let changed = mem::take(&mut self.changed);
        let validation = self.settings.field_validation;
        let trust = Arc::clone(&self.trust);
        self.work.spawn(async move {
            let read = move || {
                for reading in &mut readings {
                    read_changes(reading, &changed, validation, &trust);
                }
                readings
            };
            Done::Read(blocking(read).await)
        });
    }

    /// The sources were read: what do they want?
    pub(super) fn sources_read(&mut self, readings: Vec<SourceReading>) {
        let all = self.feeds.beside(&self.settings, &readings);
        let mut merged = merge(&all, &self.sets.wanted(), self.sets.documents());
        self.spare(&mut merged);
        self.readings = Some(readings);
        self.source_faults = merged.faults;
        self.source_faults.extend(self.trust.faults());
        for (key, why) in merged.kept.iter().filter(|(_, why)| !why.is_empty()) {
            let message = format!("the last good version goes on: {why}");
            self.note_set(key, EventType::Warning, "SourceFault", message);
        }
        for (key, why) in merged.kept_objects.iter().filter(|(_, why)| !why.is_empty()) {
            let message = format!("the last good version of {key} goes on: {why}");
            self.note_node(EventType::Warning, "SourceFault", message);
        }
        if self.sets.update_documents(merged.objects) {
            self.save_sets();
        }
        let changes = self.sets.update(time::now().wall, merged.sets);
        if !changes.is_empty() {
            for change in &changes {
                match change {
                    Change::Added(set) => info!(%set, "set added"),
                    Change::Changed(set) => info!(%set, "set changed"),
                    Change::Removed(set) => info!(%set, "set removed"),
                }
            }
            self.save_sets();
        }
        // A changed origin or label changes no template, but the newest object is what operators see.
        self.merge_objects();
        if !self.changed.is_empty() {
            self.read_changed();
        }
    }

    /// Lets what the sources no longer name go on for a moment, until another read finds it missing still.
    /// A directory that is being removed loses its files first, and some programs replace a file by removing it.
    fn spare(&mut self, merged: &mut Merged) {
        let now = time::now().mono;
        spare(now, &mut self.missing, &self.sets.wanted(), &mut merged.sets);
        spare(now, &mut self.missing_objects, self.sets.documents(), &mut merged.objects);
    }

    /// When the next thing that is missing is looked for again.
    pub(super) fn missing_until(&self) -> Option<Instant> {
        let since = self.missing.values().chain(self.missing_objects.values()).min();
        since.map(|since| *since + MISSING_GRACE)
    }

    /// Shows each fault once: in the log, as an event of the node, and in every sync.
    pub(super) fn tell_faults(&mut self, lines: Vec<String>) {
        for line in
            lines.iter().filter(|line| !self.faults.contains(line)).cloned().collect::<Vec<_>>()
        {
            warn!(error = %line, "fault in a source");
            self.note_node(EventType::Warning, "SourceFault", line);
        }
        self.faults = lines;
    }

    /// Reads the configuration again.
    fn read_config(&mut self) {
        let reload = self.reload.clone();
        self.configuring += 1;
        self.work
            .spawn(async move { Done::Configured(Box::new(blocking(move || reload()).await)) });
    }

    /// The configuration was read: labels, taints and field validation take effect at once.
    pub(super) fn configured(&mut self, settings: Result<Settings, Vec<Fault>>) {
        self.configuring -= 1;
        let new = match settings {
            Ok(new) => new,
            Err(faults) => {
                for fault in faults {
                    warn!(error = %fault, "the configuration cannot be used; the old one stays");
                    let message = format!("the old configuration stays: {fault}");
                    self.note_node(EventType::Warning, "ConfigFault", message);
                }
                return self.changed();
            }
        };
        let live = Settings::changed_live_keys(&self.settings, &new);
        let restart = Settings::changed_restart_keys(&self.settings, &new);
        if !restart.is_empty() {
            let message = format!(
                "changed keys take effect when the agent is restarted: {}",
                restart.into_iter().collect::<Vec<_>>().join(", ")
            );
            warn!("{message}");
            self.note_node(EventType::Warning, "ConfigNeedsRestart", message);
        }
        if live.is_empty() {
            return;
        }
        info!(keys = ?live, "the configuration changed");
        self.settings.node.labels = new.node.labels;
        self.settings.node.taints = new.node.taints;
        self.settings.images.policy = new.images.policy;
        self.effects.pulls.set_policy(self.settings.images.policy.clone());
        self.prefetches.retry();
        let validation = mem::replace(&mut self.settings.field_validation, new.field_validation);
        self.settings.node.protected = new.node.protected;
        self.node = self.node_now();
        self.judge();
        if validation != self.settings.field_validation {
            self.read_sources();
        }
    }

    /// Imports new archives, unless an import is under way, which is followed by another.
    pub(super) fn import_images(&mut self) {
        let Some(keeper) = self.images.take() else {
            self.import_again = true;
            return;
        };
        let effects = Arc::clone(&self.effects);
        effects.pulls.set_importing(true);
        self.work.spawn(async move {
            let imports = keeper.import(&effects).await;
            Done::Imported(keeper, imports)
        });
    }

    /// Lets archives that could not be imported be tried again, ever more seldom: an agent that died in the middle of
    /// an import leaves containerd with a write that it gives up only after a moment.
    fn retry_imports(&mut self, failed: bool) {
        if failed {
            let wait = self.import_retry.1.next(IMPORT_RETRY);
            self.import_retry.0 = Some(time::now().mono + wait);
        } else {
            self.import_retry = (None, Backoff::default());
        }
    }

    /// Archives were imported: pods that wait for an image try again.
    pub(super) fn images_imported(&mut self, keeper: ImageKeeper, imports: Vec<Import>) {
        self.images = Some(keeper);
        self.effects.pulls.set_importing(false);
        let failed = imports.iter().any(|import| import.result.is_err());
        self.retry_imports(failed);
        let mut arrived = false;
        for Import { archive, result } in imports {
            let archive = archive.display();
            match result {
                Ok(names) => {
                    arrived = true;
                    let message = format!("Imported {} from {archive}", names.join(", "));
                    self.note_node(EventType::Normal, "ImageImported", message);
                }
                Err(error) => {
                    let message = format!("{archive}: {error}");
                    self.note_node(EventType::Warning, "ImageImportFailed", message);
                }
            }
        }
        if arrived {
            self.images_came();
        }
        self.changed();
        if mem::take(&mut self.import_again) {
            self.import_images();
        }
    }
}

/// Puts back what was wanted and has not been missing for long enough; `missing` remembers since when it is.
fn spare<K: Ord + Clone, V: Clone>(
    now: Instant,
    missing: &mut BTreeMap<K, Instant>,
    wanted: &BTreeMap<K, V>,
    merged: &mut BTreeMap<K, V>,
) {
    let mut still = BTreeMap::new();
    for (key, value) in wanted.iter().filter(|(key, _)| !merged.contains_key(*key)) {
        let since = missing.get(key).copied().unwrap_or(now);
        if now.duration_since(since) < MISSING_GRACE {
            still.insert(key.clone(), (since, value.clone()));
        }
    }
    *missing = still.iter().map(|(key, (since, _))| (key.clone(), *since)).collect();
    merged.extend(still.into_iter().map(|(key, (_, value))| (key, value)));
}
