//! Validation of probes and lifecycle hooks, also of those that are not run yet.

use serde_json::Value;

use crate::base::signals::signal_number;
use crate::spec::{names, report::Report, spot::Spot, validate_container::exactly_one_of};

/// The largest number of the API's 32 bit fields.
const MOST: i64 = i32::MAX as i64;

/// Checks the three probes of a container.
pub fn probes(container: &Spot, report: &mut Report) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.has(name) else {
            continue;
        };
        exactly_one_of(&probe, &["exec", "httpGet", "tcpSocket", "grpc"], report);
        handler(&probe, container, report);
        for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"]
        {
            probe.at(field).within(report, 0, MOST);
        }
        let success = probe.at("successThreshold");
        success.within(report, 0, MOST);
        if name != "readinessProbe" && success.number().is_some_and(|number| number > 1) {
            success.fault(report, "must be 1 for this kind of probe", "write 1, or remove it");
        }
        if let Some(grace) = probe.has("terminationGracePeriodSeconds") {
            if name == "readinessProbe" {
                grace.fault(report, "a readiness probe stops nothing", "remove it");
            } else {
                grace.within(report, 1, i64::MAX);
            }
        }
    }
}

/// Checks the hooks of a container.
pub fn hooks(container: &Spot, pod: &Spot, report: &mut Report) {
    stop_signal(container, pod, report);
    for name in ["postStart", "preStop"] {
        let Some(hook) = container.at("lifecycle").has(name) else {
            continue;
        };
        exactly_one_of(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], report);
        handler(&hook, container, report);
        let grace = pod.at("terminationGracePeriodSeconds").number().unwrap_or(30);
        let seconds = hook.at("sleep").at("seconds");
        if seconds.number().is_some_and(|seconds| seconds < 0 || seconds > grace) {
            let remedy = format!("write 0 to {grace}, the pod's terminationGracePeriodSeconds");
            seconds.fault(report, "is out of bounds", remedy);
        }
    }
}

/// Checks the signal that stops a container: what Linux calls it, and only beside `os.name`, as in Kubernetes.
fn stop_signal(container: &Spot, pod: &Spot, report: &mut Report) {
    let signal = container.at("lifecycle").at("stopSignal");
    let Some(text) = signal.text() else { return };
    if !text.starts_with("SIG") || signal_number(text).is_none() {
        signal.fault(report, "is no signal of Linux", "write one such as SIGUSR1 or SIGRTMIN+3");
    } else if pod.at("os").at("name").text().is_none_or(str::is_empty) {
        let remedy = "write os: {name: linux} in the pod's spec, or remove it";
        signal.fault(report, "may not be set without spec.os.name", remedy);
    }
}

/// Checks what a probe or hook does.
fn handler(handler: &Spot, container: &Spot, report: &mut Report) {
    if let Some(exec) = handler.has("exec")
        && exec.at("command").len() == 0
    {
        report.fault(&exec.at("command").path, &Value::Null, "is empty", "give a command");
    }
    if let Some(http) = handler.has("httpGet") {
        http.at("scheme").one_of(report, &["HTTP", "HTTPS"]);
        port(&http.at("port"), container, report);
        for header in http.at("httpHeaders").items() {
            header.at("name").check(report, names::header);
        }
    }
    port(&handler.at("tcpSocket").at("port"), container, report);
    handler.at("grpc").at("port").within(report, 1, 65535);
}

/// Checks a port by number or by the name that the container gives it.
fn port(port: &Spot, container: &Spot, report: &mut Report) {
    port.within(report, 1, 65535);
    let Some(name) = port.text() else { return };
    if let Ok(number) = name.parse::<u32>() {
        if number == 0 || number > 65535 {
            port.fault(report, "is out of bounds", "write a number from 1 to 65535");
        }
        return;
    }
    let before = report.faults.len();
    port.check(report, names::port_name);
    let ports = container.at("ports").items();
    let known = ports.iter().any(|port| port.at("name").text() == Some(name));
    if report.faults.len() == before && !known {
        let problem = "no port of this container has that name";
        report.warn(
            &port.path,
            port.value,
            problem,
            "name a port of the container, or write its number",
        );
    }
}
