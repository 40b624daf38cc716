//! The command line without an agent: exit codes, messages, and what needs no containerd.

use std::fs;
use std::process::{Command, Output};

use anyhow::Result;
use serde_json::Value;

use crate::support::Host;

/// Runs the binary with no agent to talk to.
fn podward(arguments: &[&str]) -> Result<Output> {
    let nowhere = std::env::temp_dir().join("podward-it-no-such.sock");
    Ok(Command::new(Host::binary()).args(arguments).env("PODWARD_SOCKET", nowhere).output()?)
}

/// Standard output and error as one text.
fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn every_example_is_valid() -> Result<()> {
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))? {
        let path = entry?.path().display().to_string();
        let output = podward(&["validate", "-f", &path])?;
        assert_eq!(output.status.code(), Some(0), "{path}: {}", said(&output));
    }
    Ok(())
}

#[test]
fn validate_refuses_what_cannot_run_and_says_where() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("bad.yaml");
    fs::write(&file, "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: x}\nspec: {}\n")?;
    let output = podward(&["validate", "-f", &file.display().to_string()])?;
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("bad.yaml") && text.contains("spec.selector"), "{text}");
    Ok(())
}

#[test]
fn why_needs_no_agent_when_both_sides_are_files() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let node = dir.path().join("node.yaml");
    fs::write(&node, "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {logs: ship}}\n")?;
    let shipper = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/log-shipper.yaml");
    let output =
        podward(&["why", "-f", shipper, "--node", &node.display().to_string(), "-o", "json"])?;
    let why: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(why["node"], "n1");
    assert_eq!(why["shouldRun"], true);
    assert_eq!(why["evictAfterSeconds"], Value::Null);
    Ok(())
}

#[test]
fn without_an_agent_the_answer_names_the_socket_and_the_remedy() -> Result<()> {
    let output = podward(&["get", "pods"])?;
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("podward-it-no-such.sock") && text.contains("systemctl"), "{text}");
    Ok(())
}

#[test]
fn wrong_usage_exits_with_two() -> Result<()> {
    assert_eq!(podward(&["no-such-verb"])?.status.code(), Some(2));
    assert_eq!(podward(&["get"])?.status.code(), Some(2));
    Ok(())
}

#[test]
fn completion_is_there_for_the_usual_shells() -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let output = podward(&["completion", shell])?;
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("podward"),
            "{shell}"
        );
    }
    Ok(())
}

#[test]
fn a_closed_pipe_is_no_failure() -> Result<()> {
    let binary = Host::binary();
    let line = format!("'{}' completion bash | head -n 1", binary.display());
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &line]).output()?;
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{}", said(&output));
    Ok(())
}
