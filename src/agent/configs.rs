//! ConfigMaps and Secrets on their way to the pods: from documents and the operator's own directory to whom a change
//! concerns.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    path::PathBuf,
    sync::Arc,
};

use crate::base::{
    fault::Fault,
    ids::{PodUid, SetKey},
};
use crate::fleet::events::EventType;
use crate::plan::steps::Hold;
use crate::pod::{machine::Input, references::referred};
use crate::source::objects_dir::{DirReading, place, read_objects_dir};
use crate::spec::{ObjectKey, Objects};

use super::{
    effects::blocking,
    reconciler::{Done, Reconciler},
};

/// Whom the Secrets of the directory must belong to.
const ROOT: u32 = 0;

/// The objects of the operator's own directory.
#[derive(Debug)]
pub(super) struct OwnObjects {
    /// The directory.
    pub dir: PathBuf,
    /// Whether it was ever read.
    pub read: bool,
    /// What it says.
    reading: DirReading,
    /// Whether it is being read.
    under_way: bool,
    /// Whether something changed meanwhile.
    again: bool,
}

impl OwnObjects {
    /// A directory that is not read yet.
    pub(super) fn new(dir: PathBuf) -> Self {
        let reading = DirReading::default();
        Self { dir, read: false, reading, under_way: false, again: false }
    }

    /// Reads it here and now.
    pub(super) fn read_now(&mut self) {
        self.reading = read_objects_dir(&self.dir, ROOT, &self.reading.objects);
        self.read = true;
    }
}

impl Reconciler {
    /// Reads the operator's own objects, unless a read is under way, which is followed by another.
    pub(super) fn read_own_objects(&mut self) {
        if mem::replace(&mut self.own_objects.under_way, true) {
            self.own_objects.again = true;
            return;
        }
        let dir = self.own_objects.dir.clone();
        let previous = self.own_objects.reading.objects.clone();
        self.work.spawn(async move {
            let read = move || read_objects_dir(&dir, ROOT, &previous);
            Done::ReadObjects(blocking(read).await)
        });
    }

    /// The operator's own objects were read.
    pub(super) fn own_objects_read(&mut self, reading: DirReading) {
        let own = &mut self.own_objects;
        (own.read, own.under_way) = (true, false);
        if own.reading.directories != reading.directories {
            self.watcher.follow(&own.dir, &reading.directories);
            // What came in before the watch was there is seen by another look.
            own.again = true;
        }
        own.reading = reading;
        let again = mem::take(&mut own.again);
        self.merge_objects();
        if again {
            self.read_own_objects();
        }
    }

    /// Takes up documents and objects as they are now: tells what is wrong, judges the sets anew, and tells the pods
    /// that refer to an object that changed.
    pub(super) fn merge_objects(&mut self) {
        let mut objects = self.own_objects.reading.objects.clone();
        objects.extend(self.sets.objects());
        let changed = differing(&self.objects, &objects);
        if !changed.is_empty() {
            self.objects = Arc::new(objects);
        }
        let faults = self.source_faults.iter().chain(&self.feeds.faults);
        let faults = faults.chain(&self.own_objects.reading.faults);
        let lines: Vec<String> =
            faults.chain(&self.held_twice()).map(ToString::to_string).collect();
        self.tell_faults(lines);
        self.judge();
        for uid in self.concerned(&changed) {
            self.lagging.insert(uid.clone());
            self.tell(&uid, Input::ObjectsChanged);
        }
    }

    /// Brings volumes up to date that may lag behind; those of a pod that is not made yet wait until it is.
    pub(super) fn refresh_lagging(&mut self) {
        self.lagging.retain(|uid| self.pods.contains_key(uid));
        if !self.own_objects.read {
            return;
        }
        let made = |uid: &&PodUid| {
            let pod = &self.pods[*uid];
            pod.record.sandbox.is_some() && !pod.stopping() && !self.refreshing.contains(*uid)
        };
        for uid in self.lagging.iter().filter(made).cloned().collect::<Vec<_>>() {
            self.lagging.remove(&uid);
            self.refreshing.insert(uid.clone());
            let (on, record) = (Arc::clone(&self.effects), self.pods[&uid].record.clone());
            let refreshed = on.refresh_volumes(record, Arc::clone(&self.objects));
            self.work.spawn(async move {
                refreshed.await;
                Done::Refreshed(uid)
            });
        }
    }

    /// The faults of objects that stand in a document and in the operator's own directory.
    fn held_twice(&self) -> Vec<Fault> {
        let own = &self.own_objects;
        let both = self.sets.documents().values();
        both.filter(|document| own.reading.objects.contains_key(&document.key))
            .map(|document| {
                let origin = place(&own.dir, &document.key).display().to_string();
                let key = &document.key;
                let problem = format!("{key} stands in {} as well, which counts", document.origin);
                Fault::of_file(origin, problem, "remove one of the two")
            })
            .collect()
    }

    /// The pods that refer to one of these objects.
    fn concerned(&self, changed: &BTreeSet<ObjectKey>) -> Vec<PodUid> {
        if changed.is_empty() {
            return Vec::new();
        }
        let refers = |uid: &PodUid| {
            let record = &self.pods[uid].record;
            !referred(&record.set.namespace, record.spec()).is_disjoint(changed)
        };
        self.pods.keys().filter(|uid| refers(uid)).cloned().collect()
    }

    /// Records it when a set begins to wait for objects.
    pub(super) fn tell_missing(&mut self, holds: &BTreeMap<SetKey, Hold>) {
        let news: Vec<(SetKey, String)> = holds
            .iter()
            .filter(|(key, hold)| self.holds.get(*key) != Some(*hold))
            .filter(|(_, hold)| matches!(hold, Hold::ObjectsMissing(_)))
            .map(|(key, hold)| (key.clone(), hold.to_string()))
            .collect();
        for (key, message) in news {
            self.note_set(&key, EventType::Warning, "ObjectsMissing", message);
        }
    }
}

/// The keys of objects that are only in one of two collections, or not the same in both.
fn differing(old: &Objects, new: &Objects) -> BTreeSet<ObjectKey> {
    let keys = old.keys().chain(new.keys());
    keys.filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}
