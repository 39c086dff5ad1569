//! The life of the server process as its operator sees it: flags, start, refusals to start, log,
//! health and metrics, stop, restart.
//!
//! Tests that etcd must pass too are proven against it with `BRAID_CASES_ETCD`.

mod common;

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use braid::client::blocking::Client;
use braid::client::{Method, Options, Transport, error::code};
use braid::protocol::pb::etcdserverpb as pb;
use common::{Server, free_port, http_get, program, run_to_end, scratch};

fn client(server: &Server) -> Client {
    client_with(server, Duration::from_secs(20))
}

fn client_with(server: &Server, request_timeout: Duration) -> Client {
    let transport = if program().is_etcd() { Transport::Grpc } else { Transport::Frames };
    let options = Options {
        transport,
        request_timeout: Some(request_timeout),
        attempts_max: 1,
        ..Options::endpoints([server.endpoint()])
    };
    Client::connect(options).expect("connect to the server")
}

fn put(client: &Client, key: &str, value: &[u8]) -> Result<pb::PutResponse, braid::client::Error> {
    let request = pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_vec().into(),
        ..Default::default()
    };
    client.put(request)
}

fn get(client: &Client, key: &str, revision: i64) -> pb::RangeResponse {
    let request = pb::RangeRequest { key: key.to_owned().into(), revision, ..Default::default() };
    client.range(request).expect("a read")
}

fn status(client: &Client) -> pb::StatusResponse {
    client.unary(Method::STATUS, &pb::StatusRequest {}).expect("the status")
}

