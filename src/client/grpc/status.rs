//! gRPC's outcome in HTTP headers: `grpc-status`, `grpc-message`, and `grpc-timeout` on the way up.

use std::time::Duration;

use http::HeaderMap;

use crate::client::Error;
use crate::client::error::code;
use crate::protocol::grpc::percent_decode;

/// Reads the status in headers or trailers; `None` if there is none.
pub(super) fn outcome(headers: &HeaderMap) -> Option<Result<(), Error>> {
    let number = headers.get("grpc-status")?;
    let number = number.to_str().ok().and_then(|text| text.parse().ok());
    let message = headers.get("grpc-message").and_then(|value| value.to_str().ok());
    Some(match number {
        Some(code::OK) => Ok(()),
        code => Err(Error::Status {
            code: code.unwrap_or(code::UNKNOWN),
            message: percent_decode(message.unwrap_or_default()),
        }),
    })
}

/// Maps an HTTP status without a gRPC status, by gRPC's rule.
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

/// Returns the value of `grpc-timeout`: at most eight digits and a unit, rounded up.
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
