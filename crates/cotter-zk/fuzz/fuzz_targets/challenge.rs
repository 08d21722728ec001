//! Challenges of SASL DIGEST-MD5, and users to answer them. The first byte says how long the user's
//! name is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((len, rest)) = bytes.split_first() else { return };
    let (user, challenge) = rest.split_at(usize::from(*len).min(rest.len()));
    if let Ok(user) = std::str::from_utf8(user) {
        cotter_zk::fuzz::challenge(user, challenge);
    }
});
