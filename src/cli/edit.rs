//! `podward edit`: a set in the operator's own editor.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use serde_json::Value;

use crate::base::ids::SetKey;
use crate::fleet::merge3::{LAST_APPLIED, annotate, annotation, forget_applied, strip};
use crate::spec::FieldValidation;

use super::{
    Globals, apply, client,
    desk::{Desk, Place, Standing, checked},
    document, documents,
    failure::{Failure, Outcome},
    namespace::OneNamespace,
    resource::{self, Kind, Target},
};

/// What `edit` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// ds/NAME
    #[arg(required = true, value_name = "ds/NAME")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub namespace: OneNamespace,
}

/// What stands above the document.
const HEAD: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,\n\
    # and an empty file will abort the edit. If an error occurs while saving this file will be\n\
    # reopened with the relevant failures.\n#\n";

/// How an edit ended.
enum Edited {
    /// Nothing is to be written.
    Cancelled(&'static str),
    /// This is.
    Set(Box<Value>),
}

/// Opens the editor until the set is valid, unchanged or given up.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let targets = resource::targets(&args.targets)?;
    let [Target { kind: Kind::DaemonSet, names }] = targets.as_slice() else {
        return Err(Failure::usage("only sets are edited", Some("write ds/NAME".into())));
    };
    let [name] = names.as_slice() else {
        return Err(Failure::usage("one set is edited at a time", Some("write ds/NAME".into())));
    };
    let editor = editor();
    let place = Place::Set(SetKey::new(&args.namespace.namespace, name));
    client::converse(async {
        let desk = Desk::open(globals).await?;
        let standing = desk.standing(&place).await?;
        let Some(live) = &standing.live else {
            anyhow::bail!("{} not found in namespace {:?}", place.quoted(), place.namespace());
        };
        let file = Copy::new(name)?;
        match edit(live, &place, &editor, &file)? {
            Edited::Cancelled(why) => {
                file.remove();
                writeln!(out, "{why}")?;
                Ok(ExitCode::SUCCESS)
            }
            Edited::Set(set) => match write(&desk, &standing, *set).await {
                Ok(()) => {
                    file.remove();
                    writeln!(out, "{} edited", place.shown())?;
                    Ok(ExitCode::SUCCESS)
                }
                Err(error) => {
                    let kept = file.path.display();
                    writeln!(err, "A copy of your changes has been stored to \"{kept}\"")?;
                    Err(error)
                }
            },
        }
    })
}

/// The operator's editor.
fn editor() -> String {
    let named = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    named("KUBE_EDITOR").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned())
}

/// Lets the operator edit until the set can be written.
fn edit(live: &Value, place: &Place, editor: &str, file: &Copy) -> anyhow::Result<Edited> {
    let mut shown = live.clone();
    forget_applied(&mut shown);
    let mut text = Vec::new();
    document::yaml(&shown, &mut text)?;
    let original = String::from_utf8(text).context("print as YAML")?;
    let (mut text, mut complaints): (String, Vec<String>) = (original.clone(), Vec::new());
    loop {
        file.write(&format!("{HEAD}{}{text}", commented(&complaints)))?;
        open(editor, &file.path)?;
        let edited = without_comments(&file.read()?);
        if edited.trim().is_empty() {
            return Ok(Edited::Cancelled("Edit cancelled, saved file was empty."));
        }
        if edited == original {
            return Ok(Edited::Cancelled("Edit cancelled, no changes made."));
        }
        if !complaints.is_empty() && edited == text {
            let kept = file.path.display();
            return Err(Failure::hinted(
                "Edit cancelled, no valid changes were saved.",
                format!("a copy of your changes has been stored to \"{kept}\""),
            ));
        }
        match read(&edited, live, place) {
            Ok(set) if set == *live => {
                return Ok(Edited::Cancelled("Edit cancelled, no changes made."));
            }
            Ok(set) => return Ok(Edited::Set(Box::new(set))),
            Err(faults) => (text, complaints) = (edited, faults),
        }
    }
}

