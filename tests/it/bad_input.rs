//! Bad input: one clear message each, the good beside it goes on, and running pods are untouched.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::Result;
use serde_json::json;

use crate::support::set::Set;
use crate::support::{Host, on_host};

/// Lets one set run, then something bad happen; demands that an event or a log line says all of `words`, that a set which comes
/// afterwards runs, and that the first was not touched.
fn survives(bad: impl FnOnce(&mut Host) -> Result<()>, words: &[&str]) -> Result<()> {
    on_host(|host| {
        host.write("good.yaml", &Set::named("good").text())?;
        let before = host.running("good")?;
        bad(host)?;
        host.until(&format!("a message with {words:?}"), || {
            let events = host.objects("events")?;
            let log = fs::read_to_string(host.path("agent.log"))?;
            let messages = events.iter().filter_map(|event| event["message"].as_str());
            let told = messages
                .chain(log.lines())
                .any(|line| words.iter().all(|word| line.contains(word)));
            Ok(told.then_some(()))
        })?;
        if !host.path("manifests").exists() {
            fs::rename(host.path("elsewhere"), host.path("manifests"))?;
        }
        host.write("later.yaml", &Set::named("later").text())?;
        host.running("later")?;
        let after = host.running("good")?;
        assert_eq!(
            (after.uid(), after.id("main"), after.restarts("main")),
            (before.uid(), before.id("main"), 0)
        );
        Ok(())
    })
}

#[test]
fn malformed_yaml() -> Result<()> {
    survives(|host| host.write("bad.yaml", "kind: DaemonSet\n  metadata: [\n"), &["bad.yaml"])
}

#[test]
fn a_set_with_faults_beside_a_good_one() -> Result<()> {
    survives(
        |host| {
            let bad = Set::named("bad").pod(&json!({"restartPolicy": "Never"}));
            host.write(
                "both.yaml",
                &format!("{}---\n{}", bad.text(), Set::named("beside").text()),
            )?;
            host.running("beside")?;
            assert!(host.pods_of("bad")?.is_empty());
            Ok(())
        },
        &["both.yaml", "restartPolicy"],
    )
}

#[test]
fn a_running_set_that_becomes_faulty_keeps_its_last_good_version() -> Result<()> {
    survives(
        |host| host.write("good.yaml", &Set::named("good").container(&json!({"image": ""})).text()),
        &["good.yaml", "image"],
    )
}

#[test]
fn an_unknown_field_is_named_with_its_nearest_neighbour() -> Result<()> {
    survives(
        |host| host.write("bad.yaml", &Set::named("bad").pod(&json!({"hostNetwrok": true})).text()),
        &["bad.yaml", "hostNetwrok", "hostNetwork"],
    )
}

#[test]
fn a_wrong_kind_is_ignored_with_its_reason() -> Result<()> {
    on_host(|host| {
        host.write(
            "service.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {}\n",
        )?;
        host.write("good.yaml", &Set::named("good").text())?;
        host.running("good")?;
        let file = host.path("manifests/service.yaml").display().to_string();
        let said = host.podward(&["validate", "-f", &file])?;
        assert!(said.contains("Service"), "{said}");
        Ok(())
    })
}

#[test]
fn a_file_of_ten_megabytes() -> Result<()> {
    survives(
        |host| {
            host.write(
                "huge.yaml",
                &format!("{}# {}\n", Set::named("huge").text(), "x".repeat(10 << 20)),
            )
        },
        &["huge.yaml"],
    )
}

#[test]
fn a_loop_of_symlinks() -> Result<()> {
    survives(
        |host| {
            symlink(host.path("manifests/b.yaml"), host.path("manifests/a.yaml"))?;
            symlink(host.path("manifests/a.yaml"), host.path("manifests/b.yaml"))?;
            Ok(())
        },
        &["a.yaml"],
    )
}

#[test]
fn an_unreadable_file_is_not_a_deleted_one() -> Result<()> {
    survives(
        |host| {
            // Root may read everything, so the way there is broken instead: a link to nowhere under the same name.
            symlink(host.path("nowhere"), host.path("link"))?;
            fs::rename(host.path("link"), host.path("manifests/good.yaml"))?;
            Ok(())
        },
        &["good.yaml"],
    )
}

#[test]
fn the_same_set_in_two_files() -> Result<()> {
    survives(
        |host| {
            host.write(
                "second.yaml",
                &Set::named("good")
                    .container(&json!({"env": [{"name": "A", "value": "b"}]}))
                    .text(),
            )
        },
        &["second.yaml", "default/good"],
    )
}

#[test]
fn a_directory_that_vanishes_deletes_nothing() -> Result<()> {
    survives(|host| Ok(fs::rename(host.path("manifests"), host.path("elsewhere"))?), &["manifests"])
}

#[test]
fn a_file_that_is_still_being_written_removes_nothing() -> Result<()> {
    on_host(|host| {
        let text = Set::named("good").text();
        host.write("good.yaml", &text)?;
        let before = host.running("good")?;
        let path = host.path("manifests/good.yaml");
        for length in [0, 1, text.len() / 3, text.len() - 3] {
            fs::write(&path, &text[..length])?;
            host.podward(&["get", "pods"])?;
        }
        fs::write(&path, &text)?;
        host.podward(&["sync"])?;
        let after = host.running("good")?;
        assert_eq!((after.uid(), after.id("main")), (before.uid(), before.id("main")));
        Ok(())
    })
}

#[test]
fn settings_with_an_unknown_key_stop_the_start_and_name_the_nearest_one() -> Result<()> {
    let Some(mut host) = Host::new()? else {
        return Ok(());
    };
    host.configure("containerdd", json!({}))?;
    host.spawn_agent()?;
    let said = Host::reads(&host.path("agent.log"), "containerdd")?;
    assert!(said.contains("did you mean") || said.matches("containerd").count() > 1, "{said}");
    Ok(())
}

#[test]
fn settings_that_break_while_the_agent_runs_change_nothing() -> Result<()> {
    on_host(|host| {
        host.describe_node(&json!({"disk": "ssd"}), &json!([]))?;
        host.write(
            "ssd.yaml",
            &Set::named("ssd").pod(&json!({"nodeSelector": {"disk": "ssd"}})).text(),
        )?;
        let before = host.running("ssd")?;
        let good = fs::read_to_string(host.path("config.yaml"))?;
        fs::write(host.path("config.yaml"), "node: [\n")?;
        Host::reads(&host.path("agent.log"), "config.yaml")?;
        host.podward(&["sync"])?;
        assert_eq!(host.running("ssd")?.id("main"), before.id("main"));
        fs::write(host.path("config.yaml"), good)?;
        Ok(())
    })
}
