//! Floor 10: the command line, one file per verb. A new verb is a `mod` line, a variant of [`Verb`]
//! and an arm of [`run`].

mod agent;
mod apply;
mod backend;
mod client;
mod completion;
mod contents;
mod cordon;
mod daemon_set_row;
mod decode;
mod delete;
mod delete_node;
mod delete_pod;
mod describe;
mod describe_container;
mod describe_node;
mod describe_pod;
mod describe_rollout;
mod describe_set;
mod describe_volume;
mod desk;
mod diff;
mod document;
mod documents;
mod duration;
mod edit;
mod effective;
mod elsewhere;
mod event_row;
mod exec;
mod failure;
mod fleet_view;
mod followed;
mod get;
mod history_row;
mod image;
mod image_row;
mod label;
mod logs;
mod manifests;
mod namespace;
mod node_change;
mod node_row;
mod object_row;
mod page;
mod pod_row;
mod pull_view;
mod resource;
mod rollout;
mod rollout_change;
mod rollout_history;
mod rollout_promote;
mod rollout_release;
mod rollout_scene;
mod rollout_screen;
mod rollout_status;
mod rows;
mod set;
mod sign;
mod signing;
mod store;
mod store_accept;
mod store_client;
mod store_init;
mod store_status;
mod sync;
mod table;
mod taint;
mod terminal;
#[cfg(test)]
mod tests;
mod validate;
mod version;
mod view;
mod wait_gone;
mod why;
mod why_set;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand};

use crate::agent::app::Serve;
use crate::config::{self, Overrides, Settings};
use crate::spec::{self, FieldValidation};

use failure::{Failure, Outcome};

/// Runs Kubernetes DaemonSets on hosts that have no Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "podward", version, propagate_version = false, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// The flags of every verb.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Globals {
    /// The settings file [default: /etc/podward/config.yaml]
    #[arg(long, global = true, env = "PODWARD_CONFIG", hide_env = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The agent's control socket [default: /run/podward/podward.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<String>,
    /// This host's name [default: its hostname]
    #[arg(long, global = true, value_name = "NAME")]
    pub node_name: Option<String>,
    /// The shared store's members [default: etcd.endpoints of the settings]
    #[arg(long, global = true, value_delimiter = ',', value_name = "URL,URL")]
    pub etcd: Option<Vec<String>>,
    /// Ask the agent on this host, also where a shared store is configured
    #[arg(long, global = true)]
    pub local: bool,
    /// The private key to sign with what is written into the store
    #[arg(long, global = true, value_name = "FILE")]
    pub sign_key: Option<String>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the supervisor in the foreground, as systemd does
    Agent(agent::Args),
    /// Show objects as a table, JSON or YAML
    Get(get::Args),
    /// Show one object with all that belongs to it
    Describe(describe::Args),
    /// Print a container's log
    Logs(logs::Args),
    /// Run a command in a container
    Exec(exec::Args),
    /// List, pull, import and remove images
    #[command(visible_alias = "images")]
    Image(image::Args),
    /// Write what files say into the shared store, for every host to follow
    Apply(apply::Args),
    /// Show what `apply` would change
    Diff(diff::Args),
    /// Delete sets, ConfigMaps, Secrets and nodes; stop pods, whose sets decide whether others take their places
    Delete(delete::Args),
    /// Set the images of a set's containers
    Set(set::Args),
    /// Follow and steer how a set's update goes from host to host
    Rollout(rollout::Args),
    /// Change a set in an editor
    Edit(edit::Args),
    /// Lay labels over those of nodes
    Label(label::Args),
    /// Lay taints over those of nodes
    Taint(taint::Args),
    /// Keep new pods that do not tolerate it off nodes
    Cordon(cordon::Args),
    /// End that
    Uncordon(cordon::Args),
    /// Explain where a set stands on this node
    Why(why::WhyArgs),
    /// Say of each field of a file whether it is honoured, ignored or refused
    Validate(validate::ValidateArgs),
    /// Sign files for hosts that trust only some keys, or check their signatures
    Sign(sign::Args),
    /// Look after the shared store: users and rights, state, and which store is the right one
    Store(store::Args),
    /// Read the sources again and bring the node to what they say
    Sync(sync::Args),
    /// Print the versions of this build and of the agent
    Version(version::Args),
    /// Print a completion script for a shell
    Completion(completion::Args),
}

