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

use crate::frame::{Frame, Reply, Request};
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
const XID_CONNECT: i64 = i64::MIN;
/// A watch event.
const XID_EVENT: i32 = -1;

/// Reads the head of a frame that a client sent. `None`: it is too short to be one.
pub(crate) fn request(frame: &[u8], is_first: bool) -> Option<Request> {
    let body = frame.get(PREFIX_LEN..)?;
    if is_first {
        let kind = Kind::ZooKeeper { op: OP_CONNECT, detail: None };
        return Some(Request { id: XID_CONNECT, kind, about: None, is_waited_for: false });
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
    let kind = Kind::ZooKeeper { op, detail };
    Some(Request { id: xid.into(), kind, about: path(rest), is_waited_for: xid > 0 })
}

/// Reads the head of a frame that a server sent. `None`: it is too short to have one.
pub(crate) fn reply(frame: &[u8], is_first: bool) -> Option<Reply> {
    if is_first {
        return Some(Reply {
            id: XID_CONNECT,
            is_refusal: false,
            is_event: false,
            ends_wait: false,
        });
    }
    let xid = int(frame.get(PREFIX_LEN..)?, 0)?;
    let is_refusal = int(frame, PREFIX_LEN + 12).is_some_and(|error| error != 0);
    let is_event = xid == XID_EVENT;
    Some(Reply { id: xid.into(), is_refusal, is_event, ends_wait: xid > 0 })
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

/// How long the frame is that these bytes begin with.
pub(crate) fn frame(bytes: &[u8]) -> Frame {
    let Some(length) = int(bytes, 0) else { return Frame::Part };
    match usize::try_from(length).ok().filter(|length| *length <= FRAME_LEN_MAX) {
        Some(length) if bytes.len() < PREFIX_LEN + length => Frame::Part,
        Some(length) => Frame::Whole(PREFIX_LEN + length),
        None => Frame::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Splitter;

    fn framed(body: &[u8]) -> Vec<u8> {
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
            let mut splitter = Splitter::new(frame);
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
        let mut splitter = Splitter::new(frame);
        splitter.buffer().extend_from_slice(b"srvr");
        assert_eq!(splitter.next().as_deref(), Some(&b"srvr"[..]));
        assert!(splitter.is_raw());
        splitter.buffer().extend_from_slice(b"x");
        assert_eq!(splitter.next().as_deref(), Some(&b"x"[..]));
        assert_eq!(splitter.next(), None);
    }

    #[test]
    fn a_request_is_known_by_its_head() {
        let seen = |frame: &[u8]| {
            let request = request(frame, false).expect("a request");
            (request.id, request.kind, request.about)
        };
        let path = [ints(&[2]), b"/a".to_vec()].concat();
        let create = framed(&[ints(&[7, 1]), path.clone(), ints(&[3])].concat());
        let kind = Kind::ZooKeeper { op: 1, detail: Some(3) };
        assert_eq!(seen(&create), (7, kind, Some("/a".into())));
        let part = [ints(&[13]), vec![0], ints(&[-1]), path].concat();
        let multi = framed(&[ints(&[8, 14]), part].concat());
        let kind = Kind::ZooKeeper { op: 14, detail: Some(13) };
        assert_eq!(seen(&multi), (8, kind, Some("/a".into())));
        let connect = request(&framed(&[0; 44]), true).expect("a request");
        assert_eq!(connect.kind, Kind::ZooKeeper { op: OP_CONNECT, detail: None });
        assert!(request(&framed(b"short"), false).is_none());
        assert!(reply(&framed(&ints(&[-1, 0, 0, 0])), false).is_some_and(|reply| reply.is_event));
    }
}
