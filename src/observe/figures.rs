//! The counters of a core and of a shard, each written by one core.

use super::cell::{Figure, Histogram, PROMETHEUS_DEFAULT, Scale};
use crate::types::Tally;

/// etcd's buckets for disks and requests: 1 ms to 8 s.
pub const DISK_SECONDS: Scale = Scale::seconds(1_000, 14);
/// etcd's buckets for applying and ranges: 0.1 ms to 52 s.
pub const APPLY_SECONDS: Scale = Scale::seconds(100, 20);
/// Turns of a core's loop: 8 µs to 1 s.
pub const TURN_SECONDS: Scale = Scale::seconds(8, 18);
/// Operations in a batch: 1 to 2048, and more.
pub const BATCH_OPERATIONS: Scale = Scale::numbers(1, 12);

/// etcd's buckets for hashes: 10 ms to 164 s.
pub const HASH_SECONDS: Scale = Scale::seconds(10_000, 15);
/// etcd's buckets for defragmentations: 0.1 s to 410 s.
pub const DEFRAGMENT_SECONDS: Scale = Scale::seconds(100_000, 13);
/// etcd's buckets for slices of compaction: 1 ms to 4 s.
pub const COMPACTION_PAUSE_MILLISECONDS: Scale = Scale::milliseconds(1_000, 13);
/// etcd's buckets for whole compactions: 0.1 s to 820 s.
pub const COMPACTION_MILLISECONDS: Scale = Scale::milliseconds(100_000, 14);

/// etcd's buckets for TTLs: 1 s to 2^23 s.
pub const TTL_SECONDS: Scale = Scale::numbers(1, 24);

/// The names of gRPC's codes, by their numbers.
pub const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The form of a gRPC method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    Unary,
    ServerStream,
    ClientStream,
    BidiStream,
}

impl MethodKind {
    /// Returns gRPC's name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            MethodKind::Unary => "unary",
            MethodKind::ServerStream => "server_stream",
            MethodKind::ClientStream => "client_stream",
            MethodKind::BidiStream => "bidi_stream",
        }
    }
}

/// A method as metrics name it. Its place in the list is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// `etcdserverpb.KV`
    pub service: &'static str,
    /// `Put`
    pub method: &'static str,
    pub kind: MethodKind,
    /// Whether it is shown before it is called. etcd hides those of Election and Lock till then.
    pub shown_unused: bool,
}

/// The calls of one method.
#[derive(Debug)]
pub struct MethodFigures {
    pub started: Figure,
    pub received: Figure,
    pub sent: Figure,
    /// Handled calls, by status code.
    pub handled: [Figure; CODES.len()],
    /// Filled, and shown, with `--metrics=extensive` only.
    pub handling: Histogram,
}

/// The kinds by which etcd separates requests in its durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    Range,
    Put,
    DeleteRange,
    Txn,
    ReadonlyTxn,
    Compaction,
    Alarm,
    LeaseGrant,
    LeaseRevoke,
}

impl RequestKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [RequestKind; 9] = [
        RequestKind::Range,
        RequestKind::Put,
        RequestKind::DeleteRange,
        RequestKind::Txn,
        RequestKind::ReadonlyTxn,
        RequestKind::Compaction,
        RequestKind::Alarm,
        RequestKind::LeaseGrant,
        RequestKind::LeaseRevoke,
    ];

    /// Returns etcd's name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            RequestKind::Range => "Range",
            RequestKind::Put => "Put",
            RequestKind::DeleteRange => "DeleteRange",
            RequestKind::Txn => "Txn",
            RequestKind::ReadonlyTxn => "ReadonlyTxn",
            RequestKind::Compaction => "Compaction",
            RequestKind::Alarm => "Alarm",
            RequestKind::LeaseGrant => "LeaseGrant",
            RequestKind::LeaseRevoke => "LeaseRevoke",
        }
    }
}

/// Times of what succeeded and of what did not.
#[derive(Debug)]
pub struct Outcomes {
    pub success: Histogram,
    pub failure: Histogram,
}

