//! ConfigMaps and Secrets on their way to the pods: what documents bring, and whom a change concerns.

use std::{collections::BTreeSet, sync::Arc};

use crate::base::ids::PodUid;
use crate::pod::{
    machine::Input,
    references::{has_object_volumes, referred},
};
use crate::spec::{ObjectKey, Objects};

use super::reconciler::Reconciler;

impl Reconciler {
    /// Takes up the objects as they are now, and tells the pods that refer to one that changed.
    pub(super) fn merge_objects(&mut self) {
        let objects = self.sets.objects();
        let changed = differing(&self.objects, &objects);
        if changed.is_empty() {
            return;
        }
        self.objects = Arc::new(objects);
        for uid in self.concerned(&changed) {
            self.refresh(&uid);
            self.tell(&uid, Input::ObjectsChanged);
        }
        self.changed();
    }

    /// Lets the files of a pod's volumes follow the objects.
    pub(super) fn refresh(&mut self, uid: &PodUid) {
        let Some(pod) = self.pods.get(uid).filter(|pod| has_object_volumes(pod.record.spec()))
        else {
            return;
        };
        let (effects, objects) = (Arc::clone(&self.effects), Arc::clone(&self.objects));
        let refreshed = effects.refresh_volumes(pod.record.clone(), objects);
        self.spawn_silent(uid, refreshed);
    }

    /// The pods that refer to one of these objects.
    fn concerned(&self, changed: &BTreeSet<ObjectKey>) -> Vec<PodUid> {
        let refers = |uid: &PodUid| {
            let record = &self.pods[uid].record;
            let keys = referred(&record.set.namespace, record.spec());
            !keys.is_disjoint(changed)
        };
        self.pods.keys().filter(|uid| refers(uid)).cloned().collect()
    }
}

/// The keys of objects that are only in one of two collections, or not the same in both.
fn differing(old: &Objects, new: &Objects) -> BTreeSet<ObjectKey> {
    let keys = old.keys().chain(new.keys());
    keys.filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}
