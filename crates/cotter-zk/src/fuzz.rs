//! Doors for fuzzers: what reads the bytes of a server, called with any bytes at all.
//!
//! Each function panics if something is read that must not be: that is what a fuzzer looks for. The
//! targets in `fuzz/` call them with what libFuzzer thinks of, and the tests below with random and
//! mutated bytes, so that they are called on every toolchain. Not a part of what this crate offers.
//!
//! ```text
//!   libFuzzer ──► fuzz/fuzz_targets ──┐
//!                                     ├──► reply, connected, challenge, frames
//!   proptest ───► the tests below ────┘
//! ```

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::Sasl;
use crate::inbox::Inbox;
use crate::jute::Reader;
use crate::model::{AddWatchMode, WatchesOf};
use crate::request::{Expect, Reply};
use crate::sasl;
use crate::wire::{Connected, Header};

/// What a frame may become in memory, as [`Limits`](crate::Limits) says.
const GROWTH_MAX: usize = 8;

/// The longest frame that [`frames`] takes.
const FRAME_LEN_MAX: usize = 64 * 1024;

/// One of every kind of answer that a client can be waiting for.
fn expectations() -> [Expect; 14] {
    let path = || Box::from("/a");
    [
        Expect::Nothing { is_quorum: true },
        Expect::Nothing { is_quorum: false },
        Expect::Created,
        Expect::Exists { watched: Some(path()) },
        Expect::Data { watched: None },
        Expect::Children { watched: Some(path()) },
        Expect::Stat,
        Expect::Acl,
        Expect::Multi { count: 1 },
        Expect::Multi { count: 3 },
        Expect::Check,
        Expect::AddWatch { path: path(), mode: AddWatchMode::Persistent },
        Expect::RemoveWatches { path: path(), of: WatchesOf::Any },
        Expect::CloseSession,
    ]
}

/// Reads an answer's frame, as the answer to every kind of request: with the code that it has, and
/// as if all were well.
pub fn reply(frame: &[u8]) {
    let mut reader = Reader::new(frame);
    let Ok(header) = Header::read(&mut reader) else { return };
    for expect in expectations() {
        for code in [header.code, 0] {
            let mut body = reader;
            let read = expect.read(code, &mut body);
            let _ = expect.watched(match &read {
                Ok(reply) => reply,
                Err(_) => continue,
            });
            if let Ok(Ok(reply)) = read {
                let weight = weight(&reply);
                let max = GROWTH_MAX * frame.len();
                assert!(weight <= max, "{weight} bytes from {}: {expect:?}", frame.len());
            }
        }
    }
}

/// How much memory a list takes that is as long as a frame says. A multi is as long as its request.
fn weight(reply: &Reply) -> usize {
    match reply {
        Reply::Children(names, ..) => {
            size_of_val(names.as_slice()) + names.iter().map(String::len).sum::<usize>()
        }
        Reply::Acl(lines, _) => {
            let texts = lines.iter().map(|line| line.scheme.len() + line.id.len());
            size_of_val(lines.as_slice()) + texts.sum::<usize>()
        }
        Reply::Data(data, ..) => data.len(),
        _ => 0,
    }
}

/// Reads the first answer of a connection.
pub fn connected(frame: &[u8]) {
    if let Ok(connected) = Connected::read(&mut Reader::new(frame)) {
        assert!(connected.password.expose().len() <= frame.len());
        assert!(connected.timeout_ms >= 0 || connected.timeout_ms() == 0);
    }
}

/// Answers a challenge as this user, and takes the same bytes for the server's proof.
pub fn challenge(user: &str, challenge: &[u8]) {
    const NONCE: &str = "0123456789abcdef";
    let sasl = Sasl { user: user.to_owned(), password: "open, sesame".into() };
    let Ok(login) = sasl::Login::new(&sasl, challenge, NONCE) else { return };
    // Whatever the user and the server are called, the answer says that and nothing else.
    let said = sasl::directives(login.response());
    let of = |wanted: &str| {
        let said = said.iter().flatten().filter(|(name, _)| name == wanted);
        said.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of("username"), [user]);
    assert_eq!(of("cnonce"), [NONCE]);
    assert_eq!((of("realm").len(), of("nonce").len(), of("response").len()), (1, 1, 1));
    assert!(login.check_server(challenge).is_err());
}

/// Cuts a stream into frames that comes in pieces of this length, and compares with the plain way.
pub fn frames(piece_len: u8, bytes: &[u8]) {
    let mut server = Pieces { piece_len: usize::from(piece_len).max(1), left: bytes };
    let mut inbox = Inbox::new(FRAME_LEN_MAX);
    let mut expected = bytes;
    loop {
        loop {
            let taken = inbox.take_frame();
            let Ok(Some(frame)) = taken else {
                if taken.is_err() {
                    assert!(is_refused(expected), "a good frame is refused");
                    return;
                }
                break;
            };
            let frame = inbox.bytes(frame);
            assert_eq!(Some(frame), next_frame(&mut expected));
        }
        if !server.fill(&mut inbox) {
            assert_eq!(next_frame(&mut expected), None, "a whole frame is kept back");
            return;
        }
    }
}