/// The command line's entry: parses, runs, reports. `serve` is the control socket of the agent.
pub fn main(serve: Serve) -> ExitCode {
    let (mut out, mut err) = (io::BufWriter::new(io::stdout()), io::stderr());
    let outcome = match Cli::try_parse() {
        Ok(cli) => run(&cli, serve, &mut out, &mut err),
        Err(error) => return usage(&error),
    };
    // A failed flush is a failed command, unless the reader had enough.
    let flushed = out.flush();
    match outcome.and_then(|code| Ok(flushed.map(|()| code)?)) {
        Ok(code) => code,
        Err(error) => failure::report(&error, &mut err),
    }
}

/// Prints help, or what was wrong with the arguments.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to say when this, too, fails.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// Runs one verb.
fn run(cli: &Cli, serve: Serve, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let socket = || cli.globals.control_socket();
    match &cli.verb {
        Verb::Get(args) => get::run(args, &cli.globals, out, err),
        Verb::Describe(args) => describe::run(args, &cli.globals, out, err),
        Verb::Logs(args) => {
            let done = logs::run(args, &socket(), out);
            elsewhere::explained(done, &cli.globals, &args.namespace.namespace, &args.pod)
        }
        Verb::Exec(args) => {
            let done = exec::run(args, &socket(), out, err);
            elsewhere::explained(done, &cli.globals, &args.namespace.namespace, &args.pod)
        }
        Verb::Image(args) => image::run(args, &socket(), out, err),
        Verb::Apply(args) => apply::run(args, &cli.globals, out, err),
        Verb::Diff(args) => diff::run(args, &cli.globals, out, err).or_else(|error| {
            // 1 says that there are differences.
            failure::report(&error, err);
            Ok(ExitCode::from(2))
        }),
        Verb::Delete(args) => delete::run(args, &cli.globals, out, err),
        Verb::Set(args) => set::run(args, &cli.globals, out, err),
        Verb::Rollout(args) => rollout::run(args, &cli.globals, out, err),
        Verb::Edit(args) => edit::run(args, &cli.globals, out, err),
        Verb::Label(args) => label::run(args, &cli.globals, out, err),
        Verb::Taint(args) => taint::run(args, &cli.globals, out, err),
        Verb::Cordon(args) => cordon::run(args, true, &cli.globals, out, err),
        Verb::Uncordon(args) => cordon::run(args, false, &cli.globals, out, err),
        Verb::Agent(args) => agent::run(args, &cli.globals, serve),
        Verb::Validate(args) => {
            let good = validate::run(args, out)?;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Why(args) => why(args, &socket(), out, err),
        Verb::Sign(args) => sign::run(args, &|| cli.globals.settings(), out),
        Verb::Store(args) => store::run(args, &cli.globals, out, err),
        Verb::Sync(args) => sync::run(args, &cli.globals, &socket(), out),
        Verb::Version(args) => version::run(args, &socket(), out, err),
        Verb::Completion(args) => completion::run(args, Cli::command(), out),
    }
}

/// Answers why from files alone, or asks the agent.
fn why(args: &why::WhyArgs, socket: &Path, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    match args.question().map_err(|error| Failure::usage(error, None))? {
        why::Question::OfAgent(set) => {
            why_set::run(&set, args.output == why::Output::Json, socket, out)
        }
        why::Question::OfFiles { file, node } => {
            let faults = |origin: &str, bytes: &[u8]| {
                let reading = spec::read(origin, bytes, FieldValidation::Strict);
                let documents = reading.documents.into_iter().flat_map(|document| document.faults);
                reading.faults.into_iter().chain(documents).collect()
            };
            let code = why::answer_of_files((file, node), args.output, &faults, out, err)?;
            Ok(ExitCode::from(code))
        }
    }
}

impl Globals {
    /// What flags and environment lay over the settings file.
    pub fn overrides(&self) -> Overrides {
        Overrides::from_environment(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
        .flag("--socket", self.socket.clone())
        .flag("--node-name", self.node_name.clone())
        .flag("--sign-key", self.sign_key.clone())
        .flag("--etcd", self.etcd.as_ref().map(|members| members.join(",")))
    }

    /// The settings, for the verbs that work by them; otherwise every fault at once.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        config::load(self.config.as_deref(), &self.overrides()).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Failure::hinted(
                format!("the settings are faulty\n  {}", faults.join("\n  ")),
                "docs/config.md has every key",
            )
        })
    }

    /// Where the agent answers. A settings file that is faulty, or that only root may read, is no
    /// reason for a question to fail.
    pub fn control_socket(&self) -> PathBuf {
        let overrides = self.overrides();
        overrides.socket().unwrap_or_else(|| {
            config::load(self.config.as_deref(), &overrides).unwrap_or_default().control_socket()
        })
    }
}
