//! `podward store` against real etcd: what it makes, and what the users that it makes may do.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use podward::testing::store::{Error, Op, Range, Settings, Store, Txn};
use serde_json::json;
use tempfile::TempDir;

use super::{
    etcd::{self, Etcd, ROOT, Security, Wish, certs::Pair},
    store::{connect, put, settings},
};

/// A desk from which an operator works: settings and a directory.
struct Desk {
    dir: TempDir,
    config: serde_json::Value,
}

impl Desk {
    fn at(etcd: &Etcd) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let config = json!({
            "etcd": { "endpoints": etcd.endpoints(), "caFile": etcd.ca_file() },
            "paths": { "state": state },
        });
        Self { dir, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn show(&mut self, pair: &Pair) {
        self.config["etcd"]["certFile"] = json!(pair.certificate);
        self.config["etcd"]["keyFile"] = json!(pair.key);
    }

    /// Exit code and all that was printed.
    fn podward(&self, words: &[&str]) -> (i32, String) {
        let mut config = self.config.clone();
        if let Some(etcd) = config["etcd"].as_object_mut() {
            etcd.retain(|_, value| !value.is_null());
        }
        fs::write(self.path("config.yaml"), config.to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_podward"))
            .arg("--config")
            .arg(self.path("config.yaml"))
            .args(words)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }
}

/// What the users that `store init` makes may do.
async fn rights_hold(operator: &Settings, node: &Settings) {
    let (operator, node) =
        (Store::connect(operator, 0).await.unwrap(), Store::connect(node, 0).await.unwrap());
    let set = "/podward/default/spec/daemonsets/web/nginx";
    put(&operator, Vec::new(), set, "{}").await.unwrap();
    put(&operator, Vec::new(), "/podward/default/fleet/nodes/gone", "{}").await.unwrap();
    assert!(node.get(set).await.unwrap().1.is_some());
    let spec = Range::prefix("/podward/default/spec/");
    node.watch(std::slice::from_ref(&spec), 0).await.unwrap();
    put(&node, Vec::new(), "/podward/default/fleet/nodes/n1", "{}").await.unwrap();
    let beyond = [
        Op::put(set, "{\"mine\": true}"),
        Op::put("/podward/default/spec/accept", "{}"),
        Op::put("/podward/default/spec/nodes/n1", "{}"),
        Op::Delete(Range::key(set)),
        Op::Delete(spec.clone()),
        Op::put("/podward/another/fleet/nodes/n1", "{}"),
        Op::put("/podward/default", "{}"),
        Op::Get(Range::prefix("/podward/")),
        Op::Get(Range::prefix("/podward/another/")),
    ];
    for op in beyond {
        let shown = format!("{op:?}");
        let error = node.txn(&Txn { then: vec![op], ..Txn::default() }).await.unwrap_err();
        assert!(matches!(error, Error::Denied(_)), "{shown}: {error}");
    }
    let error = operator.get("/podward/another/spec/accept").await.unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error}");
    let error = put(&operator, Vec::new(), "/elsewhere", "x").await.unwrap_err();
    assert!(error.to_string().contains("this user's roles do not reach there"), "{error}");
}

/// The settings of a user with a password.
fn user(etcd: &Etcd, name: &str, file: &Path) -> Settings {
    Settings { username: Some(name.into()), password_file: Some(file.to_owned()), ..settings(etcd) }
}

#[tokio::test]
async fn init_makes_users_whose_rights_end_where_they_should() {
    if !etcd::is_there() {
        return;
    }
    let mut etcd = Etcd::start(1).unwrap();
    let desk = Desk::at(&etcd);
    let out = desk.path("out");
    let (code, text) = desk.podward(&["store", "init"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("where is the operator user's password to come from?"), "{text}");
    let words = ["store", "init", "--out", out.to_str().unwrap()];
    let (code, first) = desk.podward(&words);
    assert_eq!(code, 0, "{first}");
    assert!(
        first.contains(
            "role podward-default-operator created: reads and writes below /podward/default/"
        ),
        "{first}"
    );
    assert!(first.contains("user podward-default-node created"), "{first}");
    assert!(
        first.contains("authentication is not enabled: whoever reaches etcd may change everything"),
        "{first}"
    );
    let secrets = ["operator", "node"].map(|name| out.join(format!("{name}.password")));
    for secret in &secrets {
        assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!first.contains(fs::read_to_string(secret).unwrap().trim()), "{first}");
    }
    let (code, again) = desk.podward(&words);
    assert_eq!((code, again.matches("unchanged").count()), (0, 4), "{again}");

    let root = desk.path("root");
    fs::write(&root, ROOT.1).unwrap();
    let root = root.to_str().unwrap();
    let enable = [&words[..], &["--enable-auth", "--root-password-file", root]].concat();
    let (code, text) = desk.podward(&enable);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("authentication enabled (root created)"), "{text}");
    etcd.authenticated();
    let (code, text) = desk.podward(&enable);
    assert_eq!((code, text.matches("unchanged").count()), (0, 5), "{text}");
    let (code, text) = desk.podward(&words);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("--root-password-file FILE"), "{text}");

    let operator = user(&etcd, "podward-default-operator", &secrets[0]);
    let node = user(&etcd, "podward-default-node", &secrets[1]);
    rights_hold(&operator, &node).await;
    let outsider = connect(&etcd).await;
    for range in [Range::prefix("/podward/"), Range::key("/podward/default/spec/accept")] {
        assert!(matches!(outsider.list(&range).await, Err(Error::Denied(_))));
        assert!(matches!(outsider.watch(&[range], 0).await, Err(Error::Denied(_))));
    }

    // A password that was changed in its file is changed in the store.
    fs::write(&secrets[1], "another-one\n").unwrap();
    let (_, text) = desk.podward(&enable);
    assert!(text.contains("user podward-default-node configured"), "{text}");
    Store::connect(&node, 0).await.unwrap();
}

