//! What breaks around a fleet: members of etcd, links, disks, servers. No running pod stops or is started again.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::hosts::{Fleet, Host, on_store, said};
use crate::steady::{Everywhere, follows, settled, unchanged};
use crate::support::set::Set;
use crate::support::small_disk::SmallDisk;
use crate::support::wait::{PATIENCE, patiently};

#[test]
fn etcd_may_die_and_come_back() -> Result<()> {
    on_store(3, 1, |fleet| {
        let before = settled(fleet)?;
        let ready = fleet.each(|host| host.noted("StoreReady"))?;
        fleet.etcd()?.kill(0)?;
        fleet.each(|host| host.notes("StoreUnreachable", 0))?;
        // The view of each host goes on, and says what it does not know.
        let nodes = fleet.hosts[0].podward(&["get", "nodes", "-o", "json"])?;
        ensure!(nodes.contains("StoreUnreachable"), "{nodes}");
        let asked = fleet.hosts[0].run(&["get", "pods", "-A"])?;
        let (pods, warning) = (said("get", &asked)?, String::from_utf8_lossy(&asked.stderr));
        ensure!(pods.contains("web-"), "{pods}");
        ensure!(warning.contains("this is what node h1 knows; its specs are from"), "{warning}");
        fleet.hosts[0].restart_agent()?;
        unchanged(fleet, &before)?;
        fleet.etcd()?.revive(0)?;
        for (host, ready) in fleet.hosts.iter().zip(ready).skip(1) {
            host.notes("StoreReady", ready)?;
        }
        follows(fleet, "later", &before)
    })
}

#[test]
fn an_etcd_that_lets_a_host_in_no_more_stops_nothing() -> Result<()> {
    on_store(1, 1, |fleet| {
        let before = settled(fleet)?;
        fleet.etcd()?.enable_auth()?;
        fleet.hosts[0].restart_agent()?;
        fleet.hosts[0].notes("StoreDenied", 0)?;
        unchanged(fleet, &before)?;
        fleet.etcd()?.ctl(&["auth", "disable"])?;
        fleet.hosts[0].notes("StoreReady", 0)?;
        follows(fleet, "later", &before)
    })
}

#[test]
fn the_leader_of_three_members_may_die() -> Result<()> {
    on_store(2, 3, |fleet| {
        let before = settled(fleet)?;
        let leader = fleet.etcd()?.leader()?;
        fleet.etcd()?.kill(leader)?;
        fleet.etcd()?.leader()?;
        follows(fleet, "later", &before)
    })
}

#[test]
fn a_host_that_was_cut_off_catches_up_also_when_the_store_forgot_what_it_missed() -> Result<()> {
    on_store(3, 1, |fleet| {
        fleet.apply(&Set::named("old"))?;
        fleet.each(|host| host.runs("old"))?;
        let before = settled(fleet)?;
        fleet.cut(0)?;
        fleet.hosts[0].notes("StoreUnreachable", 0)?;
        fleet.apply(&Set::named("late"))?;
        fleet.podward(&["delete", "ds", "old", "--wait=false"])?;
        for host in &fleet.hosts[1..] {
            host.runs("late")?;
            host.lacks("old")?;
        }
        fleet.etcd()?.compact()?;
        ensure!(fleet.hosts[0].running()? == before[0], "a host that is cut off changes nothing");
        fleet.heal(0)?;
        fleet.hosts[0].runs("late")?;
        fleet.hosts[0].lacks("old")?;
        let web: Everywhere = before
            .into_iter()
            .zip(fleet.each(|host| host.runs("web"))?)
            .map(|(all, web)| all.into_iter().filter(|one| one.id == web.id("main")).collect())
            .collect();
        ensure!(web.iter().all(|one| one.len() == 1), "{web:?}");
        unchanged(fleet, &web)
    })
}

#[test]
fn a_host_that_boots_without_a_network_starts_the_same_pods() -> Result<()> {
    on_store(1, 1, |fleet| {
        settled(fleet)?;
        fleet.cut(0)?;
        fleet.hosts[0].kill()?;
        fleet.restart(0)?;
        let web = fleet.hosts[0].runs("web")?;
        ensure!(fleet.hosts[0].noted("StoreReady")? == 0, "there is no network");
        let before = fleet.running()?;
        fleet.heal(0)?;
        fleet.hosts[0].notes("StoreReady", 0)?;
        follows(fleet, "later", &before)?;
        ensure!(fleet.hosts[0].runs("web")?.uid() == web.uid(), "the pod was replaced");
        Ok(())
    })
}

#[test]
fn a_full_disk_under_the_state_stops_nothing() -> Result<()> {
    let Some(mut fleet) = Fleet::with_store(1)? else {
        return Ok(());
    };
    let disk = SmallDisk::of(24)?;
    let state = disk.path().join("state");
    fs::create_dir_all(state.join("images"))?;
    fs::copy(fleet.path("busybox.tar"), state.join("images/busybox.tar"))?;
    fleet.join(1, &json!({"paths": {"state": state}}))?;
    let outcome = full_disk(&mut fleet, &disk);
    outcome.map_err(|error| error.context(fleet.last_words()))
}

