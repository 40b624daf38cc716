//! The tables and lines of the command line, to the letter.

use super::*;

#[test]
fn sets_have_kubectls_columns() {
    assert_eq!(
        prints(&[web()], "get ds"),
        "NAME   DESIRED   CURRENT   READY   UP-TO-DATE   AVAILABLE   NODE SELECTOR   AGE\n\
         web    1         1         1       1            1           disktype=ssd    9d\n"
    );
    assert_eq!(
        prints(&[web()], "get ds -A -o wide --no-headers"),
        "default   web   1     1     1     1     1     disktype=ssd   9d    m,s   busybox:1,sidecar:2   app=web\n"
    );
}

#[test]
fn a_pods_status_names_the_trouble_to_see_first() {
    let sidecar = json!([{"name": "i", "image": "x"}, {"name": "side", "image": "x", "restartPolicy": "Always"}]);
    let init = |state: &Value| {
        let base = with(
            pod("a", &[status("m", false, 0, &waiting("PodInitializing"))]),
            "/spec/initContainers",
            sidecar.clone(),
        );
        let base = with(base, "/status/phase", json!("Pending"));
        with(
            base,
            "/status/initContainerStatuses",
            json!([
                status("i", false, 0, state),
                status("side", false, 0, &waiting("PodInitializing"))
            ]),
        )
    };
    let good = || pod("a", &[status("m", true, 0, &running())]);
    for (object, cells) in [
        (good(), "1/1     Running   0          9d"),
        (pod("a", &[status("m", true, 3, &running())]), "1/1     Running   3 (8d ago)   9d"),
        (
            pod("a", &[status("m", false, 3, &waiting("CrashLoopBackOff"))]),
            "0/1     CrashLoopBackOff   3 (8d ago)   9d",
        ),
        (
            pod(
                "a",
                &[
                    status("m", false, 0, &ended(137, "OOMKilled")),
                    status("s", true, 0, &running()),
                ],
            ),
            "1/2     OOMKilled   0          9d",
        ),
        (pod("a", &[status("m", false, 0, &ended(3, ""))]), "0/1     ExitCode:3   0          9d"),
        (
            pod(
                "a",
                &[status("m", false, 0, &ended(0, "Completed")), status("s", true, 0, &running())],
            ),
            "1/2     NotReady   0          9d",
        ),
        (
            pod(
                "a",
                &[
                    status("m", false, 0, &ended(0, "Completed")),
                    status("s", false, 0, &waiting("ErrImagePull")),
                ],
            ),
            "0/2     ErrImagePull   0          9d",
        ),
        (
            with(good(), "/metadata/deletionTimestamp", json!(days_ago(0))),
            "1/1     Terminating   0          9d",
        ),
        (with(good(), "/status/reason", json!("Evicted")), "1/1     Evicted   0          9d"),
        (
            with(
                with(good(), "/status/phase", json!("Pending")),
                "/status/containerStatuses",
                json!([]),
            ),
            "0/1     Pending   0          9d",
        ),
        (init(&running()), "0/2     Init:0/2   0          9d"),
        (init(&ended(0, "Completed")), "0/2     Init:1/2   0          9d"),
        (init(&ended(2, "Error")), "0/2     Init:Error   0          9d"),
        (init(&ended(2, "")), "0/2     Init:ExitCode:2   0          9d"),
        (init(&waiting("CrashLoopBackOff")), "0/2     Init:CrashLoopBackOff   0          9d"),
    ] {
        let out = prints(&[object], "get pods");
        let row = out.lines().nth(1).unwrap().strip_prefix("a      ").unwrap();
        assert_eq!(row, cells);
    }
}

#[test]
fn pods_can_show_labels_and_the_wide_columns() {
    let objects = [pod("a", &[status("m", true, 0, &running())])];
    assert_eq!(
        prints(&objects, "get po -o wide"),
        "NAME   READY   STATUS    RESTARTS   AGE   IP         NODE   NOMINATED NODE   READINESS GATES\n\
         a      1/1     Running   0          9d    10.0.0.7   n1     <none>           <none>\n"
    );
    assert_eq!(
        prints(&objects, "get pod a -L example.com/tier,none --show-labels"),
        "NAME   READY   STATUS    RESTARTS   AGE   TIER    NONE     LABELS\n\
         a      1/1     Running   0          9d    front   <none>   app=web,example.com/tier=front\n"
    );
}

#[test]
fn nodes_and_events_have_kubectls_columns() {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "creationTimestamp": days_ago(9), "labels": {"node-role.kubernetes.io/edge": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.7"}],
                   "nodeInfo": {"kubeletVersion": "podward/0.1.0", "kernelVersion": "6.1", "architecture": "amd64", "osImage": "Debian",
                                "containerRuntimeVersion": "containerd://1.6.20", "machineID": "", "systemUUID": "", "bootID": "",
                                "kubeProxyVersion": "", "operatingSystem": "linux"}},
    });
    assert_eq!(
        prints(&[node], "get nodes -o wide"),
        "NAME   STATUS                     ROLES   AGE   VERSION         INTERNAL-IP   EXTERNAL-IP   OS-IMAGE   KERNEL-VERSION   CONTAINER-RUNTIME\n\
         n1     Ready,SchedulingDisabled   edge    9d    podward/0.1.0   10.0.0.7      <none>        Debian     6.1 (amd64)      containerd://1.6.20\n"
    );
    let events = [event("Later", 1, 8), event("Earlier", 4, 9)];
    assert_eq!(
        prints(&events, "get ev --for pod/a"),
        "LAST SEEN   TYPE      REASON    OBJECT   MESSAGE\n\
         9d          Warning   Earlier   pod/a    it broke\n\
         8d          Warning   Later     pod/a    it broke\n"
    );
    let (out, err, _) = podward(&events, "get events --for pod/b");
    assert_eq!((out.as_str(), err.as_str()), ("", "No resources found in default namespace.\n"));
}

