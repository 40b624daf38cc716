//! Durations on the command line, as Go and kubectl write them: `90s`, `1h30m`, `1.5h`, `200ms`.

use std::time::Duration;

/// Reads a duration.
pub fn parse(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} is no duration; write it as 30s, 5m or 1h30m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(fault)?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return Err(fault()),
        };
        let number: f64 = number.parse().map_err(|_| fault())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| fault())?;
        // A hundred years: beyond it, times fall off the calendar.
        total = total
            .checked_add(part)
            .filter(|all| all.as_secs() < 3_155_760_000)
            .ok_or_else(fault)?;
        rest = after;
    }
    if text.is_empty() { Err(fault()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_writes_them() {
        for (text, millis) in
            [("0", 0), ("30s", 30_000), ("1h30m", 5_400_000), ("1.5m", 90_000), ("200ms", 200)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "5", "s", "5 m", "-5s", "5d", "1..5s", "99999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
