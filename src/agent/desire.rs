//! From sets and verdicts to a plan, and from the plan's steps to pods.

use std::{collections::BTreeMap, io, time::Duration};

use tracing::{error, info};
use uuid::Uuid;

use crate::base::{
    errors::Chain,
    ids::{PodUid, SetKey, TemplateHash},
    keyed::keyed,
    time::{self, elapsed},
};
use crate::fleet::events::EventType;
use crate::node::eligibility;
use crate::plan::steps::{Cause, DesiredSet, Ended, ObservedPod, Plan, Step, plan};
use crate::pod::{
    init::Over,
    machine::{Effect, Input, Pod, PodEvent},
    record::{PodRecord, VERSION},
    references::{effective_hash, missing, references},
};
use crate::spec::{Rollout, Set};

use super::{
    effects::blocking,
    reconciler::{Done, Reconciler},
    sets::{self, Entry},
};

/// The verdict on a set in short; the long one is made anew when somebody asks why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether a pod may start here.
    pub should_run: bool,
    /// Whether a pod that is here may stay.
    pub should_continue: bool,
    /// After how long NoExecute taints end a pod here.
    pub evict_after: Option<Duration>,
    /// Why not.
    pub refusal: String,
    /// The identity of the template that this node runs, with what a process keeps of its objects: see docs/adr/0007.
    pub hash: TemplateHash,
    /// The same of the set's own template.
    pub own: TemplateHash,
    /// The same of the template that the fleet wants here, which failed on this host where it is another one.
    pub target: TemplateHash,
    /// What a pod could not start without and is not there.
    pub missing: String,
}

/// How long the snapshot may wait for a quiet moment.
const SAVE_LATEST: Duration = Duration::from_secs(2);

/// The characters of random names: those that spell no words.
const NAME_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A pod's name: its set's, cut to what a label can hold, and five random characters.
fn pod_name(set: &str, uid: Uuid) -> String {
    let base: String = set.chars().take(57).collect();
    let suffix: String = uid.as_bytes()[..5]
        .iter()
        .map(|byte| char::from(NAME_ALPHABET[usize::from(*byte) % NAME_ALPHABET.len()]))
        .collect();
    format!("{base}-{suffix}")
}

