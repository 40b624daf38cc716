//! Stores that are not what they were: wiped, replaced, restored from an old copy, emptied. No pod stops, the state has a
//! name, and an operator's word leads out of it.

use anyhow::{Context, Result};
use serde_json::json;

use crate::hosts::{Fleet, on_store};
use crate::steady::{Everywhere, follows, settled, unchanged};
use crate::support::set::Set;

/// Has all hosts follow the store as it is.
fn accept(fleet: &Fleet) -> Result<()> {
    let ready: Vec<u64> = fleet.each(|host| host.noted("StoreReady"))?;
    fleet.podward(&["store", "accept", "--yes"])?;
    for (host, ready) in fleet.hosts.iter().zip(ready) {
        host.notes("StoreReady", ready)?;
    }
    Ok(())
}

#[test]
fn a_wiped_store_stops_nothing_and_is_accepted_by_an_operators_word() -> Result<()> {
    on_store(2, 1, |fleet| {
        let before = settled(fleet)?;
        fleet.etcd()?.wipe(None)?;
        fleet.each(|host| host.notes("StoreRegressed", 0))?;
        unchanged(fleet, &before)?;
        // An agent that starts now still knows better.
        fleet.hosts[0].restart_agent()?;
        fleet.hosts[0].notes("StoreRegressed", 0)?;
        unchanged(fleet, &before)?;

        fleet.apply(&Set::named("web"))?;
        accept(fleet)?;
        follows(fleet, "more", &before)
    })
}

#[test]
fn another_cluster_is_foreign_until_an_operator_says_otherwise() -> Result<()> {
    on_store(2, 1, |fleet| {
        let before = settled(fleet)?;
        fleet.etcd()?.wipe(Some("another-cluster"))?;
        fleet.each(|host| host.notes("StoreForeign", 0))?;
        unchanged(fleet, &before)?;
        fleet.apply(&Set::named("web"))?;
        accept(fleet)?;
        follows(fleet, "more", &before)
    })
}

#[test]
fn an_old_copy_that_is_restored_takes_nothing_away() -> Result<()> {
    on_store(2, 1, |fleet| {
        settled(fleet)?;
        let saved = fleet.etcd()?.save("old.db")?;
        fleet.apply(&Set::named("newer"))?;
        fleet.each(|host| host.runs("newer"))?;
        let before = fleet.running()?;
        fleet.etcd()?.restore(&saved, None)?;
        fleet.each(|host| host.notes("StoreRegressed", 0))?;
        unchanged(fleet, &before)?;

        // The word says that the copy is what is meant, and the copy knows nothing of the newer set.
        accept(fleet)?;
        fleet.each(|host| host.lacks("newer"))?;
        let web: Everywhere = fleet.running()?;
        for (before, now) in before.iter().zip(&web) {
            assert_eq!(now.len(), 1, "{now:?}");
            assert!(before.contains(&now[0]), "{now:?} is none of {before:?}");
        }
        follows(fleet, "more", &web)
    })
}

#[test]
fn a_prefix_that_is_suddenly_empty_deletes_nothing() -> Result<()> {
    on_store(2, 1, |fleet| {
        settled(fleet)?;
        // A pod that hangs on a label from afar stays as well, though the label's key is gone with the others.
        fleet.podward(&["label", "node", "h1", "h2", "role=edge"])?;
        fleet.apply(&Set::named("called").pod(&json!({"nodeSelector": {"role": "edge"}})))?;
        fleet.each(|host| host.runs("called").map(drop))?;
        let before = fleet.running()?;
        fleet.etcd()?.ctl(&["del", "--prefix", "/podward/default/spec/"])?;
        fleet.each(|host| host.notes("SourceEmpty", 0))?;
        unchanged(fleet, &before)?;
        fleet.hosts[1].restart_agent()?;
        fleet.hosts[1].notes("SourceEmpty", 0)?;
        let complaints = fleet.hosts[1].complaints()?;
        assert!(complaints.contains("SourceEmpty"), "{complaints}");
        unchanged(fleet, &before)?;

        // The next label begins a new key, and takes nothing of the lost one away.
        fleet.podward(&["label", "node", "h1", "h2", "site=north"])?;
        fleet.each(|host| {
            host.until("its new label", || {
                let node = fleet.podward(&["get", "nodes", &host.name, "--show-labels"])?;
                Ok((node.contains("site=north") && node.contains("role=edge")).then_some(()))
            })
        })?;
        follows(fleet, "web", &before).context("applied again it is what it was")?;
        follows(fleet, "more", &before)
    })
}

#[test]
fn nothing_at_all_may_be_what_an_operator_means() -> Result<()> {
    on_store(2, 1, |fleet| {
        settled(fleet)?;
        fleet.etcd()?.ctl(&["del", "--prefix", "/podward/default/spec/"])?;
        fleet.each(|host| host.notes("SourceEmpty", 0))?;
        let hasty = fleet.run(&["store", "accept", "--yes"])?;
        anyhow::ensure!(!hasty.status.success(), "that would end everything");
        fleet.podward(&["store", "accept", "--empty", "--yes"])?;
        fleet.each(|host| host.lacks("web")).map(drop)
    })
}

#[test]
fn a_key_that_is_gone_without_a_tombstone_is_a_fault_and_no_deletion() -> Result<()> {
    on_store(1, 1, |fleet| {
        fleet.apply(&Set::named("other"))?;
        let before = settled(fleet)?;
        fleet.hosts[0].runs("other")?;
        fleet.etcd()?.ctl(&["del", "/podward/default/spec/daemonsets/default/web"])?;
        fleet.hosts[0].until("the fault to show", || {
            Ok(fleet.hosts[0].complaints()?.contains("gone without a tombstone").then_some(()))
        })?;
        unchanged(fleet, &before)
    })
}
