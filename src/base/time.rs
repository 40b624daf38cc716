//! Time as a value: the one place that reads a clock, and durations as kubectl and Go print them.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// One reading of both clocks. Deadlines follow `mono`, which never jumps; what people read follows `wall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Instant,
    /// The wall clock.
    pub wall: Timestamp,
}

/// Reads the clocks. Floors 0 to 6 take [`Now`] as an argument instead.
#[expect(clippy::disallowed_methods, reason = "the one reader of the clock")]
pub fn now() -> Now {
    Now { mono: Instant::now(), wall: Timestamp::now() }
}

/// The time from `earlier` to `later`; zero when the wall clock went backwards in between.
pub fn elapsed(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// An age as kubectl prints it: `5s`, `2m3s`, `17m`, `3h20m`, `2d4h`, `9d`, `2y30d`.
pub fn age(duration: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    let two = |big: u64, big_unit, small: u64, small_unit| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match duration.as_secs() {
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, 'm', s % MINUTE, 's'),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, 'h', s % HOUR / MINUTE, 'm'),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, 'd', s % DAY / HOUR, 'h'),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, 'y', s % YEAR / DAY, 'd'),
        s => format!("{}y", s / YEAR),
    }
}

/// Whole seconds as Go prints a duration: `10s`, `1m20s`, `5m0s`, `1h0m0s`.
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        s if s < 60 => format!("{s}s"),
        s if s < 3600 => format!("{}m{}s", s / 60, s % 60),
        s => format!("{}h{}m{}s", s / 3600, s % 3600 / 60, s % 60),
    }
}

/// The same to the millisecond: `350ms`, `1.25s`, `1m2.5s`.
pub fn go_millis(duration: Duration) -> String {
    let millis = duration.subsec_millis();
    if duration.as_secs() == 0 && millis > 0 {
        return format!("{millis}ms");
    }
    let whole = go_duration(duration);
    if millis == 0 {
        return whole;
    }
    let fraction = format!("{millis:03}");
    format!("{}.{}s", whole.trim_end_matches('s'), fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_read_as_in_go() {
        for (millis, text) in [
            (0, "0s"),
            (7, "7ms"),
            (1_000, "1s"),
            (1_250, "1.25s"),
            (62_500, "1m2.5s"),
            (3_600_001, "1h0m0.001s"),
        ] {
            assert_eq!(go_millis(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn ages_read_as_in_kubectl() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (123, "2m3s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (187_200, "2d4h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (65_664_000, "2y30d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn back_off_texts_read_as_go_prints_them() {
        for (seconds, text) in [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (3600, "1h0m0s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_wall_clock_that_went_backwards_gives_no_age() {
        let later = Timestamp::from_second(100).unwrap();
        assert_eq!(elapsed(later, Timestamp::from_second(90).unwrap()), Duration::ZERO);
    }
}
