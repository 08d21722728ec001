//! A Rust file as the rules see it: line by line, with comments and strings told apart from code.
//!
//! This is not a parser. It knows comments, strings, characters and braces, which is all that the
//! rules need, and it is wrong only for code that rustfmt would not leave as it is.

/// One line of a file.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// As it stands in the file.
    pub(crate) text: String,
    /// Without comments, and with blanks for the inside of strings and characters.
    pub(crate) code: String,
    /// Without comments.
    pub(crate) code_and_strings: String,
    /// It is part of a test, not of what is shipped.
    pub(crate) is_test: bool,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the workspace's root, with slashes.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, code_and_strings) = without_comments(text);
        let is_test_file = is_test_path(path);
        let mut lines: Vec<Line> = text
            .lines()
            .zip(code.lines())
            .zip(code_and_strings.lines())
            .map(|((text, code), code_and_strings)| Line {
                text: text.to_owned(),
                code: code.to_owned(),
                code_and_strings: code_and_strings.to_owned(),
                is_test: is_test_file,
            })
            .collect();
        mark_test_items(&mut lines);
        Self { path: path.to_owned(), lines }
    }

    /// The lines with their numbers, as editors count them.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The crate it belongs to: the name of its folder.
    pub(crate) fn crate_name(&self) -> &str {
        match self.path.split('/').collect::<Vec<_>>()[..] {
            ["crates" | "examples", name, ..] | [name, ..] => name,
            [] => "",
        }
    }

    /// The index of the line on which the item that starts on this one ends.
    pub(crate) fn end_of_item(&self, start: usize) -> usize {
        end_of_item(&self.lines, start)
    }
}

fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
        // The suite is one large test, which other crates run.
        || path.starts_with("crates/cotter-conformance/")
}

/// Marks every item under `#[cfg(test)]`.
fn mark_test_items(lines: &mut [Line]) {
    let mut index = 0;
    while index < lines.len() {
        let is_mark = lines[index].code.trim_start().starts_with("#[cfg(test)]");
        let end = if is_mark { end_of_item(lines, index) } else { index };
        if is_mark {
            lines[index..=end].iter_mut().for_each(|line| line.is_test = true);
        }
        index = end + 1;
    }
}

/// An item ends with the brace that closes its first one, or with a semicolon before any.
fn end_of_item(lines: &[Line], start: usize) -> usize {
    let mut depth = 0usize;
    for (index, line) in lines.iter().enumerate().skip(start) {
        for character in line.code.chars() {
            match character {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth = depth.saturating_sub(1),
                ';' if depth == 0 => return index,
                _ => {}
            }
            if character == '}' && depth == 0 {
                return index;
            }
        }
    }
    lines.len() - 1
}

/// What the scanner is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text { hashes: Option<usize> },
}

