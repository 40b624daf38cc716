//! `podward cordon` and `podward uncordon`: whether nodes take new pods that do not tolerate it.

use std::io::Write;

use clap::Args as ClapArgs;

use crate::fleet::overlay::{UNSCHEDULABLE, is_cordoned};

use super::{
    Globals, client,
    desk::{Desk, ending},
    failure::Outcome,
    node_change::{self, Changing, Chosen},
};

/// What `cordon` and `uncordon` are asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The nodes
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
    #[command(flatten)]
    pub chosen: Chosen,
}

/// Cordons each node, or ends that.
pub fn run(
    args: &Args,
    cordon: bool,
    globals: &Globals,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Outcome {
    let names = node_change::names(&args.nodes)?;
    client::converse(async {
        let desk = Desk::open(globals).await?;
        let mut failed = None;
        for node in node_change::nodes(&desk, names, &args.chosen).await? {
            let mut change = |changing: &mut Changing<'_>| apply(changing, cordon);
            if let Err(error) = node_change::change(&desk, &node, &mut change, out).await
                && let Some(before) = failed.replace(error)
            {
                writeln!(err, "error: {before:#}")?;
            }
        }
        ending(failed)
    })
}

/// Changes one node.
fn apply(changing: &mut Changing<'_>, cordon: bool) -> anyhow::Result<&'static str> {
    changing.free(UNSCHEDULABLE)?;
    let is = changing.overlay.unschedulable || is_cordoned(&changing.node.taints);
    if is == cordon {
        return Ok(if cordon { "already cordoned" } else { "already uncordoned" });
    }
    // The taint may be of the node's own settings, or laid over it by hand.
    let taint = format!("{UNSCHEDULABLE}:NoSchedule");
    let overlay = &mut changing.overlay;
    if cordon {
        overlay.taints.remove(&taint);
    } else if !overlay.unschedulable || overlay.taints.contains_key(&taint) {
        overlay.taints.insert(taint, None);
    }
    overlay.unschedulable = cordon;
    Ok(if cordon { "cordoned" } else { "uncordoned" })
}

#[cfg(test)]
mod tests {
    use crate::base::ids::NodeName;
    use crate::fleet::{overlay::lay_over, records::NodeOverlay};
    use crate::node::Node;

    use super::*;

    #[test]
    fn a_node_is_cordoned_once_and_uncordoned_whoever_cordoned_it() {
        let bare = Node { name: NodeName::new("n1"), labels: [].into(), taints: vec![] };
        let by_hand = NodeOverlay { unschedulable: true, ..NodeOverlay::default() };
        let cordoned = lay_over(&bare, &by_hand, &[]).0;
        for (node, overlay, cordon, word, is) in [
            (&bare, NodeOverlay::default(), true, "cordoned", true),
            (&bare, NodeOverlay::default(), false, "already uncordoned", false),
            (&cordoned, by_hand.clone(), true, "already cordoned", true),
            (&bare, by_hand.clone(), false, "uncordoned", false),
            // By its own settings.
            (&cordoned, NodeOverlay::default(), false, "uncordoned", false),
        ] {
            let mut changing = Changing { node, protected: &[], overlay };
            assert_eq!(apply(&mut changing, cordon).unwrap(), word);
            let after = lay_over(node, &changing.overlay, &[]).0;
            assert_eq!(is_cordoned(&after.taints), is, "{word}");
        }
        let protected = [UNSCHEDULABLE.to_owned()];
        let overlay = NodeOverlay::default();
        let mut changing = Changing { node: &bare, protected: &protected, overlay };
        assert!(apply(&mut changing, true).is_err());
    }
}
