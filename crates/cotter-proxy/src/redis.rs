//! Redis's protocol, RESP 2 and 3, as far as a proxy has to understand it.
//!
//! ```text
//!   a request   *count, then count times $length and the bytes: the command, its arguments
//!   a reply     + - : _ # , (        one line
//!               $ ! =  length        so many bytes
//!               * ~ > %  count       so many replies; of a map (%) twice as many
//!               |  count             a note (twice as many), and then the reply it is about
//! ```
//!
//! Requests have no number, and replies come in their order, but for pushes (`>`), which no request
//! asked for. Two things are both: subscribing is answered by pushes alone in RESP 3, one for each
//! channel, unless it is refused; and in RESP 2 a message to a subscriber is an array like any
//! reply. `Talk` keeps the count of both.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;

use sha1::{Digest as _, Sha1};

use crate::frame::{Frame, Reply, Request};
use crate::what::Kind;

/// No frame is longer. What claims to be is no frame.
const FRAME_LEN_MAX: usize = 64 << 20;
/// No reply is nested deeper.
const DEPTH_MAX: u32 = 16;
/// The id of a push, which no request has.
const ID_EVENT: i64 = -1;
/// What makes or keeps a connection, and is not counted among its round trips.
const UNCOUNTED: [&str; 10] = [
    "HELLO",
    "AUTH",
    "SELECT",
    "CLIENT",
    "PING",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "SSUBSCRIBE",
    "SUNSUBSCRIBE",
    "PSUBSCRIBE",
];
/// Kinds of push that bring news. The others answer who subscribes.
const NEWS: [&str; 4] = ["message", "pmessage", "smessage", "invalidate"];

/// How long the request is that these bytes begin with. One that is typed by hand, without counts,
/// is none.
pub(crate) fn request_frame(bytes: &[u8]) -> Frame {
    if bytes[0] == b'*' { reply_frame(bytes) } else { Frame::None }
}

/// How long the reply is that these bytes begin with.
pub(crate) fn reply_frame(bytes: &[u8]) -> Frame {
    match end(bytes, 0, DEPTH_MAX) {
        Ok(at) => Frame::Whole(at),
        Err(Stop::Part) if bytes.len() <= FRAME_LEN_MAX => Frame::Part,
        Err(_) => Frame::None,
    }
}

/// Why there is no end to be found.
enum Stop {
    Part,
    None,
}

/// Where the value ends that begins here.
fn end(bytes: &[u8], at: usize, depth: u32) -> Result<usize, Stop> {
    if depth == 0 {
        return Err(Stop::None);
    }
    let (kind, line, next) = line(bytes, at)?;
    match kind {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Ok(next),
        b'$' | b'!' | b'=' => match number(line)? {
            -1 => Ok(next),
            length => {
                let length = usize::try_from(length).ok().filter(|length| *length <= FRAME_LEN_MAX);
                let end = next + length.ok_or(Stop::None)? + 2;
                if end <= bytes.len() { Ok(end) } else { Err(Stop::Part) }
            }
        },
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let count = number(line)?;
            let parts = if matches!(kind, b'%' | b'|') { count * 2 } else { count };
            let mut at = next;
            for _ in 0..parts {
                at = end(bytes, at, depth - 1)?;
            }
            if kind == b'|' { end(bytes, at, depth - 1) } else { Ok(at) }
        }
        _ => Err(Stop::None),
    }
}

/// The kind of the value that begins here, the rest of its first line, and where the next begins.
fn line(bytes: &[u8], at: usize) -> Result<(u8, &[u8], usize), Stop> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty()).ok_or(Stop::Part)?;
    let length = rest.windows(2).position(|two| two == b"\r\n").ok_or(Stop::Part)?;
    if length == 0 {
        return Err(Stop::None);
    }
    Ok((rest[0], &rest[1..length], at + length + 2))
}

fn number(line: &[u8]) -> Result<i64, Stop> {
    std::str::from_utf8(line).ok().and_then(|line| line.parse().ok()).ok_or(Stop::None)
}

/// The texts of a flat array: its first so many, where they are texts.
fn texts(frame: &[u8], limit: usize) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let Ok((_, _, mut at)) = line(frame, 0) else { return found };
    while found.len() < limit {
        let Ok((b'$', length, next)) = line(frame, at) else { return found };
        let length = number(length).ok().and_then(|length| usize::try_from(length).ok());
        let Some(text) = length.and_then(|length| frame.get(next..next + length)) else {
            return found;
        };
        found.push(text);
        at = next + text.len() + 2;
    }
    found
}

/// What one connection has asked and was not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    asked: VecDeque<Asked>,
    last_id: i64,
    /// It has subscribed, and may speak RESP 2.
    is_subscriber: bool,
    speaks_3: bool,
}

#[derive(Debug)]
struct Asked {
    id: i64,
    /// How many pushes answer it. 0: one reply does.
    pushes: usize,
    is_waited_for: bool,
}

