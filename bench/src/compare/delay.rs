//! A network that takes its time: a proxy on loopback that hands on what it gets, later, and counts
//! the requests where it understands them.
//!
//! It has a thread and a runtime of its own, so that it does not wait for who is measured.

use std::sync::mpsc::channel;
use std::time::Duration;

use cotter::env::Env;
use cotter_proxy::{Plan, Protocol, Proxy};
use tokio::runtime::Builder;

use crate::Outcome;

/// Starts one, which lasts as long as the process. Gives its address, and what counts.
pub(crate) fn start(
    protocol: Protocol,
    server: &str,
    one_way: Duration,
) -> Outcome<(String, Plan)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (server, plan) = (server.to_owned(), Plan::new());
    let counted = plan.clone();
    let (started, address) = channel();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listen = async {
                let env = Env::system()?;
                let proxy = Proxy::listen(&env, protocol, &[server], &counted).await?;
                proxy.set_delay(one_way);
                Outcome::Ok(proxy)
            };
            // Kept, because its connections end with it.
            let proxy = listen.await.map_err(|error| error.to_string());
            let listens = proxy.as_ref().map(Proxy::address).map_err(String::clone);
            if started.send(listens).is_ok() {
                std::future::pending::<()>().await;
            }
        });
    });
    Ok((address.recv()??, plan))
}
