//! `edit` and `set image`.

use crate::fleet::{Fleet, Said, said, set};

/// Edits the set by a script of the shell whose `$1` is the file.
fn edit(fleet: &Fleet, script: &str) -> Said {
    let path = fleet.file("editor", &format!("#!/bin/sh\n{script}\n"));
    let mut command = fleet.command("edit ds/web -n x");
    command.env("EDITOR", format!("sh {}", path.display()));
    said(command.spawn().unwrap())
}

#[test]
fn an_edit_is_written_when_it_is_valid() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.feed("apply -f -", &set("web", "r.io/a:1", "")).fine();
    assert_eq!(edit(&fleet, "true").fine(), "Edit cancelled, no changes made.\n");
    assert_eq!(edit(&fleet, ": > $1").fine(), "Edit cancelled, saved file was empty.\n");
    let out = edit(&fleet, "sed -i s,r.io/a:1,r.io/a:2, $1").fine();
    assert_eq!(out, "daemonset.apps/web edited\n");
    let set = fleet.value("spec/daemonsets/x/web");
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "r.io/a:2");
    assert_eq!(set["metadata"]["generation"], 2);
    assert!(set["metadata"]["annotations"].to_string().contains("last-applied"), "{set}");
    // What is not valid is opened again with the reasons; then it is mended.
    let twice = "if grep -q '^# This was not valid' $1; then grep -q image: $1; sed -i s/imagine:/image:/ $1; \
                 else sed -i s/image:/imagine:/ $1; sed -i s,a:2,a:3, $1; fi";
    assert_eq!(edit(&fleet, twice).fine(), "daemonset.apps/web edited\n");
    let error = edit(&fleet, "sed -i 's/name: web$/name: other/' $1").refused();
    assert!(error.contains("no valid changes were saved"), "{error}");
    let error = edit(&fleet, "exit 3").refused();
    assert!(error.contains("ended with exit status: 3"), "{error}");
}

#[test]
fn an_edit_does_not_undo_what_somebody_else_wrote_meanwhile() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.feed("apply -f -", &set("web", "r.io/a:1", "")).fine();
    let other = fleet.command("set image ds/web main=r.io/a:9 -n x");
    let words: Vec<String> = std::iter::once(other.get_program())
        .chain(other.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let said = edit(&fleet, &format!("{} >/dev/null; sed -i s,a:1,a:2, $1", words.join(" ")));
    assert!(said.err.contains("A copy of your changes has been stored to"), "{said:?}");
    assert!(said.refused().contains("was changed by somebody else"));
    let set = fleet.value("spec/daemonsets/x/web");
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "r.io/a:9");
}

#[test]
fn images_are_set() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.feed("apply -f -", &set("web", "r.io/a:1", "")).fine();
    let out = fleet.run("set image ds/web main=r.io/a:2 -n x").fine();
    assert_eq!(out, "daemonset.apps/web image updated\n");
    assert_eq!(fleet.run("set image ds/web *=r.io/a:2 -n x").fine(), "");
    let history = fleet.run("get revisions -n x -o wide").fine();
    assert!(history.contains("podward set image daemonset.apps/web main=r.io/a:2"), "{history}");
    let error = fleet.run("set image ds/web side=b -n x").refused();
    assert_eq!(error, "error: unable to find container named \"side\"\n");
    let error = fleet.run("set image ds/none main=b -n x").refused();
    assert_eq!(error, "error: daemonsets.apps \"none\" not found in namespace \"x\"\n");
    assert_eq!(fleet.run("set image ds/web main= -n x").code, 2);
}
