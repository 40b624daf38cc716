//! The order of a pod's life: init containers, sidecars, hooks, restart policies, and its end.

use std::fs;

use anyhow::Result;
use serde_json::json;

use crate::support::pod::Pod;
use crate::support::set::{STAY, Set};
use crate::support::{Host, on_host};

/// A script that writes one line into the common file and goes on.
fn says(word: &str) -> String {
    format!("echo {word} >> /out/order")
}

/// A container that writes a line, stays, and writes another one when it is told to stop.
fn stays(word: &str) -> String {
    format!(
        "echo {word} >> /out/order; trap 'echo {word}-stopped >> /out/order; exit 0' TERM; \
         while :; do sleep 1000 & wait $!; done"
    )
}

/// The lines of the common file.
fn order(host: &Host) -> Vec<String> {
    let text = fs::read_to_string(host.path("out/order")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn init_containers_run_to_their_end_one_after_the_other_before_the_rest() -> Result<()> {
    on_host(|host| {
        let set = Set::named("web")
            .script(&format!("{}; {STAY}", says("main")))
            .init("one", &format!("sleep 0.3; {}", says("one")), &json!({}))
            .init("two", &says("two"), &json!({}))
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        let pod = host.ready("web")?;
        Host::reads(&host.path("out/order"), "main")?;
        assert_eq!(order(host), ["one", "two", "main"]);
        for name in ["one", "two"] {
            let ended = &pod.container(name)["state"]["terminated"];
            assert_eq!(ended["reason"], "Completed", "{ended}");
            assert_eq!(pod.container(name)["ready"], true);
        }
        assert!(pod.condition("Initialized"));
        for name in ["one", "two", "main"] {
            assert_eq!(pod.restarts(name), 0, "{:#}", pod.container(name));
        }
        assert!(host.podward(&["logs", &pod.name(), "-c", "one"])?.is_empty());
        Ok(())
    })
}

#[test]
fn a_failing_init_container_is_tried_again_and_keeps_the_rest_waiting() -> Result<()> {
    on_host(|host| {
        let set =
            Set::named("web").init("one", "[ -e /out/go ]", &json!({})).out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        let pod = host.until_pod("web", "in back-off", |pod| {
            pod.waits_for("one") == "CrashLoopBackOff" && pod.restarts("one") > 0
        })?;
        assert_eq!(pod.phase(), "Pending");
        assert_eq!(pod.waits_for("main"), "PodInitializing");
        assert!(!pod.condition("Initialized"));
        let shown = host.podward(&["get", "pods"])?;
        assert!(shown.contains("Init:CrashLoopBackOff"), "{shown}");
        fs::write(host.path("out/go"), "")?;
        host.ready("web")?;
        Ok(())
    })
}

#[test]
fn a_sidecar_starts_before_and_ends_after_what_it_serves() -> Result<()> {
    on_host(|host| {
        let startup = json!({
            "restartPolicy": "Always",
            "startupProbe": {"exec": {"command": ["test", "-e", "/out/started"]}, "periodSeconds": 1, "failureThreshold": 60},
        });
        let side = stays("side")
            .replace("echo side ", "echo side >> /out/order; sleep 0.3; touch /out/started; true ");
        let set = Set::named("web")
            .script(&stays("main"))
            .init("side", &side, &startup)
            .init("init", &says("init"), &json!({}))
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        let pod = host.ready("web")?;
        assert!(pod.container("side")["started"] == true, "{}", pod.container("side"));
        let shown = host.podward(&["get", "pods"])?;
        assert!(shown.contains("2/2"), "{shown}");
        Host::reads(&host.path("out/order"), "main")?;
        host.remove("web.yaml")?;
        host.gone("web")?;
        let order = order(host);
        assert_eq!(order, ["side", "init", "main", "main-stopped", "side-stopped"]);
        Ok(())
    })
}

#[test]
fn a_sidecar_that_dies_is_started_again_and_nothing_else_is() -> Result<()> {
    on_host(|host| {
        let set = Set::named("web")
            .init("side", STAY, &json!({"restartPolicy": "Always"}))
            .init("init", &says("init"), &json!({}))
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        let before = host.ready("web")?;
        let pid = nix::unistd::Pid::from_raw(host.pid_of(&before.id("side"))?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        let after =
            host.until_pod("web", "whole again", |pod| pod.ready() && pod.restarts("side") == 1)?;
        assert_eq!(after.running_since("main"), before.running_since("main"));
        assert_eq!(order(host), ["init"]);
        Ok(())
    })
}

#[test]
fn a_post_start_hook_holds_up_readiness_and_the_next_container() -> Result<()> {
    on_host(|host| {
        let hook = "echo hook >> /out/order; while ! [ -e /out/go ]; do sleep 0.05; done";
        let set = Set::named("web")
            .script(&stays("main"))
            .container(
                &json!({"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", hook]}}}}),
            )
            .also("next", &stays("next"))
            .out(&host.path("out"));
        // The image is there then: a start that fails for want of it holds up nobody.
        host.podward(&["sync"])?;
        host.write("web.yaml", &set.text())?;
        Host::reads(&host.path("out/order"), "hook")?;
        let pod = host.until_pod("web", "hooking", |pod| !pod.waits_for("next").is_empty())?;
        assert_eq!(pod.phase(), "Pending");
        assert!(!pod.ready());
        fs::write(host.path("out/go"), "")?;
        host.ready("web")?;
        Host::reads(&host.path("out/order"), "next")?;
        Ok(())
    })
}

