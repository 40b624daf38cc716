//! `podward rollout status`: how far a set's update is, until it is over.

use std::{
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgAction, Args as ClapArgs};
use serde_json::Value;

use crate::base::{ids::SetKey, time};
use crate::fleet::rollout_view::{Story, sentence};
use crate::spec::Rollout;

use super::{
    Globals,
    client::{self, Wanted},
    desk::{Desk, Place},
    duration,
    failure::{Failure, Outcome},
    resource::Kind,
    rollout::Sets,
    rollout_scene::RolloutScene,
    rollout_screen::Screen,
    store_client,
};

/// How often ages on a terminal are renewed. Nobody is asked for that.
const TICK: Duration = Duration::from_secs(1);
/// How long an update may take that nobody set a time for.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// What `rollout status` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub sets: Sets,
    /// Go on until the update is over
    #[arg(short, long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub watch: bool,
    /// How long to wait; 0 for as long as it takes
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "0")]
    pub timeout: Duration,
    /// Taken for kubectl's sake; a set has one update at a time
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub revision: i64,
}

/// Where the stories come from.
enum Teller {
    /// The store.
    Fleet(Box<RolloutScene>),
    /// The agent on this host.
    Agent(Box<tonic::Streaming<crate::agent::wire::ListResponse>>, SetKey),
}

/// Shows the update of one set.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let key = args.sets.only()?;
    client::converse(async {
        let settings = globals.settings_to_ask()?;
        if globals.local || store_client::connection(&settings).is_none() {
            return follow(agent(globals, &key).await?, args, out).await;
        }
        match shared(globals, &key).await {
            Ok(scene) if scene.value().is_some() => {
                return follow(Teller::Fleet(Box::new(scene)), args, out).await;
            }
            Ok(_) => {}
            Err(error) => {
                let Ok(agent) = agent(globals, &key).await else { return Err(error) };
                writeln!(err, "warning: {error:#}")?;
                return follow(agent, args, out).await;
            }
        }
        // A set of this host's own files is not in the store.
        let place = Place::Set(key.clone());
        match agent(globals, &key).await {
            Ok(agent) => follow(agent, args, out).await,
            Err(_) => {
                anyhow::bail!("{} not found in namespace {:?}", place.quoted(), place.namespace())
            }
        }
    })
}

/// Asks the store.
async fn shared(globals: &Globals, key: &SetKey) -> anyhow::Result<RolloutScene> {
    let desk = Desk::open(globals).await?;
    let mut scene = RolloutScene::new(&desk, key)?;
    scene.next().await?;
    Ok(scene)
}

/// Asks the agent on this host.
async fn agent(globals: &Globals, key: &SetKey) -> anyhow::Result<Teller> {
    let mut control = client::connect(&globals.control_socket()).await?;
    let (namespace, name) = (Some(key.namespace.as_str()), Some(key.name.as_str()));
    let wanted = Wanted { kind: Kind::DaemonSet, namespace, name };
    let found = client::list(&mut control, &wanted).await?;
    let place = Place::Set(key.clone());
    anyhow::ensure!(
        !found.is_empty(),
        "{} not found in namespace {:?}",
        place.quoted(),
        place.namespace()
    );
    let lists = client::lists(&mut control, &wanted, true).await?;
    Ok(Teller::Agent(Box::new(lists), key.clone()))
}

impl Teller {
    /// What it knows now, for the first time; then after each change.
    async fn next(&mut self, first: bool) -> anyhow::Result<Story> {
        let story = match self {
            Self::Fleet(scene) => {
                if !first {
                    scene.next().await?;
                }
                let Some(value) = scene.value() else { anyhow::bail!("object has been deleted") };
                let scene = scene.scene().ok_or_else(|| invalid(&value))?;
                (!scene.rollout.on_delete).then(|| scene.story())
            }
            Self::Agent(lists, key) => {
                let Some(sets) = client::next(lists).await? else {
                    let hint = "see `systemctl status podward`";
                    return Err(Failure::hinted("the agent ended the watch", hint));
                };
                let Some(set) = sets.first() else { anyhow::bail!("object has been deleted") };
                alone(key, set)?
            }
        };
        story.ok_or_else(|| {
            anyhow::anyhow!("rollout status is only available for RollingUpdate strategy type")
        })
    }
}

/// Why a set in the store has no rollout.
fn invalid(set: &Value) -> anyhow::Error {
    Failure::hinted(
        format!("daemonsets.apps {} in the store is no set that can run", set["metadata"]["name"]),
        "see `podward get ds -o yaml` and `podward validate`; apply it anew",
    )
}

/// How far one host is by itself; `None` for a set that does not roll.
fn alone(key: &SetKey, set: &Value) -> anyhow::Result<Option<Story>> {
    let object: k8s_openapi::api::apps::v1::DaemonSet = serde_json::from_value(set.clone())?;
    let rollout = Rollout::of(&object);
    if rollout.on_delete {
        return Ok(None);
    }
    let status = object.status.unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or(0);
    let (sentence, done) = sentence(&key.name, generation, &rollout, &status);
    let splay = match rollout.splay.filter(|splay| !splay.is_zero()) {
        Some(splay) => format!(
            "after its part of podward.dev/splay-seconds, which is {} for all of them",
            time::go_duration(splay)
        ),
        None => "at once (podward.dev/splay-seconds says how long all of them take)".to_owned(),
    };
    let note = format!(
        "this is what this host knows; for a set that does not come from etcd no budget across hosts holds: each host \
         updates by itself, {splay}"
    );
    let share = (status.updated_number_scheduled.unwrap_or(0), status.desired_number_scheduled);
    Ok(Some(Story { sentence, done, share, notes: vec![note], ..Story::default() }))
}

/// Shows one story after the other until the last.
async fn follow(mut teller: Teller, args: &Args, out: &mut dyn Write) -> Outcome {
    let mut screen = Screen::new(args.watch && io::stdout().is_terminal());
    let limit = if args.timeout.is_zero() { FOREVER } else { args.timeout };
    let until = tokio::time::Instant::from_std(time::now().mono + limit);
    let first = tokio::time::timeout_at(until, teller.next(true)).await;
    let mut story = first.map_err(|_| timed_out(&Story::default()))??;
    loop {
        screen.show(&story, time::now().wall, out)?;
        if let Some(failed) = &story.failed {
            let hint = "apply another template; `podward rollout history` lists what there was";
            return Err(Failure::hinted(failed.clone(), hint));
        }
        if story.done || !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        let mut next = std::pin::pin!(teller.next(false));
        story = loop {
            let tick = tokio::time::Instant::from_std(time::now().mono + TICK);
            match tokio::time::timeout_at(tick.min(until), &mut next).await {
                Ok(next) => break next?,
                Err(_) if tokio::time::Instant::from_std(time::now().mono) >= until => {
                    return Err(timed_out(&story));
                }
                Err(_) if screen.is_live() => screen.show(&story, time::now().wall, out)?,
                Err(_) => {}
            }
        };
    }
}

/// kubectl's words for a time that is over, and what held the update.
fn timed_out(story: &Story) -> anyhow::Error {
    let message = "timed out waiting for the condition";
    match story.notes.last() {
        Some(note) => Failure::hinted(message, note.clone()),
        None => anyhow::Error::msg(message),
    }
}
