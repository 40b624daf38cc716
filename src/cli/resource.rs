//! What a command is about: `pods`, `ds/web`, `pod a b`.

use crate::base::nearest::nearest;

use super::failure::Failure;

/// What commands speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `v1` Pod.
    Pod,
    /// `v1` Node.
    Node,
    /// `v1` Event.
    Event,
    /// `apps/v1` `ControllerRevision`: one entry of a set's history.
    Revision,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret.
    Secret,
}

impl Kind {
    /// The kind as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DaemonSet => "DaemonSet",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Event => "Event",
            Self::Revision => "ControllerRevision",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// Whether only the shared store has such objects.
    pub fn only_shared(self) -> bool {
        matches!(self, Self::Revision | Self::ConfigMap | Self::Secret)
    }
}

/// The words for each kind; the first one is the plural that messages use.
const WORDS: [(Kind, &[&str]); 7] = [
    (Kind::DaemonSet, &["daemonsets", "daemonset", "ds", "daemonsets.apps", "daemonset.apps"]),
    (Kind::Pod, &["pods", "pod", "po"]),
    (Kind::Node, &["nodes", "node", "no"]),
    (Kind::Event, &["events", "event", "ev"]),
    (
        Kind::Revision,
        &[
            "controllerrevisions.apps",
            "controllerrevisions",
            "controllerrevision",
            "controllerrevision.apps",
            "revisions",
            "revision",
        ],
    ),
    (Kind::ConfigMap, &["configmaps", "configmap", "cm"]),
    (Kind::Secret, &["secrets", "secret"]),
];

/// Objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The kind.
    pub kind: Kind,
    /// Their names; empty for all.
    pub names: Vec<String>,
}

/// The kind that a word names.
pub fn kind(word: &str) -> anyhow::Result<Kind> {
    let lower = word.to_ascii_lowercase();
    let found = WORDS.iter().find(|(_, words)| words.contains(&lower.as_str()));
    found.map(|(kind, _)| *kind).ok_or_else(|| {
        let known = WORDS.iter().flat_map(|(_, words)| words.iter().copied());
        let hint = match nearest(word, known) {
            Some(near) => format!("did you mean {near}?"),
            None => "there are daemonsets (ds), pods (po), nodes (no), events (ev), revisions, \
                     configmaps (cm) and secrets"
                .to_owned(),
        };
        Failure::usage(format!("there is no resource type {word:?}"), Some(hint))
    })
}

/// The plural that messages use: `pods`, `daemonsets.apps`.
pub fn plural(kind: Kind) -> &'static str {
    let words = WORDS.iter().find(|(known, _)| *known == kind).map(|(_, words)| words[0]);
    match kind {
        Kind::DaemonSet => "daemonsets.apps",
        _ => words.unwrap_or_default(),
    }
}

/// The word before an object's name: `pod/x`, `daemonset.apps/x`.
pub fn singular(kind: Kind) -> &'static str {
    match kind {
        Kind::DaemonSet => "daemonset.apps",
        Kind::Pod => "pod",
        Kind::Node => "node",
        Kind::Event => "event",
        Kind::Revision => "controllerrevision.apps",
        Kind::ConfigMap => "configmap",
        Kind::Secret => "secret",
    }
}

/// Whether objects of a kind live in namespaces.
pub fn namespaced(kind: Kind) -> bool {
    kind != Kind::Node
}

/// Reads `TYPE[,TYPE]... [NAME...]` or `TYPE/NAME...`.
pub fn targets(arguments: &[String]) -> anyhow::Result<Vec<Target>> {
    let Some((first, rest)) = arguments.split_first() else {
        return Err(Failure::usage("name a resource type", Some("such as `get pods`".to_owned())));
    };
    if arguments.iter().any(|argument| argument.contains('/')) {
        return arguments.iter().try_fold(Vec::new(), |mut targets, argument| {
            let (kind, name) = named(argument)?;
            match targets.iter_mut().find(|target: &&mut Target| target.kind == kind) {
                Some(target) => target.names.push(name),
                None => targets.push(Target { kind, names: vec![name] }),
            }
            Ok(targets)
        });
    }
    let kinds = first.split(',').map(kind).collect::<anyhow::Result<Vec<_>>>()?;
    if kinds.len() > 1 && !rest.is_empty() {
        return Err(Failure::usage("names go with one resource type only", None));
    }
    Ok(kinds.into_iter().map(|kind| Target { kind, names: rest.to_vec() }).collect())
}

/// Reads `TYPE/NAME`.
pub fn named(argument: &str) -> anyhow::Result<(Kind, String)> {
    match argument.split_once('/') {
        Some((word, name)) if !name.is_empty() && !name.contains('/') => {
            Ok((kind(word)?, name.to_owned()))
        }
        Some(_) | None => {
            let hint = "write TYPE/NAME, such as ds/web, for every argument".to_owned();
            Err(Failure::usage(format!("{argument:?} is not TYPE/NAME"), Some(hint)))
        }
    }
}

/// Reads `POD` or `pod/POD`; anything else is refused because of `rule`.
pub fn pod(argument: &str, rule: &str) -> anyhow::Result<String> {
    if !argument.contains('/') {
        return Ok(argument.to_owned());
    }
    match named(argument)? {
        (Kind::Pod, name) => Ok(name),
        _ => Err(Failure::usage(rule, Some("write POD or pod/POD".into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Vec<Target>, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        targets(&arguments).map_err(|error| error.to_string())
    }

    fn target(kind: Kind, names: &[&str]) -> Target {
        Target { kind, names: names.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn types_and_names_come_in_kubectls_forms() {
        assert_eq!(read(&["po"]), Ok(vec![target(Kind::Pod, &[])]));
        assert_eq!(read(&["Pod", "a", "b"]), Ok(vec![target(Kind::Pod, &["a", "b"])]));
        assert_eq!(
            read(&["ds/a", "daemonsets.apps/b", "no/n"]),
            Ok(vec![target(Kind::DaemonSet, &["a", "b"]), target(Kind::Node, &["n"])])
        );
        assert_eq!(
            read(&["ds,ev"]),
            Ok(vec![target(Kind::DaemonSet, &[]), target(Kind::Event, &[])])
        );
    }

    #[test]
    fn other_forms_are_refused() {
        assert_eq!(read(&["deploy"]), Err("there is no resource type \"deploy\"".into()));
        assert_eq!(read(&["pods", "ds/a"]), Err("\"pods\" is not TYPE/NAME".into()));
        assert_eq!(read(&["pod/"]), Err("\"pod/\" is not TYPE/NAME".into()));
        assert_eq!(read(&["pods,ds", "a"]), Err("names go with one resource type only".into()));
    }
}
