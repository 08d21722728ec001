//! RESP3, as far as one connection needs it: what a server says, read from bytes as they come; and
//! commands, written as bytes.
//!
//! Everything that is read has a limit: a server that is none, or a stream that went wrong, ends
//! the connection and not the process.

use std::fmt;

/// The longest text of one reply. A lock's line of thousands is far below it.
const TEXT_LEN_MAX: usize = 64 << 20;
/// The most elements of one list.
const LIST_LEN_MAX: usize = 1 << 20;
/// How deep lists may lie in lists.
const DEPTH_MAX: usize = 16;
/// The longest first line of a reply: a number, a word, an error with its sentence.
const LINE_LEN_MAX: usize = 64 << 10;

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// Nothing is there.
    Nil,
    /// A number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// Text or bytes; also a status such as `OK`.
    Text(Vec<u8>),
    /// Several, one after the other. A map is its keys and values in turn.
    List(Vec<Reply>),
    /// The server refused, as a whole or in one element of a list.
    Error(Refusal),
}

/// A server's refusal: it was answered, and what was asked did not happen.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The whole sentence; its first word is the code.
    sentence: String,
}

impl Refusal {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into() }
    }

    /// The first word: `ERR`, `NOSCRIPT`, `MOVED`, `WRONGTYPE`. Of what a command in a script was
    /// refused with, where that is what the sentence tells.
    pub(crate) fn code(&self) -> &str {
        let cause = self.cause();
        // Servers have no word of their own for a right that a script lacked.
        let is_denied = cause.starts_with("ERR ACL failure in script")
            || cause.contains("The user executing the script can't");
        if is_denied { "NOPERM" } else { cause.split(' ').next().unwrap_or("") }
    }

    /// Redis 6.2 says `ERR Error running script (...): @user_script:1: @user_script: 1: -READONLY
    /// ...` where later ones say `READONLY ...`.
    fn cause(&self) -> &str {
        let inner = || {
            let script = self.sentence.strip_prefix("ERR Error running script")?;
            let (_line, cause) = script.rsplit_once("@user_script:")?.1.split_once(": ")?;
            Some(cause.strip_prefix('-').unwrap_or(cause))
        };
        inner().unwrap_or(&self.sentence)
    }

    /// All words but the first.
    pub(crate) fn text(&self) -> &str {
        self.sentence.split_once(' ').map_or("", |(_, text)| text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.sentence, f)
    }
}

impl Reply {
    /// The number, where it is one (also where it is written as text).
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Reply::Int(number) => Some(*number),
            Reply::Text(_) => self.str()?.parse().ok(),
            _ => None,
        }
    }

    /// The bytes, where it is text.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text, where it is text in UTF-8.
    pub(crate) fn str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The elements, where it is a list.
    pub(crate) fn list(&self) -> Option<&[Reply]> {
        match self {
            Reply::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The value beside this key, where it is a map.
    pub(crate) fn of_key(&self, key: &str) -> Option<&Reply> {
        self.list()?.chunks_exact(2).find(|pair| pair[0].str() == Some(key)).map(|pair| &pair[1])
    }
}

/// What came in: an answer to the oldest request, or something that nobody asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Answer(Reply),
    Push(Vec<Reply>),
}

/// The stream of bytes is not RESP3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbled(pub(crate) &'static str);