#[test]
fn documents_are_a_list_or_the_object_asked_for() {
    let objects = [pod("a", &[]), web()];
    let one: Value = serde_json::from_str(&prints(&objects, "get ds web -o json")).unwrap();
    assert_eq!(one, objects[1]);
    let list: Value = serde_json::from_str(&prints(&objects, "get ds -o json")).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]), (&json!("List"), &objects[1]));
    assert!(
        prints(&objects, "get ds/web -o yaml")
            .starts_with("apiVersion: apps/v1\nkind: DaemonSet\n")
    );
    assert_eq!(prints(&objects, "get ds/web pod/a -o name"), "daemonset.apps/web\npod/a\n");
    assert!(prints(&[], "get pods -o json").contains("\"items\": []"));
}

#[test]
fn several_types_and_selectors_narrow_the_tables() {
    let objects = [pod("a", &[status("m", true, 0, &running())]), web()];
    let out = prints(&objects, "get ds,pods --no-headers");
    assert!(
        out.starts_with("daemonset.apps/web   1  ") && out.contains("\n\npod/a   1/1  "),
        "{out}"
    );
    assert!(prints(&objects, "get pods -l app=web,tier!=x --no-headers").starts_with("a  "));
    let (_, err, code) = podward(&objects, "get pods -l app=db -A");
    assert_eq!((err.as_str(), code), ("No resources found\n", ExitCode::SUCCESS));
    let (out, err, code) = podward(&objects, "get pods a x y --no-headers");
    assert!(out.starts_with("a  "));
    assert_eq!(
        (err.as_str(), code),
        ("error: pods \"x\" not found\nerror: pods \"y\" not found\n", ExitCode::from(1))
    );
}

#[test]
fn a_watch_prints_each_row_that_changes() {
    let objects = ["a", "b"].map(|name| pod(name, &[status("m", true, 0, &running())]));
    let (out, err, _) = podward(&objects, "get pods -w");
    assert_eq!(
        out,
        "NAME   READY   STATUS    RESTARTS   AGE\n\
         a      1/1     Running   0          9d\n\
         b      1/1     Running   0          9d\n\
         b      1/1     Terminating   0          9d\n"
    );
    assert!(err.starts_with("error: the agent ended the watch\nhint: "), "{err}");
}

#[test]
fn the_other_verbs_tell_what_the_agent_answers() {
    assert_eq!(
        prints(&[], "version"),
        format!(
            "Client Version: v{}\nAgent Version: v0.1.0\nNode: n1\ncontainerd: 1.6.20\n",
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(prints(&[], "logs pod/a --tail -1 --since 1h30m"), "\"a\"\n");
    assert_eq!(
        prints(&[pod("a", &[])], "delete pod a --now --wait=false"),
        "pod \"a\" deleted from default namespace\n"
    );
    let (out, _, code) = podward(&[], "sync --dry-run");
    assert_eq!((out.as_str(), code), ("hold web: no image\n", ExitCode::from(1)));
    let (_, err, code) = podward(&[], "why ds/web");
    assert_eq!(
        (err.as_str(), code),
        ("error: daemonsets.apps \"web\" not found\n", ExitCode::from(1))
    );
    let (_, err, code) = podward(&[], "get deploy");
    assert!(err.starts_with("error: there is no resource type \"deploy\"\nhint: "));
    assert_eq!(code, ExitCode::from(2));
}

#[test]
fn without_an_agent_the_hint_says_where_to_look() {
    let (out, err, code) = run_line(&PathBuf::from("/nonexistent/s"), "get pods");
    assert_eq!((out.as_str(), code), ("", ExitCode::from(1)));
    assert_eq!(
        err,
        "error: no agent answers at /nonexistent/s\n\
         hint: see `systemctl status podward`; an agent elsewhere is named by --socket or PODWARD_SOCKET\n"
    );
    let (out, err, code) = run_line(&PathBuf::from("/nonexistent/s"), "version");
    assert!(out.starts_with("Client Version: v") && err.starts_with("note: no agent answers"));
    assert_eq!(code, ExitCode::SUCCESS);
}

#[test]
fn every_flag_of_the_settings_table_is_a_flag_of_the_command() {
    let command = Cli::command();
    command.clone().debug_assert();
    for flag in config::keys().filter_map(|key| key.flag) {
        let found = command.get_arguments().any(|argument| {
            argument.get_long().map(|long| format!("--{long}")) == Some(flag.into())
        });
        assert!(found, "{flag}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(prints(&[], &format!("completion {shell}")).contains("podward"), "{shell}");
    }
}
