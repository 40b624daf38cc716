//! `podward taint node`: taints laid over those of nodes.

use std::io::Write;

use clap::Args as ClapArgs;

use crate::fleet::overlay::EFFECTS;
use crate::node::syntax::{key_problem, value_problem};

use super::{
    Globals, client,
    desk::{Desk, ending},
    failure::{Failure, Outcome},
    node_change::{self, Changing, Chosen},
};

/// What `taint` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// node NAME... KEY=VALUE:EFFECT... KEY:EFFECT-... KEY-...; a `-` at the end takes a taint away
    #[arg(required = true, value_name = "node NAME KEY=VALUE:EFFECT")]
    pub words: Vec<String>,
    #[command(flatten)]
    pub chosen: Chosen,
    /// Change a taint that is there with another value
    #[arg(long)]
    pub overwrite: bool,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Taint {
    /// The key.
    key: String,
    /// The effect; `None` for all of the key's.
    effect: Option<String>,
    /// The value; `None` takes it away.
    value: Option<String>,
}

/// Taints each node.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let (names, taints) = parse(&args.words)?;
    client::converse(async {
        let desk = Desk::open(globals).await?;
        let mut failed = None;
        for node in node_change::nodes(&desk, names, &args.chosen).await? {
            let mut change = |changing: &mut Changing<'_>| apply(changing, &taints, args.overwrite);
            if let Err(error) = node_change::change(&desk, &node, &mut change, out).await
                && let Some(before) = failed.replace(error)
            {
                writeln!(err, "error: {before:#}")?;
            }
        }
        ending(failed)
    })
}

/// Names and taints.
fn parse(words: &[String]) -> anyhow::Result<(Vec<String>, Vec<Taint>)> {
    let is_change = |word: &&String| word.contains([':', '=']) || word.ends_with('-');
    let (changes, names): (Vec<&String>, Vec<&String>) = words.iter().partition(is_change);
    let names: Vec<String> = names.into_iter().cloned().collect();
    let mut taints: Vec<Taint> = Vec::new();
    for word in changes {
        let taint = one(word).map_err(|problem| {
            let hint = "write KEY=VALUE:EFFECT or KEY:EFFECT; with a - at the end it is taken away";
            Failure::usage(format!("{word:?} is no taint: {problem}"), Some(hint.to_owned()))
        })?;
        if taints.iter().any(|known| known.key == taint.key && known.effect == taint.effect) {
            return Err(Failure::usage(format!("the taint of {word:?} is given twice"), None));
        }
        taints.push(taint);
    }
    if taints.is_empty() {
        let hint = Some("write KEY=VALUE:EFFECT, or KEY:EFFECT- to take it away".to_owned());
        return Err(Failure::usage("at least one taint update is required", hint));
    }
    Ok((node_change::names(&names)?, taints))
}

/// One change, or what is wrong with it.
fn one(word: &str) -> Result<Taint, String> {
    let (rest, remove) = word.strip_suffix('-').map_or((word, false), |rest| (rest, true));
    let (pair, effect) = match rest.rsplit_once(':') {
        Some((pair, effect)) => (pair, Some(effect)),
        None => (rest, None),
    };
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if let Some(problem) = key_problem(key).or_else(|| value_problem(value)) {
        return Err(problem.to_owned());
    }
    match effect {
        Some(effect) if !EFFECTS.contains(&effect) => {
            return Err(format!("{effect:?} is none of {}", EFFECTS.join(", ")));
        }
        None if !remove => return Err("it has no effect".to_owned()),
        _ => {}
    }
    let value = (!remove).then(|| value.to_owned());
    Ok(Taint { key: key.to_owned(), effect: effect.map(str::to_owned), value })
}

