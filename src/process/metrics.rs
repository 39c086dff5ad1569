//! From what the cores count to what GET /metrics answers.
//!
//! Each core copies its counters into figures of its own at every beat; whoever scrapes adds the
//! cores' figures up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::budget::Budget;
use crate::config::Config;
use crate::member::{Core, MemberConfig, Shared};
use crate::observe::{
    CoreMetrics, LinesDropped, MemberFigures, Method as Named, MethodKind, OsFigures, Scrape,
    ShardMetrics, render,
};
use crate::protocol::Method;
use crate::protocol::method::Kind;
use crate::server::Front;
use crate::types::MemberId;

/// The figures of a member: shared by its cores, each part written by one of them.
pub(super) struct Figures {
    cores: Vec<Arc<CoreMetrics>>,
    shards: Vec<Arc<ShardMetrics>>,
    methods: Vec<Named>,
    shared: Arc<Shared>,
    id: MemberId,
    quota_shown: i64,
    config: Config,
    budget: Arc<Budget>,
    /// When the newest compaction target was first seen.
    compacted_at: AtomicU64,
    lines_dropped: LinesDropped,
    scrapes_in_flight: AtomicU64,
}

impl Figures {
    pub fn new(
        config: &Config,
        member: &MemberConfig,
        shared: &Arc<Shared>,
        lines_dropped: LinesDropped,
        budget: &Arc<Budget>,
    ) -> Figures {
        let methods: Vec<Named> = Method::ALL.iter().copied().map(named).collect();
        let cores = (0..shared.cores).map(|_| Arc::new(CoreMetrics::new(methods.len()))).collect();
        Figures {
            cores,
            shards: (0..shared.shards).map(|_| Arc::default()).collect(),
            methods,
            shared: Arc::clone(shared),
            id: member.identity.member,
            quota_shown: member.quota_shown,
            config: config.clone(),
            budget: Arc::clone(budget),
            compacted_at: AtomicU64::new(0),
            lines_dropped,
            scrapes_in_flight: AtomicU64::new(0),
        }
    }

    /// Returns the figures of all cores.
    pub fn cores(&self) -> &[Arc<CoreMetrics>] {
        &self.cores
    }

    /// Returns the figures of one core, which alone writes them.
    pub fn core(&self, core: usize) -> &Arc<CoreMetrics> {
        &self.cores[core]
    }

    /// From when on applying is slow.
    pub fn slow_apply(&self) -> Duration {
        self.config.timing.warning_apply
    }

    /// Copies what a core has counted into its figures.
    pub fn publish(&self, core: &Core, front: &Front) {
        let figures = self.core(usize::from(core.id().0));
        let meters = front.meters();
        for count in meters.methods() {
            let place = Method::ALL.iter().position(|method| *method == count.method);
            let method = &figures.methods[place.expect("a method of the table")];
            method.started.set(count.started);
            method.received.set(count.received);
            method.sent.set(count.sent);
            for (figure, handled) in method.handled.iter().zip(count.handled) {
                figure.set(handled);
            }
        }
        figures.client_received_bytes.set(meters.received_bytes.get());
        figures.client_sent_bytes.set(meters.sent_bytes.get());
        figures.frame_connections.set(meters.connections_frames.get());
        figures.connections.set(front.connections() as u64);
        figures.requests_under_way.set(front.requests() as u64);
        self.publish_shards(core);
        let watches = core.watch_counts();
        figures.watch_streams.set(watches.streams as u64);
        figures.watchers.set(watches.watchers as u64);
        figures.watchers_slow.set(watches.unsynced as u64);
        figures.watch_events.set(watches.events);
        figures.watch_events_pending.set(meters.events_pending.get());
        if let Some(leases) = core.lease_counters() {
            figures.leases_granted.set(leases.granted);
            figures.leases_revoked.set(leases.revoked);
            figures.leases_renewed.set(leases.renewed);
            figures.leases_expired.set(leases.expired);
            figures.lease_ttls.set(&leases.ttls.places, leases.ttls.sum);
        }
        figures.mailbox_depth.set(figures.mailbox_peak.get());
        figures.mailbox_peak.set(0);
    }

