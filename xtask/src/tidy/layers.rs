//! Who may depend on whom. Arrows only ever point down:
//!
//! ```text
//!   cotter-cli, cotter-conformance, bench, examples
//!      └─► cotter                     the facade: knows the stores
//!             ├─► cotter-<store>      contract, env, error, names, queue of the core; nothing else
//!             │      └─► cotter-zk    a client of a server, useful by itself: env of the core
//!             ├─► cotter-fence
//!             └─► cotter-core         knows no store, not even by name
//!                    front ─► engine ─► layer ─► contract, env, error, names, queue
//!
//!   for tests:  cotter-proxy ─► cotter-core      xtask ─► cotter-servers ─► nothing
//! ```

use super::Violation;
use super::source::{Source, find_word};

/// What stands for a store in a sentence. The core may say none of them in its code.
const STORE_WORDS: [&str; 14] = [
    "zookeeper",
    "curator",
    "kazoo",
    "redis",
    "valkey",
    "redisson",
    "redlock",
    "etcd",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "sqlite",
    "consul",
];

/// The modules of the core from the ground up. One may use those on its own step and below.
const CORE_STEPS: [&[&str]; 4] =
    [&["contract", "env", "error", "names", "queue"], &["layer"], &["engine"], &["front"]];

/// What the core offers to stores.
const FOR_STORES: [&str; 10] =
    ["contract", "env", "error", "names", "queue", "Error", "Kind", "Result", "Retry", "LockName"];

/// The crates that are not stores, and which of ours each may depend on. `None`: any.
const CRATES: [(&str, Option<&[&str]>); 11] = [
    ("cotter-core", Some(&[])),
    ("cotter-zk", Some(&["cotter-core"])),
    ("cotter-fence", Some(&["cotter-core"])),
    ("cotter", None),
    ("cotter-cli", Some(&["cotter"])),
    ("cotter-conformance", None),
    ("cotter-proxy", Some(&["cotter-core"])),
    ("cotter-servers", Some(&[])),
    ("bench", None),
    ("xtask", Some(&["cotter-servers"])),
    ("", None),
];

/// Clients of our own that a store may stand on, each for one store.
const CLIENTS: [(&str, &[&str]); 1] = [("cotter-zookeeper", &["cotter-core", "cotter-zk"])];

/// Whether a folder below `crates` is a store's.
pub(crate) fn is_store(name: &str) -> bool {
    name.starts_with("cotter-") && !CRATES.iter().any(|(other, _)| *other == name)
}

/// The dependencies between our crates, as a manifest states them. Tests may use any.
pub(crate) fn check_manifest(path: &str, text: &str) -> Vec<Violation> {
    let folder = path.strip_suffix("/Cargo.toml").unwrap_or("");
    let name = folder.rsplit('/').next().unwrap_or("");
    let listed = CRATES.iter().find(|(other, _)| *other == name).map(|(_, ours)| *ours);
    let may_use = match listed {
        Some(ours) => ours,
        None if is_store(name) => {
            let with_client = CLIENTS.iter().find(|(store, _)| *store == name);
            Some(with_client.map_or(&["cotter-core"][..], |(_, ours)| *ours))
        }
        None => None,
    };
    let mut violations = Vec::new();
    let mut section = "";
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        }
        let is_shipped = section.ends_with("dependencies") && !section.contains("dev-");
        let dependency = line.split(['.', '=', ' ']).next().unwrap_or("");
        let is_ours = dependency == "cotter" || dependency.starts_with("cotter-");
        let is_allowed = may_use.is_none_or(|ours| ours.contains(&dependency));
        if folder.is_empty() || !is_shipped || !is_ours || is_allowed {
            continue;
        }
        let what = format!("{name} may not depend on {dependency}");
        violations.push(Violation::new(path, index + 1, "crate-direction", what));
    }
    if folder.starts_with("crates/") && !text.contains(&format!("name = \"{name}\"")) {
        violations.push(Violation::new(path, 0, "crate-name", "a folder is named like its crate"));
    }
    violations
}

/// What a source file uses.
pub(crate) fn check_source(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    let name = source.crate_name();
    let is_in_src = source.path.starts_with(&format!("crates/{name}/src/"));
    if is_in_src && name == "cotter-core" {
        violations.extend(names_no_store(source));
        violations.extend(keeps_its_step(source));
    }
    if is_in_src && is_store(name) {
        for (number, used) in used_of(source, "cotter_core") {
            if !FOR_STORES.contains(&used.as_str()) {
                let what = format!("cotter_core::{used} is not for stores");
                violations.push(Violation::new(&source.path, number, "store-uses", what));
            }
        }
    }
    violations
}

fn names_no_store(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, line) in source.numbered() {
        let lower = line.code_and_strings.to_lowercase();
        for word in STORE_WORDS {
            // A part of a longer name is a name all the same: `redis_url`.
            if lower.split(|c: char| !c.is_alphanumeric()).any(|part| part == word) {
                let what = format!("the core knows no store, and this says {word:?}");
                violations.push(Violation::new(&source.path, number, "core-names-no-store", what));
            }
        }
    }
    violations
}

fn keeps_its_step(source: &Source) -> Vec<Violation> {
    let below = source.path.strip_prefix("crates/cotter-core/src/").unwrap_or(&source.path);
    let module = below.split(['/', '.']).next().unwrap_or("");
    // The root of the crate names all of them.
    let Some(own) = step_of(module) else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    for (number, used) in used_of(source, "crate") {
        if step_of(&used).is_some_and(|step| step > own) {
            let what = format!("{module} may not use {used}, which is built on it");
            violations.push(Violation::new(&source.path, number, "module-direction", what));
        }
    }
    violations
}

fn step_of(module: &str) -> Option<usize> {
    CORE_STEPS.iter().position(|step| step.contains(&module))
}

/// What follows `root::` in code that is shipped: one name, or those of a group.
fn used_of(source: &Source, root: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    let path = format!("{root}::");
    for (index, line) in source.lines.iter().enumerate() {
        let mut rest = line.code.as_str();
        while let Some(at) = find_word(rest, root).filter(|_| !line.is_test) {
            rest = &rest[at + root.len()..];
            let Some(after) = rest.strip_prefix("::") else {
                continue;
            };
            if after.starts_with('{') {
                let group: Vec<&str> =
                    source.lines[index..].iter().map(|line| line.code.as_str()).collect();
                let group = group.join("\n");
                let start = group.find(&path).map_or(0, |at| at + path.len());
                used.extend(top_level_names(&group[start..]).map(|name| (index + 1, name)));
            } else {
                let name = after.split(|c: char| !super::source::is_word(c)).next().unwrap_or("");
                used.push((index + 1, name.to_owned()));
            }
        }
    }
    used
}

/// The first names of a group: `{a::b, c::{d, e}, F}` has a, c and F.
fn top_level_names(group: &str) -> impl Iterator<Item = String> {
    let mut names = Vec::new();
    let (mut depth, mut name, mut is_first) = (0usize, String::new(), true);
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' | ':' if depth == 1 => {
                if is_first && !name.trim().is_empty() {
                    names.push(name.trim().to_owned());
                }
                name.clear();
                is_first = character == ',';
            }
            _ if depth == 1 => name.push(character),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    if is_first && !name.trim().is_empty() {
        names.push(name.trim().to_owned());
    }
    names.into_iter()
}
