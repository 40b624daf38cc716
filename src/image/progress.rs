//! How far a pull is, and how that reads.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// How far a pull is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The layers, the lowest first; none until the manifest is read.
    pub layers: Vec<LayerProgress>,
}

/// How far one layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProgress {
    /// Its digest.
    pub digest: String,
    /// Its size in bytes as it travels.
    pub size: u64,
    /// How much of it is here, an earlier try's part included.
    pub here: u64,
    /// Where it stands.
    pub state: LayerState,
}

/// Where a layer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// Not begun.
    Waiting,
    /// On its way.
    Downloading,
    /// Here, and not unpacked yet.
    Downloaded,
    /// Being unpacked.
    Unpacking,
    /// Unpacked by this pull.
    Done,
    /// Here before this pull.
    Present,
}

impl LayerState {
    /// Its name in output and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Downloading => "downloading",
            Self::Downloaded => "downloaded",
            Self::Unpacking => "unpacking",
            Self::Done => "done",
            Self::Present => "already here",
        }
    }
}

impl Progress {
    /// The bytes of all layers.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// The bytes that are here.
    pub fn here(&self) -> u64 {
        self.layers.iter().map(|layer| layer.here).sum()
    }

    /// How fast it goes on the average, to be put behind it; empty before there is something to say.
    pub fn pace(&self, since: Instant, now: Instant) -> String {
        let fetched = self.layers.iter().filter(|layer| layer.state != LayerState::Present);
        let here = fetched.map(|layer| layer.here).sum();
        let rate = Sample { at: since, here: 0 }.rate(Sample { at: now, here });
        rate.filter(|rate| *rate > 0).map(|rate| format!(", {}/s", bytes(rate))).unwrap_or_default()
    }

    /// The layers that need nothing more.
    pub fn done(&self) -> usize {
        let done = |state| matches!(state, LayerState::Done | LayerState::Present);
        self.layers.iter().filter(|layer| done(layer.state)).count()
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.layers.is_empty() {
            return f.write_str("asking the registry");
        }
        let (done, all) = (self.done(), self.layers.len());
        write!(f, "{done}/{all} layers, {} of {}", bytes(self.here()), bytes(self.size()))
    }
}

/// How much was here at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// How many bytes.
    pub here: u64,
}

/// The least time over which a rate says anything.
const LEAST: Duration = Duration::from_millis(200);

impl Sample {
    /// How many bytes a second came since; `None` before there is something to say.
    pub fn rate(&self, later: Sample) -> Option<u64> {
        let time = later.at.saturating_duration_since(self.at);
        let bytes = later.here.checked_sub(self.here)?;
        let rate = u128::from(bytes) * 1000 / time.as_millis().max(1);
        (time >= LEAST).then(|| u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

/// How long the rest takes at a rate, in whole seconds; `None` when nothing comes.
pub fn time_left(rest: u64, rate: u64) -> Option<Duration> {
    (rate > 0).then(|| Duration::from_secs(rest.div_ceil(rate)))
}

/// A number of bytes for people.
pub fn bytes(number: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scale = 1_u64;
    while number / scale >= 1024 && unit + 1 < units.len() {
        (unit, scale) = (unit + 1, scale * 1024);
    }
    if unit == 0 {
        return format!("{number}B");
    }
    let tenths = (u128::from(number) * 10 + u128::from(scale) / 2) / u128::from(scale);
    format!("{}.{}{}", tenths / 10, tenths % 10, units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_between_two_moments() {
        let start = crate::base::time::now().mono;
        let after = |millis, here| Sample { at: start + Duration::from_millis(millis), here };
        let first = after(0, 100);
        assert_eq!(first.rate(after(2000, 2100)), Some(1000));
        assert_eq!(first.rate(after(199, 2100)), None, "too short to say");
        assert_eq!(first.rate(after(2000, 50)), None, "a layer began anew");
        assert_eq!(first.rate(after(2000, 100)), Some(0));
        assert_eq!(time_left(1001, 1000), Some(Duration::from_secs(2)));
        assert_eq!(time_left(1, 0), None);
    }

    #[test]
    fn a_pull_is_told_with_its_pace() {
        let layer =
            |here, state| LayerProgress { digest: "d".into(), size: 100 << 20, here, state };
        let layers =
            vec![layer(100 << 20, LayerState::Present), layer(45 << 20, LayerState::Downloading)];
        let progress = Progress { layers };
        let start = crate::base::time::now().mono;
        let pace = |millis| progress.pace(start, start + Duration::from_millis(millis));
        assert_eq!(progress.to_string(), "1/2 layers, 145.0MiB of 200.0MiB");
        assert_eq!((pace(0).as_str(), pace(2000).as_str()), ("", ", 22.5MiB/s"));
        assert_eq!(Progress::default().pace(start, start + Duration::from_secs(9)), "");
    }

    #[test]
    fn bytes_read_as_people_say_them() {
        for (number, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (1536, "1.5KiB"),
            (200 << 20, "200.0MiB"),
            (u64::MAX, "16777216.0TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
