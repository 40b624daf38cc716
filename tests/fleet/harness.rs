//! The harness is tested first: hosts that share something, or a link that is never cut, would let everything pass.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::hosts::{Fleet, on_fleet, processes_of, said};
use crate::support::leaks::{hierarchies, mounts_below};
use crate::support::wait::patiently;

#[test]
fn each_host_has_a_name_and_a_containerd_and_pods_of_its_own() -> Result<()> {
    on_fleet(5, |fleet| {
        fleet.each(|host| host.wants("web"))?;
        let pods = fleet.each(|host| host.runs("web"))?;
        let running = fleet.running()?;
        for (host, (pod, running)) in fleet.hosts.iter().zip(pods.iter().zip(&running)) {
            assert_eq!(pod.0["spec"]["nodeName"], host.name.as_str());
            assert_eq!(running.len(), 1, "{running:?}");
            assert_eq!(running[0].id, pod.id("main"));
            let name = said("hostname", &host.exec("hostname", &[])?)?;
            assert_eq!(name.trim(), host.name);
        }
        fleet.hosts[0].remove("web.yaml")?;
        fleet.hosts[0].lacks("web")?;
        assert_eq!(fleet.hosts[0].running()?, vec![]);
        assert_eq!(fleet.running()?[1..], running[1..], "the other hosts do not care");
        Ok(())
    })
}

/// Whether a host reaches the hub.
fn reaches(fleet: &Fleet, host: usize) -> bool {
    let ping = ["ping", "-c", "1", "-W", "1", "10.88.0.1"];
    fleet.hosts[host].exec("busybox", &ping).is_ok_and(|output| output.status.success())
}

#[test]
fn a_host_is_cut_off_and_healed_killed_and_booted_again() -> Result<()> {
    on_fleet(2, |fleet| {
        fleet.each(|host| host.wants("web"))?;
        fleet.each(|host| host.runs("web"))?;
        let before = fleet.running()?;
        assert!(reaches(fleet, 0) && reaches(fleet, 1));

        fleet.cut(0)?;
        assert!(!reaches(fleet, 0) && reaches(fleet, 1));
        fleet.hosts[0].restart_agent()?;
        fleet.heal(0)?;
        assert!(reaches(fleet, 0));
        assert_eq!(fleet.running()?, before, "neither a cut nor a new agent starts anything again");

        fleet.cut(1)?;
        fleet.hosts[1].kill()?;
        ensure!(fleet.hosts[1].running().is_err(), "a host that is down answers");
        fleet.restart(1)?;
        fleet.hosts[1].runs("web")?;
        assert!(!reaches(fleet, 1), "a host that is cut off stays so when it boots");
        let after = fleet.running()?;
        assert_eq!(after[0], before[0]);
        assert_ne!(after[1], before[1], "a container that was killed is another one");
        Ok(())
    })
}

#[test]
fn nothing_is_left_of_a_fleet_not_even_when_its_test_panics() -> Result<()> {
    let mut trace = None;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        on_fleet(2, |fleet| {
            fleet.hosts[0].wants("web")?;
            fleet.hosts[0].runs("web")?;
            trace = Some((fleet.path(""), fleet.group.clone()));
            panic!("as a test may");
        })
    }));
    let Some((dir, group)) = trace else {
        return outcome.expect("nothing panicked on a fleet");
    };
    assert!(outcome.is_err());
    assert!(!dir.exists(), "{} is left", dir.display());
    assert_eq!(mounts_below(&dir), Vec::<std::path::PathBuf>::new());
    assert!(hierarchies().iter().all(|place| !place.join(&group[1..]).exists()));
    let left = patiently("processes to end", std::time::Duration::from_secs(2), || {
        Ok(processes_of(Path::new(&dir)).is_empty().then_some(()))
    });
    left.map_err(|error| error.context(format!("{:?}", processes_of(&dir))))
}

#[test]
fn two_fleets_beside_each_other_do_not_meet() -> Result<()> {
    on_fleet(1, |one| {
        on_fleet(1, |other| {
            one.hosts[0].wants("web")?;
            one.hosts[0].runs("web")?;
            assert_eq!(other.hosts[0].running()?, vec![]);
            one.cut(0)?;
            assert!(
                !reaches(one, 0) && reaches(other, 0),
                "they have one address and two networks"
            );
            Ok(())
        })
    })
}
