//! The reference page docs/config.md, made from the table of keys.

use std::fmt::Write as _;

use super::keys::{Key, LATER, keys};
use super::settings::Settings;

/// The page.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\
         \n\
         <!-- Made from the tables in src/config/keys*.rs: `PODWARD_BLESS=1 cargo test config` rewrites it. -->\n\
         \n\
         podward reads `/etc/podward/config.yaml`, or the file that `--config` or `PODWARD_CONFIG` names. Every key is\n\
         optional, and a missing default file means the defaults. A flag goes before an environment variable,\n\
         a variable before the file. Unknown keys are errors.\n\
         \n\
         *Live* keys take effect as soon as the file changes; the others when the agent starts again.\n\
         \n\
         ```yaml\n\
         cluster: default\n\
         node:\n  name: host-1\n  labels: {disktype: ssd}\n  taints: [{key: dedicated, value: gpu, effect: NoSchedule}]\n\
         sources:\n- file: {path: /etc/podward/manifests}\n- http: {url: https://specs.example/fleet.yaml, interval: 30s, tokenFile: /etc/podward/token}\n- etcd: {}\n\
         etcd: {endpoints: [https://10.0.0.1:2379], caFile: /etc/podward/etcd-ca.pem}\n\
         trustedKeys: [/etc/podward/keys/ops.pub]\n\
         metrics: {listen: \"127.0.0.1:9577\"}\n\
         containerd: {address: /run/containerd/containerd.sock, cgroupDriver: auto}\n\
         logs: {maxSize: 10Mi, maxFiles: 5}\n\
         fieldValidation: Strict\n\
         crashLoopBackOff: {maxContainerRestartPeriod: 5m}\n\
         images:\n  gcHighThresholdPercent: 85\n  policy:\n    allowed: [registry.example/team/*, docker.io/library]\n    \
         signatures: [{match: registry.example, keys: [/etc/podward/keys/cosign.pub]}]\n\
         ```\n\
         \n\
         | key | value | default | variable | flag | live |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    let defaults = Settings::default();
    for key in keys() {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} |",
            if key.in_file { format!("`{}`", key.path) } else { format!("({})", key.path) },
            key.sort,
            default(key, &defaults),
            key.variable().map(|name| format!("`{name}`")).unwrap_or_default(),
            key.flag.map(|flag| format!("`{flag}`")).unwrap_or_default(),
            if key.live { "yes" } else { "" },
        );
    }
    page.push('\n');
    for key in keys() {
        let _ = writeln!(page, "- `{}`: {}", key.path, key.about);
    }
    let later: Vec<String> = LATER.iter().map(|key| format!("`{key}`")).collect();
    let _ = writeln!(
        page,
        "\nReserved for later versions and refused until then: {}.",
        later.join(", ")
    );
    page
}

/// The default of a key.
fn default(key: &Key, defaults: &Settings) -> String {
    match (key.otherwise, (key.show)(defaults)) {
        ("", shown) => format!("`{shown}`"),
        (otherwise, _) => otherwise.to_owned(),
    }
}