#[tokio::test]
async fn users_without_passwords_come_by_certificate() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::of(Wish::plain(1).by(Security::Mutual)).unwrap();
    let mut desk = Desk::at(&etcd);
    desk.show(&etcd.client_certificate("root").unwrap());
    let root = desk.path("root");
    fs::write(&root, ROOT.1).unwrap();
    let enable = ["store", "init", "--no-password", "--enable-auth", "--root-password-file"];
    let enable = [&enable[..], &[root.to_str().unwrap()]].concat();
    let (code, text) = desk.podward(&enable);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("user podward-default-node created: for certificates of that common name"),
        "{text}"
    );
    let by = |name: &str| {
        let pair = etcd.client_certificate(name).unwrap();
        Settings { cert_file: Some(pair.certificate), key_file: Some(pair.key), ..settings(&etcd) }
    };
    rights_hold(&by("podward-default-operator"), &by("podward-default-node")).await;
    let outsider = Store::connect(&by("somebody"), 0).await;
    let refused = match outsider {
        Ok(store) => store.list(&Range::prefix("/podward/")).await.expect_err("no rights"),
        Err(error) => error,
    };
    assert!(matches!(refused, Error::Denied(_)), "{refused}");
}

#[tokio::test]
async fn status_shows_members_and_accept_takes_two_words_for_an_empty_store() {
    if !etcd::is_there() {
        return;
    }
    let mut etcd = Etcd::start(3).unwrap();
    let mut desk = Desk::at(&etcd);
    let (code, text) = desk.podward(&["store", "status"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("ENDPOINT"), "{text}");
    assert_eq!((text.matches(" yes ").count(), text.matches("   ok").count()), (1, 3), "{text}");
    let store = connect(&etcd).await;
    let header = store.ping().await.unwrap();
    fs::create_dir_all(desk.path("state")).unwrap();
    let remember = |cluster: u64, revision: i64| {
        let memory = json!({ "version": 1, "clusterId": cluster, "revision": revision });
        fs::write(desk.path("state/store.json"), memory.to_string()).unwrap();
        desk.podward(&["store", "status"])
    };
    let (code, text) = remember(header.cluster_id, header.revision);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("This host takes it for the right one"), "{text}");
    let (code, text) = remember(header.cluster_id, header.revision + 9);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("StoreRegressed"), "{text}");
    assert!(remember(7, 1).1.contains("StoreForeign"));

    let (code, text) = desk.podward(&["store", "accept", "--yes"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("the store holds no set"), "{text}");
    let (code, text) = desk.podward(&["store", "accept", "--yes", "--empty"]);
    assert_eq!(code, 0, "{text}");
    put(&store, Vec::new(), "/podward/default/spec/daemonsets/web/nginx", "{}").await.unwrap();
    put(&store, Vec::new(), "/podward/default/fleet/sets/web/old/member/n1", "{}").await.unwrap();
    let (code, text) = desk.podward(&["store", "accept"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("would end it: web/old") && text.contains("say --yes"), "{text}");
    let word = async || store.get("/podward/default/spec/accept").await.unwrap().1.unwrap().value;
    let before = word().await;
    assert_eq!(desk.podward(&["store", "accept", "--yes"]).0, 0);
    let (before, after): (serde_json::Value, serde_json::Value) =
        (serde_json::from_slice(&before).unwrap(), serde_json::from_slice(&word().await).unwrap());
    assert_ne!(before["id"], after["id"]);
    assert_eq!(after["clusterId"], format!("{:x}", header.cluster_id));

    etcd.kill(0).unwrap();
    let (code, text) = desk.podward(&["store", "status"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("<unknown>") && text.contains("connection refused"), "{text}");
    desk.config["etcd"] = json!({});
    let (code, text) = desk.podward(&["store", "status"]);
    assert_eq!(code, 2, "{text}");
    let (code, text) = desk.podward(&["store", "status", "--etcd", &etcd.endpoints()[1]]);
    assert_eq!(code, 1, "another cluster than this host knows: {text}");
}
