//! A machine: a first process in namespaces of its own. When it ends, all that ran on the machine has ended, and its
//! mounts and links are gone; it ends with the test process, however that ends, since it reads what the test holds open.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::containerd::children;

/// The script that machines boot by.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fleet/hosts/machine.sh");

/// A machine that is up.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The `unshare` that waits for the first process.
    parent: Child,
    /// The first process, as this process counts.
    pub(crate) leader: i32,
    /// What the first process reads: its end is the machine's end.
    _lifeline: ChildStdin,
}

/// A machine that was asked to boot.
#[derive(Debug)]
pub(crate) struct Booting(Child);

impl Machine {
    /// Asks a machine to boot. A `containerd.toml` in `dir` has it run a containerd.
    pub(crate) fn boot(name: &str, dir: &Path, group: &str) -> Result<Booting> {
        let parent = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child=SIGKILL", "bash", SCRIPT, "enter"])
            .arg(name)
            .arg(dir)
            .arg(group)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::options().create(true).append(true).open(dir.join("boot.log"))?)
            .process_group(0)
            .spawn()
            .context("unshare")?;
        Ok(Booting(parent))
    }

    /// The path of one of the machine's files, as this process reaches it.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.leader))
    }

    /// A command that runs on the machine.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.leader.to_string()])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", "bash", SCRIPT])
            .args(["join", program])
            .stdin(Stdio::null());
        command
    }

    /// Lets `ip` do several things in the machine's network.
    pub(crate) fn ip(&self, lines: &str) -> Result<()> {
        use std::io::Write;
        let mut ip = Command::new("nsenter")
            .args(["--target", &self.leader.to_string(), "--net", "--", "ip", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("nsenter")?;
        ip.stdin.take().context("its input is piped")?.write_all(lines.as_bytes())?;
        let output = ip.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip, asked for\n{lines}said {errors}");
        Ok(())
    }

    /// Pulls the plug: SIGKILL for everything, at once. Returns when all of it has ended.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.fell()
    }

    /// Begins to end everything.
    pub(crate) fn doom(&self) {
        let _ = kill(Pid::from_raw(self.leader), Signal::SIGKILL);
    }

    /// Ends everything.
    fn fell(&mut self) -> Result<()> {
        self.doom();
        self.parent.wait().context("wait for a machine's end")?;
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.fell();
    }
}

impl Booting {
    /// Waits until the machine is up; it has no network yet.
    pub(crate) fn up(mut self) -> Result<Machine> {
        let mut said = String::new();
        let output = self.0.stdout.take().context("its output is piped")?;
        BufReader::new(output).read_line(&mut said)?;
        let leader = children(i32::try_from(self.0.id())?).first().copied();
        let (Some(leader), "up\n") = (leader, said.as_str()) else {
            let _ = self.0.kill();
            self.0.wait()?;
            bail!("a machine did not boot: it said {said:?}");
        };
        let lifeline = self.0.stdin.take().context("its input is piped")?;
        Ok(Machine { parent: self.0, leader, _lifeline: lifeline })
    }
}

/// Removes the cgroups of machines that have ended.
pub(crate) fn remove_cgroups(group: &str) -> Result<()> {
    let output = Command::new("unshare")
        .args(["--mount", "bash", SCRIPT, "clean", group])
        .stdin(Stdio::null())
        .output()
        .context("unshare")?;
    said("the removal of cgroups", &output).map(drop)
}

/// What a command printed, which must have succeeded.
pub(crate) fn said(what: &str, output: &Output) -> Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}: {errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
