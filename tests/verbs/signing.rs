//! Values that are signed as they are written.

use std::process::Command;

use crate::fleet::{Fleet, set};

#[test]
fn what_is_signed_is_read_merged_and_signed_again() {
    let Some(fleet) = Fleet::start() else { return };
    let key = fleet.file("ops.key", "");
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    fleet.node("n1", &serde_json::json!({}), "");
    fleet.file("web.yaml", &set("web", "r.io/a:1", ""));
    let sign = "--sign-key {ops.key}";
    fleet.run(&format!("apply -f {{web.yaml}} {sign}")).fine();
    let sealed = fleet.value("spec/daemonsets/x/web");
    assert_eq!(sealed["payloadType"], "application/vnd.podward.v1+json");
    let again = fleet.run(&format!("apply -f {{web.yaml}} {sign}")).fine();
    assert_eq!(again, "daemonset.apps/web unchanged\n");
    assert!(fleet.run("get ds web -n x -o yaml").fine().contains("r.io/a:1"));
    // Without the key nothing is written that nodes would refuse.
    let error = fleet.run("set image ds/web main=r.io/a:2 -n x").refused();
    assert!(error.contains("is signed, and there is no key"), "{error}");
    assert!(error.contains("--sign-key"), "{error}");
    fleet.run(&format!("set image ds/web main=r.io/a:2 -n x {sign}")).fine();
    assert!(fleet.run("get ds web -n x -o yaml").fine().contains("r.io/a:2"));
    fleet.run(&format!("label node n1 a=b {sign}")).fine();
    assert!(fleet.value("spec/nodes/n1")["payloadType"].is_string());
    fleet.run(&format!("label node n1 c=d {sign}")).fine();
    let error = fleet.run("cordon n1").refused();
    assert!(error.contains("is signed, and there is no key"), "{error}");
    fleet.run(&format!("delete ds web -n x --wait=false {sign}")).fine();
    assert!(fleet.value("spec/tombstones/daemonsets/x/web")["payloadType"].is_string());
    assert_eq!(fleet.run("apply -f {web.yaml} --sign-key {none.key}").code, 1);
}
