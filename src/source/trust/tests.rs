//! Tests of trust: what is unsigned, altered, replayed or of an unknown key is refused with its reason.

use std::process::Command;

use crate::fleet::envelope::{PrivateKey, detached};

use super::*;

/// A state directory with two pairs of keys, `a` and `b`.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap() };
        let script = "for key in a b; do openssl genpkey -algorithm ed25519 -out $key.key; \
                      openssl pkey -in $key.key -pubout -out $key.pub; done";
        let made = Command::new("sh").args(["-ec", script]).current_dir(&host.dir).status();
        assert!(made.unwrap().success());
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn key(&self, name: &str) -> PrivateKey {
        PrivateKey::parse(&fs::read(self.path(&format!("{name}.key"))).unwrap()).unwrap()
    }

    fn trusting(&self, names: &[&str]) -> Trust {
        let files: Vec<_> = names.iter().map(|name| self.path(&format!("{name}.pub"))).collect();
        Trust::load(&files, self.dir.path())
    }

    fn signature(&self, name: &str, bytes: &[u8], generation: i64) -> Vec<u8> {
        self.key(name).seal(&detached(bytes, generation))
    }
}

const PAGE: &str = "https://specs.example/fleet.yaml";
const KEY: &str = "etcd:/podward/default/spec/daemonsets/default/a";

fn object(generation: i64) -> Vec<u8> {
    json!({ "kind": "DaemonSet", "metadata": { "generation": generation } })
        .to_string()
        .into_bytes()
}

#[test]
fn without_trusted_keys_everything_passes_and_envelopes_are_opened() {
    let host = Host::new();
    let anybody = Trust::load(&[], host.dir.path());
    assert!(!anybody.is_required());
    assert_eq!(anybody.check(PAGE, b"x", None), Ok(()));
    assert_eq!(anybody.open(KEY, b"plain").unwrap(), &b"plain"[..]);
    assert_eq!(anybody.open(KEY, &host.key("a").seal(b"value")).unwrap(), &b"value"[..]);
    let torn = br#"{"payloadType": "text/plain", "payload": ""}"#;
    let fault = anybody.open(KEY, torn).unwrap_err();
    assert_eq!(fault.problem, "refused: bad envelope: its payloadType is not podward's");
    assert!(anybody.faults().is_empty());
}

#[test]
fn a_page_is_believed_by_its_detached_signature_alone() {
    let host = Host::new();
    let trust = host.trusting(&["a"]);
    let good = host.signature("a", b"spec", 7);
    let said = |bytes: &[u8], signature: Option<&[u8]>| {
        trust.check(PAGE, bytes, signature).unwrap_err().problem
    };
    assert_eq!(said(b"spec", None), "refused: unsigned");
    assert_eq!(said(b"spec", Some(b"garbage")), "refused: unsigned");
    assert_eq!(said(b"other", Some(&good)), "refused: altered: its signature is of other bytes");
    let id = host.key("b").id;
    assert_eq!(
        said(b"spec", Some(&host.signature("b", b"spec", 8))),
        format!("refused: signed by an unknown key ({id})")
    );
    assert_eq!(
        said(b"spec", Some(&host.key("a").seal(b"{}"))),
        "refused: bad envelope: it names no digest and generation"
    );
    assert_eq!(trust.check(PAGE, b"spec", Some(&good)), Ok(()));
    assert_eq!(trust.check(PAGE, b"spec", Some(&good)), Ok(()), "the same again is no replay");
    let older = host.signature("a", b"old", 4);
    let reason = "refused: replayed: generation 4 < 7, which was accepted before";
    assert_eq!(said(b"old", Some(&older)), reason);
    assert_eq!(trust.check("https://other.example/", b"old", Some(&older)), Ok(()));
    let fault = trust.check(PAGE, b"old", Some(&older)).unwrap_err();
    assert_eq!(fault.origin, PAGE);
    assert!(fault.remedy.starts_with("sign it by `podward sign -k KEY -f FILE`"), "{fault}");
}

