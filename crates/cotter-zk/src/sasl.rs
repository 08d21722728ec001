//! SASL DIGEST-MD5 (RFC 2831), as far as ZooKeeper uses it: the login alone, nothing is encrypted
//! or signed afterwards. Both sides prove that they know the password without sending it. MD5 is
//! what the mechanism is made of; under TLS that does not matter, without it take it for what it
//! is.
//!
//! ```text
//!   client                                   server
//!     │ ── nothing ────────────────────────────► │
//!     │ ◄───── challenge: realm, nonce, qop ─── │
//!     │ ── response: name, cnonce, digest ────► │
//!     │ ◄───── rspauth: the server's digest ─── │
//! ```

use std::fmt::Write as _;

use md5::{Digest, Md5};

use crate::config::Sasl;

/// What ZooKeeper's servers call themselves here, whatever their host.
const SERVICE: &str = "zookeeper/zk-sasl-md5";

/// The only response of a nonce that this client sends.
const NONCE_COUNT: &str = "00000001";

/// A login under way.
pub(crate) struct Login {
    response: String,
    server_proof: String,
}

impl Login {
    /// Answers a challenge. `cnonce` must not be foreseeable, nor need quoting.
    pub(crate) fn new(sasl: &Sasl, challenge: &[u8], cnonce: &str) -> Result<Self, String> {
        Self::for_service(sasl, challenge, cnonce, SERVICE)
    }

    fn for_service(
        sasl: &Sasl,
        challenge: &[u8],
        cnonce: &str,
        service: &str,
    ) -> Result<Self, String> {
        let text = std::str::from_utf8(challenge).map_err(|_| "the challenge is not text")?;
        let directives = directives(text).ok_or("the challenge is not well-formed")?;
        let of = |wanted: &str| {
            directives.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        if !of("algorithm").is_some_and(|name| name.eq_ignore_ascii_case("md5-sess")) {
            return Err("the server wants another algorithm".into());
        }
        if !of("qop").unwrap_or("auth").split(',').any(|qop| qop.trim() == "auth") {
            return Err("the server wants more than a login".into());
        }
        let nonce = of("nonce").ok_or("the challenge has no nonce")?;
        let realm = of("realm").unwrap_or("");
        let secret = {
            let mut hash = Md5::new();
            hash.update(latin(sasl.user.as_bytes()));
            hash.update(":");
            hash.update(latin(realm.as_bytes()));
            hash.update(":");
            hash.update(latin(sasl.password.expose()));
            hash.finalize()
        };
        let session =
            Md5::new().chain_update(secret).chain_update(format!(":{nonce}:{cnonce}")).finalize();
        let proof = |of: &str| {
            let purpose = hex(&Md5::digest(format!("{of}:{service}")));
            let parts = format!("{}:{nonce}:{NONCE_COUNT}:{cnonce}:auth:{purpose}", hex(&session));
            hex(&Md5::digest(parts))
        };
        let mut response = String::new();
        if of("charset").is_some() {
            response.push_str("charset=utf-8,");
        }
        // Writing to a string cannot fail.
        let _ = write!(
            response,
            "username=\"{}\",realm=\"{}\",nonce=\"{}\",nc={NONCE_COUNT},cnonce=\"{cnonce}\",\
             digest-uri=\"{service}\",response={},qop=auth",
            escape(&sasl.user),
            escape(realm),
            escape(nonce),
            proof("AUTHENTICATE"),
        );
        Ok(Self { response, server_proof: proof("") })
    }

    /// What to send.
    pub(crate) fn response(&self) -> &str {
        &self.response
    }

    /// Whether the server knows the password too.
    pub(crate) fn check_server(&self, proof: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(proof).unwrap_or("");
        let said = directives(text).unwrap_or_default();
        match said.iter().any(|(name, value)| name == "rspauth" && *value == self.server_proof) {
            true => Ok(()),
            false => Err("the server did not prove that it knows the password".into()),
        }
    }
}

/// `name=value, name="quoted \" value"`.
pub(crate) fn directives(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([',', ' ', '\t', '\r', '\n', '\0']);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        found.push((name.trim().to_ascii_lowercase(), value));
        rest = after.trim_start_matches([',', ' ', '\t', '\r', '\n', '\0']);
    }
    Some(found)
}

/// The value up to the closing quote, and what follows that.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(characters.next()?.1),
            (_, character) => value.push(character),
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Text is hashed as ISO 8859-1 where it can be, so that both charsets give one digest.
fn latin(text: &[u8]) -> Vec<u8> {
    let converted = std::str::from_utf8(text).ok().and_then(|text| {
        text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
    });
    converted.unwrap_or_else(|| text.to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &[u8] = b"realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",\
        qop=\"auth\",algorithm=md5-sess,charset=utf-8";

    fn chris() -> Sasl {
        Sasl { user: "chris".into(), password: "secret".into() }
    }

    fn login(challenge: &[u8]) -> Result<Login, String> {
        Login::for_service(&chris(), challenge, "OA6MHXh6VqTrRk", "imap/elwood.innosoft.com")
    }

    #[test]
    fn the_example_of_rfc_2831_comes_out() {
        let login = login(CHALLENGE).expect("a good challenge");
        let expected = "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",\
            nonce=\"OA6MG9tEQGm2hh\",nc=00000001,cnonce=\"OA6MHXh6VqTrRk\",\
            digest-uri=\"imap/elwood.innosoft.com\",\
            response=d388dad90d4bbd760a152321f2143af7,qop=auth";
        assert_eq!(login.response(), expected);
        assert_eq!(login.check_server(b"rspauth=ea40f60335c427b5527b84dbabcdfffd"), Ok(()));
        assert!(login.check_server(b"rspauth=ea40f60335c427b5527b84dbabcdfffe").is_err());
        assert!(login.check_server(b"").is_err());
    }

    #[test]
    fn challenges_that_cannot_be_met_are_refused() {
        let broken: [&[u8]; 6] = [
            b"",
            b"nonsense",
            b"\xff",
            b"nonce=\"open,algorithm=md5-sess",
            b"nonce=\"a\",algorithm=sha-256",
            b"nonce=\"a\",algorithm=md5-sess,qop=\"auth-int,auth-conf\"",
        ];
        for challenge in broken {
            assert!(login(challenge).is_err(), "{}", String::from_utf8_lossy(challenge));
        }
        assert!(login(b"nonce=\"a\" , algorithm=MD5-sess,qop=\"auth-int, auth\"").is_ok());
    }

    #[test]
    fn quotes_and_letters_beyond_ascii_survive() {
        let read = directives(r#"A="x\"y\\z" , b=c"#).expect("well-formed");
        assert_eq!(read, [("a".into(), r#"x"y\z"#.into()), ("b".into(), "c".to_owned())]);
        assert_eq!(escape(r#"x"y\z"#), r#"x\"y\\z"#);
        assert_eq!(latin("é".as_bytes()), [0xe9]);
        assert_eq!(latin("€".as_bytes()), "€".as_bytes());
    }
}
