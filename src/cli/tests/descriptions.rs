//! What `describe` prints, and what the verbs for images do, to the letter.

use super::*;

#[test]
fn a_pods_description_reads_as_kubectls() {
    let mut object = pod("a", &[status("m", true, 1, &running())]);
    object["spec"]["containers"][0] = json!({
        "name": "m", "image": "busybox", "args": ["-c", "sleep 1\nsleep 2"],
        "ports": [{"containerPort": 80, "name": "http"}],
        "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 5},
        "env": [{"name": "A", "value": "1"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "s", "readOnly": true}],
    });
    object["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": "/var/v"}}]);
    object["spec"]["tolerations"] = json!([
        {"key": "z", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}, {"operator": "Exists"}, {"key": "k", "value": "v"}
    ]);
    object["status"]["startTime"] = json!("2026-01-02T03:04:05Z");
    object["status"]["containerStatuses"][0]["lastState"]["terminated"]["finishedAt"] =
        json!("2026-01-02T03:04:00Z");
    assert_eq!(
        prints(&[object, event("BackOff", 3, 9)], "describe pod a"),
        "Name:             a
Namespace:        default
Priority:         0
Service Account:  default
Node:             n1/10.0.0.7
Start Time:       Fri, 02 Jan 2026 03:04:05 +0000
Labels:           app=web
                  example.com/tier=front
Annotations:      <none>
Status:           Running
IP:               10.0.0.7
IPs:              <none>
Controlled By:    DaemonSet/web
Containers:
  m:
    Container ID:  containerd://c1
    Image:         busybox
    Image ID:      sha256:1
    Port:          80/TCP (http)
    Host Port:     0/TCP
    Args:
      -c
      sleep 1
      sleep 2
    State:          Running
      Started:      Fri, 02 Jan 2026 03:04:05 +0000
    Last State:     Terminated
      Reason:       Error
      Exit Code:    1
      Started:      
      Finished:     Fri, 02 Jan 2026 03:04:00 +0000
    Ready:          True
    Restart Count:  1
    Limits:
      memory:  64Mi
    Requests:
      cpu:     100m
      memory:  64Mi
    Liveness:  http-get http://:8080/health delay=0s timeout=1s period=5s #success=1 #failure=3
    Environment:
      A:     1
      NODE:   (v1:spec.nodeName)
    Mounts:
      /v from v (ro,path=\"s\")
Conditions:
  Type    Status
  Ready   True 
Volumes:
  v:
    Type:          HostPath (bare host directory volume)
    Path:          /var/v
    HostPathType:  
QoS Class:         BestEffort
Node-Selectors:    <none>
Tolerations:       op=Exists
                   k=v
                   z:NoExecute op=Exists for 5m
Events:
  Type     Reason   Age               From     Message
  ----     ------   ----              ----     -------
  Warning  BackOff  9d (x3 over 20d)  podward  it broke
"
    );
}

#[test]
fn a_sets_description_counts_its_pods() {
    let out = prints(&[web(), pod("a", &[status("m", true, 0, &running())])], "describe ds/web");
    assert_eq!(
        out,
        "Name:           web
Namespace:      default
Selector:       app=web
Node-Selector:  disktype=ssd
Labels:         <none>
Annotations:    <none>
Desired Number of Nodes Scheduled: 1
Current Number of Nodes Scheduled: 1
Number of Nodes Scheduled with Up-to-date Pods: 1
Number of Nodes Scheduled with Available Pods: 1
Number of Nodes Misscheduled: 0
Pods Status:  1 Running / 0 Waiting / 0 Succeeded / 0 Failed
Rollout:
  Strategy:   RollingUpdate (1 max unavailable, 0 max surge)
  Min Ready:  0s
  Deadline:   10m0s, then stall
Pod Template:
  Labels:  app=web
  Containers:
   m:
    Image:        busybox:1
    Port:         <none>
    Host Port:    <none>
    Environment:  <none>
    Mounts:       <none>
   s:
    Image:         sidecar:2
    Port:          <none>
    Host Port:     <none>
    Environment:   <none>
    Mounts:        <none>
  Volumes:         <none>
  Node-Selectors:  disktype=ssd
  Tolerations:     <none>
Events:            <none>
"
    );
}

