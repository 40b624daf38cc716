//! Processes: what confines them, how they are stopped, what they write to, and whom they see.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::support::set::{STAY, Set};
use crate::support::wait::{PATIENCE, patiently};
use crate::support::{Host, on_host};

/// What a container does before it stays: run `script`, whose output lands in `/out/said`.
fn report(script: &str) -> String {
    format!("{{ {script}; echo end; }} >/out/said 2>&1; {STAY}")
}

/// Runs a set that reports once, and returns what its container said.
fn reported(host: &Host, set: &Set) -> Result<String> {
    host.write("set.yaml", &set.text())?;
    Host::reads(&host.path("out/said"), "end\n")
}

/// What shows the filter of system calls, and whether namespaces can be made.
const FILTER: &str =
    "grep '^Seccomp:' /proc/self/status; unshare -U true && echo made || echo refused";

#[test]
fn the_default_seccomp_profile_filters_and_nothing_does_without_one() -> Result<()> {
    on_host(|host| {
        let plain = Set::named("plain").script(&report(FILTER)).out(&host.path("out"));
        let said = reported(host, &plain)?;
        assert!(said.contains("Seccomp:\t0"), "{said}");
        host.remove("set.yaml")?;
        host.gone("plain")?;
        fs::remove_file(host.path("out/said"))?;

        let filtered =
            plain.pod(&json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}));
        let said = reported(host, &filtered)?;
        assert!(said.contains("Seccomp:\t2") && said.contains("refused"), "{said}");
        Ok(())
    })
}

#[test]
fn privilege_and_the_containers_own_word_lift_the_pods_filter() -> Result<()> {
    on_host(|host| {
        let pod = json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}});
        for (name, own) in [
            ("open", json!({"seccompProfile": {"type": "Unconfined"}})),
            ("privileged", json!({"privileged": true})),
        ] {
            let set = Set::named(name)
                .script(&report(FILTER))
                .pod(&pod)
                .container(&json!({"securityContext": own}))
                .out(&host.path("out"));
            let said = reported(host, &set)?;
            assert!(said.contains("Seccomp:\t0"), "{name}: {said}");
            host.remove("set.yaml")?;
            host.gone(name)?;
            fs::remove_file(host.path("out/said"))?;
        }
        Ok(())
    })
}

#[test]
fn a_seccomp_profile_of_the_operators_is_named_when_it_is_missing_and_taken_when_it_is_there()
-> Result<()> {
    on_host(|host| {
        let set = Set::named("own")
            .script(&report("mkdir /tmp/x && echo made || echo refused"))
            .container(&json!({"securityContext": {"seccompProfile": {
                "type": "Localhost", "localhostProfile": "profiles/no-mkdir.json",
            }}}))
            .out(&host.path("out"));
        host.write("set.yaml", &set.text())?;
        let path = host.path("state/seccomp/profiles/no-mkdir.json");
        let waits = host.until_pod("own", "waiting for its profile", |pod| {
            pod.waits_for("main") == "CreateContainerError"
        })?;
        let waiting = &waits.container("main")["state"]["waiting"];
        assert!(waiting.to_string().contains(&path.display().to_string()), "{waiting}");

        fs::create_dir_all(path.parent().context("a folder")?)?;
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        ]});
        fs::write(&path, profile.to_string())?;
        let said = Host::reads(&host.path("out/said"), "end\n")?;
        assert!(said.contains("refused"), "{said}");
        Ok(())
    })
}

#[test]
fn an_apparmor_profile_that_cannot_be_enforced_is_refused_in_the_kubelets_words() -> Result<()> {
    if fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok() {
        return Ok(());
    }
    on_host(|host| {
        let profile = |own| json!({"securityContext": {"appArmorProfile": own}});
        let named = Set::named("named")
            .container(&profile(json!({"type": "Localhost", "localhostProfile": "mine"})));
        let usual = Set::named("usual").container(&profile(json!({"type": "RuntimeDefault"})));
        host.write("sets.yaml", &format!("{}---\n{}", named.text(), usual.text()))?;
        host.running("usual")?;
        host.until_pod("named", "refused", |pod| {
            let waiting = pod.container("main")["state"]["waiting"].to_string();
            waiting.contains("Cannot enforce AppArmor: AppArmor is not enabled on the host")
        })?;
        Ok(())
    })
}

