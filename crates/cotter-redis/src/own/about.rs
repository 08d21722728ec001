//! What a claim says of its maker, for people who look: JSON at the end of its record. Nothing is
//! decided by it.

use cotter_core::contract::{Bearer, Mode};
use serde::{Deserialize, Serialize};

/// The longest text of another client that is shown.
pub(crate) const FOREIGN_TEXT_MAX: usize = 1024;

#[derive(Serialize, Deserialize)]
struct Form {
    host: String,
    pid: u32,
    user: String,
    command: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
}

/// What all claims of a session say.
pub(crate) struct About {
    bearer: Bearer,
    without_note: String,
}

impl About {
    pub(crate) fn new(bearer: &Bearer) -> Self {
        Self { without_note: written(bearer, ""), bearer: bearer.clone() }
    }

    /// What a claim with this note says.
    pub(crate) fn with_note(&self, note: &str) -> std::borrow::Cow<'_, str> {
        if note.is_empty() {
            return self.without_note.as_str().into();
        }
        written(&self.bearer, note).into()
    }
}

fn written(bearer: &Bearer, note: &str) -> String {
    let form = Form {
        host: bearer.host.clone(),
        pid: bearer.pid,
        user: bearer.user.clone(),
        command: bearer.command.clone(),
        note: note.to_owned(),
    };
    // A form of text and numbers cannot fail to be written.
    serde_json::to_string(&form).unwrap_or_default()
}

/// The maker and the note. Another's text is its maker's command.
pub(crate) fn read(text: &str) -> (Bearer, String) {
    match serde_json::from_str::<Form>(text) {
        Ok(Form { host, pid, user, command, note }) => (Bearer { host, pid, user, command }, note),
        Err(_) => {
            let command = text.chars().take(FOREIGN_TEXT_MAX).collect();
            (Bearer { command, ..Bearer::default() }, String::new())
        }
    }
}

/// A mode as scripts take it: its letter, how much it takes, of how much.
pub(crate) fn mode_words(mode: Mode) -> (&'static [u8], u32, u32) {
    match mode {
        Mode::Exclusive => (b"x", 1, 0),
        Mode::Shared => (b"s", 1, 0),
        Mode::Permits { count, limit } => (b"p", count, limit),
    }
}

/// The mode of these words.
pub(crate) fn mode_of(letter: &str, count: u32, limit: u32) -> Option<Mode> {
    match letter {
        "x" => Some(Mode::Exclusive),
        "s" => Some(Mode::Shared),
        "p" => Some(Mode::Permits { count, limit }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bearer =
            Bearer { host: "h\"x".into(), pid: 7, user: "ü".into(), command: "a:b\nc".into() };
        let about = About::new(&bearer);
        assert_eq!(read(&about.with_note("")), (bearer.clone(), String::new()));
        assert_eq!(read(&about.with_note("10.0.0.1:80")), (bearer, "10.0.0.1:80".into()));
        assert_eq!(read("redis-py 1234").0.command, "redis-py 1234");
    }
}
