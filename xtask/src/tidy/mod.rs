//! `cargo xtask tidy`: the rules of style and architecture that no compiler checks.
//!
//! ```text
//!   source    a file, line by line, comments and strings told from code
//!   shape     how long lines, functions and files may be, and who may be longer for now
//!   words     what may not be written: unwrap without a reason, todo!, ignored tests, ...
//!   layers    who may depend on whom, between crates and inside the core
//!   stores    what every store has to bring
//! ```
//!
//! It runs as a test, so that a rule broken is a test failed; and every rule has been seen to fail.

mod layers;
mod shape;
mod source;
mod stores;
mod words;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use shape::Allowed;
use source::Source;

/// Where exceptions to the limits of size are listed, each with its reason.
const ALLOWED: &str = "xtask/tidy-allowed.txt";

/// A rule that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    path: String,
    /// 0 if it is about the file as a whole.
    line: usize,
    rule: &'static str,
    what: String,
}

impl Violation {
    fn new(path: &str, line: usize, rule: &'static str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.what)
    }
}

/// Prints what is wrong with the tree.
pub(crate) fn run(root: &Path) -> ExitCode {
    match check_tree(root) {
        Ok(violations) if violations.is_empty() => {
            println!("tidy: the tree keeps the rules");
            ExitCode::SUCCESS
        }
        Ok(violations) => {
            violations.iter().for_each(|violation| println!("{violation}"));
            println!("tidy: {} rules broken", violations.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy cannot read the tree: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that is wrong with the tree, in order of path and line.
fn check_tree(root: &Path) -> std::io::Result<Vec<Violation>> {
    let mut paths = Vec::new();
    collect(root, "", &mut paths)?;
    let mut allowed = Allowed::parse(ALLOWED, &fs::read_to_string(root.join(ALLOWED))?);
    let mut violations = Vec::new();
    for path in &paths {
        let Ok(text) = fs::read_to_string(root.join(path)) else {
            violations.push(Violation::new(path, 0, "text", "is not UTF-8"));
            continue;
        };
        violations.extend(check_file(path, &text, &mut allowed));
    }
    violations.extend(allowed.unused(ALLOWED));
    violations.extend(stores::check(&paths));
    violations.sort();
    Ok(violations)
}

/// Everything that is wrong with one file.
fn check_file(path: &str, text: &str, allowed: &mut Allowed) -> Vec<Violation> {
    let mut violations = words::check_any(path, text);
    if path.ends_with(".rs") {
        let source = Source::new(path, text);
        violations.extend(shape::check(&source, allowed));
        violations.extend(words::check_rust(&source));
        violations.extend(layers::check_source(&source));
    }
    if path.ends_with("Cargo.toml") {
        violations.extend(layers::check_manifest(path, text));
    }
    if path.ends_with("README.md") {
        violations.extend(stores::check_readme(path, text));
    }
    violations
}

/// The files that people write, from the root on, with slashes.
fn collect(root: &Path, below: &str, paths: &mut Vec<String>) -> std::io::Result<()> {
    const WRITTEN: [&str; 9] =
        [".rs", ".toml", ".md", ".txt", ".sh", ".sql", ".lua", ".yml", ".ci/run"];
    let mut entries =
        fs::read_dir(root.join(below))?.collect::<std::io::Result<Vec<fs::DirEntry>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            // What tools make and keep, and nobody edits. proptest writes down failed cases.
            if !["target", ".git", "proptest-regressions"].contains(&name.as_str()) {
                collect(root, &path, paths)?;
            }
        } else if WRITTEN.iter().any(|end| path.ends_with(end)) {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
