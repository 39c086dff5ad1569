//! gRPC's outcome in HTTP headers: `grpc-status`, `grpc-message`, and `grpc-timeout` on the way up.

use std::time::Duration;

use http::HeaderMap;

use crate::client::Error;
use crate::client::error::code;

/// What headers or trailers say: `None` without a status.
pub(super) fn outcome(headers: &HeaderMap) -> Option<Result<(), Error>> {
    let number = headers.get("grpc-status")?;
    let number = number.to_str().ok().and_then(|text| text.parse().ok());
    let message = headers.get("grpc-message").map_or(&b""[..], |value| value.as_bytes());
    Some(match number {
        Some(code::OK) => Ok(()),
        code => Err(Error::Status {
            code: code.unwrap_or(code::UNKNOWN),
            message: percent_decode(message),
        }),
    })
}

/// gRPC's rule for an HTTP status without a gRPC status.
pub(super) fn of_http(status: http::StatusCode, endpoint: &str) -> Error {
    let code = match status.as_u16() {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502 | 503 | 504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    };
    let message = format!("unexpected HTTP status code received from server: {status}");
    Error::Status { code, message: format!("{message} ({endpoint})") }
}

fn percent_decode(bytes: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escape = match tail {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// The value of `grpc-timeout`: at most eight digits and a unit, rounded up.
pub(super) fn timeout(left: Duration) -> String {
    const DIGITS: u128 = 100_000_000;
    let nanos = left.as_nanos();
    for (unit, size) in [("n", 1), ("u", 1_000), ("m", 1_000_000), ("S", 1_000_000_000)] {
        let count = nanos.div_ceil(size);
        if count < DIGITS {
            return format!("{count}{unit}");
        }
    }
    format!("{}H", nanos.div_ceil(3_600_000_000_000).min(DIGITS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_decoded_and_broken_escapes_kept() {
        assert_eq!(percent_decode(b"a%20b%C3%A9%2"), "a bé%2");
        assert_eq!(percent_decode(b"%zz%"), "%zz%");
    }

    #[test]
    fn outcomes() {
        let mut headers = HeaderMap::new();
        assert_eq!(outcome(&headers), None);
        headers.insert("grpc-status", "0".parse().expect("a header value"));
        assert_eq!(outcome(&headers), Some(Ok(())));
        headers.insert("grpc-status", "11".parse().expect("a header value"));
        headers.insert("grpc-message", "a%3A b".parse().expect("a header value"));
        let refused = Error::Status { code: 11, message: "a: b".into() };
        assert_eq!(outcome(&headers), Some(Err(refused)));
        headers.insert("grpc-status", "x".parse().expect("a header value"));
        assert!(matches!(outcome(&headers), Some(Err(Error::Status { code: 2, .. }))));
    }

    #[test]
    fn timeouts_fit_eight_digits() {
        assert_eq!(timeout(Duration::from_millis(10)), "10000000n");
        assert_eq!(timeout(Duration::from_secs(5)), "5000000u");
        assert_eq!(timeout(Duration::from_secs(1000)), "1000000m");
        assert_eq!(timeout(Duration::from_secs(1_000_000)), "1000000S");
        assert_eq!(timeout(Duration::MAX), "99999999H");
    }
}
