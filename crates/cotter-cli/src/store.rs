//! Connecting to the store that the command line or the environment names.

use std::time::Duration;

#[cfg(feature = "local")]
use cotter::local::LocalStore;
use cotter::{Client, Cotter, Options};

use crate::args::StoreArgs;
#[cfg(feature = "local")]
use crate::exit::Exit;
use crate::exit::Failure;

/// How long a session may take to close when we leave: its end closes it in any case.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Does something with a store, and leaves it: a server would keep the session of a client that is
/// gone for its whole timeout.
///
/// # Errors
/// Those of [`connect`], and of the work.
pub(crate) async fn visit<T>(
    store: &StoreArgs,
    command: &str,
    work: impl AsyncFnOnce(&Cotter) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let client = connect(store, command).await?;
    let done = work(&client).await;
    close(&client).await;
    done
}

/// Ends a client's session.
pub(crate) async fn close(client: &Client) {
    // What cannot be closed in time ends with this process.
    let _ = client.shutdown(CLOSE_WITHIN).await;
}

/// Connects to look at what is there, presenting this process as what it runs.
///
/// # Errors
/// Those of [`Cotter::connect`]; the store is local and does not exist, which a look must not
/// change.
pub(crate) async fn connect(
    store: &StoreArgs,
    command: impl Into<String>,
) -> Result<Cotter, Failure> {
    let url = store.url()?;
    #[cfg(feature = "local")]
    if url.starts_with("local:") {
        let store = LocalStore::from_url(&url)?;
        let directory = store.directory();
        // What cannot be told is left to the store to say.
        if matches!(directory.try_exists(), Ok(false)) {
            let message = format!("there is no store in {}", directory.display());
            return Err(Failure::new(Exit::UNAVAILABLE, message));
        }
    }
    Ok(connect_with(&url, command, None).await?)
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
