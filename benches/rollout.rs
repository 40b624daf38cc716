//! Whole rollouts over fleets of 100, 1,000 and 10,000 nodes without containers on one real etcd each: how long they take
//! beside the least that their budget of 1 % allows, what they write, and what a node costs that waits.
//!
//! Pods are ready after three seconds instead of half a minute; everything else, the pace at which nodes look again among it, is
//! the agent's own. Each node has a connection of its own; two files for each of 10,000, one at either
//! end, fit under a limit of 20,000. `PODWARD_BENCH_NODES` names other sizes: `100,1000`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../tests/support/etcd.rs"]
mod etcd;
#[path = "nodes/mod.rs"]
mod nodes;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use etcd::Etcd;
use nodes::{cpu_of, key, memory, node, now, put, settle};
use podward::testing::{
    light::{self, Told},
    store::{Keys, Op, Range, Settings, Store, Txn},
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How many nodes may be on their way into the fleet at once.
const JOINING: usize = 600;
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long nodes that wait are counted.
const WAITING: Duration = Duration::from_mins(1);

/// The goals: efficiency, and writes for each node.
const GOALS: (f64, f64) = (0.9, 6.0);

fn main() -> Result<()> {
    let quick = std::env::var_os("PODWARD_BENCH_QUICK").is_some();
    let sizes = std::env::var("PODWARD_BENCH_NODES")
        .unwrap_or_else(|_| if quick { "100,1000" } else { "100,1000,10000" }.to_owned());
    let pod = Duration::from_millis(if quick { 500 } else { 3000 });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut figures = Vec::new();
    for size in sizes.split(',') {
        let size = size.trim().parse().with_context(|| format!("PODWARD_BENCH_NODES: {size}"))?;
        figures.push(runtime.block_on(one(size, pod))?);
    }
    table(&figures);
    let missed = |one: &Figures| one.efficiency() < GOALS.0 || one.writes > GOALS.1;
    if figures.iter().any(missed) {
        bail!(
            "a goal was missed: efficiency {} or more, {} writes for each node or fewer",
            GOALS.0,
            GOALS.1
        );
    }
    Ok(())
}

/// What was seen of one fleet.
#[derive(Debug)]
struct Figures {
    /// How many nodes.
    nodes: usize,
    /// How long they took to join.
    joined: Duration,
    /// The least that the budget allows.
    ideal: Duration,
    /// How long it took.
    actual: Duration,
    /// The most nodes that were unavailable at once, and how many may be.
    unavailable: (usize, usize),
    /// Transactions that wrote, for each node.
    writes: f64,
    /// Keys that were put and deleted, for each node.
    keys: (f64, f64),
    /// Requests of all kinds, for each node.
    requests: f64,
    /// Requests for each node and minute while all of them wait.
    waiting: f64,
    /// Signs of life for each node and minute.
    signs: f64,
    /// Milliseconds of CPU for each node in the whole rollout: etcd's, and the nodes' own.
    cpu: [f64; 2],
    /// The most CPU of a core in a second, and memory: etcd's.
    etcd: (f64, u64),
    /// The same of all nodes together.
    own: (f64, u64),
}

impl Figures {
    /// The least time by the real one.
    fn efficiency(&self) -> f64 {
        self.ideal.as_secs_f64() / self.actual.as_secs_f64()
    }
}

/// A fleet at work.
struct Fleet {
    /// The store.
    server: Etcd,
    /// A connection of the benchmark's own.
    store: Store,
    /// The keys' names.
    keys: Keys,
    /// How many nodes.
    nodes: usize,
    /// What pods do.
    heard: mpsc::UnboundedReceiver<Told>,
    /// Ends all nodes.
    stop: watch::Sender<bool>,
    /// The nodes.
    tasks: JoinSet<()>,
    /// Their state directories.
    state: tempfile::TempDir,
    /// What they share.
    shared: light::Settings,
    /// The processes: etcd and this one.
    pids: [u32; 2],
}

/// One fleet: joins, rolls, waits.
async fn one(nodes: usize, pod: Duration) -> Result<Figures> {
    let mut fleet = Fleet::start(nodes, pod).await?;
    let began = now();
    put(&fleet.store, &fleet.keys, 1, &budget(), &Value::Null).await?;
    fleet.join().await?;
    let joined = began.elapsed();
    println!(
        "{nodes} nodes joined in {:.1} s, {:.0} MB in etcd, {:.0} MB here",
        joined.as_secs_f64(),
        memory(fleet.pids[0], "VmRSS")? as f64 / 1e6,
        memory(fleet.pids[1], "VmRSS")? as f64 / 1e6
    );
    settle(&fleet.store, &fleet.keys).await?;

    let (before, cpu_before) = (fleet.counters()?, fleet.cpu()?);
    let began = now();
    put(&fleet.store, &fleet.keys, 2, &budget(), &Value::Null).await?;
    let (most, peaks) = fleet.roll().await?;
    let (actual, cpu) = (began.elapsed(), fleet.cpu()?);
    settle(&fleet.store, &fleet.keys).await?;
    let after = fleet.counters()?;
    let each = |what: &str| (after.get(what) - before.get(what)) / nodes as f64;
    println!(
        "  rolled in {:.1} s; at most {most} unavailable; {:.2} writes for each node; requests by kind: {}",
        actual.as_secs_f64(),
        each("revision"),
        KINDS.map(|kind| format!("{kind} {:.1}", each(kind))).join(", ")
    );

    let waiting = fleet.wait().await?;
    let allowed = nodes.div_ceil(100);
    let rounds = u32::try_from(nodes.div_ceil(allowed))?;
    let figures = Figures {
        nodes,
        joined,
        ideal: pod * rounds,
        actual,
        unavailable: (most, allowed),
        // The operator's own change is none of the nodes'.
        writes: each("revision") - 1.0 / nodes as f64,
        keys: (each("put"), each("delete")),
        requests: each("Txn") + each("Range") + each("LeaseGrant"),
        waiting: waiting.0,
        signs: waiting.1,
        cpu: [0, 1]
            .map(|of| cpu[of].saturating_sub(cpu_before[of]).as_secs_f64() * 1e3 / nodes as f64),
        etcd: (peaks[0], memory(fleet.pids[0], "VmHWM")?),
        own: (peaks[1], memory(fleet.pids[1], "VmRSS")?),
    };
    fleet.end().await;
    Ok(figures)
}

/// The budget of every rollout here.
fn budget() -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "1%"}}})
}

