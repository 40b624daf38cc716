//! Garbage collection of images: the disk is looked at once a minute and when something happened to it. Above the high
//! mark images that nothing needs go, one after the other, until the low mark is reached; what cannot be mended so shows
//! as the node's disk pressure.
//!
//! Each removal is decided anew by what is needed at that moment: a pod that was made meanwhile keeps its image.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{NodeCondition, PodSpec, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};
use tracing::{info, warn};

use crate::base::time;
use crate::fleet::events::EventType;
use crate::image::{
    collect::{Disk, Marks, Need, Rules, Stored},
    progress::bytes,
};
use crate::node::Node;
use crate::pod::{record::PodRecord, resources::all_containers};

use super::{
    image_orders::Prune,
    image_store::{Listing, Places},
    objects::node_of,
    reconciler::{Done, Reconciler},
};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_mins(1);

/// How long after the start the first look comes: a host that boots has other things to do.
const FIRST: Duration = Duration::from_secs(5);

/// How often it is said that there is not enough to collect.
const REPEAT: Duration = Duration::from_mins(5);

/// The taint of a node whose disk is full.
const PRESSURE: (&str, &str) = ("node.kubernetes.io/disk-pressure", "NoSchedule");

/// Where the collection of images stands.
#[derive(Debug, Default)]
pub(super) struct ImageGc {
    /// When the next look is due; `None` before the first, and while one is under way.
    due: Option<Instant>,
    /// Whether a look is under way.
    looking: bool,
    /// Whether another is to follow it at once.
    again: bool,
    /// What is looked at.
    places: Places,
    /// When images were needed last.
    used: BTreeMap<String, Timestamp>,
    /// What the collection under way has done so far.
    round: Round,
    /// When it was last said that there is not enough to collect, while that is so.
    told: Option<Instant>,
    /// Why the disk is under pressure; empty when it is not.
    pressure: String,
    /// Since when that is so.
    since: Option<Timestamp>,
}

/// What one collection did.
#[derive(Debug, Default)]
struct Round {
    /// How full the disk was before.
    before: Option<Disk>,
    /// The names that went.
    removed: Vec<String>,
    /// The bytes that came free.
    freed: u64,
    /// What could not be done.
    errors: Vec<String>,
}

impl ImageGc {
    /// When to wake for it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

/// What a look, or a removal, came to.
#[derive(Debug)]
pub(super) struct Sight {
    /// The directory whose file system is the fullest, and how full that is.
    disk: Result<(PathBuf, Disk), String>,
    /// The images that are there, when room is needed.
    listing: Option<Listing>,
    /// What was removed, with the bytes that this brought.
    removed: Option<(Stored, Result<u64, String>)>,
}

/// What took time and concerns images.
#[derive(Debug)]
pub(super) enum ImageWork {
    /// The disk was looked at.
    Seen(Sight),
    /// A person's wish to remove what nothing needs is to go on.
    Prune(Prune),
    /// A person's archive was imported.
    Imported(PathBuf, Vec<String>),
    /// A person has pulled an image, which pods may wait for.
    Pulled,
    /// A person's wish is fulfilled, or nobody has it any more.
    Over,
}

impl ImageWork {
    /// As the reconciler takes it; boxed, because it is larger and rarer than most.
    pub(super) fn done(self) -> Done {
        Done::Images(Box::new(self))
    }
}

impl Reconciler {
    /// Takes what concerns images.
    pub(super) fn image_work_done(&mut self, work: ImageWork) {
        match work {
            ImageWork::Seen(sight) => self.images_seen(sight),
            ImageWork::Prune(prune) => self.prune_next(prune),
            ImageWork::Imported(archive, names) => self.images_arrived(&archive, &names),
            ImageWork::Pulled => self.images_came(),
            ImageWork::Over => {}
        }
    }

    /// Begins to look once it is known what is here.
    pub(super) fn plan_image_look(&mut self) {
        if self.image_gc.due.is_none() && !self.image_gc.looking {
            self.image_gc.due = Some(time::now().mono + FIRST);
        }
    }

