//! Updates that are bad: no more hosts are lost than may be unavailable, the rest run on, and there is a way out.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::history::History;
use crate::hosts::{Fleet, on_store};
use crate::sampler::Sampler;
use crate::support::set::Set;
use crate::support::wait::{PATIENCE, patiently};
use crate::versions::{Rolling, annotated, budget};

/// Seconds after which a turn counts as failed.
const DEADLINE: &str = "3";

/// A version with a short deadline, of which so many hosts may be unavailable.
fn short(set: Set, unavailable: usize) -> Set {
    let deadline = annotated(&[("progress-deadline-seconds", DEADLINE)]);
    set.spec(&budget(unavailable, 0)).metadata(&deadline)
}

/// The same, and every host goes back from it when it fails.
fn going_back(set: Set) -> Set {
    short(set, 1).metadata(&annotated(&[("on-failure", "rollback")]))
}

#[test]
fn a_bad_update_stops_at_its_budget_and_the_next_one_leads_out() -> Result<()> {
    on_store(4, 1, |fleet| {
        let web = Rolling::new(fleet, "web");
        let sampler = web.begin(fleet, &web.good("v1"))?;
        missing_image(fleet, &web)?;

        fleet.apply(&short(web.crashing("v3"), 1))?;
        let lost = web.failed(fleet, 1)?;
        sampler.idle(1)?;
        fleet.says("web", &[&lost[0], "ProgressDeadlineExceeded"])?;
        ensure!(web.tried(fleet, "v3") == lost, "{:?} tried it", web.tried(fleet, "v3"));
        fleet.apply(&short(web.good("v4"), 1))?;
        web.ends_at(fleet, &sampler, "v4")?;
        sampler.within(1)?;

        let sampler = web.sampler(fleet)?;
        fleet.apply(&short(web.never_ready("v5"), 2))?;
        let lost = web.failed(fleet, 2)?;
        sampler.idle(2)?;
        ensure!(web.tried(fleet, "v5") == lost, "{:?} tried it", web.tried(fleet, "v5"));
        fleet.rollout("undo", "web")?;
        web.ends_at(fleet, &sampler, "v4")?;
        sampler.within(2)?;
        let sum = History::of(fleet, "web")?.check(2)?;
        ensure!(sum.released.is_empty(), "{sum:?}");
        Ok(())
    })
}

/// An image that is nowhere never costs a pod: no host takes its turn, and the status says why.
fn missing_image(fleet: &Fleet, web: &Rolling) -> Result<()> {
    let sampler = web.sampler(fleet)?;
    let before = fleet.running()?;
    let from = fleet.revision()?;
    fleet.apply(&web.without_image("v2"))?;
    fleet.says("web", &["missing:1", "h1", "h2", "h3", "h4"])?;
    fleet.caught_up()?;
    ensure!(fleet.running()? == before, "a pod stopped for an update that cannot start");
    let sum = History::of(fleet, "web")?.check(1)?;
    let claims = sum.between(from, i64::MAX);
    ensure!(claims.is_empty(), "{claims:?} took turns");
    sampler.within(0).map(drop)
}

#[test]
fn a_template_that_fails_is_condemned_where_the_set_says_so_and_every_host_goes_back() -> Result<()>
{
    on_store(4, 1, |fleet| {
        let web = Rolling::new(fleet, "web");
        let sampler = web.begin(fleet, &web.good("v1"))?;
        for (bad, version) in [(web.crashing("v2"), "v2"), (web.never_ready("v3"), "v3")] {
            fleet.apply(&going_back(bad))?;
            fleet.says("web", &["condemned"])?;
            web.ends_at(fleet, &sampler, "v1")?;
            ensure!(web.tried(fleet, version).len() == 1, "{:?}", web.tried(fleet, version));
        }
        // What is good goes round although others were condemned.
        fleet.apply(&going_back(web.good("v4")))?;
        web.ends_at(fleet, &sampler, "v4")?;
        sampler.within(1)?;
        let condemned = fleet.keys("fleet/rollouts/default/web/condemned/")?;
        ensure!(condemned.len() == 2, "{condemned:?}");
        let sum = History::of(fleet, "web")?.check(1)?;
        ensure!(sum.released.is_empty(), "{sum:?}");
        Ok(())
    })
}

