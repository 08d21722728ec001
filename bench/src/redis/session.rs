//! A connection to Redis over a blocking socket, for one thread, in hand-made RESP3.
//!
//! This is here to be the floor that a client could reach, so it shares nothing with the store's
//! own client. Commands are gathered until [`Session::send`], so that what is to leave in one write
//! does. The server answers them in their order; what it pushes in between is kept.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Outcome;

/// An answer that takes longer does not come.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What the server says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Nil,
    Integer(i64),
    Text(String),
    Error(String),
    Parts(Vec<Reply>),
    /// Nobody asked for it.
    Push(Vec<Reply>),
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stream: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
    /// How much of the input is parsed already.
    parsed: usize,
    pushed: VecDeque<Vec<Reply>>,
}

impl Session {
    pub(crate) fn open(server: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let (out, input) = (Vec::new(), Vec::new());
        let mut session = Self { stream, out, input, parsed: 0, pushed: VecDeque::new() };
        session.ask(&["HELLO", "3"])?;
        Ok(session)
    }

    /// Adds a command to what leaves next.
    pub(crate) fn gather(&mut self, words: &[&str]) {
        // Written into memory, which does not fail.
        let _ = write!(self.out, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(self.out, "${}\r\n", word.len());
            self.out.extend_from_slice(word.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Everything that is gathered leaves, in one write.
    pub(crate) fn send(&mut self) -> Outcome<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// One command and its answer, which is no error.
    pub(crate) fn ask(&mut self, words: &[&str]) -> Outcome<Reply> {
        self.gather(words);
        self.send()?;
        self.reply()
    }

    /// Gives the server a script. What it is called by afterwards.
    pub(crate) fn load(&mut self, script: &str) -> Outcome<String> {
        match self.ask(&["SCRIPT", "LOAD", script])? {
            Reply::Text(digest) => Ok(digest),
            other => Err(format!("a script is called {other:?}").into()),
        }
    }

    /// The answer to the oldest command that has none. Pushes on the way are kept.
    pub(crate) fn reply(&mut self) -> Outcome<Reply> {
        loop {
            match self.next()? {
                Reply::Push(parts) => self.pushed.push_back(parts),
                Reply::Error(error) => return Err(format!("the server said {error}").into()),
                reply => return Ok(reply),
            }
        }
    }

    /// Waits until the server pushes something, if it has not done so already.
    pub(crate) fn push(&mut self) -> Outcome<Vec<Reply>> {
        if let Some(parts) = self.pushed.pop_front() {
            return Ok(parts);
        }
        match self.next()? {
            Reply::Push(parts) => Ok(parts),
            other => Err(format!("an answer that nobody asked for: {other:?}").into()),
        }
    }

    /// Whether another answer is here already, so that reading it does not wait.
    pub(crate) fn has_reply(&self) -> bool {
        parse(&self.input[self.parsed..]).is_some()
    }

    fn next(&mut self) -> Outcome<Reply> {
        loop {
            if let Some((reply, len)) = parse(&self.input[self.parsed..]) {
                self.parsed += len;
                return Ok(reply);
            }
            self.input.drain(..self.parsed);
            self.parsed = 0;
            let mut block = [0; 16 * 1024];
            let read = self.stream.read(&mut block)?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.input.extend_from_slice(&block[..read]);
        }
    }
}

/// The first reply and its length, if all of it is here.
fn parse(bytes: &[u8]) -> Option<(Reply, usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\r')?;
    // The line feed behind it may not be here yet.
    let mut len = end + 2;
    if bytes.len() < len {
        return None;
    }
    let line = std::str::from_utf8(bytes.get(1..end)?).ok()?;
    let count = || line.parse::<usize>().ok();
    let reply = match bytes[0] {
        b':' => Reply::Integer(line.parse().ok()?),
        b'+' | b',' | b'#' | b'(' => Reply::Text(line.into()),
        b'-' => Reply::Error(line.into()),
        b'_' => Reply::Nil,
        b'$' | b'*' if line == "-1" => Reply::Nil,
        b'$' | b'=' => {
            let text = bytes.get(len..len + count()?)?;
            len += text.len() + 2;
            bytes.get(len - 1)?;
            Reply::Text(String::from_utf8_lossy(text).into_owned())
        }
        kind => {
            let per_entry = if kind == b'%' { 2 } else { 1 };
            let mut parts = Vec::new();
            for _ in 0..count()? * per_entry {
                let (part, part_len) = parse(&bytes[len..])?;
                parts.push(part);
                len += part_len;
            }
            if kind == b'>' { Reply::Push(parts) } else { Reply::Parts(parts) }
        }
    };
    Some((reply, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        let text = |text: &str| Reply::Text(text.into());
        for (bytes, reply) in [
            (":-3\r\n", Reply::Integer(-3)),
            ("+OK\r\n", text("OK")),
            ("-ERR no\r\n", Reply::Error("ERR no".into())),
            ("_\r\n", Reply::Nil),
            ("$-1\r\n", Reply::Nil),
            ("$5\r\na\r\nbc\r\n", text("a\r\nbc")),
            ("*2\r\n:1\r\n$0\r\n\r\n", Reply::Parts(vec![Reply::Integer(1), text("")])),
            ("%1\r\n+a\r\n:1\r\n", Reply::Parts(vec![text("a"), Reply::Integer(1)])),
            (">1\r\n+message\r\n", Reply::Push(vec![text("message")])),
        ] {
            let more = format!("{bytes}:1\r\n");
            assert_eq!(parse(more.as_bytes()), Some((reply, bytes.len())), "{bytes:?}");
            for part in 0..bytes.len() {
                assert_eq!(parse(&bytes.as_bytes()[..part]), None, "{bytes:?}, {part}");
            }
        }
    }
}
