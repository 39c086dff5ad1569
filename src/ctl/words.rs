//! A line of input as words, for the commands that read lines: `txn` and `watch`.

use crate::gotext;

/// Splits a line into words: `"..."` with Go's escapes, `'...'` as it stands, and anything else up
/// to the next space. A quote without its pair is passed over. `None` for a bad escape.
pub fn words(line: &str) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => double_quoted(rest),
            '\'' => rest[1..].find('\'').map(|end| end + 2),
            c if c.is_ascii_whitespace() => None,
            _ => Some(rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len())),
        };
        let Some(length) = length else {
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (word, tail) = rest.split_at(length);
        words.push(match first {
            '"' => gotext::unquote_prefix(word)?.0,
            '\'' => word.as_bytes()[1..length - 1].to_vec(),
            _ => word.as_bytes().to_vec(),
        });
        rest = tail;
    }
    Some(words)
}

/// Returns the length of a double-quoted word with both its quotes, if it ends.
fn double_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_the_quoting_rules() {
        let split = |line| words(line).expect(line);
        assert_eq!(split(r#"put "a b" '\n"x' c"#), [&b"put"[..], b"a b", br#"\n"x"#, b"c"]);
        assert_eq!(split(r#"put "a" b"c d"e"#), [&b"put"[..], b"a", b"b\"c", b"d\"e"]);
        assert_eq!(split(r#""\x41\n" "#), [b"A\n"]);
        assert_eq!(split(r#"get "" x"#), [&b"get"[..], b"", b"x"]);
        assert_eq!(split(r#"a "unclosed 'b"#), [&b"a"[..], b"unclosed", b"b"]);
        assert_eq!(words(r#"put a "\q""#), None);
        assert_eq!(split("é 'ü'"), ["é".as_bytes(), "ü".as_bytes()]);
    }
}
