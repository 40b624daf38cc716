//! Running: what a set in the manifests directory becomes.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use crate::support::image::{self, IMAGE};
use crate::support::set::{STAY, Set};
use crate::support::{Host, NOWHERE, on_host};

/// What a container does before it stays: run `script`, whose output lands in `/out/NAME`.
fn report(name: &str, script: &str) -> String {
    format!("{{ {script}; echo end; }} >/out/{name} 2>&1; {STAY}")
}

/// Runs a set that reports once, and returns what its container said.
fn reported(host: &Host, set: &Set) -> Result<String> {
    host.write("set.yaml", &set.text())?;
    Host::reads(&host.path("out/said"), "end\n")
}

/// Whether this process has `CAP_SYS_RESOURCE`.
fn may_lower_scores() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = u64::from_str_radix(line.context("CapEff")?.trim(), 16)?;
    Ok(capabilities & (1 << 24) != 0)
}

#[test]
fn a_set_in_the_directory_becomes_one_running_pod() -> Result<()> {
    on_host(|host| {
        host.write("hello.yaml", &Set::named("hello").text())?;
        let pod = host.running("hello")?;
        assert!(pod.name().starts_with("hello-"), "{}", pod.name());
        assert_eq!(pod.0["spec"]["nodeName"], "it-node");
        assert_eq!(pod.restarts("main"), 0);

        let set = host.until("the set to count its pod", || {
            let sets = host.objects("ds")?;
            Ok(sets.into_iter().find(|set| set["status"]["numberAvailable"] == 1))
        })?;
        for field in [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
        ] {
            assert_eq!(set["status"][field], 1, "{field}");
        }

        let id = pod.id("main");
        assert_eq!(host.containerd.containers()?, std::slice::from_ref(&id));
        let record: serde_json::Value =
            serde_json::from_str(&host.containerd.ctr(&["containers", "info", &id])?)?;
        let labels = &record["Labels"];
        assert_eq!(labels["podward.dev/set"], "default/hello");
        assert_eq!(labels["podward.dev/pod-uid"], pod.uid());
        assert_eq!(labels["podward.dev/container"], "main");
        assert_eq!(labels["podward.dev/template-hash"], pod.hash());
        Ok(())
    })
}

#[test]
fn containers_of_one_pod_share_a_shim_an_ipc_namespace_and_volumes() -> Result<()> {
    on_host(|host| {
        let out = host.path("out");
        let say = |name| {
            report(name, "readlink /proc/self/ns/ipc /proc/self/ns/uts; cat /out/../shared/x")
        };
        let first = format!("echo from-first >/shared/x; {}", say("first"));
        let second = format!("until [ -s /shared/x ]; do :; done; {}", say("second"));
        let mounts = json!([{"name": "out", "mountPath": "/out"}, {"name": "shared", "mountPath": "/shared"}]);
        let container = |name: &str, script: &str| json!({"name": name, "image": IMAGE, "command": ["sh", "-c", script], "volumeMounts": mounts});
        let set = Set::named("two").pod(&json!({
            "containers": [container("first", &first), container("second", &second)],
            "volumes": [{"name": "out", "hostPath": {"path": out}}, {"name": "shared", "emptyDir": {}}],
        }));
        host.write("two.yaml", &set.text())?;
        host.running("two")?;
        let first = Host::reads(&host.path("out/first"), "end\n")?;
        let second = Host::reads(&host.path("out/second"), "end\n")?;
        assert_eq!(first, second);
        assert!(first.contains("from-first"), "{first}");
        let ours = fs::read_link("/proc/self/ns/ipc")?.display().to_string();
        assert!(!first.contains(&ours), "the pod has the host's IPC namespace");
        assert_eq!(host.containerd.shims().len(), 1, "one shim for the pod");
        assert_eq!(host.containerd.containers()?.len(), 2, "and no pause container");
        Ok(())
    })
}