#[test]
fn a_terminal_is_one_its_output_is_logged_in_lines_and_reading_from_it_waits() -> Result<()> {
    on_host(|host| {
        let script = "test -t 0 -a -t 1 -a -t 2 && echo terminal $TERM; echo error >&2; \
                      exec 3<&0; (read line <&3; echo read >/out/read) & echo end >/out/said; trap 'exit 0' TERM; \
                      while :; do sleep 1000 & wait $!; done";
        let set = Set::named("tty")
            .script(script)
            .container(&json!({"tty": true, "stdin": true}))
            .out(&host.path("out"));
        reported(host, &set)?;
        let pod = host.running("tty")?;
        let log = Host::reads(&host.log_path(&pod, "main", 0), "error\n")?;
        let lines: Vec<&str> = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
        assert_eq!(lines, ["terminal xterm", "error"], "{log}");
        assert!(log.lines().all(|line| line.contains(" stdout F ")), "{log}");
        ensure!(!host.path("out/read").exists(), "reading from a silent terminal came to an end");

        host.restart_agent()?;
        assert_eq!(host.running("tty")?.restarts("main"), 0);
        Ok(())
    })
}

#[test]
fn a_container_with_a_terminal_is_logged_again_after_a_restart() -> Result<()> {
    on_host(|host| {
        let set = Set::named("twice").script("echo once; exit 3").container(&json!({"tty": true}));
        host.write("set.yaml", &set.text())?;
        let pod = host.until_pod("twice", "restarted", |pod| pod.restarts("main") > 0)?;
        for attempt in [0, 1] {
            Host::reads(&host.log_path(&pod, "main", attempt), " stdout F once\n")?;
        }
        Ok(())
    })
}

/// Two containers that share their processes; the second one says whom it sees.
fn sharing(name: &str, host: &Host) -> Set {
    let seen = "until grep -q 4711 /proc/[0-9]*/cmdline; do sleep 0.1; done; \
                tr '\\0' ' ' </proc/1/cmdline; echo; readlink /proc/self/ns/pid";
    Set::named(name)
        .script(&format!("sleep 4711 & {STAY}"))
        .also("second", &report(seen))
        .pod(&json!({"shareProcessNamespace": true}))
        .out(&host.path("out"))
}

#[test]
fn containers_that_share_their_processes_see_each_other_below_a_first_process_that_is_not_theirs()
-> Result<()> {
    on_host(|host| {
        let said = reported(host, &sharing("shared", host))?;
        assert!(said.contains("podward hold"), "{said}");
        let pod = host.running("shared")?;
        let namespace = |name: &str| -> Result<String> {
            let link = format!("/proc/{}/ns/pid", host.pid_of(&pod.id(name))?);
            Ok(fs::read_link(link)?.display().to_string())
        };
        assert_eq!(namespace("main")?, namespace("second")?);
        assert!(said.contains(&namespace("main")?), "{said}");
        assert_eq!(host.containerd.shims().len(), 1, "one shim for the pod and its holder");
        assert_eq!(host.containerd.containers()?.len(), 3, "two containers and the holder");
        Ok(())
    })
}

#[test]
fn the_first_process_outlives_the_agent_and_the_containers_but_not_a_reboot() -> Result<()> {
    on_host(|host| {
        host.write("set.yaml", &sharing("shared", host).text())?;
        let pod = host.running("shared")?;
        let holder = holder(host, &pod)?;
        host.restart_agent()?;
        let same = host.running("shared")?;
        assert_eq!((same.uid(), same.restarts("main")), (pod.uid(), 0));

        let main = nix::unistd::Pid::from_raw(host.pid_of(&pod.id("main"))?);
        nix::sys::signal::kill(main, nix::sys::signal::Signal::SIGKILL)?;
        let again = host.until_pod("shared", "started again", |pod| {
            pod.running() && pod.restarts("main") == 1
        })?;
        assert_eq!(again.restarts("second"), 0);
        assert_eq!(self::holder(host, &again)?, holder);

        host.reboot()?;
        let reborn = host.running("shared")?;
        assert_ne!(self::holder(host, &reborn)?, holder);
        Ok(())
    })
}

