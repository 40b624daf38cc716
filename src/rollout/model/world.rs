//! The model's world: a store, hosts, and what may still go wrong, in small numbers that are fast to compare.
//!
//! Revisions are renumbered after each step, for nothing depends on more than their order; where hosts are alike they
//! are sorted, so that two worlds which differ by names only are one.

/// The most hosts that a world has.
pub(super) const NODES: usize = 5;

/// A turn; of no kind: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn {
    /// 0 none, 1 replace, 2 surge, 3 repair.
    pub(super) kind: u8,
    /// The template that it comes from.
    pub(super) from: u8,
    /// The template that it goes to.
    pub(super) to: u8,
    /// Whether it failed.
    pub(super) failed: u8,
}

/// The kinds of turns.
pub(super) const REPLACE: u8 = 1;
/// See [`REPLACE`].
pub(super) const SURGE: u8 = 2;
/// See [`REPLACE`].
pub(super) const REPAIR: u8 = 3;

/// A pod; of no template: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pod {
    /// Its template.
    pub(super) hash: u8,
    /// See [`STARTING`].
    pub(super) state: u8,
}

/// A pod that is not ready.
pub(super) const STARTING: u8 = 0;
/// A pod that is ready, but not for long enough.
pub(super) const READY: u8 = 1;
/// A pod that is available.
pub(super) const AVAILABLE: u8 = 2;

/// A transaction under way; deal 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Flight {
    /// Its number among all that were ever spelled out.
    pub(super) deal: u16,
    /// The revision of the queue key that it means.
    pub(super) queue: u8,
    /// The revision of the turn that it means.
    pub(super) turn: u8,
}

/// What a waiting node read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Look {
    /// Whether anything was read.
    pub(super) read: u8,
    /// The revision that made the queue key under which it was read.
    pub(super) under: u8,
    /// Whether somebody stood before it.
    pub(super) ahead: u8,
    /// How many may still claim on the count of the one before it.
    pub(super) passed: u8,
    /// Whether it counted itself: what follows.
    pub(super) counted: u8,
    /// See `admit::Look`, as the next five.
    pub(super) members: u8,
    /// How many are available.
    pub(super) available: u8,
    /// How many do not count.
    pub(super) absent: u8,
    /// How many surge.
    pub(super) surging: u8,
    /// How many have the template.
    pub(super) updated: u8,
    /// How many turns go to each template.
    pub(super) moving: [u8; 3],
    /// Whether a node of another domain is in its turn.
    pub(super) elsewhere: u8,
    /// The template with which every canary node is available.
    pub(super) canaries: u8,
}

/// The gates as bits, one for each template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Gates {
    /// The templates that failed.
    pub(super) condemned: u8,
    /// The templates that began to bake.
    pub(super) baked: u8,
    /// Those that still do.
    pub(super) baking: u8,
}

/// One host, with its keys in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Node {
    /// Which of the scenario's roles it has.
    pub(super) role: u8,

    // In the store.
    /// Whether it has a member key.
    pub(super) member: u8,
    /// The template that its key below `at/` names.
    pub(super) at: u8,
    /// The template of its available key; 0: there is none.
    pub(super) available: u8,
    /// Whether that is under the store lease of an earlier agent.
    pub(super) older: u8,
    /// The revision that made its queue key; 0: there is none.
    pub(super) queue: u8,
    /// Its turn.
    pub(super) turn: Turn,
    /// The revision that changed its turn last.
    pub(super) turn_revision: u8,
    /// Its store lease: 0 ended, 1 alive, 2 alive but unknown to the agent, which began anew.
    pub(super) lease: u8,

    // On the host, durable.
    /// Its pods, the older one first.
    pub(super) pods: [Pod; 2],
    /// The turn as it was known last.
    pub(super) known: Turn,
    /// The template for which its pod may be disturbed; 0: none.
    pub(super) granted: u8,
    /// How often the host was booted in the turn.
    pub(super) boots: u8,
    /// Whether the turn took too long.
    pub(super) overdue: u8,

    // On the host, volatile.
    /// Whether the host runs.
    pub(super) up: u8,
    /// Whether it is cut off from the store.
    pub(super) cut: u8,
    /// Whether it should run the set: 0 not yet, 1 it should, 2 no longer.
    pub(super) wants: u8,
    /// Whether a new pod could not start here.
    pub(super) unready: u8,
    /// The template of the pod that the reconciler is about to stop: it has checked, and not acted yet.
    pub(super) stopping: u8,
    /// Its session: 0 none, 1 the node's record is as it wrote it, 2 it no longer is.
    pub(super) session: u8,
    /// Its available key as it knows it.
    pub(super) own_available: u8,
    /// Its queue key as it knows it.
    pub(super) own_queue: u8,
    /// The queue key of whoever entered before it, as it knows that.
    pub(super) behind: u8,
    /// The revision of its turn as it knows it.
    pub(super) own_turn: u8,
    /// The set as it saw it last.
    pub(super) seen_set: u8,
    /// The gates as it saw them last.
    pub(super) seen: Gates,
    /// What it read last.
    pub(super) look: Look,
    /// Its transaction under way.
    pub(super) flight: Flight,
    /// One of an earlier session that is still under way: only where the epoch is left out.
    pub(super) late: Flight,

    // What only the checker knows.
    /// Whether an available pod was stopped here, and none is available yet.
    pub(super) disturbed: u8,
    /// Whether an operator took it out of the count before it was disturbed, or while it was.
    pub(super) excused: u8,
    /// Whether an operator ended the turn that this session knows.
    pub(super) released: u8,
}

