//! `cotter ls`: the locks that somebody holds or waits for.

use cotter::Cotter;

use super::{print, print_json, summary};
use crate::args::ListArgs;
use crate::exit::{Exit, Failure};
use crate::output::List;
use crate::store;

/// Lists locks whose names begin with a prefix.
///
/// # Errors
/// What the store said.
pub(crate) async fn ls(args: &ListArgs) -> Result<Exit, Failure> {
    store::visit(&args.store, "cotter ls", async |client| list(args, client).await).await
}

async fn list(args: &ListArgs, client: &Cotter) -> Result<Exit, Failure> {
    let mut line_ups = Vec::new();
    for name in client.names(&args.prefix).await? {
        let line_up = client.lock(name.as_str()).line_up().await?;
        // It may have become free since the names were listed.
        if !line_up.is_free() {
            line_ups.push(line_up);
        }
    }
    if args.json {
        print_json(&List::of(client.address(), &line_ups))?;
    } else {
        for line_up in &line_ups {
            print(&summary(line_up))?;
        }
    }
    Ok(Exit::DONE)
}
