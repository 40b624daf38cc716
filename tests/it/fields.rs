//! Fields of the API that no other promise is about: each does what Kubernetes says of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::image::{self, IMAGE};
use crate::support::set::{STAY, Set};
use crate::support::wait::clock;
use crate::support::{Host, on_host};

/// Runs a set that reports into `/out/said`, and returns what it said.
fn said(host: &Host, set: Set, script: &str) -> Result<String> {
    let script = format!("{{ {script}; echo end; }} >/out/said 2>&1; {STAY}");
    host.write("said.yaml", &set.script(&script).out(&host.path("out")).text())?;
    Host::reads(&host.path("out/said"), "end\n")
}

#[test]
fn names_labels_and_annotations_are_shown_as_written() -> Result<()> {
    on_host(|host| {
        let set = Set::named("marked")
            .metadata(&json!({"labels": {"team": "a"}, "annotations": {"example.com/note": "of the set"}}))
            .spec(&json!({"template": {"metadata": {
                "labels": {"tier": "b"}, "annotations": {"example.com/note": "of the pod"},
            }}}));
        host.write("marked.yaml", &set.text())?;
        let pod = host.running("marked")?;
        let metadata = &pod.0["metadata"];
        assert_eq!(
            (&metadata["labels"]["tier"], &metadata["labels"]["app"]),
            (&json!("b"), &json!("marked"))
        );
        assert_eq!(metadata["annotations"]["example.com/note"], "of the pod");
        let shown = host.podward(&["get", "ds", "marked", "-o", "json"])?;
        let shown: Value = serde_json::from_str(&shown)?;
        assert_eq!(shown["metadata"]["labels"]["team"], "a");
        assert_eq!(shown["metadata"]["annotations"]["example.com/note"], "of the set");
        Ok(())
    })
}

#[test]
fn a_pod_is_available_only_after_the_time_that_it_must_be_ready() -> Result<()> {
    on_host(|host| {
        let start = clock();
        host.write("slow.yaml", &Set::named("slow").spec(&json!({"minReadySeconds": 3})).text())?;
        host.until("the set to have an available pod", || {
            let sets = host.objects("ds")?;
            Ok((sets.first().context("the set")?["status"]["numberAvailable"] == 1).then_some(()))
        })?;
        assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
        Ok(())
    })
}

#[test]
fn a_surge_starts_the_new_pod_before_the_old_one_goes() -> Result<()> {
    on_host(|host| {
        let late = "docker.io/library/late:1";
        let set = Set::named("web").spec(&json!({"updateStrategy": {
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }}));
        host.write("web.yaml", &set.text())?;
        let old = host.running("web")?;
        let probe = json!({"exec": {"command": ["test", "-e", "/out/ready"]}, "periodSeconds": 1});
        let newer = set
            .container(&json!({"image": late, "imagePullPolicy": "Never", "readinessProbe": probe}))
            .out(&host.path("out"));
        host.write("web.yaml", &newer.text())?;
        // No pod is made for an image that is not here.
        host.until("the wait for the image", || {
            let waits =
                host.podward(&["why", "ds/web"])?.contains("images of a new pod are not here");
            Ok((waits && host.pods_of("web")?.len() == 1).then_some(()))
        })?;
        image::write(&host.path("state/images/late.tar"), late)?;
        // As long as the new pod is not ready the old one has to run.
        host.until("the new pod beside the old one", || {
            let pods = host.pods_of("web")?;
            let kept = pods.iter().any(|pod| pod.uid() == old.uid() && pod.running());
            Ok((pods.len() == 2 && kept).then_some(()))
        })?;
        fs::write(host.path("out/ready"), "")?;
        let new = host
            .until_pod("web", "the new one alone", |pod| pod.running() && pod.uid() != old.uid())?;
        assert_ne!(new.hash(), old.hash());
        Ok(())
    })
}

#[test]
fn a_pod_finds_the_resolver_and_the_hosts_that_it_asks_for() -> Result<()> {
    on_host(|host| {
        let set = Set::named("names").pod(&json!({
            "dnsPolicy": "None",
            "dnsConfig": {
                "nameservers": ["192.0.2.1"], "searches": ["a.example"],
                "options": [{"name": "ndots", "value": "3"}, {"name": "edns0"}],
            },
            "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["seven", "sept"]}],
        }));
        let said = said(host, set, "cat /etc/resolv.conf; grep 192.0.2.7 /etc/hosts")?;
        assert_eq!(
            said,
            "search a.example\nnameserver 192.0.2.1\noptions ndots:3 edns0\n192.0.2.7\tseven\tsept\nend\n"
        );
        Ok(())
    })
}

#[test]
fn a_pod_on_the_hosts_network_keeps_the_hosts_name() -> Result<()> {
    on_host(|host| {
        let set = Set::named("name").pod(&json!({"hostname": "other", "subdomain": "sub"}));
        let hostname = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        assert_eq!(said(host, set, "hostname")?, format!("{hostname}\nend\n"));
        Ok(())
    })
}

