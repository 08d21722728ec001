//! Loopback ports that nobody has.
//!
//! They are taken from below the range the kernel gives to outgoing connections. From inside it, a
//! client that dials a server which is down could be given the server's own port and be connected
//! to itself, and a server that comes back could find its port in use by somebody's connection.
//!
//! Between the look and the server's own bind another process may take a port. Whoever starts a
//! server therefore starts it again with other ports when it cannot bind.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

/// Below are the ports that people give to servers by hand.
const LOWEST: u16 = 15_000;
/// Where Linux lets outgoing connections begin unless it is told otherwise.
const OUTGOING_FROM: u16 = 32_768;
/// How many ports are tried. Nearly all of them are free.
const TRIES: u16 = 2_000;

/// The ports given out by this process, which are not given out twice.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// So many different ports that can be bound now.
///
/// # Errors
/// None is free.
pub fn free(count: usize) -> Result<Vec<u16>> {
    let span = outgoing_from().max(LOWEST + TRIES) - LOWEST;
    // A seed that differs from process to process, so that two test runs begin at different ports.
    let seed = RandomState::new().build_hasher().finish();
    let start = u16::try_from(seed % u64::from(span)).unwrap_or(0);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    let mut ports = Vec::with_capacity(count);
    for step in 0..TRIES {
        if ports.len() == count {
            break;
        }
        let offset = (u32::from(start) + u32::from(step)) % u32::from(span);
        let port = LOWEST + u16::try_from(offset).unwrap_or(0);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            ports.push(port);
        }
    }
    if ports.len() < count {
        return Err(Error::new(format!("{count} loopback ports are wanted, none are free")));
    }
    Ok(ports)
}

fn outgoing_from() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
    first.unwrap_or(OUTGOING_FROM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let ports: Vec<u16> = (0..4).flat_map(|_| free(5).expect("ports")).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 20);
        let bound: Vec<_> =
            ports.iter().map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port))).collect();
        assert!(bound.iter().all(std::result::Result::is_ok), "{bound:?}");
        assert!(ports.iter().all(|port| *port >= LOWEST));
    }
}
