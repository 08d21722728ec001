//! Waiting with an end.
//!
//! Nothing here measures: the limits are far above what a slow machine needs, and only a failure
//! ever waits that long.

use std::time::Duration;

use cotter::env::Env;

use crate::failure::{Failure, Result};

/// No single step of a test takes this long, on whatever machine, unless it hangs.
pub const LONG: Duration = Duration::from_secs(60);

/// How often a condition is looked at: often enough not to be felt, and a request to a server each
/// time, so not more often.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a future gives, or a failure that names it if that takes longer than anything should.
///
/// # Errors
/// The future did not end.
///
/// # Cancel safety
/// Dropping the call drops the future.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    let limit = Env::system()?.sleep(LONG);
    tokio::select! {
        value = future => Ok(value),
        () = limit => Err(Failure::new(format!("{what}: not within {LONG:?}"))),
    }
}

/// Looks again and again until a condition holds.
///
/// # Errors
/// The condition never held, or looking failed.
///
/// # Cancel safety
/// Dropping the call drops the look it is at.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let env = Env::system()?;
    let until = env.now().after(LONG);
    while !within(what, holds()).await?? {
        if env.now() > until {
            return Err(Failure::new(format!("{what}: not so within {LONG:?}")));
        }
        env.sleep(LOOK_EVERY).await;
    }
    Ok(())
}
