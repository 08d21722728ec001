//! A session of ZooKeeper over a blocking socket, for one thread.
//!
//! Requests are gathered until [`Session::send`], so that what is to leave in one write does. The
//! server answers them in their order. There are no pings: a raw session is never idle for long.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::wire::{Incoming, NODE_EXISTS, Outgoing, PERSISTENT, Rest};
use crate::Outcome;

const TIMEOUT_MS: i32 = 30_000;
/// An answer that takes longer does not come.
const SILENCE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Session {
    stream: TcpStream,
    pub(crate) out: Outgoing,
    input: Vec<u8>,
    /// How much of the input is parsed already.
    parsed: usize,
    /// Nodes whose watch has fired.
    pub(crate) gone: BTreeSet<String>,
}

impl Session {
    pub(crate) fn open(server: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let mut session = Self {
            stream,
            out: Outgoing::default(),
            input: Vec::new(),
            parsed: 0,
            gone: BTreeSet::new(),
        };
        session.out.connect(TIMEOUT_MS);
        session.send()?;
        let frame = session.frame()?;
        let (mut rest, timeout_ms) = (Rest(&frame), 4);
        let _version = rest.int()?;
        if rest.int()? < timeout_ms {
            return Err("the server gave no session".into());
        }
        Ok(session)
    }

    /// Everything that is gathered leaves, in one write.
    pub(crate) fn send(&mut self) -> Outcome<()> {
        self.stream.write_all(&self.out.bytes)?;
        self.out.bytes.clear();
        Ok(())
    }

    /// The answer to the oldest request that has none, with its code. Events on the way are noted.
    pub(crate) fn reply(&mut self) -> Outcome<(i32, Vec<u8>)> {
        loop {
            match Incoming::parse(&self.frame()?)? {
                Incoming::Event { path } => _ = self.gone.insert(path),
                Incoming::Reply { code, record } => return Ok((code, record)),
            }
        }
    }

    /// The answer, which must be a success.
    pub(crate) fn answer(&mut self) -> Outcome<Vec<u8>> {
        match self.reply()? {
            (0, record) => Ok(record),
            (code, _) => Err(format!("the server answered {code}").into()),
        }
    }

    /// Waits for an event, and notes it.
    pub(crate) fn event(&mut self) -> Outcome<()> {
        match Incoming::parse(&self.frame()?)? {
            Incoming::Event { path } => _ = self.gone.insert(path),
            Incoming::Reply { .. } => return Err("an answer that nobody asked for".into()),
        }
        Ok(())
    }

    /// Whether another frame is here already, so that reading it does not wait.
    pub(crate) fn has_frame(&self) -> bool {
        let rest = &self.input[self.parsed..];
        len_of(rest).is_some_and(|len| rest.len() >= 4 + len)
    }

    /// Makes a node and those above it, where they are missing.
    pub(crate) fn make_path(&mut self, path: &str) -> Outcome<()> {
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        for end in ends.chain([path.len()]) {
            self.out.create(&path[..end], PERSISTENT);
            self.send()?;
            let (code, _) = self.reply()?;
            if code != 0 && code != NODE_EXISTS {
                return Err(format!("{path} cannot be made: {code}").into());
            }
        }
        Ok(())
    }

    pub(crate) fn close(mut self) -> Outcome<()> {
        self.out.close();
        self.send()?;
        self.answer()?;
        Ok(())
    }

    fn frame(&mut self) -> Outcome<Vec<u8>> {
        while !self.has_frame() {
            self.input.drain(..self.parsed);
            self.parsed = 0;
            let mut block = [0; 16 * 1024];
            let read = self.stream.read(&mut block)?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.input.extend_from_slice(&block[..read]);
        }
        let rest = &self.input[self.parsed..];
        let len = len_of(rest).unwrap_or(0);
        self.parsed += 4 + len;
        Ok(rest[4..4 + len].to_vec())
    }
}

fn len_of(bytes: &[u8]) -> Option<usize> {
    let (len, _) = bytes.split_first_chunk()?;
    usize::try_from(u32::from_be_bytes(*len)).ok()
}