#[test]
fn a_failed_post_start_hook_restarts_its_container() -> Result<()> {
    on_host(|host| {
        let set = Set::named("web")
            .container(&json!({"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "echo broken; exit 3"]}}}}));
        host.write("web.yaml", &set.text())?;
        host.until_pod("web", "restarted", |pod| pod.restarts("main") > 0)?;
        assert!(host.has_event("FailedPostStartHook", "PostStartHook failed")?);
        Ok(())
    })
}

#[test]
fn a_pre_stop_hook_runs_before_the_stop_signal() -> Result<()> {
    on_host(|host| {
        let set = Set::named("web")
            .script(&stays("main"))
            .container(&json!({"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", says("hook")]}}}}))
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        host.ready("web")?;
        Host::reads(&host.path("out/order"), "main")?;
        host.remove("web.yaml")?;
        host.gone("web")?;
        assert_eq!(order(host), ["main", "hook", "main-stopped"]);
        Ok(())
    })
}

#[test]
fn a_hook_may_sleep() -> Result<()> {
    on_host(|host| {
        let set = Set::named("web").container(&json!({
            "lifecycle": {"postStart": {"sleep": {"seconds": 1}}, "preStop": {"sleep": {"seconds": 1}}},
        }));
        host.write("web.yaml", &set.text())?;
        let pod = host.ready("web")?;
        let started: jiff::Timestamp = pod.running_since("main").parse()?;
        let conditions = pod.0["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
        let ready: jiff::Timestamp =
            ready.and_then(|c| c["lastTransitionTime"].as_str()).unwrap_or_default().parse()?;
        // Kubernetes' times are whole seconds.
        assert!(ready.as_second() > started.as_second(), "{started} {ready}");
        host.remove("web.yaml")?;
        host.gone("web")
    })
}

#[test]
fn a_pre_stop_hook_that_hangs_is_left_behind_when_the_grace_is_over() -> Result<()> {
    on_host(|host| {
        let set = Set::named("web")
            .script(&stays("main"))
            .container(&json!({"lifecycle": {"preStop": {"exec": {"command": ["sleep", "1000"]}}}}))
            .pod(&json!({"terminationGracePeriodSeconds": 1}))
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        host.ready("web")?;
        Host::reads(&host.path("out/order"), "main")?;
        host.remove("web.yaml")?;
        host.gone("web")?;
        assert_eq!(order(host), ["main", "main-stopped"]);
        Ok(())
    })
}

#[test]
fn a_container_of_its_own_policy_ends_and_the_pod_is_renewed() -> Result<()> {
    on_host(|host| {
        let set = Set::named("once")
            .script(&says("ran"))
            .container(&json!({"restartPolicy": "Never"}))
            .out(&host.path("out"));
        host.write("once.yaml", &set.text())?;
        Host::reads(&host.path("out/order"), "ran\nran")?;
        assert!(host.has_event("SucceededDaemonPod", "once-")?);
        Ok(())
    })
}

#[test]
fn a_rule_restarts_a_container_that_its_policy_would_leave() -> Result<()> {
    on_host(|host| {
        let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}});
        let set = Set::named("web")
            .script("[ -e /out/second ] && exit 0; touch /out/second; exit 42")
            .container(&json!({"restartPolicy": "Never", "restartPolicyRules": [rule]}))
            .also("other", STAY)
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        let pod = host.until_pod("web", "ended well", |pod| {
            pod.container("main")["state"]["terminated"]["exitCode"] == 0
        })?;
        assert_eq!(pod.restarts("main"), 1);
        assert_eq!(pod.phase(), "Running");
        Ok(())
    })
}