    /// Looks soon: something came or went.
    pub(super) fn look_at_images_soon(&mut self) {
        self.image_gc.again = self.image_gc.looking;
        if self.image_gc.due.is_some() {
            self.image_gc.due = Some(time::now().mono);
        }
    }

    /// Looks when it is time.
    pub(super) fn look_at_images(&mut self) {
        if self.image_gc.due.is_none_or(|due| due > time::now().mono) {
            return;
        }
        (self.image_gc.due, self.image_gc.looking) = (None, true);
        self.image_gc.round = Round::default();
        let marks = self.marks();
        let (effects, state) = (Arc::clone(&self.effects), self.settings.paths.state.clone());
        let places = Arc::clone(&self.image_gc.places);
        // Beside the effects: nobody waits for it.
        self.watches.spawn(async move {
            let mut sight = Sight {
                disk: effects.image_disk(&places, &state).await,
                listing: None,
                removed: None,
            };
            if sight.disk.as_ref().is_ok_and(|(_, disk)| marks.exceeded(*disk)) {
                match effects.image_listing(&state).await {
                    Ok(listing) => sight.listing = Some(listing),
                    Err(error) => sight.disk = Err(error),
                }
            }
            ImageWork::Seen(sight).done()
        });
    }

    /// Removes the next image, or ends the collection.
    fn images_seen(&mut self, sight: Sight) {
        let Sight { disk, listing, removed } = sight;
        if let Some((image, outcome)) = removed {
            match outcome {
                Ok(freed) => {
                    self.image_gc.round.freed += freed;
                    let names = image.titles().into_iter().map(str::to_owned);
                    self.image_gc.round.removed.extend(names);
                }
                Err(error) => self.image_gc.round.errors.push(error),
            }
        }
        let needs = self.note_use(listing.as_ref());
        let (place, disk) = match disk {
            Ok(found) => found,
            Err(error) => {
                self.image_gc.round.errors.push(error);
                return self.end_round(None);
            }
        };
        self.image_gc.round.before.get_or_insert(disk);
        if let Some(mut listing) = listing {
            let rules = self.rules(&needs, &listing.archived);
            let rules = Rules { minimum_age: self.settings.images.minimum_gc_age, ..rules };
            let now = time::now().wall;
            if let Some(victim) = rules.next(now, &listing.images, disk, self.marks()).cloned() {
                listing.images.retain(|image| *image != victim);
                return self.remove_one(victim, listing);
            }
            self.end_round(Some((&place, disk, true)));
        } else {
            self.end_round(Some((&place, disk, false)));
        }
    }

    /// Removes one image and looks at the disk again.
    fn remove_one(&mut self, victim: Stored, listing: Listing) {
        let (effects, state) = (Arc::clone(&self.effects), self.settings.paths.state.clone());
        let places = Arc::clone(&self.image_gc.places);
        self.watches.spawn(async move {
            let freed = effects.free_image(&victim, &places, &state).await;
            let disk = effects.image_disk(&places, &state).await;
            let removed = Some((victim, freed));
            ImageWork::Seen(Sight { disk, listing: Some(listing), removed }).done()
        });
    }

