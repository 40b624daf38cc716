//! What is explored.

use super::explore::explore;
use super::scenario::{Quality, Role, Scenario, canary, rollout, surge, unavailable};

/// Explores, and finds nothing wrong.
fn holds(scenario: Scenario) {
    if let Some((wrong, trace)) = explore(scenario).wrong {
        panic!("{wrong}\n{trace}");
    }
}

#[test]
fn nothing_goes_wrong() {
    holds(Scenario::new("four hosts, one at a time", 4, &unavailable(1), &[1, 2]));
}
#[test]
fn two_at_once() {
    holds(Scenario::new("four hosts, two at a time", 4, &unavailable(2), &[1, 2]));
}
#[test]
fn lost() {
    holds(Scenario::new("three, lost", 3, &unavailable(1), &[1, 2]).with(|left| left.lost=1));
}
#[test]
fn crash() {
    holds(Scenario::new("three, crash", 3, &unavailable(1), &[1, 2]).with(|left| left.crash=1));
}
#[test]
fn undo_redo() {
    holds(Scenario::new("two, v1 v2 v1 v2", 2, &unavailable(1), &[1, 2,1,2]));
}
#[test]
fn surging() {
    holds(Scenario::new("three, surge", 3, &surge(1), &[1, 2,3]));
}