#[test]
fn version_and_help_exit_with_0() {
    let version = run_to_end(&program(), &["--version"]);
    assert_eq!(version.status.code(), Some(0));
    let text = String::from_utf8(version.stdout).expect("UTF-8");
    assert!(text.contains("3.7.1"), "the etcd API that is served: {text}");
    if !program().is_etcd() {
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
    let help = run_to_end(&program(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).expect("UTF-8");
    assert!(text.contains("--listen-client-urls"), "{text}");
    if !program().is_etcd() {
        assert!(text.starts_with("Usage:") && help.stderr.is_empty(), "{text}");
    }
}

#[test]
fn a_service_manager_hears_when_it_serves_and_when_it_stops() {
    let directory = scratch();
    let path = directory.path().join("notify");
    let abstract_name = format!("braid-server-life-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name).expect("an address");
    let sockets = [
        (UnixDatagram::bind(&path).expect("bind"), path.display().to_string()),
        (UnixDatagram::bind_addr(&address).expect("bind"), format!("@{abstract_name}")),
    ];
    for (socket, name) in sockets {
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let heard = || {
            let mut datagram = [0; 64];
            let bytes = socket.recv(&mut datagram).expect("a state");
            String::from_utf8_lossy(&datagram[..bytes]).trim_end().to_owned()
        };
        let mut server = Server::start_with(&program(), &[], &[("NOTIFY_SOCKET", &name)]);
        assert_eq!(heard(), "READY=1", "{name}");
        put(&client(&server), "a", b"1").expect("who is ready serves");
        server.signal(libc::SIGTERM);
        if !program().is_etcd() {
            assert_eq!(heard(), "STOPPING=1", "{name}");
        }
        server.wait();
    }
}

/// The lines with this message.
fn lines(server: &Server, message: &str) -> Vec<serde_json::Value> {
    let output = server.output();
    let parsed = output.lines().filter_map(|line| serde_json::from_str(line).ok());
    parsed.filter(|line: &serde_json::Value| line["msg"] == message).collect()
}

/// As [`lines`], once there is one.
fn await_line(server: &Server, message: &str) -> serde_json::Value {
    let began = std::time::Instant::now();
    loop {
        if let Some(line) = lines(server, message).into_iter().next() {
            return line;
        }
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(20), "no line {message:?}:\n{}", server.output());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_operators_do_is_in_the_log_in_etcds_words() {
    let server = Server::start(&program(), &[]);
    let client = client(&server);
    for number in 0..10 {
        put(&client, "a", &[number]).expect("a put");
    }
    let revision = get(&client, "a", 0).header.expect("a header").revision;
    client.compact(pb::CompactionRequest { revision, physical: true }).expect("a compaction");
    assert_eq!(await_line(&server, "compact tree index")["revision"], revision);
    let finished = await_line(&server, "finished scheduled compaction");
    assert_eq!(finished["level"], "info");
    assert_eq!(finished["compact-revision"], revision);
    assert_eq!(finished["number-of-keys-compacted"], 9);
    assert!(finished["took"].is_string() && finished["current-db-size"].is_string());
    assert!(finished["current-db-size-bytes"].as_u64() > Some(0));
    assert!(finished["current-db-size-in-use-bytes"].as_u64() > Some(0));
    let _: pb::DefragmentResponse =
        client.unary(Method::DEFRAGMENT, &pb::DefragmentRequest {}).expect("a defragmentation");
    await_line(&server, "starting defragment");
    await_line(&server, "finished defragment");
    assert_eq!(lines(&server, "finished scheduled compaction").len(), 1);
    if program().is_etcd() {
        return;
    }
    use pb::alarm_request::AlarmAction::{Activate, Deactivate};
    for (action, message) in [(Activate, "alarm raised"), (Deactivate, "alarm disarmed")] {
        let alarm = pb::AlarmType::Nospace.into();
        let request = pb::AlarmRequest { action: action.into(), member_id: 0xab, alarm };
        let _: pb::AlarmResponse = client.unary(Method::ALARM, &request).expect("an alarm");
        let line = await_line(&server, message);
        assert_eq!((&line["alarm"], &line["from"]), (&"NOSPACE".into(), &"ab".into()));
    }
    let leases: Vec<i64> = (1..=150).collect();
    for id in &leases {
        let request = pb::LeaseGrantRequest { id: *id, ttl: 1 };
        let _: pb::LeaseGrantResponse =
            client.unary(Method::LEASE_GRANT, &request).expect("a lease");
    }
    let expired = await_line(&server, "revoked expired leases");
    assert!(expired["count"].as_u64() >= Some(100), "{expired}");
}

#[test]
fn bad_command_lines_are_refused_with_the_reason() {
    let cases: [(&[&str], i32, &str); 8] = [
        (&["--no-such-flag"], 2, "no-such-flag"),
        (&["--experimental-anything=1"], 2, "experimental-anything"),
        (&["word"], 1, "\"word\" is not a valid flag"),
        (
            &["--heartbeat-interval=100", "--election-timeout=200"],
            1,
            "[200ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (
            &["--listen-client-urls=http://example.com:2379", "--advertise-client-urls=http://a:1"],
            1,
            "expected IP in URL for binding (http://example.com:2379)",
        ),
        (
            &["--listen-client-urls=http://127.0.0.1:1"],
            1,
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (&["--auto-compaction-mode=weekly"], 1, "unknown auto-compaction-mode"),
        (&["--log-level=foo"], 2, "unrecognized level: \"foo\""),
    ];
    let directory = scratch();
    let data = format!("--data-dir={}", directory.path().join("d").display());
    for (flags, code, reason) in cases {
        let all: Vec<&str> = [data.as_str()].iter().chain(flags).copied().collect();
        let ended = run_to_end(&program(), &all);
        let output = String::from_utf8_lossy(&ended.stderr).into_owned()
            + &String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(code), "{flags:?}: {output}");
        // In a JSON log line quotes are escaped.
        let plain = output.replace("\\\"", "\"");
        assert!(plain.contains(reason), "{flags:?}: {output}");
    }
}

#[test]
fn the_log_is_json_with_the_fields_of_etcd() {
    let server = Server::start(&program(), &[]);
    let output = server.output();
    assert!(!output.is_empty());
    for line in output.lines() {
        let parsed: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for key in ["level", "ts", "msg"] {
            assert!(parsed[key].is_string(), "{key} is missing: {line}");
        }
        let ts = parsed["ts"].as_str().expect("a text");
        let shape = ts.len() >= 20 && ts.as_bytes()[10] == b'T' && ts.ends_with('Z');
        assert!(shape, "2006-01-02T15:04:05.999999Z: {ts}");
    }
    let ready = output.lines().any(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line["msg"] == "ready to serve client requests" && line["level"] == "info"
    });
    assert!(ready, "{output}");
}

#[test]
fn a_new_data_directory_belongs_to_its_owner_alone() {
    let directory = scratch();
    let data = directory.path().join("not").join("yet");
    let _server = Server::start_in(&program(), &data, &[]);
    let mode = fs::metadata(&data).expect("the data directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_data_directory_serves_one_process() {
    // etcd waits for the lock without end instead.
    if program().is_etcd() {
        return;
    }
    let directory = scratch();
    let data = directory.path().join("d");
    let mut first = Server::start_in(&program(), &data, &[]);
    // The same directory by another name, so that the two logs do not meet.
    let other = directory.path().join("other");
    std::os::unix::fs::symlink(&data, &other).expect("a link");
    let refused = Server::try_start_in(&program(), &other, &[]).expect_err("the lock is held");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.output.contains("is in use by another process"), "{refused:?}");
    assert!(first.is_alive());
    put(&client(&first), "a", b"1").expect("the first goes on");
    // And once it is gone, the lock is free.
    first.kill();
    Server::start_in(&program(), &other, &[]);
}

#[test]
fn a_port_serves_one_process() {
    let first = Server::start(&program(), &[]);
    let urls = format!("http://127.0.0.1:{}", first.client_port);
    let listen = format!("--listen-client-urls={urls}");
    let advertise = format!("--advertise-client-urls={urls}");
    let directory = scratch();
    let second =
        Server::try_start_in(&program(), &directory.path().join("d"), &[&listen, &advertise]);
    let refused = second.expect_err("the port is taken");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.output.contains("address already in use"), "{refused:?}");
    assert!(refused.output.contains(&first.client_port.to_string()), "{refused:?}");
    put(&client(&first), "a", b"1").expect("the first goes on");
}

#[test]
fn a_signal_stops_the_server_and_is_its_exit_status() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start(&program(), &[]);
        put(&client(&server), "a", b"1").expect("a put");
        server.signal(signal);
        let ended = server.wait();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(signal));
        assert!(server.output().contains("received signal; shutting down"), "{}", server.output());
    }
}

