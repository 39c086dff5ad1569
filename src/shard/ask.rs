//! Questions of the routers to a shard, and its answers.

use crate::line::message::{CompareShare, Report};
use crate::types::{
    Answer, Blob, Cancellable, Compare, CoreId, DeleteRangeRequest, LeaseId, Nanos, Origin,
    PutRequest, RangeReply, RangeRequest, Refusal, Revision, Sub, TxnRequest,
};
use crate::wal::{DiskOp, OpId};
use crate::watch::HubMessage;

/// A request that may change something and concerns this shard alone.
#[derive(Clone, Debug)]
pub enum Write {
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
}

impl Write {
    /// Bytes that it adds to the log at most.
    pub(super) fn logged_bytes(&self) -> usize {
        match self {
            Write::Put(put) => put.logged_bytes(),
            Write::DeleteRange(delete) => delete.logged_bytes(),
            Write::Txn(txn) => txn.logged_bytes(),
        }
    }
}

/// A write that waits to be evaluated.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub origin: Origin,
    /// Dropped unless it is evaluated before.
    pub deadline: Option<Nanos>,
    pub write: Write,
}

impl Cancellable for Waiting {
    type Id = Origin;

    fn id(&self) -> Origin {
        self.origin
    }
}

impl Waiting {
    /// The key that it puts, if it is a put.
    pub(super) fn put_key(&self) -> Option<&[u8]> {
        match &self.write {
            Write::Put(put) => Some(&put.key),
            Write::DeleteRange(_) | Write::Txn(_) => None,
        }
    }
}

/// One shard's part of a read that concerns several.
#[derive(Clone, Debug)]
pub struct ReadPart {
    /// Every shard reads here.
    pub at: Revision,
    pub compares: Vec<(u32, Compare)>,
    pub ranges: Vec<(Sub, RangeRequest)>,
}

/// The result of a [`ReadPart`].
#[derive(Clone, Debug, Default)]
pub struct ReadPartReply {
    pub compares: Vec<(u32, CompareShare)>,
    pub ranges: Vec<(Sub, RangeReply)>,
}

/// A request of a router to a shard on another core, or to one whose answer takes a while.
#[derive(Clone, Debug)]
pub enum Ask {
    Write(Write),
    Range(RangeRequest),
    ReadTxn(TxnRequest),
    Part(ReadPart),
    /// The hash of this shard's history up to the revision.
    Hash {
        at: Revision,
    },
    Defragment,
    /// The keys that are attached to the lease.
    LeaseKeys {
        lease: LeaseId,
    },
}

/// The reply of a shard to a router's [`Ask`].
#[derive(Clone, Debug)]
pub enum ShardReply {
    Answer(Answer),
    Part(Result<ReadPartReply, Refusal>),
    /// The shard's hash and the compact revision it holds for.
    Hash(Result<(u32, i64), Refusal>),
    Defragmented,
    /// In order; sent when stable has reached what was seen.
    LeaseKeys(Vec<Blob>),
}

/// The effects of a step of a shard.
#[derive(Debug, Default)]
pub struct ShardEffects {
    pub replies: Vec<(Origin, ShardReply)>,
    pub reports: Vec<Report>,
    pub disk: Vec<(OpId, DiskOp)>,
    pub watch: Vec<(CoreId, HubMessage)>,
    /// Stable rose to this: whoever waits for it must be woken.
    pub raised: Option<Revision>,
}

impl ShardEffects {
    pub(super) fn raise(&mut self, raised: Option<Revision>) {
        self.raised = self.raised.max(raised);
    }
}