impl Fleet {
    /// A store, and no node yet.
    async fn start(nodes: usize, pod: Duration) -> Result<Self> {
        let server = Etcd::start(1)?;
        let pids = [server.pid(0).context("etcd runs")?, std::process::id()];
        let settings = Settings {
            endpoints: server.endpoints(),
            timeout: Duration::from_secs(30),
            ..Settings::default()
        };
        let keys = Keys::new("/podward", "bench");
        let (told, heard) = mpsc::unbounded_channel();
        let store = Store::connect(&settings, 0).await?;
        let shared = light::Settings {
            store: settings,
            keys: keys.clone(),
            pod_time: pod,
            turns: true,
            pace: None,
            told,
        };
        // Each host has a disk of its own; thousands that sync one would slow down each other, and the store beside them.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let (stop, tasks) = (watch::channel(false).0, JoinSet::new());
        let state = tempfile::tempdir_in(place)?;
        Ok(Self { server, store, keys, nodes, heard, stop, tasks, state, shared, pids })
    }

    /// Has all nodes come, a few at a time, until the pod of each is ready.
    async fn join(&mut self) -> Result<()> {
        self.stop.send_replace(false);
        let (mut started, mut ready) = (0, 0);
        while ready < self.nodes {
            while started < self.nodes && started < ready + JOINING {
                let path = self.state.path().join(started.to_string());
                std::fs::create_dir_all(&path)?;
                let (shared, stopped) = (self.shared.clone(), self.stop.subscribe());
                let node = node(started);
                self.tasks.spawn(async move { light::run(shared, node, &path, stopped).await });
                started += 1;
            }
            if let Told::Ready(_) = self.next().await? {
                ready += 1;
            }
        }
        // A pod that is ready is not yet said to be.
        let all = Range::prefix(self.keys.availables(&key()));
        while self.count(all.clone()).await? < self.nodes {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(())
    }

    /// What a pod did.
    async fn next(&mut self) -> Result<Told> {
        let told = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        told.context("no pod did anything for minutes")?.context("nodes are there")
    }

    /// How many keys there are.
    async fn count(&self, range: Range) -> Result<usize> {
        let txn = Txn { then: vec![Op::Count(range)], ..Txn::default() };
        Ok(self.store.txn(&txn).await?.listings.first().map_or(0, |listing| listing.count))
    }

    /// Waits until every pod is replaced and no turn is open; says how many nodes were unavailable at most, and the most CPU
    /// of the processes.
    async fn roll(&mut self) -> Result<(usize, [f64; 2])> {
        let (mut away, mut most, mut ready) = (0_usize, 0, 0);
        let mut cpu = Cpu::new(self.pids)?;
        while ready < self.nodes {
            match self.next().await? {
                Told::Ended(_) => away += 1,
                Told::Ready(_) => {
                    away -= 1;
                    ready += 1;
                }
                Told::Began(_) => {}
            }
            most = most.max(away);
            cpu.look()?;
        }
        let turns = Range::prefix(self.keys.turns(&key()));
        while self.count(turns.clone()).await? > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let allowed = self.nodes.div_ceil(100);
        ensure!(most <= allowed, "{most} nodes were unavailable at once, and {allowed} may be");
        Ok((most, cpu.most))
    }

    /// Has all nodes wait for their turns, which none gets; says how many requests, and how many signs of life, each node
    /// sends in a minute.
    async fn wait(&mut self) -> Result<(f64, f64)> {
        let keep = json!({"podward.dev/partition": "100%"});
        put(&self.store, &self.keys, 3, &budget(), &keep).await?;
        // Until all have come who come at first.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let before = self.counters()?;
        tokio::time::sleep(WAITING).await;
        let after = self.counters()?;
        let each = |what: &str| {
            (after.get(what) - before.get(what)) / self.nodes as f64 * 60.0 / WAITING.as_secs_f64()
        };
        ensure!(each("revision") < 0.5, "nodes that wait write");
        Ok((each("Txn") + each("Range") + each("LeaseGrant"), each("LeaseKeepAlive")))
    }

    /// Ends all nodes.
    async fn end(&mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        while self.heard.try_recv().is_ok() {}
    }

    /// The CPU time of etcd, and of all nodes together.
    fn cpu(&self) -> Result<[Duration; 2]> {
        Ok([cpu_of(self.pids[0])?, cpu_of(self.pids[1])?])
    }

    /// What etcd counted.
    fn counters(&self) -> Result<Counters> {
        let endpoint = self.server.endpoints().remove(0);
        let place = endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(place)?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {place}\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(Counters { page })
    }
}

/// The kinds of requests that nodes send.
const KINDS: [&str; 5] = ["Txn", "Range", "LeaseGrant", "LeaseKeepAlive", "Watch"];

/// etcd's page of metrics.
struct Counters {
    /// The page.
    page: String,
}

impl Counters {
    /// A counter by the name that it has here.
    fn get(&self, what: &str) -> f64 {
        let of = |begin: &str| {
            let line = self.page.lines().find_map(|line| line.strip_prefix(begin));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
        };
        let grpc = |counter: &str, service: &str, kind: &str| {
            of(&format!(
                "{counter}{{grpc_method=\"{what}\",grpc_service=\"etcdserverpb.{service}\",grpc_type=\"{kind}\"}}"
            ))
        };
        match what {
            "revision" => of("etcd_debugging_mvcc_current_revision"),
            "put" => of("etcd_mvcc_put_total"),
            "delete" => of("etcd_mvcc_delete_total"),
            "LeaseGrant" => grpc("grpc_server_started_total", "Lease", "unary"),
            "LeaseKeepAlive" => grpc("grpc_server_msg_received_total", "Lease", "bidi_stream"),
            "Watch" => grpc("grpc_server_msg_received_total", "Watch", "bidi_stream"),
            _ => grpc("grpc_server_started_total", "KV", "unary"),
        }
    }
}

/// The most CPU that processes took in a second.
struct Cpu {
    /// The processes.
    pids: [u32; 2],
    /// What they had at the last look, and when that was.
    last: ([Duration; 2], std::time::Instant),
    /// The most so far, in cores.
    most: [f64; 2],
}

impl Cpu {
    /// Begins to look.
    fn new(pids: [u32; 2]) -> Result<Self> {
        Ok(Self { pids, last: ([cpu_of(pids[0])?, cpu_of(pids[1])?], now()), most: [0.0; 2] })
    }

