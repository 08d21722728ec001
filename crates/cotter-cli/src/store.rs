//! Connecting to the store that the command line or the environment names.

use std::time::Duration;

use cotter::{Cotter, Options};

/// Connects, presenting this process as what it runs.
///
/// # Errors
/// Those of [`Cotter::connect`].
pub(crate) async fn connect(url: &str, command: impl Into<String>) -> cotter::Result<Cotter> {
    connect_with(url, command, None).await
}

/// Connects, asking for another lease than the store's own choice.
///
/// # Errors
/// Those of [`Cotter::connect`]; `Unsupported` or `Config` where the store has no such lease. To
/// ignore it would be to promise less than was asked for.
pub(crate) async fn connect_with(
    url: &str,
    command: impl Into<String>,
    lease: Option<Duration>,
) -> cotter::Result<Cotter> {
    let mut options: Options = Cotter::options();
    options.bearer.command = command.into();
    options.lease = lease;
    Cotter::connect_with(url, options).await
}
