//! Requests that took too long: what their log line tells, kept while they are under way.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::member::Answer;
use crate::observe::slow::{RequestStats, slow_request};
use crate::observe::{CoreMetrics, RequestKind};
use crate::protocol::Method;
use crate::types::{Nanos, Reply, Request};

/// What is kept of a request: a look at it, not a copy.
#[derive(Debug, Default)]
pub(super) struct Brief {
    started: Nanos,
    /// The key, or the start of the range; of a txn none.
    key: Bytes,
    /// Puts, deletes and ranges; of a txn on both branches.
    operations: u32,
    /// Bytes of the value.
    value_bytes: u32,
    /// What its time counts as, if anything.
    kind: Option<RequestKind>,
}

impl Brief {
    pub(super) fn of(now: Nanos, request: &Request) -> Brief {
        let kind = kind_of(request);
        let one = |key: &Bytes, value: usize| Brief {
            kind,
            started: now,
            key: key.clone(),
            operations: 1,
            value_bytes: u32::try_from(value).unwrap_or(u32::MAX),
        };
        match request {
            Request::Put(put) => one(&put.key, put.value.len()),
            Request::Range(range) => one(&range.range.start, 0),
            Request::DeleteRange(delete) => one(&delete.range.start, 0),
            Request::Txn(txn) => {
                let operations = (txn.success.len() + txn.failure.len()) as u32;
                Brief { kind, started: now, operations, ..Brief::default() }
            }
            _ => Brief { kind, started: now, ..Brief::default() },
        }
    }

    /// Counts how long it took.
    pub(super) fn count(&self, now: Nanos, figures: &CoreMetrics, answer: &Answer) {
        if let Some(kind) = self.kind {
            figures.request_took(kind, answer.is_ok(), now.0.saturating_sub(self.started.0));
        }
    }

    /// Logs the request if it was answered later than `limit` allows. Of the steps that it took,
    /// the core's (waiting for its turn, the log, stable) are one here.
    pub(super) fn log_if_slow(
        &self,
        now: Nanos,
        limit: Duration,
        method: Method,
        remote: SocketAddr,
        answer: &Answer,
    ) {
        let took = Duration::from_nanos(now.0.saturating_sub(self.started.0));
        if took < limit || limit.is_zero() {
            return;
        }
        let (response_count, response_bytes) = match answer {
            Ok(Reply::Range(range)) => {
                let bytes = range.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum::<usize>();
                (range.count, bytes as i64)
            }
            Ok(_) => (0, 0),
            Err(_) => (-1, -1),
        };
        let request = match (self.operations, self.key.is_empty()) {
            (_, false) => {
                let key = self.key.escape_ascii();
                format!("key:\"{key}\" value_size:{}", self.value_bytes)
            }
            (operations, true) => format!("operations:{operations}"),
        };
        slow_request(&RequestStats {
            took,
            remote: &remote.to_string(),
            method: method.path(),
            request_count: i64::from(self.operations),
            request_bytes: (self.key.len() + self.value_bytes as usize) as i64,
            response_count,
            response_bytes,
            request: &request,
        });
    }
}

/// etcd tells apart what goes through consensus, and reads.
fn kind_of(request: &Request) -> Option<RequestKind> {
    Some(match request {
        Request::Range(_) => RequestKind::Range,
        Request::Put(_) => RequestKind::Put,
        Request::DeleteRange(_) => RequestKind::DeleteRange,
        Request::Txn(txn) if txn.only_reads() => RequestKind::ReadonlyTxn,
        Request::Txn(_) => RequestKind::Txn,
        Request::Compact(_) => RequestKind::Compaction,
        Request::Alarm(_) => RequestKind::Alarm,
        Request::LeaseGrant(_) => RequestKind::LeaseGrant,
        Request::LeaseRevoke { .. } => RequestKind::LeaseRevoke,
        Request::Status
        | Request::Hash
        | Request::HashKv(_)
        | Request::Defragment
        | Request::MemberList { .. }
        | Request::LeaseKeepAlive { .. }
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases => return None,
    })
}
