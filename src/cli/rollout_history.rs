//! `podward rollout history`: the templates that a set had.

use std::{io::Write, process::ExitCode};

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::fleet::{merge3::annotation, revision::CHANGE_CAUSE};
use crate::store::Range;

use super::{
    Globals, client, describe_set,
    desk::{Desk, Place, opened},
    failure::Outcome,
    page::Page,
    rollout::Sets,
    table::or_none,
};

/// What `rollout history` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub sets: Sets,
    /// Show the template of this revision
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub revision: i64,
}

/// Prints the history of each set.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write) -> Outcome {
    anyhow::ensure!(args.revision >= 0, "revision must be a positive integer: {}", args.revision);
    let keys = args.sets.keys()?;
    client::converse(async {
        let desk = Desk::open(globals).await?;
        for key in &keys {
            let place = Place::Set(key.clone());
            if desk.standing(&place).await?.live.is_none() {
                anyhow::bail!("{} not found in namespace {:?}", place.quoted(), place.namespace());
            }
            let kvs = desk.read(&[Range::prefix(desk.keys().revisions(key))]).await?;
            let revisions: Vec<Value> = kvs.iter().filter_map(|kv| opened(&kv.value)).collect();
            if args.revision == 0 {
                list(&place, &revisions, out)?;
            } else {
                one(&place, &revisions, args.revision, out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The number of a revision.
fn number(revision: &Value) -> i64 {
    revision["revision"].as_i64().unwrap_or(0)
}

/// Prints the table.
fn list(place: &Place, revisions: &[Value], out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{} ", place.shown())?;
    if revisions.is_empty() {
        return Ok(writeln!(out, "No rollout history found.")?);
    }
    let mut page = Page::default();
    page.line("REVISION\tCHANGE-CAUSE");
    for revision in revisions {
        let cause = or_none(annotation(revision, CHANGE_CAUSE));
        page.line(format_args!("{}\t{cause}", number(revision)));
    }
    page.print(out)?;
    Ok(writeln!(out)?)
}

/// Prints one template.
fn one(place: &Place, revisions: &[Value], wanted: i64, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(revision) = revisions.iter().find(|revision| number(revision) == wanted) else {
        anyhow::bail!("unable to find the specified revision");
    };
    writeln!(out, "{} with revision #{wanted}", place.shown())?;
    let mut page = Page::default();
    let template = serde_json::from_value(revision["data"]["spec"]["template"].clone())?;
    describe_set::template(&mut page, &template);
    page.print(out)?;
    Ok(writeln!(out)?)
}
