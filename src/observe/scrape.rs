//! All figures under their names: what GET /metrics answers.
//!
//! The caller fills [`Scrape`]: the figures of cores and shards by reference, and those that only
//! the member knows as plain numbers. Figures of cores are added up.

use std::sync::Arc;

use super::cell::{Figure, Histogram, Observed, Scale};
use super::exposition::{Exposition, Form};
use super::figures::{
    API_VERSIONS, APPLY_SECONDS, BATCH_OPERATIONS, CODES, COMPACTION_MILLISECONDS,
    COMPACTION_PAUSE_MILLISECONDS, CoreMetrics, DEFRAGMENT_SECONDS, DISK_SECONDS, HASH_SECONDS,
    HEALTH_CHECKS, Method, MethodFigures, Outcomes, RequestKind, ShardMetrics, TTL_SECONDS,
};
use super::help;
use super::os::OsFigures;
use crate::config::gates::{FeatureGates, Stage};
use crate::config::help::{BRAID_VERSION, ETCD_VERSION};
use crate::types::MemberId;

/// The input of a scrape.
#[derive(Clone, Copy)]
pub struct Scrape<'a> {
    pub cores: &'a [Arc<CoreMetrics>],
    /// By their numbers.
    pub shards: &'a [Arc<ShardMetrics>],
    /// The list by which the cores' methods are numbered.
    pub methods: &'a [Method],
    pub member: &'a MemberFigures,
    pub gates: &'a FeatureGates,
    pub os: &'a OsFigures,
    /// `--metrics=extensive`: times by method, too.
    pub extensive: bool,
}

/// The figures of the member as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberFigures {
    /// Bytes that connections hold, and may hold.
    pub connection_bytes: u64,
    pub connection_bytes_max: u64,
    pub id: MemberId,
    pub has_leader: bool,
    pub is_leader: bool,
    pub is_learner: bool,
    /// "3.7"; empty until it is decided.
    pub cluster_version: String,
    pub leader_changes: u64,
    /// Sums over the groups.
    pub committed_index: u64,
    pub applied_index: u64,
    pub proposals_pending: u64,
    /// As Status shows it.
    pub quota_bytes: i64,
    pub db_bytes: u64,
    pub db_bytes_in_use: u64,
    pub keys: u64,
    /// The newest stable revision, and the newest handed out.
    pub stable_revision: i64,
    pub newest_revision: i64,
    /// -1 before the first compaction.
    pub compact_revision: i64,
    /// Seconds since 1970; 0 before the first.
    pub compacted_at: u64,
    pub log_lines_dropped: u64,
    /// Scrapes being answered now, this one included.
    pub scrapes_in_flight: u64,
    /// (member, alarm's name) of what is raised.
    pub alarms: Vec<(MemberId, &'static str)>,
}

/// Renders everything in Prometheus's text form.
pub fn render(scrape: &Scrape<'_>) -> String {
    let mut text = Exposition::new(help::of);
    server(&mut text, scrape);
    requests(&mut text, scrape);
    storage(&mut text, scrape);
    watches(&mut text, scrape);
    methods(&mut text, scrape);
    health(&mut text, scrape);
    process(&mut text, scrape);
    own(&mut text, scrape);
    shards(&mut text, scrape);
    text.finish()
}

fn sum(scrape: &Scrape<'_>, figure: impl Fn(&CoreMetrics) -> &Figure) -> u64 {
    scrape.cores.iter().map(|core| figure(core).get()).sum()
}

fn observed(
    scrape: &Scrape<'_>,
    scale: Scale,
    histogram: impl Fn(&CoreMetrics) -> &Histogram,
) -> Observed {
    let mut sum = Observed::none(scale);
    for core in scrape.cores {
        sum.add(&histogram(core).read());
    }
    sum
}