    /// Looks once a second.
    fn look(&mut self) -> Result<()> {
        let passed = self.last.1.elapsed();
        if passed < Duration::from_secs(1) {
            return Ok(());
        }
        let cpu = [cpu_of(self.pids[0])?, cpu_of(self.pids[1])?];
        for (number, most) in self.most.iter_mut().enumerate() {
            let share = cpu[number].saturating_sub(self.last.0[number]).as_secs_f64()
                / passed.as_secs_f64();
            *most = most.max(share);
        }
        self.last = (cpu, now());
        Ok(())
    }
}

/// Prints how all of it grows.
fn table(figures: &[Figures]) {
    println!(
        "\n{:>6} {:>8} {:>8} {:>8} {:>10} {:>9} {:>7} {:>11} {:>9} {:>9} {:>6} {:>9} {:>10} {:>10}",
        "nodes",
        "joined s",
        "ideal s",
        "actual s",
        "efficiency",
        "unavail.",
        "writes",
        "put/deleted",
        "requests",
        "waiting/m",
        "signs",
        "cpu ms",
        "etcd",
        "nodes'"
    );
    for one in figures {
        println!(
            "{:>6} {:>8.1} {:>8.1} {:>8.1} {:>10.3} {:>9} {:>7.2} {:>11} {:>9.1} {:>9.2} {:>6.1} {:>9} {:>10} {:>10}",
            one.nodes,
            one.joined.as_secs_f64(),
            one.ideal.as_secs_f64(),
            one.actual.as_secs_f64(),
            one.efficiency(),
            format!("{}/{}", one.unavailable.0, one.unavailable.1),
            one.writes,
            format!("{:.1}/{:.1}", one.keys.0, one.keys.1),
            one.requests,
            one.waiting,
            one.signs,
            format!("{:.1}/{:.1}", one.cpu[0], one.cpu[1]),
            cost(one.etcd),
            cost(one.own),
        );
    }
    println!(
        "writes, put/deleted keys and requests are for each node in the whole rollout; waiting/m: its requests in a minute of \
         waiting; signs: its signs of life in a minute; cpu ms: etcd's and its own in the whole rollout; the last two: most CPU in a second, in cores, and most memory"
    );
}

/// CPU and memory for people.
fn cost((cpu, bytes): (f64, u64)) -> String {
    format!("{cpu:.1} {:.0} MB", bytes as f64 / 1e6)
}
