//! The trailer `grpc-message`: UTF-8 with everything but printable ASCII escaped.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'%'
}

/// Returns the text as a header value.
pub fn percent_encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(encoded)
}

/// Returns the text of a header value. Escapes that are none stand for themselves, as in Go; what
/// is not UTF-8 in the end is replaced.
pub fn percent_decode(value: &str) -> String {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte == b'%'
            && let [high, low, tail @ ..] = tail
            && let (Some(high), Some(low)) = (nibble(*high), nibble(*low))
        {
            decoded.push(high << 4 | low);
            rest = tail;
        } else {
            decoded.push(*byte);
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_must_be_is_escaped() {
        assert!(matches!(percent_encode("etcdserver: key not found"), Cow::Borrowed(_)));
        assert_eq!(percent_encode("100% ü\n~\u{7f}"), "100%25 %C3%BC%0A~%7F");
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        assert_eq!(percent_decode("%"), "%");
        assert_eq!(percent_decode("%4"), "%4");
        assert_eq!(percent_decode("%zz%41"), "%zzA");
        assert_eq!(percent_decode("%ff"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in any::<String>()) {
            let encoded = percent_encode(&text);
            prop_assert!(encoded.bytes().all(|byte| (0x20..0x7F).contains(&byte)));
            prop_assert_eq!(percent_decode(&encoded), text);
        }

        #[test]
        fn no_header_value_is_too_strange(value in any::<String>()) {
            let _ = percent_decode(&value);
        }
    }
}
