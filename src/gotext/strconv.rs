//! The functions of Go's package `strconv` that users know by the texts of their errors.

use super::{NumberError, number, quote};

/// `strconv.ParseInt(text, radix, 64)`; radix 0 reads Go's literals.
///
/// # Errors
///
/// Go's text, such as `strconv.ParseInt: parsing "x": invalid syntax`.
pub fn parse_int(text: &str, radix: u32) -> Result<i64, String> {
    number::parse_int(text, radix).map_err(|error| fault("ParseInt", text, error))
}

/// `strconv.ParseUint(text, 0, 32)`.
///
/// # Errors
///
/// Go's text, such as `strconv.ParseUint: parsing "4294967296": value out of range`.
pub fn parse_uint32(text: &str) -> Result<u32, String> {
    number::parse_uint(text, 0)
        .and_then(|value| u32::try_from(value).map_err(|_| NumberError::Range))
        .map_err(|error| fault("ParseUint", text, error))
}

/// `strconv.ParseBool(text)`.
///
/// # Errors
///
/// Go's text, such as `strconv.ParseBool: parsing "x": invalid syntax`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    number::parse_bool(text).map_err(|error| fault("ParseBool", text, error))
}

fn fault(name: &str, text: &str, error: NumberError) -> String {
    let why = match error {
        NumberError::Syntax => "invalid syntax",
        NumberError::Range => "value out of range",
    };
    format!("strconv.{name}: parsing {}: {why}", quote(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        assert_eq!(parse_int("-7", 10), Ok(-7));
        assert_eq!(parse_int("1F", 16), Ok(31));
        assert_eq!(parse_int("0x1f", 0), Ok(31));
        assert_eq!(parse_int("010", 0), Ok(8));
        assert_eq!(parse_int("0", 0), Ok(0));
        assert_eq!(parse_int("-9223372036854775808", 10), Ok(i64::MIN));
        let syntax = "strconv.ParseInt: parsing \"x\": invalid syntax";
        assert_eq!(parse_int("x", 10), Err(syntax.to_owned()));
        assert!(parse_int("--1", 10).is_err() && parse_int("", 10).is_err());
        assert!(parse_int("1_0", 10).is_err() && parse_int("0x1_0", 0) == Ok(16));
        let range = "strconv.ParseInt: parsing \"9223372036854775808\": value out of range";
        assert_eq!(parse_int("9223372036854775808", 10), Err(range.to_owned()));
    }
}
