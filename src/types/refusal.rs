//! Every answer that says no.

/// Why a request was not carried out. `protocol::status` holds the one table of the gRPC code and
/// etcd's text of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    EmptyKey,
    KeyNotFound,
    ValueProvided,
    LeaseProvided,
    TooManyOps,
    DuplicateKey,
    InvalidSortOption,
    Compacted,
    FutureRevision,
    NoSpace,
    Corrupt,
    LeaseNotFound,
    LeaseExist,
    LeaseTtlTooLarge,
    /// A watch stream was ended.
    WatchCanceled,
    RequestTooLarge,
    TooManyRequests,
    NoLeader,
    NotLeader,
    LeaderChanged,
    Stopped,
    Timeout,
    /// The client's own deadline had passed before the request was evaluated.
    DeadlineExceeded,
    /// The client left.
    Canceled,
    MemberNotFound,
    /// A learner was asked for what only voters answer.
    NotSupportedForLearner,
    /// Proposed shortly before a new leader was there, and never answered.
    TimeoutLeaderFailed,
    /// The metadata `client-api-version` is not UTF-8.
    InvalidClientApiVersion,
    /// The bytes of the request are no message of its method; the text says why.
    Undecodable(String),
    /// A method or feature that is not served; the text names it.
    Unimplemented(String),
    /// Anything else that is the request's fault; the text says what.
    Invalid(String),
    /// An impossibility that was noticed in time; the text says what.
    Internal(String),
}
