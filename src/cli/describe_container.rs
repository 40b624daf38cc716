//! The containers' part of a description.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerState, ContainerStatus, EnvVar, EnvVarSource, Probe,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::{
    api::resource::Quantity, apis::meta::v1::Time, util::intstr::IntOrString,
};

use super::page::{Page, date, truth};

/// Adds containers: those of a template, or with their statuses those of a pod.
pub fn containers(
    page: &mut Page,
    title: &str,
    containers: &[Container],
    statuses: Option<&[ContainerStatus]>,
    template: bool,
) {
    let (space, name_space) = if template { ("  ", " ") } else { ("", "") };
    let none = if containers.is_empty() { " <none>" } else { "" };
    page.line(format_args!("{space}{title}:{none}"));
    for container in containers {
        page.line(format_args!("  {name_space}{}:", container.name));
        let status = statuses.into_iter().flatten().find(|status| status.name == container.name);
        basics(page, container, status);
        lines(page, "Command", container.command.as_deref());
        lines(page, "Args", container.args.as_deref());
        if let Some(status) = status {
            states(page, status);
        }
        resources(page, container);
        for (label, probe) in [
            ("Liveness", &container.liveness_probe),
            ("Readiness", &container.readiness_probe),
            ("Startup", &container.startup_probe),
        ] {
            if let Some(probe) = probe {
                page.field(2, label, probe_text(probe));
            }
        }
        environment(page, container);
        mounts(page, container.volume_mounts.as_deref().unwrap_or_default());
    }
}

/// Image and ports.
fn basics(page: &mut Page, container: &Container, status: Option<&ContainerStatus>) {
    if let Some(status) = status {
        page.field(2, "Container ID", status.container_id.as_deref().unwrap_or_default());
    }
    page.field(2, "Image", container.image.as_deref().unwrap_or_default());
    if let Some(status) = status {
        page.field(2, "Image ID", &status.image_id);
    }
    let ports = container.ports.as_deref().unwrap_or_default();
    let joined =
        |port: fn(&ContainerPort) -> String| ports.iter().map(port).collect::<Vec<_>>().join(", ");
    let inner = joined(|port| {
        let name = port.name.as_deref().filter(|name| !name.is_empty());
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{}/{}{name}", port.container_port, port.protocol.as_deref().unwrap_or("TCP"))
    });
    let outer = joined(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        format!("{}/{protocol}", port.host_port.unwrap_or_default())
    });
    for (label, ports) in [("Port", inner), ("Host Port", outer)] {
        let several = if ports.contains(',') { "s" } else { "" };
        let ports = if ports.is_empty() { "<none>".to_owned() } else { ports };
        page.field(2, &format!("{label}{several}"), ports);
    }
    let profile = container.security_context.as_ref();
    if let Some(profile) = profile.and_then(|context| context.seccomp_profile.as_ref()) {
        page.field(2, "SeccompProfile", &profile.type_);
        if let Some(path) = &profile.localhost_profile {
            page.field(3, "LocalhostProfile", path);
        }
    }
}

/// A command or its arguments, one on each line.
fn lines(page: &mut Page, label: &str, words: Option<&[String]>) {
    let words = words.unwrap_or_default();
    if !words.is_empty() {
        page.line(format_args!("    {label}:"));
        for line in words.iter().flat_map(|word| word.split('\n')) {
            page.line(format_args!("      {line}"));
        }
    }
}

/// What the container does, and what became of its last run.
fn states(page: &mut Page, status: &ContainerStatus) {
    state(page, "State", status.state.as_ref());
    if status.last_state.as_ref().is_some_and(|last| last.terminated.is_some()) {
        state(page, "Last State", status.last_state.as_ref());
    }
    page.field(2, "Ready", truth(status.ready));
    page.field(2, "Restart Count", status.restart_count);
}

/// One state.
fn state(page: &mut Page, label: &str, state: Option<&ContainerState>) {
    let state = state.cloned().unwrap_or_default();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(running) = state.running {
        page.field(2, label, "Running");
        page.field(3, "Started", date(running.started_at.as_ref()));
    } else if let Some(ended) = state.terminated {
        page.field(2, label, "Terminated");
        for (label, text) in [("Reason", given(ended.reason)), ("Message", given(ended.message))] {
            if let Some(text) = text {
                page.field(3, label, text);
            }
        }
        page.field(3, "Exit Code", ended.exit_code);
        if let Some(signal) = ended.signal.filter(|signal| *signal > 0) {
            page.field(3, "Signal", signal);
        }
        let dates: [(&str, Option<Time>); 2] =
            [("Started", ended.started_at), ("Finished", ended.finished_at)];
        for (label, at) in dates {
            page.field(3, label, date(at.as_ref()));
        }
    } else {
        page.field(2, label, "Waiting");
        let waiting = state.waiting.unwrap_or_default();
        let texts = [("Reason", given(waiting.reason)), ("Message", given(waiting.message))];
        for (label, text) in texts {
            if let Some(text) = text {
                page.field(3, label, text);
            }
        }
    }
}

