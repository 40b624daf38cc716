//! `apply` and `diff`.

use serde_json::{Value, json};

use crate::fleet::{Fleet, set};

#[test]
fn a_set_is_created_left_alone_configured_and_keeps_its_history() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.file("web.yaml", &set("web", "r.io/a:1", ""));
    assert_eq!(fleet.run("apply -f {web.yaml}").fine(), "daemonset.apps/web created\n");
    let first = fleet.value("spec/daemonsets/x/web");
    assert_eq!(first["metadata"]["generation"], 1);
    assert!(first["metadata"]["uid"].as_str().is_some_and(|uid| uid.len() == 36), "{first}");
    assert!(first["metadata"]["creationTimestamp"].is_string());
    let revision = fleet.etcd.revision().unwrap();
    assert_eq!(fleet.run("apply -f {web.yaml}").fine(), "daemonset.apps/web unchanged\n");
    assert_eq!(fleet.etcd.revision().unwrap(), revision, "nothing was written");

    fleet.file("web.yaml", &set("web", "r.io/a:2", ""));
    let dry = fleet.run("apply -f {web.yaml} --dry-run=server").fine();
    assert_eq!(dry, "daemonset.apps/web configured (server dry run)\n");
    assert_eq!(fleet.etcd.revision().unwrap(), revision, "nothing was written");
    assert_eq!(fleet.run("apply -f {web.yaml}").fine(), "daemonset.apps/web configured\n");
    let second = fleet.value("spec/daemonsets/x/web");
    assert_eq!(second["metadata"]["generation"], 2);
    assert_eq!(second["metadata"]["uid"], first["metadata"]["uid"]);
    // A label is no new generation and no new revision.
    fleet.file("web.yaml", &set("web", "r.io/a:2", "  labels: {tier: front}\n"));
    fleet.run("apply -f {web.yaml}").fine();
    assert_eq!(fleet.value("spec/daemonsets/x/web")["metadata"]["generation"], 2);
    assert_eq!(fleet.keys("spec/revisions/x/web/").len(), 2);
    // The first template again: its entry moves to the end.
    let why = "  annotations: {kubernetes.io/change-cause: back to one}\n";
    fleet.file("web.yaml", &set("web", "r.io/a:1", why));
    fleet.run("apply -f {web.yaml}").fine();
    assert_eq!(
        fleet.keys("spec/revisions/x/web/"),
        ["spec/revisions/x/web/0000000002", "spec/revisions/x/web/0000000003"]
    );
    let shown = fleet.run("get revisions -n x -o wide").fine();
    let last = shown.lines().last().unwrap();
    assert!(last.contains("daemonset.apps/web") && last.ends_with("back to one"), "{shown}");
}

#[test]
fn what_others_added_stays_and_what_the_file_drops_goes() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.file("web.yaml", &set("web", "r.io/a:1", "  labels: {mine: a, old: b}\n"));
    fleet.run("apply -f {web.yaml}").fine();
    let mut live = fleet.value("spec/daemonsets/x/web");
    live["metadata"]["labels"]["theirs"] = json!("c");
    live["spec"]["minReadySeconds"] = json!(7);
    fleet.put("spec/daemonsets/x/web", &live);
    fleet.file("web.yaml", &set("web", "r.io/a:1", "  labels: {mine: a}\n"));
    assert_eq!(fleet.run("apply -f {web.yaml}").fine(), "daemonset.apps/web configured\n");
    let merged = fleet.value("spec/daemonsets/x/web");
    assert_eq!(merged["metadata"]["labels"], json!({"mine": "a", "theirs": "c"}));
    assert_eq!(merged["spec"]["minReadySeconds"], 7);
    // The same by another machine's export: what only the store says is no change.
    let exported = fleet.run("get ds web -n x -o yaml").fine();
    let again = fleet.feed("apply -f -", &exported).fine();
    assert_eq!(again, "daemonset.apps/web configured\n", "the defaults are the file's now");
    assert_eq!(fleet.value("spec/daemonsets/x/web")["metadata"]["uid"], live["metadata"]["uid"]);
    assert_eq!(fleet.keys("spec/revisions/x/web/").len(), 1, "the template is the same");
}

