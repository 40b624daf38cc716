//! Content: environment and files from ConfigMaps, Secrets and the pod itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::pod::Pod;
use crate::support::set::{STAY, Set};
use crate::support::{Host, on_host};

/// A value that nobody but the container may see.
const HUSH: &str = "hush-8c1f";

/// Runs a script whose output lands in `/out/said`, and stays.
fn say(script: &str) -> String {
    format!("{{ {script}; echo end; }} >/out/said 2>&1; {STAY}")
}

/// What the container of a set says once.
fn said(host: &Host) -> Result<String> {
    Host::reads(&host.path("out/said"), "end\n")
}

/// A ConfigMap as a document.
fn config_map(name: &str, data: &Value) -> String {
    let document = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
        "data": data, "binaryData": {"blob": "AAEC"},
    });
    format!("{document}\n")
}

/// A Secret as a document.
fn secret(name: &str, data: &Value) -> String {
    let document = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "stringData": data,
    });
    format!("{document}\n")
}

/// A set whose container mounts the host's `out` at `/out`, and one more volume at `/v`.
fn with_volume(host: &Host, name: &str, source: &Value) -> Set {
    let mut volume = source.clone();
    volume["name"] = json!("v");
    Set::named(name)
        .pod(&json!({"volumes": [{"name": "out", "hostPath": {"path": host.path("out")}}, volume]}))
        .container(&json!({"volumeMounts": [
            {"name": "out", "mountPath": "/out"}, {"name": "v", "mountPath": "/v"},
        ]}))
}

/// Where a volume of a pod lies on the host.
fn place(host: &Host, pod: &Pod, plugin: &str) -> PathBuf {
    host.path("state/pods").join(pod.uid()).join(format!("volumes/kubernetes.io~{plugin}/v"))
}

/// Waits until a file on the host has this content.
fn holds(host: &Host, path: &Path, text: &str) -> Result<()> {
    host.until(&format!("{text:?} in {}", path.display()), || {
        Ok(fs::read_to_string(path).ok().filter(|found| found == text).map(drop))
    })
}

/// Demands that a secret stands in nothing that operators read.
fn tells_nothing(host: &Host, pod: &Pod) -> Result<()> {
    let mut told = fs::read_to_string(host.path("agent.log"))?;
    for kind in ["pods", "ds", "events"] {
        told += &serde_json::to_string(&host.objects(kind)?)?;
    }
    told += &fs::read_to_string(host.path("state/pods").join(pod.uid()).join("pod.json"))?;
    anyhow::ensure!(!told.contains(HUSH), "a secret was told");
    Ok(())
}

#[test]
fn variables_come_from_objects_the_pod_and_its_resources() -> Result<()> {
    on_host(|host| {
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let nodes = host.objects("nodes")?;
        let address = nodes[0]["status"]["addresses"]
            .as_array()
            .and_then(|list| list.iter().find(|address| address["type"] == "InternalIP"))
            .and_then(|address| address["address"].as_str());
        let mut env = vec![
            json!({"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}}),
            json!({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "token"}}}),
            json!({"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": true}}}),
            field("POD", "metadata.name"),
            field("APP", "metadata.labels['app']"),
            field("NODE", "spec.nodeName"),
            field("ACCOUNT", "spec.serviceAccountName"),
            json!({"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}),
            json!({"name": "BOTH", "value": "$(KEY)/$(P_other)/$(NODE)"}),
        ];
        let mut script =
            r#"echo "$KEY $TOKEN ${NONE-unset} $POD $APP $NODE $ACCOUNT $MEMORY $BOTH $P_key $1""#
                .to_owned();
        if address.is_some() {
            env.push(field("HOST_IP", "status.hostIP"));
            env.push(field("POD_IP", "status.podIP"));
            script += "; echo $HOST_IP $POD_IP";
        }
        let set = Set::named("values")
            .container(&json!({
                "command": ["sh", "-c", say(&script), "sh"],
                "args": ["$(TOKEN)!"],
                "env": env,
                "envFrom": [
                    {"prefix": "P_", "configMapRef": {"name": "settings"}},
                    {"secretRef": {"name": "none", "optional": true}},
                ],
                "resources": {"limits": {"memory": "64Mi"}},
            }))
            .out(&host.path("out"));
        let objects = config_map("settings", &json!({"key": "value", "other": "o"}))
            + "---\n"
            + &secret("vault", &json!({"token": HUSH}));
        host.write("values.yaml", &format!("{objects}---\n{}", set.text()))?;
        let pod = host.running("values")?;
        let mut expected = format!(
            "value {HUSH} unset {} values it-node default 64 value/o/it-node value {HUSH}!\n",
            pod.name()
        );
        if let Some(address) = address {
            expected = format!("{expected}{address} {address}\n");
        }
        assert_eq!(said(host)?, expected + "end\n");
        fs::remove_file(host.path("out/said"))?;
        tells_nothing(host, &pod)
    })
}

