//! Errors between a request and its answer, and whether the outcome is known after them.

use std::fmt;

pub use crate::protocol::status::{code, code_name};

/// A request that got no answer, or the answer no.
///
/// Whether the request may have been carried out is what matters to the caller of a write:
/// [`Error::outcome_unknown`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server answered with a status other than OK.
    Status { code: u32, message: String },
    /// No connection could be made; nothing was sent.
    Connect { endpoint: String, reason: String },
    /// The connection was lost, or refused the request, before an answer came. `sent` says whether
    /// the server may have seen the request.
    Lost { endpoint: String, reason: String, sent: bool },
    /// The deadline passed. `last` is what went wrong before it did, if anything; `sent` says
    /// whether a request was under way.
    Timeout { last: Option<String>, sent: bool },
    /// The server's bytes are not the protocol's.
    Protocol { endpoint: String, reason: String },
    /// The options or the request cannot be used as given.
    Invalid(String),
}

/// Messages of etcd's own that its client does not know by text, and hence prints in gRPC's form.
const NOT_IN_CLIENT_TABLE: [&str; 5] = [
    "etcdserver: permission not given",
    "etcdserver: request timed out, waiting for the applied index took too long",
    "etcdserver: request timed out, leader transfer took too long",
    "etcdserver: unknown method",
    "etcdserver: context deadline exceeded",
];

impl Error {
    /// Returns the gRPC status code this error amounts to.
    pub fn code(&self) -> u32 {
        match self {
            Error::Status { code, .. } => *code,
            Error::Connect { .. } | Error::Lost { .. } => code::UNAVAILABLE,
            Error::Timeout { .. } => code::DEADLINE_EXCEEDED,
            Error::Protocol { .. } => code::INTERNAL,
            Error::Invalid(_) => code::INVALID_ARGUMENT,
        }
    }

    /// Whether a write that ended so may or may not have been carried out.
    ///
    /// etcd answers Unavailable and DeadlineExceeded also for proposals that commit later.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Error::Status { code, .. } => matches!(
                *code,
                code::UNAVAILABLE
                    | code::DEADLINE_EXCEEDED
                    | code::CANCELED
                    | code::UNKNOWN
                    | code::INTERNAL
                    | code::DATA_LOSS
            ),
            Error::Lost { sent, .. } | Error::Timeout { sent, .. } => *sent,
            // It may be the answer that is broken.
            Error::Protocol { .. } => true,
            Error::Connect { .. } | Error::Invalid(_) => false,
        }
    }

    /// Whether the server certainly never saw the request, so that even a write may go elsewhere.
    pub(super) fn never_sent(&self) -> bool {
        matches!(self, Error::Connect { .. } | Error::Lost { sent: false, .. })
    }
}

impl fmt::Display for Error {
    /// As etcdctl prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Status { message, .. }
                if message.starts_with("etcdserver: ")
                    && !NOT_IN_CLIENT_TABLE.contains(&message.as_str()) =>
            {
                f.write_str(message)
            }
            Error::Status { code, message } => {
                write!(f, "rpc error: code = {} desc = {message}", code_name(*code))
            }
            Error::Connect { endpoint, reason } => {
                write!(f, "cannot connect to {endpoint}: {reason}")
            }
            Error::Lost { endpoint, reason, .. } => {
                write!(f, "lost the connection to {endpoint}: {reason}")
            }
            Error::Timeout { .. } => f.write_str("context deadline exceeded"),
            Error::Protocol { endpoint, reason } => {
                write!(f, "{endpoint} broke the protocol: {reason}")
            }
            Error::Invalid(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_messages_are_printed_bare_and_others_in_grpc_form() {
        let status = |code, message: &str| Error::Status { code, message: message.to_owned() };
        assert_eq!(
            status(11, "etcdserver: mvcc: required revision has been compacted").to_string(),
            "etcdserver: mvcc: required revision has been compacted"
        );
        assert_eq!(
            status(12, "RangeStream does not support revision filters").to_string(),
            "rpc error: code = Unimplemented desc = RangeStream does not support revision filters"
        );
        assert_eq!(
            status(3, "etcdserver: permission not given").to_string(),
            "rpc error: code = InvalidArgument desc = etcdserver: permission not given"
        );
        assert_eq!(status(77, "x").to_string(), "rpc error: code = Code(77) desc = x");
    }

    #[test]
    fn the_outcome_is_unknown_only_if_the_request_may_have_left() {
        let lost = |sent| Error::Lost { endpoint: "e".into(), reason: "r".into(), sent };
        assert!(lost(true).outcome_unknown() && !lost(false).outcome_unknown());
        assert!(lost(false).never_sent() && !lost(true).never_sent());
        let status = |code| Error::Status { code, message: String::new() };
        assert!(status(code::UNAVAILABLE).outcome_unknown());
        assert!(!status(code::INVALID_ARGUMENT).outcome_unknown());
        assert!(!status(code::UNAVAILABLE).never_sent());
    }
}
