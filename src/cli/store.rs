//! `podward store`: the shared store itself: its users and rights, how it is, and an operator's word that it is the right one.

use std::{io::Write, process::ExitCode};

use clap::{Args as ClapArgs, Subcommand};

use super::{Globals, client, failure::Outcome, store_accept, store_init, store_status};

/// What `store` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

/// What is done with the store.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make the users and roles of operators and hosts, and have etcd ask for them
    Init(store_init::Args),
    /// Show every member, and whether this host takes the store for the right one
    Status,
    /// Say that this store is the right one, to hosts that knew another or a newer one
    Accept(store_accept::Args),
}

/// Runs one of them.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let settings = globals.fleet_settings()?;
    match &args.verb {
        Verb::Init(args) => client::converse(store_init::run(args, &settings, out))?,
        Verb::Status => return client::converse(store_status::run(&settings, out)),
        Verb::Accept(args) => client::converse(store_accept::run(args, &settings, out, err))?,
    }
    Ok(ExitCode::SUCCESS)
}
