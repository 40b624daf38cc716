//! In which order hosts come to their turns: the same host is not always the first, and a fleet does not come all at once.
//! Where domains go one after the other, the queue is short, too.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::base::ids::{NodeName, SetKey, TemplateHash};

/// How many may stand in the queue at least, and at most.
const QUEUE: (usize, usize) = (16, 256);

/// Within how long a fleet comes, whatever its size: finding that out would cost the store a look at every member.
const SPREAD: Duration = Duration::from_secs(2);

/// Where a node stands in a rollout, from 0 to 1: another place in each rollout. Nodes of one domain stand together.
pub fn rank(set: &SetKey, to: &TemplateHash, domain: &str, node: &NodeName) -> f64 {
    let share = |text: &str| {
        let digest = Sha256::digest(format!("{set}\0{to}\0{text}"));
        let number = digest[..4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        f64::from(number) / (f64::from(u32::MAX) + 1.0)
    };
    let own = share(&format!("node\0{node}"));
    if domain.is_empty() {
        own
    } else {
        (share(&format!("domain\0{domain}")) * 1024.0).floor().mul_add(1.0, own) / 1024.0
    }
}

/// How long a node waits before it joins the queue: by its rank.
pub fn entry_delay(rank: f64) -> Duration {
    SPREAD.mul_f64(rank)
}

/// How long a host waits before it updates where no store coordinates it: by its rank, within the splay.
pub fn splay_delay(rank: f64, splay: Duration) -> Duration {
    splay.mul_f64(rank)
}

/// How many may stand in the queue of a rollout that disturbs so many at once.
pub fn queue_limit(disturbed: usize) -> usize {
    disturbed.saturating_mul(2).clamp(QUEUE.0, QUEUE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(set: &str, to: &str) -> usize {
        let (set, to) = (SetKey::new("default", set), TemplateHash::new(to));
        let rank = |node: usize| rank(&set, &to, "", &NodeName::new(format!("n{node}")));
        (0..10).min_by(|a, b| rank(*a).total_cmp(&rank(*b))).unwrap()
    }

    #[test]
    fn every_rollout_has_its_own_order() {
        let mut firsts = [0; 10];
        for rollout in 0..1000 {
            firsts[first("web", &format!("h{rollout}"))] += 1;
        }
        // Nine degrees of freedom: 27.9 is exceeded once in a thousand seeds, and the seeds are fixed.
        let chi: f64 = firsts.iter().map(|count| (f64::from(*count) - 100.0).powi(2) / 100.0).sum();
        assert!(chi < 27.9, "{firsts:?}");
        assert_eq!(first("web", "h1"), first("web", "h1"), "the same for everybody");
    }

    #[test]
    fn nodes_of_one_domain_stand_together() {
        let (set, to) = (SetKey::new("default", "web"), TemplateHash::new("h"));
        let mut nodes: Vec<(f64, usize)> = (0..40)
            .map(|node| {
                let name = NodeName::new(format!("n{node}"));
                (rank(&set, &to, &format!("rack{}", node % 4), &name), node % 4)
            })
            .collect();
        nodes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let changes = nodes.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
        assert_eq!(changes, 3, "{nodes:?}");
        assert!(nodes.iter().all(|(rank, _)| (0.0..1.0).contains(rank)));
    }

    #[test]
    fn a_fleet_comes_over_two_seconds_and_the_queue_is_short() {
        assert_eq!(entry_delay(0.5), Duration::from_secs(1));
        assert_eq!([1, 20, 1000].map(queue_limit), [16, 40, 256]);
    }
}
