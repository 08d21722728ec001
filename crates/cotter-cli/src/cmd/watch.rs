//! `cotter watch`: a lock's line, now and at every change, until somebody stops it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use cotter::LineUp;
use cotter::env::wall_clock;

use super::{print, print_json, rows, summary};
use crate::args::LockArgs;
use crate::exit::{Exit, Failure};
use crate::output::Queue;
use crate::store;
use crate::text::rfc3339;

/// A store's news of changes are hints: this often the line is looked at without one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shows a lock's line whenever somebody comes, goes or gets the lock.
///
/// # Errors
/// What the store said.
pub(crate) async fn watch(args: &LockArgs) -> Result<Exit, Failure> {
    let client = store::connect(&args.store, "cotter watch").await?;
    let lock = client.lock(args.lock.as_str());
    let mut seen: Option<LineUp> = None;
    let mut changed = Box::pin(lock.changed());
    loop {
        // Listen first, then look, so that nothing happens unheard in between.
        if begin(changed.as_mut()).await {
            changed = Box::pin(lock.changed());
            begin(changed.as_mut()).await;
        }
        let line_up = ageless(lock.line_up().await?);
        if seen.as_ref().map(|seen| ageless(seen.clone())).as_ref() != Some(&line_up) {
            show(args, client.address(), &line_up)?;
            seen = Some(line_up);
        }
        tokio::select! {
            _ = &mut changed => changed = Box::pin(lock.changed()),
            () = client.env().sleep(LOOK_EVERY) => {}
        }
    }
}

/// Polls a future once, so that it listens. True if it is over already.
async fn begin<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

fn show(args: &LockArgs, store: &str, line_up: &LineUp) -> Result<(), Failure> {
    let at = rfc3339(wall_clock());
    if args.json {
        return print_json(&Queue::of(store, line_up).seen_at(at));
    }
    print(&format!("{at} {}", summary(line_up)))?;
    for row in rows(line_up) {
        print(&row)?;
    }
    Ok(())
}

/// The line without what changes by itself.
fn ageless(mut line_up: LineUp) -> LineUp {
    for waiter in line_up.holders.iter_mut().chain(&mut line_up.waiters) {
        waiter.age = None;
    }
    line_up
}
