//! Several operators at once.

use serde_json::json;

use crate::fleet::{Fleet, said, set};

#[test]
fn of_eight_writers_at_once_none_loses_what_it_was_told_is_written() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.node("n1", &json!({}), "");
    let containers = (0..8)
        .map(|n| format!("      - name: c{n}\n        image: r.io/a:old\n"))
        .collect::<Vec<_>>()
        .concat();
    let set = set("web", "r.io/a:1", "");
    fleet.feed("apply -f -", &format!("{set}{containers}")).fine();
    let lines = (0..8).flat_map(|n| {
        [format!("set image ds/web c{n}=r.io/a:{n} -n x"), format!("label node n1 l{n}={n}")]
    });
    let children: Vec<_> = lines.map(|line| fleet.command(&line).spawn().unwrap()).collect();
    let told: Vec<_> = children.into_iter().map(said).collect();
    let set = fleet.value("spec/daemonsets/x/web");
    let labels = fleet.value("spec/nodes/n1")["labels"].clone();
    let containers = &set["spec"]["template"]["spec"]["containers"];
    let mut written = [0, 0];
    for n in 0..8 {
        let (image, label) = (&told[n * 2], &told[n * 2 + 1]);
        let is = containers[n + 1]["image"] == format!("r.io/a:{n}");
        assert_eq!(is, image.code == 0, "{image:?}: {containers}");
        let is = labels[format!("l{n}")].as_str() == Some(&*n.to_string());
        assert_eq!(is, label.code == 0, "{label:?}: {labels}");
        for (count, one) in written.iter_mut().zip([image, label]) {
            *count += usize::from(one.code == 0);
            if one.code != 0 {
                assert!(one.err.contains("was changed by others 5 times"), "{one:?}");
            }
        }
    }
    // Whoever writes is one step further: after five rounds at least five have written.
    assert!(written.iter().all(|count| *count >= 5), "{written:?}");
    assert_eq!(set["metadata"]["generation"], 1 + written[0]);
}