/// What the queue goes by beside the nodes in it: revisions of queue keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Marks {
    /// The one that was made last.
    pub(super) entered: u8,
    /// The one under which was claimed last.
    pub(super) claimed: u8,
    /// How many more may claim on the same count.
    pub(super) more: u8,
    /// The version of the set for which that was.
    pub(super) set: u8,
}

/// What may still go wrong, or be done: how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Left {
    /// A host crashes, for no reason of ours.
    pub(super) crash: u8,
    /// An agent is killed.
    pub(super) restart: u8,
    /// A host is cut off.
    pub(super) cut: u8,
    /// A store lease ends under a session.
    pub(super) lease: u8,
    /// A session ends with a transaction under way.
    pub(super) lost: u8,
    /// A pod crashes.
    pub(super) pod: u8,
    /// An operator ends a turn.
    pub(super) release: u8,
    /// An operator deletes a node.
    pub(super) delete: u8,
    /// A node leaves.
    pub(super) leave: u8,
    /// The store is away.
    pub(super) outage: u8,
    /// A new pod cannot start on a host for a while.
    pub(super) unready: u8,
    /// A good pod takes too long.
    pub(super) slow: u8,
}

/// All of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// Which version of the set is in the store.
    pub(super) set: u8,
    /// The gates.
    pub(super) gates: Gates,
    /// What the queue goes by.
    pub(super) marks: Marks,
    /// Whether the store is away.
    pub(super) away: u8,
    /// What may still happen.
    pub(super) left: Left,
    /// How many hosts there are.
    pub(super) count: u8,
    /// The hosts.
    pub(super) nodes: [Node; NODES],
}

impl Node {
    /// Ends its session with the store.
    pub(super) fn part(&mut self, keep_look: bool) {
        (self.session, self.own_available, self.own_queue, self.own_turn) = (0, 0, 0, 0);
        self.behind = 0;
        self.flight = Flight::default();
        if !keep_look {
            self.look = Look::default();
        }
    }

    /// Forgets what belonged to the turn that ended.
    pub(super) fn forget_turn(&mut self) {
        self.known = Turn::default();
        (self.granted, self.boots, self.overdue) = (0, 0, 0);
    }

    /// Whether any pod is available.
    pub(super) fn serves(&self) -> bool {
        self.pods.iter().any(|pod| pod.hash != 0 && pod.state == AVAILABLE)
    }

    /// The template of its newest pod.
    pub(super) fn newest(&self) -> u8 {
        if self.pods[1].hash == 0 { self.pods[0].hash } else { self.pods[1].hash }
    }

    /// Takes every key of it out of the store, as whoever removes its member key does.
    pub(super) fn strike(&mut self) {
        (self.member, self.at, self.available, self.older, self.queue) = (0, 0, 0, 0, 0);
        (self.turn, self.turn_revision) = (Turn::default(), 0);
    }

