//! Living: ends and restarts, replacement, eviction, and that sets do not hold each other up.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::pod::Pod;
use crate::support::set::{STAY, Set};
use crate::support::wait::clock;
use crate::support::{Host, on_host};

#[test]
fn a_container_that_fails_is_started_again_and_counted() -> Result<()> {
    on_host(|host| {
        let script = format!("[ -e /out/once ] || {{ touch /out/once; exit 3; }}; {STAY}");
        host.write(
            "fails.yaml",
            &Set::named("fails").script(&script).out(&host.path("out")).text(),
        )?;
        let pod = host.until_pod("fails", "running again", |pod| {
            pod.running() && pod.restarts("main") == 1
        })?;
        assert_eq!(pod.last_end("main")["exitCode"], 3);
        assert_eq!(pod.last_end("main")["reason"], "Error");
        Ok(())
    })
}

#[test]
fn a_container_that_succeeds_is_started_again_too() -> Result<()> {
    on_host(|host| {
        let script = format!("[ -e /out/once ] || {{ touch /out/once; exit 0; }}; {STAY}");
        host.write("done.yaml", &Set::named("done").script(&script).out(&host.path("out")).text())?;
        let pod = host
            .until_pod("done", "running again", |pod| pod.running() && pod.restarts("main") == 1)?;
        assert_eq!(pod.last_end("main")["reason"], "Completed");
        Ok(())
    })
}

#[test]
fn a_killed_process_is_back_at_once_in_the_same_pod() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        kill(Pid::from_raw(host.pid_of(&before.id("main"))?), Signal::SIGKILL)?;
        let after = host
            .until_pod("web", "running again", |pod| pod.running() && pod.restarts("main") == 1)?;
        assert_eq!((after.uid(), after.name()), (before.uid(), before.name()));
        assert_ne!(after.id("main"), before.id("main"));
        assert_eq!(after.last_end("main")["exitCode"], 137);
        Ok(())
    })
}

#[test]
fn a_container_that_keeps_failing_backs_off() -> Result<()> {
    on_host(|host| {
        host.write("loop.yaml", &Set::named("loop").script("exit 1").text())?;
        let pod = host.until_pod("loop", "in CrashLoopBackOff", |pod| {
            pod.waits_for("main") == "CrashLoopBackOff"
        })?;
        let message = pod.container("main")["state"]["waiting"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(message.contains("back-off 10s") || message.contains("back-off 20s"), "{message}");
        assert_eq!(pod.phase(), "Running", "the phase is the pod's, not the container's");
        host.until("an event BackOff", || Ok(host.has_event("BackOff", "loop")?.then_some(())))?;
        Ok(())
    })
}

#[test]
fn memory_over_the_limit_is_told_from_other_kills() -> Result<()> {
    on_host(|host| {
        // One process only, so that the one that the kernel kills is the container's own.
        let script =
            "[ -e /out/once ] && exec sh -c \"$STAY\"; touch /out/once; exec tail /dev/zero";
        let set = Set::named("greedy")
            .script(script)
            .container(&json!({
                "env": [{"name": "STAY", "value": STAY}],
                "resources": {"limits": {"memory": "32Mi"}},
            }))
            .out(&host.path("out"));
        host.write("greedy.yaml", &set.text())?;
        let pod = host.until_pod("greedy", "running again", |pod| {
            pod.running() && pod.restarts("main") >= 1
        })?;
        assert_eq!(pod.last_end("main")["reason"], "OOMKilled");
        assert_eq!(pod.last_end("main")["exitCode"], 137);
        Ok(())
    })
}

#[test]
fn stopping_asks_first_and_kills_after_the_grace_period() -> Result<()> {
    on_host(|host| {
        let polite =
            "trap 'echo asked >/out/polite; exit 0' TERM; while :; do sleep 1000 & wait $!; done";
        let stubborn =
            "trap 'echo asked >/out/stubborn' TERM; while :; do sleep 1000 & wait $!; done";
        let set = Set::named("stop")
            .script(polite)
            .also("stubborn", stubborn)
            .pod(&json!({"terminationGracePeriodSeconds": 2}))
            .out(&host.path("out"));
        host.write("stop.yaml", &set.text())?;
        host.running("stop")?;
        let start = clock();
        host.remove("stop.yaml")?;
        host.gone("stop")?;
        let took = start.elapsed();
        Host::reads(&host.path("out/polite"), "asked")?;
        Host::reads(&host.path("out/stubborn"), "asked")?;
        assert!(took >= Duration::from_millis(1900), "{took:?}");
        Ok(())
    })
}

#[test]
fn a_changed_template_replaces_the_pod() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        host.write(
            "web.yaml",
            &Set::named("web").container(&json!({"env": [{"name": "NEW", "value": "1"}]})).text(),
        )?;
        let after =
            host.until_pod("web", "replaced", |pod| pod.running() && pod.uid() != before.uid())?;
        assert_ne!(after.hash(), before.hash());
        Ok(())
    })
}

#[test]
fn a_change_outside_the_template_replaces_nothing() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        host.write("web.yaml", &Set::named("web").spec(&json!({"minReadySeconds": 1})).text())?;
        host.podward(&["sync"])?;
        let after = host.running("web")?;
        assert_eq!((after.uid(), after.id("main")), (before.uid(), before.id("main")));
        Ok(())
    })
}

