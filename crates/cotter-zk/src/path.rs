//! Which paths a server takes, checked before anything is sent.

use crate::error::Error;

/// Checks a path by the rules of ZooKeeper's `PathUtils`. A sequential node may have an empty last
/// name: the server adds the number.
pub(crate) fn check(path: &str, is_sequential: bool) -> Result<(), Error> {
    match flaw(path, is_sequential) {
        None => Ok(()),
        Some(flaw) => Err(Error::Invalid(format!("the path {path:?} {flaw}"))),
    }
}

fn flaw(path: &str, is_sequential: bool) -> Option<&'static str> {
    let Some(names) = path.strip_prefix('/') else {
        return Some("does not start with a slash");
    };
    if names.is_empty() {
        return None;
    }
    let mut names = names.split('/').peekable();
    while let Some(name) = names.next() {
        let is_last = names.peek().is_none();
        if name.is_empty() && !(is_last && is_sequential) {
            return Some(if is_last { "ends with a slash" } else { "has an empty name" });
        }
        if matches!(name, "." | "..") && !(is_last && is_sequential) {
            return Some("is relative");
        }
        if !name.chars().all(is_allowed) {
            return Some("has a character that servers refuse");
        }
    }
    None
}

fn is_allowed(character: char) -> bool {
    !matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_judged_as_the_server_does() {
        for good in ["/", "/a", "/a/b", "/a b/ü", "/...", "/.a", "/a/..b", "/zookeeper/quota"] {
            assert_eq!(flaw(good, false), None, "{good}");
        }
        let bad = ["", "a", "//", "/a/", "/a//b", "/.", "/..", "/a/../b", "/a/.", "/\0", "/a\u{1}"];
        for bad in bad.into_iter().chain(["/\u{7f}", "/\u{9f}", "/\u{f000}", "/\u{fff0}"]) {
            assert!(flaw(bad, false).is_some(), "{bad:?}");
        }
        assert_eq!(flaw("/a/", true), None);
        assert_eq!(flaw("/", true), None);
        assert!(flaw("/a//", true).is_some());
    }
}