    /// Removes the pods for which this holds.
    pub(super) fn drop_pods(&mut self, gone: impl Fn(Pod) -> bool) {
        let mut left = [Pod::default(); 2];
        let staying = self.pods.iter().filter(|pod| pod.hash != 0 && !gone(**pod));
        for (slot, pod) in left.iter_mut().zip(staying) {
            *slot = *pod;
        }
        self.pods = left;
    }

    /// Starts a pod.
    pub(super) fn start(&mut self, hash: u8) {
        let slot = usize::from(self.pods[0].hash != 0);
        self.pods[slot] = Pod { hash, state: STARTING };
    }
}

impl World {
    /// The hosts that there are.
    pub(super) fn live(&self) -> &[Node] {
        &self.nodes[..usize::from(self.count)]
    }

    /// A revision after all others of queue keys.
    pub(super) fn next_queue(&self) -> u8 {
        let marks = [self.marks.entered, self.marks.claimed];
        let all = self.live().iter().flat_map(|node| [node.queue, node.own_queue, node.look.under]);
        all.chain(marks).max().unwrap_or(0) + 1
    }

    /// Renumbers the revisions, and sorts the hosts when they are alike. The place that each host had before.
    pub(super) fn settle(&mut self, alike: bool) -> [u8; NODES] {
        self.renumber_queues();
        let count = usize::from(self.count);
        for node in &mut self.nodes[..count] {
            let mut revisions = [
                &mut node.turn_revision,
                &mut node.own_turn,
                &mut node.flight.turn,
                &mut node.late.turn,
            ];
            renumber(&mut revisions);
        }
        let mut places = [0, 1, 2, 3, 4];
        if alike {
            let before = self.nodes;
            places[..count].sort_by(|a, b| before[usize::from(*a)].cmp(&before[usize::from(*b)]));
            for (slot, place) in self.nodes.iter_mut().zip(places) {
                *slot = before[usize::from(place)];
            }
        }
        places
    }

    /// Forgets revisions of queue keys that say nothing any more: of keys that are gone, but for the last claim's, which
    /// says something to whoever entered behind it, or may still.
    fn forget_marks(&mut self) {
        let alive = self.nodes.map(|node| node.queue);
        let there = |revision: u8| revision != 0 && alive.contains(&revision);
        let claimed = self.marks.claimed;
        let told = |node: &Node| node.queue != 0 && node.behind == claimed;
        let heard = self.marks.entered == claimed || self.live().iter().any(told);
        // Who is the head is found by looking through the queue, too: only what is passed on is learned here alone.
        if self.marks.more == 0 || !heard {
            (self.marks.claimed, self.marks.more, self.marks.set) = (0, 0, 0);
        }
        let claimed = self.marks.claimed;
        if !there(self.marks.entered) && self.marks.entered != claimed {
            self.marks.entered = 0;
        }
        for node in &mut self.nodes[..usize::from(self.count)] {
            if node.own_queue == 0 || !there(node.behind) && node.behind != claimed {
                node.behind = 0;
            }
        }
    }

    /// Renumbers the revisions of queue keys.
    fn renumber_queues(&mut self) {
        self.forget_marks();
        let count = usize::from(self.count);
        let mut revisions: Vec<&mut u8> = Vec::with_capacity(6 * count + 2);
        revisions.extend([&mut self.marks.entered, &mut self.marks.claimed]);
        revisions.retain(|revision| **revision != 0);
        for node in &mut self.nodes[..count] {
            for revision in [
                &mut node.queue,
                &mut node.own_queue,
                &mut node.behind,
                &mut node.look.under,
                &mut node.flight.queue,
                &mut node.late.queue,
            ] {
                if *revision != 0 {
                    revisions.push(revision);
                }
            }
        }
        renumber(&mut revisions);
    }
}

/// Renumbers revisions by their order; 0 stays.
fn renumber(revisions: &mut [&mut u8]) {
    let mut seen = [false; 64];
    for revision in revisions.iter() {
        seen[usize::from(**revision)] = true;
    }
    let mut rank = [0_u8; 64];
    let mut next = 0;
    for (revision, seen) in seen.iter().enumerate().skip(1) {
        if *seen {
            next += 1;
            rank[revision] = next;
        }
    }
    for revision in revisions {
        **revision = rank[usize::from(**revision)];
    }
}