#[test]
fn a_variable_whose_object_is_missing_is_named_and_heals_without_a_new_pod() -> Result<()> {
    on_host(|host| {
        let source = json!({"secretKeyRef": {"name": "late", "key": "token"}});
        let set = Set::named("missing")
            .script(&say("echo $TOKEN"))
            .container(&json!({"env": [{"name": "TOKEN", "valueFrom": source}]}))
            .out(&host.path("out"));
        host.write("missing.yaml", &set.text())?;
        let pod = host.until_pod("missing", "waiting for its Secret", |pod| {
            pod.waits_for("main") == "CreateContainerConfigError"
        })?;
        let message = pod.container("main")["state"]["waiting"]["message"].to_string();
        assert!(message.contains(r#"secret \"late\" not found"#), "{message}");
        assert!(message.contains("objectsDir/default/secrets/late"), "{message}");
        host.write("late.yaml", &secret("late", &json!({"other": HUSH})))?;
        host.until_pod("missing", "waiting for the key", |pod| {
            let message = pod.container("main")["state"]["waiting"]["message"].to_string();
            message.contains("couldn't find key token in Secret default/late")
        })?;
        host.write("late.yaml", &secret("late", &json!({"token": HUSH})))?;
        host.running("missing")?;
        assert_eq!(said(host)?, format!("{HUSH}\nend\n"));
        tells_nothing(host, &host.running("missing")?)
    })
}

#[test]
fn a_volume_shows_keys_with_paths_and_modes_and_can_only_be_read() -> Result<()> {
    on_host(|host| {
        let set = with_volume(
            host,
            "files",
            &json!({"configMap": {
                "name": "settings",
                "defaultMode": 0o440,
                "items": [{"key": "a", "path": "deep/a", "mode": 0o755}, {"key": "blob", "path": "blob"}],
            }}),
        )
        .script(&say(
            "cat /v/deep/a; busybox od -An -tx1 /v/blob; busybox stat -Lc '%a %n' /v /v/deep/a /v/blob; echo x >/v/x || echo refused; readlink /v/blob",
        ));
        let objects = config_map("settings", &json!({"a": "one\n", "b": "two"}));
        host.write("files.yaml", &format!("{objects}---\n{}", set.text()))?;
        let said = said(host)?;
        assert!(said.starts_with("one\n 00 01 02\n755 /v\n755 /v/deep/a\n440 /v/blob\n"), "{said}");
        assert!(said.contains("refused\n..data/blob\n"), "{said}");
        Ok(())
    })
}

#[test]
fn secrets_lie_in_memory_with_the_mode_that_was_asked_for() -> Result<()> {
    on_host(|host| {
        let set = with_volume(
            host,
            "hush",
            &json!({"secret": {"secretName": "vault", "defaultMode": 0o400}}),
        )
        .script(&say("busybox stat -Lc '%a %u' /v/token; grep ' /v ' /proc/mounts"));
        let objects = secret("vault", &json!({"token": HUSH}));
        host.write("hush.yaml", &format!("{objects}---\n{}", set.text()))?;
        let pod = host.running("hush")?;
        let said = said(host)?;
        assert!(said.starts_with("400 0\ntmpfs /v tmpfs ro"), "{said}");
        let token = place(host, &pod, "secret").join("token");
        assert_eq!(fs::read_to_string(&token)?, HUSH);
        host.reboot()?;
        host.running("hush")?;
        holds(host, &token, HUSH)?;
        tells_nothing(host, &pod)
    })
}

#[test]
fn a_pods_group_may_read_the_files_that_another_user_could_not() -> Result<()> {
    on_host(|host| {
        let set = with_volume(
            host,
            "group",
            &json!({"secret": {"secretName": "vault", "defaultMode": 0o400}}),
        )
        .pod(&json!({"securityContext": {"runAsUser": 1000, "fsGroup": 4242}}))
        .script(&say("cat /v/token; echo; busybox stat -Lc '%a %g' /v/token"));
        let objects = secret("vault", &json!({"token": HUSH}));
        // The user has to write what it says.
        fs::set_permissions(host.path("out"), fs::Permissions::from_mode(0o777))?;
        host.write("group.yaml", &format!("{objects}---\n{}", set.text()))?;
        host.running("group")?;
        assert_eq!(said(host)?, format!("{HUSH}\n440 4242\nend\n"));
        Ok(())
    })
}

#[test]
fn projected_volumes_merge_objects_and_the_pods_own_facts() -> Result<()> {
    on_host(|host| {
        let set = with_volume(
            host,
            "merged",
            &json!({"projected": {"defaultMode": 0o444, "sources": [
                {"configMap": {"name": "settings"}},
                {"configMap": {"name": "none", "optional": true}},
                {"secret": {"name": "vault", "items": [{"key": "token", "path": "a", "mode": 0o400}]}},
                {"downwardAPI": {"items": [
                    {"path": "pod/labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    {"path": "pod/memory", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory"}},
                ]}},
            ]}}),
        )
        .container(&json!({"resources": {"limits": {"memory": "64Mi"}}}))
        .script(&say("cat /v/a; echo; cat /v/b; echo; cat /v/pod/labels; echo; cat /v/pod/memory; echo; busybox stat -Lc '%a' /v/a /v/b"));
        let objects = config_map("settings", &json!({"a": "hidden", "b": "two"}))
            + "---\n"
            + &secret("vault", &json!({"token": "shown"}));
        host.write("merged.yaml", &format!("{objects}---\n{}", set.text()))?;
        let pod = host.running("merged")?;
        let expected = format!(
            "shown\ntwo\napp=\"merged\"\ncontroller-revision-hash=\"{}\"\n67108864\n400\n444\nend\n",
            pod.hash()
        );
        assert_eq!(said(host)?, expected);
        Ok(())
    })
}

#[test]
fn a_downward_volume_shows_the_pods_name_and_labels() -> Result<()> {
    on_host(|host| {
        let items = json!([
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400},
            {"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}},
        ]);
        let set = with_volume(
            host,
            "facts",
            &json!({"downwardAPI": {"items": items, "defaultMode": 0o440}}),
        )
        .script(&say("cat /v/name; echo; cat /v/app; echo; busybox stat -Lc '%a' /v/name /v/app"));
        host.write("facts.yaml", &set.text())?;
        let pod = host.running("facts")?;
        assert_eq!(said(host)?, format!("{}\nfacts\n400\n440\nend\n", pod.name()));
        Ok(())
    })
}

#[test]
fn a_volume_whose_object_is_missing_says_so_and_heals() -> Result<()> {
    on_host(|host| {
        let set = with_volume(host, "wants", &json!({"configMap": {"name": "late"}}))
            .script(&say("cat /v/a"));
        host.write("wants.yaml", &set.text())?;
        host.until("an event that names the object", || {
            let words = "MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found";
            Ok(host.has_event("FailedMount", words)?.then_some(()))
        })?;
        host.write("late.yaml", &config_map("late", &json!({"a": "here\n"})))?;
        host.running("wants")?;
        assert_eq!(said(host)?, "here\nend\n");
        Ok(())
    })
}

#[test]
fn files_of_a_running_container_follow_their_object_also_through_kills_of_the_agent() -> Result<()>
{
    on_host(|host| {
        let watch = "n=0; while :; do read -r text </v/a; [ \"$text\" = \"$last\" ] || echo $text >>/out/seen; last=$text; sleep 0.05; done";
        let set = with_volume(host, "live", &json!({"configMap": {"name": "settings"}}))
            .script(&format!("trap 'exit 0' TERM; {watch}"));
        let settings = |text: &str| config_map("settings", &json!({"a": format!("{text}\n")}));
        host.write("settings.yaml", &settings("1"))?;
        host.write("live.yaml", &set.text())?;
        let before = host.running("live")?;
        Host::reads(&host.path("out/seen"), "1\n")?;
        host.write("settings.yaml", &settings("2"))?;
        Host::reads(&host.path("out/seen"), "2\n")?;
        for text in ["3", "4", "5"] {
            host.write("settings.yaml", &settings(text))?;
            host.restart_agent()?;
        }
        Host::reads(&host.path("out/seen"), "5\n")?;
        let after = host.running("live")?;
        assert_eq!((after.uid(), after.id("main")), (before.uid(), before.id("main")));
        assert_eq!(after.restarts("main"), 0);
        let volume = place(host, &after, "configmap");
        host.until("one version and no rest of another", || {
            let names: Vec<_> =
                fs::read_dir(&volume)?.flatten().map(|entry| entry.file_name()).collect();
            let ours = names.iter().filter(|name| name.to_string_lossy().starts_with("..")).count();
            Ok((ours == 2 && names.len() == 4).then_some(()))
        })?;
        host.reboot()?;
        host.running("live")?;
        holds(host, &volume.join("a"), "5\n").context("after the reboot")
    })
}
