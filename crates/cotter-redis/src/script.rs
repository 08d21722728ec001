//! Scripts that run in the server: one exchange each.

use std::fmt::Write as _;

use sha1::{Digest as _, Sha1};

/// A script, known to servers by the digest of its text.
///
/// It is sent by its digest. A server that does not know it (it was restarted, or somebody flushed
/// its scripts) says so and does nothing, and gets the whole text on the same connection.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: String,
    /// 40 hexadecimal digits.
    pub(crate) digest: String,
}

impl Script {
    /// The script of these parts, one after the other.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        let mut digest = String::with_capacity(40);
        for byte in Sha1::digest(text.as_bytes()) {
            // Writing to a String does not fail.
            let _ = write!(digest, "{byte:02x}");
        }
        Self { text, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_servers() {
        // As `SCRIPT LOAD "return 1"` says.
        assert_eq!(
            Script::new(&["return", " 1"]).digest,
            "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
        );
    }
}