/// The text without comments and without the inside of strings, and the text without comments.
/// Blanks take the place of what is left out, so that lines and columns stay.
fn without_comments(text: &str) -> (String, String) {
    let characters: Vec<char> = text.chars().collect();
    let (mut code, mut kept) =
        (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let mut inside = Inside::Code;
    let mut at = 0;
    while at < characters.len() {
        let (taken, next) = step(&characters, at, inside);
        for character in &characters[at..at + taken] {
            let is_comment = matches!(next, Inside::LineComment | Inside::BlockComment { .. })
                || matches!(inside, Inside::LineComment | Inside::BlockComment { .. });
            let is_hidden = is_comment || inside != Inside::Code || (taken > 1 && next == inside);
            let blank = if *character == '\n' { '\n' } else { ' ' };
            code.push(if is_hidden { blank } else { *character });
            kept.push(if is_comment { blank } else { *character });
        }
        inside = next;
        at += taken;
    }
    (code, kept)
}

/// How many characters to take from here, and what comes after them. Several characters taken from
/// code that stays code are a character literal.
fn step(characters: &[char], at: usize, inside: Inside) -> (usize, Inside) {
    let rest = &characters[at..];
    match inside {
        Inside::Code => step_in_code(characters, at),
        Inside::LineComment if rest[0] == '\n' => (1, Inside::Code),
        Inside::BlockComment { depth } if rest.starts_with(&['/', '*']) => {
            (2, Inside::BlockComment { depth: depth + 1 })
        }
        Inside::BlockComment { depth } if rest.starts_with(&['*', '/']) => {
            (2, if depth == 1 { Inside::Code } else { Inside::BlockComment { depth: depth - 1 } })
        }
        Inside::Text { hashes: None } if rest[0] == '\\' => (rest.len().min(2), inside),
        Inside::Text { hashes } if rest[0] == '"' => {
            let hashes = hashes.unwrap_or(0);
            let is_end = rest[1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
            if is_end { (1 + hashes, Inside::Code) } else { (1, inside) }
        }
        Inside::LineComment | Inside::BlockComment { .. } | Inside::Text { .. } => (1, inside),
    }
}

fn step_in_code(characters: &[char], at: usize) -> (usize, Inside) {
    let rest = &characters[at..];
    let is_in_word = at > 0 && is_word(characters[at - 1]);
    match rest {
        ['/', '/', ..] => (2, Inside::LineComment),
        ['/', '*', ..] => (2, Inside::BlockComment { depth: 1 }),
        ['"', ..] => (1, Inside::Text { hashes: None }),
        ['r', '#' | '"', ..] if !is_in_word || matches!(characters[at - 1], 'b' | 'c') => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            match rest.get(1 + hashes) {
                Some('"') => (2 + hashes, Inside::Text { hashes: Some(hashes) }),
                _ => (1, Inside::Code),
            }
        }
        ['\'', '\\', _, more @ ..] => {
            let until = more.iter().take(12).position(|c| *c == '\'').unwrap_or(0);
            (4 + until, Inside::Code)
        }
        ['\'', _, '\'', ..] => (3, Inside::Code),
        _ => (1, Inside::Code),
    }
}

pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where a word starts in a text, as a whole word.
pub(crate) fn find_word(text: &str, word: &str) -> Option<usize> {
    text.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        without_comments(text).0
    }

    #[test]
    fn comments_strings_and_characters_are_told_from_code() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code(r#"f("{ // \" }") + g"#), r#"f("          ) + g"#);
        assert_eq!(code("r#\"a\"b\"# + c"), "r#\"      + c");
        assert_eq!(code("for"), "for");
        assert_eq!(code("fn f<'a>(x: &'a str, '{', '\\'', '\\u{7b}')").matches('{').count(), 0);
        assert!(code("fn f<'a>(x: &'a str) {}").contains("'a str) {}"));
        let (_, kept) = without_comments("let x = \"redis\"; // redis");
        assert_eq!(kept.matches("redis").count(), 1);
    }

    #[test]
    fn test_items_are_told_from_what_is_shipped() {
        let text =
            "fn a() {}\n#[cfg(test)]\nuse x;\nfn b() {}\n#[cfg(test)]\nmod t {\n  y\n}\nfn c() {}";
        let marks: Vec<bool> =
            Source::new("crates/a/src/a.rs", text).lines.iter().map(|line| line.is_test).collect();
        assert_eq!(marks, [false, true, true, false, true, true, true, true, false]);
        for path in ["crates/a/tests/b.rs", "crates/a/src/file/tests.rs"] {
            assert!(Source::new(path, text).lines.iter().all(|line| line.is_test));
        }
    }

    #[test]
    fn an_item_ends_where_its_brace_does() {
        let source = Source::new("a.rs", "fn a(\n  x: [u8; 2],\n) {\n  { \"}\" }\n}\nfn b();");
        assert_eq!(source.end_of_item(0), 4);
        assert_eq!(source.end_of_item(5), 5);
    }
}