/// Facts about the member and its group.
fn server(text: &mut Exposition, scrape: &Scrape<'_>) {
    let member = scrape.member;
    let id = format!("{:x}", member.id.0);
    for (name, label, value) in [
        ("etcd_server_id", "server_id", id.as_str()),
        ("etcd_server_version", "server_version", ETCD_VERSION),
        ("etcd_server_go_version", "server_go_version", "none"),
        ("etcd_cluster_version", "cluster_version", { member.cluster_version.as_str() }),
        ("braid_version", "version", BRAID_VERSION),
    ] {
        if !value.is_empty() {
            text.family(name, Form::Gauge).sample(&[(label, value)], 1.0);
        }
    }
    for (name, value) in [
        ("etcd_server_has_leader", member.has_leader),
        ("etcd_server_is_leader", member.is_leader),
        ("etcd_server_is_learner", member.is_learner),
    ] {
        text.gauge(name, f64::from(u8::from(value)));
    }
    for (name, value) in [
        ("etcd_server_proposals_committed_total", member.committed_index),
        ("etcd_server_proposals_applied_total", member.applied_index),
        ("etcd_server_proposals_pending", member.proposals_pending),
    ] {
        text.gauge(name, value as f64);
    }
    // etcd counts a member among those that it knows.
    text.family("etcd_network_known_peers", Form::Gauge)
        .sample(&[("Local", &id), ("Remote", &id)], 1.0);
    text.counter("etcd_server_leader_changes_seen_total", member.leader_changes);
    text.gauge("etcd_server_quota_backend_bytes", member.quota_bytes as f64);
    let mut gates = text.family("etcd_server_feature_enabled", Form::Gauge);
    for (name, stage, enabled) in scrape.gates.iter() {
        let stage = if stage == Stage::Alpha { "ALPHA" } else { "BETA" };
        gates.sample(&[("name", name), ("stage", stage)], f64::from(u8::from(enabled)));
    }
    let mut alarms = text.family("etcd_debugging_server_alarms", Form::Gauge);
    for (raised_by, kind) in &member.alarms {
        let id = format!("{:x}", raised_by.0);
        alarms.sample(&[("alarm_type", kind), ("server_id", &id)], 1.0);
    }
}

/// Writes the series of clients' requests and their durations.
fn requests(text: &mut Exposition, scrape: &Scrape<'_>) {
    let mut calls = text.family("etcd_server_client_requests_total", Form::Counter);
    for (place, version) in API_VERSIONS.iter().enumerate() {
        for (kind, count) in [
            ("unary", sum(scrape, |core| &core.unary_requests[place])),
            ("stream", sum(scrape, |core| &core.stream_requests[place])),
        ] {
            if count > 0 {
                calls.sample(&[("client_api_version", version), ("type", kind)], count as f64);
            }
        }
    }
    let mut family = text.family("etcd_server_range_duration_seconds", Form::Histogram);
    outcomes(
        scrape,
        APPLY_SECONDS,
        |core| &core.range_duration,
        |success, observed| {
            family.observed(&[("success", success)], observed);
        },
    );
    let mut family = text.family("etcd_server_request_duration_seconds", Form::Histogram);
    for kind in RequestKind::ALL {
        let place = kind as usize;
        outcomes(
            scrape,
            DISK_SECONDS,
            |core| &core.request_duration[place],
            |success, observed| {
                family.observed(&[("success", success), ("type", kind.as_str())], observed);
            },
        );
    }
    let mut family = text.family("etcd_server_apply_duration_seconds", Form::Histogram);
    for kind in RequestKind::ALL {
        let place = kind as usize;
        outcomes(
            scrape,
            APPLY_SECONDS,
            |core| &core.apply_duration[place],
            |success, observed| {
                let labels = [("op", kind.as_str()), ("success", success), ("version", "v3")];
                family.observed(&labels, observed);
            },
        );
    }
}

/// Times by success; what never happened is not shown, as in etcd.
fn outcomes(
    scrape: &Scrape<'_>,
    scale: Scale,
    of: impl Fn(&CoreMetrics) -> &Outcomes,
    mut show: impl FnMut(&str, &Observed),
) {
    for (success, times) in [
        ("false", observed(scrape, scale, |core| &of(core).failure)),
        ("true", observed(scrape, scale, |core| &of(core).success)),
    ] {
        if times.count() > 0 {
            show(success, &times);
        }
    }
}

