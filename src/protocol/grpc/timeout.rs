//! The header `grpc-timeout`: at most eight digits and a unit.

use std::time::Duration;

use crate::protocol::status::{Status, code};

/// Parses the header, or returns the status with which Go's server ends the call.
pub fn parse_timeout(value: &str) -> Result<Duration, Status> {
    let malformed = |why: &str| {
        Status::new(code::INTERNAL, format!("malformed grpc-timeout: transport: {why}: {value:?}"))
    };
    if value.len() < 2 {
        return Err(malformed("timeout string is too short"));
    }
    if value.len() > 9 {
        return Err(malformed("timeout string is too long"));
    }
    let Some((digits, unit)) = value.split_at_checked(value.len() - 1) else {
        return Err(malformed("timeout unit is not recognized"));
    };
    let unit = match unit {
        "H" => Duration::from_secs(3600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return Err(malformed("timeout unit is not recognized")),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed("timeout is not a number"));
    }
    let count: u32 = digits.parse().expect("eight digits fit");
    // 99,999,999 hours are 11,000 years, which a Duration holds.
    Ok(unit * count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_gos() {
        assert_eq!(parse_timeout("1H"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_timeout("2M"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_timeout("5S"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_timeout("4999833u"), Ok(Duration::from_micros(4_999_833)));
        assert_eq!(parse_timeout("00000100m"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_timeout("0n"), Ok(Duration::ZERO));
        assert_eq!(parse_timeout("99999999H"), Ok(Duration::from_secs(3600) * 99_999_999));
    }

    #[test]
    fn what_is_malformed_is_named() {
        for value in ["", "S", "100000000S", "5", "5s", "-5S", "+5S", "5.0S", " 5S", "5€", "€"]
        {
            let status = parse_timeout(value).expect_err(value);
            assert_eq!(status.code, code::INTERNAL, "{value}");
            assert!(status.message.starts_with("malformed grpc-timeout: transport: "), "{value}");
        }
    }
}
