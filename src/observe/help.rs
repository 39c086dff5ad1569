//! The HELP text of every metric: etcd's words for etcd's names, and ours for `braid_*`.

/// Returns the HELP text of the metric `name`; it is empty for a name that is not in the table.
pub(super) fn of(name: &str) -> &'static str {
    let found = HELP.binary_search_by_key(&name, |(name, _)| name);
    debug_assert!(found.is_ok(), "{name} has no HELP text");
    found.map_or("", |at| HELP[at].1)
}

/// Sorted by name.
const HELP: &[(&str, &str)] = &[
    (
        "braid_connection_memory_bytes",
        "Bytes that connections hold in requests and unsent answers.",
    ),
    ("braid_connection_memory_limit_bytes", "Bytes above which connections are not read from."),
    (
        "braid_core_connection_turns_over_total",
        "Total number of times that a connection had used up its turn and had to wait.",
    ),
    ("braid_core_connections", "Current number of open connections."),
    ("braid_core_frame_connections", "Current number of open connections that speak frames."),
    ("braid_core_loop_turns_total", "Total number of turns of the core's loop."),
    (
        "braid_core_mailbox_batches_total",
        "Total number of batches of mail received from other cores.",
    ),
    ("braid_core_mailbox_depth", "Highest number of batches of mail found at a turn, lately."),
    ("braid_core_parks_total", "Total number of times that the core went to sleep."),
    (
        "braid_core_requests_refused_total",
        "Total number of requests that were refused because there were too many.",
    ),
    ("braid_core_requests_under_way", "Current number of requests that are not answered yet."),
    ("braid_cores", "Number of cores that run."),
    ("braid_line_revisions_pending", "Number of revisions that are not stable yet."),
    ("braid_line_stable_revision", "The stable revision."),
    ("braid_log_lines_dropped_total", "Total number of log lines that were dropped."),
    (
        "braid_shard_batch_operations",
        "The distribution of the number of operations in a log entry, over all shards.",
    ),
    ("braid_shard_batches_total", "Total number of log entries proposed."),
    ("braid_shard_checkpoints_total", "Total number of checkpoints."),
    ("braid_shard_core", "The core that the shard runs on."),
    ("braid_shard_keys", "Number of keys."),
    ("braid_shard_log_bytes", "Bytes of the shard's log."),
    ("braid_shard_log_entries", "Number of entries in the shard's log."),
    ("braid_shard_memory_bytes", "Bytes of the shard's store."),
    ("braid_shard_revisions_pending", "Number of revisions that are not committed yet."),
    ("braid_shard_rounds_total", "Total number of cross-shard rounds."),
    ("braid_shard_versions", "Number of versions kept."),
    ("braid_shards", "Number of shards of the cluster."),
    (
        "braid_turn_seconds",
        "The latency distribution of a turn of the loop, in which a core does nothing else.",
    ),
    (
        "braid_version",
        "Which version of Braid is running. 1 for 'version' label with current version.",
    ),
    (
        "etcd_cluster_version",
        "Which version is running. 1 for 'cluster_version' label with current cluster version",
    ),
    (
        "etcd_debugging_disk_backend_commit_write_duration_seconds",
        "The latency distributions of commit.write called by bboltdb backend.",
    ),
    ("etcd_debugging_lease_granted_total", "The total number of granted leases."),
    ("etcd_debugging_lease_renewed_total", "The number of renewed leases seen by the leader."),
    ("etcd_debugging_lease_revoked_total", "The total number of revoked leases."),
    ("etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs."),
    ("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store."),
    ("etcd_debugging_mvcc_current_revision", "The current revision of store."),
    ("etcd_debugging_mvcc_db_compaction_keys_total", "Total number of db keys compacted."),
    (
        "etcd_debugging_mvcc_db_compaction_last",
        "The unix time of the last db compaction. Resets to 0 on start.",
    ),
    (
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        "Bucketed histogram of db compaction pause duration.",
    ),
    (
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "Bucketed histogram of db compaction total duration.",
    ),
    ("etcd_debugging_mvcc_events_total", "Total number of events sent by this member."),
    ("etcd_debugging_mvcc_keys_total", "Total number of keys."),
    ("etcd_debugging_mvcc_pending_events_total", "Total number of pending events to be sent."),
    ("etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers."),
    (
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "The total size of put kv pairs seen by this member.",
    ),
    ("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams."),
    ("etcd_debugging_mvcc_watcher_total", "Total number of watchers."),
    (
        "etcd_debugging_server_alarms",
        "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for \
         'alarm_type' label with type of this alarm",
    ),
    ("etcd_debugging_server_lease_expired_total", "The total number of expired leases."),
    (
        "etcd_disk_backend_commit_duration_seconds",
        "The latency distributions of commit called by backend.",
    ),
    (
        "etcd_disk_backend_defrag_duration_seconds",
        "The latency distribution of backend defragmentation.",
    ),
    (
        "etcd_disk_defrag_inflight",
        "Whether or not defrag is active on the member. 1 means active, 0 means not.",
    ),
    ("etcd_disk_wal_fsync_duration_seconds", "The latency distributions of fsync called by WAL."),
    ("etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL."),
    ("etcd_disk_wal_write_duration_seconds", "The latency distributions of write called by WAL."),
    (
        "etcd_mvcc_db_total_size_in_bytes",
        "Total size of the underlying database physically allocated in bytes.",
    ),
    (
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Total size of the underlying database logically in use in bytes.",
    ),
    ("etcd_mvcc_delete_total", "Total number of deletes seen by this member."),
    ("etcd_mvcc_hash_duration_seconds", "The latency distribution of storage hash operation."),
    (
        "etcd_mvcc_hash_rev_duration_seconds",
        "The latency distribution of storage hash by revision operation.",
    ),
    ("etcd_mvcc_put_total", "Total number of puts seen by this member."),
    ("etcd_mvcc_range_total", "Total number of ranges seen by this member."),
    ("etcd_mvcc_txn_total", "Total number of txns seen by this member."),
    (
        "etcd_network_client_grpc_received_bytes_total",
        "The total number of bytes received from grpc clients.",
    ),
    (
        "etcd_network_client_grpc_sent_bytes_total",
        "The total number of bytes sent to grpc clients.",
    ),
    ("etcd_network_known_peers", "The current number of known peers."),
    (
        "etcd_server_apply_duration_seconds",
        "The latency distributions of v2 apply called by backend.",
    ),
    (
        "etcd_server_client_requests_total",
        "The total number of client requests per client version.",
    ),
    ("etcd_server_feature_enabled", "Whether or not a feature is enabled. 1 is enabled, 0 is not."),
    (
        "etcd_server_go_version",
        "Which Go version server is running with. 1 for 'server_go_version' label with \
         current version.",
    ),
    ("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not."),
    ("etcd_server_health_failures", "The total number of failed health checks"),
    ("etcd_server_health_success", "The total number of successful health checks"),
    ("etcd_server_healthcheck", "The result of each kind of healthcheck."),
    ("etcd_server_healthchecks_total", "The total number of each kind of healthcheck."),
    (
        "etcd_server_id",
        "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
    ),
    ("etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise."),
    ("etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise."),
    ("etcd_server_leader_changes_seen_total", "The number of leader changes seen."),
    ("etcd_server_proposals_applied_total", "The total number of consensus proposals applied."),
    ("etcd_server_proposals_committed_total", "The total number of consensus proposals committed."),
    ("etcd_server_proposals_failed_total", "The total number of failed proposals seen."),
    ("etcd_server_proposals_pending", "The current number of pending proposals to commit."),
    ("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes."),
    ("etcd_server_range_duration_seconds", "The latency distributions of txn.Range"),
    ("etcd_server_read_indexes_failed_total", "The total number of failed read indexes seen."),
    (
        "etcd_server_request_duration_seconds",
        "Response latency distribution in seconds for each type.",
    ),
    (
        "etcd_server_slow_apply_total",
        "The total number of slow apply requests (likely overloaded from slow disk).",
    ),
    (
        "etcd_server_slow_read_indexes_total",
        "The total number of pending read indexes not in sync with leader's or timed out read \
         index requests.",
    ),
    (
        "etcd_server_version",
        "Which version is running. 1 for 'server_version' label with current version.",
    ),
    (
        "grpc_server_handled_total",
        "Total number of RPCs completed on the server, regardless of success or failure.",
    ),
    (
        "grpc_server_handling_seconds",
        "Histogram of response latency (seconds) of gRPC that had been application-level \
         handled by the server.",
    ),
    (
        "grpc_server_msg_received_total",
        "Total number of RPC stream messages received on the server.",
    ),
    ("grpc_server_msg_sent_total", "Total number of gRPC stream messages sent by the server."),
    ("grpc_server_started_total", "Total number of RPCs started on the server."),
    ("os_fd_limit", "The file descriptor limit."),
    ("os_fd_used", "The number of used file descriptors."),
    ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    (
        "process_network_receive_bytes_total",
        "Number of bytes received by the process over the network.",
    ),
    (
        "process_network_transmit_bytes_total",
        "Number of bytes sent by the process over the network.",
    ),
    ("process_open_fds", "Number of open file descriptors."),
    ("process_resident_memory_bytes", "Resident memory size in bytes."),
    ("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes."),
    ("promhttp_metric_handler_requests_in_flight", "Current number of scrapes being served."),
    ("promhttp_metric_handler_requests_total", "Total number of scrapes by HTTP status code."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_found_by_its_name() {
        assert!(HELP.iter().all(|(name, text)| of(name) == *text && !text.is_empty()));
    }
}