#[test]
fn what_was_accepted_outlives_the_agent() {
    let host = Host::new();
    let trust = host.trusting(&["a"]);
    let newer = host.key("a").seal(&object(7));
    assert_eq!(trust.open(KEY, &newer).unwrap(), object(7));
    trust.save();
    let next = host.trusting(&["a"]);
    let fault = next.open(KEY, &host.key("a").seal(&object(6))).unwrap_err();
    assert_eq!(fault.problem, "refused: replayed: generation 6 < 7, which was accepted before");
    assert!(fault.remedy.starts_with("apply it with --sign-key"), "{fault}");
    let ageless = host.key("a").seal(b"{}");
    assert!(next.open(KEY, &ageless).unwrap_err().problem.contains("generation 0 < 7"));
    let overlay = host.key("a").seal(b"{\"generation\": 3}");
    assert!(next.open("etcd:/x", &overlay).is_ok());
    // An operator says that an older state is the right one.
    next.forget("etcd:/podward/default/spec/");
    assert!(next.open(KEY, &host.key("a").seal(&object(6))).is_ok());
    next.save();
    let text = fs::read_to_string(host.path("trust.json")).unwrap();
    assert_eq!(text, format!("{{\"accepted\":{{\"{KEY}\":6,\"etcd:/x\":3}},\"version\":1}}"));
}

#[test]
fn a_torn_file_of_generations_is_set_aside_and_told_until_somebody_looked_at_it() {
    let host = Host::new();
    for torn in ["{\"version\":1,\"acc", "{\"version\":2,\"accepted\":{}}", "{\"version\":1}", ""] {
        fs::write(host.path("trust.json"), torn).unwrap();
        let trust = host.trusting(&["a"]);
        let faults = trust.faults();
        assert_eq!(faults.len(), 1, "{torn}: {faults:?}");
        assert_eq!(faults[0].origin, host.path("trust.json.bad").display().to_string());
        assert!(faults[0].problem.contains("accepted before are lost"), "{}", faults[0]);
        // What is signed goes on, and counts from now on.
        assert!(trust.open(KEY, &host.key("a").seal(&object(2))).is_ok());
        trust.save();
        assert_eq!(host.trusting(&["a"]).faults().len(), 1);
        fs::remove_file(host.path("trust.json.bad")).unwrap();
        assert!(trust.faults().is_empty());
        assert!(trust.open(KEY, &host.key("a").seal(&object(1))).is_err());
    }
}

#[test]
fn keys_are_replaced_while_the_agent_runs() {
    let host = Host::new();
    let trust = host.trusting(&["a"]);
    let by_b = host.key("b").seal(&object(1));
    assert!(trust.open(KEY, &by_b).is_err());
    fs::copy(host.path("b.pub"), host.path("new.pub")).unwrap();
    fs::rename(host.path("new.pub"), host.path("a.pub")).unwrap();
    assert!(trust.open(KEY, &by_b).is_ok());
    assert!(trust.open(KEY, &host.key("a").seal(&object(1))).is_err());
    let both = host.trusting(&["a", "b"]);
    assert!(both.open(KEY, &by_b).is_ok());
}

#[test]
fn a_key_that_cannot_be_read_is_named_and_believes_nobody() {
    let host = Host::new();
    fs::write(host.path("a.pub"), "no key").unwrap();
    fs::remove_file(host.path("b.pub")).unwrap();
    let trust = host.trusting(&["a", "b"]);
    let fault = trust.open(KEY, &host.key("a").seal(&object(1))).unwrap_err();
    assert_eq!(fault.problem, "refused: none of the trusted keys can be read");
    let faults: Vec<String> = trust.faults().iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("a.pub: holds no key in PEM"), "{faults:?}");
    assert!(faults[1].contains("b.pub: cannot be read: No such file"), "{faults:?}");
}