/// The set that the operator wrote, with what the store says of it; otherwise what is wrong with it.
fn read(text: &str, live: &Value, place: &Place) -> Result<Value, Vec<String>> {
    let (documents, faults) = documents::read("edited", text.as_bytes());
    if !faults.is_empty() {
        return Err(faults.iter().map(ToString::to_string).collect());
    }
    let Ok([document]) = <[_; 1]>::try_from(documents) else {
        return Err(vec!["edited: there must be one document".into()]);
    };
    let mut set = document.value;
    let identity = |set: &Value| {
        let metadata = &set["metadata"];
        ["name", "namespace"].map(|field| metadata[field].as_str().unwrap_or_default().to_owned())
    };
    if set["kind"] != "DaemonSet" || identity(&set) != identity(live) {
        return Err(vec![format!("edited: this must stay {}", place.quoted())]);
    }
    checked(&set, "edited", FieldValidation::Strict)?;
    strip(&mut set);
    for field in ["uid", "creationTimestamp", "generation"] {
        if !live["metadata"][field].is_null() {
            set["metadata"][field] = live["metadata"][field].clone();
        }
    }
    if let Some(applied) = annotation(live, LAST_APPLIED) {
        annotate(&mut set, LAST_APPLIED, applied.to_owned());
    }
    Ok(set)
}

/// Writes the set unless somebody else wrote it while it was edited.
async fn write(desk: &Desk, standing: &Standing, set: Value) -> anyhow::Result<()> {
    let place = &standing.place;
    let cause = format!("podward edit {}", place.shown());
    let plan = apply::write_over(desk, standing, set, apply::Why::because(&cause))?;
    if let Some(txn) = &plan.txn
        && !desk.commit(txn).await?
    {
        return Err(Failure::hinted(
            format!("{} was changed by somebody else while it was edited", place.shown()),
            "edit it again; your copy says what you wanted",
        ));
    }
    Ok(())
}

/// Faults as comments.
fn commented(complaints: &[String]) -> String {
    let lines = complaints.iter().flat_map(|complaint| complaint.lines());
    let lines = lines.map(|line| format!("# {line}\n")).collect::<Vec<_>>().concat();
    if lines.is_empty() { lines } else { format!("# This was not valid:\n{lines}#\n") }
}

/// The text without the comments above it: those within are the operator's.
fn without_comments(text: &str) -> String {
    let body = text.lines().skip_while(|line| line.starts_with('#'));
    body.flat_map(|line| [line, "\n"]).collect()
}

/// Opens the editor and waits for its end. It may be a command with arguments.
fn open(editor: &str, path: &Path) -> anyhow::Result<()> {
    let script = format!("{editor} \"$1\"");
    let status = Command::new("sh").args(["-c", &script, "sh"]).arg(path).status();
    let status = status.with_context(|| format!("start the editor {editor:?}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::hinted(
        format!("the editor {editor:?} ended with {status}"),
        "name another one in KUBE_EDITOR or EDITOR",
    ))
}

/// The file that is edited.
#[derive(Debug)]
struct Copy {
    /// Its path.
    path: PathBuf,
}

impl Copy {
    /// A file that only this operator may read.
    fn new(name: &str) -> anyhow::Result<Self> {
        let unique = uuid::Uuid::new_v4().simple();
        let path = std::env::temp_dir().join(format!("podward-edit-{name}-{unique}.yaml"));
        let create = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        create.with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path })
    }

    /// Writes it.
    fn write(&self, text: &str) -> anyhow::Result<()> {
        fs::write(&self.path, text).with_context(|| format!("write {}", self.path.display()))
    }

    /// Reads it.
    fn read(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.path).with_context(|| format!("read {}", self.path.display()))
    }

    /// Removes it; one that stays is no harm.
    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_comments_above_the_document_are_ours() {
        let text = format!("{HEAD}{}a: 1\n# mine\nb: 2", commented(&["x\ny".into()]));
        assert_eq!(without_comments(&text), "a: 1\n# mine\nb: 2\n");
    }
}
