//! Real etcd for tests: clusters of one or three members on files, addresses and certificates of their own.
//!
//! Every cluster has its own address of the loopback network, so that ports never meet. Dropping a cluster kills it.
//! Included by `#[path = "../support/etcd.rs"] mod etcd;`, which wants `etcd_certs.rs` beside it.
#![allow(dead_code, reason = "each of the binaries that include it uses a part")]
#![allow(clippy::print_stderr, reason = "a skipped test says so loudly")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

#[path = "etcd_certs.rs"]
pub(crate) mod certs;

use certs::Pair;

/// Sets the addresses of one process's clusters apart.
static CLUSTERS: AtomicU32 = AtomicU32::new(0);

/// How often a member is looked at until it serves, and the pause between two looks: a minute in all.
const LOOKS: u32 = 3000;
/// See [`LOOKS`].
const PAUSE: Duration = Duration::from_millis(20);

/// What root is called where authentication is on, and its password.
pub(crate) const ROOT: (&str, &str) = ("root", "root-of-these-tests");

/// How clients and members speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// Without TLS.
    Plain,
    /// By TLS; anybody may come.
    Tls,
    /// By TLS; a client shows a certificate of the cluster's authority.
    Mutual,
}

/// A cluster as a test wishes it.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// How many members.
    pub(crate) members: usize,
    /// How they speak with clients.
    pub(crate) security: Security,
    /// The address on which all of them listen; a free one of the loopback network without.
    pub(crate) address: Option<String>,
    /// What stands before the command, such as `ip netns exec NAME`.
    pub(crate) launcher: Vec<String>,
    /// More of etcd's flags.
    pub(crate) flags: Vec<String>,
}

impl Wish {
    /// So many members, without TLS.
    pub(crate) fn plain(members: usize) -> Self {
        Self {
            members,
            security: Security::Plain,
            address: None,
            launcher: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// The same with this way to speak.
    pub(crate) fn by(self, security: Security) -> Self {
        Self { security, ..self }
    }

    /// The same with one more flag.
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }
}

/// A program of etcd's: beside `$PODWARD_ETCD`, on the search path, or where `scripts/setup` unpacks it.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("PODWARD_ETCD").map(PathBuf::from);
    let mut places: Vec<PathBuf> =
        named.iter().filter_map(|path| path.parent()).map(Path::to_owned).collect();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    if let Some(target) = Path::new(env!("CARGO_BIN_EXE_podward")).ancestors().nth(2) {
        places.push(target.join("vendors/etcd/usr/bin"));
    }
    if let Some(named) = named.filter(|_| name == "etcd") {
        return Some(named);
    }
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file())
}

/// Whether there is an etcd with its tools; says loudly when not, which in CI is a failure.
pub(crate) fn is_there() -> bool {
    let there = program("etcd").is_some() && program("etcdctl").is_some();
    assert!(there || std::env::var_os("CI").is_none(), "CI must have etcd and etcdctl");
    if !there {
        eprintln!("\n*** SKIPPED: this test needs etcd and etcdctl ***\n");
    }
    there
}

/// A cluster.
#[derive(Debug)]
pub(crate) struct Etcd {
    /// Where everything of it lies.
    dir: TempDir,
    /// What was wished for.
    wish: Wish,
    /// Its members.
    members: Vec<Member>,
    /// Who vouches for its members and clients, where they speak by TLS.
    authority: Option<Pair>,
    /// Its own certificate.
    own: Option<Pair>,
    /// What sets it apart from other clusters, which is where its identity comes from.
    token: String,
    /// Whether clients must say who they are.
    authenticated: bool,
}

/// One member.
#[derive(Debug)]
struct Member {
    /// Its name.
    name: String,
    /// Where clients reach it.
    client: String,
    /// Where other members reach it.
    peer: String,
    /// Its process, while it runs.
    process: Option<Child>,
}

impl Etcd {
    /// Starts a cluster of so many members and waits until all of them serve.
    pub(crate) fn start(members: usize) -> Result<Self> {
        Self::of(Wish::plain(members))
    }

