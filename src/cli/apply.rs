//! `podward apply`: what files say becomes what the fleet shall run.

use std::{io::Write, process::ExitCode};

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::Value;

use crate::base::{ids::TemplateHash, time};
use crate::fleet::{
    merge3::{Stamp, annotate, annotation, forget, last_applied, merge, note_applied, stamp},
    revision::{self, Changed},
};
use crate::spec::{FieldValidation, PROMOTED, ROLLED_BACK};
use crate::store::{Op, Range, Txn};

use super::{
    Globals, client,
    desk::{Desk, Place, Standing, checked},
    failure::{Failure, Outcome},
    manifests::{self, Files, Manifest},
    store_client,
};

/// What `apply` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub files: Files,
    /// The namespace of documents that name none; others must name this one
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Only say what would be done; `server` asks etcd, `client` does so where one is configured
    #[arg(long, value_enum, default_value_t = DryRun::None, default_missing_value = "client", num_args = 0..=1,
        require_equals = true, value_name = "HOW")]
    pub dry_run: DryRun,
    /// How unknown and repeated fields are taken: Strict, Warn or Ignore
    #[arg(long = "validate", default_value_t = FieldValidation::Strict, default_missing_value = "Strict",
        num_args = 0..=1, require_equals = true, value_name = "MODE")]
    pub validation: FieldValidation,
}

/// Whether anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// It is.
    None,
    /// Nothing is, and no store is needed.
    Client,
    /// Nothing is.
    Server,
}

/// What is to be done at a place.
#[derive(Debug)]
pub struct Plan {
    /// The transaction; `None` when the place is as wanted.
    pub txn: Option<Txn>,
    /// The object afterwards.
    pub object: Value,
    /// `created`, `configured` or `unchanged`.
    pub word: &'static str,
}

