//! Seeing: logs, the control socket, and what `podward` prints.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::set::{STAY, Set};
use crate::support::{Host, on_host};

/// The header of a table, its columns separated by single spaces.
fn header(table: &str) -> String {
    table.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn logs_have_the_form_and_the_place_that_shippers_expect() -> Result<()> {
    on_host(|host| {
        let script = format!("echo to-out; echo to-err >&2; printf partial; {STAY}");
        host.write("web.yaml", &Set::named("web").script(&script).text())?;
        let pod = host.running("web")?;
        let path = host.log_path(&pod, "main", 0);
        let text = Host::reads(&path, "to-err")?;
        let line = text.lines().find(|line| line.ends_with("to-out")).context("to-out")?;
        let [time, stream, tag, message] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            anyhow::bail!("not a CRI line: {line}");
        };
        assert_eq!((stream, tag, message), ("stdout", "F", "to-out"));
        assert!(
            time.contains('T') && time.contains('.') && (time.ends_with('Z') || time.contains('+')),
            "{time}"
        );
        assert!(text.lines().any(|line| line.contains(" stderr F to-err")), "{text}");

        let entries = fs::read_dir(host.path("containers"))?.flatten().map(|entry| entry.path());
        let shipped =
            entries.into_iter().find(|path| path.is_symlink()).context("a symlink for shippers")?;
        let name = shipped.file_name().context("a name")?.to_string_lossy().into_owned();
        assert_eq!(name, format!("{}_default_main-{}.log", pod.name(), pod.id("main")));
        assert_eq!(fs::canonicalize(&shipped)?, fs::canonicalize(&path)?);
        Ok(())
    })
}