#[test]
fn after_a_reboot_the_init_containers_run_again() -> Result<()> {
    on_host(|host| {
        let set = Set::named("web")
            .script(&stays("main"))
            .init("init", &says("init"), &json!({}))
            .init("side", &stays("side"), &json!({"restartPolicy": "Always"}))
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        host.ready("web")?;
        Host::reads(&host.path("out/order"), "main")?;
        host.reboot()?;
        Host::reads(&host.path("out/order"), "main\ninit\nside\nmain")?;
        host.ready("web")?;
        Ok(())
    })
}

#[test]
fn a_new_agent_goes_on_in_the_middle_of_init_containers_and_hooks() -> Result<()> {
    on_host(|host| {
        let hook = "echo hook >> /out/order; while ! [ -e /out/two ]; do sleep 0.05; done; true";
        let set = Set::named("web")
            .script(&stays("main"))
            .container(
                &json!({"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", hook]}}}}),
            )
            .init("one", &says("one"), &json!({}))
            .init(
                "wait",
                "echo wait >> /out/order; while ! [ -e /out/one ]; do sleep 0.05; done",
                &json!({}),
            )
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        Host::reads(&host.path("out/order"), "wait")?;
        host.restart_agent()?;
        fs::write(host.path("out/one"), "")?;
        Host::reads(&host.path("out/order"), "hook")?;
        host.restart_agent()?;
        host.until_pod("web", "hooking", |pod| pod.container("main")["ready"] == false)?;
        fs::write(host.path("out/two"), "")?;
        let pod = host.ready("web")?;
        assert_eq!(pod.restarts("main"), 0, "{}", host.podward(&["get", "events"])?);
        // An agent that dies in the very start of a hook leaves the next one no other choice than to run it again.
        let mut order = order(host);
        order.dedup();
        assert_eq!(order, ["one", "wait", "main", "hook"]);
        Ok(())
    })
}

#[test]
fn an_agent_killed_in_a_pre_stop_hook_leaves_the_stop_to_the_next_one() -> Result<()> {
    on_host(|host| {
        let hook = "echo hook >> /out/order; while ! [ -e /out/go ]; do sleep 0.05; done";
        let set = Set::named("web")
            .script(&stays("main"))
            .container(
                &json!({"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", hook]}}}}),
            )
            .pod(&json!({"terminationGracePeriodSeconds": 60}))
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        host.ready("web")?;
        Host::reads(&host.path("out/order"), "main")?;
        host.remove("web.yaml")?;
        Host::reads(&host.path("out/order"), "hook")?;
        host.restart_agent()?;
        host.until_pod("web", "terminating", Pod::terminating)?;
        fs::write(host.path("out/go"), "")?;
        host.gone("web")?;
        assert_eq!(order(host).last().map(String::as_str), Some("main-stopped"));
        Ok(())
    })
}
