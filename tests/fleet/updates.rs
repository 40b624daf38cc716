//! Updates that are good: every host ends updated, and never more of them than may be are unavailable meanwhile.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::history::History;
use crate::hosts::{Fleet, on_fleet, on_store};
use crate::sampler::{Moment, Sampler};
use crate::support::wait::{PATIENCE, patiently};
use crate::versions::{Rolling, annotated, began, budget};

#[test]
fn the_sampler_sees_what_serves_and_what_does_not() -> Result<()> {
    on_fleet(2, |fleet| {
        let web = Rolling::new(fleet, "web");
        let write = |fleet: &Fleet, version: &str| {
            fleet.each(|host| host.write("web.yaml", &web.good(version).text()))
        };
        write(fleet, "v1")?;
        let sampler = patiently("both hosts to serve", PATIENCE, || Ok(web.sampler(fleet).ok()))?;
        sampler.all_serve("v1")?;
        // Nobody coordinates these hosts: both may be between their pods at once, and the sampler would tell.
        write(fleet, "v2")?;
        sampler.all_serve("v2")?;
        fleet.hosts[1].kill()?;
        sampler.idle(1)?;
        let seen = sampler.timeline()?;
        ensure!(seen.0.last().is_some_and(|last| last.unavailable() == ["h2"]), "{}", seen.text());
        ensure!(sampler.within(0).is_err(), "one of them is down");
        ensure!(seen.order("v2").len() == 2 && seen.order("v3").is_empty());
        began(fleet, &sampler, "v1", 1)?;
        fleet.restart(1)?;
        sampler.all_serve("v2")?;
        ensure!(sampler.starts("h2")?.len() == 3, "{:?}", sampler.starts("h2"));
        ensure!(web.tried(fleet, "v2") == ["h1", "h2"]);
        Ok(())
    })
}

/// Whether no host was stopped before every other one that had the version by then had been ready for so long.
fn waited(fleet: &Fleet, sampler: &Sampler, version: &str, seconds: f64) -> Result<()> {
    let seen = sampler.timeline()?;
    for (fallen, at) in seen.falls() {
        for host in fleet.hosts.iter().filter(|host| host.name != fallen) {
            let mut starts = sampler.starts(&host.name)?.into_iter();
            let ready = starts.rfind(|(began, ready)| began == version && *ready < at);
            let ready = ready.map(|(_, ready)| ready);
            ensure!(
                ready.is_none_or(|ready| at - ready >= seconds),
                "{fallen} stopped at {at:.2}, and {} was ready at {ready:?} only:\n{}",
                host.name,
                seen.text()
            );
        }
    }
    Ok(())
}

#[test]
fn an_update_goes_from_host_to_host_under_its_budget_in_an_order_of_its_own() -> Result<()> {
    on_store(5, 1, |fleet| {
        let web = Rolling::new(fleet, "web");
        let first = web.begin(fleet, &web.good("v1"))?;
        drop(first);
        let mut orders = BTreeSet::new();
        let one_by_one = json!({"minReadySeconds": 1});
        let rollouts = [
            (web.good("v2"), "v2", 1),
            (web.good("v3").spec(&budget(2, 0)), "v3", 2),
            (web.slow("v4").spec(&one_by_one), "v4", 1),
            // Pods that serve, though not for long enough by what the change asks for, are no ill ones.
            (web.good("v5").spec(&json!({"minReadySeconds": 4})), "v5", 1),
            (
                web.good("v6")
                    .spec(&json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}})),
                "v6",
                3,
            ),
        ];
        for (set, version, most) in rollouts {
            let sampler = web.sampler(fleet)?;
            fleet.apply(&set)?;
            web.ends_at(fleet, &sampler, version)?;
            let seen = sampler.within(most)?;
            began(fleet, &sampler, version, 1)?;
            if version == "v4" {
                waited(fleet, &sampler, version, 1.0)?;
            }
            orders.insert(seen.order(version));
        }
        ensure!(orders.len() > 1, "the same order in every rollout: {orders:?}");
        Ok(())
    })
}

#[test]
fn two_sets_roll_at_once_each_under_its_own_budget() -> Result<()> {
    on_store(4, 1, |fleet| {
        let (web, api) = (Rolling::new(fleet, "web"), Rolling::new(fleet, "api"));
        let watched = [web.begin(fleet, &web.good("v1"))?, api.begin(fleet, &api.good("v1"))?];
        fleet.apply(&web.good("v2"))?;
        fleet.apply(&api.good("v2").spec(&budget(2, 0)))?;
        for (set, sampler, most) in [(&web, &watched[0], 1), (&api, &watched[1], 2)] {
            set.ends_at(fleet, sampler, "v2")?;
            sampler.within(most)?;
            began(fleet, sampler, "v2", 1)?;
            History::of(fleet, &set.name)?.check(most)?;
        }
        with_two_pods(fleet, &web)
    })
}

/// The new pod beside the old one: no host is ever unavailable, whether the new one is good or not.
fn with_two_pods(fleet: &Fleet, web: &Rolling) -> Result<()> {
    let sampler = web.sampler(fleet)?;
    for (version, most) in [("v3", 1), ("v4", 2)] {
        fleet.apply(&web.slow(version).spec(&budget(0, most)))?;
        web.ends_at(fleet, &sampler, version)?;
        began(fleet, &sampler, version, 1)?;
    }
    let deadline = annotated(&[("progress-deadline-seconds", "3")]);
    fleet.apply(&web.never_ready("v5").spec(&budget(0, 1)).metadata(&deadline))?;
    let stuck = web.failed(fleet, 1)?;
    ensure!(web.tried(fleet, "v5") == stuck, "{:?} tried it", web.tried(fleet, "v5"));
    fleet.apply(&web.good("v6").spec(&budget(0, 1)))?;
    web.ends_at(fleet, &sampler, "v6")?;
    let seen = sampler.within(0)?;
    let both = |moment: &Moment| moment.serving.values().filter(|all| all.len() > 1).count();
    let most = seen.0.iter().map(both).max();
    ensure!((1..=2).contains(&most.unwrap_or(0)), "{most:?} hosts had two pods:\n{}", seen.text());
    Ok(())
}