    /// Says what a collection did, and how the node stands.
    fn end_round(&mut self, end: Option<(&Path, Disk, bool)>) {
        let now = time::now();
        let round = mem::take(&mut self.image_gc.round);
        let pause = if mem::take(&mut self.image_gc.again) { Duration::ZERO } else { PAUSE };
        (self.image_gc.due, self.image_gc.looking) = (Some(now.mono + pause), false);
        if !round.errors.is_empty() {
            let message = round.errors.join("; ");
            warn!(error = %message, "failed to collect images");
            self.note_node(EventType::Warning, "ImageGCFailed", message);
            self.changed();
        }
        let Some((place, disk, collecting)) = end else { return };
        let before = round.before.unwrap_or(disk);
        if !round.removed.is_empty() {
            let names = round.removed.join(", ");
            info!(image = %names, path = %place.display(), "removed images to make room");
            let message = format!(
                "Removed {names}: {} freed, the file system of {} was {}% full and is {}% now",
                bytes(round.freed),
                place.display(),
                before.percent(),
                disk.percent()
            );
            self.note_node(EventType::Normal, "ImageGCSucceeded", message);
            self.changed();
        }
        let low = self.marks().low;
        if !collecting || disk.missing(low) == 0 {
            self.image_gc.told = None;
        } else if self.image_gc.told.is_none_or(|told| now.mono >= told + REPEAT) {
            self.image_gc.told = Some(now.mono);
            let message = format!(
                "Failed to garbage collect required amount of images. Attempted to free {} bytes, but only found {} \
                 bytes eligible to free.",
                before.missing(low),
                round.freed
            );
            warn!(path = %place.display(), "not enough images can be removed: {message}");
            self.note_node(EventType::Warning, "FreeDiskSpaceFailed", message);
            self.changed();
        }
        self.press(place, disk);
    }

    /// Keeps whether the disk is under pressure, and tells when that changes.
    fn press(&mut self, place: &Path, disk: Disk) {
        let pressed = self.marks().exceeded(disk);
        let was = !self.image_gc.pressure.is_empty();
        self.image_gc.pressure = if pressed {
            format!("the file system of {} is {}% full", place.display(), disk.percent())
        } else {
            String::new()
        };
        if pressed == was {
            return;
        }
        self.image_gc.since = Some(time::now().wall);
        let word = if pressed { "NodeHasDiskPressure" } else { "NodeHasNoDiskPressure" };
        let message = format!("Node {} status is now: {word}", self.node.name);
        self.note_node(EventType::Normal, word, message);
        self.node = self.node_now();
        self.judge();
    }

    /// The node by configuration and host, with the taint that the disk gives it.
    pub(super) fn node_now(&self) -> Node {
        let node = node_of(&self.settings, &self.effects.facts);
        let node = Node { name: self.node.name.clone(), ..node };
        let mut node = self.overlaid(node).0;
        let (key, effect) = PRESSURE;
        let there = |taint: &Taint| taint.key == key && taint.effect == effect;
        if !self.image_gc.pressure.is_empty() && !node.taints.iter().any(there) {
            node.taints.push(Taint { key: key.into(), effect: effect.into(), ..Taint::default() });
        }
        node
    }

    /// The node's condition.
    pub(super) fn disk_pressure(&self) -> NodeCondition {
        let pressure = self.image_gc.pressure.as_str();
        let (status, reason, message) = match pressure {
            "" => ("False", "PodwardHasNoDiskPressure", "podward has no disk pressure"),
            message => ("True", "PodwardHasDiskPressure", message),
        };
        NodeCondition {
            type_: "DiskPressure".into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_transition_time: self.image_gc.since.map(Time),
            ..NodeCondition::default()
        }
    }

    /// Between which uses of the disk images are collected.
    fn marks(&self) -> Marks {
        let images = &self.settings.images;
        Marks {
            high: images.gc_high_threshold_percent.into(),
            low: images.gc_low_threshold_percent.into(),
        }
    }

    /// What is looked at.
    pub(super) fn image_places(&self) -> Places {
        Arc::clone(&self.image_gc.places)
    }