/// Requests under way when the signal comes are answered or refused; what was answered is there
/// after the restart.
#[test]
fn a_stop_finishes_what_is_under_way() {
    let directory = scratch();
    let data = directory.path().join("d");
    let mut server = Server::start_in(&program(), &data, &[]);
    // Once the server is gone, its client tries to connect until its deadline.
    let connected = client_with(&server, Duration::from_secs(3));
    let stopping = AtomicBool::new(false);
    let acknowledged: Vec<(String, i64)> = thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|number| {
                let (client, stopping) = (connected.clone(), &stopping);
                scope.spawn(move || write_until_refused(&client, number, stopping))
            })
            .collect();
        thread::sleep(Duration::from_millis(150));
        stopping.store(true, Ordering::SeqCst);
        assert_eq!(server.terminate(), Some(libc::SIGTERM));
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect()
    });
    assert!(acknowledged.len() > 8, "the load was none");
    let server = Server::start_in(&program(), &data, &[]);
    let client = client(&server);
    for (key, revision) in acknowledged {
        let stands = get(&client, &key, 0);
        assert_eq!(stands.kvs.first().map(|kv| kv.mod_revision), Some(revision), "{key}");
    }
}

fn write_until_refused(client: &Client, number: u64, stopping: &AtomicBool) -> Vec<(String, i64)> {
    let mut acknowledged = Vec::new();
    for count in 0_u64.. {
        let key = format!("stop/{number}/{count}");
        match put(client, &key, b"v") {
            Ok(answer) => acknowledged.push((key, answer.header.expect("a header").revision)),
            Err(error) => {
                assert!(stopping.load(Ordering::SeqCst), "refused while it ran: {error}");
                let refused = error.code() == code::UNAVAILABLE;
                assert!(refused || !error.outcome_unknown(), "neither told nor unsent: {error:?}");
                break;
            }
        }
    }
    acknowledged
}

