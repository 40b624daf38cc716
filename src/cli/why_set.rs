//! `podward why ds/NAME`: where a set stands on this node, asked of the agent.

use std::{io::Write, path::Path, process::ExitCode};

use anyhow::Context as _;
use serde_json::Value;

use crate::agent::wire::WhyRequest;
use crate::base::ids::SetKey;
use crate::node::Report;

use super::client::{self, refusal};
use super::document;
use super::failure::Outcome;
use super::why::render;

/// Prints the agent's explanation.
pub fn run(set: &SetKey, json: bool, socket: &Path, out: &mut dyn Write) -> Outcome {
    let request = WhyRequest { namespace: set.namespace.clone(), name: set.name.clone() };
    let answer = client::converse(async {
        let mut control = client::connect(socket).await?;
        Ok(control.why(request).await.map_err(|status| refusal(&status))?.into_inner())
    })?;
    let why: Value = serde_json::from_str(&answer.json).context("read the agent's answer")?;
    if json {
        document::json(&why, out)?;
    } else {
        print(&why, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints an explanation for people: the verdict clause by clause, what holds the set, what its pods wait for.
fn print(why: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    let report: Report = serde_json::from_value(why.clone()).context("read the agent's answer")?;
    write!(out, "{}", render(&report))?;
    if let Some(hold) = why["hold"]["message"].as_str() {
        writeln!(out, "held: {hold}")?;
    }
    for pod in why["pods"].as_array().into_iter().flatten() {
        let name = pod["name"].as_str().unwrap_or_default();
        let notes: Vec<&str> =
            pod["notes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match notes.as_slice() {
            [] => writeln!(out, "pod {name}: running")?,
            notes => writeln!(out, "pod {name}: {}", notes.join("; "))?,
        }
    }
    Ok(())
}
