//! Waiting: for the next change that the agent tells of, with a slow look besides for what it does not tell.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// How often it looks when nobody tells it that something changed.
const LOOK: Duration = Duration::from_millis(150);

/// The clock of tests and benchmarks.
#[expect(clippy::disallowed_methods, reason = "tests time real processes")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// Looks again and again until `check` finds something. For daemons that tell nobody; [`Watch::until`] where one does.
pub(crate) fn patiently<T>(
    what: &str,
    patience: Duration,
    mut check: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = clock();
    loop {
        if let Some(found) = check()? {
            return Ok(found);
        }
        if start.elapsed() > patience {
            return Err(anyhow!("waited {patience:?} in vain for {what}"));
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// A `podward get … -w` that wakes whoever waits.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The command; it ends with this value.
    child: Child,
    /// One message for each piece that it printed.
    changes: Receiver<()>,
}

impl Watch {
    /// Starts the command.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("podward get -w")?;
        let mut printed = child.stdout.take().context("its output is piped")?;
        let (sender, changes) = channel();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while printed.read(&mut piece).is_ok_and(|length| length > 0) {
                if sender.send(()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, changes })
    }

    /// Checks after each change until `check` finds something; says at the end what it saw last.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut check: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let start = clock();
        loop {
            let seen = check();
            match seen {
                Ok(Some(found)) => return Ok(found),
                // The agent may be away in this very moment; only its lasting absence is a failure.
                Err(error) if start.elapsed() > PATIENCE => {
                    return Err(error.context(format!("waited {PATIENCE:?} in vain for {what}")));
                }
                Ok(None) if start.elapsed() > PATIENCE => {
                    return Err(anyhow!("waited {PATIENCE:?} in vain for {what}"));
                }
                Ok(None) | Err(_) => {}
            }
            if self.changes.recv_timeout(LOOK).is_err() {
                thread::park_timeout(LOOK / 10);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
