//! The one table of what a client is told when the answer is no: gRPC code and text.
//!
//! Clients of etcd tell errors apart by their text, so every text is etcd's, byte for byte.

use std::borrow::Cow;

use crate::types::Refusal;

/// gRPC's status codes.
pub mod code {
    /// The call succeeded.
    pub const OK: u32 = 0;
    /// The caller cancelled the call.
    pub const CANCELED: u32 = 1;
    /// The error has no code of its own.
    pub const UNKNOWN: u32 = 2;
    /// The request is malformed.
    pub const INVALID_ARGUMENT: u32 = 3;
    /// The deadline passed before the answer.
    pub const DEADLINE_EXCEEDED: u32 = 4;
    /// The named thing does not exist.
    pub const NOT_FOUND: u32 = 5;
    /// The named thing exists already.
    pub const ALREADY_EXISTS: u32 = 6;
    /// The caller may not do this.
    pub const PERMISSION_DENIED: u32 = 7;
    /// A limit is reached.
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    /// The state does not allow this.
    pub const FAILED_PRECONDITION: u32 = 9;
    /// The operation was aborted by a conflict.
    pub const ABORTED: u32 = 10;
    /// A number is out of its range.
    pub const OUT_OF_RANGE: u32 = 11;
    /// The server does not implement this.
    pub const UNIMPLEMENTED: u32 = 12;
    /// An invariant is broken.
    pub const INTERNAL: u32 = 13;
    /// The server cannot answer now; a retry may succeed.
    pub const UNAVAILABLE: u32 = 14;
    /// Data is lost or damaged.
    pub const DATA_LOSS: u32 = 15;
    /// The caller is not authenticated.
    pub const UNAUTHENTICATED: u32 = 16;
}

/// How a request ended: gRPC's code and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// One of [`code`]; from a peer it may be any number.
    pub code: u32,
    pub message: Cow<'static, str>,
}

impl Status {
    /// Makes a status with a text known in advance or made for the occasion.
    pub fn new(code: u32, message: impl Into<Cow<'static, str>>) -> Status {
        Status { code, message: message.into() }
    }
}

/// Returns the status that a client is sent for `refusal`.
pub fn of(refusal: &Refusal) -> Status {
    match fixed(refusal) {
        Ok((code, text)) => Status::new(code, text),
        Err((code, text)) => Status::new(code, text.to_owned()),
    }
}

