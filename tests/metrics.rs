//! GET /metrics of a running server: every series about requests moves with them. Series that etcd
//! has too are proven against it with `BRAID_CASES_ETCD`.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use braid::client::blocking::Client;
use braid::client::{Method, Options, Transport};
use braid::protocol::pb::etcdserverpb as pb;
use common::{Server, http_get, program};
use futures_lite::future::block_on;
use pb::request_op::Request as Op;

/// Series that are copied by a core's clock show what happened within a beat or two.
const PATIENCE: Duration = Duration::from_secs(20);

/// Names with labels, and their values.
type Shown = BTreeMap<String, f64>;

fn scrape(server: &Server) -> Shown {
    let (code, body) = http_get(server.client_port, "/metrics");
    assert_eq!(code, 200);
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// What has come to a series since `before`; one that is not shown has counted nothing.
fn rise(before: &Shown, now: &Shown, name: &str) -> f64 {
    let value = |shown: &Shown| shown.get(name).copied().unwrap_or(0.0);
    value(now) - value(before)
}

/// Until each of these has risen by so much, and not by more.
fn await_rises(server: &Server, before: &Shown, expected: &[(&str, f64)]) {
    let began = Instant::now();
    loop {
        let now = scrape(server);
        let missing = expected.iter().find(|(name, rises)| rise(before, &now, name) != *rises);
        let Some((name, rises)) = missing else { return };
        let rise = rise(before, &now, name);
        assert!(rise < *rises, "{name} has risen by {rise}, of {rises}");
        assert!(began.elapsed() < PATIENCE, "{name} has risen by {rise}, of {rises}");
    }
}

/// Two cores and several shards, so that there is mail and there are rounds.
fn start() -> (Server, Client) {
    let (flags, transport): (&[&str], _) = match program().is_etcd() {
        true => (&[], Transport::Grpc),
        false => (&["--cores=2", "--shards=4"], Transport::Frames),
    };
    let server = Server::start(&program(), flags);
    let options = Options { transport, ..Options::endpoints([server.endpoint()]) };
    let client = Client::connect(options).expect("connect to the server");
    (server, client)
}

fn put(key: String, lease: i64) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: "ten bytes.".into(), lease, ..Default::default() }
}

fn get(key: &str, revision: i64) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into(), revision, ..Default::default() }
}

/// Sixteen puts, over all shards.
fn wide_txn(client: &Client) {
    let ops = (0..16).map(|number| Op::RequestPut(put(format!("wide/{number:02}"), 0)));
    let success = ops.map(|op| pb::RequestOp { request: Some(op) }).collect();
    client.txn(pb::TxnRequest { success, ..Default::default() }).expect("a txn");
}

#[test]
fn applied_requests_show_with_their_times() {
    let (server, client) = start();
    let before = scrape(&server);
    for number in 0..40 {
        client.put(put(format!("key/{number:02}"), 0)).expect("a put");
    }
    client.put(put("key/00".to_owned(), 77)).expect_err("there is no such lease");
    let gone = pb::DeleteRangeRequest { key: "key/39".into(), ..Default::default() };
    client.delete_range(gone).expect("a delete");
    (0..8).for_each(|_| wide_txn(&client));
    let wanted = pb::LeaseGrantRequest { id: 0, ttl: 600 };
    let grant: pb::LeaseGrantResponse =
        client.unary(Method::LEASE_GRANT, &wanted).expect("a lease");
    let revoke = pb::LeaseRevokeRequest { id: grant.id };
    let _: pb::LeaseRevokeResponse = client.unary(Method::LEASE_REVOKE, &revoke).expect("its end");
    use pb::alarm_request::AlarmAction::{Activate, Deactivate};
    let member_id = grant.header.as_ref().expect("a header").member_id;
    for action in [Activate, Deactivate] {
        let alarm = pb::AlarmType::Nospace.into();
        let request = pb::AlarmRequest { action: action.into(), member_id, alarm };
        let _: pb::AlarmResponse = client.unary(Method::ALARM, &request).expect("an alarm");
    }
    let revision = grant.header.expect("a header").revision;
    client.compact(pb::CompactionRequest { revision, physical: true }).expect("a compaction");
    let applied = |op: &str, success: bool| {
        let labels = format!("{{op=\"{op}\",success=\"{success}\",version=\"v3\"}}");
        format!("etcd_server_apply_duration_seconds_count{labels}")
    };
    let counts = [
        // Of 16 keys all but the last of 8 versions; a delete with what it deleted.
        ("etcd_debugging_mvcc_db_compaction_keys_total".to_owned(), 7.0 * 16.0 + 2.0),
        (applied("Put", true), 40.0),
        (applied("Put", false), 1.0),
        (applied("DeleteRange", true), 1.0),
        (applied("Txn", true), 8.0),
        (applied("LeaseGrant", true), 1.0),
        (applied("LeaseRevoke", true), 1.0),
        (applied("Alarm", true), 2.0),
        (applied("Compaction", true), 1.0),
        ("etcd_debugging_mvcc_total_put_size_in_bytes".to_owned(), 40.0 * 16.0 + 128.0 * 17.0),
    ];
    let expected: Vec<_> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    await_rises(&server, &before, &expected);
    let now = scrape(&server);
    let times = applied("Put", true).replace("_count", "_sum");
    assert!(rise(&before, &now, &times) > 0.0, "a turn takes some time");
}

