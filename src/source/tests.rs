//! What the file source reads, and what merging keeps although it cannot be read.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{
    file::{concerns, read_changes, read_source},
    merge::{Documents, Merged, Sets, merge},
    trust::Trust,
};
use crate::base::ids::SetKey;
use crate::fleet::envelope::{PrivateKey, detached};
use crate::spec::FieldValidation;

/// A directory of manifests and what is wanted so far.
struct Node {
    dir: tempfile::TempDir,
    wanted: Sets,
    objects: Documents,
}

impl Node {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), wanted: Sets::new(), objects: Documents::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&mut self) -> Merged {
        let path = self.dir.path().to_owned();
        self.read_at(&path)
    }

    fn read_at(&mut self, path: &Path) -> Merged {
        let read = read_source(path, FieldValidation::Strict, &believing());
        let merged = merge(&[&read], &self.wanted, &self.objects);
        self.wanted.clone_from(&merged.sets);
        self.objects.clone_from(&merged.objects);
        merged
    }
}

/// Believes anybody.
fn believing() -> Trust {
    Trust::load(&[], Path::new("/nonexistent"))
}

fn set(name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  \
         template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      hostNetwork: true\n      \
         containers: [{{name: a, image: \"{image}\"}}]\n"
    )
}

fn names(merged: &Merged) -> Vec<&str> {
    merged.sets.keys().map(|key| key.name.as_str()).collect()
}

#[test]
fn manifests_are_the_yaml_and_json_files_of_a_directory() {
    let mut node = Node::new();
    node.write("a.yaml", &set("a", "x:1"));
    node.write("b.yml", &set("b", "x:1"));
    node.write(".hidden.yaml", &set("c", "x:1"));
    node.write("d.yaml~", &set("d", "x:1"));
    let merged = node.read();
    assert_eq!(names(&merged), ["a", "b"]);
    assert!(merged.faults.is_empty());
}

#[test]
fn a_removed_file_deletes_its_sets_and_a_removed_directory_does_not() {
    let mut node = Node::new();
    node.write("a.yaml", &set("a", "x:1"));
    node.write("b.yaml", &set("b", "x:1"));
    node.read();
    fs::remove_file(node.path("a.yaml")).unwrap();
    assert_eq!(names(&node.read()), ["b"]);
    let gone = node.path("gone");
    fs::rename(node.dir.path(), gone.with_extension("moved")).ok();
    let dir = node.dir.path().to_owned();
    fs::remove_dir_all(&dir).unwrap();
    let merged = node.read_at(&dir);
    assert_eq!(names(&merged), ["b"]);
    assert_eq!(merged.faults.len(), 1);
    assert_eq!(merged.faults[0].origin, dir.display().to_string());
}

#[test]
fn a_bad_document_keeps_its_set_and_hides_no_other() {
    let mut node = Node::new();
    node.write("a.yaml", &format!("{}---\n{}", set("a", "x:1"), set("b", "x:1")));
    let before = node.read();
    node.write("a.yaml", &format!("{}---\n{}", set("a", ""), set("b", "x:2")));
    let merged = node.read();
    assert_eq!(names(&merged), ["a", "b"]);
    let key = |name| SetKey::new("default", name);
    assert_eq!(merged.sets[&key("a")].hash, before.sets[&key("a")].hash);
    assert_ne!(merged.sets[&key("b")].hash, before.sets[&key("b")].hash);
    assert!(merged.kept.contains_key(&key("a")));
}

#[test]
fn a_set_that_is_refused_for_what_a_field_asks_is_told_with_the_field() {
    let mut node = Node::new();
    node.write("a.yaml", &set("a", "No/Image"));
    let merged = node.read();
    assert!(names(&merged).is_empty());
    assert_eq!(merged.faults.len(), 1);
    let fault = &merged.faults[0];
    assert_eq!(fault.path, "spec.template.spec.containers[0].image");
    assert_eq!(fault.value, "No/Image");
    assert!(fault.problem.starts_with("no image can have this name"), "{}", fault.problem);
    assert_eq!((fault.document, fault.line), (Some(1), Some(1)));
}

#[test]
fn a_file_that_is_no_yaml_any_more_keeps_all_that_it_brought() {
    let mut node = Node::new();
    node.write("a.yaml", &set("a", "x:1"));
    node.read();
    node.write("a.yaml", "kind: [\n");
    assert_eq!(names(&node.read()), ["a"]);
    node.write("a.yaml", "");
    let merged = node.read();
    assert_eq!(names(&merged), ["a"], "an empty file may be one that is about to be written");
    node.write("a.yaml", "# nothing any more\n");
    assert!(names(&node.read()).is_empty());
}

#[test]
fn the_same_set_in_two_files_is_a_fault_and_stays_with_its_holder() {
    let mut node = Node::new();
    node.write("b.yaml", &set("a", "x:1"));
    node.read();
    node.write("a.yaml", &set("a", "x:2"));
    let merged = node.read();
    assert_eq!(
        merged.sets[&SetKey::new("default", "a")].origin,
        node.path("b.yaml").display().to_string()
    );
    assert_eq!(merged.faults.len(), 1);
    assert!(merged.faults[0].to_string().contains("b.yaml"), "{}", merged.faults[0]);
}

#[test]
fn a_link_that_leads_nowhere_or_in_a_circle_keeps_what_it_brought() {
    let mut node = Node::new();
    node.write("target", &set("a", "x:1"));
    symlink(node.path("target"), node.path("a.yaml")).unwrap();
    assert_eq!(names(&node.read()), ["a"]);
    fs::remove_file(node.path("a.yaml")).unwrap();
    symlink(node.path("a.yaml"), node.path("a.yaml")).unwrap();
    let merged = node.read();
    assert_eq!(names(&merged), ["a"]);
    assert!(merged.faults[0].origin.ends_with("a.yaml"));
}

#[test]
fn a_changed_file_is_read_alone() {
    let node = Node::new();
    node.write("a.yaml", &set("a", "x:1"));
    let mut reading = read_source(node.dir.path(), FieldValidation::Strict, &believing());
    node.write("a.yaml", &set("a", "x:2"));
    node.write("b.yaml", &set("b", "x:2"));
    let changed = BTreeSet::from([node.path("a.yaml")]);
    read_changes(&mut reading, &changed, FieldValidation::Strict, &believing());
    assert_eq!(reading.files.len(), 1);
    let image = |set: &crate::spec::Set| set.pod_spec().containers[0].image.clone();
    assert_eq!(image(&reading.files[&node.path("a.yaml")].sets[0]).as_deref(), Some("x:2"));
}

#[test]
fn a_signature_that_comes_later_has_its_file_read_again() {
    let node = Node::new();
    let made = std::process::Command::new("sh")
        .args([
            "-ec",
            "openssl genpkey -algorithm ed25519 -out k; openssl pkey -in k -pubout -out k.pub",
        ])
        .current_dir(&node.dir)
        .status();
    assert!(made.unwrap().success());
    let key = PrivateKey::parse(&fs::read(node.path("k")).unwrap()).unwrap();
    let trust = Trust::load(&[node.path("k.pub")], node.dir.path());
    let text = set("a", "x:1");
    node.write("a.yaml", &text);
    node.write("b.yaml", &set("b", "x:1"));
    let mut reading = read_source(node.dir.path(), FieldValidation::Strict, &trust);
    assert!(reading.files.values().all(|file| file.unreadable && file.sets.is_empty()));
    fs::write(node.path("a.yaml.sig"), key.seal(&detached(text.as_bytes(), 1))).unwrap();
    let changed = BTreeSet::from([node.path("a.yaml.sig")]);
    read_changes(&mut reading, &changed, FieldValidation::Strict, &trust);
    assert_eq!(reading.files.len(), 2);
    assert_eq!(reading.files[&node.path("a.yaml")].sets.len(), 1);
    assert!(reading.files[&node.path("a.yaml")].faults.is_empty());
    assert!(reading.files[&node.path("b.yaml")].unreadable);
    // A single file that is a source has its signature beside it as well.
    let source = node.path("a.yaml");
    assert!(concerns(&source, &node.path("a.yaml.sig")));
    assert!(!concerns(&source, &node.path("b.yaml.sig")));
    let alone = read_source(&source, FieldValidation::Strict, &trust);
    assert_eq!(alone.files[&source].sets.len(), 1);
}

#[test]
fn a_single_file_is_a_source_too_and_its_removal_deletes_its_sets() {
    let mut node = Node::new();
    node.write("only.yaml", &set("a", "x:1"));
    let path = node.path("only.yaml");
    assert_eq!(names(&node.read_at(&path)), ["a"]);
    fs::remove_file(&path).unwrap();
    let merged = node.read_at(&path);
    assert!(names(&merged).is_empty() && merged.faults.is_empty());
}