#[test]
fn logs_are_rotated_and_none_of_the_last_lines_is_lost() -> Result<()> {
    on_host(|host| {
        let script = format!(
            "yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -n 350000; echo finished; {STAY}"
        );
        host.write("chatty.yaml", &Set::named("chatty").script(&script).text())?;
        let pod = host.running("chatty")?;
        let path = host.log_path(&pod, "main", 0);
        Host::reads(&path, " up\n")?;
        let folder = path.parent().context("a folder")?;
        let sizes: Vec<u64> = fs::read_dir(folder)?
            .flatten()
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .collect();
        assert!(sizes.len() >= 3, "25 MB of text make more than two files: {sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 11 << 20), "{sizes:?}");
        assert_eq!(host.podward(&["logs", &pod.name(), "--tail", "2"])?, "finished\nup\n");
        Ok(())
    })
}

#[test]
fn logs_can_be_cut_followed_and_asked_of_the_last_run() -> Result<()> {
    on_host(|host| {
        let script = format!(
            "if [ ! -e /out/once ]; then touch /out/once; echo first run; exit 1; fi; echo one; echo two; echo three; while [ ! -e /out/more ]; do usleep 20000; done; echo four; {STAY}"
        );
        let set = Set::named("web")
            .script(&script)
            .also("other", &format!("echo other; {STAY}"))
            .out(&host.path("out"));
        host.write("web.yaml", &set.text())?;
        let pod = host
            .until_pod("web", "running again", |pod| pod.running() && pod.restarts("main") == 1)?;
        let name = pod.name();
        Host::reads(&host.log_path(&pod, "main", 1), "three")?;
        assert_eq!(host.podward(&["logs", &name, "-c", "main"])?, "one\ntwo\nthree\n");
        assert_eq!(host.podward(&["logs", &name, "-c", "main", "--tail", "2"])?, "two\nthree\n");
        assert_eq!(host.podward(&["logs", &name, "-c", "main", "-p"])?, "first run\n");
        assert_eq!(
            host.podward(&["logs", &name, "-c", "main", "--since", "1h"])?,
            "one\ntwo\nthree\n"
        );
        assert_eq!(host.podward(&["logs", &name, "-c", "other"])?, "other\nup\n");
        let stamped =
            host.podward(&["logs", &name, "-c", "main", "--timestamps", "--tail", "1"])?;
        assert!(stamped.ends_with(" three\n") && stamped.contains('T'), "{stamped}");
        let ambiguous = host.run(&["logs", &name])?;
        let errors = String::from_utf8_lossy(&ambiguous.stderr).into_owned();
        assert!(errors.contains("main") && errors.contains("other"), "which container? {errors}");

        let mut follow = host
            .command(&["logs", &name, "-c", "main", "-f", "--tail", "1"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(follow.stdout.take().context("piped")?).lines();
        let first = lines.next().context("a line")??;
        fs::write(host.path("out/more"), "")?;
        let second = lines.next().context("a line")??;
        follow.kill()?;
        follow.wait()?;
        assert_eq!((first.as_str(), second.as_str()), ("three", "four"));
        Ok(())
    })
}

#[test]
fn the_control_socket_is_for_root_and_its_group() -> Result<()> {
    on_host(|host| {
        let mode = fs::metadata(host.path("run/podward.sock"))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        Ok(())
    })
}

#[test]
fn tables_have_the_columns_of_kubectl() -> Result<()> {
    on_host(|host| {
        host.write(
            "web.yaml",
            &Set::named("web").pod(&json!({"nodeSelector": {"kubernetes.io/os": "linux"}})).text(),
        )?;
        let pod = host.running("web")?;
        let sets = host.podward(&["get", "ds"])?;
        assert_eq!(
            header(&sets),
            "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE"
        );
        assert!(sets.lines().nth(1).is_some_and(|line| line.starts_with("web ")), "{sets}");
        assert!(sets.contains("kubernetes.io/os=linux"), "{sets}");
        assert_eq!(
            header(&host.podward(&["get", "ds", "-A"])?),
            "NAMESPACE NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE"
        );
        let table = host.podward(&["get", "pods"])?;
        assert_eq!(header(&table), "NAME READY STATUS RESTARTS AGE");
        let row = table.lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        assert_eq!(row[..4], [&pod.name(), "1/1", "Running", "0"]);
        let wide = host.podward(&["get", "pods", "-o", "wide"])?;
        assert_eq!(
            header(&wide),
            "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
        );
        assert!(wide.contains(" it-node "), "{wide}");
        assert_eq!(header(&host.podward(&["get", "nodes"])?), "NAME STATUS ROLES AGE VERSION");
        assert_eq!(
            header(&host.podward(&["get", "events"])?),
            "LAST SEEN TYPE REASON OBJECT MESSAGE"
        );
        Ok(())
    })
}

#[test]
fn objects_are_kubernetes_shaped_in_json_yaml_and_by_name() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        host.write("db.yaml", &Set::named("db").text())?;
        let pod = host.running("web")?;
        host.running("db")?;
        let list: Value = serde_json::from_str(&host.podward(&["get", "pods", "-o", "json"])?)?;
        assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("v1"), &json!("List")));
        assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
        let one: Value = serde_json::from_str(&host.podward(&["get", "ds", "web", "-o", "json"])?)?;
        assert_eq!((&one["apiVersion"], &one["kind"]), (&json!("apps/v1"), &json!("DaemonSet")));
        assert!(host.podward(&["get", "ds", "web", "-o", "yaml"])?.contains("kind: DaemonSet"));
        assert_eq!(
            host.podward(&["get", "pods", "-l", "app=web", "-o", "name"])?.trim(),
            format!("pod/{}", pod.name())
        );
        assert_eq!(
            host.podward(&["get", "pods", "-l", "app notin (web, db)", "-o", "name"])?.trim(),
            ""
        );
        assert_eq!(host.podward(&["get", "ds", "web", "-o", "name"])?.trim(), "daemonset.apps/web");
        let labelled = host.podward(&["get", "pods", "--show-labels"])?;
        assert!(labelled.contains("app=web"), "{labelled}");
        for condition in ["Ready", "ContainersReady", "PodScheduled", "Initialized"] {
            let conditions = pod.0["status"]["conditions"].as_array().context("conditions")?;
            assert!(
                conditions.iter().any(|one| one["type"] == condition && one["status"] == "True"),
                "{condition}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_watch_shows_changes_as_they_come() -> Result<()> {
    on_host(|host| {
        let mut watch = host.command(&["get", "pods", "-w"]).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(watch.stdout.take().context("piped")?).lines();
        host.write("web.yaml", &Set::named("web").text())?;
        let mut seen = vec![];
        while !seen.iter().any(|line: &String| line.contains("1/1") && line.contains("Running")) {
            seen.push(lines.next().with_context(|| format!("the watch ended after {seen:?}"))??);
        }
        watch.kill()?;
        watch.wait()?;
        assert!(seen[0].starts_with("NAME"), "{seen:?}");
        assert_eq!(seen.iter().filter(|line| line.starts_with("NAME")).count(), 1, "{seen:?}");
        Ok(())
    })
}

#[test]
fn describe_tells_the_whole_story() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        let pod = host.running("web")?;
        let text = host.podward(&["describe", "pod", &pod.name()])?;
        for words in [
            "Name:",
            &pod.name(),
            "Node:",
            "it-node",
            "Containers:",
            "main:",
            "Image:",
            "State:",
            "Running",
            "Restart Count:",
            "Events:",
            "Started",
        ] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
        let text = host.podward(&["describe", "ds", "web"])?;
        for words in [
            "Selector:",
            "app=web",
            "Desired Number of Nodes Scheduled: 1",
            "Pods Status:",
            "1 Running",
            "Events:",
        ] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
        let text = host.podward(&["describe", "node", "it-node"])?;
        assert!(text.contains("kubernetes.io/hostname=") && text.contains("Taints:"), "{text}");
        Ok(())
    })
}

