//! `podward rollout undo|restart|pause|resume`: changes of the set, and so of its key, which every claim is fenced by.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use crate::base::{
    ids::{SetKey, TemplateHash},
    time,
};
use crate::fleet::{
    merge3::{annotate, annotation, forget},
    records,
};
use crate::rollout::turn::Condemned;
use crate::spec::PAUSED;
use crate::store::{Compare, Gate, Range};

use super::apply::{self, Why};
use super::desk::{Desk, Place, Standing, opened};
use super::effective;
use super::failure::Failure;

/// The annotation of a template by which kubectl restarts.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Go back to a revision; 0 for the one before the present one.
    Undo(i64),
    /// Replace every pod.
    Restart,
    /// Let no node begin to update.
    Pause,
    /// End that.
    Resume,
}

/// What is to be written.
struct Wanted {
    /// The set; `None` when nothing is to be.
    set: Option<Value>,
    /// The revision that is left because it was not good.
    left: Option<i64>,
    /// What must hold besides.
    when: Vec<Compare>,
    /// What is said afterwards.
    told: String,
}

/// Changes one set against whoever writes beside us; says what became of it.
pub async fn run(desk: &Desk, key: &SetKey, change: Change) -> anyhow::Result<String> {
    let place = Place::Set(key.clone());
    let cause = match change {
        Change::Undo(0) => format!("podward rollout undo {}", place.shown()),
        Change::Undo(to) => format!("podward rollout undo {} --to-revision={to}", place.shown()),
        _ => format!("podward rollout restart {}", place.shown()),
    };
    for attempt in 0.. {
        let standing = desk.standing(&place).await?;
        let Some(live) = standing.live.clone() else {
            anyhow::bail!("{} not found in namespace {:?}", place.quoted(), place.namespace());
        };
        let wanted = match change {
            Change::Undo(to) => undone(desk, key, &standing, live, to).await?,
            Change::Restart => restarted(key, live, time::now().wall)?,
            Change::Pause | Change::Resume => paused(&place, live, change == Change::Pause)?,
        };
        let Some(set) = wanted.set else { return Ok(wanted.told) };
        let why = Why { left: wanted.left, ..Why::because(&cause) };
        let Some(mut txn) = apply::write_over(desk, &standing, set, why)?.txn else {
            return Ok(wanted.told);
        };
        txn.when.extend(wanted.when);
        if desk.commit(&txn).await? {
            return Ok(wanted.told);
        }
        desk.after_conflict(attempt, &place.shown()).await?;
    }
    unreachable!("the last conflict is an error")
}

/// The set that is paused, or no longer.
fn paused(place: &Place, mut set: Value, pause: bool) -> anyhow::Result<Wanted> {
    let is = annotation(&set, PAUSED) == Some("true");
    if pause == is {
        let already = if is { "is already paused" } else { "is not paused" };
        anyhow::bail!("{} {already}", place.quoted());
    }
    if pause {
        annotate(&mut set, PAUSED, "true".to_owned());
    } else {
        forget(&mut set, PAUSED);
    }
    let told = if pause { "paused" } else { "resumed" }.to_owned();
    Ok(Wanted { set: Some(set), left: None, when: Vec::new(), told })
}

/// The set whose template says that it was restarted now.
fn restarted(key: &SetKey, mut set: Value, now: Timestamp) -> anyhow::Result<Wanted> {
    let at = now.to_zoned(TimeZone::system());
    let offset = if at.offset().is_zero() { "Z".into() } else { at.strftime("%:z").to_string() };
    let at = format!("{}{offset}", at.strftime("%Y-%m-%dT%H:%M:%S"));
    let template = &mut set["spec"]["template"];
    if annotation(template, RESTARTED) == Some(at.as_str()) {
        anyhow::bail!(
            "failed to create patch for {}: if restart has already been triggered within the past second, please wait \
             before attempting to trigger another",
            key.name
        );
    }
    annotate(template, RESTARTED, at);
    Ok(Wanted { set: Some(set), left: None, when: Vec::new(), told: "restarted".to_owned() })
}

/// The set with the template of another revision.
async fn undone(
    desk: &Desk,
    key: &SetKey,
    standing: &Standing,
    mut set: Value,
    to: i64,
) -> anyhow::Result<Wanted> {
    let newest = standing.newest().map_or(0, |newest| newest.number);
    let number = match to {
        0 => {
            let older = standing.history.iter().map(|entry| entry.number);
            let before = older.filter(|number| *number < newest).max();
            before.ok_or_else(|| anyhow::anyhow!("no last revision to roll back to"))?
        }
        to => to,
    };
    let unknown = || anyhow::anyhow!("unable to find specified revision {to} in history");
    let kvs = desk.read(&[Range::key(desk.keys().revision(key, number))]).await?;
    let revision = kvs.first().and_then(|kv| opened(&kv.value)).ok_or_else(unknown)?;
    let template = revision["data"]["spec"]["template"].clone();
    let same = standing.history.iter().find(|entry| entry.number == number).map(|one| &one.hash)
        == standing.newest().map(|one| &one.hash);
    if same || set["spec"]["template"] == template {
        let told = format!("skipped rollback (current template already matches revision {to})");
        return Ok(Wanted { set: None, left: None, when: Vec::new(), told });
    }
    let when = not_condemned(desk, key, &set, &revision, number).await?;
    set["spec"]["template"] = template;
    Ok(Wanted { set: Some(set), left: Some(newest), when, told: "rolled back".to_owned() })
}

/// Refuses a revision that failed; what must hold for that otherwise.
async fn not_condemned(
    desk: &Desk,
    key: &SetKey,
    live: &Value,
    revision: &Value,
    number: i64,
) -> anyhow::Result<Vec<Compare>> {
    let mut set = live.clone();
    set["spec"]["template"] = revision["data"]["spec"]["template"].clone();
    let Some(read) = effective::read_set(&set) else { return Ok(Vec::new()) };
    let objects = match effective::ranges(desk.keys(), &read) {
        ranges if ranges.is_empty() => Vec::new(),
        ranges => desk.read(&ranges).await?,
    };
    let hash: TemplateHash = effective::identity(&read, &effective::objects(&objects)).hash;
    let gate = desk.keys().gate(key, Gate::Condemned, &hash);
    let found = desk.read(&[Range::key(&gate)]).await?;
    let verdict = found.first().and_then(|kv| records::read::<Condemned>(&kv.value));
    let Some(condemned) =
        verdict.filter(|one| live["metadata"]["uid"].as_str() == Some(one.uid.as_str()))
    else {
        let revision = found.first().map_or(0, |kv| kv.mod_revision);
        return Ok(vec![Compare::ModRevision(gate, revision)]);
    };
    let Condemned { node, verdict, .. } = condemned;
    Err(Failure::hinted(
        format!(
            "revision {number} failed on node {node} and was condemned ({}: {}): no node would go to it",
            verdict.reason, verdict.message
        ),
        "name another one by --to-revision, see `podward rollout history`; to try the same again, apply it with a \
         change, such as another annotation of its template",
    ))
}