impl Talk {
    pub(crate) fn request(&mut self, frame: &[u8]) -> Option<Request> {
        // The command, a script, how many keys, the first key.
        let words = texts(frame, 4);
        let text = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).into_owned());
        let command = text(0)?.to_ascii_uppercase();
        let runs_script = command.starts_with("EVAL");
        let digest = match () {
            () if !runs_script => None,
            () if command.starts_with("EVALSHA") => text(1).map(|word| word.to_ascii_lowercase()),
            () => words.get(1).map(|script| digest(script)),
        };
        let about = if runs_script { text(3) } else { text(1) };
        let subscribes = command.ends_with("SUBSCRIBE");
        self.is_subscriber |= subscribes;
        self.speaks_3 |= command == "HELLO" && text(1).as_deref() == Some("3");
        self.last_id += 1;
        let is_waited_for = !UNCOUNTED.contains(&command.as_str());
        // Without a channel, from all there are; how many that is, is not known here.
        let channels = line(frame, 0).ok().and_then(|(_, count, _)| number(count).ok());
        let channels = channels.and_then(|count| usize::try_from(count - 1).ok()).unwrap_or(0);
        let pushes = if subscribes { channels.max(1) } else { 0 };
        self.asked.push_back(Asked { id: self.last_id, pushes, is_waited_for });
        Some(Request {
            id: self.last_id,
            kind: Kind::Redis { command, digest },
            about,
            is_waited_for,
        })
    }

    pub(crate) fn reply(&mut self, frame: &[u8]) -> Option<Reply> {
        let is_array = frame.first() == Some(&b'*');
        let is_push = frame.first() == Some(&b'>');
        let may_be_news = is_push || is_array && self.is_subscriber && !self.speaks_3;
        let kind = texts(frame, 1).first().copied().unwrap_or_default();
        if may_be_news && NEWS.iter().any(|news| news.as_bytes() == kind) {
            return Some(event());
        }
        if may_be_news && kind.ends_with(b"subscribe") {
            return Some(self.subscribed());
        }
        if is_push {
            return Some(event());
        }
        let is_refusal = matches!(frame.first(), Some(b'-' | b'!'));
        let mut asked = self.asked.pop_front()?;
        // One that unsubscribes from all there are was answered by as many pushes as there were.
        while asked.pushes > 0 && !is_refusal {
            asked = self.asked.pop_front()?;
        }
        Some(Reply { id: asked.id, is_refusal, is_event: false, ends_wait: asked.is_waited_for })
    }

    /// The answer to somebody who subscribes, or a part of it.
    fn subscribed(&mut self) -> Reply {
        let Some(first) = self.asked.front_mut().filter(|asked| asked.pushes > 0) else {
            return event();
        };
        first.pushes -= 1;
        let (id, ends_wait) = (first.id, first.is_waited_for);
        if first.pushes == 0 {
            self.asked.pop_front();
        }
        Reply { id, is_refusal: false, is_event: false, ends_wait }
    }
}