#[test]
fn why_answers_clause_by_clause() -> Result<()> {
    on_host(|host| {
        host.write(
            "ssd.yaml",
            &Set::named("ssd").pod(&json!({"nodeSelector": {"disk": "ssd"}})).text(),
        )?;
        host.podward(&["sync"])?;
        let why: Value = serde_json::from_str(&host.podward(&["why", "ds/ssd", "-o", "json"])?)?;
        assert_eq!(why["set"], "default/ssd");
        assert_eq!(why["node"], "it-node");
        assert_eq!(why["shouldRun"], false);
        let reasons = why["reasons"].as_array().context("reasons")?;
        assert!(
            reasons
                .iter()
                .any(|reason| reason["message"].as_str().is_some_and(|text| text.contains("disk"))),
            "{why:#}"
        );
        assert!(host.podward(&["why", "ds/ssd"])?.contains("disk"));
        Ok(())
    })
}

#[test]
fn a_dry_run_says_what_would_happen_and_does_nothing() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        host.running("web")?;
        host.podward(&["sync"])?;
        let nothing = host.podward(&["sync", "--dry-run"])?;
        assert!(!nothing.contains("web"), "a settled host has nothing to do: {nothing}");
        let before = host.containerd.tasks()?;
        host.podward(&["sync", "--dry-run"])?;
        assert_eq!(host.containerd.tasks()?, before);
        Ok(())
    })
}

#[test]
fn events_tell_what_happened_to_a_pod() -> Result<()> {
    on_host(|host| {
        host.write("web.yaml", &Set::named("web").text())?;
        host.running("web")?;
        host.until("events of the start", || {
            let events = host.objects("events")?;
            let told = |reason: &str| events.iter().any(|event| event["reason"] == reason);
            Ok((told("SuccessfulCreate") && told("Pulled") && told("Started")).then_some(()))
        })?;
        host.remove("web.yaml")?;
        host.until("an event Killing", || Ok(host.has_event("Killing", "main")?.then_some(())))
    })
}

#[test]
fn version_names_both_sides() -> Result<()> {
    on_host(|host| {
        let text = host.podward(&["version"])?;
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
        assert!(text.contains("containerd"), "{text}");
        Ok(())
    })
}
