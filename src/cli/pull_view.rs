//! How a pull is shown while it goes on: on a terminal a line for each layer that is rewritten in place, elsewhere a line
//! for each change. Our own hundred lines: a crate for progress bars would cost the binary ten times as much.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
    time::{Duration, Instant},
};

use crate::agent::wire::{PullLayer, PullProgress};
use crate::base::time::go_duration;
use crate::image::progress::{Sample, bytes, time_left};

use super::terminal;

/// Over how long the rate is measured.
const WINDOW: Duration = Duration::from_secs(5);

/// How wide a bar is.
const BAR: usize = 24;

/// How much of a digest is shown.
const SHORT: usize = 12;

/// A pull on somebody's screen.
#[derive(Debug)]
pub struct PullView {
    /// Whether lines are rewritten.
    live: bool,
    /// How many lines stand there.
    lines: usize,
    /// What was here during the last moments.
    samples: VecDeque<Sample>,
    /// Where each layer stood.
    states: BTreeMap<String, String>,
}

impl PullView {
    /// Nothing is shown yet.
    pub fn new(live: bool) -> Self {
        Self { live, lines: 0, samples: VecDeque::new(), states: BTreeMap::new() }
    }

    /// Shows how far the pull is.
    pub fn show(
        &mut self,
        progress: &PullProgress,
        now: Instant,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if !self.live {
            return self.show_changes(progress, out);
        }
        let rate = self.rate(progress, now);
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let width = usize::try_from(width).unwrap_or(80).max(20);
        // One line more than fits would scroll, and what scrolled away cannot be rewritten.
        let room = usize::try_from(height).unwrap_or(24).max(4) - 2;
        let mut lines: Vec<String> =
            chosen(&progress.layers, room).into_iter().map(layer_line).collect();
        lines.push(total_line(progress, rate));
        if self.lines > 0 {
            write!(out, "\x1b[{}A", self.lines)?;
        }
        for line in &lines {
            let line: String = line.chars().take(width - 1).collect();
            writeln!(out, "\r{line}\x1b[K")?;
        }
        self.lines = lines.len();
        write!(out, "\x1b[J")
    }

    /// Takes the lines away: what follows says it all.
    pub fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.lines > 0 {
            write!(out, "\x1b[{}A\r\x1b[J", self.lines)?;
        }
        self.lines = 0;
        Ok(())
    }

    /// A line for each layer that stands elsewhere than before.
    fn show_changes(&mut self, progress: &PullProgress, out: &mut dyn Write) -> io::Result<()> {
        for layer in &progress.layers {
            let known = self.states.get(&layer.digest);
            if known != Some(&layer.state) && layer.state != "waiting" {
                writeln!(out, "{}: {} ({})", short(layer), layer.state, bytes(layer.size))?;
                self.states.insert(layer.digest.clone(), layer.state.clone());
            }
        }
        Ok(())
    }

    /// How many bytes a second come at present.
    fn rate(&mut self, progress: &PullProgress, now: Instant) -> Option<u64> {
        let sample = Sample { at: now, here: fetched(progress).0 };
        // Layers that were here, or begin anew, are no bytes that came.
        if self.samples.back().is_some_and(|last| last.here > sample.here) {
            self.samples.clear();
        }
        self.samples.push_back(sample);
        while self.samples.len() > 2 && now.saturating_duration_since(self.samples[1].at) > WINDOW {
            self.samples.pop_front();
        }
        self.samples.front().and_then(|first| first.rate(sample))
    }
}

/// The bytes that are here, and all, of the layers that have to come.
fn fetched(progress: &PullProgress) -> (u64, u64) {
    let coming = progress.layers.iter().filter(|layer| layer.state != "already here");
    coming.fold((0, 0), |(here, size), layer| (here + layer.here, size + layer.size))
}

/// The layers for which there is room: first those that something happens to.
fn chosen(layers: &[PullLayer], room: usize) -> Vec<&PullLayer> {
    let busy =
        |layer: &&PullLayer| !matches!(layer.state.as_str(), "waiting" | "done" | "already here");
    if layers.len() <= room {
        return layers.iter().collect();
    }
    let idle = |layer: &&PullLayer| !busy(layer);
    let mut chosen: Vec<&PullLayer> = layers.iter().filter(busy).collect();
    chosen.extend(layers.iter().filter(idle));
    chosen.truncate(room);
    chosen
}