fn image(name: &str) -> Value {
    let digest = format!("sha256:{}", "ab".repeat(32));
    json!({"apiVersion": "podward.dev/v1", "kind": "Image",
           "metadata": {"name": digest, "creationTimestamp": days_ago(9)},
           "names": [name], "digest": digest, "size": 5 << 20, "usedBy": ["pod/default/web-x"]})
}

#[test]
fn images_are_listed_with_their_users() {
    let images = [image("r.io/b:2"), image("docker.io/library/busybox:1.36")];
    assert_eq!(
        prints(&images, "image list"),
        "IMAGE                       TAG    DIGEST         SIZE     AGE   IN USE BY       KEPT\n\
         docker.io/library/busybox   1.36   abababababab   5.0MiB   9d    default/web-x   <none>\n\
         r.io/b                      2      abababababab   5.0MiB   9d    default/web-x   <none>\n"
    );
    let names = "image/docker.io/library/busybox:1.36\nimage/r.io/b:2\n";
    assert_eq!(prints(&images, "images ls -o name"), names);
    assert_eq!(podward(&[], "image ls").1, "No images found\n");
}

#[test]
fn what_became_of_images_is_said_in_lines() {
    let images = [image("r.io/b:2")];
    assert_eq!(
        prints(&images, "image prune"),
        "removed r.io/b:2 (5.0MiB)\n1 image, 2.0KiB freed\n"
    );
    assert_eq!(
        prints(&images, "image prune --dry-run"),
        "would remove r.io/b:2 (5.0MiB)\n1 image, 5.0MiB as they travel\n"
    );
    assert_eq!(prints(&[], "image prune"), "nothing to remove: every image is needed\n");
    assert_eq!(prints(&[], "image import /a/b.tar"), "imported /a/b.tar\n");
    let (out, err, code) = podward(&[], "image pull r.io/b:2");
    assert_eq!((out.as_str(), code), ("", ExitCode::FAILURE));
    assert_eq!(err, "error: no host of r.io serves it\n");
}

#[test]
fn a_container_that_waits_tells_why() {
    let message = "pulling r.io/b:2: 3/8 layers, 45.2MiB of 200.0MiB, 35.1MiB/s";
    let state = json!({"waiting": {"reason": "ContainerCreating", "message": message}});
    let page = prints(&[pod("a", &[status("m", false, 0, &state)])], "describe pod a");
    let lines = ["    State:          Waiting", "      Reason:       ContainerCreating"];
    let wanted = format!("{}\n{}\n      Message:      {message}\n", lines[0], lines[1]);
    assert!(page.contains(&wanted), "{page}");
}

#[test]
fn without_etcd_the_local_view_comes_with_a_warning() {
    let node = json!({"kind": "Node", "metadata": {"name": "n1"}, "status": {"conditions": [
        {"type": "StoreReady", "status": "False", "lastTransitionTime": days_ago(2)}]}});
    let objects = [node, pod("a", &[status("m", true, 0, &running())])];
    let (out, err, code) = podward(&objects, "get pods --etcd http://127.0.0.1:1");
    assert_eq!(code, ExitCode::SUCCESS, "{err}");
    assert!(out.contains("Running"), "{out}");
    assert!(err.starts_with("warning: etcd cannot be reached ("), "{err}");
    assert!(err.contains("); this is what node n1 knows; its specs are from "), "{err}");
    assert!(err.contains(" (2d") && err.ends_with("ago)\n"), "{err}");
    let (_, err, _) = podward(&objects, "get pods --etcd http://127.0.0.1:1 --local");
    assert_eq!(err, "");
    let (_, err, code) = podward(&objects, "get cm --local");
    assert!(err.contains("configmaps are shown from the shared store"), "{err}");
    assert_eq!(code, ExitCode::from(1));
}
