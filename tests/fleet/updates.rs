//! Updates that are good: every host ends updated, and never more of them than may be are unavailable meanwhile.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::hosts::{Fleet, on_fleet, on_store};
use crate::sampler::Sampler;
use crate::support::wait::{PATIENCE, patiently};
use crate::versions::{Rolling, began, budget};

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
            let starts = sampler.starts(&host.name)?.into_iter();
            let ready = starts.filter(|(began, ready)| began == version && *ready < at).last();
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
            (
                web.good("v5")
                    .spec(&json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}})),
                "v5",
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