#[test]
fn command_arguments_environment_and_directory_are_as_kubernetes_makes_them() -> Result<()> {
    on_host(|host| {
        let set = Set::named("words")
            .container(&json!({
                "command": ["sh", "-c", report("said", r#"echo "$0 $1 $2"; pwd; echo "$BOTH $FROM_IMAGE""#)],
                "args": ["$(ONE)", "$$(ONE)", "$(NONE)"],
                "workingDir": "/tmp",
                "env": [{"name": "ONE", "value": "1"}, {"name": "BOTH", "value": "$(ONE)+$(LATER)"}, {"name": "LATER", "value": "2"}],
            }))
            .out(&host.path("out"));
        assert_eq!(reported(host, &set)?, "1 $(ONE) $(NONE)\n/tmp\n1+$(LATER) yes\nend\n");
        Ok(())
    })
}

#[test]
fn the_image_gives_what_the_manifest_leaves_out() -> Result<()> {
    on_host(|host| {
        let set = Set::named("image")
            .script(&report("said", "pwd; id -u; echo $PATH"))
            .out(&host.path("out"));
        assert_eq!(reported(host, &set)?, "/srv\n0\n/bin\nend\n");
        Ok(())
    })
}

#[test]
fn a_read_only_volume_refuses_writes() -> Result<()> {
    on_host(|host| {
        fs::write(host.path("out/given"), "given\n")?;
        let set = Set::named("volumes").script(&report("said", "cat /in/given; echo x >/in/new || echo refused")).pod(&json!({
            "volumes": [
                {"name": "out", "hostPath": {"path": host.path("out"), "type": "Directory"}},
                {"name": "made", "hostPath": {"path": host.path("made/deep"), "type": "DirectoryOrCreate"}},
            ],
        })).container(&json!({"volumeMounts": [
            {"name": "out", "mountPath": "/out"},
            {"name": "out", "mountPath": "/in", "readOnly": true},
            {"name": "made", "mountPath": "/made"},
        ]}));
        let said = reported(host, &set)?;
        assert!(said.starts_with("given\n") && said.contains("refused"), "{said}");
        assert!(host.path("made/deep").is_dir());
        assert!(!host.path("out/new").exists());
        Ok(())
    })
}

#[test]
fn a_host_path_of_the_wrong_type_is_said_and_mended_without_a_restart_of_anything() -> Result<()> {
    on_host(|host| {
        let set = Set::named("typed").pod(&json!({
            "volumes": [{"name": "v", "hostPath": {"path": host.path("later"), "type": "Directory"}}],
        })).container(&json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
        host.write("typed.yaml", &set.text())?;
        let path = host.path("later").display().to_string();
        host.until("an event that names the path", || {
            Ok(host.has_event("FailedMount", &path)?.then_some(()))
        })?;
        fs::create_dir(host.path("later"))?;
        host.running("typed")?;
        Ok(())
    })
}

#[test]
fn host_namespaces_are_the_hosts() -> Result<()> {
    on_host(|host| {
        let set = Set::named("ns")
            .pod(&json!({"hostPID": true, "hostIPC": true, "hostNetwork": true}))
            .script(&report("said", "for n in pid ipc net; do readlink /proc/self/ns/$n; done"))
            .out(&host.path("out"));
        let said = reported(host, &set)?;
        for name in ["pid", "ipc", "net"] {
            let ours = fs::read_link(format!("/proc/self/ns/{name}"))?.display().to_string();
            assert!(said.contains(&ours), "{name}: {ours} is not in {said}");
        }
        Ok(())
    })
}

#[test]
fn a_plain_container_has_its_own_processes_and_the_usual_capabilities() -> Result<()> {
    on_host(|host| {
        let set = Set::named("plain")
            .script(&report("said", "set -- /proc/[0-9]*; echo processes $#; grep -E '^(CapBnd|NoNewPrivs):' /proc/self/status; ls /dev"))
            .out(&host.path("out"));
        let said = reported(host, &set)?;
        assert!(said.starts_with("processes 1\n"), "{said}");
        // The default set of fourteen capabilities, as containerd and Docker give it.
        assert!(said.contains("CapBnd:\t00000000a80425fb"), "{said}");
        for device in ["null", "zero", "full", "random", "urandom", "tty", "shm", "pts"] {
            assert!(said.lines().any(|line| line == device), "no /dev/{device}: {said}");
        }
        assert!(
            !said.lines().any(|line| line == "kmsg" || line == "vda" || line == "mem"),
            "{said}"
        );
        Ok(())
    })
}

#[test]
fn a_privileged_container_has_every_capability_and_the_hosts_devices() -> Result<()> {
    on_host(|host| {
        let set = Set::named("privileged")
            .script(&report(
                "said",
                "grep CapEff /proc/self/status; ls /dev; test -w /sys/kernel && echo writable",
            ))
            .container(&json!({"securityContext": {"privileged": true}}))
            .out(&host.path("out"));
        let said = reported(host, &set)?;
        let ours = fs::read_to_string("/proc/self/status")?;
        let all = ours.lines().find(|line| line.starts_with("CapBnd:")).context("CapBnd")?;
        assert!(said.contains(&all.replace("CapBnd", "CapEff")), "{all} against {said}");
        assert!(said.lines().any(|line| line == "kmsg"), "{said}");
        Ok(())
    })
}

#[test]
fn user_capabilities_and_privilege_escalation_are_as_asked() -> Result<()> {
    on_host(|host| {
        fs::set_permissions(host.path("out"), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        let set = Set::named("secure")
            .script(&report("said", "id -u; id -g; id -G; touch /x || echo sealed; grep -E '^(CapBnd|NoNewPrivs):' /proc/self/status"))
            .container(&json!({"securityContext": {
                "runAsUser": 1000, "runAsGroup": 2000,
                "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            }}))
            .out(&host.path("out"));
        let said = reported(host, &set)?;
        assert!(said.starts_with("1000\n2000\n"), "{said}");
        assert!(
            said.contains("63"),
            "uid 1000 is `worker`, whom the image's /etc/group puts into audio: {said}"
        );
        assert!(said.contains("sealed"), "{said}");
        assert!(said.contains("CapBnd:\t0000000000000400"), "{said}");
        assert!(said.contains("NoNewPrivs:\t1"), "{said}");
        Ok(())
    })
}

#[test]
fn a_pod_finds_hosts_hostname_resolver_and_shared_memory() -> Result<()> {
    on_host(|host| {
        let set = Set::named("files")
            .script(&report("said", "cat /etc/hosts; cat /etc/resolv.conf; cat /etc/hostname; hostname; grep ' /dev/shm ' /proc/mounts; echo x >/dev/shm/x"))
            .out(&host.path("out"));
        let said = reported(host, &set)?;
        let hostname = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        assert!(said.contains("127.0.0.1"), "{said}");
        assert!(
            said.matches(&hostname).count() >= 2,
            "a pod on the host's network has its name: {said}"
        );
        assert!(said.contains("tmpfs") || said.contains("shm /dev/shm"), "{said}");
        let resolver = fs::read_to_string("/etc/resolv.conf")?;
        for line in resolver.lines().filter(|line| line.starts_with("nameserver")) {
            assert!(said.contains(line), "{line} is not in {said}");
        }
        Ok(())
    })
}

#[test]
fn resources_become_cgroups_and_the_service_class_decides_who_dies_first() -> Result<()> {
    on_host(|host| {
        let limits = json!({"cpu": "200m", "memory": "48Mi"});
        let guaranteed =
            Set::named("guaranteed").container(&json!({"resources": {"limits": limits}}));
        let burstable = Set::named("burstable")
            .container(&json!({"resources": {"requests": {"memory": "16Mi"}}}));
        host.write(
            "a.yaml",
            &format!(
                "{}---\n{}---\n{}",
                guaranteed.text(),
                burstable.text(),
                Set::named("best").text()
            ),
        )?;
        let mut adjustments = vec![];
        for (name, class) in
            [("guaranteed", "Guaranteed"), ("burstable", "Burstable"), ("best", "BestEffort")]
        {
            let pod = host.running(name)?;
            assert_eq!(pod.qos(), class);
            let pid = host.pid_of(&pod.id("main"))?;
            let adjustment = fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?;
            adjustments.push(adjustment.trim().parse::<i32>()?);
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
            assert!(groups.contains(&host.cgroup), "{groups}");
        }
        // Below one's own value only CAP_SYS_RESOURCE may go, which not every virtual machine's root has.
        if may_lower_scores()? {
            assert_eq!(adjustments[0], -997);
        }
        assert_eq!(adjustments[2], 1000);
        assert!((2..1000).contains(&adjustments[1]), "{adjustments:?}");

        let pid = host.pid_of(&host.running("guaranteed")?.id("main"))?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        if let Some(group) =
            groups.lines().find_map(|line| line.split_once(":memory:").map(|(_, path)| path))
        {
            let group = format!("/sys/fs/cgroup/memory{group}");
            let limit = |at: &str| fs::read_to_string(format!("{at}/memory.limit_in_bytes"));
            assert_eq!(limit(&group)?.trim(), "50331648", "the container's limit");
            let pod = group.rsplit_once('/').context("a pod's cgroup above")?.0;
            assert_eq!(limit(pod)?.trim(), "50331648", "the pod's limit");
        }
        Ok(())
    })
}

#[test]
fn a_pod_with_a_network_of_its_own_says_why_it_waits() -> Result<()> {
    on_host(|host| {
        host.write("net.yaml", &Set::named("net").pod(&json!({"hostNetwork": null})).text())?;
        host.until("an event NetworkNotReady", || {
            Ok(host.has_event("NetworkNotReady", "hostNetwork")?.then_some(()))
        })?;
        assert!(host.containerd.containers()?.is_empty());
        Ok(())
    })
}

#[test]
fn a_missing_image_is_named_and_its_arrival_is_noticed() -> Result<()> {
    on_host(|host| {
        let reference = "docker.io/library/late:1";
        let set =
            Set::named("never").container(&json!({"image": reference, "imagePullPolicy": "Never"}));
        host.write("never.yaml", &set.text())?;
        let never = host.until_pod("never", "waiting for its image", |pod| {
            pod.waits_for("main") == "ErrImageNeverPull"
        })?;
        let message = &never.container("main")["state"]["waiting"]["message"];
        let text =
            format!("Container image {reference:?} is not present with pull policy of Never");
        assert_eq!(*message, text);
        assert!(host.has_event("ErrImageNeverPull", &text)?);
        // No registry can be reached: an archive is as good.
        host.write(
            "late.yaml",
            &Set::named("late").container(&json!({"image": reference})).text(),
        )?;
        host.until_pod("late", "waiting for its image", |pod| {
            ["ErrImagePull", "ImagePullBackOff"].contains(&pod.waits_for("main").as_str())
        })?;
        let text = format!("Failed to pull image {reference:?}: {NOWHERE}");
        assert!(host.has_event("Failed", &text)?);
        image::write(&host.path("state/images/late.tar"), reference)?;
        host.running("never")?;
        host.running("late")?;
        Ok(())
    })
}

#[test]
fn a_single_file_is_a_source_too() -> Result<()> {
    let Some(mut host) = Host::new()? else {
        return Ok(());
    };
    host.offer_image()?;
    host.write("only.yaml", &Set::named("only").text())?;
    host.write("other.yaml", &Set::named("other").text())?;
    let path = host.path("manifests/only.yaml");
    host.configure("sources", json!([{"file": {"path": path}}]))?;
    host.start_agent()?;
    host.running("only")?;
    assert!(host.pods_of("other")?.is_empty());
    let before = host.running("only")?;
    host.write("only.yaml", &Set::named("only").script(&format!("echo new; {STAY}")).text())?;
    host.until_pod("only", "replaced", |pod| pod.running() && pod.hash() != before.hash())?;
    host.write("only.yaml", &Set::named("next").text())?;
    host.gone("only")?;
    host.running("next").map(|_| ())
}

#[test]
fn sets_of_the_same_name_live_in_their_namespaces() -> Result<()> {
    on_host(|host| {
        let one = Set::named("twin").text();
        let other = one.replace("\"namespace\": \"default\"", "\"namespace\": \"elsewhere\"");
        host.write("one.yaml", &one)?;
        host.write("other.yaml", &other)?;
        host.until("both to run", || {
            let pods = host.pods_of("twin")?;
            Ok((pods.len() == 2 && pods.iter().all(crate::support::pod::Pod::running))
                .then_some(()))
        })?;
        host.remove("other.yaml")?;
        host.running("twin")?;
        Ok(())
    })
}