/// Writes every object, one transaction each.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    if args.files.files.is_empty() {
        return Err(Failure::usage("name the files to apply", Some("such as -f set.yaml".into())));
    }
    let manifests = manifests::read(&args.files, args.namespace.as_deref(), args.validation, err)?;
    let settings = globals.fleet_settings()?;
    if args.dry_run == DryRun::Client && store_client::connection(&settings).is_none() {
        for manifest in &manifests {
            writeln!(out, "{} created (dry run)", manifest.place.shown())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    client::converse(async {
        let desk = Desk::open(globals).await?;
        for (done, manifest) in manifests.iter().enumerate() {
            let word = write(&desk, manifest, args).await.map_err(|error| {
                let error =
                    error.context(format!("{}: {}", manifest.origin, manifest.place.shown()));
                if args.dry_run == DryRun::None { partly(error, &manifests, done) } else { error }
            })?;
            writeln!(out, "{} {word}", manifest.place.shown())?;
            out.flush()?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Says beside a failure what was written before it, and what was not.
fn partly(error: anyhow::Error, manifests: &[Manifest], done: usize) -> anyhow::Error {
    let names = |some: &[Manifest]| {
        some.iter().map(|manifest| manifest.place.shown()).collect::<Vec<_>>().join(", ")
    };
    let (before, after) = (&manifests[..done], &manifests[done + 1..]);
    if manifests.len() == 1 {
        return error;
    }
    let mut told = match before {
        [] => "nothing was written before it".to_owned(),
        before => format!("written before it: {}", names(before)),
    };
    if !after.is_empty() {
        told = format!("{told}; not written: {}", names(after));
    }
    error.context(told)
}

/// Writes one object against whoever writes beside us; says what became of it.
async fn write(desk: &Desk, manifest: &Manifest, args: &Args) -> anyhow::Result<String> {
    let cause = format!("podward apply -f {}", manifest.origin);
    for attempt in 0.. {
        let standing = desk.standing(&manifest.place).await?;
        let plan = plan(desk, &standing, manifest, args.validation, &cause)?;
        let suffix = match args.dry_run {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        };
        let done = match &plan.txn {
            Some(txn) if args.dry_run == DryRun::None => desk.commit(txn).await?,
            _ => true,
        };
        if done {
            return Ok(format!("{}{suffix}", plan.word));
        }
        desk.after_conflict(attempt, &manifest.place.shown()).await?;
    }
    unreachable!("the last conflict is an error")
}

/// What applying a manifest does at its place.
pub fn plan(
    desk: &Desk,
    standing: &Standing,
    manifest: &Manifest,
    validation: FieldValidation,
    cause: &str,
) -> anyhow::Result<Plan> {
    let object = match (&standing.place, &standing.live) {
        // Objects are replaced whole: what is secret shall not be kept twice.
        (Place::Object(_), live) => {
            if let Some(live) = live {
                keeps_its_promise(live, &manifest.value, &standing.place)?;
            }
            manifest.value.clone()
        }
        (Place::Set(_), live) => {
            let mut new = manifest.value.clone();
            note_applied(&mut new);
            let live = live.as_ref().unwrap_or(&Value::Null);
            merge(&last_applied(live), live, &new)
        }
    };
    write_over(desk, standing, object, Why { validation, ..Why::because(cause) })
}

/// Why an object is written over.
#[derive(Debug, Clone, Copy)]
pub struct Why<'a> {
    /// How unknown fields are taken.
    pub validation: FieldValidation,
    /// What a set's history says of it.
    pub cause: &'a str,
    /// The revision that is left because it was not good, by `rollout undo`.
    pub left: Option<i64>,
}

impl<'a> Why<'a> {
    /// With a cause and nothing else.
    pub fn because(cause: &'a str) -> Self {
        Self { validation: FieldValidation::Strict, cause, left: None }
    }
}

/// Writes an object over what stands at its place; a set's history goes with it.
pub fn write_over(
    desk: &Desk,
    standing: &Standing,
    mut object: Value,
    why: Why<'_>,
) -> anyhow::Result<Plan> {
    let (keys, place, now) = (desk.keys(), &standing.place, time::now().wall);
    let uid = uuid::Uuid::new_v4().to_string();
    let live = standing.live.as_ref();
    let hash = match (place, live) {
        (Place::Set(_), _) if live == Some(&object) && standing.tombstone.is_none() => None,
        (Place::Set(_), _) => Some(hash_of(&object, place, why.validation)?),
        (Place::Object(_), _) => None,
    };
    if let (Some(live), Some(hash)) = (live, &hash)
        && standing.newest().is_some_and(|newest| newest.hash != hash.as_str())
    {
        begin_anew(live, &mut object, why.left);
    }
    stamp(live, &mut object, Stamp { uid: &uid, buried: standing.buried(), now });
    let word = if live.is_some() { "configured" } else { "created" };
    if live == Some(&object) && standing.tombstone.is_none() {
        return Ok(Plan { txn: None, object, word: "unchanged" });
    }
    desk.may_replace(standing.signed, &place.shown())?;
    let mut then = vec![desk.put(place.key(keys), &object, 0)?];
    if standing.tombstone.is_some() {
        then.push(Op::Delete(Range::key(place.tombstone(keys))));
    }
    if let (Place::Set(set), Some(hash)) = (place, &hash) {
        if let Some(live) = live {
            same_selector(live, &object, place)?;
        }
        let changed = Changed { key: set, set: &object, hash, cause: why.cause, now };
        let change = revision::change(changed, &standing.history);
        if let Some((number, entry)) = &change.new {
            then.push(desk.put(keys.revision(set, *number), entry, 0)?);
        }
        let gone =
            change.gone.iter().map(|number| Op::Delete(Range::key(keys.revision(set, *number))));
        then.extend(gone);
    }
    let txn = Txn { when: standing.unchanged(keys), then, otherwise: Vec::new() };
    Ok(Plan { txn: Some(txn), object, word })
}

/// The identity of a set's template; what is wrong with the set is the error.
fn hash_of(
    object: &Value,
    place: &Place,
    validation: FieldValidation,
) -> anyhow::Result<TemplateHash> {
    checked(object, &place.shown(), validation).map_err(|faults| {
        let faults = faults.join("\n  ");
        anyhow::anyhow!("the fields of the file and those that others added do not fit\n  {faults}")
    })
}

/// Takes from a set that gets another template what was said of the last one; `left` is the revision that was not good.
fn begin_anew(live: &Value, object: &mut Value, left: Option<i64>) {
    for key in [PROMOTED, ROLLED_BACK] {
        // What the author says anew is meant for the new template.
        if annotation(object, key) == annotation(live, key) {
            forget(object, key);
        }
    }
    if let Some(left) = left {
        annotate(object, ROLLED_BACK, left.to_string());
    }
}

/// Refuses another selector: pods that run would belong to nobody.
fn same_selector(live: &Value, object: &Value, place: &Place) -> anyhow::Result<()> {
    if live["spec"]["selector"] == object["spec"]["selector"] {
        return Ok(());
    }
    let name = place.quoted();
    Err(Failure::hinted(
        format!("{name} is invalid: spec.selector: field is immutable"),
        "delete the set and apply it again, or give it another name",
    ))
}

/// Refuses to change an object whose author promised that it never changes.
fn keeps_its_promise(live: &Value, new: &Value, place: &Place) -> anyhow::Result<()> {
    if live["immutable"] != true {
        return Ok(());
    }
    for field in ["immutable", "data", "binaryData", "type"] {
        if live[field] != new[field] {
            return Err(Failure::hinted(
                format!(
                    "{} is invalid: {field}: field is immutable when `immutable` is set",
                    place.quoted()
                ),
                "give the new content another name, or delete the object and apply it again",
            ));
        }
    }
    Ok(())
}