impl Outcomes {
    fn new(scale: Scale) -> Outcomes {
        Outcomes { success: Histogram::new(scale), failure: Histogram::new(scale) }
    }

    /// Only for the core that owns it.
    pub fn observe(&self, succeeded: bool, nanos: u64) {
        if succeeded { self.success.observe(nanos) } else { self.failure.observe(nanos) }
    }

    /// Observes as many as `tally` has of each outcome, all of `nanos`.
    pub fn observe_all(&self, tally: Tally, nanos: u64) {
        if tally.done > 0 {
            self.success.observe_all(tally.done, nanos);
        }
        if tally.refused > 0 {
            self.failure.observe_all(tally.refused, nanos);
        }
    }
}

/// The API versions that clients name; any other counts as the last.
pub const API_VERSIONS: [&str; 10] =
    ["unknown", "3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "other"];

/// etcd's checks by their endpoints: (type, name).
pub const HEALTH_CHECKS: [(&str, &str); 5] = [
    ("livez", "serializable_read"),
    ("readyz", "data_corruption"),
    ("readyz", "linearizable_read"),
    ("readyz", "non_learner"),
    ("readyz", "serializable_read"),
];

/// Everything that one core counts.
///
/// Cores share nothing: each has one of these to itself and hands a reference to whoever scrapes.
#[derive(Debug)]
pub struct CoreMetrics {
    pub methods: Box<[MethodFigures]>,
    /// Unary calls and streams, by [`API_VERSIONS`].
    pub unary_requests: [Figure; API_VERSIONS.len()],
    pub stream_requests: [Figure; API_VERSIONS.len()],
    pub client_received_bytes: Figure,
    pub client_sent_bytes: Figure,
    /// By [`RequestKind`].
    pub request_duration: Box<[Outcomes]>,
    /// By [`RequestKind`]: how long the turn took in which a request was evaluated, and applied
    /// unless it was refused. Those of one turn all have its time, which is what each of them
    /// waited for.
    pub apply_duration: Box<[Outcomes]>,
    /// From when a range was read to when there was an answer. Those that came with one read of a
    /// connection, and were answered before anything else ran, all have the time of the last.
    pub range_duration: Outcomes,
    pub slow_applies: Figure,
    pub slow_read_indexes: Figure,
    pub read_indexes_failed: Figure,
    pub proposals_failed: Figure,
    pub wal_fsync_duration: Histogram,
    pub wal_write_duration: Histogram,
    pub wal_write_bytes: Figure,
    /// Durations of writing a piece of a checkpoint, and of making the whole durable.
    pub checkpoint_write_duration: Histogram,
    pub checkpoint_commit_duration: Histogram,
    pub hash_duration: Histogram,
    pub hash_revision_duration: Histogram,
    pub defragment_duration: Histogram,
    pub defragments_under_way: Figure,
    /// Turns with a slice of compaction in them.
    pub compaction_pause: Histogram,
    /// Whole compactions; only the leader's core counts them.
    pub compaction_duration: Histogram,
    /// When this core's part of the last compaction began and ended, on the cores' common clock,
    /// and what its target was.
    pub compaction_began: Figure,
    pub compaction_ended: Figure,
    pub compacted_to: Figure,
    pub ranges: Figure,
    pub puts: Figure,
    pub put_bytes: Figure,
    pub deletes: Figure,
    pub txns: Figure,
    pub compacted_versions: Figure,
    pub leases_granted: Figure,
    pub leases_revoked: Figure,
    pub leases_renewed: Figure,
    pub leases_expired: Figure,
    pub lease_ttls: Histogram,
    pub watch_streams: Figure,
    pub watchers: Figure,
    /// The watchers among them that are behind.
    pub watchers_slow: Figure,
    pub watch_events: Figure,
    /// Told to a stream and not yet on their way to its client.
    pub watch_events_pending: Figure,
    pub health_successes: Figure,
    pub health_failures: Figure,
    /// By [`HEALTH_CHECKS`]: those that held, those that did not.
    pub checks_held: [Figure; HEALTH_CHECKS.len()],
    pub checks_failed: [Figure; HEALTH_CHECKS.len()],
    /// By [`HEALTH_CHECKS`]: when the last one was made, doubled, plus 1 if it held; 0 is never.
    pub checks_last: [Figure; HEALTH_CHECKS.len()],
    /// Answers to GET /metrics.
    pub scrapes: Figure,
    // From here on our own.
    pub loop_turns: Figure,
    /// From taking what came in to handing over what comes of it.
    pub turn_duration: Histogram,
    pub parks: Figure,
    pub connections: Figure,
    /// The connections among them that speak frames.
    pub frame_connections: Figure,
    pub requests_under_way: Figure,
    pub requests_refused: Figure,
    /// Turns that were over while a connection had more to be read.
    pub turns_over: Figure,
    pub mailbox_batches: Figure,
    /// The most batches that one turn found in the mailboxes to this core: since the last beat,
    /// and between the two before that, which is what is shown.
    pub mailbox_peak: Figure,
    pub mailbox_depth: Figure,
}

impl CoreMetrics {
    /// Makes the figures, all 0, for methods numbered as in the list that is later scraped with.
    pub fn new(methods: usize) -> CoreMetrics {
        let outcomes = |scale| RequestKind::ALL.iter().map(|_| Outcomes::new(scale)).collect();
        CoreMetrics {
            methods: (0..methods).map(|_| MethodFigures::new()).collect(),
            unary_requests: Default::default(),
            stream_requests: Default::default(),
            client_received_bytes: Figure::default(),
            client_sent_bytes: Figure::default(),
            request_duration: outcomes(DISK_SECONDS),
            apply_duration: outcomes(APPLY_SECONDS),
            range_duration: Outcomes::new(APPLY_SECONDS),
            slow_applies: Figure::default(),
            slow_read_indexes: Figure::default(),
            read_indexes_failed: Figure::default(),
            proposals_failed: Figure::default(),
            wal_fsync_duration: Histogram::new(DISK_SECONDS),
            wal_write_duration: Histogram::new(DISK_SECONDS),
            wal_write_bytes: Figure::default(),
            checkpoint_write_duration: Histogram::new(DISK_SECONDS),
            checkpoint_commit_duration: Histogram::new(DISK_SECONDS),
            hash_duration: Histogram::new(HASH_SECONDS),
            hash_revision_duration: Histogram::new(HASH_SECONDS),
            defragment_duration: Histogram::new(DEFRAGMENT_SECONDS),
            defragments_under_way: Figure::default(),
            compaction_pause: Histogram::new(COMPACTION_PAUSE_MILLISECONDS),
            compaction_duration: Histogram::new(COMPACTION_MILLISECONDS),
            compaction_began: Figure::default(),
            compaction_ended: Figure::default(),
            compacted_to: Figure::default(),
            ranges: Figure::default(),
            puts: Figure::default(),
            put_bytes: Figure::default(),
            deletes: Figure::default(),
            txns: Figure::default(),
            compacted_versions: Figure::default(),
            leases_granted: Figure::default(),
            leases_revoked: Figure::default(),
            leases_renewed: Figure::default(),
            leases_expired: Figure::default(),
            lease_ttls: Histogram::new(TTL_SECONDS),
            watch_streams: Figure::default(),
            watchers: Figure::default(),
            watchers_slow: Figure::default(),
            watch_events: Figure::default(),
            watch_events_pending: Figure::default(),
            health_successes: Figure::default(),
            health_failures: Figure::default(),
            checks_held: Default::default(),
            checks_failed: Default::default(),
            checks_last: Default::default(),
            scrapes: Figure::default(),
            loop_turns: Figure::default(),
            turn_duration: Histogram::new(TURN_SECONDS),
            parks: Figure::default(),
            connections: Figure::default(),
            frame_connections: Figure::default(),
            requests_under_way: Figure::default(),
            requests_refused: Figure::default(),
            turns_over: Figure::default(),
            mailbox_batches: Figure::default(),
            mailbox_peak: Figure::default(),
            mailbox_depth: Figure::default(),
        }
    }

    /// Counts a client's call; `version` is what its `client-api-version` says, if anything.
    pub fn client_request(&self, is_stream: bool, version: Option<&str>) {
        let place = match version {
            None => 0,
            Some(version) => API_VERSIONS
                .iter()
                .position(|known| *known == version)
                .unwrap_or(API_VERSIONS.len() - 1),
        };
        let requests = if is_stream { &self.stream_requests } else { &self.unary_requests };
        requests[place].add(1);
    }

    /// Clients that do not say their API version have asked for `count` unary calls.
    pub fn unversioned_requests(&self, count: u64) {
        self.unary_requests[0].add(count);
    }

    /// A check of /livez or /readyz was made, at `now` of the clock that all cores have in common;
    /// a name that is none of etcd's is not counted.
    pub fn health_check(&self, now: u64, endpoint: &str, name: &str, held: bool) {
        let place = HEALTH_CHECKS.iter().position(|check| *check == (endpoint, name));
        if let Some(place) = place {
            let checks = if held { &self.checks_held } else { &self.checks_failed };
            checks[place].add(1);
            self.checks_last[place].set(now << 1 | u64::from(held));
        }
    }

    /// Observes that a request was answered after `nanos`.
    pub fn request_took(&self, kind: RequestKind, succeeded: bool, nanos: u64) {
        self.request_duration[kind as usize].observe(succeeded, nanos);
        if kind == RequestKind::Range {
            self.range_duration.observe(succeeded, nanos);
        }
    }

    /// Requests were evaluated and applied in `nanos`.
    pub fn apply_took(&self, kind: RequestKind, tally: Tally, nanos: u64) {
        self.apply_duration[kind as usize].observe_all(tally, nanos);
    }

    /// Ranges were answered at once, the last of them after `nanos`.
    pub fn ranges_took(&self, tally: Tally, nanos: u64) {
        self.request_duration[RequestKind::Range as usize].observe_all(tally, nanos);
        self.range_duration.observe_all(tally, nanos);
    }

    /// Counts `batches` that a turn found in the mailboxes to this core.
    pub fn mailed(&self, batches: u64) {
        self.mailbox_batches.add(batches);
        if batches > self.mailbox_peak.get() {
            self.mailbox_peak.set(batches);
        }
    }
}

impl MethodFigures {
    fn new() -> MethodFigures {
        MethodFigures {
            started: Figure::default(),
            received: Figure::default(),
            sent: Figure::default(),
            handled: Default::default(),
            handling: Histogram::new(PROMETHEUS_DEFAULT),
        }
    }
}

/// The counters of one shard; its core writes them.
#[derive(Debug)]
pub struct ShardMetrics {
    /// The core it runs on.
    pub core: Figure,
    pub revisions_pending: Figure,
    pub log_bytes: Figure,
    pub log_entries: Figure,
    pub batches: Figure,
    pub batch_operations: Histogram,
    pub rounds: Figure,
    pub checkpoints: Figure,
    pub keys: Figure,
    pub versions: Figure,
    pub memory_bytes: Figure,
}

impl Default for ShardMetrics {
    fn default() -> ShardMetrics {
        ShardMetrics {
            core: Figure::default(),
            revisions_pending: Figure::default(),
            log_bytes: Figure::default(),
            log_entries: Figure::default(),
            batches: Figure::default(),
            batch_operations: Histogram::new(BATCH_OPERATIONS),
            rounds: Figure::default(),
            checkpoints: Figure::default(),
            keys: Figure::default(),
            versions: Figure::default(),
            memory_bytes: Figure::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_by_their_place() {
        for (place, kind) in RequestKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }

    #[test]
    fn what_clients_make_up_cannot_make_new_series() {
        let core = CoreMetrics::new(1);
        core.client_request(false, None);
        core.client_request(false, Some("3.7"));
        core.client_request(true, Some("\u{1F600}"));
        assert_eq!(core.unary_requests[0].get(), 1);
        assert_eq!(core.unary_requests[8].get(), 1);
        assert_eq!(core.stream_requests[9].get(), 1);
        core.health_check(1, "readyz", "non_learner", true);
        core.health_check(2, "readyz", "made_up", true);
        assert_eq!(core.checks_held.iter().map(Figure::get).sum::<u64>(), 1);
    }
}