/// Changes the taints of one node.
fn apply(
    changing: &mut Changing<'_>,
    taints: &[Taint],
    overwrite: bool,
) -> anyhow::Result<&'static str> {
    let (mut added, mut modified, mut removed) = (false, false, false);
    for taint in taints {
        changing.free(&taint.key)?;
        let same = |there: &&k8s_openapi::api::core::v1::Taint| {
            there.key == taint.key
                && taint.effect.as_ref().is_none_or(|effect| *effect == there.effect)
        };
        let there: Vec<_> = changing.node.taints.iter().filter(same).collect();
        let Some(value) = &taint.value else {
            if there.is_empty() {
                let effect = taint.effect.as_ref().map(|effect| format!(":{effect}"));
                anyhow::bail!("taint \"{}{}\" not found", taint.key, effect.unwrap_or_default());
            }
            for there in there {
                removed = true;
                changing.overlay.taints.insert(format!("{}:{}", there.key, there.effect), None);
            }
            continue;
        };
        match there.first() {
            Some(there) if there.value.as_deref().unwrap_or_default() == value => continue,
            Some(_) if !overwrite => {
                let (name, key) = (&changing.node.name, &taint.key);
                return Err(Failure::hinted(
                    format!(
                        "node {name} already has {key} taint(s) with same effect(s) and --overwrite is false"
                    ),
                    "add --overwrite",
                ));
            }
            Some(_) => modified = true,
            None => added = true,
        }
        let effect = taint.effect.as_deref().unwrap_or_default();
        changing.overlay.taints.insert(format!("{}:{effect}", taint.key), Some(value.clone()));
    }
    Ok(match (added, modified, removed) {
        (true, false, false) => "tainted",
        (false, false, true) => "untainted",
        (false, false, false) => "not tainted",
        _ => "modified",
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1;

    use crate::base::ids::NodeName;
    use crate::fleet::records::NodeOverlay;
    use crate::node::Node;

    use super::*;

    #[test]
    fn taints_say_what_becomes_of_them() {
        let taint = v1::Taint {
            key: "dedicated".into(),
            value: Some("db".into()),
            effect: "NoSchedule".into(),
            time_added: None,
        };
        let node = Node { name: NodeName::new("n1"), labels: [].into(), taints: vec![taint] };
        let protected = ["rack".to_owned()];
        for (words, overwrite, told) in [
            ("a=b:NoExecute", false, Ok(("tainted", "a:NoExecute"))),
            ("a:NoSchedule", false, Ok(("tainted", "a:NoSchedule"))),
            ("dedicated=db:NoSchedule", false, Ok(("not tainted", ""))),
            ("dedicated=web:NoSchedule", true, Ok(("modified", "dedicated:NoSchedule"))),
            ("dedicated-", false, Ok(("untainted", "dedicated:NoSchedule"))),
            ("dedicated:NoSchedule-", false, Ok(("untainted", "dedicated:NoSchedule"))),
            ("dedicated=db:NoSchedule-", false, Ok(("untainted", "dedicated:NoSchedule"))),
            ("dedicated:NoExecute-", false, Err("taint \"dedicated:NoExecute\" not found")),
            ("x-", false, Err("taint \"x\" not found")),
            ("rack:NoSchedule", false, Err("node n1 protects rack")),
            (
                "dedicated=web:NoSchedule",
                false,
                Err(
                    "node n1 already has dedicated taint(s) with same effect(s) and --overwrite is false",
                ),
            ),
        ] {
            let (_, taints) = parse(&[words.to_owned()]).unwrap();
            let overlay = NodeOverlay::default();
            let mut changing = Changing { node: &node, protected: &protected, overlay };
            let word = apply(&mut changing, &taints, overwrite);
            let keys = changing.overlay.taints.into_keys().next().unwrap_or_default();
            let told = told.map(|(word, key)| (word, key.to_owned())).map_err(str::to_owned);
            assert_eq!(
                word.map(|word| (word, keys)).map_err(|error| error.to_string()),
                told,
                "{words}"
            );
        }
    }

    #[test]
    fn what_is_no_taint_is_refused() {
        for (word, problem) in [
            ("a=b", "it has no effect"),
            ("a=b:Never", "\"Never\" is none of NoSchedule, PreferNoSchedule, NoExecute"),
            (":NoSchedule", "the name is empty"),
            ("-", "the name is empty"),
        ] {
            assert_eq!(one(word), Err(problem.to_owned()), "{word}");
        }
        assert_eq!(
            parse(&["n1".into()]).unwrap_err().to_string(),
            "at least one taint update is required"
        );
    }
}