#[test]
fn objects_go_first_and_immutable_ones_stay() {
    let Some(fleet) = Fleet::start() else { return };
    let map = |value: &str, fixed: bool| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{k: {value}}}\nimmutable: {fixed}\n"
        )
    };
    let secret =
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hush}\n";
    let set = set("web", "r.io/a:1", "");
    fleet.file("all/a.yaml", &format!("{set}{secret}"));
    fleet.file("all/deep/b.yaml", &map("one", true));
    let flat = fleet.run("apply -f {all} -n x --dry-run=server").fine();
    assert_eq!(
        flat,
        "secret/s created (server dry run)\ndaemonset.apps/web created (server dry run)\n"
    );
    let out = fleet.run("apply -f {all} -R -n x").fine();
    assert_eq!(out, "secret/s created\nconfigmap/c created\ndaemonset.apps/web created\n");
    assert_eq!(fleet.value("spec/secrets/x/s")["data"], json!({"password": "aHVzaA=="}));
    assert_eq!(fleet.value("spec/secrets/x/s")["stringData"], Value::Null);
    fleet.file("all/deep/b.yaml", &map("two", true));
    fleet.file("other.yaml", &secret.replace("hush", "other"));
    let said = fleet.run("apply -f {other.yaml} -f {all/deep} -f {all/a.yaml} -n x");
    let error = said.refused();
    assert!(error.contains("is described by"), "{error}");
    let said = fleet.run("apply -f {other.yaml} -f {all/deep} -n x");
    assert_eq!(said.out, "secret/s configured\n");
    let error = said.refused();
    assert!(error.contains("data: field is immutable when `immutable` is set"), "{error}");
    assert!(error.contains("written before it: secret/s"), "{error}");
    assert_eq!(fleet.value("spec/configmaps/x/c")["data"]["k"], "one");
    assert!(!error.contains("b3RoZXI"), "no secret is said: {error}");
}

#[test]
fn nothing_is_written_while_one_document_is_at_fault() {
    let Some(fleet) = Fleet::start() else { return };
    let good = set("good", "r.io/a:1", "");
    let before = fleet.etcd.revision().unwrap();
    let big = "x".repeat((1 << 20) - 8);
    for (text, problem) in [
        (format!("{good}---\n{}", good.replace("good", "bad").replace("image:", "imag:")), "imag"),
        (format!("{good}---\n{}", good.replace("r.io/a:1", "\"\"")), "image"),
        (format!("{good}---\nkind: [\n"), "web.yaml"),
        (
            good.replace("namespace: x", "namespace: other"),
            "the namespace \"other\" of daemonset.apps/good is not \"x\"",
        ),
        (
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{k: {big}}}\n"),
            "1 MiB",
        ),
        (format!("{good}---\n{good}"), "already"),
        ("a: b\n".to_owned(), "apiVersion"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: s}\n".to_owned(), "no objects passed"),
        (String::new(), "no objects passed"),
    ] {
        fleet.file("web.yaml", &text);
        let error = fleet.run("apply -f {web.yaml} -n x").refused();
        assert!(error.contains(problem), "{problem}: {error}");
        assert!(error.contains("hint: "), "{error}");
    }
    for (line, problem) in [
        ("apply", "name the files to apply"),
        ("apply -f", "a value is required"),
        ("diff", "name the files to compare"),
    ] {
        let said = fleet.run(line);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(problem), "{said:?}");
    }
    assert!(fleet.run("apply -f {nowhere.yaml}").refused().contains("cannot be read"));
    assert_eq!(fleet.etcd.revision().unwrap(), before);
}

#[test]
fn a_selector_stays() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.feed("apply -f -", &set("web", "r.io/a:1", "")).fine();
    let other = set("web", "r.io/a:1", "").replace("app: web", "app: other");
    let error = fleet.feed("apply -f -", &other).refused();
    assert!(error.contains("spec.selector: field is immutable"), "{error}");
}

#[test]
fn a_difference_is_shown_and_its_exit_code_says_that_there_is_one() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.file("web.yaml", &set("web", "r.io/a:1", ""));
    let said = fleet.run("diff -f {web.yaml}");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.starts_with("--- live/x/daemonset.apps/web\n+++ merged/x/"), "{}", said.out);
    fleet.run("apply -f {web.yaml}").fine();
    assert_eq!(fleet.run("diff -f {web.yaml}").fine(), "");
    fleet.file("web.yaml", &set("web", "r.io/a:2", ""));
    let said = fleet.run("diff -f {web.yaml}");
    assert_eq!(said.code, 1);
    for line in [
        "-      - image: \"r.io/a:1\"",
        "+      - image: \"r.io/a:2\"",
        "-  generation: 1",
        "+  generation: 2",
    ] {
        let bare = line.replace('"', "");
        let found = said.out.lines().any(|shown| shown.replace('"', "") == bare);
        assert!(found, "{line} in {}", said.out);
    }
    assert!(!said.out.contains("last-applied"), "{}", said.out);
    fleet.file("web.yaml", "kind: [\n");
    assert_eq!(fleet.run("diff -f {web.yaml}").code, 2);
}

#[test]
fn without_a_store_the_remedy_is_named() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.file("web.yaml", &set("web", "r.io/a:1", ""));
    fleet.file("config.yaml", "cluster: test\n");
    let dry = fleet.run("apply -f {web.yaml} --dry-run=client").fine();
    assert_eq!(dry, "daemonset.apps/web created (dry run)\n");
    for line in ["apply -f {web.yaml}", "delete ds web", "label node n a=b", "cordon n"] {
        let said = fleet.run(line);
        assert_ne!(said.code, 0);
        assert!(said.err.contains("no shared store is configured"), "{said:?}");
        assert!(said.err.contains("etcd.endpoints"), "{said:?}");
    }
    let said = fleet.run("--etcd 127.0.0.1:1 apply -f {web.yaml}");
    assert!(said.refused().contains("etcd cannot be reached"));
}