/// The process that holds a pod's shared namespace.
fn holder(host: &Host, pod: &crate::support::pod::Pod) -> Result<i32> {
    let own = [pod.id("main"), pod.id("second")];
    let tasks = host.containerd.tasks()?;
    let holder = tasks.iter().find(|task| !own.contains(&task.id) && task.status == "RUNNING");
    Ok(holder.with_context(|| format!("no holder in {tasks:?}"))?.pid)
}

#[test]
fn a_pod_whose_first_process_is_killed_is_made_anew_whole() -> Result<()> {
    on_host(|host| {
        host.write("set.yaml", &sharing("shared", host).text())?;
        let pod = host.running("shared")?;
        let before = holder(host, &pod)?;
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(before),
            nix::sys::signal::Signal::SIGKILL,
        )?;
        host.until_pod("shared", "made anew", |pod| {
            pod.running() && holder(host, pod).is_ok_and(|holder| holder != before)
        })?;
        assert_eq!(host.containerd.containers()?.len(), 3);
        Ok(())
    })
}

/// A set whose template asks for a device.
fn with_device(device: &str, set: &Set) -> Result<String> {
    let mut document: serde_json::Value = serde_json::from_str(&set.text())?;
    document["spec"]["template"]["metadata"]["annotations"] =
        json!({"cdi.k8s.io/test": format!("vendor.com/thing={device}")});
    Ok(format!("{document:#}\n"))
}

#[test]
fn a_device_by_annotation_brings_its_node_variables_and_mounts_and_a_missing_one_is_named()
-> Result<()> {
    on_host(|host| {
        host.configure("cdiDirs", json!([host.path("cdi")]))?;
        host.restart_agent()?;
        fs::create_dir(host.path("cdi"))?;
        fs::write(host.path("given"), "given\n")?;
        let vendor = json!({
            "cdiVersion": "0.6.0",
            "kind": "vendor.com/thing",
            "devices": [{"name": "one", "containerEdits": {
                "env": ["THING=one"],
                "deviceNodes": [{"path": "/dev/thing", "hostPath": "/dev/null"}],
                "mounts": [{"hostPath": host.path("given"), "containerPath": "/etc/thing",
                            "options": ["ro", "bind"]}],
            }}],
        });
        fs::write(host.path("cdi/vendor.json"), vendor.to_string())?;
        let set = Set::named("device")
            .script(&report("echo $THING; cat /etc/thing; echo x >/dev/thing && ls -l /dev/thing"))
            .out(&host.path("out"));
        host.write("set.yaml", &with_device("one", &set)?)?;
        let said = Host::reads(&host.path("out/said"), "end\n")?;
        assert!(said.starts_with("one\ngiven\n") && said.contains("1,   3"), "{said}");

        host.write("missing.yaml", &with_device("two", &Set::named("missing"))?)?;
        let dir = host.path("cdi").display().to_string();
        host.until_pod("missing", "waiting for its device", |pod| {
            let waiting = pod.container("main")["state"]["waiting"].to_string();
            waiting.contains("CreateContainerError")
                && waiting.contains("vendor.com/thing=two")
                && waiting.contains(&dir)
        })?;
        Ok(())
    })
}

/// A set whose container has these limits of CPU and memory, and requests below them.
fn limited(name: &str, cpu: &str, memory: &str) -> Set {
    Set::named(name).container(&json!({"resources": {
        "requests": {"cpu": "50m", "memory": "4Mi"},
        "limits": {"cpu": cpu, "memory": memory},
    }}))
}

/// The limit of memory of a process' cgroup, and of the one above it.
fn memory_limits(pid: i32) -> Result<(String, String)> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let counted = groups.lines().find_map(|line| line.split_once(":memory:"));
    let (at, file) = if let Some((_, path)) = counted {
        (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes")
    } else {
        let path = groups.trim().rsplit_once(':').context("a cgroup")?.1;
        (format!("/sys/fs/cgroup{path}"), "memory.max")
    };
    let above = at.rsplit_once('/').context("a cgroup above")?.0;
    let limit = |at: &str| fs::read_to_string(format!("{at}/{file}"));
    Ok((limit(&at)?.trim().to_owned(), limit(above)?.trim().to_owned()))
}

