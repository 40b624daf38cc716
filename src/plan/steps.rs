//! The plan: which pods to make and which to stop, and why something wanted is not done now.
//!
//! Each set is planned for itself, so that none can hold up another. A plan is a value: making it twice
//! from the same facts gives the same plan, and a settled node's plan is empty.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;

use crate::base::ids::{PodUid, SetKey, TemplateHash};

/// What the operator wants of one set on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is the answer to a question of its own")]
pub struct DesiredSet {
    /// The hash of the template, and of what a process keeps of the objects that it refers to.
    pub hash: TemplateHash,
    /// Whether only `podward delete pod` brings a new template.
    pub on_delete: bool,
    /// Whether the new pod starts beside the old one.
    pub surge: bool,
    /// How long a pod must be ready to count as available.
    pub min_ready: Duration,
    /// Whether a pod may start here.
    pub should_run: bool,
    /// Whether a pod that is here may stay.
    pub should_continue: bool,
    /// Why not, when one of the two is false.
    pub refusal: String,
    /// Whether a limited toleration ran out and its taint is still there.
    pub evicted: bool,
    /// What a pod could not start without and is not there; empty when nothing is missing.
    pub missing: String,
    /// Whether what is missing may only not have been read yet.
    pub unread: bool,
    /// Whether the images of a new pod are here.
    pub images: Images,
    /// Whether a pod of another template may be disturbed for the present one.
    pub leave: Leave,
}

/// Whether a pod of another template may be disturbed for the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// It may.
    Given,
    /// It may as long as it is not ready: that is why.
    WhileIll,
    /// Not now: why, in a word and in a sentence.
    Held(&'static str, String),
}

/// Whether the images of a new pod are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Images {
    /// Nobody has looked yet, or a new look is due.
    Unknown,
    /// They are not; the text says what is done about it.
    Pending(String),
    /// They are, but the pod could not start for another reason.
    Refused(String),
    /// They are.
    Ready,
}

/// A pod that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is the answer to a question of its own")]
pub struct ObservedPod {
    /// Which one.
    pub uid: PodUid,
    /// Its set.
    pub set: SetKey,
    /// The template that it was made from.
    pub hash: TemplateHash,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is going already.
    pub stopping: bool,
    /// How long it has been ready; `None` while it is not.
    pub ready_for: Option<Duration>,
    /// Whether it can take its set's present template as it runs.
    pub resizable: bool,
    /// Whether no container of it ever ran: nothing is lost with it.
    pub idle: bool,
    /// Whether its NoExecute countdown is over.
    pub time_over: bool,
    /// Whether and how it is over: no container of it will do any more work.
    pub ended: Option<Ended>,
}

/// A pod of which nothing runs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whether it failed.
    pub failed: bool,
    /// How long its successor still has to wait: sets whose pods fail again and again are not started in a loop.
    pub wait: Duration,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a pod of the set.
    Create(SetKey),
    /// Stop a pod and remove all of it.
    Delete {
        /// Which one.
        pod: PodUid,
        /// Why.
        cause: Cause,
    },
    /// Bring the images of the set's present template here.
    Pull(SetKey),
    /// Give a running pod the limits of its set's present template.
    Resize(PodUid),
}

/// Why a pod is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its set is no longer wanted.
    SetRemoved,
    /// The node is no longer eligible.
    NotEligible(String),
    /// A limited toleration of a NoExecute taint ran out.
    Evicted,
    /// It was made from an older template.
    Outdated,
    /// There is another pod of the set.
    Surplus,
    /// All its containers ended well.
    Completed,
    /// A container ended badly and is not started again.
    Failed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetRemoved => f.write_str("its DaemonSet was removed"),
            Self::NotEligible(why) => write!(f, "the node is no longer eligible: {why}"),
            Self::Evicted => f.write_str("its toleration of a NoExecute taint ran out"),
            Self::Outdated => f.write_str("its template is outdated"),
            Self::Surplus => f.write_str("another pod of the DaemonSet is older"),
            Self::Completed => f.write_str("it completed"),
            Self::Failed => f.write_str("it failed"),
        }
    }
}

/// Why a wanted step is not taken now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The node is not eligible.
    NotEligible(String),
    /// A limited toleration ran out; a new pod starts when the taint is gone.
    Evicted,
    /// The old pod is still going.
    Stopping,
    /// The update strategy is `OnDelete`.
    OnDelete,
    /// The new pod is not available yet, so the old one stays.
    NotAvailable,
    /// A new pod could not start for want of these ConfigMaps, Secrets or keys of them.
    ObjectsMissing(String),
    /// The images of a new pod are not here.
    ImagesPending(String),
    /// A new pod could not start here.
    Preflight(String),
    /// All is ready for the new pod, but the node has no turn: why, in a word and in a sentence.
    NoTurn(&'static str, String),
    /// Its pod ended; the next one starts when its back-off is over.
    Ended {
        /// Whether it failed.
        failed: bool,
    },
}

