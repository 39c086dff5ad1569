//! Requests of clients.

use bytes::Bytes;

use super::{KeyRange, LeaseId, MemberId};

/// One request of a client, already checked for form (`protocol::convert`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactRequest),
    Alarm(AlarmRequest),
    Status,
    Hash,
    HashKv(HashKvRequest),
    Defragment,
    /// Lists the members; `linearizable` asks for the leader's list.
    MemberList {
        linearizable: bool,
    },
    LeaseGrant(LeaseGrantRequest),
    LeaseRevoke {
        id: LeaseId,
    },
    LeaseKeepAlive {
        id: LeaseId,
    },
    LeaseTimeToLive(LeaseTimeToLiveRequest),
    LeaseLeases,
}

impl Request {
    /// Whether the answer may name many keys, whatever the size of the request.
    pub fn gathers(&self) -> bool {
        match self {
            Request::Range(range) => range.gathers(),
            Request::DeleteRange(delete) => delete.gathers(),
            Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(Op::gathers),
            _ => false,
        }
    }
}

/// The order in which a range's keys are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

/// The field by which a range's keys are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// Inclusive bounds on revisions; 0 is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeFilters {
    /// The lowest modification revision that is shown; 0 for no bound.
    pub min_mod: i64,
    /// The highest modification revision that is shown; 0 for no bound.
    pub max_mod: i64,
    /// The lowest creation revision that is shown; 0 for no bound.
    pub min_create: i64,
    /// The highest creation revision that is shown; 0 for no bound.
    pub max_create: i64,
}

impl RangeFilters {
    /// Whether every bound is off.
    pub fn is_off(&self) -> bool {
        *self == RangeFilters::default()
    }
}

/// A read of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    pub range: KeyRange,
    /// Keys at most; 0 is no limit.
    pub limit: u64,
    /// 0 is the latest. Outside a txn negatives mean the latest too.
    pub revision: i64,
    pub order: SortOrder,
    pub target: SortTarget,
    /// Whether any member may answer from what it has.
    pub serializable: bool,
    /// Whether the reply leaves out the values.
    pub keys_only: bool,
    /// Whether the reply has the count alone.
    pub count_only: bool,
    /// The reply need not count the keys beyond the limit, only say whether there are any. No
    /// client asks for this.
    pub uncounted: bool,
    pub filters: RangeFilters,
}

impl RangeRequest {
    /// Returns the whole of `range` at the latest revision, in key order.
    pub fn of(range: KeyRange) -> RangeRequest {
        RangeRequest {
            range,
            limit: 0,
            revision: 0,
            order: SortOrder::None,
            target: SortTarget::Key,
            serializable: false,
            keys_only: false,
            count_only: false,
            uncounted: false,
            filters: RangeFilters::default(),
        }
    }

    /// Whether the range is gathered whole before it is cut: see [`Request::gathers`]. A low limit
    /// bounds what is gathered.
    fn gathers(&self) -> bool {
        const FEW_KEYS: u64 = 64;
        self.range.single_key().is_none()
            && !self.count_only
            && (self.limit == 0 || self.limit > FEW_KEYS)
    }

    /// etcd 3.7.1 sorts only the first `limit + 1` keys when a target is given without an order
    /// (and no filter makes it fetch everything).
    pub fn sorts_after_limit(&self) -> bool {
        self.limit > 0
            && self.order == SortOrder::None
            && self.target != SortTarget::Key
            && self.filters.is_off()
    }

    /// Returns the range that one of several shards is asked for: a merge by value needs the
    /// values, and drops them afterwards.
    pub fn part(&self) -> RangeRequest {
        let mut part = self.clone();
        part.keys_only &= self.target != SortTarget::Value;
        if self.sorts_after_limit() {
            part.target = SortTarget::Key;
            part.limit = self.limit.saturating_add(1);
            part.keys_only = false;
        }
        part
    }
}

/// A put of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest {
    pub key: Bytes,
    pub value: Bytes,
    /// The lease to attach the key to, or [`LeaseId::NONE`].
    pub lease: LeaseId,
    /// Whether the reply has the key's version before the put.
    pub prev_kv: bool,
    /// Whether the key keeps its value; `value` is empty then.
    pub ignore_value: bool,
    /// Whether the key keeps its lease; `lease` is none then.
    pub ignore_lease: bool,
}

impl PutRequest {
    /// Returns a put of `value` without a lease.
    pub fn of(key: Bytes, value: Bytes) -> PutRequest {
        PutRequest {
            key,
            value,
            lease: LeaseId::NONE,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }

    /// Whether something of what its key has is to stay: then the key must be there.
    pub fn keeps(&self) -> bool {
        self.ignore_value || self.ignore_lease
    }
}

/// A delete of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRangeRequest {
    pub range: KeyRange,
    /// Whether the reply has the keys' versions before the delete.
    pub prev_kv: bool,
}

impl DeleteRangeRequest {
    fn gathers(&self) -> bool {
        self.prev_kv && self.range.single_key().is_none()
    }
}

/// The operator of a compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOperator {
    Equal,
    Greater,
    Less,
    NotEqual,
}

/// The target of a compare with its operand. A `target_union` that does not match the target has
/// been read as 0 or empty by `protocol`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareOperand {
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(Bytes),
    Lease(i64),
}

/// Holds if every key of `range` satisfies it; an empty range is judged like a missing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub range: KeyRange,
    pub operator: CompareOperator,
    pub operand: CompareOperand,
}

/// An operation of a txn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
}

impl Op {
    fn gathers(&self) -> bool {
        match self {
            Op::Range(range) => range.gathers(),
            Op::DeleteRange(delete) => delete.gathers(),
            Op::Txn(txn) => txn.success.iter().chain(&txn.failure).any(Op::gathers),
            Op::Put(_) => false,
        }
    }
}

/// A txn: its compares, and the operations for when all hold or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnRequest {
    pub compare: Vec<Compare>,
    /// The operations that run if all compares hold.
    pub success: Vec<Op>,
    /// The operations that run if some compare does not hold.
    pub failure: Vec<Op>,
}

impl TxnRequest {
    /// Whether etcd reads it without consensus: top-level ranges only, on both branches.
    pub fn only_reads(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| matches!(op, Op::Range(_)))
    }
}

/// A request to compact history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactRequest {
    /// The revision below which history goes.
    pub revision: i64,
    /// Answer only when the history is gone from memory.
    pub physical: bool,
}

/// A request for the hash of the store at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKvRequest {
    /// 0 is the current revision.
    pub revision: i64,
}

/// The kind of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    NoSpace,
    Corrupt,
}

impl AlarmKind {
    /// Returns etcd's name of it.
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        }
    }
}

/// A raised alarm: who raised it, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    pub member: MemberId,
    pub kind: AlarmKind,
}

/// The action of an alarm request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmAction {
    Get,
    Activate,
    Deactivate,
}

/// A request about alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmRequest {
    pub action: AlarmAction,
    /// For `Get`: 0 is every member.
    pub member: MemberId,
    /// `None` is etcd's NONE: every kind for `Get`, nothing otherwise.
    pub kind: Option<AlarmKind>,
}

/// A request to grant a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrantRequest {
    /// 0: the leader chooses.
    pub id: LeaseId,
    /// Seconds that the client wants; the leader has a minimum and etcd's maximum.
    pub ttl: i64,
}

/// A request for what is left of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimeToLiveRequest {
    pub id: LeaseId,
    /// Whether to name the keys attached to it.
    pub keys: bool,
}
