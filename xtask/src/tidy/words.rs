//! What may not be written, or only with a reason beside it.

use super::Violation;
use super::source::{Line, Source, find_word};

/// Paths of one person's or one machine's disk. They are put together here, so that this file
/// does not break its own rule.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Crates whose public functions users call.
fn is_library(name: &str) -> bool {
    let is_tool =
        ["cotter-cli", "cotter-conformance", "cotter-proxy", "cotter-servers"].contains(&name);
    name.starts_with("cotter") && !is_tool
}

/// What holds for any text file.
pub(crate) fn check_any(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for machine_path in MACHINE_PATHS {
            let at = line.find(machine_path);
            let before = at.and_then(|at| line[..at].chars().next_back());
            if at.is_some() && !before.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '-')
            {
                let what = format!("{machine_path} is a path of one machine");
                violations.push(Violation::new(path, index + 1, "machine-path", what));
            }
        }
    }
    violations
}

/// What holds for Rust.
pub(crate) fn check_rust(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut broken = |number: usize, rule, what: String| {
        violations.push(Violation::new(&source.path, number, rule, what));
    };
    for (number, line) in source.numbered() {
        for unfinished in ["todo!", "unimplemented!", "dbg!"] {
            if line.code.contains(unfinished) {
                broken(number, "unfinished", format!("{unfinished} is not for a commit"));
            }
        }
        if line.code.contains("#[ignore") {
            broken(number, "ignored-test", "a test that does not run is not one".into());
        }
        if line.is_test && sleeps(&line.code) && !has_reason(&source.lines, number - 1) {
            let what = "a test waits for a condition or moves the clock; or a comment above says \
                        which condition is looked at again after this sleep";
            broken(number, "sleeping-test", what.into());
        }
        if !line.is_test && may_panic(&line.code) && !has_reason(&source.lines, number - 1) {
            let what = "unwrap or expect, and no comment above says why it holds";
            broken(number, "unwrap", what.into());
        }
        if is_todo_without_issue(line) {
            broken(number, "todo", "a TODO names its issue: TODO(#12)".into());
        }
        let is_public = line.code.trim_start().starts_with("pub async fn ") && !line.is_test;
        if is_public && is_library(source.crate_name()) {
            let docs = docs_above(&source.lines, number - 1);
            if !docs.contains("# Cancel safety") {
                let what = "a public async function has a section \"# Cancel safety\"";
                broken(number, "cancel-safety", what.into());
            }
        }
    }
    violations
}

/// Whether `sleep(` is called, and not as a branch of `select!`: that is a limit, not a wait.
fn sleeps(code: &str) -> bool {
    let is_limit = code.trim_start().starts_with("() = ") && code.contains("=>");
    let at = find_word(code, "sleep").filter(|_| !is_limit);
    at.is_some_and(|at| code[at + "sleep".len()..].starts_with('('))
}

fn may_panic(code: &str) -> bool {
    code.contains(".unwrap()") || code.contains(".expect(")
}

/// Whether a comment stands above the statement that this line is in. A chain of calls is one
/// statement: lines that start with a dot belong to the line above them.
fn has_reason(lines: &[Line], index: usize) -> bool {
    let mut first = index;
    while first > 0 && lines[first].code.trim_start().starts_with('.') {
        first -= 1;
    }
    (first..=index).any(|at| at > 0 && is_comment(&lines[at - 1]))
}

fn is_comment(line: &Line) -> bool {
    let text = line.text.trim_start();
    text.starts_with("//") && !text.starts_with("///") && !text.starts_with("//!")
}

fn is_todo_without_issue(line: &Line) -> bool {
    let is_in_comment = |mark| {
        find_word(&line.text, mark).is_some() && find_word(&line.code_and_strings, mark).is_none()
    };
    ["TODO", "FIXME", "XXX"].into_iter().any(is_in_comment) && !line.text.contains("(#")
}

/// The documentation above an item, attributes left out.
fn docs_above(lines: &[Line], index: usize) -> String {
    let above = lines[..index].iter().rev().map(|line| line.text.trim());
    let belongs = above.take_while(|text| text.starts_with("///") || text.starts_with("#["));
    belongs.collect::<Vec<_>>().join("\n")
}
