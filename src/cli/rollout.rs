//! `podward rollout`: how a set's update goes from host to host, and what operators do about it.

use std::io::Write;

use clap::{Args as ClapArgs, Subcommand};

use crate::base::ids::SetKey;

use super::{
    Globals, client,
    desk::{Desk, ending},
    failure::{Failure, Outcome},
    namespace::OneNamespace,
    resource::{self, Kind},
    rollout_change::{self, Change},
    rollout_history, rollout_promote, rollout_release, rollout_status,
};

/// What `rollout` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

/// What is done with a rollout.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show how far the update is, until it is over
    Status(rollout_status::Args),
    /// List the templates that a set had, or show one of them
    History(rollout_history::Args),
    /// Go back to the template before, or to another one
    Undo(UndoArgs),
    /// Replace every pod, node by node, although the template stays
    Restart(Sets),
    /// Let no node begin to update
    Pause(Sets),
    /// Let nodes update again
    Resume(Sets),
    /// Let the other nodes follow the canary nodes
    Promote(rollout_promote::Args),
    /// Take its turn from a node that does not end it
    Release(rollout_release::Args),
}

/// Which sets.
#[derive(Debug, ClapArgs)]
pub struct Sets {
    /// ds/NAME...
    #[arg(required = true, value_name = "ds/NAME")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub namespace: OneNamespace,
}

/// What `rollout undo` is asked for.
#[derive(Debug, ClapArgs)]
pub struct UndoArgs {
    #[command(flatten)]
    pub sets: Sets,
    /// The revision to go back to; 0 for the one before the present one
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub to_revision: i64,
}

impl Sets {
    /// The sets that are named.
    pub fn keys(&self) -> anyhow::Result<Vec<SetKey>> {
        let mut keys = Vec::new();
        for target in resource::targets(&self.targets)? {
            if target.kind != Kind::DaemonSet || target.names.is_empty() {
                let hint = Some("write ds/NAME".to_owned());
                return Err(Failure::usage("rollouts are those of a set", hint));
            }
            let named = target.names.iter();
            keys.extend(named.map(|name| SetKey::new(&self.namespace.namespace, name)));
        }
        Ok(keys)
    }

    /// The only set that is named.
    pub fn only(&self) -> anyhow::Result<SetKey> {
        match <[SetKey; 1]>::try_from(self.keys()?) {
            Ok([key]) => Ok(key),
            Err(_) => Err(Failure::usage("one set at a time", Some("write ds/NAME".to_owned()))),
        }
    }
}

/// Runs one of them.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let (sets, change) = match &args.verb {
        Verb::Status(args) => return rollout_status::run(args, globals, out, err),
        Verb::History(args) => return rollout_history::run(args, globals, out),
        Verb::Promote(args) => return rollout_promote::run(args, globals, out),
        Verb::Release(args) => return rollout_release::run(args, globals, out),
        Verb::Undo(args) => (&args.sets, Change::Undo(args.to_revision)),
        Verb::Restart(sets) => (sets, Change::Restart),
        Verb::Pause(sets) => (sets, Change::Pause),
        Verb::Resume(sets) => (sets, Change::Resume),
    };
    let keys = sets.keys()?;
    client::converse(async {
        let desk = Desk::open(globals).await?;
        let mut failed = None;
        for key in &keys {
            match rollout_change::run(&desk, key, change).await {
                Ok(told) => writeln!(out, "daemonset.apps/{} {told}", key.name)?,
                Err(error) => {
                    if let Some(before) = failed.replace(error) {
                        writeln!(err, "error: {before:#}")?;
                    }
                }
            }
        }
        ending(failed)
    })
}
