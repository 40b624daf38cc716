//! `podward exec`: a command in a running container, as if it ran here.

use std::{
    convert::Infallible,
    env,
    future::pending,
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
    thread,
};

use clap::Args as ClapArgs;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::agent::wire::{
    ExecRequest, ExecResponse, ExecStart, TerminalSize, exec_request::Part as Ask,
    exec_response::Part as Answer,
};

use super::client::{self, refusal};
use super::failure::{Failure, Outcome};
use super::namespace::OneNamespace;
use super::resource;
use super::terminal::{self, Raw};

/// How much of standard input is sent in one piece.
const PIECE: usize = 32 << 10;

/// What `exec` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The pod
    #[arg(value_name = "POD")]
    pub pod: String,
    #[command(flatten)]
    pub namespace: OneNamespace,
    /// The container [default: the one that the pod's annotation names, or its first]
    #[arg(short, long, value_name = "CONTAINER")]
    pub container: Option<String>,
    /// Pass standard input to the command
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal; goes with -i
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Say nothing about which container was chosen
    #[arg(short, long)]
    pub quiet: bool,
    /// The command with its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs the command; its exit code is ours.
pub fn run(args: &Args, socket: &Path, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let start = start(args, err)?;
    let with_terminal = start.terminal;
    client::converse(async {
        let mut control = client::connect(socket).await?;
        let (requests, queue) = mpsc::channel(4);
        let stdin = start.stdin;
        let _ = requests.send(ExecRequest { part: Some(Ask::Start(start)) }).await;
        let answer = control.exec(ReceiverStream::new(queue)).await;
        let answers = answer.map_err(|status| refusal(&status))?.into_inner();
        // Without a terminal a signal ends this process, and the agent ends the command that nobody hears any more.
        let signals = if with_terminal { Signals::caught()? } else { Signals::default() };
        let raw = with_terminal.then(Raw::begin).transpose()?;
        let pieces = stdin.then(read_stdin);
        let Signals { resized, mut ending } = signals;
        // cancel-safe: whichever ends first ends the conversation.
        let outcome = tokio::select! {
            outcome = listen(answers, args.quiet, out, err) => outcome,
            never = speak(requests, pieces, resized) => match never {},
            code = ended(&mut ending) => Ok((code, String::new())),
        };
        drop(raw);
        let (code, message) = outcome?;
        if !message.is_empty() {
            writeln!(err, "error: {message}")?;
        }
        Ok(ExitCode::from(code))
    })
}

/// What to ask the agent for.
fn start(args: &Args, err: &mut dyn Write) -> anyhow::Result<ExecStart> {
    let pod = resource::pod(&args.pod, "commands run in a container of a pod")?;
    // A terminal is for somebody who types.
    let terminal = args.tty && args.stdin && terminal::there();
    if args.tty && args.stdin && !terminal {
        writeln!(err, "Unable to use a TTY - input is not a terminal or the right kind of file")?;
    }
    Ok(ExecStart {
        namespace: args.namespace.namespace.clone(),
        pod,
        container: args.container.clone().unwrap_or_default(),
        command: args.command.clone(),
        stdin: args.stdin,
        terminal,
        term: env::var("TERM").ok().filter(|term| !term.is_empty()).unwrap_or("xterm".into()),
        size: size(),
    })
}

/// The terminal's size for the wire.
fn size() -> Option<TerminalSize> {
    terminal::size().map(|(width, height)| TerminalSize { width, height })
}

/// Prints what the command says. Returns its exit code, and why it did not run to its end when it did not.
async fn listen(
    mut answers: Streaming<ExecResponse>,
    quiet: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<(u8, String)> {
    loop {
        let answer = answers.message().await.map_err(|status| broken(&status))?;
        match answer.map(|answer| answer.part) {
            Some(Some(Answer::Stdout(data))) => {
                out.write_all(&data)?;
                out.flush()?;
            }
            Some(Some(Answer::Stderr(data))) => err.write_all(&data)?,
            Some(Some(Answer::Notice(notice))) if !quiet => writeln!(err, "{notice}\r")?,
            Some(Some(Answer::End(end))) => {
                return Ok((u8::try_from(end.exit_code).unwrap_or(u8::MAX), end.message));
            }
            Some(Some(Answer::Notice(_)) | None) => {}
            None => return Err(broken(&Status::unknown(""))),
        }
    }
}

/// What a conversation that breaks off means.
fn broken(status: &Status) -> anyhow::Error {
    if std::error::Error::source(status).is_none() && !status.message().is_empty() {
        return refusal(status);
    }
    Failure::hinted(
        "the agent went away while the command ran",
        "the next agent ends the command; see `journalctl -u podward`",
    )
}

/// Passes on what is typed and how large the terminal is. The end of standard input is the end of the requests; the
/// command may go on.
async fn speak(
    requests: mpsc::Sender<ExecRequest>,
    pieces: Option<mpsc::Receiver<Vec<u8>>>,
    mut resized: Option<Signal>,
) -> Infallible {
    if let Some(mut pieces) = pieces {
        loop {
            // cancel-safe: a channel and a signal stream lose nothing.
            let part = tokio::select! {
                piece = pieces.recv() => match piece {
                    Some(piece) => Ask::Stdin(piece),
                    None => break,
                },
                () = next(&mut resized) => match size() {
                    Some(size) => Ask::Size(size),
                    None => continue,
                },
            };
            if requests.send(ExecRequest { part: Some(part) }).await.is_err() {
                break;
            }
        }
    }
    drop(requests);
    pending().await
}

/// Reads standard input in a thread of its own, which nobody waits for: it may sit in a read for ever.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, pieces) = mpsc::channel(1);
    thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        loop {
            match io::stdin().lock().read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(length) if length > 0 => {
                    if sender.blocking_send(piece[..length].to_vec()).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    });
    pieces
}

/// The signals that matter while the terminal is in raw mode.
#[derive(Default)]
struct Signals {
    /// The terminal's size has changed.
    resized: Option<Signal>,
    /// Those that end this command, each with its number.
    ending: Vec<(Signal, u8)>,
}

impl Signals {
    /// Catches them: the terminal must be restored before this command ends.
    fn caught() -> io::Result<Self> {
        let ending = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
        ];
        let caught = ending
            .into_iter()
            .map(|kind| Ok((signal(kind)?, u8::try_from(kind.as_raw_value()).unwrap_or_default())));
        Ok(Self {
            resized: Some(signal(SignalKind::window_change())?),
            ending: caught.collect::<io::Result<_>>()?,
        })
    }
}

/// Returns at a signal's next coming; never without one.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// Returns the exit code that a shell gives to the first of these signals that comes.
async fn ended(signals: &mut [(Signal, u8)]) -> u8 {
    std::future::poll_fn(|context| {
        for (signal, number) in signals.iter_mut() {
            if signal.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(128 + *number);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