#[test]
fn on_delete_waits_for_the_operator() -> Result<()> {
    on_host(|host| {
        let set = Set::named("web").spec(&json!({"updateStrategy": {"type": "OnDelete"}}));
        host.write("web.yaml", &set.text())?;
        let before = host.running("web")?;
        host.write(
            "web.yaml",
            &set.container(&json!({"env": [{"name": "NEW", "value": "1"}]})).text(),
        )?;
        host.podward(&["sync"])?;
        assert_eq!(host.running("web")?.uid(), before.uid());
        host.podward(&["delete", "pod", &before.name()])?;
        let after =
            host.until_pod("web", "replaced", |pod| pod.running() && pod.uid() != before.uid())?;
        assert_ne!(after.hash(), before.hash());
        Ok(())
    })
}

#[test]
fn a_label_brings_a_set_and_its_loss_takes_it_away_without_a_restart() -> Result<()> {
    on_host(|host| {
        host.write(
            "ssd.yaml",
            &Set::named("ssd").pod(&json!({"nodeSelector": {"disk": "ssd"}})).text(),
        )?;
        host.podward(&["sync"])?;
        assert!(host.pods_of("ssd")?.is_empty());
        let agent = host.agent_pid()?;
        host.describe_node(&json!({"disk": "ssd"}), &json!([]))?;
        host.running("ssd")?;
        assert_eq!(host.agent_pid()?, agent);
        host.describe_node(&json!({}), &json!([]))?;
        host.gone("ssd")
    })
}

#[test]
fn a_no_schedule_taint_keeps_what_runs_and_stops_what_comes() -> Result<()> {
    on_host(|host| {
        host.write("old.yaml", &Set::named("old").text())?;
        let before = host.running("old")?;
        host.describe_node(&json!({}), &json!([{"key": "full", "effect": "NoSchedule"}]))?;
        host.write("new.yaml", &Set::named("new").text())?;
        host.write(
            "tolerant.yaml",
            &Set::named("tolerant")
                .pod(&json!({"tolerations": [{"key": "full", "operator": "Exists"}]}))
                .text(),
        )?;
        host.running("tolerant")?;
        host.podward(&["sync"])?;
        assert!(host.pods_of("new")?.is_empty());
        assert_eq!(host.running("old")?.uid(), before.uid());
        Ok(())
    })
}

#[test]
fn a_no_execute_taint_evicts_at_once_or_after_the_tolerated_time() -> Result<()> {
    on_host(|host| {
        let patient = Set::named("patient").pod(&json!({"tolerations": [
            {"key": "drain", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3},
        ]}));
        host.write("sets.yaml", &format!("{}---\n{}", Set::named("plain").text(), patient.text()))?;
        host.running("plain")?;
        let kept = host.running("patient")?;
        let start = clock();
        host.describe_node(&json!({}), &json!([{"key": "drain", "effect": "NoExecute"}]))?;
        host.gone("plain")?;
        assert_eq!(host.running("patient")?.uid(), kept.uid());
        host.gone("patient")?;
        assert!(start.elapsed() >= Duration::from_millis(2900), "{:?}", start.elapsed());
        host.describe_node(&json!({}), &json!([]))?;
        host.running("plain")?;
        host.running("patient")?;
        Ok(())
    })
}

#[test]
fn a_set_that_hangs_delays_no_other() -> Result<()> {
    on_host(|host| {
        let stubborn = Set::named("stubborn")
            .script("trap '' TERM; while :; do sleep 1000 & wait $!; done")
            .pod(&json!({"terminationGracePeriodSeconds": 600}));
        host.write("stubborn.yaml", &stubborn.text())?;
        host.running("stubborn")?;
        host.remove("stubborn.yaml")?;
        let stubborn = host.until_pod("stubborn", "terminating", Pod::terminating)?;
        host.write(
            "broken.yaml",
            &Set::named("broken").container(&json!({"command": ["/no/such/file"]})).text(),
        )?;
        host.write("quick.yaml", &Set::named("quick").text())?;
        host.running("quick")?;
        host.remove("quick.yaml")?;
        host.gone("quick")?;
        let left = host.pods_of("stubborn")?;
        assert!(
            !left.is_empty() && left.iter().all(Pod::terminating),
            "it still has its grace period"
        );
        host.podward(&["delete", "pod", &stubborn.name(), "--grace-period", "1"])?;
        Ok(())
    })
}

#[test]
fn a_command_that_is_not_there_is_said_plainly() -> Result<()> {
    on_host(|host| {
        host.write(
            "broken.yaml",
            &Set::named("broken").container(&json!({"command": ["/no/such/file"]})).text(),
        )?;
        host.until("an event that names the command", || {
            let events = host.objects("events")?;
            Ok(events
                .iter()
                .any(|event| {
                    event["type"] == "Warning"
                        && event["message"]
                            .as_str()
                            .is_some_and(|text| text.contains("/no/such/file"))
                })
                .then_some(()))
        })?;
        host.write("broken.yaml", &Set::named("broken").text())?;
        host.running("broken")?;
        Ok(())
    })
}

#[test]
fn deleting_a_pod_brings_another_one() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let before = host.running("web")?;
        host.podward(&["delete", "pod", &before.name()])?;
        let after =
            host.until_pod("web", "another one", |pod| pod.running() && pod.uid() != before.uid())?;
        assert_eq!(after.hash(), before.hash());
        assert_eq!(after.restarts("main"), 0);
        Ok(())
    })
}
