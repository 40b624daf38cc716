//! `podward label node`: labels laid over those of nodes.

use std::io::Write;

use clap::Args as ClapArgs;

use crate::node::syntax::{key_problem, value_problem};

use super::{
    Globals, client,
    desk::{Desk, ending},
    failure::{Failure, Outcome},
    node_change::{self, Changing, Chosen},
};

/// What `label` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// node NAME... KEY=VALUE... KEY-...; `KEY-` takes a label away
    #[arg(required = true, value_name = "node NAME KEY=VALUE")]
    pub words: Vec<String>,
    #[command(flatten)]
    pub chosen: Chosen,
    /// Change a label that is there with another value
    #[arg(long)]
    pub overwrite: bool,
}

/// Labels with their values; `None` takes one away.
type Labels = Vec<(String, Option<String>)>;

/// Labels each node.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let (names, labels) = parse(&args.words)?;
    client::converse(async {
        let desk = Desk::open(globals).await?;
        let mut failed = None;
        for node in node_change::nodes(&desk, names, &args.chosen).await? {
            let mut missing = Vec::new();
            let mut change = |changing: &mut Changing<'_>| {
                missing.clear();
                apply(changing, &labels, args.overwrite, &mut missing)
            };
            let done = node_change::change(&desk, &node, &mut change, out).await;
            for key in missing {
                writeln!(err, "label {key:?} not found.")?;
            }
            if let Err(error) = done
                && let Some(before) = failed.replace(error)
            {
                writeln!(err, "error: {before:#}")?;
            }
        }
        ending(failed)
    })
}

/// Names and labels.
fn parse(words: &[String]) -> anyhow::Result<(Vec<String>, Labels)> {
    let is_change = |word: &&String| word.contains('=') || word.ends_with('-');
    let (changes, names): (Vec<&String>, Vec<&String>) = words.iter().partition(is_change);
    let names: Vec<String> = names.into_iter().cloned().collect();
    let mut labels = Labels::new();
    for word in changes {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word.trim_end_matches('-'), None),
        };
        let problem = key_problem(key).or_else(|| value.and_then(value_problem));
        if let Some(problem) = problem {
            let hint = Some("write KEY=VALUE, or KEY- to take it away".to_owned());
            return Err(Failure::usage(format!("{word:?} is no label: {problem}"), hint));
        }
        if labels.iter().any(|(known, _)| known == key) {
            let message =
                format!("can not both modify and remove, or modify twice, the label {key}");
            return Err(Failure::usage(message, None));
        }
        labels.push((key.to_owned(), value.map(str::to_owned)));
    }
    if labels.is_empty() {
        let hint = Some("write KEY=VALUE, or KEY- to take it away".to_owned());
        return Err(Failure::usage("at least one label update is required", hint));
    }
    Ok((node_change::names(&names)?, labels))
}

/// Changes the labels of one node; `missing` gets the keys of labels to take away that are not there.
fn apply(
    changing: &mut Changing<'_>,
    labels: &Labels,
    overwrite: bool,
    missing: &mut Vec<String>,
) -> anyhow::Result<&'static str> {
    let (mut added, mut removed) = (false, false);
    for (key, value) in labels {
        changing.free(key)?;
        match (changing.node.labels.get(key), value) {
            (Some(there), Some(value)) if there == value => continue,
            (Some(there), Some(_)) if !overwrite => {
                return Err(Failure::hinted(
                    format!("'{key}' already has a value ({there}), and --overwrite is false"),
                    "add --overwrite",
                ));
            }
            (None, None) => {
                missing.push(key.clone());
                continue;
            }
            (_, Some(_)) => added = true,
            (Some(_), None) => removed = true,
        }
        changing.overlay.labels.insert(key.clone(), value.clone());
    }
    Ok(match (added, removed) {
        (true, _) => "labeled",
        (false, true) => "unlabeled",
        (false, false) => "not labeled",
    })
}

#[cfg(test)]
mod tests {
    use crate::base::ids::NodeName;
    use crate::fleet::records::NodeOverlay;
    use crate::node::Node;

    use super::*;

    #[test]
    fn labels_say_what_becomes_of_them() {
        let labels = [("disk", "ssd")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let node = Node { name: NodeName::new("n1"), labels: labels.into(), taints: vec![] };
        let protected = ["rack".to_owned()];
        for (words, overwrite, told) in [
            ("a=b", false, Ok(("labeled", 1))),
            ("a=", false, Ok(("labeled", 1))),
            ("disk=ssd", false, Ok(("not labeled", 0))),
            ("disk=hdd", true, Ok(("labeled", 1))),
            ("disk-", false, Ok(("unlabeled", 1))),
            ("x-", false, Ok(("not labeled", 0))),
            ("disk- a=b", false, Ok(("labeled", 2))),
            ("disk=hdd", false, Err("'disk' already has a value (ssd), and --overwrite is false")),
            ("rack=1", false, Err("node n1 protects rack")),
            ("kubernetes.io/os-", false, Err("node n1 protects kubernetes.io/os")),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let (_, labels) = parse(&words).unwrap();
            let overlay = NodeOverlay::default();
            let mut changing = Changing { node: &node, protected: &protected, overlay };
            let word = apply(&mut changing, &labels, overwrite, &mut Vec::new());
            let word = word.map(|word| (word, changing.overlay.labels.len()));
            assert_eq!(
                word.map_err(|error| error.to_string()),
                told.map_err(str::to_owned),
                "{words:?}"
            );
        }
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for (words, problem) in [
            ("n1", "at least one label update is required"),
            ("n1 a=b a-", "can not both modify and remove, or modify twice, the label a"),
            ("n1 a/b/c=d", "\"a/b/c=d\" is no label: a key has at most one `/`"),
            ("pod/x a=b", "\"pod/x\" is no node"),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            assert_eq!(parse(&words).unwrap_err().to_string(), problem);
        }
    }
}
