//! Rollouts over many nodes without containers on real etcd: how the queue gets on when it is long, and when it loses nodes.

use std::time::Duration;

use podward::testing::{
    light::{self, Told},
    store::{Keys, Op, Range, Settings, Store, Txn},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, sync::watch, task::JoinHandle};

use super::etcd::{self, Etcd};
use super::nodes::{key, node, put};
use super::store::{connect, settings};

/// A fleet of nodes whose pods are ready after a moment.
struct Fleet {
    store: Store,
    keys: Keys,
    heard: mpsc::UnboundedReceiver<Told>,
    nodes: Vec<JoinHandle<()>>,
    /// What lives as long as the fleet.
    _kept: (watch::Sender<bool>, tempfile::TempDir, Etcd),
}

impl Fleet {
    /// So many nodes with the first version of the set; none where there is no etcd.
    async fn start(count: usize) -> Option<Self> {
        if !etcd::is_there() {
            return None;
        }
        let server = Etcd::start(1).unwrap();
        let (store, keys) = (connect(&server).await, Keys::new("/podward", "test"));
        put(&store, &keys, 1, &Value::Null, &Value::Null).await.unwrap();
        let (told, heard) = mpsc::unbounded_channel();
        let shared = light::Settings {
            store: Settings { timeout: Duration::from_secs(20), ..settings(&server) },
            keys: keys.clone(),
            pod_time: Duration::from_millis(100),
            turns: true,
            pace: None,
            told,
        };
        let (stop, state) = (watch::channel(false).0, tempfile::tempdir().unwrap());
        let run = |number: usize| {
            let path = state.path().join(number.to_string());
            std::fs::create_dir(&path).unwrap();
            let (shared, stop) = (shared.clone(), stop.subscribe());
            tokio::spawn(async move { light::run(shared, node(number), &path, stop).await })
        };
        let nodes = (0..count).map(run).collect();
        let mut fleet = Self { store, keys, heard, nodes, _kept: (stop, state, server) };
        fleet.ready(count).await;
        fleet.until(&fleet.keys.availables(&key()), count).await;
        Some(fleet)
    }

    /// Waits until so many pods became ready; the most that were away at once meanwhile.
    async fn ready(&mut self, count: usize) -> usize {
        let (mut away, mut most, mut ready) = (0_usize, 0, 0);
        while ready < count {
            let told = tokio::time::timeout(Duration::from_mins(1), self.heard.recv()).await;
            match told.expect("pods get on").unwrap() {
                Told::Ended(_) => away += 1,
                Told::Ready(_) => (away, ready) = (away.saturating_sub(1), ready + 1),
                Told::Began(_) => {}
            }
            most = most.max(away);
        }
        most
    }

    /// Waits until there are so many keys below another one.
    async fn until(&self, below: &str, count: usize) {
        let mut watch = self.store.watch(&[Range::prefix(below)], 0).await.unwrap();
        let all = Txn { then: vec![Op::Count(Range::prefix(below))], ..Txn::default() };
        let there = async {
            while self.store.txn(&all).await.unwrap().listings[0].count != count {
                watch.next().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_mins(1), there).await.expect("the keys come to be");
    }

    /// Writes another version of the set.
    async fn update(&self, generation: i64, budget: &Value, annotations: &Value) {
        let budget = json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": budget}}});
        put(&self.store, &self.keys, generation, &budget, annotations).await.unwrap();
    }

    /// Has a node die, and everything end that it leased.
    async fn kill(&mut self, number: usize) {
        self.nodes[number].abort();
        let alive = self.keys.alive(&node(number).name);
        let (_, sign) = self.store.get(&alive).await.unwrap();
        self.store.revoke(sign.unwrap().lease).await.unwrap();
    }
}

#[tokio::test]
async fn a_long_queue_gets_on_within_the_budget_and_each_node_writes_five_times() {
    let Some(mut fleet) = Fleet::start(60).await else { return };
    let before = fleet.store.ping().await.unwrap().revision;
    fleet.update(2, &json!("10%"), &Value::Null).await;
    let most = fleet.ready(60).await;
    fleet.until(&fleet.keys.turns(&key()), 0).await;
    fleet.until(&fleet.keys.availables(&key()), 60).await;
    assert!(most <= 6, "{most} nodes were unavailable at once");
    let writes = fleet.store.ping().await.unwrap().revision - before;
    assert!(writes <= 60 * 6, "{writes} writes");
    fleet.until(&fleet.keys.queues(&key()), 0).await;
}

#[tokio::test]
async fn nodes_that_die_in_the_queue_hold_nobody_up() {
    let Some(mut fleet) = Fleet::start(20).await else { return };
    // Nobody goes, so all of them stand in the queue.
    let keep = json!({"podward.dev/partition": "100%"});
    fleet.update(2, &json!(10), &keep).await;
    fleet.until(&fleet.keys.queues(&key()), 20).await;
    for number in 0..8 {
        fleet.kill(number).await;
    }
    fleet.until(&fleet.keys.queues(&key()), 12).await;
    // Eight are unavailable: two at a time go.
    fleet.update(3, &json!(10), &Value::Null).await;
    let most = fleet.ready(12).await;
    assert!(most <= 2, "{most} of the others were unavailable at once");
    fleet.until(&fleet.keys.turns(&key()), 0).await;
}
