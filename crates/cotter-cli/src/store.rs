//! Connecting to the store that the command line or the environment names.

use cotter::{Cotter, Options};

/// Connects, presenting this process as what it runs.
///
/// # Errors
/// Those of [`Cotter::connect`].
pub(crate) async fn connect(url: &str, command: impl Into<String>) -> cotter::Result<Cotter> {
    let mut options: Options = Cotter::options();
    options.bearer.command = command.into();
    Cotter::connect_with(url, options).await
}