#[test]
fn new_limits_reach_a_running_pod_without_a_restart() -> Result<()> {
    on_host(|host| {
        host.write("set.yaml", &limited("sized", "200m", "48Mi").text())?;
        let pod = host.running("sized")?;
        let pid = host.pid_of(&pod.id("main"))?;
        assert_eq!(memory_limits(pid)?.0, "50331648");
        for (cpu, memory, bytes) in [("400m", "96Mi", "100663296"), ("100m", "32Mi", "33554432")] {
            let before = host.running("sized")?.hash();
            host.write("set.yaml", &limited("sized", cpu, memory).text())?;
            let resized =
                host.until_pod("sized", "resized", |pod| pod.running() && pod.hash() != before)?;
            assert_eq!((resized.uid(), resized.restarts("main")), (pod.uid(), 0));
            assert_eq!(host.pid_of(&resized.id("main"))?, pid);
            assert_eq!(memory_limits(pid)?, (bytes.to_owned(), bytes.to_owned()));
            let shown = &resized.0["spec"]["containers"][0]["resources"]["limits"]["memory"];
            assert_eq!(shown, memory);
        }
        assert!(host.has_event("ResizeCompleted", "")?);
        let hash = host.running("sized")?.hash();
        host.restart_agent()?;
        let same = host.running("sized")?;
        assert_eq!((same.uid(), same.hash(), same.restarts("main")), (pod.uid(), hash, 0));
        Ok(())
    })
}

#[test]
fn a_limit_below_what_is_used_is_said_and_the_pod_is_replaced() -> Result<()> {
    on_host(|host| {
        let fill = "[ -e /out/said ] || dd if=/dev/zero of=/dev/shm/full bs=1M count=30 2>&1; \
                    echo end >/out/said; ";
        let set = |memory| {
            limited("full", "200m", memory).script(&format!("{fill}{STAY}")).out(&host.path("out"))
        };
        let _ = reported(host, &set("64Mi"))?;
        let pod = host.running("full")?;
        host.write("set.yaml", &set("16Mi").text())?;
        host.until_pod("full", "replaced", |new| new.running() && new.uid() != pod.uid())?;
        assert!(host.has_event("ResizeError", "below current usage")?);
        Ok(())
    })
}

#[test]
fn a_containers_own_stop_signal_is_the_one_that_it_gets() -> Result<()> {
    on_host(|host| {
        let script = "trap 'echo usr1 >/out/said; exit 0' USR1; trap 'echo term >/out/said; exit 0' TERM; \
                      echo end >/out/ready; while :; do sleep 1000 & wait $!; done";
        let set = Set::named("signal")
            .script(script)
            .pod(&json!({"os": {"name": "linux"}}))
            .container(&json!({"lifecycle": {"stopSignal": "SIGUSR1"}}))
            .out(&host.path("out"));
        host.write("set.yaml", &set.text())?;
        Host::reads(&host.path("out/ready"), "end\n")?;
        host.remove("set.yaml")?;
        host.gone("signal")?;
        assert_eq!(fs::read_to_string(host.path("out/said"))?, "usr1\n");
        Ok(())
    })
}

#[test]
fn an_agent_that_is_killed_while_it_makes_the_first_process_is_made_good_by_the_next() -> Result<()>
{
    on_host(|host| {
        for what in ["record", "task"] {
            host.write("set.yaml", &sharing("shared", host).text())?;
            patiently(&format!("a {what} of the pod"), PATIENCE, || {
                let there = match what {
                    "record" => !host.containerd.containers()?.is_empty(),
                    _ => !host.containerd.tasks()?.is_empty(),
                };
                Ok(there.then_some(()))
            })?;
            host.restart_agent()?;
            host.running("shared")?;
            assert_eq!(host.containerd.containers()?.len(), 3);
            assert_eq!(host.containerd.shims().len(), 1);
            host.remove("set.yaml")?;
            host.gone("shared")?;
        }
        Ok(())
    })
}
