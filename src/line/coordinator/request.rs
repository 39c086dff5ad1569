//! Requests for rounds, and those that compare or delete so many keys that shards have to prepare
//! them before their round.
//!
//! ```text
//!  round ──PutOff──▶ one is prepared ──Prepared──▶ the next round has it ──▶ Abandon what is left
//!                └─▶ others wait
//! ```
//!
//! What a request compares is decided first. Only then is its path known, and what that deletes: so
//! it may be put off twice, and the shards keep what they have decided. Whatever it finds when its
//! round comes is what counts. One request, or one lease that ends, is prepared at a time.

use crate::line::message::RoundId;
use crate::line::routed::RoundTxn;
use crate::types::{Cancellable, LeaseId, Nanos, Origin, ShardSet};

/// A request that waits for a round.
#[derive(Clone, Debug)]
pub struct RoundRequest {
    pub origin: Origin,
    pub deadline: Option<Nanos>,
    pub txn: RoundTxn,
}

impl Cancellable for RoundRequest {
    type Id = Origin;

    fn id(&self) -> Origin {
        self.origin
    }
}

/// The request that the shards prepare. Once no shard is missing it is in the next round.
#[derive(Debug)]
pub(super) struct Preparing {
    pub round: RoundId,
    pub missing: ShardSet,
    pub what: Large,
}

/// A request, or the end of a lease, that looks at so many keys that it has to be prepared.
#[derive(Debug)]
pub(super) enum Large {
    Request(RoundRequest),
    Lease(LeaseId),
}

impl Large {
    /// Returns the origin that may cancel it.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Large::Request(request) => Some(request.origin),
            Large::Lease(_) => None,
        }
    }
}
