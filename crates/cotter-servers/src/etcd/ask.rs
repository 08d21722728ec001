//! What a member says of itself without a client: the pages for those who watch over it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A member that answers at all answers well within this; one that stands still never does. Its
/// own limit for finding out whether it is well is one second.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// No page asked for here is longer.
const PAGE_LEN_MAX: u64 = 4 << 20;

/// What a serving member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads, or is alone.
    Leader,
    /// It follows.
    Follower,
}

/// A page of the member whose watchers are served at this address: `/health`, `/metrics`.
///
/// # Errors
/// It cannot be reached, or does not answer in time.
pub fn page(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    // Version 1.0, so that the answer ends with the connection and is not cut into pieces.
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(PAGE_LEN_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether it serves. It finds out by a request that a majority has to agree to, so one that is cut
/// off from the others says no, whatever it believes of itself.
pub(super) fn serves(address: SocketAddr) -> bool {
    page(address, "/health").is_ok_and(|page| is_well(&page))
}

/// What it is, if it serves.
pub fn role(address: SocketAddr) -> Option<Role> {
    serves(address).then(|| page(address, "/metrics").ok())?.and_then(|page| parse(&page))
}

fn is_well(page: &str) -> bool {
    page.contains(r#""health":"true""#)
}

fn parse(page: &str) -> Option<Role> {
    let value = |name: &str| {
        let mut lines = page.lines();
        lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
    };
    match (value("etcd_server_is_leader")?, value("etcd_server_has_leader")?) {
        (1, _) => Some(Role::Leader),
        (_, 1) => Some(Role::Follower),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_serving_member_has_a_role() {
        let page = |is: u8, has: u8| {
            format!(
                "# HELP etcd_server_is_leader Whether.\netcd_server_is_leader {is}\n\
                 etcd_server_has_leader {has}\netcd_server_is_learner 0\n"
            )
        };
        assert_eq!(parse(&page(1, 1)), Some(Role::Leader));
        assert_eq!(parse(&page(0, 1)), Some(Role::Follower));
        assert_eq!(parse(&page(0, 0)), None);
        assert_eq!(parse("HTTP/1.0 404 Not Found\r\n"), None);
        assert!(is_well("HTTP/1.0 200 OK\r\n\r\n{\"health\":\"true\"}"));
        assert!(!is_well("HTTP/1.0 503 Service Unavailable\r\n\r\n{\"health\":\"false\"}"));
    }
}
