//! `podward rollout promote`: the other nodes follow the canary nodes.

use std::{io::Write, process::ExitCode};

use clap::Args as ClapArgs;

use crate::base::ids::{NodeName, SetKey, TemplateHash};
use crate::fleet::{
    merge3::annotate,
    rollout_view::{Scene, few},
};
use crate::spec::PROMOTED;

use super::{
    Globals,
    apply::{self, Why},
    client,
    desk::{Desk, Place},
    failure::{Failure, Outcome},
    rollout::Sets,
    rollout_scene::RolloutScene,
};

/// What `rollout promote` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub sets: Sets,
    /// Promote although the canary nodes are not all well
    #[arg(long)]
    pub force: bool,
}

/// Promotes the template of one set.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write) -> Outcome {
    let key = args.sets.only()?;
    client::converse(async {
        let desk = Desk::open(globals).await?;
        let told = promote(&desk, &key, args.force).await?;
        writeln!(out, "daemonset.apps/{} promoted\n  {told}", key.name)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Writes that the template may go on; says who follows.
async fn promote(desk: &Desk, key: &SetKey, force: bool) -> anyhow::Result<String> {
    let place = Place::Set(key.clone());
    for attempt in 0.. {
        // The set first: when what was read of the nodes is older, its key has changed, and nothing is written.
        let standing = desk.standing(&place).await?;
        let Some(mut set) = standing.live.clone() else {
            anyhow::bail!("{} not found in namespace {:?}", place.quoted(), place.namespace());
        };
        let mut rollout = RolloutScene::new(desk, key)?;
        rollout.read().await?;
        let (Some(scene), Some(written)) = (rollout.scene(), rollout.written()) else {
            anyhow::bail!("{} is no set that can run; see `podward validate`", place.quoted());
        };
        let hash = written.identity.hash;
        may_go_on(&scene, &hash, &place, force)?;
        let follow = followers(&scene, &hash);
        annotate(&mut set, PROMOTED, hash.to_string());
        let plan =
            apply::write_over(desk, &standing, set, Why::because("podward rollout promote"))?;
        let done = match &plan.txn {
            Some(txn) => desk.commit(txn).await?,
            None => true,
        };
        if done {
            return Ok(follow);
        }
        desk.after_conflict(attempt, &place.shown()).await?;
    }
    unreachable!("the last conflict is an error")
}

/// Says how many nodes follow.
fn followers(scene: &Scene, hash: &TemplateHash) -> String {
    let others = scene.members.iter().filter(|(node, member)| {
        !scene.canaries.contains_key(node) && member.hash != hash.as_str()
    });
    match others.count() {
        0 => "no other node has another template".to_owned(),
        1 => "1 node follows".to_owned(),
        count => format!("{count} nodes follow"),
    }
}

/// Refuses to promote what nobody waits for, or what its canary nodes do not show to be good.
fn may_go_on(scene: &Scene, hash: &TemplateHash, place: &Place, force: bool) -> anyhow::Result<()> {
    let name = place.quoted();
    let rollout = &scene.rollout;
    if rollout.canary.is_none() {
        return Err(Failure::hinted(
            format!("{name} has no canary: nothing waits to be promoted"),
            "the annotation podward.dev/canary selects the nodes that go first; docs/rollouts.md",
        ));
    }
    if rollout.promoted == hash.as_str() {
        anyhow::bail!("{name} is already promoted");
    }
    if let Some(condemned) = scene.condemned.get(hash) {
        return Err(Failure::hinted(
            format!(
                "the template of {name} failed on node {} and was condemned ({}): no node would go to it",
                condemned.node, condemned.verdict.reason
            ),
            "apply another template, or `podward rollout undo`",
        ));
    }
    if force {
        return Ok(());
    }
    if scene.canaries.is_empty() {
        return Err(Failure::hinted(
            format!("no node that runs {name} matches its canary selector"),
            "label one, change the annotation podward.dev/canary, or promote by --force",
        ));
    }
    let ill = |wrong: &dyn Fn(&NodeName, &String) -> bool| -> Vec<String> {
        let ill = scene.canaries.iter().filter(|(node, at)| wrong(node, at));
        ill.map(|(node, _)| node.to_string()).collect()
    };
    let behind = ill(&|_, at| at != hash.as_str());
    let away = ill(&|node, at| at == hash.as_str() && !scene.available.contains(node));
    for (nodes, what) in [
        (behind, "have not the new template yet"),
        (away, "have the new template, but are not available"),
    ] {
        if !nodes.is_empty() {
            let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
            return Err(Failure::hinted(
                format!("canary nodes of {name} {what}: {}", few(&nodes)),
                "see `podward rollout status`; --force promotes all the same",
            ));
        }
    }
    Ok(())
}