/// A layer in one line.
fn layer_line(layer: &PullLayer) -> String {
    let size = bytes(layer.size);
    let digest = short(layer);
    match layer.state.as_str() {
        "downloading" => {
            let share = u128::from(layer.here) * BAR as u128 / u128::from(layer.size.max(1));
            let done = usize::try_from(share).unwrap_or(BAR).min(BAR);
            let bar = format!("{}{}", "=".repeat(done), " ".repeat(BAR - done));
            format!("{digest}  [{bar}]  {} of {size}", bytes(layer.here))
        }
        state => format!("{digest}  {state:<12} {size}"),
    }
}

/// The pull as a whole.
fn total_line(progress: &PullProgress, rate: Option<u64>) -> String {
    if progress.layers.is_empty() {
        return "asking the registry".to_owned();
    }
    let done = |layer: &&PullLayer| matches!(layer.state.as_str(), "done" | "already here");
    let count = progress.layers.iter().filter(done).count();
    let (here, size) = fetched(progress);
    let mut line =
        format!("{count}/{} layers, {} of {}", progress.layers.len(), bytes(here), bytes(size));
    if let Some(rate) = rate.filter(|rate| *rate > 0 && here < size) {
        let left = time_left(size - here, rate).unwrap_or_default();
        line = format!("{line}, {}/s, {} left", bytes(rate), go_duration(left));
    }
    line
}

/// The beginning of a layer's digest.
fn short(layer: &PullLayer) -> &str {
    let hex = layer.digest.split_once(':').map_or(layer.digest.as_str(), |(_, hex)| hex);
    hex.get(..SHORT).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    fn layer(number: u64, here: u64, state: &str) -> PullLayer {
        let digest = format!("sha256:{number:064}");
        PullLayer {
            digest: digest.chars().rev().collect(),
            size: 100 << 20,
            here,
            state: state.into(),
        }
    }

    fn shown(view: &mut PullView, progress: &PullProgress, now: Instant) -> String {
        let mut out = Vec::new();
        view.show(progress, now, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_sees_layers_and_total_in_place() {
        let (mut view, start) = (PullView::new(true), time::now().mono);
        assert_eq!(
            shown(&mut view, &PullProgress::default(), start),
            "\rasking the registry\x1b[K\n\x1b[J"
        );
        let mut progress = PullProgress {
            layers: vec![layer(0, 100 << 20, "already here"), layer(0, 0, "downloading")],
        };
        shown(&mut view, &progress, start);
        progress.layers[1].here = 50 << 20;
        let text = shown(&mut view, &progress, start + Duration::from_secs(1));
        assert!(text.starts_with("\x1b[3A"), "{text:?}");
        assert!(text.contains("[============            ]  50.0MiB of 100.0MiB"), "{text:?}");
        assert!(text.contains("1/2 layers, 50.0MiB of 100.0MiB, 50.0MiB/s, 1s left"), "{text:?}");
        let mut out = Vec::new();
        view.end(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\x1b[3A\r\x1b[J");
    }

    #[test]
    fn elsewhere_each_change_is_one_line() {
        let (mut view, start) = (PullView::new(false), time::now().mono);
        let mut progress = PullProgress {
            layers: vec![layer(7, 100 << 20, "already here"), layer(8, 0, "waiting")],
        };
        assert_eq!(shown(&mut view, &progress, start).lines().count(), 1);
        progress.layers[1] = layer(8, 1 << 20, "downloading");
        assert!(shown(&mut view, &progress, start).ends_with(": downloading (100.0MiB)\n"));
        progress.layers[1].here = 2 << 20;
        assert_eq!(shown(&mut view, &progress, start), "");
    }

    #[test]
    fn many_layers_leave_room_for_those_that_move() {
        let layers = [layer(1, 0, "done"), layer(2, 0, "waiting"), layer(3, 0, "unpacking")];
        let states = |room| -> Vec<&str> {
            chosen(&layers, room).into_iter().map(|layer| layer.state.as_str()).collect()
        };
        assert_eq!(states(3), ["done", "waiting", "unpacking"]);
        assert_eq!(states(2), ["unpacking", "done"]);
    }
}
