//! Outliving: pods do not notice the agent's death, containerd's restart or, but for a new start, a reboot.

use std::fs;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::pod::Pod;
use crate::support::set::{STAY, Set};
use crate::support::{Host, on_host};

/// What must stay the same when nothing was restarted.
fn identity(pod: &Pod) -> (String, String, String, u64) {
    (pod.uid(), pod.id("main"), pod.running_since("main"), pod.restarts("main"))
}

#[test]
fn a_killed_agent_adopts_what_runs_unchanged() -> Result<()> {
    on_host(|host| {
        for name in ["one", "two", "three"] {
            host.write(&format!("{name}.yaml"), &Set::named(name).text())?;
        }
        let before =
            ["one", "two", "three"].map(|name| host.running(name).map(|pod| identity(&pod)));
        let tasks = host.containerd.tasks()?;
        for _ in 0..3 {
            host.restart_agent()?;
            host.podward(&["sync"])?;
        }
        let after =
            ["one", "two", "three"].map(|name| host.running(name).map(|pod| identity(&pod)));
        for (before, after) in before.into_iter().zip(after) {
            assert_eq!(before?, after?);
        }
        assert_eq!(host.containerd.tasks()?, tasks);
        Ok(())
    })
}

#[test]
fn a_stopped_agent_leaves_its_pods_running() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        host.stop_agent()?;
        assert!(host.pid_of(&before.id("main")).is_ok());
        host.start_agent()?;
        assert_eq!(identity(&host.running("web")?), identity(&before));
        Ok(())
    })
}

#[test]
fn an_end_while_the_agent_was_away_is_counted_and_mended() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        host.kill_agent()?;
        kill(Pid::from_raw(host.pid_of(&before.id("main"))?), Signal::SIGKILL)?;
        host.start_agent()?;
        let after = host
            .until_pod("web", "running again", |pod| pod.running() && pod.restarts("main") == 1)?;
        assert_eq!(after.uid(), before.uid());
        assert_eq!(after.last_end("main")["exitCode"], 137);
        Ok(())
    })
}

#[test]
fn a_set_removed_while_the_agent_was_away_goes() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        host.running("web")?;
        host.kill_agent()?;
        host.remove("web.yaml")?;
        host.start_agent()?;
        host.gone("web")
    })
}

#[test]
fn a_template_changed_while_the_agent_was_away_is_rolled_out() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        host.kill_agent()?;
        host.write("web.yaml", &Set::named("web").script(&format!("echo new; {STAY}")).text())?;
        host.start_agent()?;
        host.until_pod("web", "replaced", |pod| pod.running() && pod.hash() != before.hash())?;
        Ok(())
    })
}

#[test]
fn a_stop_that_the_agent_began_is_finished_by_the_next_one() -> Result<()> {
    on_host(|host| {
        let stubborn = Set::named("stubborn")
            .script("trap '' TERM; while :; do sleep 1000 & wait $!; done")
            .pod(&json!({"terminationGracePeriodSeconds": 3}));
        host.write("stubborn.yaml", &stubborn.text())?;
        host.running("stubborn")?;
        host.remove("stubborn.yaml")?;
        host.until_pod("stubborn", "terminating", Pod::terminating)?;
        host.restart_agent()?;
        host.gone("stubborn")
    })
}

#[test]
fn restart_counts_and_back_off_outlive_the_agent() -> Result<()> {
    on_host(|host| {
        host.write("loop.yaml", &Set::named("loop").script("exit 1").text())?;
        let before = host.until_pod("loop", "in CrashLoopBackOff", |pod| {
            pod.waits_for("main") == "CrashLoopBackOff"
        })?;
        host.restart_agent()?;
        let after = host.until_pod("loop", "seen again", |pod| !pod.container("main").is_null())?;
        assert!(
            after.restarts("main") >= before.restarts("main"),
            "{} against {}",
            after.restarts("main"),
            before.restarts("main")
        );
        assert!(
            after.restarts("main") <= before.restarts("main") + 1,
            "the agent's restart skipped the back-off"
        );
        Ok(())
    })
}

#[test]
fn containerd_may_restart_under_running_pods() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        host.containerd.kill()?;
        assert_eq!(
            host.podward(&["get", "pods"])?.lines().count(),
            2,
            "the agent answers without containerd"
        );
        host.containerd.start()?;
        host.write("next.yaml", &Set::named("next").text())?;
        host.running("next")?;
        assert_eq!(identity(&host.running("web")?), identity(&before));

        // And ends are seen again.
        kill(Pid::from_raw(host.pid_of(&before.id("main"))?), Signal::SIGKILL)?;
        host.until_pod("web", "running again", |pod| pod.running() && pod.restarts("main") == 1)?;
        Ok(())
    })
}