#[test]
fn the_pods_user_and_groups_are_those_of_its_containers() -> Result<()> {
    for (policy, groups) in [("Merge", "2000 63 3000"), ("Strict", "2000 3000")] {
        on_host(|host| {
            fs::set_permissions(host.path("out"), fs::Permissions::from_mode(0o777))?;
            let set = Set::named("user").pod(&json!({"securityContext": {
                "runAsUser": 1000, "runAsGroup": 2000,
                "supplementalGroups": [3000], "supplementalGroupsPolicy": policy,
            }}));
            let said = said(host, set, "id -u; id -g; id -G")?;
            let mut lines = said.lines();
            assert_eq!((lines.next(), lines.next()), (Some("1000"), Some("2000")), "{said}");
            let sorted = |text: &str| {
                let mut numbers: Vec<_> = text.split(' ').map(str::to_owned).collect();
                numbers.sort();
                numbers
            };
            // uid 1000 is `worker`, whom the image's /etc/group puts into group 63.
            assert_eq!(lines.next().map(sorted), Some(sorted(groups)), "{policy}: {said}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_container_that_may_not_be_root_is_held_and_says_so() -> Result<()> {
    on_host(|host| {
        let own = Set::named("own").container(&json!({"securityContext": {"runAsNonRoot": true}}));
        let pods = Set::named("pods").pod(&json!({"securityContext": {"runAsNonRoot": true}}));
        let fine = Set::named("fine")
            .pod(&json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 1000}}));
        host.write("sets.yaml", &[own.text(), pods.text(), fine.text()].join("---\n"))?;
        for name in ["own", "pods"] {
            let pod = host.until_pod(name, "held", |pod| {
                pod.waits_for("main") == "CreateContainerConfigError"
            })?;
            let message = &pod.container("main")["state"]["waiting"]["message"];
            assert!(
                message.as_str().is_some_and(|text| text.contains("runAsNonRoot")),
                "{message}"
            );
        }
        host.running("fine")?;
        Ok(())
    })
}

#[test]
fn a_volume_in_memory_is_as_large_as_it_may_be() -> Result<()> {
    on_host(|host| {
        let script = "{ grep ' /m ' /proc/mounts; head -c 900000 /dev/zero >/m/fits && echo fits; head -c 2000000 /dev/zero >/m/more || echo full; echo end; } >/out/said 2>&1";
        let set = Set::named("memory").pod(&json!({
            "containers": [{
                "name": "main", "image": IMAGE, "command": ["sh", "-c", format!("{script}; {STAY}")],
                "volumeMounts": [{"name": "m", "mountPath": "/m"}, {"name": "out", "mountPath": "/out"}],
            }],
            "volumes": [
                {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "out", "hostPath": {"path": host.path("out")}},
            ],
        }));
        host.write("memory.yaml", &set.text())?;
        let said = Host::reads(&host.path("out/said"), "end\n")?;
        assert!(said.contains("tmpfs") && said.contains("size=1024k"), "{said}");
        assert!(said.contains("fits\n") && said.contains("full\n"), "{said}");
        Ok(())
    })
}

/// Serves `ok` for whatever is asked, and writes down the head of each request.
fn serve(listener: TcpListener, asked: PathBuf) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = String::new();
            let mut lines = BufReader::new(&stream);
            // A TCP probe says nothing at all.
            while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head).is_ok_and(|n| n > 0) {}
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let log = fs::File::options().create(true).append(true).open(&asked);
            let _ = log.and_then(|mut log| {
                log.write_all(head.replace('\r', "").replace("X-Asked-By", "x-asked-by").as_bytes())
            });
        }
    });
}

#[test]
fn probes_and_hooks_ask_for_pages_with_their_headers() -> Result<()> {
    on_host(|host| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let asked = host.path("out/asked");
        serve(listener, asked.clone());
        let page = |name: &str| {
            let headers = json!([{"name": "X-Asked-By", "value": name}]);
            json!({"httpGet": {"host": "127.0.0.1", "port": port, "path": format!("/{name}"), "httpHeaders": headers}})
        };
        let each_second = |mut probe: Value| {
            probe["periodSeconds"] = json!(1);
            probe
        };
        let asks = |container: Value| -> Result<()> {
            host.write("asks.yaml", &Set::named("asks").container(&container).text())?;
            host.until_pod("asks", "ready", |pod| pod.running() && pod.ready()).map(|_| ())
        };
        asks(json!({
            "startupProbe": each_second(page("startup")),
            "livenessProbe": each_second(page("liveness")),
            "readinessProbe": each_second(page("readiness")),
            "lifecycle": {"postStart": page("begun"), "preStop": page("ends")},
        }))?;
        for name in ["startup", "liveness", "readiness", "begun"] {
            Host::reads(&asked, &format!("GET /{name} HTTP/1.1\n"))?;
            Host::reads(&asked, &format!("\nx-asked-by: {name}\n"))?;
        }
        host.remove("asks.yaml")?;
        host.gone("asks")?;
        Host::reads(&asked, "GET /ends HTTP/1.1\n")?;
        // A TCP probe finds another host than the pod's own as well.
        asks(
            json!({"readinessProbe": each_second(json!({"tcpSocket": {"host": "127.0.0.1", "port": port}}))}),
        )
    })
}
