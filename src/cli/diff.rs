//! `podward diff`: what `apply` would change, line by line.

use std::{collections::BTreeSet, io::Write, process::ExitCode};

use clap::Args as ClapArgs;
use serde_json::Value;
use similar::TextDiff;

use crate::fleet::merge3::forget_applied;
use crate::spec::{FieldValidation, ObjectKind};

use super::{
    Globals, apply, client,
    desk::{Desk, Place},
    document,
    failure::{Failure, Outcome},
    manifests::{self, Files},
};

/// What `diff` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub files: Files,
    /// The namespace of documents that name none; others must name this one
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

/// Prints the differences; 0 when there are none, 1 when there are some.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    if args.files.files.is_empty() {
        return Err(Failure::usage(
            "name the files to compare",
            Some("such as -f set.yaml".into()),
        ));
    }
    let strict = FieldValidation::Strict;
    let manifests = manifests::read(&args.files, args.namespace.as_deref(), strict, err)?;
    client::converse(async {
        let desk = Desk::open(globals).await?;
        let mut same = true;
        for manifest in &manifests {
            let standing = desk.standing(&manifest.place).await?;
            let plan = apply::plan(&desk, &standing, manifest, strict, "podward apply")?;
            let live = standing.live.unwrap_or(Value::Null);
            let text = difference(&manifest.place, live, plan.object)?;
            same &= text.is_empty();
            out.write_all(text.as_bytes())?;
        }
        Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// How an object differs from what it shall be, as a unified diff; empty when it does not.
fn difference(place: &Place, mut live: Value, mut wanted: Value) -> anyhow::Result<String> {
    forget_applied(&mut live);
    forget_applied(&mut wanted);
    if live == wanted {
        return Ok(String::new());
    }
    if let Place::Object(object) = place
        && object.kind == ObjectKind::Secret
    {
        mask(&mut live, &mut wanted);
    }
    let text = |value: &Value| {
        let mut text = Vec::new();
        if !value.is_null() {
            document::yaml(value, &mut text)?;
        }
        anyhow::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let (live, wanted) = (text(&live)?, text(&wanted)?);
    let name = format!("{}/{}", place.namespace(), place.shown());
    let diff = TextDiff::from_lines(&live, &wanted);
    let diff =
        diff.unified_diff().header(&format!("live/{name}"), &format!("merged/{name}")).to_string();
    Ok(diff)
}

/// Hides a Secret's values, but not that they differ.
fn mask(live: &mut Value, wanted: &mut Value) {
    let keys = |object: &Value| -> BTreeSet<String> {
        object["data"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    for key in keys(live).union(&keys(wanted)) {
        let (before, after) = (live["data"].get(key).cloned(), wanted["data"].get(key).cloned());
        let differ = before.is_some() && after.is_some() && before != after;
        for (object, there, which) in
            [(&mut *live, before, "before"), (&mut *wanted, after, "after")]
        {
            if there.is_some() {
                object["data"][key] =
                    if differ { format!("*** ({which})") } else { "***".to_owned() }.into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::base::ids::SetKey;

    use super::*;

    #[test]
    fn a_difference_is_a_unified_diff_without_the_memory_of_what_was_applied() {
        let place = Place::Set(SetKey::new("x", "web"));
        let live = json!({"metadata": {"name": "web", "annotations":
            {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}, "spec": {"a": 1}});
        let same = json!({"metadata": {"name": "web"}, "spec": {"a": 1}});
        assert_eq!(difference(&place, live.clone(), same).unwrap(), "");
        let other = json!({"metadata": {"name": "web"}, "spec": {"a": 2}});
        assert_eq!(
            difference(&place, live, other.clone()).unwrap(),
            "--- live/x/daemonset.apps/web\n+++ merged/x/daemonset.apps/web\n@@ -1,4 +1,4 @@\n metadata:\n   name: web\n \
             spec:\n-  a: 1\n+  a: 2\n"
        );
        let new = difference(&place, Value::Null, other).unwrap();
        assert!(new.ends_with("+metadata:\n+  name: web\n+spec:\n+  a: 2\n"), "{new}");
    }

    #[test]
    fn a_secrets_values_are_hidden_but_not_that_they_differ() {
        let place = Place::object(ObjectKind::Secret, "x", "tls");
        let live = json!({"data": {"same": "c2FtZQ==", "key": "b2xk", "old": "Z29uZQ=="}});
        let wanted = json!({"data": {"same": "c2FtZQ==", "key": "bmV3"}});
        let text = difference(&place, live, wanted).unwrap();
        for value in ["c2FtZQ", "b2xk", "bmV3", "Z29uZQ"] {
            assert!(!text.contains(value), "{text}");
        }
        assert!(text.contains("-  key: \"*** (before)\"\n"), "{text}");
        assert!(text.contains("+  key: \"*** (after)\"\n"), "{text}");
        assert!(text.contains("-  old: \"***\"\n"), "{text}");
        assert!(text.contains("   same: \"***\"\n"), "{text}");
    }
}
