//! The search itself: breadth first, so that what it finds is as short as can be.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use super::faults::faults;
use super::invariants::{good, hopeful, wrong};
use super::mind::Mind;
use super::moves::{Move, Way, Ways, steps};
use super::scenario::Scenario;
use super::world::{Gates, Left, Marks, NODES, Node, World};

/// What of a world belongs to no host.
type Head = (u8, Gates, Marks, u8, Left);

/// Every world that was found, each once.
#[derive(Default)]
struct Worlds {
    /// What belongs to no host, of all worlds.
    heads: Vec<Head>,
    /// The hosts of all worlds, one world after the other.
    nodes: Vec<Node>,
    /// Open addressing: places in `heads`, plus one.
    table: Vec<u32>,
    /// How many hosts a world has.
    count: usize,
}

/// A hash that is fast without optimization.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_u16(&mut self, number: u16) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Worlds {
    /// One of them.
    fn get(&self, index: usize) -> World {
        let (set, gates, marks, away, left) = self.heads[index];
        let mut nodes = [Node::default(); NODES];
        let at = index * self.count;
        nodes[..self.count].copy_from_slice(&self.nodes[at..at + self.count]);
        World { set, gates, marks, away, left, count: u8::try_from(self.count).unwrap(), nodes }
    }

    /// The place of a world, and whether it is new.
    fn add(&mut self, world: &World) -> (usize, bool) {
        if self.heads.len() * 2 >= self.table.len() {
            self.grow();
        }
        let head = (world.set, world.gates, world.marks, world.away, world.left);
        let mask = self.table.len() - 1;
        let mut slot = hash(&head, world.live()) & mask;
        loop {
            match self.table[slot] {
                0 => break,
                known => {
                    let index = known as usize - 1;
                    let at = index * self.count;
                    if self.heads[index] == head && self.nodes[at..at + self.count] == *world.live()
                    {
                        return (index, false);
                    }
                }
            }
            slot = (slot + 1) & mask;
        }
        self.heads.push(head);
        self.nodes.extend_from_slice(world.live());
        self.table[slot] = u32::try_from(self.heads.len()).unwrap();
        (self.heads.len() - 1, true)
    }

    /// Makes the table larger.
    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(1 << 16);
        self.table = vec![0; size];
        for index in 0..self.heads.len() {
            let at = index * self.count;
            let mut slot = hash(&self.heads[index], &self.nodes[at..at + self.count]) & (size - 1);
            while self.table[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.table[slot] = u32::try_from(index + 1).unwrap();
        }
    }
}

/// The hash of a world.
fn hash(head: &Head, nodes: &[Node]) -> usize {
    let mut quick = Quick::default();
    head.hash(&mut quick);
    for node in nodes {
        node.hash(&mut quick);
    }
    usize::try_from(quick.finish() >> 8).unwrap()
}

/// What an exploration came to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How many worlds there are.
    pub(super) worlds: usize,
    /// How many steps lead from one to another.
    pub(super) steps: usize,
    /// What is wrong, and the shortest way to it.
    pub(super) wrong: Option<(String, String)>,
}

/// Explores every world of a scenario, or as far as the first that is wrong.
pub(super) fn explore(scenario: Scenario) -> Outcome {
    let mut search = Search::new(scenario);
    let outcome = search.run();
    let name = search.mind.scenario.name;
    println!("{name}: {} worlds, {} steps", outcome.worlds, outcome.steps);
    outcome
}

/// A search under way.
struct Search {
    mind: Mind,
    worlds: Worlds,
    /// From which world each was found first.
    parents: Vec<u32>,
    /// The steps that happen sooner or later, backwards: from, to.
    fair: Vec<(u32, u32)>,
    steps: usize,
}

impl Search {
    /// A search that has found the first world.
    fn new(scenario: Scenario) -> Self {
        let count = usize::from(scenario.hosts);
        let mut worlds = Worlds { count, ..Worlds::default() };
        let mut first = scenario.start();
        first.settle(scenario.alike());
        worlds.add(&first);
        Self { mind: Mind::new(scenario), worlds, parents: vec![0], fair: vec![], steps: 0 }
    }

    /// Every way on from a world.
    fn ways(&mut self, world: &World) -> Vec<Way> {
        let mut ways = Ways { from: world, ways: Vec::with_capacity(32) };
        steps(&mut self.mind, &mut ways);
        faults(&self.mind, &mut ways);
        ways.ways
    }

