//! `doctor` on the local store, where there is little to say.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::World;

/// The kinds of finding, and how bad each is.
fn kinds(told: &Value) -> Vec<(String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().expect("text").to_owned();
    let findings = told["findings"].as_array().expect("a list");
    findings.iter().map(|finding| (text(finding, "severity"), text(finding, "kind"))).collect()
}

fn has(told: &Value, severity: &str, kind: &str) -> bool {
    kinds(told).contains(&(severity.to_owned(), kind.to_owned()))
}

#[test]
fn a_sound_store_is_said_to_be_sound() {
    let world = World::new();
    fs::set_permissions(world.path("store"), fs::Permissions::from_mode(0o700)).expect("ours");
    assert_eq!(world.ends(&["run", "a", "--", "true"]).0, 0);
    let (code, out, error) = world.ends(&["doctor"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.contains("note     ") && out.contains("0 problems, 0 warnings"), "{out}");
    let told = world.json(&["doctor", "--json"]);
    assert_eq!((told["state"].as_str(), told["schema"].as_u64()), (Some("sound"), Some(1)));
    assert!(has(&told, "note", "crash-to-free"), "{told}");
    assert!(!has(&told, "note", "shared-directory"), "{told}");
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let world = World::new();
    let told = world.json(&["doctor", "--json"]);
    assert!(has(&told, "warning", "root-missing"), "{told}");
    fs::remove_dir(world.path("store")).expect("nothing was made in it");
    let told = world.json(&["doctor", "--json"]);
    assert!(has(&told, "warning", "root-missing"), "{told}");
    assert!(!world.exists("store"));
}

#[test]
fn what_cannot_hold_locks_is_a_problem() {
    let world = World::new();
    fs::write(world.path("file"), "").expect("written");
    let file = world.path("file").display().to_string();
    let (code, out, _) = world.ends(&["doctor", "--store", &format!("local:{file}")]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains(&format!("problem  {file}")) && out.contains("-> "), "{out}");
}

#[test]
fn what_cannot_be_examined_is_told_by_the_code() {
    let world = World::new();
    let (code, out, error) = world.ends(&["doctor", "--json", "--store", "nope:"]);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, told["state"].as_str()), (2, Some("unknown")));
    assert!(told["error"].is_string() && !error.is_empty());
}