    /// What must stay, however young.
    pub(super) fn rules<'a>(
        &'a self,
        needs: &'a [Need],
        archived: &'a BTreeSet<String>,
    ) -> Rules<'a> {
        Rules { needs, archived, used: &self.image_gc.used, minimum_age: Duration::ZERO }
    }

    /// Remembers that what is needed now is used now, and forgets images that are gone.
    fn note_use(&mut self, listing: Option<&Listing>) -> Vec<Need> {
        let (needs, now) = (self.images_in_use(), time::now().wall);
        let used = &mut self.image_gc.used;
        if let Some(listing) = listing {
            let there: BTreeSet<&String> = listing
                .images
                .iter()
                .flat_map(|image| image.names.iter().chain([&image.digest, &image.manifest]))
                .collect();
            used.retain(|key, _| there.contains(key));
        }
        used.extend(needs.iter().map(|need| (need.key().to_owned(), now)));
        needs
    }

    /// What needs images: the pods that are here, and the sets that belong here.
    pub(super) fn images_in_use(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        for pod in self.pods.values() {
            let PodRecord { set, name, .. } = &pod.record;
            let who = format!("pod/{}/{name}", set.namespace);
            add_needs(&mut needs, &who, pod.record.spec(), Some(&pod.record));
        }
        for (key, entry) in self.sets.entries() {
            let here = self.standings.get(key).is_none_or(|standing| standing.should_run);
            if let Some(spec) = entry.run().template().spec.as_ref().filter(|_| here) {
                let who = format!("daemonset/{}/{}", key.namespace, key.name);
                add_needs(&mut needs, &who, spec, None);
            }
        }
        for (key, template) in self.turns.previous() {
            if let Some(spec) = &template.spec {
                let who = format!("daemonset/{}/{}", key.namespace, key.name);
                add_needs(&mut needs, &who, spec, None);
            }
        }
        for (key, image) in self.prefetches.pinned() {
            let who = format!("daemonset/{}/{}", key.namespace, key.name);
            let (reference, digest) = (image.reference.clone(), image.digest.clone());
            needs.push(Need { who, reference, digest });
        }
        needs
    }
}

/// Adds the images of containers and volumes; those that a pod has used are known by their digests.
fn add_needs(needs: &mut Vec<Need>, who: &str, spec: &PodSpec, record: Option<&PodRecord>) {
    let containers = all_containers(spec).map(|container| {
        let known =
            record.and_then(|record| record.containers.get(&container.name)?.image.as_ref());
        let digest = known.map(|image| image.digest.clone()).unwrap_or_default();
        (container.image.clone(), digest)
    });
    let volumes = spec.volumes.iter().flatten();
    let volumes = volumes
        .filter_map(|volume| Some((volume.image.as_ref()?.reference.clone(), String::new())));
    for (reference, digest) in containers.chain(volumes) {
        let reference = reference.unwrap_or_default();
        needs.push(Need { who: who.to_owned(), reference, digest });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_needs_the_very_images_that_it_began_with_and_a_set_what_its_template_says() {
        let spec = json!({
            "initContainers": [{"name": "first", "image": "r.io/first:1"}],
            "containers": [{"name": "main", "image": "r.io/main:1"}],
            "volumes": [{"name": "v", "image": {"reference": "r.io/data:1"}}, {"name": "e", "emptyDir": {}}],
        });
        let record: PodRecord = serde_json::from_value(json!({
            "version": 1, "uid": "u", "name": "web-x", "set": {"namespace": "x", "name": "web"},
            "set_uid": "s", "hash": "h", "created": "2026-01-01T00:00:00Z", "template": {"spec": spec},
            "containers": {"main": {"attempt": 0, "backoff": serde_json::to_value(crate::base::backoff::Backoff::default()).unwrap(),
                "image": {"reference": "r.io/main:1", "digest": "sha256:1", "chain_id": "",
                          "config": serde_json::to_value(crate::pod::image::ImageConfig::default()).unwrap()}}},
        }))
        .unwrap();
        let needs = |record: Option<&PodRecord>, spec: &PodSpec| {
            let mut needs = Vec::new();
            add_needs(&mut needs, "w", spec, record);
            let mut keys: Vec<String> = needs.iter().map(|need| need.key().to_owned()).collect();
            keys.sort_unstable();
            keys
        };
        let pod = needs(Some(&record), record.spec());
        assert_eq!(pod, ["r.io/data:1", "r.io/first:1", "sha256:1"]);
        let set = needs(None, record.spec());
        assert_eq!(set, ["r.io/data:1", "r.io/first:1", "r.io/main:1"]);
    }
}