impl Hold {
    /// Its name in logs and output.
    pub fn id(&self) -> &'static str {
        match self {
            Self::NotEligible(_) => "not-eligible",
            Self::Evicted => "evicted",
            Self::Stopping => "stopping",
            Self::OnDelete => "on-delete",
            Self::NotAvailable => "not-available",
            Self::ObjectsMissing(_) => "objects-missing",
            Self::ImagesPending(_) => "images-pending",
            Self::Preflight(_) => "preflight-failed",
            Self::NoTurn(id, _) => id,
            Self::Ended { .. } => "ended",
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEligible(why) | Self::NoTurn(_, why) => f.write_str(why),
            Self::Evicted => f.write_str(
                "evicted: its toleration of a NoExecute taint ran out; \
                 a new pod starts when the taint is gone",
            ),
            Self::Stopping => f.write_str("the previous pod is still stopping"),
            Self::OnDelete => {
                f.write_str("updateStrategy is OnDelete: delete the pod to bring the new template")
            }
            Self::NotAvailable => f.write_str("the new pod is not available yet"),
            Self::ObjectsMissing(what) => {
                write!(f, "a new pod could not start: {what}; add it, what runs goes on till then")
            }
            Self::ImagesPending(why) => {
                write!(
                    f,
                    "the images of a new pod are not here: {why}; what runs goes on till then"
                )
            }
            Self::Preflight(why) => {
                write!(f, "a new pod could not start here: {why}; what runs goes on till then")
            }
            Self::Ended { failed } => write!(
                f,
                "the pod {}; another one starts when the back-off is over",
                if *failed { "failed" } else { "completed" }
            ),
        }
    }
}

/// Steps to take, and steps that are not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub steps: Vec<Step>,
    /// What is wanted but not done now, by set.
    pub holds: BTreeMap<SetKey, Hold>,
    /// When to plan again although nothing else happens.
    pub wake: Option<Duration>,
}

/// Plans the whole node.
pub fn plan(desired: &BTreeMap<SetKey, DesiredSet>, observed: &[ObservedPod]) -> Plan {
    let mut plan = Plan::default();
    let mut pods: BTreeMap<&SetKey, Vec<&ObservedPod>> =
        desired.keys().map(|key| (key, Vec::new())).collect();
    for pod in observed {
        pods.entry(&pod.set).or_default().push(pod);
    }
    for (key, mut pods) in pods {
        pods.sort_unstable_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
        let live: Vec<&ObservedPod> = pods.iter().copied().filter(|pod| !pod.stopping).collect();
        let going = live.len() < pods.len();
        match desired.get(key) {
            None => plan.delete(&live, &Cause::SetRemoved),
            Some(set) => plan.set(key, set, &live, going),
        }
    }
    plan
}

impl Plan {
    /// Stops all of these.
    fn delete(&mut self, pods: &[&ObservedPod], cause: &Cause) {
        self.steps.extend(
            pods.iter().map(|pod| Step::Delete { pod: pod.uid.clone(), cause: cause.clone() }),
        );
    }

    /// Notes why something is not done.
    fn hold(&mut self, key: &SetKey, hold: Hold) {
        self.holds.insert(key.clone(), hold);
    }

    /// Plans one wanted set; `live` is sorted by age.
    fn set(&mut self, key: &SetKey, set: &DesiredSet, live: &[&ObservedPod], going: bool) {
        if !set.should_continue {
            self.delete(live, &Cause::NotEligible(set.refusal.clone()));
            return self.hold(key, Hold::NotEligible(set.refusal.clone()));
        }
        let (over, live): (Vec<_>, Vec<_>) = live.iter().partition(|pod| pod.time_over);
        if !over.is_empty() {
            self.delete(&over, &Cause::Evicted);
            return self.hold(key, Hold::Evicted);
        }
        let (ended, live): (Vec<_>, Vec<_>) = live.into_iter().partition(|pod| pod.ended.is_some());
        if !ended.is_empty() {
            self.renew(key, set, &ended);
            if live.is_empty() {
                return;
            }
        }
        match live.as_slice() {
            [] => self.create(key, set, going),
            [first, rest @ ..] if set.surge => self.surge(key, set, first, rest),
            [oldest, rest @ ..] => {
                let merit = |pod: &&ObservedPod| (pod.ready_for.is_some(), pod.hash == set.hash);
                // The oldest stays, unless it is worse than another one.
                let kept = rest
                    .iter()
                    .fold(*oldest, |best, pod| if merit(pod) > merit(&best) { pod } else { best });
                let surplus: Vec<&ObservedPod> =
                    live.iter().copied().filter(|pod| pod.uid != kept.uid).collect();
                self.delete(&surplus, &Cause::Surplus);
                if kept.hash != set.hash {
                    self.replace(key, set, kept);
                }
            }
        }
    }

    /// Stops pods that ended, each when its back-off is over; the next plan makes a successor.
    fn renew(&mut self, key: &SetKey, set: &DesiredSet, ended: &[&ObservedPod]) {
        for pod in ended {
            let Some(Ended { failed, wait }) = pod.ended else { continue };
            // Another template may end otherwise.
            if wait.is_zero() || pod.hash != set.hash {
                self.delete(&[pod], if failed { &Cause::Failed } else { &Cause::Completed });
            } else {
                self.wake = Some(self.wake.map_or(wait, |wake| wake.min(wait)));
                self.hold(key, Hold::Ended { failed });
            }
        }
    }

