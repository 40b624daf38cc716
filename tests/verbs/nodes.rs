//! `label`, `taint`, `cordon`, `uncordon`.

use serde_json::json;

use crate::fleet::Fleet;

#[test]
fn labels_taints_and_cordons_are_laid_over_nodes() {
    let Some(fleet) = Fleet::start() else { return };
    for (node, disk) in [("n1", "ssd"), ("n2", "hdd")] {
        fleet.node(node, &json!({"disk": disk, "kubernetes.io/os": "linux"}), "rack");
    }
    for (line, out) in [
        ("label node n1 zone=a", "node/n1 labeled\n"),
        ("label node n1 zone=a", "node/n1 not labeled\n"),
        ("label node n1 zone=b --overwrite", "node/n1 labeled\n"),
        ("label node n1 zone- disk-", "node/n1 unlabeled\n"),
        ("label nodes -l disk=hdd cold=", "node/n2 labeled\n"),
        ("label node --all seen=1", "node/n1 labeled\nnode/n2 labeled\n"),
        ("taint node n1 dedicated=db:NoSchedule", "node/n1 tainted\n"),
        ("taint node n1 dedicated=web:NoSchedule --overwrite", "node/n1 modified\n"),
        ("taint node n1 dedicated:NoSchedule-", "node/n1 untainted\n"),
        ("cordon n1 n2", "node/n1 cordoned\nnode/n2 cordoned\n"),
        ("cordon n1", "node/n1 already cordoned\n"),
        ("uncordon n1", "node/n1 uncordoned\n"),
        ("uncordon node/n1", "node/n1 already uncordoned\n"),
    ] {
        assert_eq!(fleet.run(line).fine(), out, "{line}");
    }
    let overlay = fleet.value("spec/nodes/n1");
    assert_eq!(overlay["labels"], json!({"disk": null, "seen": "1", "zone": null}));
    assert_eq!(overlay["taints"], json!({"dedicated:NoSchedule": null}));
    assert_eq!(overlay["unschedulable"], false);
    assert_eq!(overlay["generation"], 9, "one for each change");
    assert_eq!(fleet.value("spec/nodes/n2")["unschedulable"], true);
}

#[test]
fn what_cannot_be_done_to_a_node_is_refused() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.node("n1", &json!({"disk": "ssd"}), "rack, dedicated");
    let before = fleet.etcd.revision().unwrap();
    for (line, problem) in [
        ("label node n9 a=b", "nodes \"n9\" not found"),
        ("label node n1 disk=hdd", "'disk' already has a value (ssd), and --overwrite is false"),
        ("label node n1 rack=1", "node n1 protects rack"),
        (
            "label node n1 kubernetes.io/hostname=x --overwrite",
            "node n1 protects kubernetes.io/hostname",
        ),
        ("taint node n1 dedicated=a:NoSchedule", "node n1 protects dedicated"),
        ("taint node n1 x:NoSchedule-", "taint \"x:NoSchedule\" not found"),
        ("label node -l disk=none a=b", "no nodes found"),
        ("cordon n9", "nodes \"n9\" not found"),
    ] {
        let error = fleet.run(line).refused();
        assert!(error.contains(problem), "{line}: {error}");
    }
    for (line, problem) in [
        ("label node n1", "at least one label update is required"),
        ("label node a=b", "no node is named"),
        ("label pod/x a=b", "\"pod/x\" is no node"),
        ("label node n1 a=b --all", "names do not go with -l or --all"),
        ("label node n1 a/b/c=d", "is no label"),
        ("taint node n1 a=b", "it has no effect"),
        ("taint node n1 a=b:Never", "is none of NoSchedule"),
        ("cordon", "no node is named"),
    ] {
        let said = fleet.run(line);
        assert_eq!(said.code, 2, "{line}: {said:?}");
        assert!(said.err.contains(problem), "{line}: {said:?}");
    }
    assert_eq!(fleet.run("label node n1 none-").err, "label \"none\" not found.\n");
    assert_eq!(fleet.etcd.revision().unwrap(), before);
}
