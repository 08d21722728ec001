//! ZooKeeper's frames, made by hand: just those that the raw drivers need.
//!
//! This is here to be the floor that a client could reach, so it shares nothing with cotter's own
//! client. Numbers are big-endian; a string is its length and its bytes; a frame is its length,
//! then a header, then the record.

use crate::Outcome;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const CLOSE: i32 = -11;
const EVENT_XID: i32 = -1;

/// The flags of a create.
pub(crate) const PERSISTENT: i32 = 0;
pub(crate) const EPHEMERAL_SEQUENTIAL: i32 = 3;

pub(crate) const NO_NODE: i32 = -101;
pub(crate) const NODE_EXISTS: i32 = -110;

/// Frames that have not left yet.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    xid: i32,
}

impl Outgoing {
    pub(crate) fn connect(&mut self, timeout_ms: i32) {
        self.frame(|out| {
            out.extend(0i32.to_be_bytes());
            out.extend(0i64.to_be_bytes());
            out.extend(timeout_ms.to_be_bytes());
            out.extend(0i64.to_be_bytes());
            buffer(out, &[0; 16]);
            out.push(0);
        });
    }

    pub(crate) fn create(&mut self, path: &str, flags: i32) {
        self.request(CREATE, |out| {
            buffer(out, path.as_bytes());
            buffer(out, b"");
            // One entry: everything is allowed to everybody.
            out.extend(1i32.to_be_bytes());
            out.extend(31i32.to_be_bytes());
            buffer(out, b"world");
            buffer(out, b"anyone");
            out.extend(flags.to_be_bytes());
        });
    }

    pub(crate) fn delete(&mut self, path: &str) {
        self.request(DELETE, |out| {
            buffer(out, path.as_bytes());
            out.extend((-1i32).to_be_bytes());
        });
    }

    pub(crate) fn list(&mut self, path: &str) {
        self.request(GET_CHILDREN, |out| {
            buffer(out, path.as_bytes());
            out.push(0);
        });
    }

    /// Reads the node, because a read of a node that is not there leaves no watch.
    pub(crate) fn watch(&mut self, path: &str) {
        self.request(GET_DATA, |out| {
            buffer(out, path.as_bytes());
            out.push(1);
        });
    }

    pub(crate) fn close(&mut self) {
        self.request(CLOSE, |_| {});
    }

    fn request(&mut self, kind: i32, record: impl FnOnce(&mut Vec<u8>)) {
        self.xid += 1;
        let xid = self.xid;
        self.frame(|out| {
            out.extend(xid.to_be_bytes());
            out.extend(kind.to_be_bytes());
            record(out);
        });
    }

    fn frame(&mut self, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        body(&mut self.bytes);
        // A frame is a few hundred bytes.
        let len = (self.bytes.len() - start - 4) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }
}

fn buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    // Paths and names, all short.
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

/// What the server says.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A watch has fired.
    Event { path: String },
    /// The answer to the oldest request that has none.
    Reply { code: i32, record: Vec<u8> },
}

impl Incoming {
    pub(crate) fn parse(frame: &[u8]) -> Outcome<Self> {
        let mut rest = Rest(frame);
        let xid = rest.int()?;
        let _zxid = (rest.int()?, rest.int()?);
        let code = rest.int()?;
        if xid == EVENT_XID {
            let _kind_and_state = (rest.int()?, rest.int()?);
            return Ok(Self::Event { path: rest.string()? });
        }
        Ok(Self::Reply { code, record: rest.0.to_vec() })
    }
}

/// What of a record is not read yet.
#[derive(Debug)]
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl Rest<'_> {
    pub(crate) fn int(&mut self) -> Outcome<i32> {
        let (int, rest) = self.0.split_first_chunk().ok_or("a record is too short")?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*int))
    }

    pub(crate) fn string(&mut self) -> Outcome<String> {
        let len = usize::try_from(self.int()?)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or("a string is too short")?;
        self.0 = rest;
        Ok(String::from_utf8(bytes.to_vec())?)
    }

    pub(crate) fn strings(&mut self) -> Outcome<Vec<String>> {
        let count = self.int()?.max(0);
        (0..count).map(|_| self.string()).collect()
    }
}