fn is_refused(bytes: &[u8]) -> bool {
    let len = bytes.first_chunk().map(|len| i32::from_be_bytes(*len));
    len.is_some_and(|len| usize::try_from(len).map_or(true, |len| len > FRAME_LEN_MAX))
}

fn next_frame<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    let len = usize::try_from(i32::from_be_bytes(*len)).ok()?;
    let (frame, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some(frame)
}

/// A server that sends what is left, piece by piece, and then closes the connection.
struct Pieces<'a> {
    piece_len: usize,
    left: &'a [u8],
}

impl Pieces<'_> {
    /// Whether anything more came.
    fn fill(&mut self, inbox: &mut Inbox) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(inbox.poll_fill(&mut context, self), Poll::Ready(Ok(1..)))
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.piece_len.min(room.remaining()).min(self.left.len());
        let (piece, left) = self.left.split_at(len);
        room.put_slice(piece);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;
    use crate::jute::Writer;
    use crate::wire::op;

    fn stat(out: &mut Writer<'_>) {
        out.i64(5).i64(6).i64(7).i64(8).i32(1).i32(2).i32(3).i64(0).i32(4).i32(0).i64(9);
    }

    /// Good answers of every shape.
    fn answers() -> Vec<Vec<u8>> {
        let bodies: [fn(&mut Writer<'_>); 6] = [
            |out| stat(out.str("/a/b-0000000001")),
            stat,
            |out| stat(out.bytes(b"data")),
            |out| {
                out.list(&["one", "two", ""], |out, name| {
                    out.str(name);
                });
                stat(out);
            },
            |out| {
                out.list(&["world", "digest"], |out, scheme| {
                    out.i32(31).str(scheme).str("anyone");
                });
                stat(out);
            },
            |out| {
                out.i32(op::CREATE2).bool(false).i32(0).str("/a");
                stat(out);
                out.i32(op::CHECK).bool(false).i32(0);
                out.i32(op::ERROR).bool(false).i32(-101).i32(-101);
                out.i32(-1).bool(true).i32(-1);
            },
        ];
        let frame = |body: &fn(&mut Writer<'_>)| {
            let mut bytes = Vec::new();
            body(Writer(&mut bytes).i32(7).i64(9).i32(0));
            bytes
        };
        bodies.iter().map(frame).collect()
    }

    fn first_answer() -> Vec<u8> {
        let mut bytes = Vec::new();
        Writer(&mut bytes).i32(0).i32(10_000).i64(77).bytes(&[5; 16]).bool(false);
        bytes
    }

    const CHALLENGE: &[u8] = b"realm=\"zk-sasl-md5\",nonce=\"Oa6\\\"M=,\",charset=utf-8,\
        algorithm=md5-sess,qop=\"auth\"";

    /// One of these with some bytes changed, left out or put in.
    fn mutated(good: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
        let odd = select(vec![0u8, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b',', b'=']);
        let byte = prop_oneof![odd, any::<u8>()];
        (select(good), vec((any::<Index>(), 0..4, byte), 0..6)).prop_map(|(mut bytes, changes)| {
            for (at, how, byte) in changes {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match how {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, byte),
                    2 => drop(bytes.remove(at)),
                    _ => bytes[at] = byte,
                }
            }
            bytes
        })
    }

    fn noise() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..200)
    }

    #[test]
    fn good_answers_are_read() {
        let read = |expect: Expect, frame: &[u8]| {
            let mut reader = Reader::new(frame);
            Header::read(&mut reader).expect("a header");
            expect.read(0, &mut reader).expect("well-formed").is_ok()
        };
        let answers = answers();
        assert!(read(Expect::Created, &answers[0]));
        assert!(read(Expect::Stat, &answers[1]));
        assert!(read(Expect::Data { watched: None }, &answers[2]));
        assert!(read(Expect::Children { watched: None }, &answers[3]));
        assert!(read(Expect::Acl, &answers[4]));
        assert!(!read(Expect::Multi { count: 3 }, &answers[5]));
        let sasl = Sasl { user: "joe".into(), password: "x".into() };
        assert!(sasl::Login::new(&sasl, CHALLENGE, "c").is_ok());
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(frame in prop_oneof![noise(), mutated(answers())]) {
            reply(&frame);
        }

        #[test]
        fn any_first_answer_is_read_or_refused(
            frame in prop_oneof![noise(), mutated(vec![first_answer()])],
        ) {
            connected(&frame);
        }

        #[test]
        fn any_challenge_is_answered_or_refused(
            user in ".{0,20}",
            bytes in prop_oneof![noise(), mutated(vec![CHALLENGE.to_vec()])],
        ) {
            challenge(&user, &bytes);
        }

        #[test]
        fn any_stream_is_cut_the_same_way(
            piece_len: u8,
            parts in vec(prop_oneof![noise(), vec(any::<u8>(), 20_000..40_000)], 0..6),
            tail in noise(),
        ) {
            let mut bytes = Vec::new();
            for part in parts {
                Writer(&mut bytes).bytes(&part);
            }
            bytes.extend_from_slice(&tail);
            frames(piece_len, &bytes);
        }
    }
}