#[test]
fn a_restart_keeps_everything_and_is_the_same_member() {
    let directory = scratch();
    let data = directory.path().join("d");
    let mut server = Server::start_in(&program(), &data, &[]);
    let first = client(&server);
    for number in 0..50 {
        put(&first, &format!("key/{}", number % 20), number.to_string().as_bytes()).expect("a put");
    }
    let compact = pb::CompactionRequest { revision: 30, physical: true };
    first.compact(compact).expect("compact");
    let before = status(&first);
    for killed in [true, false] {
        if killed {
            server.kill();
        } else {
            server.terminate();
        }
        server = Server::start_in(&program(), &data, &[]);
        let again = client(&server);
        let after = status(&again);
        let ids = |status: &pb::StatusResponse| {
            let header = status.header.expect("a header");
            (header.cluster_id, header.member_id, header.revision)
        };
        assert_eq!(ids(&after), ids(&before));
        assert!(after.raft_term > before.raft_term, "{} {}", after.raft_term, before.raft_term);
        for number in 30..50 {
            let key = format!("key/{}", number % 20);
            let old = get(&again, &key, number + 2);
            assert_eq!(old.kvs[0].value, number.to_string().as_bytes());
        }
        let compacted =
            pb::RangeRequest { key: "key/0".into(), revision: 29, ..Default::default() };
        let refused = again.range(compacted).expect_err("compacted");
        assert_eq!(refused.code(), code::OUT_OF_RANGE);
    }
    let next = put(&client(&server), "next", b"1").expect("a put");
    assert_eq!(next.header.expect("a header").revision, 52);
}

#[test]
fn the_number_of_shards_never_changes() {
    if program().is_etcd() {
        return;
    }
    let directory = scratch();
    let data = directory.path().join("d");
    let mut server = Server::start_in(&program(), &data, &["--shards=3"]);
    put(&client(&server), "a", b"1").expect("a put");
    server.terminate();
    let refused = Server::try_start_in(&program(), &data, &["--shards=2"]).expect_err("2 is not 3");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let clear = ["shards", "3", "2"].iter().all(|word| refused.output.contains(word));
    assert!(clear, "{refused:?}");
    // Without the flag the directory knows, and the refusal has spoilt nothing.
    let server = Server::start_in(&program(), &data, &[]);
    assert_eq!(get(&client(&server), "a", 0).count, 1);
}

/// Damage that whole records follow is not a torn tail: it is refused, never cut off.
#[test]
fn a_damaged_log_is_refused_with_file_and_offset() {
    if program().is_etcd() {
        return;
    }
    let directory = scratch();
    let data = directory.path().join("d");
    let mut server = Server::start_in(&program(), &data, &["--shards=1"]);
    let writer = client(&server);
    let value = |number: u32| format!("value-to-be-found-{number:04}").into_bytes();
    for number in 0..20 {
        put(&writer, &format!("k{number}"), &value(number)).expect("a put");
    }
    server.kill();
    let (file, offset) = find(&data.join("member"), &value(5)).expect("the value in a log");
    let mut bytes = fs::read(&file).expect("the log");
    bytes[offset] ^= 0x10;
    fs::write(&file, &bytes).expect("damage the log");
    let refused = Server::try_start_in(&program(), &data, &[]).expect_err("the log is damaged");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(refused.output.contains(&name), "{name}: {refused:?}");
    assert!(refused.output.contains("offset"), "{refused:?}");
    // Nothing was repaired behind our back: with the byte as it was, all is there.
    assert_eq!(fs::read(&file).expect("the log"), bytes);
    bytes[offset] ^= 0x10;
    fs::write(&file, &bytes).expect("repair the log");
    let server = Server::start_in(&program(), &data, &[]);
    let reader = client(&server);
    for number in 0..20 {
        assert_eq!(get(&reader, &format!("k{number}"), 0).kvs[0].value, value(number));
    }
}

/// The file under `folder` that holds these bytes, and where.
fn find(folder: &Path, wanted: &[u8]) -> Option<(PathBuf, usize)> {
    let entries = fs::read_dir(folder).expect("a folder of the data directory");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().find_map(|path| {
        if path.is_dir() {
            return find(&path, wanted);
        }
        let bytes = fs::read(&path).expect("a file of the data directory");
        let at = bytes.windows(wanted.len()).position(|window| window == wanted)?;
        Some((path, at))
    })
}

