//! What `label`, `taint` and `cordon` have in common: which nodes, and a change of what is laid over one of them that
//! never undoes another operator's.

use std::io::Write;

use clap::Args as ClapArgs;
use k8s_openapi::api::core::v1;
use serde_json::Value;

use crate::base::ids::NodeName;
use crate::fleet::{
    merge3::annotation,
    overlay::{PROTECTED, is_protected, lay_over},
    records::{NodeOverlay, OVERLAY},
};
use crate::node::Node;
use crate::store::{Compare, Range, Txn};

use super::{
    desk::{Desk, is_signed, opened},
    failure::{self, Failure},
    view,
};

/// Which nodes, beside those that are named.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Chosen {
    /// The nodes whose labels match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Every node
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
}

/// A node as an operator changes it.
#[derive(Debug)]
pub struct Changing<'a> {
    /// The node as it is under its overlay.
    pub node: &'a Node,
    /// What the node lets nobody change.
    pub protected: &'a [String],
    /// What is laid over it, to be changed.
    pub overlay: NodeOverlay,
}

impl Changing<'_> {
    /// Refuses a label or taint that the node protects.
    pub fn free(&self, key: &str) -> anyhow::Result<()> {
        if !is_protected(key, self.protected) {
            return Ok(());
        }
        let name = &self.node.name;
        Err(Failure::hinted(
            format!("node {name} protects {key}"),
            "its host decides about that: see node.protected in the settings there",
        ))
    }
}

/// Reads `[node] NAME...` before the changes; the names are checked against the records later.
pub fn names(words: &[String]) -> anyhow::Result<Vec<String>> {
    let words = match words.split_first() {
        Some((first, rest)) if matches!(first.as_str(), "node" | "nodes" | "no") => rest,
        _ => words,
    };
    let name = |word: &String| match word.split_once('/') {
        Some(("node" | "nodes" | "no", name)) if !name.contains('/') => Ok(name.to_owned()),
        Some(_) => Err(Failure::usage(
            format!("{word:?} is no node"),
            Some("only nodes are changed so: write node NAME or node/NAME".into()),
        )),
        None => Ok(word.clone()),
    };
    words.iter().map(name).collect()
}

/// The nodes that are meant: those that are named, or those that are chosen.
pub async fn nodes(
    desk: &Desk,
    names: Vec<String>,
    chosen: &Chosen,
) -> anyhow::Result<Vec<NodeName>> {
    let choosing = chosen.all || chosen.selector.is_some();
    let refuse = |message: &str| {
        let hint = "give names, or -l SELECTOR, or --all".to_owned();
        Err(Failure::usage(message, Some(hint)))
    };
    match (names.is_empty(), choosing) {
        (true, false) => return refuse("no node is named"),
        (false, true) => return refuse("names do not go with -l or --all"),
        (false, false) => return Ok(names.into_iter().map(NodeName::new).collect()),
        (true, true) => {}
    }
    let selector = failure::selector(chosen.selector.as_deref())?;
    let prefix = desk.keys().nodes();
    let mut found = Vec::new();
    for kv in desk.read(&[Range::prefix(&*prefix)]).await? {
        let record: Value = serde_json::from_slice(&kv.value).unwrap_or_default();
        if selector.selects(&view::labels(&record)) {
            found.push(NodeName::new(kv.key.strip_prefix(&prefix).unwrap_or_default()));
        }
    }
    anyhow::ensure!(!found.is_empty(), "no nodes found");
    Ok(found)
}

/// Changes what is laid over a node; `change` gives the word for what it did, such as `labeled`.
pub async fn change(
    desk: &Desk,
    name: &NodeName,
    change: &mut dyn FnMut(&mut Changing<'_>) -> anyhow::Result<&'static str>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let (record_key, overlay_key) = (desk.keys().node(name), desk.keys().node_overlay(name));
    for attempt in 0.. {
        let ranges = [Range::key(&record_key), Range::key(&overlay_key)];
        let (mut record, mut overlay) = (None, NodeOverlay::default());
        let (mut revision, mut signed) = (0, false);
        for kv in desk.read(&ranges).await? {
            if kv.key == record_key {
                record = serde_json::from_slice::<Value>(&kv.value).ok();
            } else if let Some(value) = opened(&kv.value) {
                overlay = serde_json::from_value(value)?;
                (revision, signed) = (kv.mod_revision, is_signed(&kv.value));
            }
        }
        let Some(record) = record else {
            anyhow::bail!("nodes {:?} not found", name.as_str());
        };
        if revision == 0
            && let Some(followed) = annotation(&record, OVERLAY)
        {
            // Its key is lost; the node goes on with what it followed, and so does the next change.
            overlay = serde_json::from_str::<Value>(followed)
                .and_then(serde_json::from_value)
                .unwrap_or_default();
        }
        let protected = annotation(&record, PROTECTED).unwrap_or_default().split(',');
        let protected: Vec<String> =
            protected.map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect();
        let object: v1::Node = serde_json::from_value(record)?;
        let node = Node::from_object(&record_key, &object)
            .map_err(|_| anyhow::anyhow!("the record of node {name} names no node"))?;
        // What another operator laid over it a moment ago need not be in the record yet.
        let (node, _) = lay_over(&node, &overlay, &protected);
        let before = overlay.clone();
        let mut changing = Changing { node: &node, protected: &protected, overlay };
        let word = change(&mut changing)?;
        let mut overlay = changing.overlay;
        if overlay != before {
            desk.may_replace(signed, &format!("what is laid over node {name}"))?;
            overlay.generation += 1;
            overlay.node = name.to_string();
            let put = desk.put(overlay_key.clone(), &serde_json::to_value(&overlay)?, 0)?;
            let when = vec![Compare::ModRevision(overlay_key.clone(), revision)];
            if !desk.commit(&Txn { when, then: vec![put], otherwise: Vec::new() }).await? {
                desk.after_conflict(attempt, &format!("node/{name}")).await?;
                continue;
            }
        }
        writeln!(out, "node/{name} {word}")?;
        return Ok(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        names(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn nodes_are_named_with_and_without_their_type() {
        for text in ["node a b", "a b", "nodes a b", "node/a node/b"] {
            assert_eq!(read(text), Ok(vec!["a".to_owned(), "b".to_owned()]), "{text}");
        }
        assert_eq!(read("pod/a"), Err("\"pod/a\" is no node".into()));
        assert_eq!(read("node"), Ok(vec![]));
    }
}
