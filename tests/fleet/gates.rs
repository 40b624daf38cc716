//! What holds a rollout or leads it elsewhere: pauses, undoing, the next change, canaries, partitions, domains, `OnDelete`.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::history::History;
use crate::hosts::{Fleet, on_store};
use crate::support::set::Set;
use crate::versions::{Rolling, annotated, began, budget};

/// A version with turns that last long enough to meet them on their way.
fn steady(set: Set) -> Set {
    set.spec(&json!({"minReadySeconds": 1})).spec(&budget(1, 0))
}

/// Waits until every turn that is open ends, and every host has heard of all that was written before.
fn held(fleet: &Fleet, web: &Rolling) -> Result<()> {
    web.until_keys(fleet, "no turns", |keys| {
        Ok((!keys.iter().any(|key| key.starts_with("turn/"))).then_some(()))
    })?;
    fleet.caught_up()
}

#[test]
fn a_rollout_is_paused_undone_and_overtaken_on_its_way() -> Result<()> {
    on_store(4, 1, |fleet| {
        let web = Rolling::new(fleet, "web");
        let sampler = web.begin(fleet, &steady(web.good("v1")))?;
        fleet.apply(&steady(web.good("v2")))?;
        sampler.some_serve("v2", 1)?;
        fleet.rollout("pause", "web")?;
        let paused = fleet.revision()?;
        held(fleet, &web)?;
        fleet.says("web", &["paused", "podward rollout resume"])?;
        let resumed = fleet.revision()?;
        ensure!(sampler.now()?.with("v2").len() < 4, "it went on");
        fleet.rollout("resume", "web")?;
        web.ends_at(fleet, &sampler, "v2")?;

        fleet.apply(&steady(web.good("v3")))?;
        sampler.some_serve("v3", 2)?;
        fleet.rollout("undo", "web")?;
        web.ends_at(fleet, &sampler, "v2")?;
        ensure!(web.tried(fleet, "v3").len() < 4, "it was undone too late to see anything");

        fleet.apply(&steady(web.good("v4")))?;
        sampler.some_serve("v4", 1)?;
        fleet.apply(&steady(web.good("v5")))?;
        web.ends_at(fleet, &sampler, "v5")?;
        ensure!(web.tried(fleet, "v4").len() < 4, "nobody needs what is overtaken");
        began(fleet, &sampler, "v5", 1)?;

        let sum = History::of(fleet, "web")?.check(1)?;
        ensure!(sum.between(paused, resumed).is_empty(), "claims in the pause: {sum:?}");
        ensure!(sum.released.is_empty(), "{sum:?}");
        sampler.within(1)?;
        joins(fleet, &web)
    })
}

/// A host that joins in the middle of a rollout begins with what is new.
fn joins(fleet: &mut Fleet, web: &Rolling) -> Result<()> {
    let sampler = web.sampler(fleet)?;
    fleet.apply(&steady(web.good("v6")))?;
    sampler.some_serve("v6", 1)?;
    fleet.join(1, &json!({}))?;
    web.ends_at(fleet, &sampler, "v6")?;
    let late = web.sampler(fleet)?;
    late.all_serve("v6")?;
    began(fleet, &late, "v6", 1)?;
    ensure!(!web.tried(fleet, "v5").contains(&"h5".to_owned()), "it began with what is old");
    sampler.within(1).map(drop)
}

#[test]
fn canaries_partitions_domains_and_on_delete_hold_hosts_back() -> Result<()> {
    on_store(5, 1, |fleet| {
        let web = Rolling::new(fleet, "web");
        // Nodes that run a set are known to the store.
        drop(web.begin(fleet, &web.good("v1"))?);
        fleet.podward(&["label", "node", "h2", "ring=first"])?;
        fleet.podward(&["label", "node", "h1", "h2", "rack=a"])?;
        fleet.podward(&["label", "node", "h3", "h4", "h5", "rack=b"])?;
        canaries(fleet, &web)?;
        partition(fleet, &web)?;
        domains(fleet, &web)?;
        on_delete(fleet, &web)
    })
}

