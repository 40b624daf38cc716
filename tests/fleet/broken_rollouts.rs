//! What breaks while a rollout is on its way: agents, members of etcd, links, hosts. The budget holds, no turn is lost,
//! and the rollout ends by itself when what broke is back.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::history::History;
use crate::hosts::{Fleet, on_store};
use crate::support::set::Set;
use crate::versions::{Rolling, began, budget};

/// The number of a host.
fn number(fleet: &Fleet, name: &str) -> Result<usize> {
    let found = fleet.hosts.iter().position(|host| host.name == name);
    found.with_context(|| format!("no host {name}"))
}

/// A version with turns that last long enough to break something in them.
fn lasting(set: Set) -> Set {
    set.spec(&json!({"minReadySeconds": 2}))
}

/// The next of a row of numbers that look random, and are the same each time.
fn shuffled(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn agents_die_at_any_time_and_so_does_the_leader_of_the_store() -> Result<()> {
    on_store(4, 3, |fleet| {
        let web = Rolling::new(fleet, "web");
        let sampler = web.begin(fleet, &web.good("v1"))?;
        let mut seed = u64::from(std::process::id());
        fleet.apply(&web.slow("v2"))?;
        for _ in 0..12 {
            if sampler.now()?.only("v2") {
                break;
            }
            let (victim, pause) = (shuffled(&mut seed), shuffled(&mut seed));
            let victim = usize::try_from(victim)? % fleet.hosts.len();
            thread::park_timeout(Duration::from_millis(100 + pause % 500));
            fleet.hosts[victim].restart_agent()?;
        }
        web.ends_at(fleet, &sampler, "v2")?;
        began(fleet, &sampler, "v2", 1)?;
        sampler.within(1)?;

        fleet.apply(&lasting(web.good("v3")).spec(&budget(2, 0)))?;
        sampler.falls()?;
        let leader = fleet.etcd()?.leader()?;
        fleet.etcd()?.kill(leader)?;
        sampler.some_serve("v3", 2)?;
        let leader = fleet.etcd()?.leader()?;
        fleet.etcd()?.start_all()?;
        fleet.etcd()?.kill(leader)?;
        web.ends_at(fleet, &sampler, "v3")?;
        began(fleet, &sampler, "v3", 1)?;
        sampler.within(2)?;
        let sum = History::of(fleet, "web")?.check(2)?;
        ensure!(sum.released.is_empty(), "{sum:?}");
        Ok(())
    })
}

#[test]
fn a_host_that_is_cut_off_or_booted_in_its_turn_finishes_by_itself() -> Result<()> {
    on_store(4, 1, |fleet| {
        let web = Rolling::new(fleet, "web");
        let sampler = web.begin(fleet, &web.good("v1"))?;
        fleet.apply(&lasting(web.slow("v2")))?;
        let fallen = sampler.falls()?;
        let host = number(fleet, &fallen)?;
        fleet.cut(host)?;
        sampler.some_serve("v2", 1)?;
        fleet.gone(&fallen)?;
        fleet.says("web", &[&fallen])?;
        ensure!(web.turn(fleet, &fallen)?.is_object(), "its turn ended without it");
        ensure!(web.tried(fleet, "v2") == [fallen.clone()], "{:?}", web.tried(fleet, "v2"));
        ensure!(sampler.now()?.unavailable().is_empty(), "it finishes alone");
        fleet.heal(host)?;
        web.ends_at(fleet, &sampler, "v2")?;
        began(fleet, &sampler, "v2", 1)?;

        fleet.apply(&lasting(web.slow("v3")))?;
        let fallen = sampler.falls()?;
        let host = number(fleet, &fallen)?;
        fleet.hosts[host].kill()?;
        fleet.gone(&fallen)?;
        ensure!(web.nodes(fleet, "turn")? == [fallen.clone()], "its turn ended without it");
        // It has no store when it boots, and goes on where it was.
        fleet.cut(host)?;
        fleet.restart(host)?;
        sampler.some_serve("v3", 1)?;
        fleet.heal(host)?;
        web.ends_at(fleet, &sampler, "v3")?;
        sampler.within(1)?;
        let sum = History::of(fleet, "web")?.check(1)?;
        ensure!(sum.released.is_empty(), "{sum:?}");
        Ok(())
    })
}

#[test]
fn the_only_member_of_the_store_dies_again_and_again_and_no_turn_is_lost_or_taken_twice()
-> Result<()> {
    on_store(4, 1, |fleet| {
        let web = Rolling::new(fleet, "web");
        let sampler = web.begin(fleet, &web.good("v1"))?;
        fleet.apply(&lasting(web.good("v2")).spec(&budget(2, 0)))?;
        for updated in [0, 1, 3] {
            // Right in a claim, and right when a turn is about to end.
            if updated == 0 {
                sampler.falls()?;
            } else {
                sampler.some_serve("v2", updated)?;
            }
            fleet.etcd()?.kill(0)?;
            thread::park_timeout(Duration::from_millis(300));
            fleet.etcd()?.revive(0)?;
        }
        web.ends_at(fleet, &sampler, "v2")?;
        began(fleet, &sampler, "v2", 1)?;
        sampler.within(2)?;
        let sum = History::of(fleet, "web")?.check(2)?;
        ensure!(sum.claims.len() == 4 && sum.released.is_empty(), "{sum:?}");
        Ok(())
    })
}
