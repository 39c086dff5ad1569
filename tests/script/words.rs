//! Words of a command line and bytes as text.

/// One word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub bytes: Vec<u8>,
    /// In quotes, so never an option.
    pub quoted: bool,
}

impl Word {
    /// The word as an option or a keyword; a quoted one is neither.
    pub fn bare(&self) -> Option<&str> {
        if self.quoted { None } else { std::str::from_utf8(&self.bytes).ok() }
    }
}

/// Splits a line into words.
pub fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(' ');
    while !rest.is_empty() {
        let (word, tail) = match rest.strip_prefix('"') {
            Some(inner) => quoted(inner)?,
            None => bare(rest)?,
        };
        words.push(word);
        if !tail.is_empty() && !tail.starts_with(' ') {
            return Err(format!("a space is missing before {tail:?}"));
        }
        rest = tail.trim_start_matches(' ');
    }
    Ok(words)
}

fn bare(rest: &str) -> Result<(Word, &str), String> {
    let (text, tail) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    let bytes = match text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
        Some(inner) => {
            let (unit, times) = inner.split_once('*').ok_or("expected {text*count}")?;
            let times: usize = times.parse().map_err(|_| format!("not a count: {times}"))?;
            return Ok((Word { bytes: unit.repeat(times).into_bytes(), quoted: true }, tail));
        }
        None => text.as_bytes().to_vec(),
    };
    Ok((Word { bytes, quoted: false }, tail))
}

fn quoted(inner: &str) -> Result<(Word, &str), String> {
    let mut bytes = Vec::new();
    let mut chars = inner.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((Word { bytes, quoted: true }, &inner[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => bytes.push(b'\n'),
                Some((_, quote @ ('"' | '\\'))) => bytes.push(quote as u8),
                Some((at, 'x')) => {
                    let digits = inner.get(at + 1..at + 3).ok_or("two digits follow \\x")?;
                    bytes.push(u8::from_str_radix(digits, 16).map_err(|e| format!("\\x: {e}"))?);
                    chars.next();
                    chars.next();
                }
                other => return Err(format!("unknown escape {other:?}")),
            },
            plain => bytes.extend(plain.to_string().bytes()),
        }
    }
    Err("the closing quote is missing".to_owned())
}

/// Bytes as a word that [`split`] reads back.
pub fn text(bytes: &[u8]) -> String {
    if bytes.len() > 60 && bytes.iter().all(|byte| *byte == bytes[0]) && bytes[0].is_ascii_graphic()
    {
        return format!("{{{}*{}}}", char::from(bytes[0]), bytes.len());
    }
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\{}".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text.push('"');
    text
}