/// Limits and requests.
fn resources(page: &mut Page, container: &Container) {
    let resources = container.resources.clone().unwrap_or_default();
    let amounts = |page: &mut Page, label: &str, amounts: Option<BTreeMap<String, Quantity>>| {
        let amounts = amounts.unwrap_or_default();
        if !amounts.is_empty() {
            page.line(format_args!("    {label}:"));
            for (name, Quantity(amount)) in amounts {
                page.field(3, &name, amount);
            }
        }
    };
    amounts(page, "Limits", resources.limits);
    amounts(page, "Requests", resources.requests);
}

/// A probe in one line.
fn probe_text(probe: &Probe) -> String {
    let number = |number: Option<i32>, default| number.filter(|n| *n != 0).unwrap_or(default);
    let timing = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number(probe.initial_delay_seconds, 0),
        number(probe.timeout_seconds, 1),
        number(probe.period_seconds, 10),
        number(probe.success_threshold, 1),
        number(probe.failure_threshold, 3),
    );
    let port = |port: &IntOrString| match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    if let Some(exec) = &probe.exec {
        let command = exec.command.as_deref().unwrap_or_default().join(" ");
        format!("exec [{command}] {timing}")
    } else if let Some(http) = &probe.http_get {
        let scheme = http.scheme.as_deref().unwrap_or("HTTP").to_ascii_lowercase();
        let host = http.host.as_deref().unwrap_or_default();
        let path = http.path.as_deref().unwrap_or_default();
        let slash = if path.starts_with('/') || path.is_empty() { "" } else { "/" };
        format!("http-get {scheme}://{host}:{}{slash}{path} {timing}", port(&http.port))
    } else if let Some(tcp) = &probe.tcp_socket {
        format!(
            "tcp-socket {}:{} {timing}",
            tcp.host.as_deref().unwrap_or_default(),
            port(&tcp.port)
        )
    } else if let Some(grpc) = &probe.grpc {
        let service = grpc.service.as_deref().unwrap_or_default();
        format!("grpc <pod>:{} {service} {timing}", grpc.port)
    } else {
        format!("unknown {timing}")
    }
}

/// The environment.
fn environment(page: &mut Page, container: &Container) {
    let from = container.env_from.as_deref().unwrap_or_default();
    if !from.is_empty() {
        page.line("    Environment Variables from:");
    }
    for source in from {
        let (name, kind, optional) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => (&map.name, "ConfigMap", map.optional),
            (None, Some(secret)) => (&secret.name, "Secret", secret.optional),
            (None, None) => continue,
        };
        let prefix = source.prefix.as_deref().filter(|prefix| !prefix.is_empty());
        let prefix = prefix.map(|prefix| format!(" with prefix '{prefix}'")).unwrap_or_default();
        page.line(format_args!(
            "      {name}\t{kind}{prefix}\tOptional: {}",
            optional.unwrap_or_default()
        ));
    }
    let variables = container.env.as_deref().unwrap_or_default();
    if variables.is_empty() {
        return page.field(2, "Environment", "<none>");
    }
    page.line("    Environment:");
    for variable in variables {
        self::variable(page, variable);
    }
}

/// One variable.
fn variable(page: &mut Page, variable: &EnvVar) {
    let name = &variable.name;
    let Some(from) = &variable.value_from else {
        for (index, line) in variable.value.as_deref().unwrap_or_default().split('\n').enumerate() {
            if index == 0 {
                page.field(3, name, line);
            } else {
                page.line(format_args!("      \t{line}"));
            }
        }
        return;
    };
    page.field(3, name, source_text(from));
}

/// Where a variable's value comes from.
fn source_text(from: &EnvVarSource) -> String {
    if let Some(field) = &from.field_ref {
        format!(" ({}:{})", field.api_version.as_deref().unwrap_or("v1"), field.field_path)
    } else if let Some(resource) = &from.resource_field_ref {
        format!(" ({})", resource.resource)
    } else if let Some(secret) = &from.secret_key_ref {
        format!(
            "<set to the key '{}' in secret '{}'>\tOptional: {}",
            secret.key,
            secret.name,
            secret.optional.unwrap_or_default()
        )
    } else if let Some(map) = &from.config_map_key_ref {
        format!(
            "<set to the key '{}' of config map '{}'>\tOptional: {}",
            map.key,
            map.name,
            map.optional.unwrap_or_default()
        )
    } else {
        String::new()
    }
}

/// The mounts, sorted by path.
fn mounts(page: &mut Page, mounts: &[VolumeMount]) {
    if mounts.is_empty() {
        return page.field(2, "Mounts", "<none>");
    }
    page.line("    Mounts:");
    let mut mounts: Vec<&VolumeMount> = mounts.iter().collect();
    mounts.sort_unstable_by_key(|mount| &mount.mount_path);
    for mount in mounts {
        let mode = if mount.read_only == Some(true) { "ro" } else { "rw" };
        let sub = mount.sub_path.as_deref().filter(|path| !path.is_empty());
        let sub = sub.map(|path| format!(",path={path:?}")).unwrap_or_default();
        page.line(format_args!("      {} from {} ({mode}{sub})", mount.mount_path, mount.name));
    }
}