#[test]
fn a_foreign_data_directory_is_refused_by_name() {
    if program().is_etcd() {
        return;
    }
    let etcd = |data: &Path| {
        fs::create_dir_all(data.join("member/snap")).expect("a folder");
        fs::create_dir_all(data.join("member/wal")).expect("a folder");
        fs::write(data.join("member/snap/db"), b"bolt").expect("a file");
    };
    let newer = |data: &Path| {
        fs::create_dir_all(data.join("member")).expect("a folder");
        fs::write(data.join("member/identity"), [0xee; 64]).expect("a file");
    };
    for named in ["etcd", "identity"] {
        let directory = scratch();
        let data = directory.path().join("d");
        if named == "etcd" {
            etcd(&data)
        } else {
            newer(&data)
        }
        let refused = Server::try_start_in(&program(), &data, &[]).expect_err("foreign");
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.output.contains(named), "{named}: {refused:?}");
    }
}

/// A cleanly stopped directory that lost a group, a segment, or the end of one log: the start names
/// it, changes nothing, and serves everything once it is put back.
#[test]
fn a_start_notices_what_is_gone() {
    if program().is_etcd() {
        return;
    }
    let directory = scratch();
    let data = directory.path().join("d");
    let shards = ["--shards=2"];
    let mut server = Server::try_start_in(&program(), &data, &shards).expect("a start");
    let writer = client(&server);
    for number in 0..200 {
        put(&writer, &format!("key{number}"), b"1").expect("a put");
    }
    assert_eq!(server.terminate(), Some(libc::SIGTERM));
    let member = data.join("member");
    let segment = |group: &str| {
        let mut files: Vec<PathBuf> = fs::read_dir(member.join(group).join("wal"))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        files.swap_remove(0)
    };
    let moved = directory.path().join("moved");
    for (gone, named) in [
        (member.join("group-000"), "group-000 is missing"),
        (member.join("group-001"), "group-001 is missing"),
        (segment("group-002"), "group-002 is missing"),
    ] {
        fs::rename(&gone, &moved).expect("it moves");
        let refused = Server::try_start_in(&program(), &data, &shards).expect_err("incomplete");
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.output.contains(named), "{named}: {refused:?}");
        assert!(refused.output.contains("put back what was removed"), "{refused:?}");
        assert!(!gone.exists(), "nothing is made up for it");
        fs::rename(&moved, &gone).expect("it moves back");
    }
    // The last batches of one log become zeros: everything behind the middle of what is used.
    let path = segment("group-001");
    let whole = fs::read(&path).expect("a segment");
    let blocks = whole.chunks(4096).rposition(|block| block.iter().any(|&byte| byte != 0));
    let used = (blocks.expect("it is used") + 1) * 4096;
    let mut cut = whole.clone();
    cut[used / 2 / 4096 * 4096..used].fill(0);
    fs::write(&path, &cut).expect("a segment");
    let refused = Server::try_start_in(&program(), &data, &shards).expect_err("incomplete");
    assert!(refused.output.contains("the log ends with index"), "{refused:?}");
    assert_eq!(fs::read(&path).expect("a segment"), cut, "nothing is cut or mended");
    fs::write(&path, &whole).expect("a segment");
    let server = Server::try_start_in(&program(), &data, &shards).expect("a start");
    let reader = client(&server);
    for number in 0..200 {
        assert_eq!(get(&reader, &format!("key{number}"), 0).count, 1, "key{number}");
    }
}

#[test]
fn health_version_and_metrics_are_served_over_http() {
    let port = free_port();
    let metrics = format!("--listen-metrics-urls=http://127.0.0.1:{port}");
    let server = Server::start(&program(), &[&metrics]);
    put(&client(&server), "a", b"1").expect("a put");
    for port in [server.client_port, port] {
        let (code, body) = http_get(port, "/health");
        assert_eq!((code, body.trim_end()), (200, "{\"health\":\"true\",\"reason\":\"\"}"));
        assert_eq!(http_get(port, "/livez").0, 200);
        assert_eq!(http_get(port, "/readyz").0, 200);
        let (code, body) = http_get(port, "/metrics");
        assert_eq!(code, 200);
        for name in ["etcd_server_has_leader 1", "etcd_mvcc_put_total", "process_resident_memory"] {
            assert!(body.contains(name), "{name}");
        }
    }
    let (code, body) = http_get(server.client_port, "/version");
    assert_eq!(code, 200);
    let version: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(version["etcdserver"], "3.7.1");
    assert_eq!(http_get(port, "/version").0, 404, "not on the metrics URLs");
    assert_eq!(http_get(server.client_port, "/v2/keys").0, 404);
}