/// The canary goes first; the others follow by an operator's word, or when it has been well for long enough.
fn canaries(fleet: &Fleet, web: &Rolling) -> Result<()> {
    let sampler = web.sampler(fleet)?;
    let canary = ("canary", "ring=first");
    fleet.apply(&web.good("v2").metadata(&annotated(&[canary])))?;
    sampler.some_serve("v2", 1)?;
    held(fleet, web)?;
    ensure!(web.tried(fleet, "v2") == ["h2"], "{:?}", web.tried(fleet, "v2"));
    fleet.says("web", &["canary", "podward rollout promote"])?;
    fleet.rollout("promote", "web")?;
    web.ends_at(fleet, &sampler, "v2")?;

    let bake = annotated(&[canary, ("bake-seconds", "3")]);
    fleet.apply(&web.good("v3").metadata(&bake))?;
    web.ends_at(fleet, &sampler, "v3")?;
    let ready = |host: &str| -> Result<f64> {
        let mut starts = sampler.starts(host)?.into_iter().filter(|(version, _)| version == "v3");
        starts.next_back().map(|(_, at)| at).with_context(|| format!("{host} never served v3"))
    };
    let first = ready("h2")?;
    for host in ["h1", "h3", "h4", "h5"] {
        ensure!(ready(host)? - first >= 3.0, "{host} did not wait for the canary");
    }
    sampler.within(1).map(drop)
}

/// So many hosts keep what is old.
fn partition(fleet: &Fleet, web: &Rolling) -> Result<()> {
    let sampler = web.sampler(fleet)?;
    let keep = annotated(&[("partition", "3"), ("canary", ""), ("bake-seconds", "0")]);
    let mut set = web.good("v4").metadata(&keep);
    set = set.metadata(&json!({"annotations": {"podward.dev/canary": null}}));
    fleet.apply(&set)?;
    sampler.some_serve("v4", 2)?;
    held(fleet, web)?;
    ensure!(web.tried(fleet, "v4").len() == 2, "{:?}", web.tried(fleet, "v4"));
    fleet.says("web", &["partition"])?;
    fleet.apply(&web.good("v4"))?;
    web.ends_at(fleet, &sampler, "v4")?;
    sampler.within(1).map(drop)
}

/// Hosts of two racks are never unavailable at once.
fn domains(fleet: &Fleet, web: &Rolling) -> Result<()> {
    let sampler = web.sampler(fleet)?;
    let racks = annotated(&[("domain", "rack")]);
    fleet.apply(&web.slow("v5").metadata(&racks).spec(&budget(3, 0)))?;
    web.ends_at(fleet, &sampler, "v5")?;
    let seen = sampler.within(3)?;
    for moment in &seen.0 {
        let racks = moment.unavailable().into_iter().map(|host| host == "h1" || host == "h2");
        let racks: std::collections::BTreeSet<bool> = racks.collect();
        ensure!(racks.len() < 2, "hosts of two racks at once:\n{}", seen.text());
    }
    Ok(())
}

/// Only a pod that is deleted is replaced.
fn on_delete(fleet: &Fleet, web: &Rolling) -> Result<()> {
    let sampler = web.sampler(fleet)?;
    let manual = json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}});
    fleet.apply(&web.good("v6").spec(&manual))?;
    held(fleet, web)?;
    ensure!(web.tried(fleet, "v6").is_empty(), "{:?}", web.tried(fleet, "v6"));
    let old = fleet.hosts[2].runs("web")?;
    fleet.podward(&["delete", "pod", &old.name()])?;
    sampler.some_serve("v6", 1)?;
    held(fleet, web)?;
    ensure!(web.tried(fleet, "v6") == ["h3"], "{:?}", web.tried(fleet, "v6"));
    fleet.apply(&web.good("v6"))?;
    web.ends_at(fleet, &sampler, "v6")?;
    sampler.within(1).map(drop)
}
