//! What probes and hooks do, done: a command in the container, a page, a connection, a question to a health service.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt,
    time::{sleep, timeout},
};

use crate::base::{
    errors::Chain,
    ids::{ExecId, PodUid},
    time::go_duration,
};
use crate::host::fifos::Ends;
use crate::net::{
    health,
    http::{self, Page},
    tcp,
};
use crate::pod::action::{Action, Asker, Outcome};
use crate::runtime::containerd::Exit;

use super::{
    effects::Effects,
    execs::{Begun, ExecError, ExecPlace},
};

/// The Kubernetes whose kubelet we take after, as servers see it in their logs.
const AGENTS: [&str; 2] = ["kube-probe/1.36", "kube-lifecycle/1.36"];

/// How much of a command's output is kept.
const OUTPUT: usize = 10 << 10;

/// How long the output of a command that has ended is waited for: something that it left behind may hold it open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Something that a probe or a hook wants done.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The pod.
    pub pod: PodUid,
    /// The container.
    pub container: String,
    /// Which run of it.
    pub attempt: u32,
    /// Whose it is: `probe-liveness`, `hook-post-start`. Two errands of one run with one id must not overlap.
    pub id: &'static str,
    /// What to do.
    pub action: Action,
    /// Who asks.
    pub asker: Asker,
    /// How long it may take; a hook's command has no limit of its own.
    pub limit: Option<Duration>,
}

impl Effects {
    /// Does an errand. An exec that is cut off because nobody waits for it any more is ended by the next of its id, or
    /// with its container.
    pub async fn act(self: Arc<Self>, errand: Errand) -> Outcome {
        let Errand { pod, container, attempt, id, action, asker, limit } = errand;
        let agent = AGENTS[usize::from(asker == Asker::Hook)];
        match action {
            Action::Exec { command } => {
                let place = ExecPlace { pod, container, attempt, id: ExecId::new(id) };
                self.act_exec(&place, command, asker, limit).await
            }
            Action::Http { tls, host, port, path, headers } => {
                let (host, path, headers) = (&host, &path, &headers);
                act_http(Page { tls, host, port, path, headers, agent }, asker, limit).await
            }
            Action::Tcp { host, port } => match tcp::connect(&host, port, limit).await {
                Ok(()) => Outcome::Success,
                Err(error) => Outcome::Failure(Chain(&error).to_string()),
            },
            Action::Grpc { host, port, service } => {
                match health::check(&host, port, &service, agent, limit).await {
                    Ok(()) => Outcome::Success,
                    Err(why) => Outcome::Failure(why),
                }
            }
            Action::Sleep(wish) => {
                let cut = limit.filter(|limit| *limit < wish);
                sleep(cut.unwrap_or(wish)).await;
                match cut {
                    None => Outcome::Success,
                    Some(_) => Outcome::Failure(
                        "container terminated before sleep hook finished".to_owned(),
                    ),
                }
            }
        }
    }

    /// Runs a command in the container. A hook that a dead agent began is waited for instead of being run again.
    async fn act_exec(
        &self,
        place: &ExecPlace,
        command: Vec<String>,
        asker: Asker,
        limit: Option<Duration>,
    ) -> Outcome {
        let words = command.join(" ");
        let begun = match asker {
            Asker::Probe => self.begin_exec(place, command, false, None, false).await,
            Asker::Hook => self.begin_or_resume(place, command).await,
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(error) => return Outcome::Error(Chain(&error).to_string()),
        };
        let ended = self.outcome(place, begun, limit).await;
        match ended {
            Some(_) => self.clear_exec(place).await,
            None => self.end_exec(place).await,
        }
        let Some((exit, output)) = ended else {
            return Outcome::Failure(match limit {
                Some(limit) => {
                    let limit = go_duration(limit);
                    format!("command timed out: {words:?} timed out after {limit}")
                }
                // Without a limit only containerd's silence keeps the end from being known.
                None => format!("command {words:?}: nobody saw how it ended"),
            });
        };
        match (exit.code, asker) {
            (0, _) => Outcome::Success,
            (_, Asker::Probe) => Outcome::Failure(output),
            (code, Asker::Hook) => {
                Outcome::Failure(format!("command '{words}' exited with {code}: {output}"))
            }
        }
    }

    /// Begins a hook's command, or takes up the one that was begun.
    async fn begin_or_resume(
        &self,
        place: &ExecPlace,
        command: Vec<String>,
    ) -> Result<Begun, ExecError> {
        match self.resume_exec(place).await {
            Ok(Some(begun)) => Ok(begun),
            // One whose very start was cut off cannot be taken up; it is ended and run again: better twice than never.
            Ok(None) | Err(_) => self.begin_exec(place, command, false, None, false).await,
        }
    }

    /// How a command ended, with the beginning of its output; `None` when it did not in time.
    async fn outcome(
        &self,
        place: &ExecPlace,
        begun: Begun,
        limit: Option<Duration>,
    ) -> Option<(Exit, String)> {
        let Begun { ends: Ends { mut stdout, .. }, .. } = begun;
        let id = place.container_id();
        let client = &self.daemon.client;
        let mut ended = pin!(self.daemon.call(|| client.wait_exec(&id, &place.id)));
        let mut late = pin!(async {
            match limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        });
        let (mut output, mut piece, mut open) = (Vec::new(), vec![0; 4096], true);
        let mut keep = |piece: &[u8]| {
            let room = OUTPUT - output.len();
            output.extend_from_slice(&piece[..piece.len().min(room)]);
            output.len() < OUTPUT
        };
        let exit = loop {
            // cancel-safe: a read that is not ready has read nothing; the others go on where they were.
            tokio::select! {
                ended = &mut ended => break ended.ok()?,
                () = &mut late => return None,
                read = stdout.read(&mut piece), if open => match read {
                    Ok(length) if length > 0 => drop(keep(&piece[..length])),
                    _ => open = false,
                },
            }
        };
        let rest = async {
            while let Ok(length) = stdout.read(&mut piece).await {
                if length == 0 || !keep(&piece[..length]) {
                    break;
                }
            }
        };
        if open {
            let _ = timeout(LAST_WORDS, rest).await;
        }
        Some((exit, String::from_utf8_lossy(&output).trim_end().to_owned()))
    }
}

/// Asks for a page.
async fn act_http(page: Page<'_>, asker: Asker, limit: Option<Duration>) -> Outcome {
    let mut answer = http::get(page, limit).await;
    if asker == Asker::Hook && answer.as_ref().is_err_and(http::speaks_plainly) {
        // The secret was meant for somebody who can keep it.
        let public = |(name, _): &&(String, String)| !name.eq_ignore_ascii_case("authorization");
        let headers: Vec<_> = page.headers.iter().filter(public).cloned().collect();
        answer = http::get(Page { tls: false, headers: &headers, ..page }, limit).await;
    }
    match (answer, asker) {
        (Err(error), _) => Outcome::Failure(Chain(&error).to_string()),
        (Ok(_), Asker::Hook) => Outcome::Success,
        (Ok(answer), Asker::Probe) => match answer.status {
            200..300 => Outcome::Success,
            300..400 => Outcome::Warning(format!(
                "Probe terminated redirects, Response body: {}",
                answer.body
            )),
            status => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
        },
    }
}
