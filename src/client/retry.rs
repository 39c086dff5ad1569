//! Which failures may be tried again, and when.
//!
//! A read is repeated whenever the server was not there for it. A write is repeated only if it
//! certainly never reached a server: a write whose outcome is unknown stays so.

use std::time::Duration;

use super::Error;
use super::error::code;

/// The pause after every endpoint was tried once.
const BACKOFF: Duration = Duration::from_millis(25);

/// Whether a request that failed with `error` may be sent again.
pub(super) fn allowed(error: &Error, repeatable: bool) -> bool {
    error.never_sent() || (repeatable && error.code() == code::UNAVAILABLE)
}

/// Returns the pause after so many failures.
pub(super) fn backoff(failures: usize, endpoints: usize) -> Duration {
    if failures.is_multiple_of(endpoints) { BACKOFF } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_never_repeated_once_it_may_have_left() {
        let lost = |sent| Error::Lost { endpoint: "e".into(), reason: "r".into(), sent };
        let status = |code| Error::Status { code, message: String::new() };
        let connect = Error::Connect { endpoint: "e".into(), reason: "r".into() };
        for (error, read, write) in [
            (connect, true, true),
            (lost(false), true, true),
            (lost(true), true, false),
            (status(code::UNAVAILABLE), true, false),
            (status(code::INVALID_ARGUMENT), false, false),
            (status(code::DEADLINE_EXCEEDED), false, false),
            (Error::Timeout { last: None, sent: true }, false, false),
            (Error::Invalid(String::new()), false, false),
        ] {
            assert_eq!(allowed(&error, true), read, "read after {error:?}");
            assert_eq!(allowed(&error, false), write, "write after {error:?}");
            assert!(!(error.outcome_unknown() && allowed(&error, false)));
        }
    }

    #[test]
    fn endpoints_are_gone_through_before_a_pause() {
        let pauses: Vec<bool> = (1..=6).map(|n| !backoff(n, 3).is_zero()).collect();
        assert_eq!(pauses, [false, false, true, false, false, true]);
        assert!(!backoff(1, 1).is_zero());
    }
}
