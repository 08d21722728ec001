//! One command to a server and its answer, for tests that look or act behind a store's back.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that answers at all answers well within this; one that stands still never does.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// No answer asked for here is longer.
const ANSWER_LEN_MAX: usize = 16 << 20;
/// No answer asked for here is nested deeper: CLUSTER SLOTS has four levels.
const DEPTH_MAX: u32 = 8;

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A word or a value.
    Text(String),
    /// A number.
    Number(i64),
    /// There is no such thing.
    Nothing,
    /// Several answers.
    Many(Vec<Answer>),
    /// An error, in its words.
    Refused(String),
}

impl Answer {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Answer::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<i64> {
        match self {
            Answer::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Its parts, of which an answer that is not several has none.
    pub fn parts(&self) -> &[Answer] {
        match self {
            Answer::Many(parts) => parts,
            _ => &[],
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Text(text) => f.write_str(text),
            Answer::Number(number) => write!(f, "{number}"),
            Answer::Nothing => f.write_str("nothing"),
            Answer::Many(parts) => f.debug_list().entries(parts).finish(),
            Answer::Refused(words) => write!(f, "refused: {words}"),
        }
    }
}

/// What the server at this address answers to a command. A password, if any, is sent first.
///
/// # Errors
/// It cannot be reached, does not answer in time, or refuses the password. That it refuses the
/// command is an answer.
pub fn ask(address: SocketAddr, password: Option<&str>, words: &[&str]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    let mut request = Vec::new();
    if let Some(password) = password {
        put(&mut request, &["AUTH", password]);
    }
    put(&mut request, words);
    stream.write_all(&request)?;
    let mut answers = BufReader::new(stream);
    if password.is_some()
        && let Answer::Refused(words) = read(&mut answers, DEPTH_MAX)?
    {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    read(&mut answers, DEPTH_MAX)
}

fn put(request: &mut Vec<u8>, words: &[&str]) {
    request.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        request.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}

fn read(from: &mut impl BufRead, depth: u32) -> io::Result<Answer> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "this is no answer of Redis");
    if depth == 0 {
        return Err(strange());
    }
    let mut line = String::new();
    from.take(ANSWER_LEN_MAX as u64).read_line(&mut line)?;
    let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(strange)?;
    let number = || rest.parse::<i64>().map_err(|_| strange());
    match kind {
        "+" => Ok(Answer::Text(rest.to_owned())),
        "-" => Ok(Answer::Refused(rest.to_owned())),
        ":" => number().map(Answer::Number),
        "$" | "*" => match usize::try_from(number()?) {
            Err(_) => Ok(Answer::Nothing),
            Ok(length) if length > ANSWER_LEN_MAX => Err(strange()),
            Ok(length) if kind == "$" => {
                let mut text = vec![0; length + 2];
                from.read_exact(&mut text)?;
                text.truncate(length);
                Ok(Answer::Text(String::from_utf8_lossy(&text).into_owned()))
            }
            Ok(count) => (0..count)
                .map(|_| read(from, depth - 1))
                .collect::<io::Result<_>>()
                .map(Answer::Many),
        },
        _ => Err(strange()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_read() {
        let text = |text: &str| Answer::Text(text.to_owned());
        let bytes = b"*6\r\n+OK\r\n:-7\r\n$5\r\na\r\nb!\r\n$-1\r\n*1\r\n-ERR no\r\n*0\r\n";
        let answer = read(&mut &bytes[..], DEPTH_MAX).expect("an answer");
        let refused = Answer::Refused("ERR no".to_owned());
        let parts = [
            text("OK"),
            Answer::Number(-7),
            text("a\r\nb!"),
            Answer::Nothing,
            Answer::Many(vec![refused]),
            Answer::Many(vec![]),
        ];
        assert_eq!(answer.parts(), parts);
        assert!(read(&mut &b"SSH-2.0"[..], DEPTH_MAX).is_err());
        assert!(read(&mut "*1\r\n".repeat(9).as_bytes(), DEPTH_MAX).is_err());
    }
}
