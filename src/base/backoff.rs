//! Exponential back-off as a value: how long to wait before the next try.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The bounds of a back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub cap: Duration,
}

/// Waits that double from `initial` to `cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Backoff {
    /// The wait that the last failure earned; zero before any.
    delay: Duration,
}

impl Backoff {
    /// Counts one more failure and returns the wait that it earns.
    pub fn next(&mut self, bounds: Bounds) -> Duration {
        self.delay = match self.delay {
            Duration::ZERO => bounds.initial.min(bounds.cap),
            delay => (delay * 2).min(bounds.cap),
        };
        self.delay
    }

    /// The wait earned so far; zero before any failure.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.delay = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { initial: Duration::from_secs(10), cap: Duration::from_mins(5) };

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..7).map(|_| backoff.next(BOUNDS).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    proptest! {
        #[test]
        fn every_wait_lies_within_the_bounds(failures in 1usize..200) {
            let mut backoff = Backoff::default();
            for _ in 0..failures {
                let wait = backoff.next(BOUNDS);
                prop_assert!(BOUNDS.initial <= wait && wait <= BOUNDS.cap);
            }
        }
    }
}