/// A frame in which servers are where the proxy is: an answer to CLUSTER SLOTS, MOVED and ASK.
pub(crate) fn at_home(frame: Vec<u8>, places: &[(String, SocketAddr)]) -> Vec<u8> {
    let is_redirection = frame.starts_with(b"-MOVED ") || frame.starts_with(b"-ASK ");
    if !is_redirection && !frame.starts_with(b"*") {
        return frame;
    }
    let listed = |host: &str, port: &str| format!("${}\r\n{host}\r\n:{port}\r\n", host.len());
    let mut frame = frame;
    for (server, own) in places {
        let Some((host, port)) = server.rsplit_once(':') else { continue };
        let (from, to) = if is_redirection {
            (format!(" {server}\r\n"), format!(" {own}\r\n"))
        } else {
            (listed(host, port), listed(&own.ip().to_string(), &own.port().to_string()))
        };
        frame = replaced(&frame, from.as_bytes(), to.as_bytes());
    }
    frame
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn event() -> Reply {
    Reply { id: ID_EVENT, is_refusal: false, is_event: true, ends_wait: false }
}

/// By which a server knows a script: 40 hexadecimal digits.
fn digest(script: &[u8]) -> String {
    let mut digest = String::with_capacity(40);
    for byte in Sha1::digest(script) {
        // Writing into a string does not fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Splitter;

    fn request(words: &[&str]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(bytes, "${}\r\n{word}\r\n", word.len());
        }
        bytes.into_bytes()
    }

    #[test]
    fn frames_come_out_whole_however_they_come_in() {
        let frames: [&[u8]; 10] = [
            b"+OK\r\n",
            b"$-1\r\n",
            b"$4\r\na\r\nb\r\n",
            b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n",
            b"*-1\r\n",
            b"%1\r\n+a\r\n~2\r\n#t\r\n_\r\n",
            b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n",
            b"|1\r\n+a\r\n+b\r\n:7\r\n",
            b"=5\r\ntxt:a\r\n",
            b"-ERR no\r\n",
        ];
        let stream = frames.concat();
        for step in 1..=stream.len() {
            let mut splitter = Splitter::new(reply_frame);
            let mut found = Vec::new();
            for piece in stream.chunks(step) {
                splitter.buffer().extend_from_slice(piece);
                found.extend(std::iter::from_fn(|| splitter.next()));
            }
            assert_eq!(found, frames, "by {step}");
        }
    }

    #[test]
    fn what_is_no_frame_goes_through() {
        assert_eq!(request_frame(b"PING\r\n"), Frame::None);
        assert_eq!(reply_frame(b"SSH-2.0\r\n"), Frame::None);
        assert_eq!(reply_frame(b"$99999999999\r\n"), Frame::None);
        assert_eq!(reply_frame("*1\r\n".repeat(20).as_bytes()), Frame::None);
    }

    #[test]
    fn a_script_is_known_by_its_digest_however_it_is_sent() {
        let mut talk = Talk::default();
        // As `SCRIPT LOAD "return 1"` says.
        let known = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        for words in [["EVAL", "return 1", "1", "key"], ["evalsha", known, "1", "key"]] {
            let seen = talk.request(&request(&words)).expect("a request");
            let Kind::Redis { digest, .. } = seen.kind else { panic!("another protocol's") };
            assert_eq!((digest.as_deref(), seen.about.as_deref()), (Some(known), Some("key")));
            assert!(seen.is_waited_for);
        }
        let seen = talk.request(&request(&["publish", "channel", "x"])).expect("a request");
        assert_eq!(seen.kind, Kind::Redis { command: "PUBLISH".to_owned(), digest: None });
        assert_eq!(seen.about.as_deref(), Some("channel"));
    }

    #[test]
    fn other_nodes_are_where_the_proxy_is() {
        let place = |server: &str, own: &str| (server.to_owned(), own.parse().expect("one"));
        let places = [place("10.0.0.1:71", "127.0.0.1:7001"), place("10.0.0.2:72", "127.0.0.1:9")];
        let home = |frame: &str| {
            String::from_utf8(at_home(frame.as_bytes().to_vec(), &places)).expect("text")
        };
        assert_eq!(home("-MOVED 71 10.0.0.1:71\r\n"), "-MOVED 71 127.0.0.1:7001\r\n");
        assert_eq!(home("-ASK 5 10.0.0.9:71\r\n"), "-ASK 5 10.0.0.9:71\r\n");
        let slots = |one: &str, two: &str| {
            format!("*2\r\n*3\r\n:0\r\n:72\r\n*2\r\n{one}*3\r\n:73\r\n:99\r\n*2\r\n{two}")
        };
        let (one, two) = ("$8\r\n10.0.0.1\r\n:71\r\n", "$8\r\n10.0.0.2\r\n:72\r\n");
        let (own_one, own_two) = ("$9\r\n127.0.0.1\r\n:7001\r\n", "$9\r\n127.0.0.1\r\n:9\r\n");
        assert_eq!(home(&slots(one, two)), slots(own_one, own_two));
    }

    fn ids(talk: &mut Talk, replies: &[&[u8]]) -> Vec<i64> {
        replies.iter().map(|reply| talk.reply(reply).expect("a reply").id).collect()
    }

    const NEWS_3: &[u8] = b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n";
    const SUBSCRIBED_3: &[u8] = b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";

    #[test]
    fn replies_are_of_requests_in_their_order_whatever_is_pushed_between() {
        let mut talk = Talk::default();
        for words in [&["HELLO", "3"][..], &["SUBSCRIBE", "a", "b"], &["GET", "k"], &["PING"]] {
            talk.request(&request(words)).expect("a request");
        }
        let replies =
            [b"%0\r\n", SUBSCRIBED_3, NEWS_3, SUBSCRIBED_3, b"*0\r\n", NEWS_3, b"+PONG\r\n"];
        assert_eq!(ids(&mut talk, &replies), [1, 2, -1, 2, 3, -1, 4]);
        assert!(talk.reply(b"+OK\r\n").is_none(), "nobody asked");
    }

    #[test]
    fn a_refused_or_a_general_unsubscription_does_not_shift_the_count() {
        let mut talk = Talk::default();
        for words in [&["SUBSCRIBE", "a"][..], &["UNSUBSCRIBE"], &["GET", "k"], &["GET", "l"]] {
            talk.request(&request(words)).expect("a request");
        }
        let refusal = talk.reply(b"-NOPERM no\r\n").expect("a reply");
        assert_eq!((refusal.id, refusal.is_refusal), (1, true));
        let unsubscribed: &[u8] = b">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n";
        assert_eq!(
            ids(&mut talk, &[unsubscribed, unsubscribed, b"$1\r\nx\r\n", b"$-1\r\n"]),
            [2, -1, 3, 4]
        );
    }

    #[test]
    fn a_subscriber_of_the_old_protocol_is_understood_too() {
        let mut talk = Talk::default();
        talk.request(&request(&["SUBSCRIBE", "a"])).expect("a request");
        let old = |reply: &[u8]| [b"*", &reply[1..]].concat();
        assert_eq!(ids(&mut talk, &[&old(SUBSCRIBED_3), &old(NEWS_3)]), [1, -1]);
    }
}
