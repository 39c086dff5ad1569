//! Reasons for which a watcher ends.

use std::fmt;

use crate::client::Error;
use crate::client::error::code;
use crate::protocol::pb::etcdserverpb as pb;

/// The end of a watcher that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server has dropped history that the watcher had not had yet; a new one can start at
    /// `compact_revision`.
    Compacted { compact_revision: i64 },
    /// The server refused or ended the watcher, in its own words.
    Canceled { reason: String },
    /// There is no stream to be had.
    Failed(Error),
}

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

impl End {
    /// Reads the end out of a response that cancels a watcher.
    pub fn of(response: &pb::WatchResponse) -> End {
        if response.compact_revision != 0 {
            return End::Compacted { compact_revision: response.compact_revision };
        }
        let reason = match response.cancel_reason.as_str() {
            "" => "etcdserver: mvcc: required revision is a future revision",
            reason => reason,
        };
        End::Canceled { reason: reason.to_owned() }
    }

    /// Whether it is that history is gone, whichever way the server put it.
    pub fn is_compacted(&self) -> bool {
        match self {
            End::Compacted { .. } => true,
            End::Canceled { reason } => reason == COMPACTED,
            End::Failed(_) => false,
        }
    }
}

impl fmt::Display for End {
    /// As etcdctl prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Compacted { .. } => f.write_str(COMPACTED),
            End::Canceled { reason } => f.write_str(reason),
            End::Failed(Error::Status { message, .. }) => f.write_str(message),
            End::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for End {}

impl From<End> for Error {
    /// For callers to whom the watcher was only a means.
    fn from(end: End) -> Error {
        match end {
            End::Failed(error) => error,
            End::Compacted { .. } => {
                Error::Status { code: code::OUT_OF_RANGE, message: COMPACTED.to_owned() }
            }
            End::Canceled { reason } => Error::Status { code: code::UNKNOWN, message: reason },
        }
    }
}

/// Whether another stream may do better after one has ended so.
///
/// As etcd's client judges it: a member that is not there or in disorder is worth another attempt;
/// one that was asked to say when it has no leader has said so.
pub(super) fn is_passing(error: &Error) -> bool {
    const NO_LEADER: &str = "etcdserver: no leader";
    match error {
        Error::Status { message, .. } if message == NO_LEADER => false,
        Error::Timeout { .. } => true,
        error => matches!(error.code(), code::UNAVAILABLE | code::INTERNAL),
    }
}
