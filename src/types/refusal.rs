//! Every answer that says no.

/// Why a request was not carried out. `protocol::status` holds the one table of the gRPC code and
/// etcd's text of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A key is empty.
    EmptyKey,
    /// A put keeps the value or lease of a key that does not exist.
    KeyNotFound,
    /// A put that keeps the value brings one.
    ValueProvided,
    /// A put that keeps the lease names one.
    LeaseProvided,
    /// A txn has more operations than `--max-txn-ops`.
    TooManyOps,
    /// A txn puts one key twice, or puts what it deletes.
    DuplicateKey,
    /// The sort order or target is unknown.
    InvalidSortOption,
    /// The revision is compacted.
    Compacted,
    /// The revision is above the newest.
    FutureRevision,
    /// The quota is used up: the alarm NOSPACE is raised.
    NoSpace,
    /// The alarm CORRUPT is raised.
    Corrupt,
    /// The lease does not exist.
    LeaseNotFound,
    /// A lease with this number exists.
    LeaseExist,
    /// The TTL is above etcd's maximum.
    LeaseTtlTooLarge,
    /// A watch stream was ended.
    WatchCanceled,
    /// The request has more bytes than `--max-request-bytes`.
    RequestTooLarge,
    /// A queue is full.
    TooManyRequests,
    /// No leader is known.
    NoLeader,
    /// This member does not lead.
    NotLeader,
    /// The leader changed: whether the request took effect is unknown.
    LeaderChanged,
    /// The member stops.
    Stopped,
    /// The answer took longer than etcd's request timeout; the outcome is unknown.
    Timeout,
    /// The client's own deadline had passed before the request was evaluated.
    DeadlineExceeded,
    /// The client left.
    Canceled,
    /// The member does not exist.
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