/// A store that fills up: the alarm rises by itself, shows everywhere, and goes when there is room
/// and it is disarmed.
#[test]
fn a_full_quota_is_survived() {
    let server = Server::start(&program(), &["--quota-backend-bytes=8388608"]);
    let client = client(&server);
    let value = vec![7; 256 << 10];
    let refused = (0..200)
        .find_map(|number| put(&client, &format!("fill/{number}"), &value).err())
        .expect("8 MiB do not hold 50 MiB");
    assert_eq!(refused.code(), code::RESOURCE_EXHAUSTED, "{refused}");
    assert!(refused.to_string().contains("mvcc: database space exceeded"), "{refused}");
    let alarm = |action: pb::alarm_request::AlarmAction, member_id, kind: pb::AlarmType| {
        let request = pb::AlarmRequest { action: action.into(), member_id, alarm: kind.into() };
        let answer: pb::AlarmResponse =
            client.unary(Method::ALARM, &request).expect("an alarm request");
        answer.alarms
    };
    let raised = alarm(pb::alarm_request::AlarmAction::Get, 0, pb::AlarmType::None);
    assert_eq!(raised.len(), 1);
    assert_eq!(raised[0].alarm(), pb::AlarmType::Nospace);
    assert_eq!(raised[0].member_id, status(&client).header.expect("a header").member_id);
    assert_eq!(http_get(server.client_port, "/health").0, 503);
    assert!(http_get(server.client_port, "/health").1.contains("ALARM NOSPACE"));
    assert_eq!(http_get(server.client_port, "/readyz").0, 200);
    assert_eq!(get(&client, "fill/0", 0).count, 1);
    make_room(&client);
    let member = raised[0].member_id;
    alarm(pb::alarm_request::AlarmAction::Deactivate, member, pb::AlarmType::Nospace);
    put(&client, "after", &value).expect("there is room again");
    assert_eq!(http_get(server.client_port, "/health").0, 200);
}

/// Deletes everything and gives the space back, as etcd's operators do.
fn make_room(client: &Client) {
    let zero = bytes::Bytes::from_static(b"\0");
    let all = pb::DeleteRangeRequest { key: zero.clone(), range_end: zero, prev_kv: false };
    let deleted = client.delete_range(all).expect("a delete needs no space");
    assert!(deleted.deleted > 10, "{}", deleted.deleted);
    let revision = deleted.header.expect("a header").revision;
    client.compact(pb::CompactionRequest { revision, physical: true }).expect("compact");
    let _: pb::DefragmentResponse =
        client.unary(Method::DEFRAGMENT, &pb::DefragmentRequest {}).expect("defragment");
}

/// An idle server sleeps. A tenth of one core is far above what it may take and far below a loop
/// that never parks.
#[test]
fn an_idle_server_takes_next_to_no_processor_time() {
    let server = Server::start(&program(), &[]);
    put(&client(&server), "a", b"1").expect("a put");
    let window = Duration::from_secs(3);
    thread::sleep(Duration::from_millis(500));
    let before = server.processor_time();
    thread::sleep(window);
    let used = server.processor_time() - before;
    eprintln!("idle: {used:?} of processor time in {window:?}");
    assert!(used < window / 10, "{used:?} of processor time in {window:?}");
}

/// Ports, locks and shared memory of one are not those of another.
#[test]
fn servers_of_one_machine_do_not_meet() {
    let servers: Vec<Server> = (0..3).map(|_| Server::start(&program(), &[])).collect();
    for (number, server) in servers.iter().enumerate() {
        put(&client(server), "who", number.to_string().as_bytes()).expect("a put");
    }
    for (number, server) in servers.iter().enumerate() {
        let stands = get(&client(server), "who", 0);
        assert_eq!(stands.kvs[0].value, number.to_string().as_bytes());
        assert_eq!(stands.kvs[0].version, 1);
    }
}
