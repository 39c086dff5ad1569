//! The requests to the core of which locks and elections are made.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::protocol::pb::etcdserverpb as pb;
use crate::protocol::status::{self, Status, code};
use crate::rt;
use crate::server::front::Front;
use crate::server::watching::Watching;
use crate::types::{
    Compare, CompareOperand, CompareOperator, DeleteRangeReply, DeleteRangeRequest, Event,
    KeyRange, LeaseGrantRequest, LeaseId, Nanos, Op, PutRequest, RangeEnd, RangeFilters,
    RangeReply, RangeRequest, Refusal, Reply, Request, Revision, SortOrder, SortTarget, TxnReply,
    TxnRequest, WatchCreate, WatchReply, WatchRequest,
};

/// Seconds of the lease that a caller without one is given.
const LEASE_SECONDS: i64 = 60;

/// One call's way to the core.
pub(super) struct Asker {
    pub(super) front: Rc<Front>,
    pub(super) deadline: Option<Nanos>,
}

impl Asker {
    pub(super) fn new(front: &Rc<Front>, deadline: Option<Nanos>) -> Asker {
        Asker { front: front.clone(), deadline }
    }

    /// An error once the deadline has passed; nothing before.
    pub(super) async fn late<T>(&self) -> Result<T, Status> {
        let Some(deadline) = self.deadline else {
            return std::future::pending().await;
        };
        rt::sleep(Duration::from_nanos(deadline.0.saturating_sub(rt::now().0))).await;
        Err(status::of(&Refusal::DeadlineExceeded))
    }

    /// An error once the server stops; nothing before.
    pub(super) async fn stopped<T>(&self) -> Result<T, Status> {
        self.front.closing().wait().await;
        Err(status::of(&Refusal::Stopped))
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Status> {
        self.front.ask(request, self.deadline).await.map_err(|refusal| status_of(&refusal))
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeReply, Status> {
        match self.ask(Request::Range(request)).await? {
            Reply::Range(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnReply, Status> {
        match self.ask(Request::Txn(request)).await? {
            Reply::Txn(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<DeleteRangeReply, Status> {
        if key.is_empty() {
            return Err(status_of(&Refusal::EmptyKey));
        }
        let delete = DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false };
        match self.ask(Request::DeleteRange(delete)).await? {
            Reply::DeleteRange(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }

    /// The lease that the caller named, or a new one for a caller that has none.
    pub(super) async fn lease(&self, named: i64) -> Result<LeaseId, Status> {
        if named != 0 {
            return Ok(LeaseId(named));
        }
        let grant = LeaseGrantRequest { id: LeaseId::NONE, ttl: LEASE_SECONDS };
        match self.ask(Request::LeaseGrant(grant)).await? {
            Reply::LeaseGrant(reply) => Ok(reply.id),
            other => Err(unexpected(&other)),
        }
    }

    /// The header of an answer at `revision`.
    pub(super) fn header(&self, revision: Revision) -> Option<pb::ResponseHeader> {
        self.front.header().at(revision)
    }

    /// Watches `range` from revision `from` on.
    pub(super) fn events(&self, range: KeyRange, from: Revision) -> Events {
        let watching = Watching::open(&self.front);
        // A stream with one request has room for it.
        watching.ask(WatchRequest::Create(WatchCreate::of(range, from.0)));
        Events { front: self.front.clone(), watching }
    }
}

/// The events of one watcher of the server's own.
pub(super) struct Events {
    front: Rc<Front>,
    watching: Watching,
}

/// A reply with events, and its revision.
pub(super) struct Happened {
    pub(super) revision: Revision,
    pub(super) events: Vec<Arc<Event>>,
}

/// Why there are no more events.
pub(super) enum Over {
    /// The next events have been compacted.
    Compacted,
    Status(Status),
}

impl Events {
    pub(super) async fn next(&self) -> Result<Happened, Over> {
        loop {
            match self.watching.next().await {
                WatchReply::Events(events) => {
                    self.front.watch_sent(self.watching.stream(), events.bytes);
                    return Ok(Happened { revision: events.revision, events: events.events });
                }
                WatchReply::Created { .. } | WatchReply::Progress { .. } => {}
                WatchReply::Canceled { .. } => return Err(Over::Compacted),
                WatchReply::Ended(refusal) => return Err(Over::Status(status_of(&refusal))),
                WatchReply::Refused { reason, .. } => {
                    let text =
                        format!("internal error: the watcher of a queue was refused: {reason:?}");
                    return Err(Over::Status(status_of(&Refusal::Internal(text))));
                }
            }
        }
    }
}

/// Returns the status of a refusal: the text, without its code.
pub(super) fn status_of(refusal: &Refusal) -> Status {
    let status = status::of(refusal);
    match refusal {
        Refusal::DeadlineExceeded | Refusal::Canceled => status,
        _ => Status::new(code::UNKNOWN, status.message),
    }
}

pub(super) fn unexpected(reply: &Reply) -> Status {
    Status::new(code::INTERNAL, format!("braid: an unexpected answer: {reply:?}"))
}

/// Everything below `name/`.
pub(super) fn below(name: &[u8]) -> KeyRange {
    let prefix = |last: u8| {
        let mut bytes = BytesMut::with_capacity(name.len() + 1);
        bytes.put_slice(name);
        bytes.put_u8(last);
        bytes.freeze()
    };
    KeyRange { start: prefix(b'/'), end: RangeEnd::Before(prefix(b'/' + 1)) }
}

/// The oldest key of `range`.
pub(super) fn oldest(range: KeyRange) -> RangeRequest {
    RangeRequest {
        limit: 1,
        order: SortOrder::Ascend,
        target: SortTarget::Create,
        ..RangeRequest::of(range)
    }
}

/// The youngest key of `range` among those created before `revision`.
pub(super) fn youngest_before(range: KeyRange, revision: Revision) -> RangeRequest {
    RangeRequest {
        limit: 1,
        order: SortOrder::Descend,
        target: SortTarget::Create,
        filters: RangeFilters { max_create: revision.0 - 1, ..RangeFilters::default() },
        ..RangeRequest::of(range)
    }
}

/// Holds while `key` is the one created at `revision`; 0: while there is none.
pub(super) fn created_at(key: &Bytes, revision: Revision) -> Compare {
    Compare {
        range: KeyRange::single(key.clone()),
        operator: CompareOperator::Equal,
        operand: CompareOperand::Create(revision.0),
    }
}

pub(super) fn put(key: &Bytes, value: Bytes, lease: LeaseId) -> Op {
    Op::Put(PutRequest { lease, ..PutRequest::of(key.clone(), value) })
}

/// Deletes `key` if it is the one created at `revision`.
pub(super) fn delete_created_at(key: &Bytes, revision: Revision) -> TxnRequest {
    let delete = DeleteRangeRequest { range: KeyRange::single(key.clone()), prev_kv: false };
    TxnRequest {
        compare: vec![created_at(key, revision)],
        success: vec![Op::DeleteRange(delete)],
        failure: Vec::new(),
    }
}