/// Counts of all cores, by etcd's names.
type CoreCounter = (&'static str, fn(&CoreMetrics) -> &Figure);

const CORE_COUNTERS: &[CoreCounter] = &[
    ("etcd_server_proposals_failed_total", |core| &core.proposals_failed),
    ("etcd_server_slow_apply_total", |core| &core.slow_applies),
    ("etcd_server_slow_read_indexes_total", |core| &core.slow_read_indexes),
    ("etcd_server_read_indexes_failed_total", |core| &core.read_indexes_failed),
    ("etcd_server_health_success", |core| &core.health_successes),
    ("etcd_server_health_failures", |core| &core.health_failures),
    ("etcd_network_client_grpc_received_bytes_total", |core| &core.client_received_bytes),
    ("etcd_network_client_grpc_sent_bytes_total", |core| &core.client_sent_bytes),
    ("etcd_debugging_lease_granted_total", |core| &core.leases_granted),
    ("etcd_debugging_lease_revoked_total", |core| &core.leases_revoked),
    ("etcd_debugging_lease_renewed_total", |core| &core.leases_renewed),
    ("etcd_debugging_server_lease_expired_total", |core| &core.leases_expired),
    ("etcd_mvcc_range_total", |core| &core.ranges),
    ("etcd_mvcc_put_total", |core| &core.puts),
    ("etcd_mvcc_delete_total", |core| &core.deletes),
    ("etcd_mvcc_txn_total", |core| &core.txns),
    ("etcd_debugging_mvcc_events_total", |core| &core.watch_events),
    ("etcd_debugging_mvcc_db_compaction_keys_total", |core| &core.compacted_versions),
];

/// Times of all cores, by etcd's names.
type CoreHistogram = (&'static str, Scale, fn(&CoreMetrics) -> &Histogram);

const CORE_HISTOGRAMS: &[CoreHistogram] = &[
    ("etcd_disk_wal_fsync_duration_seconds", DISK_SECONDS, |core| &core.wal_fsync_duration),
    ("etcd_disk_wal_write_duration_seconds", DISK_SECONDS, |core| &core.wal_write_duration),
    ("etcd_disk_backend_commit_duration_seconds", DISK_SECONDS, |core| {
        &core.checkpoint_commit_duration
    }),
    ("etcd_debugging_disk_backend_commit_write_duration_seconds", DISK_SECONDS, |core| {
        &core.checkpoint_write_duration
    }),
    ("etcd_disk_backend_defrag_duration_seconds", DEFRAGMENT_SECONDS, |core| {
        &core.defragment_duration
    }),
    ("etcd_mvcc_hash_duration_seconds", HASH_SECONDS, |core| &core.hash_duration),
    ("etcd_mvcc_hash_rev_duration_seconds", HASH_SECONDS, |core| &core.hash_revision_duration),
    (
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        COMPACTION_PAUSE_MILLISECONDS,
        |core| &core.compaction_pause,
    ),
    (
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        COMPACTION_MILLISECONDS,
        |core| &core.compaction_duration,
    ),
    ("etcd_debugging_lease_ttl_total", TTL_SECONDS, |core| &core.lease_ttls),
];

/// Writes the series of data, disks and revisions.
fn storage(text: &mut Exposition, scrape: &Scrape<'_>) {
    for (name, figure) in CORE_COUNTERS {
        text.counter(name, sum(scrape, figure));
    }
    for (name, scale, histogram) in CORE_HISTOGRAMS {
        text.histogram(name, &observed(scrape, *scale, histogram));
    }
    let member = scrape.member;
    let written = sum(scrape, |core| &core.wal_write_bytes);
    let put_bytes = sum(scrape, |core| &core.put_bytes);
    let defragments = sum(scrape, |core| &core.defragments_under_way);
    for (name, value) in [
        ("etcd_disk_wal_write_bytes_total", written as f64),
        ("etcd_disk_defrag_inflight", defragments as f64),
        ("etcd_mvcc_db_total_size_in_bytes", member.db_bytes as f64),
        ("etcd_mvcc_db_total_size_in_use_in_bytes", member.db_bytes_in_use as f64),
        ("etcd_debugging_mvcc_keys_total", member.keys as f64),
        ("etcd_debugging_mvcc_total_put_size_in_bytes", put_bytes as f64),
        ("etcd_debugging_mvcc_current_revision", member.stable_revision as f64),
        ("etcd_debugging_mvcc_compact_revision", member.compact_revision as f64),
        ("etcd_debugging_mvcc_db_compaction_last", member.compacted_at as f64),
    ] {
        text.gauge(name, value);
    }
}

/// Watchers and what they are told.
fn watches(text: &mut Exposition, scrape: &Scrape<'_>) {
    for (name, figure) in WATCH_GAUGES {
        text.gauge(name, sum(scrape, figure) as f64);
    }
}

const WATCH_GAUGES: &[CoreCounter] = &[
    ("etcd_debugging_mvcc_watch_stream_total", |core| &core.watch_streams),
    ("etcd_debugging_mvcc_watcher_total", |core| &core.watchers),
    ("etcd_debugging_mvcc_slow_watcher_total", |core| &core.watchers_slow),
    ("etcd_debugging_mvcc_pending_events_total", |core| &core.watch_events_pending),
];

/// Counts of one method, by gRPC's names.
type MethodCounter = (&'static str, fn(&MethodFigures) -> &Figure);

const METHOD_COUNTERS: &[MethodCounter] = &[
    ("grpc_server_started_total", |method| &method.started),
    ("grpc_server_msg_received_total", |method| &method.received),
    ("grpc_server_msg_sent_total", |method| &method.sent),
];

/// Writes the series of calls by method; every series is there from the start.
fn methods(text: &mut Exposition, scrape: &Scrape<'_>) {
    let shown: Vec<(usize, &Method)> = scrape
        .methods
        .iter()
        .enumerate()
        .filter(|(place, method)| {
            method.shown_unused || sum(scrape, |core| &core.methods[*place].started) > 0
        })
        .collect();
    for (name, figure) in METHOD_COUNTERS {
        let mut family = text.family(name, Form::Counter);
        for (place, method) in &shown {
            let count = sum(scrape, |core| figure(&core.methods[*place]));
            family.sample(&method.labels(), count as f64);
        }
    }
    let mut family = text.family("grpc_server_handled_total", Form::Counter);
    for (place, method) in &shown {
        let [grpc_method, service, kind] = method.labels();
        for (number, code) in CODES.iter().enumerate() {
            let count = sum(scrape, |core| &core.methods[*place].handled[number]);
            let labels = [("grpc_code", *code), grpc_method, service, kind];
            family.sample(&labels, count as f64);
        }
    }
    if scrape.extensive {
        let mut family = text.family("grpc_server_handling_seconds", Form::Histogram);
        for (place, method) in &shown {
            let scale = super::cell::PROMETHEUS_DEFAULT;
            let times = observed(scrape, scale, |core| &core.methods[*place].handling);
            family.observed(&method.labels(), &times);
        }
    }
}

impl Method {
    fn labels(&self) -> [(&'static str, &'static str); 3] {
        [
            ("grpc_method", self.method),
            ("grpc_service", self.service),
            ("grpc_type", self.kind.as_str()),
        ]
    }
}

fn process(text: &mut Exposition, scrape: &Scrape<'_>) {
    let os = scrape.os;
    for (name, value) in [
        ("os_fd_limit", os.max_fds as f64),
        ("os_fd_used", os.open_fds as f64),
        ("process_max_fds", os.max_fds as f64),
        ("process_open_fds", os.open_fds as f64),
        ("process_resident_memory_bytes", os.resident_bytes as f64),
        ("process_start_time_seconds", os.start_time_seconds),
        ("process_virtual_memory_bytes", os.virtual_bytes as f64),
        ("process_virtual_memory_max_bytes", os.virtual_bytes_max as f64),
        ("promhttp_metric_handler_requests_in_flight", scrape.member.scrapes_in_flight as f64),
    ] {
        text.gauge(name, value);
    }
    for (name, value) in [
        ("process_cpu_seconds_total", os.cpu_seconds),
        ("process_network_receive_bytes_total", os.network_received_bytes as f64),
        ("process_network_transmit_bytes_total", os.network_sent_bytes as f64),
    ] {
        text.family(name, Form::Counter).sample(&[], value);
    }
}

/// Checks that were made; what was never asked for is not shown, as in etcd.
fn health(text: &mut Exposition, scrape: &Scrape<'_>) {
    let mut family = text.family("etcd_server_healthchecks_total", Form::Counter);
    for (place, (endpoint, name)) in HEALTH_CHECKS.iter().enumerate() {
        for (status, count) in [
            ("error", sum(scrape, |core| &core.checks_failed[place])),
            ("success", sum(scrape, |core| &core.checks_held[place])),
        ] {
            if count > 0 {
                let labels = [("name", *name), ("status", status), ("type", *endpoint)];
                family.sample(&labels, count as f64);
            }
        }
    }
    let mut last = text.family("etcd_server_healthcheck", Form::Gauge);
    for (place, (endpoint, name)) in HEALTH_CHECKS.iter().enumerate() {
        // The one that was made last, whichever core it was on.
        let newest = scrape.cores.iter().map(|core| core.checks_last[place].get()).max();
        if let Some(newest) = newest.filter(|newest| *newest > 0) {
            last.sample(&[("name", *name), ("type", *endpoint)], (newest & 1) as f64);
        }
    }
    text.family("promhttp_metric_handler_requests_total", Form::Counter)
        .sample(&[("code", "200")], sum(scrape, |core| &core.scrapes) as f64);
}

/// A figure of each core, ours.
type CoreSeries = (&'static str, Form, fn(&CoreMetrics) -> &Figure);

const CORE_SERIES: &[CoreSeries] = &[
    ("braid_core_loop_turns_total", Form::Counter, |core| &core.loop_turns),
    ("braid_core_parks_total", Form::Counter, |core| &core.parks),
    ("braid_core_connections", Form::Gauge, |core| &core.connections),
    ("braid_core_frame_connections", Form::Gauge, |core| &core.frame_connections),
    ("braid_core_requests_under_way", Form::Gauge, |core| &core.requests_under_way),
    ("braid_core_requests_refused_total", Form::Counter, |core| &core.requests_refused),
    ("braid_core_connection_turns_over_total", Form::Counter, |core| &core.turns_over),
    ("braid_core_mailbox_batches_total", Form::Counter, |core| &core.mailbox_batches),
    ("braid_core_mailbox_depth", Form::Gauge, |core| &core.mailbox_depth),
];

/// Writes the series of the revision line, and of each core.
fn own(text: &mut Exposition, scrape: &Scrape<'_>) {
    let member = scrape.member;
    let pending = (member.newest_revision - member.stable_revision).max(0);
    for (name, value) in [
        ("braid_cores", scrape.cores.len() as f64),
        ("braid_shards", scrape.shards.len() as f64),
        ("braid_connection_memory_bytes", member.connection_bytes as f64),
        ("braid_connection_memory_limit_bytes", member.connection_bytes_max as f64),
        ("braid_line_stable_revision", member.stable_revision as f64),
        ("braid_line_revisions_pending", pending as f64),
    ] {
        text.gauge(name, value);
    }
    text.counter("braid_log_lines_dropped_total", member.log_lines_dropped);
    for (name, form, figure) in CORE_SERIES {
        let mut family = text.family(name, *form);
        for (number, core) in scrape.cores.iter().enumerate() {
            family.sample(&[("core", &number.to_string())], figure(core).get() as f64);
        }
    }
    let mut family = text.family("braid_turn_seconds", Form::Histogram);
    for (number, core) in scrape.cores.iter().enumerate() {
        family.observed(&[("core", &number.to_string())], &core.turn_duration.read());
    }
}

/// A figure of each shard.
type ShardSeries = (&'static str, Form, fn(&ShardMetrics) -> &Figure);

const SHARD_SERIES: &[ShardSeries] = &[
    ("braid_shard_core", Form::Gauge, |shard| &shard.core),
    ("braid_shard_revisions_pending", Form::Gauge, |shard| &shard.revisions_pending),
    ("braid_shard_log_bytes", Form::Gauge, |shard| &shard.log_bytes),
    ("braid_shard_log_entries", Form::Gauge, |shard| &shard.log_entries),
    ("braid_shard_batches_total", Form::Counter, |shard| &shard.batches),
    ("braid_shard_rounds_total", Form::Counter, |shard| &shard.rounds),
    ("braid_shard_checkpoints_total", Form::Counter, |shard| &shard.checkpoints),
    ("braid_shard_keys", Form::Gauge, |shard| &shard.keys),
    ("braid_shard_versions", Form::Gauge, |shard| &shard.versions),
    ("braid_shard_memory_bytes", Form::Gauge, |shard| &shard.memory_bytes),
];

fn shards(text: &mut Exposition, scrape: &Scrape<'_>) {
    for (name, form, figure) in SHARD_SERIES {
        let mut family = text.family(name, *form);
        for (number, shard) in scrape.shards.iter().enumerate() {
            family.sample(&[("shard", &number.to_string())], figure(shard).get() as f64);
        }
    }
    let mut family = text.family("braid_shard_batch_operations", Form::Histogram);
    let mut sum = Observed::none(BATCH_OPERATIONS);
    for shard in scrape.shards {
        sum.add(&shard.batch_operations.read());
    }
    family.observed(&[], &sum);
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::figures::MethodKind;
    use super::*;
    use crate::types::Tally;

    const METHODS: &[Method] = &[
        Method {
            service: "etcdserverpb.KV",
            method: "Put",
            kind: MethodKind::Unary,
            shown_unused: true,
        },
        Method {
            service: "etcdserverpb.Watch",
            method: "Watch",
            kind: MethodKind::BidiStream,
            shown_unused: true,
        },
        Method {
            service: "v3lockpb.Lock",
            method: "Lock",
            kind: MethodKind::Unary,
            shown_unused: false,
        },
    ];

    fn cores(count: usize) -> Vec<Arc<CoreMetrics>> {
        (0..count).map(|_| Arc::new(CoreMetrics::new(METHODS.len()))).collect()
    }

    fn text(cores: &[Arc<CoreMetrics>], member: &MemberFigures, extensive: bool) -> String {
        let shards = [Arc::new(ShardMetrics::default()), Arc::new(ShardMetrics::default())];
        shards[1].batch_operations.observe(3);
        render(&Scrape {
            cores,
            shards: &shards,
            methods: METHODS,
            member,
            gates: &FeatureGates::default(),
            os: &OsFigures { max_fds: 1024, ..OsFigures::default() },
            extensive,
        })
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }

    #[test]
    fn lines_are_exactly_those_that_etcds_own_tests_look_for() {
        let cores = cores(2);
        cores[0].puts.add(1);
        cores[1].puts.add(1);
        cores[0].deletes.add(3);
        for _ in 0..6 {
            cores[1].methods[1].handled[1].add(1);
        }
        cores[0].turn_duration.observe(200_000);
        let member = MemberFigures {
            id: MemberId(0x8e9e_05c5_2164_694d),
            has_leader: true,
            is_leader: true,
            cluster_version: "3.7".into(),
            quota_bytes: 2 << 30,
            keys: 1,
            stable_revision: 3,
            newest_revision: 5,
            compact_revision: -1,
            ..MemberFigures::default()
        };
        let text = text(&cores, &member, false);
        for line in [
            "etcd_mvcc_put_total 2",
            "etcd_debugging_mvcc_keys_total 1",
            "etcd_mvcc_delete_total 3",
            "etcd_server_version{server_version=\"3.7.1\"} 1",
            "etcd_cluster_version{cluster_version=\"3.7\"} 1",
            "etcd_server_is_learner 0",
            "etcd_server_has_leader 1",
            "etcd_server_id{server_id=\"8e9e05c52164694d\"} 1",
            "etcd_server_quota_backend_bytes 2.147483648e+09",
            "etcd_debugging_mvcc_compact_revision -1",
            "etcd_server_feature_enabled{name=\"FastLeaseKeepAlive\",stage=\"BETA\"} 1",
            "grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"Watch\",\
             grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 6",
            "grpc_server_started_total{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",\
             grpc_type=\"unary\"} 0",
            "# TYPE etcd_server_proposals_committed_total gauge",
            "# TYPE etcd_server_health_success counter",
            "os_fd_limit 1024",
            "braid_line_revisions_pending 2",
            "braid_core_loop_turns_total{core=\"1\"} 0",
            "braid_turn_seconds_bucket{core=\"0\",le=\"0.000256\"} 1",
            "braid_turn_seconds_count{core=\"1\"} 0",
            "braid_shard_keys{shard=\"1\"} 0",
            "braid_shard_batch_operations_bucket{le=\"4\"} 1",
            "braid_shard_batch_operations_sum 3",
        ] {
            has(&text, line);
        }
        assert!(!text.contains("v3lockpb"));
        assert!(!text.contains("grpc_server_handling_seconds"));
    }

    #[test]
    fn times_of_cores_add_up_and_unused_kinds_are_not_shown() {
        let cores = cores(2);
        cores[0].request_took(RequestKind::Put, true, 1_500_000);
        cores[1].request_took(RequestKind::Put, true, 500_000);
        cores[1].apply_took(RequestKind::Txn, Tally { done: 0, refused: 1 }, 100_000);
        cores[0].client_request(true, Some("3.7"));
        cores[0].health_check(7, "livez", "serializable_read", false);
        cores[0].health_check(9, "readyz", "non_learner", false);
        cores[1].health_check(8, "readyz", "non_learner", true);
        cores[1].health_check(9, "readyz", "data_corruption", true);
        cores[1].scrapes.add(4);
        cores[0].methods[2].started.add(1);
        cores[0].methods[2].handling.observe(1_000_000);
        let text = text(&cores, &MemberFigures::default(), true);
        for line in [
            "etcd_server_request_duration_seconds_bucket{success=\"true\",type=\"Put\",\
             le=\"0.001\"} 1",
            "etcd_server_request_duration_seconds_bucket{success=\"true\",type=\"Put\",\
             le=\"0.002\"} 2",
            "etcd_server_request_duration_seconds_sum{success=\"true\",type=\"Put\"} 0.002",
            "etcd_server_apply_duration_seconds_count{op=\"Txn\",success=\"false\",\
             version=\"v3\"} 1",
            "etcd_server_healthchecks_total{name=\"serializable_read\",status=\"error\",\
             type=\"livez\"} 1",
            "etcd_server_healthcheck{name=\"serializable_read\",type=\"livez\"} 0",
            "etcd_server_healthcheck{name=\"non_learner\",type=\"readyz\"} 0",
            "etcd_server_healthcheck{name=\"data_corruption\",type=\"readyz\"} 1",
            "promhttp_metric_handler_requests_total{code=\"200\"} 4",
            "etcd_server_client_requests_total{client_api_version=\"3.7\",type=\"stream\"} 1",
            "grpc_server_handling_seconds_bucket{grpc_method=\"Lock\",\
             grpc_service=\"v3lockpb.Lock\",grpc_type=\"unary\",le=\"0.005\"} 1",
        ] {
            has(&text, line);
        }
        assert!(!text.contains("type=\"Alarm\""));
        assert!(!text.contains("{name=\"linearizable_read\""), "it was never asked for");
    }

    /// No family twice, every sample under its family, every series once, every number a number.
    #[test]
    fn the_text_is_well_formed() {
        let text = text(&cores(1), &MemberFigures::default(), true);
        let mut forms: BTreeMap<&str, &str> = BTreeMap::new();
        let mut series = BTreeSet::new();
        let mut last = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, form) = rest.split_once(' ').unwrap();
                assert!(name > last, "{name} after {last}");
                assert!(forms.insert(name, form).is_none(), "{name} twice");
                last = name;
            } else if !line.starts_with("# HELP ") {
                let (name_and_labels, value) = line.rsplit_once(' ').unwrap();
                assert!(series.insert(name_and_labels.to_string()), "{line} twice");
                let name = name_and_labels.split('{').next().unwrap();
                let family = match forms[last] {
                    "histogram" => name
                        .strip_suffix("_bucket")
                        .or(name.strip_suffix("_sum"))
                        .or(name.strip_suffix("_count"))
                        .unwrap(),
                    _ => name,
                };
                assert_eq!(family, last);
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(forms.len() > 90, "{} families", forms.len());
    }
}
