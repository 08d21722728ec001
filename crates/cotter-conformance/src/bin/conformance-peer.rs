//! A process that holds locks or waits for them, as its standard input says. See
//! `cotter_conformance::peer`.
//!
//! | order | answer |
//! |---|---|
//! | `acquire NAME` | `granted NAME TOKEN`, when it is; `failed NAME ...` |
//! | `try NAME` | `granted NAME TOKEN`, `busy NAME` |
//! | `release NAME` | `Released NAME`, `WasGone NAME` |
//! | `check NAME` | `held NAME`, `lost NAME REASON` |
//!
//! It ends when its input does.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use cotter::{Cotter, LockGuard};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

type Guards = Arc<Mutex<HashMap<String, LockGuard>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: conformance-peer URL")?;
    let cotter = Cotter::connect(&url).await?;
    let guards = Guards::default();
    let mut orders = BufReader::new(stdin()).lines();
    let env = cotter.env().clone();
    while let Some(order) = orders.next_line().await? {
        let (cotter, guards) = (cotter.clone(), Arc::clone(&guards));
        // Orders are carried out side by side, so that one may wait in line while others go on.
        drop(env.spawn(async move { println!("{}", obey(&cotter, &guards, &order).await) }));
    }
    Ok(())
}

async fn obey(cotter: &Cotter, guards: &Guards, order: &str) -> String {
    let (verb, name) = order.split_once(' ').unwrap_or((order, ""));
    match verb {
        "acquire" => match cotter.lock(name).acquire().await {
            Ok(guard) => keep(guards, name, guard),
            Err(error) => format!("failed {name} {error}"),
        },
        "try" => match cotter.lock(name).try_acquire().await {
            Ok(Some(guard)) => keep(guards, name, guard),
            Ok(None) => format!("busy {name}"),
            Err(error) => format!("failed {name} {error}"),
        },
        "release" => {
            let Some(guard) = locked(guards).remove(name) else {
                return format!("failed {name} it is not held here");
            };
            match guard.release().await {
                Ok(left) => format!("{left:?} {name}"),
                Err(error) => format!("failed {name} {error}"),
            }
        }
        "check" => match locked(guards).get(name).map(LockGuard::check) {
            Some(Ok(())) => format!("held {name}"),
            Some(Err(error)) => format!("lost {name} {error}"),
            None => format!("failed {name} it is not held here"),
        },
        _ => format!("failed {name} there is no order {verb:?}"),
    }
}

fn keep(guards: &Guards, name: &str, guard: LockGuard) -> String {
    let said = format!("granted {name} {}", guard.token());
    locked(guards).insert(name.to_owned(), guard);
    said
}

fn locked(guards: &Guards) -> std::sync::MutexGuard<'_, HashMap<String, LockGuard>> {
    // Nothing panics while it holds the lock; should it, the map is still whole.
    guards.lock().unwrap_or_else(PoisonError::into_inner)
}
