//! Requests that took too long: what their log line tells, kept while they are under way.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::member::Answer;
use crate::observe::slow::{RequestStats, slow_request};
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
}

impl Brief {
    pub(super) fn of(now: Nanos, request: &Request) -> Brief {
        let one = |key: &Bytes, value: usize| Brief {
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
                Brief { started: now, operations, ..Brief::default() }
            }
            _ => Brief { started: now, ..Brief::default() },
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
