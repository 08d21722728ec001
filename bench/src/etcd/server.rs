//! The server that is measured against, and what it says it has received.

use std::net::SocketAddr;

use cotter_servers::Etcd;
use cotter_servers::etcd::{Options, page};

use crate::Outcome;

/// Names a server to use in place of one that the bench starts: `host:port`, or a URL of it. Its
/// pages are on the same port then.
const GIVEN: &str = "COTTER_BENCH_ETCD";

#[derive(Debug)]
pub(crate) struct Server {
    /// Host and port.
    pub(crate) address: String,
    /// Where it tells what it did.
    pages: SocketAddr,
    /// It ends with this value.
    _started: Option<Etcd>,
}

impl Server {
    /// The one that is named, or a new one: alone, and on the disk.
    pub(crate) fn start() -> Outcome<Self> {
        let Ok(given) = std::env::var(GIVEN) else {
            let started = Etcd::standalone(&Options::for_benches())?;
            let (address, pages) = (started.address(), started.member(0).pages());
            return Ok(Self { address, pages, _started: Some(started) });
        };
        let address = given.strip_prefix("etcd://").unwrap_or(&given).trim_end_matches('/');
        if address.contains(['/', ',', '?']) {
            return Err(format!("{GIVEN} is to name one server, as host:port: {given}").into());
        }
        let pages = address.parse();
        let pages = pages.map_err(|_| format!("{GIVEN} is to name a number, not {address:?}"))?;
        Ok(Self { address: address.to_owned(), pages, _started: None })
    }

    /// gRPC messages that the server has received.
    pub(crate) fn received(&self) -> Outcome<f64> {
        let text = page(self.pages, "/metrics")?;
        let lines = text.lines().filter(|line| line.starts_with("grpc_server_msg_received_total"));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(counts.sum())
    }
}