    /// Runs it.
    fn run(&mut self) -> Outcome {
        let alike = self.mind.scenario.alike();
        let mut next = 0;
        while next < self.worlds.heads.len() {
            let world = self.worlds.get(next);
            for mut way in self.ways(&world) {
                way.world.settle(alike);
                self.steps += 1;
                let (index, new) = self.worlds.add(&way.world);
                if new {
                    self.parents.push(u32::try_from(next).unwrap());
                }
                let found = way
                    .wrong
                    .or_else(|| if new { wrong(&self.mind.scenario, &way.world) } else { None });
                if let Some(found) = found {
                    let trace = self.trace(next, Some(&way));
                    return self.outcome(Some((found.to_owned(), trace)));
                }
                if way.made.fair && self.mind.scenario.liveness && index != next {
                    self.fair.push((u32::try_from(next).unwrap(), u32::try_from(index).unwrap()));
                }
            }
            next += 1;
            let most = self.mind.scenario.most;
            assert!(self.worlds.heads.len() <= most, "more than {most} worlds; {next} were left");
        }
        let hopeless = self.mind.scenario.liveness.then(|| self.hopeless()).flatten();
        let wrong = hopeless.map(|index| {
            ("I4: not every node can be updated any more".to_owned(), self.trace(index, None))
        });
        self.outcome(wrong)
    }

    /// What it came to.
    fn outcome(&self, wrong: Option<(String, String)>) -> Outcome {
        Outcome { worlds: self.worlds.heads.len(), steps: self.steps, wrong }
    }

    /// The first world from which no good one can be reached by itself, though it should.
    fn hopeless(&mut self) -> Option<usize> {
        let count = self.worlds.heads.len();
        self.fair.sort_unstable_by_key(|(_, to)| *to);
        let mut starts = vec![0_u32; count + 1];
        for (_, to) in &self.fair {
            starts[*to as usize + 1] += 1;
        }
        for index in 0..count {
            starts[index + 1] += starts[index];
        }
        let mut reached = vec![false; count];
        let mut open: Vec<usize> = vec![];
        for (index, reached) in reached.iter_mut().enumerate() {
            if good(&self.mind.scenario, &self.worlds.get(index)) {
                *reached = true;
                open.push(index);
            }
        }
        while let Some(index) = open.pop() {
            let range = starts[index] as usize..starts[index + 1] as usize;
            for (from, _) in &self.fair[range] {
                if !std::mem::replace(&mut reached[*from as usize], true) {
                    open.push(*from as usize);
                }
            }
        }
        (0..count).find(|index| {
            !reached[*index] && hopeful(&self.mind.scenario, &self.worlds.get(*index))
        })
    }

    /// The way to a world, and one step further, in words: hosts keep their names in it.
    fn trace(&mut self, last: usize, further: Option<&Way>) -> String {
        let mut path = vec![last];
        while path[path.len() - 1] != 0 {
            path.push(self.parents[path[path.len() - 1]] as usize);
        }
        path.reverse();
        let alike = self.mind.scenario.alike();
        let mut names: Vec<u8> = (0..5).collect();
        let mut text = String::new();
        for pair in path.windows(2) {
            let (from, to) = (self.worlds.get(pair[0]), self.worlds.get(pair[1]));
            let ways = self.ways(&from);
            let (made, places) = ways
                .into_iter()
                .find_map(|mut way| {
                    let places = way.world.settle(alike);
                    (way.world == to).then_some((way.made, places))
                })
                .expect("each world was found from its parent");
            text.push_str(&self.line(&made, &names));
            names = places.iter().map(|place| names[usize::from(*place)]).collect();
        }
        if let Some(way) = further {
            text.push_str(&self.line(&way.made, &names));
            text.push_str(&show(&way.world));
        } else {
            text.push_str(&show(&self.worlds.get(last)));
        }
        text
    }

    /// One step in words.
    fn line(&self, made: &Move, names: &[u8]) -> String {
        let act = &self.mind.deals[usize::from(made.deal)].act;
        format!("  n{} {} {act}\n", names[usize::from(made.node)] + 1, made.what)
    }
}

/// A world in short.
fn show(world: &World) -> String {
    let mut text = format!("  then: version {}, gates {:?}\n", world.set, world.gates);
    for node in world.live() {
        let _ = writeln!(text, "    {node:?}");
    }
    text
}
