//! `cotter gc`: removes what unused names have left in the local store. The tokens of a removed
//! name go on rising where they stopped: the store sees to that.

use cotter::local::{Gc, LocalStore, gc as collect};

use super::{print, print_json};
use crate::args::GcArgs;
use crate::exit::{Exit, Failure};
use crate::output::Collected;
use crate::text::Shown;

/// Collects what is left of names that nobody uses.
///
/// # Errors
/// What the store said.
pub(crate) async fn gc(args: &GcArgs) -> Result<Exit, Failure> {
    let url = &args.store.url()?;
    if !url.starts_with("local:") {
        let message = "only the local store leaves something to collect; write local:/DIRECTORY";
        return Err(Failure::new(Exit::USAGE, message));
    }
    let store = LocalStore::from_url(url)?;
    // Nothing else goes on in this process that a blocking call could hold up.
    let report = collect(store.directory(), if args.dry_run { Gc::Look } else { Gc::Remove })?;
    let exit = if report.failed.is_empty() { Exit::DONE } else { Exit::UNAVAILABLE };
    if args.json {
        let address = format!("local:{}", store.directory().display());
        let (removed, failed) = (&report.removed, &report.failed);
        print_json(&Collected::of(&address, args.dry_run, removed, report.in_use, failed))?;
        return Ok(exit);
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    for name in &report.removed {
        print(&format!("{verb} {}", Shown(name)))?;
    }
    for name in &report.failed {
        eprintln!("cotter: cannot remove {}", Shown(name));
    }
    print(&format!("{verb} {} of {}", report.removed.len(), report.removed.len() + report.in_use))?;
    Ok(exit)
}
