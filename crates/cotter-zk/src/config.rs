//! What a client is told before it connects, and what it may hand to another process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dial::{Dial, Tcp};
use crate::error::Error;

/// A password or the like. Printing it prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Keeps these bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self(Arc::from(bytes.as_ref()))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The server's number for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What it takes to go on with a session in another process. Whoever has it owns the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The session.
    pub session: SessionId,
    /// What proves that it is ours.
    pub password: Secret,
    /// The newest transaction that this session has seen: the next server must have it too.
    pub zxid: i64,
}

impl Ticket {
    /// The ticket as text. It holds the password: do not print it.
    pub fn to_secret_text(&self) -> String {
        use fmt::Write as _;
        let mut text = format!("{:x}:{:x}:", self.session.0, self.zxid);
        for byte in self.password.expose() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// The ticket that [`Ticket::to_secret_text`] made the text of.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not one. The text is not in the message.
    pub fn from_secret_text(text: &str) -> Result<Self, Error> {
        Self::parse(text.trim()).ok_or_else(|| Error::Invalid("this is no ticket".into()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (session, zxid) = (number()?.cast_signed(), number()?.cast_signed());
        let digits = parts.next()?;
        let is_whole = digits.len() % 2 == 0 && digits.is_ascii() && parts.next().is_none();
        let pairs = (0..digits.len() / 2).map(|at| digits.get(2 * at..2 * at + 2));
        let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok());
        let password = is_whole.then(|| bytes.collect::<Option<Vec<u8>>>())??;
        Some(Self { session: SessionId(session), password: password.into(), zxid })
    }
}

/// An identity that is told to every server that the client attaches to.
#[derive(Clone, Debug)]
pub struct Auth {
    /// For example `digest`.
    pub scheme: String,
    /// For `digest`: `user:password`.
    pub data: Secret,
}

impl Auth {
    /// A user of the scheme `digest`.
    pub fn digest(user: &str, password: &str) -> Self {
        Self { scheme: "digest".into(), data: format!("{user}:{password}").into() }
    }
}

/// Who the client is under SASL. The mechanism is DIGEST-MD5.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How much a client takes and keeps, whatever servers and callers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest answer, in bytes. A longer one ends the connection. The standard is 4 MiB, which
    /// is that of the Java client, and 64 KiB for what stands around the data; it holds the list of
    /// about 70,000 lock nodes. What is decoded from a frame takes at most eight times its length.
    pub frame_len_max: usize,
    /// The longest request, in bytes. A longer one is refused here: a server would cut the
    /// connection because of it, with all that is on its way. The standard is the server's
    /// (`jute.maxbuffer`).
    pub request_len_max: usize,
    /// How many requests may be without an answer. One more is not sent.
    pub unanswered_max: usize,
    /// How many bytes may be in line. A request that would go beyond is not sent. As many again may
    /// have been taken from the line by a connection that does not take them.
    pub queued_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_len_max: 4 * 1024 * 1024 + 64 * 1024,
            request_len_max: 0xf_ffff,
            unanswered_max: 100_000,
            queued_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// What a client needs to connect.
#[derive(Clone)]
pub struct Config {
    /// The servers, each `host:port`. They are tried in an order that is drawn for each client.
    pub servers: Vec<String>,
    /// How long a server keeps the session without hearing from it. Servers have limits for it and
    /// say what they made of it: [`Client::session_timeout`](crate::Client::session_timeout).
    pub session_timeout: Duration,
    /// Who the client is.
    pub auth: Vec<Auth>,
    /// Who the client is under SASL.
    pub sasl: Option<Sasl>,
    /// How connections are made.
    pub dial: Arc<dyn Dial>,
    /// Go on with a session instead of making one. Whoever had it must have left it
    /// ([`Client::detach`](crate::Client::detach)), or the two take it from each other for ever.
    pub resume: Option<Ticket>,
    /// How much the client takes and keeps.
    pub limits: Limits,
}

impl Config {
    /// A plain TCP connection to one of these servers, and nothing else.
    pub fn new(servers: Vec<String>, session_timeout: Duration) -> Self {
        Self {
            servers,
            session_timeout,
            auth: Vec::new(),
            sasl: None,
            dial: Arc::new(Tcp),
            resume: None,
            limits: Limits::default(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("servers", &self.servers)
            .field("session_timeout", &self.session_timeout)
            .field("auth", &self.auth)
            .field("sasl", &self.sasl)
            .field("resume", &self.resume)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_its_text() {
        let ticket =
            Ticket { session: SessionId(-5), password: vec![0, 255, 16].into(), zxid: 1 << 40 };
        let text = ticket.to_secret_text();
        assert_eq!(Ticket::from_secret_text(&text), Ok(ticket));
        for broken in ["", "1", "1:2", "1:2:0", "1:2:0g", "1:2:00:", "x:2:00", "1:2:é"] {
            assert!(Ticket::from_secret_text(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn nothing_of_a_secret_is_printed() {
        let mut config = Config::new(vec!["a:1".into()], Duration::from_secs(1));
        config.auth.push(Auth::digest("joe", "hidden"));
        config.sasl = Some(Sasl { user: "joe".into(), password: "hidden".into() });
        config.resume = Some(Ticket { session: SessionId(1), password: "hidden".into(), zxid: 0 });
        let printed = format!("{config:?}");
        assert!(!printed.contains("hidden") && !printed.contains("104, 105"), "{printed}");
    }
}
