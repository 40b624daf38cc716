//! Starts the programs that know credentials: docker's credential helpers and the kubelet's provider plugins.

use std::{ffi::OsStr, io, path::Path, process::Stdio, time::Duration};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::image::credentials::Login;

/// How long a program may take, as with the kubelet.
pub(super) const TIME_LIMIT: Duration = Duration::from_mins(1);

/// The most that a program may say.
const OUTPUT_LIMIT: u64 = 1 << 20;

/// What docker's helpers say of a registry that they know nothing about.
const UNKNOWN: &str = "credentials not found";

/// A program and what it gets. Its environment is the search path, the home directory and what is named here: the
/// agent's own may hold what is nobody's business.
#[derive(Debug)]
pub(super) struct Program<'a> {
    /// Its file; a bare name is looked up in the search path.
    pub file: &'a Path,
    /// Its arguments, which everybody can see: no secrets.
    pub args: &'a [String],
    /// Its environment.
    pub env: &'a [(String, String)],
    /// The search path.
    pub path: &'a OsStr,
    /// How long it may take.
    pub limit: Duration,
}

/// What a program left.
struct Ended {
    /// How it ended, in words; `None` when well.
    failed: Option<String>,
    /// Its standard output.
    stdout: Vec<u8>,
    /// Its standard error.
    stderr: Vec<u8>,
}

/// Kills a program and what it started, unless it has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Program<'_> {
    /// Its standard output for an input; a failure is told with the last line of its standard error.
    pub async fn answer(&self, input: &str) -> Result<Vec<u8>, String> {
        let ended = self.run(input).await?;
        match ended.failed {
            None => Ok(ended.stdout),
            Some(how) => Err(format!("{}{how}{}", self.shown(), quoted(&ended.stderr))),
        }
    }

    /// The program in messages.
    fn shown(&self) -> String {
        format!("{}: ", self.file.display())
    }

    /// Runs it to its end, or the end of its time.
    async fn run(&self, input: &str) -> Result<Ended, String> {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
        let child = Command::new(self.file)
            .args(self.args)
            .env_clear()
            .env("PATH", self.path)
            .env("HOME", home)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let child = child.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{}not found; install it", self.shown()),
            _ => format!("{}cannot be started: {error}", self.shown()),
        })?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
        let ended = tokio::time::timeout(self.limit, converse(child, input)).await;
        match ended {
            Ok(Ok(ended)) => {
                group.0 = None;
                Ok(ended)
            }
            Ok(Err(error)) => Err(format!("{}{error}", self.shown())),
            Err(_) => Err(format!("{}no answer within {}s", self.shown(), self.limit.as_secs())),
        }
    }
}

/// Gives a program its input and takes what it says.
async fn converse(mut child: Child, input: &str) -> io::Result<Ended> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let give = async {
        if let Some(mut stdin) = stdin {
            // Whoever does not want to read its input may leave it.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), stdout, stderr) = tokio::join!(give, take(stdout), take(stderr));
    let (stdout, stderr) = (stdout?, stderr?);
    let status = child.wait().await?;
    Ok(Ended { failed: (!status.success()).then(|| status.to_string()), stdout, stderr })
}

/// Everything out of a pipe, up to the limit.
async fn take(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(OUTPUT_LIMIT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The last line of what a program said about its failure.
fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => format!(": {}", line.chars().take(200).collect::<String>()),
        None => String::new(),
    }
}

/// Asks `docker-credential-<name>` about a registry; `None` when it knows nothing about it.
pub(super) async fn docker_helper(
    name: &str,
    registry: &str,
    path: &OsStr,
    limit: Duration,
) -> Result<Option<Login>, String> {
    let file = format!("docker-credential-{name}");
    let args = ["get".to_owned()];
    let program = Program { file: file.as_ref(), args: &args, env: &[], path, limit };
    // Docker's own key for Docker Hub.
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    let ended = program.run(server).await?;
    if let Some(how) = ended.failed {
        // These programs tell about failures on their standard output; what looks like an answer is not repeated.
        let said = if ended.stderr.is_empty() { &ended.stdout } else { &ended.stderr };
        if String::from_utf8_lossy(&ended.stdout).contains(UNKNOWN) {
            return Ok(None);
        }
        let said = if said.contains(&b'{') { String::new() } else { quoted(said) };
        return Err(format!("{file}: {how}{said}"));
    }
    let answer: Value = serde_json::from_slice(&ended.stdout)
        .map_err(|error| format!("{file}: its answer is no JSON: {error}"))?;
    let (Some(user), Some(secret)) = (answer["Username"].as_str(), answer["Secret"].as_str())
    else {
        return Err(format!("{file}: its answer has no Username and Secret"));
    };
    Ok(Some(match user {
        "<token>" => Login::Identity(secret.to_owned()),
        _ => Login::Password { user: user.to_owned(), password: secret.to_owned() },
    }))
}