/// Reads the first whole reply of the bytes: what it is and how many bytes it took. `None` if its
/// end has not come yet.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Incoming, usize)>, Garbled> {
    let mut reader = Reader { bytes, at: 0 };
    loop {
        // An attribute is a map that stands before what it is about. Nothing here wants one.
        let is_attribute = bytes.get(reader.at) == Some(&b'|');
        let is_push = bytes.get(reader.at) == Some(&b'>');
        let Some(reply) = reader.reply(0)? else { return Ok(None) };
        if is_attribute {
            continue;
        }
        let incoming = match reply {
            Reply::List(elements) if is_push => Incoming::Push(elements),
            reply => Incoming::Answer(reply),
        };
        return Ok(Some((incoming, reader.at)));
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next line without its end, if its end is there.
    fn line(&mut self) -> Result<Option<&'a [u8]>, Garbled> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            let is_long = rest.len() > LINE_LEN_MAX;
            return if is_long { Err(Garbled("a line without an end")) } else { Ok(None) };
        };
        self.at += end + 1;
        match rest[..end].strip_suffix(b"\r") {
            Some(line) => Ok(Some(line)),
            None => Err(Garbled("a line ends without CR")),
        }
    }

    fn reply(&mut self, depth: usize) -> Result<Option<Reply>, Garbled> {
        if depth > DEPTH_MAX {
            return Err(Garbled("lists too deep in lists"));
        }
        let Some(line) = self.line()? else { return Ok(None) };
        let Some((kind, rest)) = line.split_first() else { return Err(Garbled("an empty line")) };
        Ok(Some(match kind {
            b'+' | b'(' => Reply::Text(rest.to_vec()),
            b'-' => Reply::Error(Refusal::new(String::from_utf8_lossy(rest))),
            b':' => Reply::Int(number(rest)?),
            b'_' => Reply::Nil,
            b'#' => Reply::Int(i64::from(rest == b"t")),
            b',' => {
                let text = std::str::from_utf8(rest).map_err(|_| Garbled("a double is no text"))?;
                Reply::Double(text.parse().map_err(|_| Garbled("a double is none"))?)
            }
            b'$' | b'=' | b'!' => match self.text(rest)? {
                None => return Ok(None),
                Some(None) => Reply::Nil,
                Some(Some(text)) if *kind == b'!' => {
                    Reply::Error(Refusal::new(String::from_utf8_lossy(text)))
                }
                // A verbatim text says its format in four bytes before it.
                Some(Some(text)) if *kind == b'=' => {
                    Reply::Text(text.get(4..).unwrap_or(text).to_vec())
                }
                Some(Some(text)) => Reply::Text(text.to_vec()),
            },
            b'*' | b'~' | b'>' => return self.elements(rest, 1, depth),
            b'%' | b'|' => return self.elements(rest, 2, depth),
            _ => return Err(Garbled("a reply of no known kind")),
        }))
    }

    /// A text of the length that the line says: `Some(None)` is the old form of nothing.
    fn text(&mut self, length: &[u8]) -> Result<Option<Option<&'a [u8]>>, Garbled> {
        let length = number(length)?;
        if length == -1 {
            return Ok(Some(None));
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= TEXT_LEN_MAX);
        let length = length.ok_or(Garbled("a text of no sane length"))?;
        let Some(text) = self.bytes.get(self.at..self.at + length + 2) else { return Ok(None) };
        if !text.ends_with(b"\r\n") {
            return Err(Garbled("a text ends elsewhere"));
        }
        self.at += length + 2;
        Ok(Some(Some(&text[..length])))
    }

    fn elements(
        &mut self,
        count: &[u8],
        each: usize,
        depth: usize,
    ) -> Result<Option<Reply>, Garbled> {
        let count = number(count)?;
        if count == -1 {
            return Ok(Some(Reply::Nil));
        }
        let count = usize::try_from(count).ok().filter(|count| *count <= LIST_LEN_MAX);
        let count = count.ok_or(Garbled("a list of no sane length"))? * each;
        // The count is only believed as far as there are bytes for it.
        let mut elements = Vec::with_capacity(count.min(self.bytes.len() - self.at));
        for _ in 0..count {
            let Some(element) = self.reply(depth + 1)? else { return Ok(None) };
            elements.push(element);
        }
        Ok(Some(Reply::List(elements)))
    }
}

fn number(text: &[u8]) -> Result<i64, Garbled> {
    // The usual number has few digits; the general way costs a check of UTF-8 and more.
    let (is_negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 {
        return Err(Garbled("a number is none"));
    }
    let mut number: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(Garbled("a number is none"));
        }
        let next = number.checked_mul(10).and_then(|n| n.checked_add(i64::from(digit - b'0')));
        number = next.ok_or(Garbled("a number is too large"))?;
    }
    Ok(if is_negative { -number } else { number })
}

/// Writes the head of a command with so many words.
pub(crate) fn write_count(out: &mut Vec<u8>, words: usize) {
    out.push(b'*');
    write_number(out, words);
}

/// Writes one word of a command.
pub(crate) fn write_word(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b'$');
    write_number(out, word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole command.
pub(crate) fn write_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    write_count(out, words.len());
    for word in words {
        write_word(out, word);
    }
}

