//! Commands that people run in containers: input, output and terminal between the control socket and the command.
//!
//! A session belongs to the agent and not to the call that asked for it: when the caller goes away, the command and what
//! it started are ended. Output waits in the command's pipe while its reader is slow.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::{Receiver, Sender},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::base::{errors::Chain, ids::ExecId};
use crate::host::{fifos::Ends, processes::Tree};
use crate::runtime::containerd::Error;

use super::{
    effects::Effects,
    execs::{Begun, ExecError, ExecPlace},
    handle::{ExecInput, ExecOrder, ExecOutput},
};

/// How much of a command's output is passed on in one piece.
const PIECE: usize = 32 << 10;

/// How long the output of a command that has ended may say nothing until that counts as its end: something that the
/// command left behind may hold it open.
const QUIET: Duration = Duration::from_secs(1);

/// How long a command may take to end after SIGHUP.
const GRACE: Duration = Duration::from_secs(2);

/// How a conversation came to its end.
enum End {
    /// The command ended by itself, with this code.
    Exited(u32),
    /// Nobody can tell how.
    Lost(Error),
    /// Nobody listens any more.
    Deserted,
    /// The agent stops.
    Stopping,
}

/// Runs what people order until the agent stops; then ends what still runs.
pub(super) async fn run(
    effects: Arc<Effects>,
    mut orders: mpsc::Receiver<ExecOrder>,
    mut stop: watch::Receiver<bool>,
) {
    let mut sessions = JoinSet::new();
    let stopped = stop.clone();
    loop {
        // cancel-safe: receiving and joining lose nothing.
        tokio::select! {
            Some(order) = orders.recv() => {
                sessions.spawn(session(Arc::clone(&effects), order, stopped.clone()));
            }
            Some(_) = sessions.join_next() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    while sessions.join_next().await.is_some() {}
}

/// One command from its start to its end.
async fn session(effects: Arc<Effects>, order: ExecOrder, stop: watch::Receiver<bool>) {
    let ExecOrder { pod, container, attempt, command, stdin, terminal, input, output } = order;
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let id = ExecId::new(format!("exec-{}", &unique[..12]));
    let place = ExecPlace { pod, container, attempt, id };
    let apart = terminal.is_none();
    info!(pod = %place.pod, container = place.container, "running a command for an operator");
    let begun = effects.begin_exec(&place, command, stdin, terminal, apart).await;
    // Whoever is to hear the last word may be gone; then nobody misses it.
    let last_word = match begun {
        Err(error) => refusal(&error),
        Ok(Begun { pid, ends }) => match effects.converse(&place, ends, input, &output, stop).await
        {
            End::Exited(code) => {
                effects.end_exec(&place).await;
                ExecOutput::Ended(code, String::new())
            }
            End::Lost(error) => {
                effects.end_exec(&place).await;
                ExecOutput::Ended(1, Chain(&error).to_string())
            }
            End::Deserted => return effects.desert(&place, pid).await,
            End::Stopping => {
                let why = "the agent is stopping, and the command ends with it";
                let _ = output.send(ExecOutput::Ended(1, why.into())).await;
                return effects.desert(&place, pid).await;
            }
        },
    };
    let _ = output.send(last_word).await;
}

impl Effects {
    /// Passes input and output on until the command has ended and said all, or until one side is gone.
    async fn converse(
        &self,
        place: &ExecPlace,
        ends: Ends,
        input: mpsc::Receiver<ExecInput>,
        output: &mpsc::Sender<ExecOutput>,
        mut stop: watch::Receiver<bool>,
    ) -> End {
        let Ends { stdin, stdout, stderr, .. } = ends;
        let id = place.container_id();
        let client = &self.daemon.client;
        let (over, seen) = watch::channel(false);
        let exited = async {
            let exit = self.daemon.call(|| client.wait_exec(&id, &place.id)).await;
            over.send_replace(true);
            exit
        };
        let errors = async {
            if let Some(stderr) = stderr {
                pump(stderr, output, ExecOutput::Stderr, seen.clone()).await;
            }
        };
        let whole = async {
            let said = pump(stdout, output, ExecOutput::Stdout, seen.clone());
            let (exit, (), ()) = tokio::join!(exited, said, errors);
            match exit {
                Ok(exit) => End::Exited(exit.code),
                Err(error) => End::Lost(error),
            }
        };
        // cancel-safe: whichever ends first ends the conversation.
        tokio::select! {
            end = whole => end,
            () = output.closed() => End::Deserted,
            _ = stop.wait_for(|stop| *stop) => End::Stopping,
            never = self.feed(place, input, stdin) => match never {},
        }
    }

    /// Passes a person's input on. It never ends by itself: the command may run on without input.
    async fn feed(
        &self,
        place: &ExecPlace,
        mut input: mpsc::Receiver<ExecInput>,
        mut stdin: Option<Sender>,
    ) -> Infallible {
        let id = place.container_id();
        let client = &self.daemon.client;
        let noted = |done: Result<(), Error>| {
            if let Err(error) = done {
                warn!(pod = %place.pod, container = place.container, error = %Chain(&error), "an exec did not hear everything");
            }
        };
        while let Some(said) = input.recv().await {
            match said {
                ExecInput::Data(data) => {
                    if let Some(pipe) = &mut stdin
                        && pipe.write_all(&data).await.is_err()
                    {
                        stdin = None;
                    }
                }
                ExecInput::Resize(width, height) => {
                    noted(client.resize_exec(&id, &place.id, (width, height)).await);
                }
            }
        }
        if stdin.take().is_some() {
            noted(client.close_exec_input(&id, &place.id).await);
        }
        pending().await
    }

    /// Ends a command that nobody listens to, and all that it started: by SIGHUP, as when a terminal goes away, and
    /// after a while by force.
    async fn desert(&self, place: &ExecPlace, pid: u32) {
        let tree = Tree::of(pid);
        tree.signal(Signal::SIGHUP);
        let id = place.container_id();
        let _ = timeout(GRACE, self.daemon.client.wait_exec(&id, &place.id)).await;
        tree.signal(Signal::SIGKILL);
        self.end_exec(place).await;
    }
}

/// Passes a pipe on until its end, or until it says nothing for a while although the command is over.
async fn pump(
    mut pipe: Receiver,
    output: &mpsc::Sender<ExecOutput>,
    kind: fn(Vec<u8>) -> ExecOutput,
    mut over: watch::Receiver<bool>,
) {
    let mut piece = vec![0; PIECE];
    // Nothing is read for which there is no room.
    while let Ok(room) = output.reserve().await {
        let quiet = async {
            let _ = over.wait_for(|over| *over).await;
            sleep(QUIET).await;
        };
        // cancel-safe: a read that is not ready has read nothing.
        let read = tokio::select! {
            biased;
            read = pipe.read(&mut piece) => read,
            () = quiet => return,
        };
        match read {
            Ok(length) if length > 0 => room.send(kind(piece[..length].to_vec())),
            _ => return,
        }
    }
}

/// What a person is told of a command that did not begin, with the exit codes of a shell.
fn refusal(error: &ExecError) -> ExecOutput {
    let text = Chain(error).to_string();
    // The runtime tells these apart by words alone.
    let missing =
        text.contains("executable file not found") || text.contains("no such file or directory");
    let refused = text.contains("OCI runtime exec failed");
    let code = match (missing, refused) {
        (true, true) => 127,
        (false, true) => 126,
        (_, false) => 1,
    };
    ExecOutput::Ended(code, text)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_does_not_begin_has_a_shells_exit_code() {
        for (says, expected) in [
            ("OCI runtime exec failed: exec: \"x\": executable file not found in $PATH", 127),
            ("OCI runtime exec failed: exec /x: no such file or directory", 127),
            ("OCI runtime exec failed: exec: \"/x\": permission denied", 126),
            ("no such file or directory", 1),
        ] {
            let source = io::Error::other(says);
            let error = ExecError::Pipes { id: ExecId::new("e"), source };
            let text = Chain(&error).to_string();
            assert_eq!(refusal(&error), ExecOutput::Ended(expected, text), "{says}");
        }
    }
}