    fn publish_shards(&self, core: &Core) {
        let mut sums = [0; 7];
        for shard in core.shards() {
            let counters = shard.counters();
            let log = shard.replica().counters();
            for (sum, count) in sums.iter_mut().zip([
                counters.ranges,
                counters.puts,
                counters.deletes,
                counters.txns,
                log.bytes,
                counters.put_bytes,
                counters.versions_compacted,
            ]) {
                *sum += count;
            }
            let figures = &self.shards[usize::from(shard.id().0)];
            let size = shard.store().size();
            figures.core.set(u64::from(core.id().0));
            figures.revisions_pending.set(shard.unstable() as u64);
            figures.log_bytes.set(shard.replica().log_bytes());
            figures.log_entries.set(counters.entries);
            figures.batches.set(log.batches);
            figures.batch_operations.set(&counters.operations.places, counters.operations.sum);
            figures.rounds.set(counters.rounds);
            figures.checkpoints.set(counters.checkpoints);
            figures.keys.set(size.keys);
            figures.versions.set(size.versions);
            figures.memory_bytes.set(size.held);
        }
        let figures = self.core(usize::from(core.id().0));
        let [ranges, puts, deletes, txns, log_bytes, put_bytes, compacted] = sums;
        figures.ranges.set(ranges);
        figures.puts.set(puts);
        figures.deletes.set(deletes);
        figures.txns.set(txns);
        figures.wal_write_bytes.set(log_bytes);
        figures.put_bytes.set(put_bytes);
        figures.compacted_versions.set(compacted);
    }

    /// Renders the answer to a scrape on this core.
    pub fn scrape(&self, core: usize) -> String {
        self.scrapes_in_flight.fetch_add(1, Ordering::Relaxed);
        let text = self.render();
        self.scrapes_in_flight.fetch_sub(1, Ordering::Relaxed);
        self.core(core).scrapes.add(1);
        text
    }

    fn render(&self) -> String {
        let shared = &self.shared;
        let (committed_index, applied_index) = shared.indexes();
        let sizes = shared.sizes();
        let (stable, newest) = (shared.sequencer.stable(), shared.sequencer.newest());
        let alarms = shared.alarms();
        let alarms = alarms.iter().map(|alarm| (alarm.member, alarm.kind.name()));
        let member = MemberFigures {
            connection_bytes: self.budget.taken() as u64,
            connection_bytes_max: self.budget.limit() as u64,
            id: self.id,
            has_leader: shared.leader() != MemberId(0),
            is_leader: shared.leader() == self.id,
            is_learner: false,
            cluster_version: "3.7".to_owned(),
            leader_changes: shared.term(),
            committed_index,
            applied_index,
            proposals_pending: newest.0.saturating_sub(stable.0).max(0) as u64,
            quota_bytes: self.quota_shown,
            db_bytes: sizes.held,
            db_bytes_in_use: sizes.in_use,
            keys: sizes.keys,
            stable_revision: stable.0,
            newest_revision: newest.0,
            compact_revision: shared.compacted(),
            compacted_at: self.compacted_at.load(Ordering::Relaxed),
            log_lines_dropped: self.lines_dropped.count(),
            scrapes_in_flight: self.scrapes_in_flight.load(Ordering::Relaxed),
            alarms: alarms.collect(),
        };
        render(&Scrape {
            cores: &self.cores,
            shards: &self.shards,
            methods: &self.methods,
            member: &member,
            gates: &self.config.gates,
            os: &OsFigures::look(),
            extensive: self.config.metrics_extensive,
        })
    }

    /// A compaction was seen for the first time.
    pub fn note_compaction(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.compacted_at.store(now.as_secs(), Ordering::Relaxed);
    }
}

fn named(method: Method) -> Named {
    let service = method.service();
    Named {
        service,
        method: method.name(),
        kind: match method.kind() {
            Kind::Unary => MethodKind::Unary,
            Kind::Stream => MethodKind::ServerStream,
            Kind::Bidi => MethodKind::BidiStream,
        },
        shown_unused: !service.starts_with("v3"),
    }
}
