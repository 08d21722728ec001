//! `cotter queue`: who holds a lock and who waits for it, in order.

use cotter::Cotter;

use super::{print, print_json, rows, summary};
use crate::args::LockArgs;
use crate::exit::{Exit, Failure};
use crate::output::Queue;
use crate::store;

/// Shows a lock's line.
///
/// # Errors
/// What the store said.
pub(crate) async fn queue(args: &LockArgs) -> Result<Exit, Failure> {
    store::visit(&args.store, "cotter queue", async |client| show(args, client).await).await
}

async fn show(args: &LockArgs, client: &Cotter) -> Result<Exit, Failure> {
    let line_up = client.lock(args.lock.as_str()).line_up().await?;
    if args.json {
        print_json(&Queue::of(client.address(), &line_up))?;
        return Ok(Exit::DONE);
    }
    print(&summary(&line_up))?;
    for row in rows(&line_up) {
        print(&row)?;
    }
    Ok(Exit::DONE)
}
