//! The four-letter words, by which a server tells how it is without a session.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A server that answers at all answers well within this; one that stands still never does.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// No answer asked for here is longer; `dump` of many sessions is cut.
const ANSWER_LEN_MAX: u64 = 1 << 20;

/// What a serving member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Alone.
    Standalone,
    /// The leader of an ensemble.
    Leader,
    /// A follower in an ensemble.
    Follower,
    /// An observer of an ensemble.
    Observer,
}

/// What the server at this address answers to a word such as `srvr`, `ruok` or `cons`.
///
/// # Errors
/// It cannot be reached, or does not answer in time.
pub fn ask(address: SocketAddr, word: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(word.as_bytes())?;
    // The server reads four letters and no more; it must not be told that there is no more.
    let mut answer = Vec::new();
    (&stream).take(ANSWER_LEN_MAX).read_to_end(&mut answer)?;
    let _ = stream.shutdown(Shutdown::Both);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What the server at this address is, if it serves.
pub fn mode(address: SocketAddr) -> Option<Mode> {
    parse(&ask(address, "srvr").ok()?)
}

fn parse(answer: &str) -> Option<Mode> {
    let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "))?;
    match mode.trim() {
        "standalone" => Some(Mode::Standalone),
        "leader" => Some(Mode::Leader),
        "follower" => Some(Mode::Follower),
        "observer" => Some(Mode::Observer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_serving_member_has_a_mode() {
        assert_eq!(parse("Zxid: 0x1\nMode: leader\nNode count: 5"), Some(Mode::Leader));
        assert_eq!(parse("Mode: standalone"), Some(Mode::Standalone));
        assert_eq!(parse("This ZooKeeper instance is not currently serving requests\n"), None);
        assert_eq!(parse(""), None);
    }
}
