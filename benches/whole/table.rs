//! The table that a run prints: measured, peer, goal, and whether it is met.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// Times of one thing, measured again and again.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The sample that this share of all lies below.
    fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index between 0 and `last`"
        )]
        let index = (last as f64 * share).round() as usize;
        sorted.get(index).copied().unwrap_or_default()
    }

    /// The middle one.
    fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = (millis(self.quantile(0.1)), millis(self.quantile(0.9)));
        write!(f, "{} ms ({low}-{high})", millis(self.median()))
    }
}

/// The lines so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Name, measured, peer, goal, verdict.
    rows: Vec<[String; 5]>,
}

impl Table {
    /// One with its heading.
    pub(crate) fn new() -> Self {
        let heading =
            ["", "measured, median (10-90 %)", "beside it: `ctr run -d`", "goal", "verdict"];
        Self { rows: vec![heading.map(str::to_owned)] }
    }

    /// A time that may be at most `share` of the peer's.
    pub(crate) fn time(&mut self, name: &str, ours: &Samples, peer: &Samples, share: f64) {
        let ratio = ours.median().as_secs_f64() / peer.median().as_secs_f64().max(1e-9);
        self.row(name, ours, peer, &format!("<= {share:.2} x"), &judged(ratio <= share, ratio));
    }

    /// A time beside another, without a goal.
    pub(crate) fn compare(&mut self, name: &str, ours: &Samples, peer: &Samples) {
        let more = ours.median().as_secs_f64() - peer.median().as_secs_f64();
        self.row(name, ours, peer, &"-", &format!("{:+.1} ms", more * 1000.0));
    }

    /// A time for its own sake.
    pub(crate) fn note(&mut self, name: &str, samples: &Samples) {
        self.row(name, &"-", samples, &"-", &"-");
    }

    /// Bytes that may be at most `goal`.
    pub(crate) fn size(&mut self, name: &str, bytes: u64, goal: u64) {
        let megabytes = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
        let ratio = bytes as f64 / goal as f64;
        let goal = format!("<= {}", megabytes(goal));
        self.row(name, &megabytes(bytes), &"-", &goal, &judged(ratio <= 1.0, ratio));
    }

    /// A time that must stay below `goal`.
    pub(crate) fn budget(&mut self, name: &str, used: Duration, goal: Duration) {
        let ratio = used.as_secs_f64() / goal.as_secs_f64().max(1e-9);
        let measured = format!("{} ms", millis(used));
        let goal = format!("< {} ms", millis(goal));
        self.row(name, &measured, &"-", &goal, &judged(ratio < 1.0, ratio));
    }

    /// A number that may be at most `goal`.
    pub(crate) fn at_most(&mut self, name: &str, count: u64, goal: u64) {
        let ratio = count as f64 / goal as f64;
        self.row(name, &count, &"-", &format!("<= {goal}"), &judged(count <= goal, ratio));
    }

    /// A number for its own sake.
    pub(crate) fn count(&mut self, name: &str, count: u64) {
        self.row(name, &count, &"-", &"-", &"-");
    }

    /// Adds a line.
    fn row(
        &mut self,
        name: &str,
        measured: &dyn fmt::Display,
        peer: &dyn fmt::Display,
        goal: &dyn fmt::Display,
        verdict: &dyn fmt::Display,
    ) {
        let row = [&name as &dyn fmt::Display, measured, peer, goal, verdict];
        self.rows.push(row.map(ToString::to_string));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let widths = [0, 1, 2, 3, 4].map(width);
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                write!(line, "{cell:<width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Milliseconds with one digit.
fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}

/// Whether a goal is met, and how far.
fn judged(met: bool, ratio: f64) -> String {
    format!("{} ({ratio:.2} x)", if met { "met" } else { "MISSED" })
}