#[test]
fn ranges_show_with_their_times() {
    let (server, client) = start();
    client.put(put("a".to_owned(), 0)).expect("a put");
    let before = scrape(&server);
    for number in 0..30 {
        let key = ["a", "b", "c"][number % 3];
        client.range(get(key, 0)).expect("a read");
    }
    let all = pb::RangeRequest { range_end: "z".into(), ..get("a", 0) };
    client.range(all).expect("a read of all shards");
    client.range(get("a", 1000)).expect_err("a future revision");
    let shown = |success: bool, what: &str| {
        format!("etcd_server_range_duration_seconds_{what}{{success=\"{success}\"}}")
    };
    let (done, failed) = (shown(true, "count"), shown(false, "count"));
    await_rises(&server, &before, &[(&done, 31.0), (&failed, 1.0)]);
    assert!(rise(&before, &scrape(&server), &shown(true, "sum")) > 0.0);
    let requests = "etcd_server_request_duration_seconds_count{success=\"true\",type=\"Range\"}";
    assert_eq!(rise(&before, &scrape(&server), requests), 31.0);
}

/// Each maintenance request shows under etcd's name for it.
#[test]
fn maintenance_shows_with_its_times() {
    let (server, client) = start();
    let before = scrape(&server);
    let puts = [(); 3].map(|()| client.put(put("a".to_owned(), 0)).expect("a put"));
    let revision = puts[2].header.as_ref().expect("a header").revision;
    // etcd keeps the hash at the revision of a compaction, and does not count asking for that.
    let compact = pb::CompactionRequest { revision: revision - 1, physical: true };
    client.compact(compact).expect("a compaction");
    let _: pb::HashKvResponse =
        client.unary(Method::HASH_KV, &pb::HashKvRequest { revision }).expect("a hash");
    let _: pb::HashResponse = client.unary(Method::HASH, &pb::HashRequest {}).expect("a hash");
    for _ in 0..2 {
        let _: pb::DefragmentResponse =
            client.unary(Method::DEFRAGMENT, &pb::DefragmentRequest {}).expect("a defragmentation");
    }
    let expected = [
        ("etcd_mvcc_hash_duration_seconds_count", 1.0),
        ("etcd_mvcc_hash_rev_duration_seconds_count", 1.0),
        ("etcd_disk_backend_defrag_duration_seconds_count", 2.0),
        ("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count", 1.0),
        ("etcd_disk_defrag_inflight", 0.0),
    ];
    await_rises(&server, &before, &expected);
    let now = scrape(&server);
    let pauses = "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_count";
    assert!(rise(&before, &now, pauses) >= 1.0);
}

#[test]
fn scrapes_and_checks_show() {
    let (server, _client) = start();
    let scrapes = "promhttp_metric_handler_requests_total{code=\"200\"}";
    let first = scrape(&server);
    assert_eq!(rise(&first, &scrape(&server), scrapes), 1.0);
    assert_eq!(first["promhttp_metric_handler_requests_in_flight"], 1.0);
    let all = [
        ("livez", "serializable_read"),
        ("readyz", "data_corruption"),
        ("readyz", "linearizable_read"),
        ("readyz", "non_learner"),
        ("readyz", "serializable_read"),
    ];
    let last = |(kind, name): (&str, &str)| {
        format!("etcd_server_healthcheck{{name=\"{name}\",type=\"{kind}\"}}")
    };
    assert!(all.iter().all(|check| !first.contains_key(&last(*check))), "nothing was checked yet");
    for path in ["/livez", "/readyz"] {
        assert_eq!(http_get(server.client_port, path).0, 200);
    }
    let now = scrape(&server);
    for check in all {
        assert_eq!(now.get(&last(check)), Some(&1.0), "{check:?}");
    }
}