fn write_number(out: &mut Vec<u8>, mut number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // The remainder is below ten.
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(bytes: &[u8]) -> Reply {
        match read(bytes) {
            Ok(Some((Incoming::Answer(reply), used))) => {
                assert_eq!(used, bytes.len());
                reply
            }
            other => panic!("{other:?}"),
        }
    }

    fn text(text: &str) -> Reply {
        Reply::Text(text.into())
    }

    #[test]
    fn every_kind_is_read() {
        assert_eq!(answer(b"+OK\r\n"), text("OK"));
        assert_eq!(answer(b":-42\r\n"), Reply::Int(-42));
        assert_eq!(answer(b"$5\r\na\r\nbc\r\n"), text("a\r\nbc"));
        assert_eq!(answer(b"$-1\r\n"), Reply::Nil);
        assert_eq!(answer(b"_\r\n"), Reply::Nil);
        assert_eq!(answer(b"#t\r\n"), Reply::Int(1));
        assert_eq!(answer(b",1.5\r\n"), Reply::Double(1.5));
        assert_eq!(answer(b"=6\r\ntxt:hi\r\n"), text("hi"));
        let list = Reply::List(vec![Reply::Int(1), Reply::List(vec![text("x")])]);
        assert_eq!(answer(b"*2\r\n:1\r\n*1\r\n+x\r\n"), list);
        let map = answer(b"%1\r\n+role\r\n+master\r\n");
        assert_eq!(map.of_key("role").and_then(Reply::str), Some("master"));
        let Reply::Error(refusal) = answer(b"-MOVED 12 h:1\r\n") else { panic!("an error") };
        assert_eq!((refusal.code(), refusal.text()), ("MOVED", "12 h:1"));
        let push = read(b"|1\r\n+a\r\n+b\r\n>2\r\n+message\r\n+x\r\n").expect("good");
        let expected = Incoming::Push(vec![text("message"), text("x")]);
        assert_eq!(push.map(|(incoming, _)| incoming), Some(expected));
    }

    /// As Redis 6.2.14, Redis 7.0.15 and Valkey 9.1.2 say it.
    #[test]
    fn what_a_script_was_refused_with_is_known_by_its_own_word() {
        const WRAPPED: &str = "ERR Error running script (call to f_c0bd): @user_script:1: ";
        for (sentence, code) in [
            ("@user_script: 1: -READONLY You can't write against a read only replica.", "READONLY"),
            ("@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE"),
            ("@user_script: 1: The user executing the script can't run this command", "NOPERM"),
        ] {
            assert_eq!(Refusal::new(format!("{WRAPPED}{sentence}")).code(), code);
        }
        for (sentence, code) in [
            (
                "READONLY You can't write against a read only replica. script: c0, on ...",
                "READONLY",
            ),
            ("ERR The user executing the script can't run this command. script: c0", "NOPERM"),
            ("ERR ACL failure in script: User u has no permissions to run 'set'", "NOPERM"),
            ("ERR Error running script: nothing is known of it", "ERR"),
        ] {
            assert_eq!(Refusal::new(sentence).code(), code);
        }
    }

    #[test]
    fn what_is_no_reply_is_told() {
        for bad in [&b"hello\r\n"[..], b"\r\n", b":x\r\n", b"$-2\r\n", b"$1\r\nabc\r\n", b":1\n"] {
            assert!(read(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(read(&b"*1\r\n".repeat(DEPTH_MAX + 2)).is_err());
        assert!(read(&vec![b'+'; LINE_LEN_MAX + 2]).is_err());
        assert!(read(b"$99999999999\r\n").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((_, used))) = read(&bytes) {
                prop_assert!(used <= bytes.len());
            }
        }

        /// A reply that is cut anywhere is not there yet, and never another one.
        #[test]
        fn a_part_of_a_reply_is_none(
            words in proptest::collection::vec(".{0,20}", 0..8), cut in 0usize..100
        ) {
            let mut bytes = Vec::new();
            let parts: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            write_command(&mut bytes, &parts);
            let expected: Vec<Reply> = words.iter().map(|word| text(word)).collect();
            prop_assert_eq!(answer(&bytes), Reply::List(expected));
            prop_assert_eq!(read(&bytes[..cut % bytes.len()]), Ok(None));
        }
    }
}
