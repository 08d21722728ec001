//! Durations as people write them: `500ms`, `2s`, `5m`, `1h`, `1d`, or seconds as a bare number
//! with or without a fraction (as `flock -w` takes them).

use std::time::Duration;

/// Longer than any hold or wait that makes sense; adding it to a moment cannot overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads a duration.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') && text[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err("must not be negative".into());
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_secs = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("not a duration; write 500ms, 2s, 5m, 1h or a number of seconds".into()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "not a duration; write 500ms, 2s, 5m, 1h or a number of seconds")?;
    match Duration::try_from_secs_f64(number * unit_secs) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("longer than a hundred years".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_durations_in_many_ways() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("500ms", ms(500)),
            ("2s", ms(2000)),
            ("2", ms(2000)),
            ("0.25", ms(250)),
            (".5", ms(500)),
            ("1.5m", ms(90_000)),
            ("1h", ms(3_600_000)),
            ("1d", ms(86_400_000)),
            ("0", ms(0)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "-1", "s", "1e3", "inf", "nan", "1.2.3", "5 m", "1w", "9999999d", "+1"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse("-1s"), Err("must not be negative".into()));
    }
}
