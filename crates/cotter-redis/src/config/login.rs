//! Credentials that do not stand in a URL.

use std::path::Path;

use cotter_core::Result;

use super::wrong;
use crate::link::Login;

/// A file that others can read is refused: a password in it is one no more.
pub(super) fn read_login(path: &Path) -> Result<Login> {
    use std::os::unix::fs::PermissionsExt as _;
    let unreadable = |error: std::io::Error| {
        wrong(format!("the credentials in {} cannot be read: {error}", path.display()))
    };
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if about.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        return Err(wrong(format!("others can read the credentials in {path}; chmod 600 it")));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse_login(&text, &path.display().to_string())
}

/// `user:password`, or a password that has no colon.
pub(super) fn parse_login(text: &str, from: &str) -> Result<Login> {
    let text = text.trim_end_matches(['\r', '\n']);
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (Some(user.to_owned()), password),
        None => (None, text),
    };
    if password.is_empty() {
        return Err(wrong(format!("{from} says neither user:password nor a password")));
    }
    let user = user.filter(|user| !user.is_empty());
    Ok(Login { user, password: password.to_owned() })
}
