//! How long lines, functions and files may be.
//!
//! What is longer is listed in a file with the length it has and a reason. The list is a ratchet:
//! an entry that is not needed any more is a violation itself, so it only gets shorter.

use super::Violation;
use super::source::{Source, find_word, is_word};

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
/// Without the tests at its end.
const FILE_LINES_MAX: usize = 500;

/// The exceptions: `crates/a/src/b.rs 620 reason` and `crates/a/src/b.rs::name 90 reason`.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    entries: Vec<Entry>,
    mistakes: Vec<Violation>,
}

#[derive(Debug)]
struct Entry {
    place: String,
    lines_max: usize,
    at: usize,
    is_used: bool,
}

impl Allowed {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut allowed = Self::default();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.splitn(3, ' ');
            let entry = (words.next(), words.next().and_then(|n| n.parse().ok()), words.next());
            match entry {
                (Some(place), Some(lines_max), Some(reason)) if !reason.trim().is_empty() => {
                    let place = place.to_owned();
                    allowed.entries.push(Entry { place, lines_max, at: index + 1, is_used: false });
                }
                _ => allowed.mistakes.push(Violation::new(
                    path,
                    index + 1,
                    "allowed",
                    "an entry is a place, a number of lines and a reason",
                )),
            }
        }
        allowed
    }

    /// Whether this place may be this long.
    fn allows(&mut self, place: &str, lines: usize) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.place == place) else {
            return false;
        };
        entry.is_used = true;
        lines <= entry.lines_max
    }

    /// Entries that no place needed.
    pub(crate) fn unused(self, path: &str) -> Vec<Violation> {
        let unused = self.entries.iter().filter(|entry| !entry.is_used).map(|entry| {
            let what = format!("{} needs no exception any more: remove the line", entry.place);
            Violation::new(path, entry.at, "allowed", what)
        });
        let unused: Vec<Violation> = unused.collect();
        [self.mistakes, unused].concat()
    }
}

pub(crate) fn check(source: &Source, allowed: &mut Allowed) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, line) in source.numbered() {
        let columns = line.text.chars().count();
        // An address cannot be broken.
        if columns > COLUMNS_MAX && !line.text.contains("://") {
            let what = format!("{columns} columns, {COLUMNS_MAX} are allowed");
            violations.push(Violation::new(&source.path, number, "columns", what));
        }
    }
    let lines = shipped_lines(source);
    if lines > FILE_LINES_MAX && !allowed.allows(&source.path, lines) {
        let what = format!("{lines} lines without tests, {FILE_LINES_MAX} are allowed");
        violations.push(Violation::new(&source.path, 0, "file-length", what));
    }
    for (index, name, lines) in functions(source) {
        let place = format!("{}::{name}", source.path);
        if lines > FUNCTION_LINES_MAX && !allowed.allows(&place, lines) {
            let what = format!("fn {name} has {lines} lines, {FUNCTION_LINES_MAX} are allowed");
            violations.push(Violation::new(&source.path, index + 1, "function-length", what));
        }
    }
    violations
}

/// A file of tests counts as a whole; any other counts without its tests.
fn shipped_lines(source: &Source) -> usize {
    let shipped = source.lines.iter().filter(|line| !line.is_test).count();
    if shipped == 0 { source.lines.len() } else { shipped }
}

/// Functions that are not tests: where each starts, its name, and its lines to the closing brace.
fn functions(source: &Source) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (index, line) in source.lines.iter().enumerate() {
        let Some(at) = find_word(&line.code, "fn").filter(|_| !line.is_test) else {
            continue;
        };
        let after = line.code[at + 2..].trim_start();
        let name: String = after.chars().take_while(|c| is_word(*c)).collect();
        // A type like `fn(u32)` has no name.
        if !name.is_empty() {
            found.push((index, name, source.end_of_item(index) - index + 1));
        }
    }
    found
}
