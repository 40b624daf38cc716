//! The harness is tested first: a leak check that sees nothing would let everything pass.

use anyhow::Result;

use crate::support::Host;
use crate::support::containerd::processes;
use crate::support::image::{self, IMAGE};
use crate::support::leaks::{hierarchies, mounts_below};
use crate::support::wait::{PATIENCE, patiently};

#[test]
fn a_container_that_nobody_wants_is_found_in_every_place() -> Result<()> {
    let Some(host) = Host::new()? else {
        return Ok(());
    };
    let archive = host.path("image.tar");
    image::write(&archive, IMAGE)?;
    host.containerd.ctr(&["images", "import", &archive.display().to_string()])?;
    assert_eq!(host.leaks()?, Vec::<String>::new(), "a fresh host is clean");

    let cgroup = format!("{}/pod1/leaked", host.cgroup);
    host.containerd.ctr(&["run", "-d", "--cgroup", &cgroup, IMAGE, "leaked", "sleep", "1000"])?;
    let found = host.leaks()?;
    for kind in ["container leaked", "task leaked", "snapshot leaked", "shim ", "mount ", "cgroup "]
    {
        assert!(found.iter().any(|leak| leak.starts_with(kind)), "no {kind:?} in {found:#?}");
    }

    host.containerd.ctr(&["tasks", "rm", "-f", "leaked"])?;
    host.containerd.ctr(&["containers", "rm", "leaked"])?;
    crate::support::leaks::remove_cgroups(&host.cgroup);
    patiently("the container to be gone", PATIENCE, || Ok(host.leaks()?.is_empty().then_some(())))
}

#[test]
fn containers_survive_their_daemon_and_nothing_survives_the_host() -> Result<()> {
    let Some(mut host) = Host::new()? else {
        return Ok(());
    };
    let archive = host.path("image.tar");
    image::write(&archive, IMAGE)?;
    host.containerd.ctr(&["images", "import", &archive.display().to_string()])?;
    let cgroup = format!("{}/pod1/kept", host.cgroup);
    host.containerd.ctr(&["run", "-d", "--cgroup", &cgroup, IMAGE, "kept", "sleep", "1000"])?;
    let before = host.containerd.tasks()?;
    assert_eq!(before.len(), 1);

    host.containerd.kill()?;
    host.containerd.start()?;
    assert_eq!(host.containerd.tasks()?, before);

    let (dir, parent, pid) = (host.path(""), host.cgroup.clone(), before[0].pid);
    drop(host);
    assert!(!dir.exists(), "{} is left", dir.display());
    assert_eq!(mounts_below(&dir), Vec::<std::path::PathBuf>::new());
    assert!(hierarchies().iter().all(|place| !place.join(&parent[1..]).exists()));
    let line = dir.display().to_string();
    let ours = processes(|command| command.iter().any(|word| word.contains(&line)));
    assert_eq!(ours, Vec::<i32>::new());
    let alive = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert_eq!(alive, "", "the container's process outlives its host");
    Ok(())
}