impl Reconciler {
    /// Judges every set anew: labels, taints, sets or objects have changed.
    pub(super) fn judge(&mut self) {
        // What the operator's own directory serves is this host's alone: it changes no set's identity.
        let documents = self.sets.objects();
        self.choose_templates();
        let judged = self.sets.entries().iter().map(|(key, entry)| {
            let set = entry.run();
            let verdict = eligibility(&self.node, set.template());
            let referred = |set: &Set| {
                let spec = set.template().spec.as_ref();
                spec.map(|spec| references(&key.namespace, spec)).unwrap_or_default()
            };
            let hash = |set: &Set| effective_hash(&set.hash, &referred(set), &documents);
            let (own, runs) = (hash(&entry.set), hash(set));
            let referred = referred(set);
            let standing = Standing {
                should_run: verdict.should_run,
                should_continue: verdict.should_continue,
                evict_after: verdict.evict_after,
                refusal: verdict.refusal().unwrap_or_default(),
                target: self.target_of(key, &runs),
                own,
                hash: runs,
                missing: missing(&referred, &self.objects).join("; "),
            };
            (key.clone(), standing)
        });
        self.standings = keyed(judged);
        let calm: Vec<SetKey> = self
            .standings
            .iter()
            .filter(|(_, standing)| standing.evict_after.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        for key in calm {
            self.remember_eviction(&key, false);
        }
        self.changed();
    }

    /// Keeps, across restarts of the agent, whether an eviction holds a set.
    fn remember_eviction(&mut self, key: &SetKey, evicted: bool) {
        if self.sets.set_evicted(key, evicted) {
            self.save_sets();
        }
    }

    /// Has the snapshot of the sets written once nothing else is under way: forcing it to the disk would hold up
    /// containerd's own writes, and until then the sources say the same.
    pub(super) fn save_sets(&mut self) {
        self.unsaved.get_or_insert(time::now().mono + SAVE_LATEST);
    }

    /// Writes the snapshot when its time has come.
    pub(super) fn save_if_due(&mut self) {
        let late = self.unsaved.is_some_and(|latest| latest <= time::now().mono);
        let quiet = self.work.is_empty() && self.unsaved.is_some();
        if self.saving || !(late || quiet) {
            return;
        }
        self.unsaved = None;
        self.saving = true;
        let snapshot = self.sets.snapshot();
        self.work.spawn(async move {
            let write = move || {
                let (path, text) = snapshot?;
                sets::write(&path, &text)
            };
            Done::Saved(blocking(write).await)
        });
    }

    /// The snapshot was written, or could not be.
    pub(super) fn sets_saved(&mut self, saved: io::Result<()>) {
        self.saving = false;
        if let Err(error) = saved {
            error!(%error, "failed to write the last good snapshot");
            let message = format!("the last good snapshot cannot be written: {error}");
            self.note_node(EventType::Warning, "FailedSaveSnapshot", message);
        }
    }

    /// What is wanted, as the plan sees it.
    pub(super) fn desired(&self) -> BTreeMap<SetKey, DesiredSet> {
        let wanted = |(key, entry): (&SetKey, &Entry)| {
            let standing = self.standings.get(key)?;
            let set = DesiredSet {
                hash: standing.hash.clone(),
                on_delete: entry.set.on_delete(),
                surge: Rollout::of(&entry.set.object).surges(),
                min_ready: entry
                    .run()
                    .template()
                    .spec
                    .as_ref()
                    .map_or(Duration::ZERO, |spec| self.needed(key, spec, entry.set.min_ready())),
                should_run: standing.should_run,
                should_continue: standing.should_continue,
                refusal: standing.refusal.clone(),
                evicted: entry.evicted,
                missing: standing.missing.clone(),
                unread: !self.own_objects.read,
                images: self.prefetches.images(key, &standing.hash),
                leave: self.leave(key, entry),
            };
            Some((key.clone(), set))
        };
        keyed(self.sets.entries().iter().filter_map(wanted))
    }

    /// What is here, as the plan sees it.
    pub(super) fn observed(&self) -> Vec<ObservedPod> {
        let now = time::now();
        let see = |(uid, pod): (&PodUid, &Pod)| ObservedPod {
            uid: uid.clone(),
            set: pod.record.set.clone(),
            hash: pod.record.hash.clone(),
            created: pod.record.created,
            stopping: pod.stopping(),
            ready_for: pod.ready_since().map(|since| elapsed(since, now.wall)),
            resizable: self.resizable(pod),
            idle: !pod.has_run(),
            time_over: self.evictions.over(now.mono, uid),
            ended: pod.over().map(|over| Ended {
                failed: over == Over::Failed,
                wait: self.renewals.wait(now.mono, &pod.record.set),
            }),
        };
        self.pods.iter().map(see).collect()
    }

    /// Keeps the countdowns in step with the verdicts.
    fn count_down(&mut self) {
        let now = time::now().mono;
        for (uid, pod) in &self.pods {
            let standing = self.standings.get(&pod.record.set);
            let after = standing.and_then(|standing| standing.evict_after);
            self.evictions.observe(now, uid, after);
        }
        self.evictions.retain(|uid| self.pods.contains_key(uid));
        for (uid, pod) in self.pods.iter().filter(|(_, pod)| pod.over().is_some()) {
            self.renewals.observe(now, &pod.record.set, uid);
        }
        self.renewals.retain(|set| self.standings.contains_key(set));
    }

    /// Brings the node nearer to what is wanted.
    pub(super) fn reconcile(&mut self) {
        if !self.recovered || self.configuring > 0 {
            return self.save_if_due();
        }
        self.count_down();
        self.wake = None;
        self.keep_splays();
        self.prefetches.retain(|key, hash| {
            self.standings.get(key).is_some_and(|standing| standing.hash == *hash)
        });
        self.refresh_lagging();
        self.plan_disk_look();
        self.plan_image_look();
        let plan: Plan = plan(&self.desired(), &self.observed());
        let at = plan.wake.map(|wait| time::now().mono + wait);
        self.wake = [self.wake, at].into_iter().flatten().min();
        if self.holds != plan.holds {
            self.tell_missing(&plan.holds);
            self.holds = plan.holds;
            self.changed();
        }
        let settled = plan.steps.is_empty();
        for step in plan.steps {
            self.carry_out(step);
        }
        self.prefetches.drop_due();
        // Only now: a pod that was just made is work that the disk must not hold up.
        self.save_if_due();
        self.settle_syncs(settled);
    }

    /// Takes one step of a plan.
    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Create(key) => self.create(&key),
            Step::Delete { pod, cause } => self.delete(&pod, &cause),
            Step::Pull(key) => self.prefetch(&key),
            Step::Resize(pod) => self.resize(&pod),
        }
    }

    /// Makes a pod of a set. Its record is on disk before anything else is done for it.
    fn create(&mut self, key: &SetKey) {
        let (Some(entry), Some(standing)) = (self.sets.entries().get(key), self.standings.get(key))
        else {
            return;
        };
        let now = time::now();
        let id = Uuid::new_v4();
        let record = PodRecord {
            version: VERSION,
            uid: PodUid::new(id.to_string()),
            name: pod_name(&key.name, id),
            set: key.clone(),
            set_uid: entry.uid.clone(),
            hash: standing.hash.clone(),
            created: now.wall,
            template: entry.run().template().clone(),
            sandbox: None,
            volumes: BTreeMap::new(),
            initialized: None,
            readiness: None,
            deletion: None,
            containers: self.prefetches.take(key, &standing.hash, entry.set.on_delete()),
        };
        if let Err(error) = self.effects.records.save(&record) {
            let message = format!("Error creating: {}", Chain(&error));
            error!(set = %key, error = %message, "failed to make a pod");
            self.note_set(key, EventType::Warning, "FailedCreate", message);
            // Every try has a uid of its own: what is left of them would pile up. A rest is swept at the next start.
            let _ = self.effects.records.remove(&record.uid);
            return self.retry_later();
        }
        info!(set = %key, pod = %record.name, hash = %record.hash, "making a pod");
        self.report(&format!("created pod {}/{}", key.namespace, record.name));
        self.note_set(
            key,
            EventType::Normal,
            "SuccessfulCreate",
            format!("Created pod: {}", record.name),
        );
        let uid = record.uid.clone();
        let (pod, effects) = Pod::new(record, self.policy());
        self.pods.insert(uid.clone(), pod);
        self.dispatch(now, &uid, effects);
        self.changed();
    }

    /// Stops a pod.
    fn delete(&mut self, uid: &PodUid, cause: &Cause) {
        let Some(pod) = self.pods.get(uid) else { return };
        let (name, set, grace) =
            (pod.record.name.clone(), pod.record.set.clone(), pod.record.grace());
        info!(set = %set, pod = %name, reason = %cause, "stopping a pod");
        self.report(&format!("deleted pod {}/{name}: {cause}", set.namespace));
        if *cause == Cause::Evicted {
            self.remember_eviction(&set, true);
            let event = PodEvent {
                warning: false,
                reason: "TaintManagerEviction",
                message: format!("Marking for deletion Pod {}/{name}", set.namespace),
            };
            self.dispatch(time::now(), uid, vec![Effect::Record(event)]);
        }
        match cause {
            Cause::Failed => {
                let message = format!(
                    "Found failed daemon pod {}/{name}, will try to kill it",
                    set.namespace
                );
                self.note_set(&set, EventType::Warning, "FailedDaemonPod", message);
            }
            Cause::Completed => {
                let message = format!(
                    "Found succeeded daemon pod {}/{name}, will try to delete it",
                    set.namespace
                );
                self.note_set(&set, EventType::Normal, "SucceededDaemonPod", message);
            }
            _ => {}
        }
        let message = format!("Deleted pod: {name} ({cause})");
        self.note_set(&set, EventType::Normal, "SuccessfulDelete", message);
        self.tell(uid, Input::Delete { grace, cause: cause.to_string() });
    }

    /// Tells waiting syncs what was done.
    pub(super) fn report(&mut self, line: &str) {
        for sync in &mut self.syncs {
            sync.lines.push(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_name_is_its_set_and_five_characters_and_fits_a_label() {
        let name = pod_name("web", Uuid::nil());
        assert_eq!(name, "web-bbbbb");
        assert_eq!(pod_name(&"x".repeat(63), Uuid::nil()).len(), 63);
    }
}
