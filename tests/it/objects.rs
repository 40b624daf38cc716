//! ConfigMaps and Secrets: how they reach pods, what their changes do, and that secrets stay secret.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::support::set::Set;
use crate::support::{Host, on_host};

/// A value that must show up nowhere.
const PASSWORD: &str = "hunter2-correct-horse";

/// A ConfigMap of namespace `default` with one key, `word`.
fn config(word: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{word: {word}}}\n{more}\n"
    )
}

/// A set whose container takes a variable from a key of an object.
fn taking(name: &str, source: &str, object: &str) -> Set {
    let from = json!({source: {"name": object, "key": "word"}});
    Set::named(name).container(&json!({"env": [{"name": "WORD", "valueFrom": from}]}))
}

/// Writes a key of a Secret into the objects' directory, closed to others.
fn own_secret(host: &Host, word: &str) -> Result<()> {
    let dir = host.path("objects/default/secrets/api");
    fs::create_dir_all(&dir)?;
    for dir in [dir.as_path(), host.path("objects/default/secrets").as_path()] {
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    let file = dir.join("word");
    fs::write(&file, word)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    Ok(())
}

#[test]
fn a_changed_variable_replaces_the_pod_and_a_deleted_object_keeps_it() -> Result<()> {
    on_host(|host| {
        host.write("c.yaml", &config("one", ""))?;
        host.write("web.yaml", &taking("web", "configMapKeyRef", "c").text())?;
        let before = host.running("web")?;
        host.write("c.yaml", &config("two", ""))?;
        let after =
            host.until_pod("web", "replaced", |pod| pod.running() && pod.hash() != before.hash())?;
        host.remove("c.yaml")?;
        host.until("the set to be held", || {
            let why = host.podward(&["why", "ds/web"])?;
            Ok(why.contains("configmap \"default/c\" not found").then_some(()))
        })?;
        assert_eq!(host.running("web")?.uid(), after.uid());
        host.restart_agent()?;
        assert_eq!(host.running("web")?.uid(), after.uid());
        Ok(())
    })
}

#[test]
fn a_missing_key_is_named_and_the_pod_starts_when_it_appears() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &taking("web", "secretKeyRef", "api").text())?;
        let waiting = host.until_pod("web", "waiting", |pod| {
            pod.waits_for("main") == "CreateContainerConfigError"
        })?;
        own_secret(host, PASSWORD)?;
        let pod = host.running("web")?;
        assert_eq!(pod.uid(), waiting.uid());
        // What this host serves itself replaces nothing.
        own_secret(host, "another")?;
        host.podward(&["sync"])?;
        assert_eq!(host.running("web")?.uid(), pod.uid());
        Ok(())
    })
}

#[test]
fn a_secret_that_others_can_read_is_not_served_until_it_is_closed() -> Result<()> {
    on_host(|host| {
        own_secret(host, PASSWORD)?;
        let file = host.path("objects/default/secrets/api/word");
        fs::set_permissions(&file, Permissions::from_mode(0o644))?;
        host.write("web.yaml", &taking("web", "secretKeyRef", "api").text())?;
        host.until_pod("web", "waiting", |pod| {
            pod.waits_for("main") == "CreateContainerConfigError"
        })?;
        let said = host.run(&["sync"])?;
        let said = String::from_utf8(said.stdout)?;
        let remedy = format!("chmod go= {}", file.display());
        ensure!(said.contains(&remedy) && !said.contains(PASSWORD), "{said}");
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        host.running("web")?;
        Ok(())
    })
}

#[test]
fn an_immutable_object_stays_as_it_is() -> Result<()> {
    on_host(|host| {
        host.write("c.yaml", &config("one", "immutable: true"))?;
        host.write("web.yaml", &taking("web", "configMapKeyRef", "c").text())?;
        let before = host.running("web")?;
        host.write("c.yaml", &config("two", "immutable: true"))?;
        host.until("the fault to be told", || {
            let said = String::from_utf8(host.run(&["sync"])?.stdout)?;
            Ok(said.contains("field is immutable when `immutable` is set").then_some(()))
        })?;
        assert_eq!(host.running("web")?.uid(), before.uid());
        Ok(())
    })
}

#[test]
fn a_secrets_value_shows_up_in_no_output_and_no_log() -> Result<()> {
    on_host(|host| {
        let secret = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: api}}\nstringData: {{word: {PASSWORD}}}\n"
        );
        host.write("api.yaml", &secret)?;
        host.write("web.yaml", &taking("web", "secretKeyRef", "api").text())?;
        host.running("web")?;
        host.write("bad.yaml", &secret.replace("{word:", "{word: [").replace("}\n", "]}\n"))?;
        host.write("twice.yaml", &secret)?;
        let file = host.path("manifests/api.yaml").display().to_string();
        let bad = host.path("manifests/bad.yaml").display().to_string();
        for arguments in [
            &["validate", "-f", &file, "-f", &bad][..],
            &["validate", "-f", &file, "-o", "json"],
            &["sync"],
            &["sync", "--dry-run"],
            &["why", "ds/web"],
            &["describe", "pods"],
            &["describe", "ds"],
            &["get", "pods", "-o", "yaml"],
            &["get", "ds", "-o", "yaml"],
            &["get", "events", "-o", "json"],
        ] {
            let output = host.run(arguments)?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            ensure!(!said.contains(PASSWORD), "{arguments:?}: {said}");
        }
        let log = fs::read_to_string(host.path("agent.log"))?;
        ensure!(!log.contains(PASSWORD), "{log}");
        let snapshot = fs::metadata(host.path("state/snapshot.json"))?;
        assert_eq!(snapshot.permissions().mode() & 0o777, 0o600);
        Ok(())
    })
}
