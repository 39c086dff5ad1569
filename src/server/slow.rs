//! The facts about a request that are kept while it is under way, for metrics and, if it takes too
//! long, for the log.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::member::Answer;
use crate::observe::slow::{RequestStats, shown, slow_request};
use crate::observe::{CoreMetrics, RequestKind};
use crate::protocol::{Method, status};
use crate::types::{Nanos, Refusal, Reply, Request};

/// The record of a request: a look at it, not a copy.
#[derive(Debug, Default)]
pub(super) struct RequestRecord {
    started: Nanos,
    /// The key, or the start of the range; of a txn none.
    key: Bytes,
    /// Puts, deletes and ranges; of a txn on both branches.
    operations: u32,
    /// Bytes of the value.
    value_bytes: u32,
    /// The kind of duration that it counts as, if any.
    counts: Option<Counted>,
}

/// How a request shows in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// Needs a revision that is stable, and takes none.
    LinearizableRead(RequestKind),
    SerializableRead(RequestKind),
    Write(RequestKind),
    Hash,
    HashRevision,
    Defragment,
}

/// After which etcd asks again where the line is, and counts that.
const READ_INDEX_RETRY: Duration = Duration::from_millis(500);

impl RequestRecord {
    pub(super) fn of(now: Nanos, request: &Request) -> RequestRecord {
        let counts = counted(request);
        let one = |key: &Bytes, value: usize| RequestRecord {
            counts,
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
                RequestRecord { counts, started: now, operations, ..RequestRecord::default() }
            }
            _ => RequestRecord { counts, started: now, ..RequestRecord::default() },
        }
    }

    /// When it was handed in.
    pub(super) fn started(&self) -> Nanos {
        self.started
    }

    /// It is under way from now on.
    pub(super) fn begin(&self, figures: &CoreMetrics) {
        if self.counts == Some(Counted::Defragment) {
            figures.defragments_under_way.add(1);
            tracing::info!("starting defragment");
        }
    }

    /// Counts how long it took, and how it ended.
    pub(super) fn count(&self, now: Nanos, figures: &CoreMetrics, answer: &Answer) {
        let nanos = now.0.saturating_sub(self.started.0);
        let is_lost = answer.as_ref().is_err_and(is_lost);
        match self.counts {
            None => {}
            Some(Counted::LinearizableRead(kind)) => {
                figures.request_took(kind, answer.is_ok(), nanos);
                if is_lost {
                    figures.read_indexes_failed.add(1);
                }
                if u128::from(nanos) > READ_INDEX_RETRY.as_nanos() {
                    figures.slow_read_indexes.add(1);
                }
            }
            Some(Counted::SerializableRead(kind)) => {
                figures.request_took(kind, answer.is_ok(), nanos);
            }
            Some(Counted::Write(kind)) => {
                figures.request_took(kind, answer.is_ok(), nanos);
                if is_lost {
                    figures.proposals_failed.add(1);
                }
            }
            Some(Counted::Hash) => figures.hash_duration.observe(nanos),
            Some(Counted::HashRevision) => figures.hash_revision_duration.observe(nanos),
            Some(Counted::Defragment) => self.defragmented(nanos, figures, answer),
        }
    }

    fn defragmented(&self, nanos: u64, figures: &CoreMetrics, answer: &Answer) {
        figures.defragments_under_way.take(1);
        match answer {
            Ok(_) => {
                figures.defragment_duration.observe(nanos);
                let took = shown(Duration::from_nanos(nanos));
                tracing::info!(took, "finished defragment");
            }
            Err(refusal) => {
                let error = status::of(refusal).message;
                tracing::warn!(error = %error, "failed to defragment");
            }
        }
    }

    /// Its client has left before the answer.
    pub(super) fn count_canceled(&self, figures: &CoreMetrics) {
        match self.counts {
            Some(Counted::Write(_)) => figures.proposals_failed.add(1),
            Some(Counted::Defragment) => figures.defragments_under_way.take(1),
            _ => {}
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

/// Whether it was not the request's fault: etcd calls that a failed proposal, or a failed read.
fn is_lost(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Timeout
            | Refusal::TimeoutLeaderFailed
            | Refusal::DeadlineExceeded
            | Refusal::LeaderChanged
            | Refusal::NoLeader
            | Refusal::Stopped
    )
}

/// etcd separates what goes through consensus from reads.
fn counted(request: &Request) -> Option<Counted> {
    Some(match request {
        Request::Range(range) if range.serializable => {
            Counted::SerializableRead(RequestKind::Range)
        }
        Request::Range(_) => Counted::LinearizableRead(RequestKind::Range),
        Request::Put(_) => Counted::Write(RequestKind::Put),
        Request::DeleteRange(_) => Counted::Write(RequestKind::DeleteRange),
        Request::Txn(txn) if txn.only_reads() => {
            Counted::LinearizableRead(RequestKind::ReadonlyTxn)
        }
        Request::Txn(_) => Counted::Write(RequestKind::Txn),
        Request::Compact(_) => Counted::Write(RequestKind::Compaction),
        Request::Alarm(_) => Counted::Write(RequestKind::Alarm),
        Request::LeaseGrant(_) => Counted::Write(RequestKind::LeaseGrant),
        Request::LeaseRevoke { .. } => Counted::Write(RequestKind::LeaseRevoke),
        Request::Hash => Counted::Hash,
        Request::HashKv(_) => Counted::HashRevision,
        Request::Defragment => Counted::Defragment,
        Request::Status
        | Request::MemberList { .. }
        | Request::LeaseKeepAlive { .. }
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{KeyRange, PutReply, PutRequest, RangeReply, RangeRequest, Revision};

    fn range(serializable: bool) -> Request {
        let range = KeyRange::single(Bytes::from_static(b"k"));
        Request::Range(RangeRequest { serializable, ..RangeRequest::of(range) })
    }

    #[test]
    fn what_nobody_could_help_counts_as_failed() {
        let figures = CoreMetrics::new(1);
        let put = Request::Put(PutRequest::of(Bytes::from_static(b"k"), Bytes::new()));
        let put = RequestRecord::of(Nanos(0), &put);
        let read = RequestRecord::of(Nanos(0), &range(false));
        let failed = || (figures.proposals_failed.get(), figures.read_indexes_failed.get());
        put.count(Nanos(1), &figures, &Err(Refusal::Timeout));
        put.count(Nanos(1), &figures, &Err(Refusal::EmptyKey));
        let done = PutReply { revision: Revision(2), prev_kv: None };
        put.count(Nanos(1), &figures, &Ok(Reply::Put(done)));
        assert_eq!(failed(), (1, 0));
        put.count_canceled(&figures);
        read.count_canceled(&figures);
        assert_eq!(failed(), (2, 0), "etcd's proposal fails, too, when its client leaves");
        read.count(Nanos(1), &figures, &Err(Refusal::LeaderChanged));
        read.count(Nanos(1), &figures, &Err(Refusal::FutureRevision));
        assert_eq!(failed(), (2, 1));
    }

    #[test]
    fn a_linearizable_read_is_slow_where_etcd_would_ask_again() {
        let figures = CoreMetrics::new(1);
        let answer = Ok(Reply::Range(RangeReply::default()));
        let times = [(false, 500), (false, 501), (true, 900)];
        for (serializable, millis) in times {
            let record = RequestRecord::of(Nanos(0), &range(serializable));
            record.count(Nanos(millis * 1_000_000), &figures, &answer);
        }
        assert_eq!(figures.slow_read_indexes.get(), 1);
    }

    #[test]
    fn a_defragmentation_is_under_way_until_it_ends() {
        let figures = CoreMetrics::new(1);
        let record = RequestRecord::of(Nanos(0), &Request::Defragment);
        record.begin(&figures);
        record.begin(&figures);
        assert_eq!(figures.defragments_under_way.get(), 2);
        record.count_canceled(&figures);
        record.count(Nanos(5), &figures, &Err(Refusal::Stopped));
        assert_eq!(figures.defragments_under_way.get(), 0);
        assert_eq!(figures.defragment_duration.read().count(), 0, "it did not come to its end");
    }
}
