//! The store's client against real etcd: what the agent and the operators' verbs rely on.

#[path = "../support/etcd.rs"]
mod etcd;

use etcd::{Etcd, Security, Wish};

#[test]
fn the_harness_starts_kills_wipes_saves_and_restores_clusters() {
    if !etcd::is_there() {
        return;
    }
    let mut one = Etcd::of(Wish::plain(1)).unwrap();
    one.ctl(&["put", "a", "1"]).unwrap();
    let saved = one.save("saved").unwrap();
    one.ctl(&["put", "a", "2"]).unwrap();
    assert_eq!(one.compact().unwrap(), 3);
    one.kill(0).unwrap();
    one.revive(0).unwrap();
    assert_eq!(one.ctl(&["get", "a", "--print-value-only"]).unwrap(), "2\n");
    one.restore(&saved, None).unwrap();
    assert_eq!(one.ctl(&["get", "a", "--print-value-only"]).unwrap(), "1\n");
    one.wipe(Some("another")).unwrap();
    assert_eq!(one.revision().unwrap(), 1);
    one.enable_auth().unwrap();
    assert_eq!(one.ctl(&["user", "list"]).unwrap(), "root\n");

    let mut three = Etcd::of(Wish::plain(3).by(Security::Mutual)).unwrap();
    let leader = three.leader().unwrap();
    three.kill(leader).unwrap();
    assert_ne!(three.leader().unwrap(), leader);
    three.ctl(&["put", "a", "1"]).unwrap();
    three.revive(leader).unwrap();
}