#[test]
fn an_update_that_kills_its_host_costs_one_host_and_says_the_way_out() -> Result<()> {
    on_store(5, 1, |fleet| {
        let web = Rolling::new(fleet, "web");
        let sampler = web.begin(fleet, &web.good("v1"))?;
        let from = fleet.revision()?;
        fleet.apply(&web.killing("v2"))?;
        let victim = next_victim(fleet, &web)?;
        let name = fleet.hosts[victim].name.clone();
        fleet.gone(&name)?;
        // Long after its sign of life has ended it still holds its turn, and nobody follows it.
        fleet.says("web", &[&name, "podward rollout release"])?;
        ensure!(web.turn(fleet, &name)?.is_object(), "a dead host's turn ended");
        ensure!(web.tried(fleet, "v2") == [name.clone()], "{:?} tried it", web.tried(fleet, "v2"));
        let sum = History::of(fleet, "web")?.check(1)?;
        ensure!(sum.between(from, i64::MAX) == [name.as_str()], "{sum:?}");
        sampler.idle(1)?;

        // The way out: back to what was good, and the host that is gone no longer counts.
        fleet.rollout("undo", "web")?;
        fleet.podward(&["rollout", "release", "ds/web", &name])?;
        web.at_rest(fleet)?;
        ensure!(!web.nodes(fleet, "member")?.contains(&name), "it counts although it is gone");
        ensure!(web.victims(fleet)?.is_empty());
        fleet.apply(&web.good("v3").spec(&json!({"minReadySeconds": 0})))?;
        sampler.some_serve("v3", 4)?;
        web.at_rest(fleet)?;

        // The host comes back, perhaps with the bad pod once more, and ends as the others.
        fleet.restart(victim)?;
        comes_back(fleet, &web, &sampler, "v3")?;
        sampler.within(1).map(drop)
    })
}

/// Waits until a container takes its host down.
fn next_victim(fleet: &mut Fleet, web: &Rolling) -> Result<usize> {
    patiently("a victim", PATIENCE, || Ok(web.victims(fleet)?.first().copied()))
}

/// Waits until a version serves everywhere; boots hosts that are taken down meanwhile.
fn comes_back(fleet: &mut Fleet, web: &Rolling, sampler: &Sampler, version: &str) -> Result<()> {
    patiently("the host to come back", PATIENCE * 2, || {
        for victim in web.victims(fleet)? {
            fleet.restart(victim)?;
        }
        Ok(sampler.now()?.only(version).then_some(()))
    })?;
    web.at_rest(fleet)
}

#[test]
fn a_host_that_its_update_takes_down_again_and_again_goes_back_by_itself() -> Result<()> {
    on_store(2, 1, |fleet| {
        let web = Rolling::new(fleet, "web");
        let sampler = web.begin(fleet, &web.good("v1"))?;
        fleet.apply(&web.killing("v2"))?;
        let victim = next_victim(fleet, &web)?;
        // Nobody helps it: it has no store when it boots.
        fleet.cut(victim)?;
        fleet.restart(victim)?;
        ensure!(next_victim(fleet, &web)? == victim);
        fleet.restart(victim)?;
        sampler.all_serve("v1")?;
        fleet.heal(victim)?;
        let failed = web.failed(fleet, 1)?;
        ensure!(failed == [fleet.hosts[victim].name.clone()], "{failed:?}");
        ensure!(web.turn(fleet, &failed[0])?["failed"]["reason"] == "BootLoop");
        ensure!(web.tried(fleet, "v2") == failed, "{:?} tried it", web.tried(fleet, "v2"));
        fleet.says("web", &[&failed[0], "booted"])?;
        fleet.apply(&web.good("v3").spec(&json!({"minReadySeconds": 0})))?;
        web.ends_at(fleet, &sampler, "v3")?;
        sampler.within(1).map(drop)
    })
}
