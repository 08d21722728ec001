//! ZooKeeper's frames, as far as a proxy has to understand them.
//!
//! ```text
//!   every frame        length: i32 | body
//!   first from client  connect request, without a header
//!   then               xid: i32 | opcode: i32 | the request; most begin with a path
//!   first from server  connect reply, without a header
//!   then               xid: i32 | zxid: i64 | error: i32 | the reply
//! ```
//!
//! A reply carries its request's xid. Some xids stand for a purpose: -1 is a watch event, which no
//! request asked for; -2 a ping, -4 authentication, -8 setting watches again.

use crate::what::Kind;

/// No frame is longer: four times what a server takes by default. What claims to be longer is no
/// frame, and its connection goes through as plain bytes (a four-letter word looks like that).
const FRAME_LEN_MAX: usize = 16 << 20;
/// The bytes of a length.
const PREFIX_LEN: usize = 4;

/// The opcode under which the server's own log counts a connect request.
pub(crate) const OP_CONNECT: i32 = -10;
/// Several requests that are done together or not at all.
pub(crate) const OP_MULTI: i32 = 14;
/// Those that make a node, and have flags at their end: create and create2.
pub(crate) const OPS_CREATE: [i32; 2] = [1, 15];
/// An xid that no header has: it stands for the connect request and its reply.
pub(crate) const XID_CONNECT: i64 = i64::MIN;
/// A watch event.
pub(crate) const XID_EVENT: i64 = -1;

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) xid: i64,
    pub(crate) op: i32,
    /// In a multi, the opcode of its first part; in a create, its flags.
    pub(crate) detail: Option<i32>,
    /// What it is about, where it says so first.
    pub(crate) path: Option<String>,
}

impl Request {
    /// Reads the head of a frame that a client sent. `None`: it is too short to be one.
    pub(crate) fn parse(frame: &[u8], is_first: bool) -> Option<Self> {
        let body = frame.get(PREFIX_LEN..)?;
        if is_first {
            let path = None;
            return Some(Self { xid: XID_CONNECT, op: OP_CONNECT, detail: None, path });
        }
        let (xid, op) = (int(body, 0)?, int(body, 4)?);
        let rest = &body[8..];
        // A part of a multi begins with: opcode, whether it is the last, an error.
        let (detail, rest) = match op {
            OP_MULTI => (int(rest, 0), rest.get(9..).unwrap_or(&[])),
            // The flags stand at the end.
            _ if OPS_CREATE.contains(&op) => (int(body, body.len() - 4), rest),
            _ => (None, rest),
        };
        Some(Self { xid: xid.into(), op, detail, path: path(rest) })
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::ZooKeeper { op: self.op, detail: self.detail }
    }
}

/// The xid of a frame that a server sent. `None`: it is too short to have one.
pub(crate) fn reply_xid(frame: &[u8], is_first: bool) -> Option<i64> {
    if is_first { Some(XID_CONNECT) } else { int(frame.get(PREFIX_LEN..)?, 0).map(i64::from) }
}

/// Whether a frame that a server sent says that the request was refused.
pub(crate) fn is_refusal(frame: &[u8], is_first: bool) -> bool {
    !is_first && int(frame, PREFIX_LEN + 12).is_some_and(|error| error != 0)
}

fn int(bytes: &[u8], at: usize) -> Option<i32> {
    let four = bytes.get(at..at + 4)?;
    four.try_into().map(i32::from_be_bytes).ok()
}

/// The text at the beginning, if it is a path.
fn path(bytes: &[u8]) -> Option<String> {
    let length = usize::try_from(int(bytes, 0)?).ok()?;
    let text = std::str::from_utf8(bytes.get(4..4usize.checked_add(length)?)?).ok()?;
    text.starts_with('/').then(|| text.to_owned())
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    bytes: Vec<u8>,
    is_raw: bool,
}

impl Splitter {
    /// One that takes everything as it comes.
    pub(crate) fn raw() -> Self {
        Self { bytes: Vec::new(), is_raw: true }
    }

    /// Whether the stream is not one of frames.
    pub(crate) fn is_raw(&self) -> bool {
        self.is_raw
    }

    /// Where the next bytes are put.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The next whole frame with its prefix; or all there is, where there are no frames.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        if !self.is_raw {
            let length = usize::try_from(int(&self.bytes, 0)?);
            match length.ok().filter(|length| *length <= FRAME_LEN_MAX) {
                Some(length) if self.bytes.len() < PREFIX_LEN + length => return None,
                Some(length) => return Some(self.bytes.drain(..PREFIX_LEN + length).collect()),
                None => self.is_raw = true,
            }
        }
        (!self.bytes.is_empty()).then(|| std::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len()).expect("short");
        [&length.to_be_bytes(), body].concat()
    }

    fn ints(values: &[i32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    #[test]
    fn frames_come_out_whole_however_they_come_in() {
        let stream: Vec<u8> = [framed(b"first"), framed(b""), framed(b"third")].concat();
        for step in 1..=stream.len() {
            let mut splitter = Splitter::default();
            let mut frames = Vec::new();
            for piece in stream.chunks(step) {
                splitter.buffer().extend_from_slice(piece);
                frames.extend(std::iter::from_fn(|| splitter.next()));
            }
            assert_eq!(frames, [framed(b"first"), framed(b""), framed(b"third")], "by {step}");
        }
    }

    #[test]
    fn what_is_no_frame_goes_through() {
        let mut splitter = Splitter::default();
        splitter.buffer().extend_from_slice(b"srvr");
        assert_eq!(splitter.next().as_deref(), Some(&b"srvr"[..]));
        assert!(splitter.is_raw());
        splitter.buffer().extend_from_slice(b"x");
        assert_eq!(splitter.next().as_deref(), Some(&b"x"[..]));
        assert_eq!(splitter.next(), None);
    }

    #[test]
    fn a_request_is_known_by_its_head() {
        let path = [ints(&[2]), b"/a".to_vec()].concat();
        let create = framed(&[ints(&[7, 1]), path.clone(), ints(&[3])].concat());
        let expected = Request { xid: 7, op: 1, detail: Some(3), path: Some("/a".into()) };
        assert_eq!(Request::parse(&create, false), Some(expected));
        let part = [ints(&[13]), vec![0], ints(&[-1]), path].concat();
        let multi = framed(&[ints(&[8, 14]), part].concat());
        let expected = Request { xid: 8, op: 14, detail: Some(13), path: Some("/a".into()) };
        assert_eq!(Request::parse(&multi, false), Some(expected));
        let connect = Request::parse(&framed(&[0; 44]), true).expect("a request");
        assert_eq!((connect.xid, connect.op), (XID_CONNECT, OP_CONNECT));
        assert_eq!(Request::parse(&framed(b"short"), false), None);
        assert_eq!(reply_xid(&framed(&ints(&[-1, 0, 0, 0])), false), Some(XID_EVENT));
    }
}
