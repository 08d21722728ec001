//! What every store has to bring, so that it can be judged without reading its code.

use std::collections::BTreeSet;

use super::Violation;
use super::layers::is_store;

/// The sections of a store's README.
const SECTIONS: [&str; 5] = ["Promise", "Layout", "Trips", "Configuration", "What it cannot do"];

fn store_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("crates/")?.split('/').next()?;
    is_store(name).then_some(name)
}

/// Every store has a README.
pub(crate) fn check(paths: &[String]) -> Vec<Violation> {
    let stores: BTreeSet<&str> = paths.iter().filter_map(|path| store_of(path)).collect();
    let readmes = stores.into_iter().map(|store| format!("crates/{store}/README.md"));
    let missing = readmes.filter(|readme| !paths.contains(readme));
    missing.map(|readme| Violation::new(&readme, 0, "store-readme", "is missing")).collect()
}

/// A store's README has all its sections, in this order.
pub(crate) fn check_readme(path: &str, text: &str) -> Vec<Violation> {
    if store_of(path).is_none_or(|store| path != format!("crates/{store}/README.md")) {
        return Vec::new();
    }
    let mut headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    let missing =
        SECTIONS.into_iter().find(|section| !headings.any(|heading| heading.starts_with(section)));
    let what = missing.map(|section| {
        format!("has no section \"## {section}\", or not in the order {}", SECTIONS.join(", "))
    });
    what.map(|what| Violation::new(path, 0, "store-readme", what)).into_iter().collect()
}
