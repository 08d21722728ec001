//! Text for people: nothing that comes from a store, a name or a command line reaches a terminal
//! raw.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Shows text with everything escaped that could move a cursor, colour a line, turn its direction
/// or begin a new one. A hostile holder could otherwise write to the terminal of whoever looks at
/// it.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_control() || is_invisible(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Marks that change how the text around them looks: directions, line separators, joiners, tags.
fn is_invisible(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x61c
            | 0x200b..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x206f
            | 0xfeff
            | 0xfff9..=0xfffb
            | 0xe0000..=0xe007f
    )
}

/// A length of time as a clock shows it: `00:41`, `12:05:00`, `3d 02:10:00`.
pub(crate) struct Clocked(pub(crate) Duration);

impl fmt::Display for Clocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
        match (days, hours) {
            (0, 0) => write!(f, "{minutes:02}:{:02}", secs % 60),
            (0, _) => write!(f, "{hours:02}:{minutes:02}:{:02}", secs % 60),
            _ => write!(f, "{days}d {hours:02}:{minutes:02}:{:02}", secs % 60),
        }
    }
}

/// A place in line: `1st`, `2nd`, `3rd`, `11th`.
pub(crate) struct Ordinal(pub(crate) usize);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match (self.0 % 10, self.0 % 100) {
            (_, 11..=13) => "th",
            (1, _) => "st",
            (2, _) => "nd",
            (3, _) => "rd",
            _ => "th",
        };
        write!(f, "{}{ending}", self.0)
    }
}

/// A moment of the wall clock in RFC 3339, to the millisecond, in universal time.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    // A clock set before 1970 shows 1970: it is for display.
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, secs) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        secs / 3600,
        secs / 60 % 60,
        secs % 60,
        since.subsec_millis()
    )
}

/// The date of a day counted from 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let every = |year: u64, years| year.is_multiple_of(years);
    let is_leap = |year| every(year, 4) && (!every(year, 100) || every(year, 400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_cannot_move_the_cursor() {
        let hostile = "a\u{1b}[31mb\rc\nd\u{9b}e\u{202e}f\u{7f}";
        let shown = Shown(hostile).to_string();
        assert_eq!(shown, "a\\u{1b}[31mb\\rc\\nd\\u{9b}e\\u{202e}f\\u{7f}");
        assert_eq!(Shown("Ünï ../x 锁").to_string(), "Ünï ../x 锁");
    }

    #[test]
    fn lengths_of_time_read_like_a_clock() {
        let shown = |secs| Clocked(Duration::from_secs(secs)).to_string();
        assert_eq!([shown(41), shown(3600), shown(90_061)], ["00:41", "01:00:00", "1d 01:01:01"]);
    }

    #[test]
    fn places_in_line_are_ordinals() {
        let shown: Vec<_> =
            [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(|n| Ordinal(n).to_string()).into();
        assert_eq!(shown.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th");
    }

    #[test]
    fn dates_are_right_over_leap_years() {
        let shown = |secs| rfc3339(UNIX_EPOCH + Duration::from_millis(secs));
        assert_eq!(shown(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(shown(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(shown(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(shown(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