    /// Starts a cluster.
    pub(crate) fn of(wish: Wish) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("podward-etcd-").tempdir()?;
        let address = wish.address.clone().unwrap_or_else(own_address);
        let (mut authority, mut own) = (None, None);
        if wish.security != Security::Plain {
            let vouching = Pair::authority(dir.path(), "authority")?;
            own = Some(vouching.vouch(dir.path(), "member", &address)?);
            authority = Some(vouching);
        }
        let scheme = if own.is_some() { "https" } else { "http" };
        // The ports of an address that another network namespace has are all free.
        let ports = free_ports(&address, wish.members * 2).unwrap_or_else(|_| {
            (0..wish.members * 2).map(|n| 2379 + u16::try_from(n).unwrap_or(0)).collect()
        });
        let members = (0..wish.members).map(|number| Member {
            name: format!("m{number}"),
            client: format!("{scheme}://{address}:{}", ports[number * 2]),
            peer: format!("http://{address}:{}", ports[number * 2 + 1]),
            process: None,
        });
        let members = members.collect();
        let token = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut etcd = Self { dir, wish, members, authority, own, token, authenticated: false };
        etcd.start_all()?;
        Ok(etcd)
    }

    /// Where clients reach the members.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.clone()).collect()
    }

    /// The same as flags and variables want it.
    pub(crate) fn endpoints_text(&self) -> String {
        self.endpoints().join(",")
    }

    /// Where a member has its files and its log.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The authority's certificate, where it speaks by TLS.
    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.authority.as_ref().map(|pair| pair.certificate.as_path())
    }

    /// A certificate for a client of this common name.
    pub(crate) fn client_certificate(&self, name: &str) -> Result<Pair> {
        let authority = self.authority.as_ref().context("this cluster speaks without TLS")?;
        authority.vouch(self.dir.path(), name, "127.0.0.1")
    }

    /// The authority itself.
    pub(crate) fn authority(&self) -> Result<&Pair> {
        self.authority.as_ref().context("this cluster speaks without TLS")
    }

    /// A member's process.
    pub(crate) fn pid(&self, member: usize) -> Option<u32> {
        self.members[member].process.as_ref().map(Child::id)
    }

    /// Which member leads.
    pub(crate) fn leader(&self) -> Result<usize> {
        for _ in 0..LOOKS / 5 {
            for (number, member) in self.members.iter().enumerate() {
                if member.process.is_some()
                    && let Ok(status) = self.ctl_at(&member.client, &["endpoint", "status"])
                    // ENDPOINT, ID, VERSION, DB SIZE, IS LEADER, …
                    && status.split(", ").nth(4).is_some_and(|column| column == "true")
                {
                    return Ok(number);
                }
            }
            std::thread::sleep(PAUSE * 5);
        }
        bail!("no member leads: {}", self.log(0));
    }

    /// Kills a member as a power loss would.
    pub(crate) fn kill(&mut self, member: usize) -> Result<()> {
        if let Some(mut process) = self.members[member].process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Kills all members.
    pub(crate) fn kill_all(&mut self) -> Result<()> {
        (0..self.members.len()).try_for_each(|member| self.kill(member))
    }

    /// Starts a member that was killed and waits until it serves.
    pub(crate) fn revive(&mut self, member: usize) -> Result<()> {
        let before = self.log(member).len();
        self.spawn(member)?;
        self.await_service(member, before)
    }

    /// Starts every member that does not run and waits until they serve.
    pub(crate) fn start_all(&mut self) -> Result<()> {
        let resting: Vec<usize> = (0..self.members.len())
            .filter(|member| self.members[*member].process.is_none())
            .collect();
        let before: Vec<usize> = resting.iter().map(|member| self.log(*member).len()).collect();
        for member in &resting {
            self.spawn(*member)?;
        }
        for (member, before) in resting.iter().zip(before) {
            self.await_service(*member, before)?;
        }
        Ok(())
    }

    /// Stops a member's process where it stands: its connections stay open and silent.
    pub(crate) fn freeze(&self, member: usize) -> Result<()> {
        self.signal(member, "-STOP")
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self, member: usize) -> Result<()> {
        self.signal(member, "-CONT")
    }

    /// Ends all members, empties the store and starts it again. With another token it is another cluster's.
    pub(crate) fn wipe(&mut self, token: Option<&str>) -> Result<()> {
        self.kill_all()?;
        if let Some(token) = token {
            token.clone_into(&mut self.token);
        }
        for member in &self.members {
            let data = self.dir.path().join(&member.name);
            if data.exists() {
                fs::remove_dir_all(data)?;
            }
        }
        self.authenticated = false;
        self.start_all()
    }

    /// Saves what the store holds.
    pub(crate) fn save(&self, name: &str) -> Result<PathBuf> {
        let file = self.dir.path().join(name);
        self.ctl_at(&self.members[0].client, &["snapshot", "save", &file.to_string_lossy()])?;
        Ok(file)
    }

    /// Ends all members and starts them again on what was saved, as an operator does after a disaster. The revision is the
    /// saved one's; the cluster's identity stays, unless another token is given.
    pub(crate) fn restore(&mut self, saved: &Path, token: Option<&str>) -> Result<()> {
        self.kill_all()?;
        if let Some(token) = token {
            token.clone_into(&mut self.token);
        }
        let tool = program("etcdutl").or_else(|| program("etcdctl")).context("no etcdctl")?;
        let cluster = self.initial_cluster();
        for member in &self.members {
            let data = self.dir.path().join(&member.name);
            if data.exists() {
                fs::remove_dir_all(&data)?;
            }
            let mut command = Command::new(&tool);
            command.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(saved);
            command.arg("--data-dir").arg(&data).args(["--name", &member.name]);
            command.args(["--initial-cluster", &cluster]);
            command.args(["--initial-cluster-token", &self.token]);
            command.args(["--initial-advertise-peer-urls", &member.peer]);
            output(&mut command)?;
        }
        self.start_all()
    }

    /// Forgets every revision before the present one; says which that is.
    pub(crate) fn compact(&self) -> Result<i64> {
        let revision = self.revision()?;
        self.ctl(&["compact", &revision.to_string()])?;
        Ok(revision)
    }

    /// The present revision.
    pub(crate) fn revision(&self) -> Result<i64> {
        let answer = self.ctl(&["get", "podward-no-such-key", "-w", "json"])?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        answer["header"]["revision"].as_i64().with_context(|| format!("no revision: {answer}"))
    }

    /// Has clients say who they are from now on; [`ROOT`] may do everything.
    pub(crate) fn enable_auth(&mut self) -> Result<()> {
        self.ctl(&["user", "add", &format!("{}:{}", ROOT.0, ROOT.1)])?;
        // Older ones do not make the role themselves.
        let _ = self.ctl(&["role", "add", "root"]);
        self.ctl(&["user", "grant-role", "root", "root"])?;
        self.ctl(&["auth", "enable"])?;
        self.authenticated = true;
        Ok(())
    }

    /// From now on `etcdctl` says that it is root: authentication was enabled by somebody else, with root's password.
    pub(crate) fn authenticated(&mut self) {
        self.authenticated = true;
    }

    /// What `etcdctl` prints, asked at all members.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<String> {
        self.ctl_at(&self.endpoints_text(), arguments)
    }

    /// A member's log.
    pub(crate) fn log(&self, member: usize) -> String {
        let path = self.dir.path().join(format!("{}.log", self.members[member].name));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// What `etcdctl` prints, asked at these endpoints.
    pub(crate) fn ctl_at(&self, endpoints: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.launched(&program("etcdctl").context("no etcdctl")?);
        command.env("ETCDCTL_API", "3").args(["--endpoints", endpoints]).args(arguments);
        if let (Some(authority), Some(own)) = (&self.authority, &self.own) {
            command.arg("--cacert").arg(&authority.certificate);
            if self.wish.security == Security::Mutual {
                command.arg("--cert").arg(&own.certificate).arg("--key").arg(&own.key);
            }
        }
        if self.authenticated {
            command.env("ETCDCTL_USER", format!("{}:{}", ROOT.0, ROOT.1));
        }
        output(&mut command)
    }

    /// A command where the members run.
    fn launched(&self, program: &Path) -> Command {
        let mut words = self.wish.launcher.iter();
        match words.next() {
            None => Command::new(program),
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(program);
                command
            }
        }
    }

    /// The members as each of them is told.
    fn initial_cluster(&self) -> String {
        let members = self.members.iter().map(|member| format!("{}={}", member.name, member.peer));
        members.collect::<Vec<_>>().join(",")
    }

    /// Starts a member's process.
    fn spawn(&mut self, number: usize) -> Result<()> {
        let member = &self.members[number];
        let mut command = self.launched(&program("etcd").context("no etcd")?);
        command
            .args(["--name", &member.name, "--logger", "zap", "--log-outputs", "stderr"])
            .arg("--data-dir")
            .arg(self.dir.path().join(&member.name))
            .args(["--listen-client-urls", &member.client])
            .args(["--advertise-client-urls", &member.client])
            .args(["--listen-peer-urls", &member.peer])
            .args(["--initial-advertise-peer-urls", &member.peer])
            .args(["--initial-cluster", &self.initial_cluster()])
            .args(["--initial-cluster-token", &self.token])
            .args(["--initial-cluster-state", "new"])
            .args(&self.wish.flags);
        if let (Some(authority), Some(own)) = (&self.authority, &self.own) {
            command.arg("--cert-file").arg(&own.certificate).arg("--key-file").arg(&own.key);
            if self.wish.security == Security::Mutual {
                command
                    .arg("--client-cert-auth")
                    .arg("--trusted-ca-file")
                    .arg(&authority.certificate);
            }
        }
        let log = self.dir.path().join(format!("{}.log", member.name));
        let log = File::options().append(true).create(true).open(log)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().context("start etcd")?;
        self.members[number].process = Some(process);
        Ok(())
    }

    /// Waits until a member says that it serves.
    fn await_service(&mut self, number: usize, before: usize) -> Result<()> {
        for _ in 0..LOOKS {
            let log = self.log(number);
            if log.get(before..).is_some_and(|news| news.contains("serving client traffic")) {
                return Ok(());
            }
            let process = self.members[number].process.as_mut().context("it was never started")?;
            if let Some(status) = process.try_wait()? {
                self.members[number].process = None;
                bail!("etcd ended with {status}: {log}");
            }
            std::thread::sleep(PAUSE);
        }
        bail!("etcd does not serve: {}", self.log(number));
    }

    /// Sends a signal to a member.
    fn signal(&self, member: usize, signal: &str) -> Result<()> {
        let pid = self.pid(member).context("the member does not run")?;
        output(Command::new("kill").arg(signal).arg(pid.to_string())).map(drop)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // SIGKILL also ends what is frozen.
        let _ = self.kill_all();
    }
}

/// An address of the loopback network that no other cluster of these tests has.
fn own_address() -> String {
    let process = std::process::id();
    let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.{}", 64 + (process >> 8) % 128, process % 256, 1 + cluster % 250)
}

/// Ports of an address that nobody has.
fn free_ports(address: &str, count: usize) -> Result<Vec<u16>> {
    let listeners: Result<Vec<TcpListener>, _> =
        (0..count).map(|_| TcpListener::bind((address, 0))).collect();
    let ports: Result<Vec<u16>, _> =
        listeners?.iter().map(|listener| listener.local_addr().map(|own| own.port())).collect();
    Ok(ports?)
}

/// What a command prints; with its complaints when it fails.
fn output(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{command:?}: {said}{complaints}");
    Ok(said)
}
