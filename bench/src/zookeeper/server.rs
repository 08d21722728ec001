//! The server that is measured against, and what it says it has received.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cotter_servers::{Options, ZooKeeper};

use crate::Outcome;

/// Names a server to use in place of one that the bench starts: `host:port`, or a URL of it.
const GIVEN: &str = "COTTER_BENCH_ZOOKEEPER";
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Server {
    /// Host and port.
    pub(crate) address: String,
    /// How many packets of this connection the server counts for being asked.
    pub(crate) own_packets: f64,
    /// It ends with this value.
    _started: Option<ZooKeeper>,
}

impl Server {
    /// The one that is named, or a new one: alone, on the disk, with the whole compiler.
    pub(crate) fn start() -> Outcome<Self> {
        let (address, started) = match std::env::var(GIVEN) {
            Ok(given) => (given_address(&given)?, None),
            Err(_) => {
                let started = ZooKeeper::standalone(&Options::for_benches())?;
                (started.address(), Some(started))
            }
        };
        let mut server = Self { address, own_packets: 0.0, _started: started };
        let first = server.received()?;
        server.own_packets = server.received()? - first;
        Ok(server)
    }

    /// Packets that the server has received.
    pub(crate) fn received(&self) -> Outcome<f64> {
        let mut stream = TcpStream::connect(&self.address)
            .map_err(|error| format!("no server at {}: {error}", self.address))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(b"srvr")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let number = text.lines().find_map(|line| line.strip_prefix("Received: "));
        Ok(number.ok_or("the server does not answer \"srvr\"")?.trim().parse()?)
    }
}

fn given_address(given: &str) -> Outcome<String> {
    let address = given.strip_prefix("zookeeper://").unwrap_or(given).trim_end_matches('/');
    if address.contains(['/', ',', '?']) {
        return Err(format!("{GIVEN} is to name one server, as host:port: {given}").into());
    }
    Ok(address.to_owned())
}
