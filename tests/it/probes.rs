//! Probes on real containers: what they ask, and what their answers do.

use std::fs;
use std::net::TcpListener;

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::on_host;
use crate::support::set::{STAY, Set};

/// A port of this machine that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A probe that runs each second.
fn each_second(fields: &Value) -> Value {
    let mut probe = json!({"periodSeconds": 1, "failureThreshold": 1});
    let (probe_fields, fields) = (probe.as_object_mut(), fields.as_object());
    if let (Some(probe_fields), Some(fields)) = (probe_fields, fields) {
        probe_fields.extend(fields.clone());
    }
    probe
}

#[test]
fn an_exec_probe_makes_a_container_ready_and_unready() -> Result<()> {
    on_host(|host| {
        let probe = each_second(&json!({"exec": {"command": ["test", "-e", "/out/ready"]}}));
        let set =
            Set::named("web").container(&json!({"readinessProbe": probe})).out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        let pod = host.until_pod("web", "up and not ready", |pod| {
            pod.container("main")["started"] == true && !pod.ready()
        })?;
        assert!(host.podward(&["get", "pods"])?.contains("0/1"));
        fs::write(host.path("out/ready"), "")?;
        host.ready("web")?;
        fs::remove_file(host.path("out/ready"))?;
        let after = host.until_pod("web", "unready", |pod| !pod.ready())?;
        assert_eq!(after.id("main"), pod.id("main"), "readiness restarts nothing");
        assert!(host.has_event("Unhealthy", "Readiness probe failed")?);
        let set = host.podward(&["get", "ds", "web"])?;
        assert!(
            set.lines().nth(1).is_some_and(|row| row.split_whitespace().nth(3) == Some("0")),
            "{set}"
        );
        Ok(())
    })
}

#[test]
fn a_failing_liveness_probe_restarts_the_container() -> Result<()> {
    on_host(|host| {
        let probe = each_second(&json!({"exec": {"command": ["test", "!", "-e", "/out/sick"]}}));
        let set =
            Set::named("web").container(&json!({"livenessProbe": probe})).out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        host.ready("web")?;
        fs::write(host.path("out/sick"), "")?;
        host.until_pod("web", "restarted", |pod| pod.restarts("main") > 0)?;
        fs::remove_file(host.path("out/sick"))?;
        assert!(
            host.has_event("Killing", "Container main failed liveness probe, will be restarted")?
        );
        assert!(host.has_event("Unhealthy", "Liveness probe failed")?);
        Ok(())
    })
}

#[test]
fn the_other_probes_wait_for_the_startup_probe_which_restarts_what_never_starts() -> Result<()> {
    on_host(|host| {
        let startup = each_second(
            &json!({"exec": {"command": ["test", "-e", "/out/up"]}, "failureThreshold": 60}),
        );
        let liveness = each_second(&json!({"exec": {"command": ["test", "-e", "/out/alive"]}}));
        let slow = Set::named("slow")
            .container(&json!({"startupProbe": startup, "livenessProbe": liveness}))
            .out(&host.path("out"));
        host.write("slow.yaml", &slow.text())?;
        let never = each_second(&json!({"exec": {"command": ["false"]}, "failureThreshold": 2}));
        let never = Set::named("never").container(&json!({"startupProbe": never}));
        host.write("never.yaml", &never.text())?;
        host.until_pod("never", "restarted", |pod| pod.restarts("main") > 0)?;
        assert!(
            host.has_event("Killing", "Container main failed startup probe, will be restarted")?
        );
        let pod = host.running("slow")?;
        assert_eq!(pod.restarts("main"), 0, "liveness does not count yet");
        assert_eq!(pod.container("main")["started"], false);
        fs::write(host.path("out/alive"), "")?;
        fs::write(host.path("out/up"), "")?;
        host.ready("slow")?;
        fs::remove_file(host.path("out/alive"))?;
        host.until_pod("slow", "restarted", |pod| pod.restarts("main") > 0)?;
        Ok(())
    })
}

/// A container that serves pages below /www on a port.
fn server(port: u16) -> Value {
    let script = format!("mkdir -p /www; echo hello > /www/page; exec httpd -f -p {port} -h /www");
    json!({"command": ["sh", "-c", script], "ports": [{"name": "web", "containerPort": port, "hostPort": port}]})
}

#[test]
fn http_and_tcp_probes_reach_the_pod_by_number_and_by_the_ports_name() -> Result<()> {
    on_host(|host| {
        let port = free_port()?;
        let good = each_second(&json!({
            "httpGet": {"path": "/page?x=1", "port": "web", "httpHeaders": [{"name": "Host", "value": "example"}]},
        }));
        let tcp = each_second(&json!({"tcpSocket": {"port": port}, "failureThreshold": 30}));
        let mut container = server(port);
        container["readinessProbe"] = good;
        container["startupProbe"] = tcp;
        host.write("web.yaml", &Set::named("web").container(&container).text())?;
        host.ready("web")?;
        container["readinessProbe"]["httpGet"]["path"] = json!("/missing");
        host.write("web.yaml", &Set::named("web").container(&container).text())?;
        host.until("the failure to be told", || {
            Ok(host.has_event("Unhealthy", "HTTP probe failed with statuscode: 404")?.then_some(()))
        })
    })
}

#[test]
fn a_port_that_nobody_listens_on_fails_the_probe_with_the_reason() -> Result<()> {
    on_host(|host| {
        let probe = each_second(&json!({"tcpSocket": {"port": free_port()?}}));
        host.write(
            "web.yaml",
            &Set::named("web").container(&json!({"readinessProbe": probe})).text(),
        )?;
        host.until("the failure to be told", || {
            Ok(host.has_event("Unhealthy", "Readiness probe failed: ")?.then_some(()))
        })?;
        let why = host.podward(&["why", "ds/web"])?;
        assert!(why.contains("container main: Readiness probe failed: "), "{why}");
        Ok(())
    })
}

#[test]
fn a_probe_that_takes_too_long_fails_and_leaves_no_process() -> Result<()> {
    on_host(|host| {
        let probe =
            each_second(&json!({"exec": {"command": ["sleep", "983"]}, "failureThreshold": 1000}));
        host.write(
            "web.yaml",
            &Set::named("web").container(&json!({"livenessProbe": probe})).text(),
        )?;
        host.until("the failure to be told", || {
            Ok(host.has_event("Unhealthy", "timed out after 1s")?.then_some(()))
        })?;
        let hung = crate::support::containerd::processes(|line| line == ["sleep", "983"]);
        assert!(hung.len() <= 1, "only the one that runs now: {hung:?}");
        Ok(())
    })
}

#[test]
fn a_new_agent_leaves_a_ready_container_ready() -> Result<()> {
    on_host(|host| {
        let probe = json!({"exec": {"command": ["test", "-e", "/out/ready"]}, "periodSeconds": 30});
        fs::write(host.path("out/ready"), "")?;
        let set = Set::named("web")
            .script(STAY)
            .container(&json!({"readinessProbe": probe, "startupProbe": probe}))
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        let before = host.ready("web")?;
        host.restart_agent()?;
        let after = host.until_pod("web", "seen again", |pod| !pod.container("main").is_null())?;
        assert!(after.ready());
        assert_eq!(after.0["status"]["conditions"], before.0["status"]["conditions"]);
        Ok(())
    })
}