#[test]
fn an_end_while_containerd_was_away_is_mended() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        let pid = host.pid_of(&before.id("main"))?;
        host.containerd.kill()?;
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        host.containerd.start()?;
        host.until_pod("web", "running again", |pod| pod.running() && pod.restarts("main") == 1)?;
        Ok(())
    })
}

#[test]
fn an_agent_that_starts_before_containerd_waits_for_it() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        host.kill_agent()?;
        host.containerd.kill()?;
        host.spawn_agent()?;
        host.containerd.start()?;
        host.await_ready()?;
        assert_eq!(identity(&host.running("web")?), identity(&before));
        Ok(())
    })
}

#[test]
fn a_lost_shim_is_a_lost_container_and_nothing_more() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        for shim in host.containerd.shims() {
            kill(Pid::from_raw(shim), Signal::SIGKILL)?;
        }
        let after = host.until_pod("web", "running again", |pod| {
            pod.running() && pod.id("main") != before.id("main")
        })?;
        assert_eq!(after.uid(), before.uid());
        assert_eq!(after.restarts("main"), 1);
        Ok(())
    })
}

#[test]
fn pods_come_back_after_a_reboot() -> Result<()> {
    on_host(|host| {
        let counted = format!("echo start >>/out/starts; {STAY}");
        host.write("web.yaml", &Set::named("web").script(&counted).out(&host.path("out")).text())?;
        host.write("two.yaml", &Set::named("two").also("second", STAY).text())?;
        let before = (host.running("web")?, host.running("two")?);
        host.reboot()?;
        host.until_pod("web", "running again", |pod| {
            pod.running() && pod.id("main") != before.0.id("main")
        })?;
        host.until_pod("two", "running again", |pod| {
            pod.running() && pod.id("second") != before.1.id("second")
        })?;
        assert_eq!(
            fs::read_to_string(host.path("out/starts"))?,
            "start\nstart\n",
            "started once per boot"
        );
        assert_eq!(
            host.containerd.containers()?.len(),
            3,
            "and no record of the time before is left"
        );
        Ok(())
    })
}

#[test]
fn a_host_that_boots_without_its_manifests_starts_what_it_last_knew() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        host.running("web")?;
        // The directory is not there yet, as when its file system is mounted late.
        fs::rename(host.path("manifests"), host.path("elsewhere"))?;
        host.reboot()?;
        host.running("web")?;
        fs::rename(host.path("elsewhere"), host.path("manifests"))?;
        host.podward(&["sync"])?;
        host.running("web")?;
        Ok(())
    })
}

#[test]
fn no_log_line_is_lost_while_the_agent_is_away() -> Result<()> {
    on_host(|host| {
        let count =
            "trap 'exit 0' TERM; n=0; while :; do n=$((n+1)); echo line $n; usleep 5000; done";
        host.write("count.yaml", &Set::named("count").script(count).text())?;
        let pod = host.running("count")?;
        let log = host.log_path(&pod, "main", 0);
        Host::reads(&log, "line 20\n")?;
        host.kill_agent()?;
        let lines = |text: &str| text.lines().count();
        let then = lines(&fs::read_to_string(&log)?);
        Host::reads(&log, &format!("line {}\n", then + 100))?;
        host.start_agent()?;
        Host::reads(&log, &format!("line {}\n", then + 200))?;
        let said = host.podward(&["logs", &pod.name()])?;
        for (number, line) in said.lines().enumerate() {
            assert_eq!(line, format!("line {}", number + 1));
        }
        Ok(())
    })
}

#[test]
fn a_broken_record_on_disk_stops_nothing() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        host.running("web")?;
        host.kill_agent()?;
        let torn = torn_files(host)?;
        assert!(torn > 0, "the agent keeps no records in its state directory");
        host.start_agent()?;
        host.running("web")?;
        assert_eq!(host.pods_of("web")?.len(), 1);
        Ok(())
    })
}

/// Cuts every JSON file of the state directory in half, as a full disk or a bad moment could.
fn torn_files(host: &Host) -> Result<usize> {
    let mut folders = vec![host.path("state")];
    let mut torn = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let bytes = fs::read(&path)?;
                fs::write(&path, &bytes[..bytes.len() / 2])?;
                torn += 1;
            }
        }
    }
    Ok(torn)
}
