//! Names of locks as names of files.
//!
//! Letters, digits, `-`, `_` and dots inside stay; every other byte becomes `%XX`. A name whose
//! encoding is longer than [`ENCODED_LEN_MAX`] becomes a readable start, `~` and the SHA-256 of the
//! whole: `~` stands for itself nowhere else, so the two kinds never meet. The full name is in the
//! file and is compared on opening.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Below the 255 bytes of a file name, with room for `~` and a hash.
const ENCODED_LEN_MAX: usize = 180;
/// How much of a long name stays readable.
const START_LEN: usize = 100;

/// The file's name for a lock's name. Injective, up to collisions of SHA-256.
pub(crate) fn file_name(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len() + 8);
    for (at, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if plain || (byte == b'.' && at > 0) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    if encoded.len() <= ENCODED_LEN_MAX {
        return encoded;
    }
    encoded.truncate(START_LEN);
    encoded.push('~');
    for byte in Sha256::digest(name.as_bytes()) {
        let _ = write!(encoded, "{byte:02x}");
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_are_one_plain_component() {
        let long = "/".repeat(255);
        for name in [".", "..", "../x", "/", "a/b", ".hidden", "a b", "%41", "é", "~", &long] {
            let file = file_name(name);
            assert!(!file.starts_with('.') && !file.contains('/') && file.len() <= 180, "{file}");
            assert!(file.is_ascii());
        }
        assert_eq!(file_name("orders.v1"), "orders.v1");
        assert_ne!(file_name("%41"), file_name("A"));
        let (one, two) = (format!("{long}1"), format!("{long}2"));
        assert_ne!(file_name(&one[1..]), file_name(&two[1..]));
    }

    proptest! {
        #[test]
        fn two_names_never_share_a_file(one in "\\PC{1,40}", two in "\\PC{1,40}") {
            prop_assert_eq!(one == two, file_name(&one) == file_name(&two));
        }
    }
}