/// Fills the disk, lets things happen, and gives the room back.
fn full_disk(fleet: &mut Fleet, disk: &SmallDisk) -> Result<()> {
    let before = settled(fleet)?;
    let rest = usize::try_from(disk.free()? >> 20)?;
    disk.fill(rest)?;
    crumbs(disk.path())?;
    // What is new cannot be kept, and is not begun, or is begun later; what runs does not care.
    fleet.apply(&Set::named("late"))?;
    fleet.podward(&["label", "node", "h1", "full=yes"])?;
    fleet.hosts[0].until("the label to arrive", || {
        let node = fleet.hosts[0].podward(&["get", "nodes", "-o", "json"])?;
        Ok(node.contains("\"full\"").then_some(()))
    })?;
    unchanged(fleet, &before)?;
    fleet.hosts[0].restart_agent()?;
    fleet.hosts[0].runs("web")?;
    unchanged(fleet, &before)?;
    fs::remove_file(disk.path().join("crumbs"))?;
    disk.fill(0)?;
    fleet.hosts[0].runs("late")?;
    let records = fs::read_dir(disk.path().join("state/pods"))?.count();
    ensure!(records == 2, "{records} records of 2 pods: attempts that failed left theirs");
    unchanged(fleet, &before)
}

/// Takes the last bytes of a disk.
fn crumbs(disk: &Path) -> Result<()> {
    use std::io::Write;
    let mut file = fs::File::create(disk.join("crumbs"))?;
    while file.write(&[1; 512]).is_ok_and(|written| written > 0) {}
    Ok(())
}

#[test]
fn a_server_that_answers_garbage_changes_nothing() -> Result<()> {
    let Some(mut fleet) = Fleet::hub()? else {
        return Ok(());
    };
    let page = fleet.path("page/sets.yaml");
    fs::create_dir_all(fleet.path("page"))?;
    fs::write(&page, Set::named("web").text())?;
    let httpd = ["httpd", "-p", "10.88.0.1:80", "-h", &fleet.path("page").display().to_string()];
    said("httpd", &fleet.at_hub("busybox", &httpd)?)?;
    let http = json!({"url": "http://10.88.0.1/sets.yaml", "interval": "1s", "timeout": "2s"});
    fleet.join(2, &json!({"sources": [{"http": http}]}))?;
    let outcome = garbage(&mut fleet, &page);
    outcome.map_err(|error| error.context(fleet.last_words()))
}

/// Serves one wrong thing after the other.
fn garbage(fleet: &mut Fleet, page: &Path) -> Result<()> {
    fleet.each(|host| host.runs("web"))?;
    let before = fleet.running()?;
    let good = Set::named("web").text();
    let wrong: [(&str, Vec<u8>); 5] = [
        ("bytes", (0..=255).cycle().take(4000).collect()),
        ("nothing", vec![]),
        ("half", good.as_bytes()[..good.len() / 2].to_vec()),
        ("a page for people", b"<html><body>503 try again later</body></html>".to_vec()),
        (
            "an API's error",
            b"{\"kind\": \"Status\", \"apiVersion\": \"v1\", \"code\": 503}".to_vec(),
        ),
    ];
    for (what, bytes) in wrong {
        fs::write(page, bytes)?;
        for host in &fleet.hosts {
            let show = || Ok(host.complaints()?.contains("fault: ").then_some(()));
            host.until(&format!("a fault about {what}"), show)?;
        }
        unchanged(fleet, &before)?;
        fs::write(page, &good)?;
        for host in &fleet.hosts {
            let clear = || Ok((!host.complaints()?.contains("fault: ")).then_some(()));
            host.until(&format!("no fault after {what}"), clear)?;
        }
    }
    fs::remove_file(page)?;
    let gone = |host: &Host| {
        host.until("a fault about 404", || Ok(host.complaints()?.contains("404").then_some(())))
    };
    fleet.each(gone)?;
    unchanged(fleet, &before)?;
    fs::write(page, Set::named("other").text())?;
    fleet.each(|host| host.runs("other").and_then(|_| host.lacks("web"))).map(drop)
}

#[test]
fn a_second_host_with_a_name_that_is_taken_is_refused_with_a_reason() -> Result<()> {
    on_store(1, 1, |fleet| {
        let before = settled(fleet)?;
        fleet.join(1, &json!({"node": {"name": "h1"}}))?;
        let second = &fleet.hosts[1];
        second.notes("NodeNameTaken", 0)?;
        let events = second.podward(&["get", "events", "-A"])?;
        ensure!(
            events.contains("another installation") && events.contains("10.88.0.11"),
            "{events}"
        );
        ensure!(second.running()?.is_empty(), "it runs what is the first one's");
        fleet.apply(&Set::named("later"))?;
        fleet.hosts[0].runs("later")?;
        unchanged(fleet, &before)?;
        ensure!(fleet.hosts[1].running()?.is_empty(), "it runs what is the first one's");
        Ok(())
    })
}

#[test]
fn metrics_tell_how_the_store_is() -> Result<()> {
    on_store(0, 1, |fleet| {
        fleet.join(1, &json!({"metrics": {"listen": "127.0.0.1:9577"}}))?;
        let page = |fleet: &Fleet| {
            let wget = ["wget", "-q", "-O", "-", "http://127.0.0.1:9577/metrics"];
            said("wget", &fleet.hosts[0].exec("busybox", &wget)?)
        };
        let says = |fleet: &Fleet, line: &str| {
            patiently(&format!("the metric {line}"), PATIENCE, || {
                Ok(page(fleet)?.lines().any(|found| found == line).then_some(()))
            })
        };
        settled(fleet)?;
        says(fleet, "podward_store_up 1.0")?;
        says(fleet, "podward_pods{phase=\"Running\"} 1.0")?;
        says(fleet, "podward_sets{state=\"wanted\"} 1.0")?;
        fleet.etcd()?.kill(0)?;
        says(fleet, "podward_store_up 0.0")?;
        ensure!(
            page(fleet)?
                .contains("podward_source_fault{source=\"etcd:/podward/default/spec/\"} 1.0")
        );
        Ok(())
    })
}