/// `Ok`: the row of a refusal that always says the same. `Err`: the code of one that carries its
/// own text, and that text.
fn fixed(refusal: &Refusal) -> Result<(u32, &'static str), (u32, &str)> {
    use code::*;
    Ok(match refusal {
        Refusal::EmptyKey => (INVALID_ARGUMENT, "etcdserver: key is not provided"),
        Refusal::KeyNotFound => (INVALID_ARGUMENT, "etcdserver: key not found"),
        Refusal::ValueProvided => (INVALID_ARGUMENT, "etcdserver: value is provided"),
        Refusal::LeaseProvided => (INVALID_ARGUMENT, "etcdserver: lease is provided"),
        Refusal::TooManyOps => (INVALID_ARGUMENT, "etcdserver: too many operations in txn request"),
        Refusal::DuplicateKey => {
            (INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
        }
        Refusal::InvalidSortOption => (INVALID_ARGUMENT, "etcdserver: invalid sort option"),
        Refusal::InvalidClientApiVersion => {
            (INVALID_ARGUMENT, "etcdserver: invalid client api version")
        }
        Refusal::Compacted => {
            (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
        }
        Refusal::FutureRevision => {
            (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
        }
        Refusal::NoSpace => (RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
        Refusal::Corrupt => (DATA_LOSS, "etcdserver: corrupt cluster"),
        Refusal::LeaseNotFound => (NOT_FOUND, "etcdserver: requested lease not found"),
        Refusal::LeaseExist => (FAILED_PRECONDITION, "etcdserver: lease already exists"),
        Refusal::LeaseTtlTooLarge => (OUT_OF_RANGE, "etcdserver: too large lease TTL"),
        Refusal::WatchCanceled => (CANCELED, "etcdserver: watch canceled"),
        Refusal::RequestTooLarge => (INVALID_ARGUMENT, "etcdserver: request is too large"),
        // Declared ResourceExhausted by etcd, but what its servers send is Unknown.
        Refusal::TooManyRequests => (UNKNOWN, "etcdserver: too many requests"),
        Refusal::NoLeader => (UNAVAILABLE, "etcdserver: no leader"),
        Refusal::NotLeader => (FAILED_PRECONDITION, "etcdserver: not leader"),
        Refusal::LeaderChanged => (UNAVAILABLE, "etcdserver: leader changed"),
        Refusal::Stopped => (UNAVAILABLE, "etcdserver: server stopped"),
        Refusal::Timeout => (UNAVAILABLE, "etcdserver: request timed out"),
        Refusal::TimeoutLeaderFailed => {
            (UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure")
        }
        // etcd passes these two on as Go's own texts, without its prefix.
        Refusal::DeadlineExceeded => (DEADLINE_EXCEEDED, "context deadline exceeded"),
        Refusal::Canceled => (CANCELED, "context canceled"),
        Refusal::MemberNotFound => (NOT_FOUND, "etcdserver: member not found"),
        Refusal::NotSupportedForLearner => {
            (FAILED_PRECONDITION, "etcdserver: rpc not supported for learner")
        }
        Refusal::Unimplemented(text) => return Err((UNIMPLEMENTED, text)),
        Refusal::Invalid(text) => return Err((INVALID_ARGUMENT, text)),
        Refusal::Undecodable(text) | Refusal::Internal(text) => return Err((INTERNAL, text)),
    })
}

/// Returns gRPC's name of a code as Go spells it, which is what etcd's metrics and texts show.
pub fn code_name(code: u32) -> Cow<'static, str> {
    Cow::Borrowed(match code {
        code::OK => "OK",
        code::CANCELED => "Canceled",
        code::UNKNOWN => "Unknown",
        code::INVALID_ARGUMENT => "InvalidArgument",
        code::DEADLINE_EXCEEDED => "DeadlineExceeded",
        code::NOT_FOUND => "NotFound",
        code::ALREADY_EXISTS => "AlreadyExists",
        code::PERMISSION_DENIED => "PermissionDenied",
        code::RESOURCE_EXHAUSTED => "ResourceExhausted",
        code::FAILED_PRECONDITION => "FailedPrecondition",
        code::ABORTED => "Aborted",
        code::OUT_OF_RANGE => "OutOfRange",
        code::UNIMPLEMENTED => "Unimplemented",
        code::INTERNAL => "Internal",
        code::UNAVAILABLE => "Unavailable",
        code::DATA_LOSS => "DataLoss",
        code::UNAUTHENTICATED => "Unauthenticated",
        _ => return Cow::Owned(format!("Code({code})")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of etcd's own table, written down a second time so that a slip in either shows.
    #[test]
    fn texts_and_codes_are_etcds() {
        let rows = [
            (Refusal::EmptyKey, 3, "key is not provided"),
            (Refusal::KeyNotFound, 3, "key not found"),
            (Refusal::ValueProvided, 3, "value is provided"),
            (Refusal::LeaseProvided, 3, "lease is provided"),
            (Refusal::TooManyOps, 3, "too many operations in txn request"),
            (Refusal::DuplicateKey, 3, "duplicate key given in txn request"),
            (Refusal::InvalidClientApiVersion, 3, "invalid client api version"),
            (Refusal::InvalidSortOption, 3, "invalid sort option"),
            (Refusal::Compacted, 11, "mvcc: required revision has been compacted"),
            (Refusal::FutureRevision, 11, "mvcc: required revision is a future revision"),
            (Refusal::NoSpace, 8, "mvcc: database space exceeded"),
            (Refusal::LeaseNotFound, 5, "requested lease not found"),
            (Refusal::LeaseExist, 9, "lease already exists"),
            (Refusal::LeaseTtlTooLarge, 11, "too large lease TTL"),
            (Refusal::WatchCanceled, 1, "watch canceled"),
            (Refusal::MemberNotFound, 5, "member not found"),
            (Refusal::RequestTooLarge, 3, "request is too large"),
            (Refusal::TooManyRequests, 2, "too many requests"),
            (Refusal::NoLeader, 14, "no leader"),
            (Refusal::NotLeader, 9, "not leader"),
            (Refusal::LeaderChanged, 14, "leader changed"),
            (Refusal::Stopped, 14, "server stopped"),
            (Refusal::Timeout, 14, "request timed out"),
            (
                Refusal::TimeoutLeaderFailed,
                14,
                "request timed out, possibly due to previous leader failure",
            ),
            (Refusal::Corrupt, 15, "corrupt cluster"),
            (Refusal::NotSupportedForLearner, 9, "rpc not supported for learner"),
        ];
        for (refusal, code, text) in rows {
            let status = of(&refusal);
            assert_eq!(status.code, code, "{refusal:?}");
            assert_eq!(status.message, format!("etcdserver: {text}"), "{refusal:?}");
        }
    }

    #[test]
    fn refusals_with_a_text_pass_it_on() {
        assert_eq!(of(&Refusal::Unimplemented("no".into())), Status::new(12, "no"));
        assert_eq!(of(&Refusal::Invalid("bad".into())), Status::new(3, "bad"));
        assert_eq!(of(&Refusal::Internal("odd".into())), Status::new(13, "odd"));
        assert_eq!(of(&Refusal::Undecodable("cut".into())), Status::new(13, "cut"));
        assert_eq!(of(&Refusal::DeadlineExceeded), Status::new(4, "context deadline exceeded"));
        assert_eq!(of(&Refusal::Canceled), Status::new(1, "context canceled"));
    }

    #[test]
    fn code_names_are_gos() {
        let names: Vec<_> = (0..=17).map(code_name).collect();
        assert_eq!(names[0], "OK");
        assert_eq!(names[1], "Canceled");
        assert_eq!(names[16], "Unauthenticated");
        assert_eq!(names[17], "Code(17)");
    }
}