#[test]
fn extensive_metrics_show_how_long_calls_take() {
    let extensive = Server::start(&program(), &["--metrics=extensive"]);
    let basic = Server::start(&program(), &[]);
    let times = |method: &str, kind: &str| {
        let service = if method == "Watch" { "Watch" } else { "KV" };
        format!(
            "grpc_server_handling_seconds_count{{grpc_method=\"{method}\",\
             grpc_service=\"etcdserverpb.{service}\",grpc_type=\"{kind}\"}}"
        )
    };
    let transports: &[Transport] = match program().is_etcd() {
        true => &[Transport::Grpc],
        false => &[Transport::Frames, Transport::Grpc],
    };
    for transport in transports {
        let before = scrape(&extensive);
        for server in [&extensive, &basic] {
            let options =
                Options { transport: *transport, ..Options::endpoints([server.endpoint()]) };
            let client = Client::connect(options).expect("connect to the server");
            for number in 0..20 {
                client.put(put(format!("key/{number:02}"), 0)).expect("a put");
                client.range(get(&format!("key/{number:02}"), 0)).expect("a read");
            }
            wide_txn(&client);
            let all = pb::RangeRequest { range_end: "z".into(), ..get("a", 0) };
            block_on(client.inner().range_stream_collect(all)).expect("a stream");
        }
        let (puts, ranges) = (times("Put", "unary"), times("Range", "unary"));
        let (txns, streams) = (times("Txn", "unary"), times("RangeStream", "server_stream"));
        let expected = [(&*puts, 20.0), (&ranges, 20.0), (&txns, 1.0), (&streams, 1.0)];
        await_rises(&extensive, &before, &expected);
        let sum = puts.replace("_count", "_sum");
        assert!(rise(&before, &scrape(&extensive), &sum) > 0.0, "a put takes some time");
    }
    let shown = scrape(&basic);
    assert!(!shown.keys().any(|name| name.starts_with("grpc_server_handling_seconds")));
}

/// A series that nothing feeds is a lie on a dashboard: it is not shown.
#[test]
fn nothing_is_shown_that_counts_nothing_here() {
    if program().is_etcd() {
        return;
    }
    let (server, _client) = start();
    let shown = scrape(&server);
    for prefix in [
        "etcd_debugging_auth_",
        "etcd_debugging_store_",
        "etcd_debugging_snap_",
        "etcd_debugging_server_watch_send_loop_",
        "etcd_debugging_disk_backend_commit_rebalance_",
        "etcd_debugging_disk_backend_commit_spill_",
        "etcd_debugging_mvcc_index_compaction_",
        "etcd_disk_backend_snapshot_",
        "etcd_mvcc_db_open_read_transactions",
        "etcd_server_heartbeat_send_failures_total",
        "etcd_server_learner_promote_successes",
        "etcd_server_snapshot_apply_in_progress_total",
        "etcd_snap_",
    ] {
        let found: Vec<_> = shown.keys().filter(|name| name.starts_with(prefix)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn rounds_entries_and_mail_show_by_shard_and_core() {
    if program().is_etcd() {
        return;
    }
    let (server, client) = start();
    let before = scrape(&server);
    for number in 0..40 {
        client.put(put(format!("key/{number:02}"), 0)).expect("a put");
    }
    (0..8).for_each(|_| wide_txn(&client));
    let shard = |number: u16| format!("braid_shard_rounds_total{{shard=\"{number}\"}}");
    let rounds: Vec<String> = (0..4).map(shard).collect();
    let mut expected: Vec<_> = rounds.iter().map(|name| (name.as_str(), 8.0)).collect();
    expected.push(("braid_shard_batch_operations_sum", 40.0 + 8.0 * 16.0));
    // One after the other: an entry for each put, and one on each shard for each txn.
    expected.push(("braid_shard_batch_operations_count", 40.0 + 8.0 * 4.0));
    await_rises(&server, &before, &expected);
    let now = scrape(&server);
    for core in 0..2 {
        let name = format!("braid_core_mailbox_batches_total{{core=\"{core}\"}}");
        // Each round froze shards on both cores: an order to the one, a report to the other.
        assert!(rise(&before, &now, &name) >= 8.0, "{name}: {}", rise(&before, &now, &name));
    }
    // What a turn finds is shown until the beat after the next.
    let depth = "braid_core_mailbox_depth{core=\"1\"}";
    let began = Instant::now();
    while scrape(&server)[depth] < 1.0 {
        assert!(began.elapsed() < PATIENCE, "no turn found mail");
        wide_txn(&client);
    }
    let began = Instant::now();
    while scrape(&server)[depth] > 0.0 {
        assert!(began.elapsed() < PATIENCE, "the mail of long ago is still shown");
    }
}
