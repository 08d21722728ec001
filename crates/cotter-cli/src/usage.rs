//! What is said of a command line that is wrong.

use std::ffi::OsString;

use clap::CommandFactory;
use clap::builder::Styles;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::text::Shown;

/// As much of one argument as is worth repeating.
const ARGUMENT_CHARS_MAX: usize = 80;

/// What the parser has against these arguments, in lines for standard error. It repeats them as
/// they were given, and a script may have them from anywhere, so they are cut and escaped.
pub(crate) fn shown(line: &[OsString]) -> String {
    let arguments = std::iter::once(OsString::from("cotter")).chain(line.iter().cloned());
    // Without styles of its own, the text is what stands there, escape sequences and all: the plain
    // rendering would drop those of an argument, and it could not be found any more.
    let parsed = Cli::command().styles(Styles::plain()).try_get_matches_from(arguments);
    // The caller has seen that it is wrong.
    let Err(error) = parsed else { return String::new() };
    let mut text = error.render().ansi().to_string();
    let mut arguments: Vec<String> = line.iter().flat_map(parts).collect();
    // The longest first: one may be a part of another.
    arguments.sort_by_key(|argument| std::cmp::Reverse(argument.len()));
    for argument in arguments {
        let shown = cut(&argument);
        if shown != argument {
            text = text.replace(&argument, &shown);
        }
    }
    if lacks_separator(&error, line) {
        let verb = if line.first().is_some_and(|word| word == "elect") {
            "elect NAME"
        } else {
            "run LOCK..."
        };
        text.push_str(&format!(
            "\nPut -- before the command: cotter {verb} -- COMMAND [ARGS]...\n"
        ));
    }
    // The lines that are left are the parser's own.
    text.lines().map(|line| format!("{}\n", Shown(line))).collect()
}

/// An argument, and the value in `--option=value` or `-ovalue`.
fn parts(argument: &OsString) -> Vec<String> {
    let whole = argument.to_string_lossy().into_owned();
    let after_equals = whole.split_once('=').map(|(_, value)| value.to_owned());
    let after_letter = whole.strip_prefix('-').map(|rest| rest.chars().skip(1).collect());
    let parts = [after_equals, after_letter].into_iter().flatten().chain([whole.clone()]);
    parts.filter(|part: &String| !part.is_empty()).collect()
}

fn cut(argument: &str) -> String {
    let start: String = argument.chars().take(ARGUMENT_CHARS_MAX).collect();
    let rest = if start.len() < argument.len() { "..." } else { "" };
    format!("{}{rest}", Shown(&start))
}

/// Whether it looks as if the command had been written without `--` before it.
fn lacks_separator(error: &clap::Error, line: &[OsString]) -> bool {
    let is_of_run = line.first().is_some_and(|word| word == "run" || word == "elect");
    let is_of_words =
        matches!(error.kind(), ErrorKind::MissingRequiredArgument | ErrorKind::UnknownArgument);
    let says_where = |word: &OsString| word == "--" || word.as_encoded_bytes().starts_with(b"-c");
    is_of_run && is_of_words && !line.iter().any(says_where)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(line: &[&str]) -> String {
        shown(&line.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_was_given_is_escaped_and_cut() {
        let long = "x".repeat(5000);
        let hostile = "a\u{1b}[2Jb\nfree\u{202e}";
        for line in [
            &["run", hostile, "--", "true"][..],
            &["run", "a", "--wait", hostile, "--", "true"],
            &["run", "a", &format!("--wait={hostile}"), "--", "true"],
            &["run", "a", &format!("-w{hostile}"), "--", "true"],
            &["run", "a", &format!("--{hostile}"), "--", "true"],
            &[hostile],
            &["run", &long, "--", "true"],
            &["status", "a", &long],
        ] {
            let text = said_of(line);
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
            assert!(!text.lines().any(|line| line.starts_with("free")), "{text:?}");
            assert!(text.len() < 1000, "{text:?}");
        }
    }

    #[test]
    fn a_command_without_its_separator_is_explained() {
        for line in [&["run", "a", "true"][..], &["run", "a"], &["run", "a", "ls", "-l"]] {
            assert!(said_of(line).contains("Put -- before the command"), "{line:?}");
        }
        assert!(!said_of(&["run", "--", "true"]).contains("Put --"));
        assert!(said_of(&["elect", "a", "true"]).contains("cotter elect NAME -- COMMAND"));
    }
}
