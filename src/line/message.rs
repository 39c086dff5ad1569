//! Messages between the leader and the shards: orders and reports.
//!
//! Within a member these travel through mailboxes, in order and without loss; every message of a
//! round carries the epoch and the round, so that one of an earlier epoch is noticed and dropped.

use std::sync::Arc;

use super::routed::RoutedPath;
use crate::types::{Compare, Epoch, OpReply, Origin, Refusal, Revision, ShardId, ShardSet, Sub};

/// The number of a round within its epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundId(pub u64);

/// The replies of a share's operations; nothing for a blind path.
pub type ShareReply = Vec<(Sub, OpReply)>;

/// Whether a compare holds on one shard's part of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompareShare {
    /// Some key of the range is here.
    pub matched: bool,
    /// Every such key satisfies the compare. Without one: whether a missing key would.
    pub holds: bool,
}

impl CompareShare {
    /// The compare's answer from those of all shards that its range touches: a missing key is
    /// judged only if no shard has one.
    pub fn combine(shares: impl Iterator<Item = CompareShare> + Clone) -> bool {
        if shares.clone().any(|share| share.matched) {
            shares.filter(|share| share.matched).all(|share| share.holds)
        } else {
            shares.map(|share| share.holds).next().unwrap_or(false)
        }
    }
}

/// From the leader to one shard.
#[derive(Clone, Debug)]
pub enum Order {
    /// Win the group's leadership and report what its log holds above the stable it knows.
    Campaign,
    /// Log that `epoch` inherits everything up to `cut` and nothing above.
    Open { epoch: Epoch, cut: Revision },
    /// Every group has committed its `Open`: evaluate.
    Serve { epoch: Epoch },
    /// The epoch is over: evaluate nothing more.
    Halt,
    /// Evaluate no write until this round's `Execute` or `Thaw`; answer compares, and check shares
    /// that are already known. Blind paths need no check. `bytes`: what all shares together add to
    /// a log at most; the freeze waits until that has room, for nothing may refuse it afterwards.
    Freeze {
        epoch: Epoch,
        round: RoundId,
        bytes: usize,
        compares: Vec<RequestCompares>,
        check: Vec<RequestShare>,
        current: Revision,
    },
    /// Say of each share whether it is refused and whether it changes anything, keeping nothing.
    Check { epoch: Epoch, round: RoundId, shares: Vec<RequestShare>, current: Revision },
    /// Log what changes, run what only reads, thaw. `reports`: some share comes to something that
    /// the shard has to report.
    Execute { epoch: Epoch, round: RoundId, shares: Vec<RequestExecute>, reports: bool },
    /// Decide these compares over ranges and, if the path is known, find what its deletions will
    /// hit, while everything goes on; and say so. It takes the place of what was to be prepared
    /// before; the round is its number only.
    Prepare {
        epoch: Epoch,
        round: RoundId,
        compares: Arc<[Compare]>,
        path: Option<Arc<RoutedPath>>,
    },
    /// What is prepared will not come.
    Abandon { epoch: Epoch },
    /// The round came to nothing here: thaw.
    Thaw { epoch: Epoch, round: RoundId },
    /// Log that history below `revision` goes.
    Compact { revision: Revision },
}

/// The compares of one round request that concern one shard, by their place in
/// [`crate::types::txn::compares`].
#[derive(Clone, Debug)]
pub struct RequestCompares {
    pub slot: u16,
    pub compares: Vec<(u32, Compare)>,
}

/// A shard's share of one round request. `slot` is the request's position in its round.
#[derive(Clone, Debug)]
pub struct RequestShare {
    pub slot: u16,
    pub path: Arc<RoutedPath>,
}

/// A share to run.
#[derive(Clone, Debug)]
pub struct RequestExecute {
    pub slot: u16,
    /// The request's revision and everyone who logs something at it; `None` if it changes nothing.
    pub change: Option<(Revision, ShardSet)>,
    pub path: Arc<RoutedPath>,
}

/// A revision above the stable that a shard knows, and everyone who has a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub revision: Revision,
    pub participants: ShardSet,
}

/// From a shard to the leader.
#[derive(Clone, Debug)]
pub enum Report {
    /// The shard's group is led from here and knows what is committed.
    Led { shard: ShardId, stable: Revision, found: Vec<Found> },
    /// The shard has applied `Open` of this epoch.
    Opened { shard: ShardId, epoch: Epoch },
    /// The shard's group is no longer led from here.
    Lost { shard: ShardId },
    /// Frozen, with the answers to what the freeze asked.
    Frozen {
        shard: ShardId,
        epoch: Epoch,
        round: RoundId,
        /// The newest revision that the shard holds, pending ones included.
        newest: Revision,
        compares: Vec<(u16, Vec<(u32, CompareShare)>)>,
        verdicts: Vec<(u16, Verdict)>,
        /// Why it takes no puts, if it takes none: the verdict on every blind path.
        refuses_puts: Option<Refusal>,
    },
    /// The requests in these slots have to wait for another round: those that delete or compare so
    /// many keys here that they have to be prepared first, and those for which the others of the
    /// round have left too little. It comes before the report of the freeze or the check that
    /// found it.
    PutOff { shard: ShardId, epoch: Epoch, round: RoundId, unprepared: Vec<u16>, later: Vec<u16> },
    /// What was ordered to be prepared is.
    Prepared { shard: ShardId, epoch: Epoch, round: RoundId },
    /// The answers to a check.
    Checked { shard: ShardId, epoch: Epoch, round: RoundId, verdicts: Vec<(u16, Verdict)> },
    /// The results of shares, but for blind ones; all of the round are logged. One that reads much
    /// comes later than the others, in a report of its own.
    Executed { shard: ShardId, epoch: Epoch, round: RoundId, replies: Vec<(u16, ShareReply)> },
    /// The compaction is applied: reads below it are refused.
    Compacted { shard: ShardId, revision: Revision },
    /// History below it is gone from memory.
    CompactedPhysically { shard: ShardId, revision: Revision },
}

/// The verdict on a share: whether it would change anything, or which operation is refused and why.
pub type Verdict = Result<bool, (Sub, Refusal)>;

/// A request that a round has finished, for the router that has the call.
#[derive(Clone, Debug)]
pub struct Finished {
    pub origin: Origin,
    /// Released when stable reaches it.
    pub revision: Revision,
    pub outcome: Result<Executed, Refusal>,
}

/// The path that was taken and what each shard made of its share.
#[derive(Clone, Debug)]
pub struct Executed {
    pub path: Arc<RoutedPath>,
    pub shares: Vec<ShareReply>,
}