    /// Makes the set's pod, unless something holds it.
    fn create(&mut self, key: &SetKey, set: &DesiredSet, going: bool) {
        if set.evicted {
            self.hold(key, Hold::Evicted);
        } else if !set.should_run {
            self.hold(key, Hold::NotEligible(set.refusal.clone()));
        } else if going && !set.surge {
            self.hold(key, Hold::Stopping);
        } else if set.unread && !set.missing.is_empty() {
            self.hold(key, Hold::ObjectsMissing(set.missing.clone()));
        } else {
            self.steps.push(Step::Create(key.clone()));
        }
    }

    /// Stops an outdated pod; the next plan makes its successor.
    fn replace(&mut self, key: &SetKey, set: &DesiredSet, pod: &ObservedPod) {
        if set.on_delete {
            // When the pod is deleted its successor need not wait for them.
            self.pull(key, set);
            self.hold(key, Hold::OnDelete);
        } else if pod.resizable {
            if self.leave(key, set, pod) {
                self.steps.push(Step::Resize(pod.uid.clone()));
            }
        } else if set.should_run && !set.missing.is_empty() {
            // A pod that runs is not given up for one that cannot.
            self.hold(key, Hold::ObjectsMissing(set.missing.clone()));
        } else if set.should_run {
            if (pod.idle || self.pull(key, set)) && self.leave(key, set, pod) {
                self.delete(&[pod], &Cause::Outdated);
            }
        } else {
            // Stopping it would leave the node without a pod: nothing may start here now.
            self.hold(key, Hold::NotEligible(set.refusal.clone()));
        }
    }

    /// Whether an old pod may be disturbed; otherwise the set is held.
    fn leave(&mut self, key: &SetKey, set: &DesiredSet, pod: &ObservedPod) -> bool {
        let (id, why) = match &set.leave {
            Leave::Given => return true,
            Leave::WhileIll if pod.ready_for.is_none() => return true,
            Leave::WhileIll => ("recovered", "the old pod is ready again".to_owned()),
            Leave::Held(id, why) => (*id, why.clone()),
        };
        self.hold(key, Hold::NoTurn(id, why));
        false
    }

    /// Whether the images of a new pod are here; otherwise they are brought, and the set is held.
    fn pull(&mut self, key: &SetKey, set: &DesiredSet) -> bool {
        let pending = match &set.images {
            Images::Ready => return true,
            Images::Unknown => {
                self.steps.push(Step::Pull(key.clone()));
                "they are looked for".to_owned()
            }
            Images::Pending(why) => why.clone(),
            Images::Refused(why) => {
                self.hold(key, Hold::Preflight(why.clone()));
                return false;
            }
        };
        self.hold(key, Hold::ImagesPending(pending));
        false
    }

    /// Surge: the new pod starts beside the old one, which goes when the new one is available.
    fn surge(
        &mut self,
        key: &SetKey,
        set: &DesiredSet,
        first: &ObservedPod,
        rest: &[&ObservedPod],
    ) {
        let all = || std::iter::once(first).chain(rest.iter().copied());
        let mut new = all().filter(|pod| pod.hash == set.hash);
        let mut old = all().filter(|pod| pod.hash != set.hash);
        let (newest, oldest) = (new.next(), old.next());
        self.delete(&new.chain(old).collect::<Vec<_>>(), &Cause::Surplus);
        match (newest, oldest) {
            (None, Some(_)) if set.on_delete => self.hold(key, Hold::OnDelete),
            (None, Some(old)) if old.resizable => {
                if self.leave(key, set, old) {
                    self.steps.push(Step::Resize(old.uid.clone()));
                }
            }
            (None, Some(_)) if set.should_run && !set.missing.is_empty() => {
                self.hold(key, Hold::ObjectsMissing(set.missing.clone()));
            }
            (None, Some(old)) if set.should_run && !set.evicted => {
                if self.pull(key, set) && self.leave(key, set, old) {
                    self.steps.push(Step::Create(key.clone()));
                }
            }
            (Some(newest), Some(oldest)) => self.retire(key, set, newest, oldest),
            (None, _) | (Some(_), None) => {}
        }
    }

    /// Stops the old pod of a surge once it is of no more use.
    fn retire(
        &mut self,
        key: &SetKey,
        set: &DesiredSet,
        newest: &ObservedPod,
        oldest: &ObservedPod,
    ) {
        let missing = newest.ready_for.map(|ready| set.min_ready.saturating_sub(ready));
        if oldest.ready_for.is_none() || missing == Some(Duration::ZERO) {
            self.delete(&[oldest], &Cause::Outdated);
            return;
        }
        if let Some(missing) = missing {
            self.wake = Some(self.wake.map_or(missing, |wake| wake.min(missing)));
        }
        self.hold(key, Hold::NotAvailable);
    }
}
