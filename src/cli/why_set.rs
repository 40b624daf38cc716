//! `podward why ds/NAME`: where a set stands on this node, asked of the agent.

use std::{io::Write, path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::Value;

use crate::agent::handle::Kind;
use crate::agent::wire::WhyRequest;

use super::client::{self, refusal};
use super::document;
use super::failure::{Failure, Outcome};
use super::namespace::OneNamespace;
use super::resource;

/// What `why` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The set, as ds/NAME
    #[arg(value_name = "ds/NAME")]
    pub set: String,
    #[command(flatten)]
    pub namespace: OneNamespace,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Output>,
}

/// How the explanation is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// JSON.
    Json,
}

/// Prints the agent's explanation.
pub fn run(args: &Args, socket: &Path, out: &mut dyn Write) -> Outcome {
    let (Kind::DaemonSet, name) = resource::named(&args.set)? else {
        let hint = Some("write ds/NAME".to_owned());
        return Err(Failure::usage("why explains a DaemonSet", hint));
    };
    let request = WhyRequest {
        namespace: args.namespace.namespace.clone(),
        name,
    };
    let answer = client::converse(async {
        let mut control = client::connect(socket).await?;
        Ok(control
            .why(request)
            .await
            .map_err(|status| refusal(&status))?
            .into_inner())
    })?;
    let why: Value = serde_json::from_str(&answer.json).context("read the agent's answer")?;
    match args.output {
        Some(Output::Json) => document::json(&why, out)?,
        None => print(&why, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints an explanation for people: the verdict, then each clause and which way it fell.
pub fn print(why: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let text = |field: &str| why[field].as_str().unwrap_or_default();
    let yes = |field: &str| {
        if why[field].as_bool() == Some(true) {
            "yes"
        } else {
            "no"
        }
    };
    writeln!(out, "{} on node {}", text("set"), text("node"))?;
    writeln!(
        out,
        "  should run: {}, should continue: {}",
        yes("shouldRun"),
        yes("shouldContinue")
    )?;
    if let Some(seconds) = why["evictAfterSeconds"].as_u64() {
        writeln!(out, "  to be evicted after {seconds}s")?;
    }
    for reason in why["reasons"].as_array().into_iter().flatten() {
        let mark = match reason["holds"].as_bool() {
            Some(true) => "+ ",
            Some(false) => "- ",
            None => "",
        };
        let part = |field: &str| reason[field].as_str().unwrap_or_default();
        writeln!(
            out,
            "  {mark}{} ({}): {}",
            part("id"),
            part("clause"),
            part("message")
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_the_verdict_and_each_clause() {
        let why = json!({
            "set": "default/web", "node": "n1", "shouldRun": false, "shouldContinue": true,
            "evictAfterSeconds": 30,
            "reasons": [
                {"id": "node-selector", "message": "disktype is hdd, wanted ssd", "clause": "spec.nodeSelector", "holds": false},
                {"id": "taint", "message": "tolerated", "clause": "a=b:NoExecute", "holds": true},
            ],
        });
        let mut out = Vec::new();
        print(&why, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "default/web on node n1\n  should run: no, should continue: yes\n  to be evicted after 30s\n  \
             - node-selector (spec.nodeSelector): disktype is hdd, wanted ssd\n  + taint (a=b:NoExecute): tolerated\n"
        );
    }
}
