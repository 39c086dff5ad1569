//! Replies to clients. The core fills in a header's revision; `protocol` adds cluster, member and
//! term.

use super::{Alarm, Blob, LeaseId, MemberId, Refusal, Revision};

/// The answer to a client's request.
pub type Answer = Result<Reply, Refusal>;

/// The answer to a [`super::Request`] that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Range(RangeReply),
    Put(PutReply),
    DeleteRange(DeleteRangeReply),
    Txn(TxnReply),
    Compact(CompactReply),
    Alarm(AlarmReply),
    Status(Box<StatusReply>),
    Hash(HashReply),
    HashKv(HashKvReply),
    Defragment(DefragmentReply),
    MemberList(MemberListReply),
    LeaseGrant(LeaseGrantReply),
    LeaseRevoke(LeaseRevokeReply),
    LeaseKeepAlive(LeaseKeepAliveReply),
    LeaseTimeToLive(LeaseTimeToLiveReply),
    LeaseLeases(LeaseLeasesReply),
}

impl Reply {
    /// Bytes of its own: without those of keys and values, which it shares with the store.
    pub fn own_bytes(&self) -> usize {
        self.bytes_with(&|kvs| size_of_val(kvs))
    }

    /// Bytes of its own with all keys and values: about what it comes to when it is encoded, and
    /// what it keeps in memory when the store has let go of them.
    pub fn bytes(&self) -> usize {
        let whole = |kv: &KeyValue| size_of::<KeyValue>() + kv.key.len() + kv.value.len();
        self.bytes_with(&|kvs| kvs.iter().map(whole).sum())
    }

    fn bytes_with(&self, of: &dyn Fn(&[KeyValue]) -> usize) -> usize {
        size_of::<Reply>()
            + match self {
                Reply::Range(reply) => of(&reply.kvs),
                Reply::Put(reply) => of(reply.prev_kv.as_slice()),
                Reply::DeleteRange(reply) => of(&reply.prev_kvs),
                Reply::Txn(reply) => reply.bytes_with(of),
                Reply::LeaseTimeToLive(reply) => {
                    reply.keys.iter().map(|key| size_of::<Blob>() + key.len()).sum()
                }
                Reply::LeaseLeases(reply) => size_of_val(&reply.leases[..]),
                _ => 0,
            }
    }
}

/// One key as it stood at some revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Blob,
    pub value: Blob,
    /// The revision that created the key.
    pub create: i64,
    /// The revision that last changed the key.
    pub modified: i64,
    /// The number of changes since the key's creation.
    pub version: i64,
    /// The lease that the key is attached to, or [`LeaseId::NONE`].
    pub lease: LeaseId,
}

/// A [`KeyValue`] borrowed from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyView<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// The revision that created the key.
    pub create: i64,
    /// The revision that last changed the key.
    pub modified: i64,
    /// The number of changes since the key's creation.
    pub version: i64,
    /// The lease that the key is attached to, or [`LeaseId::NONE`].
    pub lease: LeaseId,
}

impl KeyValue {
    /// Borrows the key and value.
    pub fn view(&self) -> KeyView<'_> {
        KeyView {
            key: &self.key,
            value: &self.value,
            create: self.create,
            modified: self.modified,
            version: self.version,
            lease: self.lease,
        }
    }
}

/// `revision` is the header's: the store's when the answer was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The header's revision.
    pub revision: Revision,
    pub kvs: Vec<KeyValue>,
    /// Whether the range has keys beyond the limit.
    pub more: bool,
    /// Keys in the range, whatever the limit and the filters.
    pub count: i64,
}

/// The reply to a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// The header's revision.
    pub revision: Revision,
    /// The key's version before the put, if it was asked for and there.
    pub prev_kv: Option<KeyValue>,
}

/// The reply to a range delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeReply {
    /// The header's revision.
    pub revision: Revision,
    /// The number of keys deleted.
    pub deleted: i64,
    /// The keys' versions before the delete, if they were asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// The reply to one operation of a txn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpReply {
    Range(RangeReply),
    Put(PutReply),
    DeleteRange(DeleteRangeReply),
    Txn(TxnReply),
}

/// The reply to a txn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// 0 in a nested txn, whose header etcd sends empty.
    pub revision: Revision,
    /// Whether all compares held.
    pub succeeded: bool,
    pub responses: Vec<OpReply>,
}

impl TxnReply {
    fn bytes_with(&self, of: &dyn Fn(&[KeyValue]) -> usize) -> usize {
        let of_one = |response: &OpReply| match response {
            OpReply::Range(reply) => of(&reply.kvs),
            OpReply::Put(reply) => of(reply.prev_kv.as_slice()),
            OpReply::DeleteRange(reply) => of(&reply.prev_kvs),
            OpReply::Txn(reply) => reply.bytes_with(of),
        };
        size_of_val(&self.responses[..]) + self.responses.iter().map(of_one).sum::<usize>()
    }
}

/// The reply to a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReply {
    /// The header's revision.
    pub revision: Revision,
}

/// The reply to an alarm request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmReply {
    pub revision: Revision,
    pub alarms: Vec<Alarm>,
}

/// The reply to a status request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReply {
    pub revision: Revision,
    /// Bytes held for the data, given back by Defragment.
    pub db_size: i64,
    /// Bytes that live data take.
    pub db_size_in_use: i64,
    /// The quota in bytes.
    pub db_size_quota: i64,
    /// The leader; 0 if there is none.
    pub leader: MemberId,
    /// The control group's term.
    pub raft_term: u64,
    /// Sum of the groups' committed indexes.
    pub raft_index: u64,
    /// Sum of the groups' applied indexes.
    pub raft_applied_index: u64,
    /// The alarms that are raised, as texts.
    pub errors: Vec<String>,
    pub is_learner: bool,
}

/// The hash of the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashReply {
    /// The header's revision.
    pub revision: Revision,
    pub hash: u32,
}

/// The hash of the store at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKvReply {
    /// The header's revision.
    pub revision: Revision,
    pub hash: u32,
    /// The compact revision that the hash holds for.
    pub compact_revision: i64,
    /// The revision up to which history is hashed.
    pub hash_revision: i64,
}

/// The reply to a defragmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefragmentReply {}

/// One member as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The member's id; never 0.
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

/// The members of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberListReply {
    pub members: Vec<Member>,
}

/// The reply to the grant of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrantReply {
    pub revision: Revision,
    pub id: LeaseId,
    /// Seconds: at least the minimum.
    pub ttl: i64,
}

/// The reply to the revocation of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRevokeReply {
    pub revision: Revision,
}

/// `ttl` 0: there is no such lease (any more), which is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseKeepAliveReply {
    pub revision: Revision,
    pub id: LeaseId,
    /// The TTL in seconds; 0 if the lease does not exist.
    pub ttl: i64,
}

/// `ttl` -1: there is no such lease, which is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseTimeToLiveReply {
    pub revision: Revision,
    pub id: LeaseId,
    /// Whole seconds left.
    pub ttl: i64,
    /// The TTL in seconds that was granted.
    pub granted_ttl: i64,
    /// In key order, if asked for.
    pub keys: Vec<Blob>,
}

/// The leases that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLeasesReply {
    pub revision: Revision,
    /// The one that expires first, first.
    pub leases: Vec<LeaseId>,
}
