//! Attacks by size: requests that are allowed, and weigh much more than they seem to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use braid::client::blocking::Client;
use braid::client::{Options, Transport};
use braid::protocol::pb::{etcdserverpb as pb, mvccpb};
use futures_lite::future::block_on;

use super::victim::Attack;
use crate::common::{self, Server};
use crate::wire::PATIENCE;

/// Just below what a request may have by default.
const LARGE_BYTES: usize = 1_400_000;
/// What the documentation says `--max-request-bytes` may be at most.
const LARGEST_BYTES: usize = 128 << 20;

fn client(server: &Server, transport: Transport) -> Client {
    let options = Options {
        transport,
        request_timeout: Some(PATIENCE),
        attempts_max: 1,
        request_bytes_max: 2 * LARGEST_BYTES,
        ..Options::endpoints([server.endpoint()])
    };
    Client::connect(options).expect("connect")
}

impl Attack<'_> {
    fn client(&self) -> Client {
        client(self.server, if self.is_etcd { Transport::Grpc } else { Transport::Frames })
    }

    /// Does the same on so many connections at once, while others put: then something of them is
    /// always proposed and not committed, and what comes finds less room than there is.
    fn at_once(&self, clients: usize, work: impl Fn(usize, &Client) + Sync) {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for number in 0..8 {
                let (client, is_over) = (self.client(), &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        let key = format!("beside/{number}");
                        client.put(put(&key, vec![1; 2000])).expect("a put beside");
                    }
                });
            }
            let work = &work;
            let spawn = |number| {
                let client = self.client();
                scope.spawn(move || work(number, &client))
            };
            let threads: Vec<_> = (0..clients).map(spawn).collect();
            let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            is_over.store(true, Ordering::Relaxed);
            assert!(ended.iter().all(Result::is_ok), "a client was let down");
        });
    }
}

fn put(key: &str, value: Vec<u8>) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), value: value.into(), ..Default::default() }
}

fn keep(key: &str) -> pb::PutRequest {
    pb::PutRequest { ignore_value: true, ..put(key, Vec::new()) }
}

fn ops(requests: impl IntoIterator<Item = pb::request_op::Request>) -> Vec<pb::RequestOp> {
    requests.into_iter().map(|request| pb::RequestOp { request: Some(request) }).collect()
}

fn txn(requests: impl IntoIterator<Item = pb::request_op::Request>) -> pb::TxnRequest {
    pb::TxnRequest { success: ops(requests), ..Default::default() }
}

fn delete(key: String, range_end: String) -> pb::request_op::Request {
    use pb::request_op::Request;
    let (key, range_end) = (key.into(), range_end.into());
    Request::RequestDeleteRange(pb::DeleteRangeRequest { key, range_end, prev_kv: false })
}

/// A few hundred bytes that once logged 67 MB.
pub fn kept_values(attack: &mut Attack) {
    const KEYS: usize = 48;
    let client = attack.client();
    let keys: Vec<String> = (0..KEYS).map(|number| format!("kept/{number:02}")).collect();
    for key in &keys {
        client.put(put(key, vec![7; LARGE_BYTES])).expect("a put");
    }
    attack.at_once(1, |_, client| {
        let keeps = keys.iter().map(|key| pb::request_op::Request::RequestPut(keep(key)));
        let reply = client.txn(txn(keeps)).expect("a txn");
        let revision = reply.header.expect("a header").revision;
        for key in keys.iter().step_by(17) {
            let range = pb::RangeRequest { key: key.clone().into(), ..Default::default() };
            let kv = client.range(range).expect("a range").kvs.pop().expect("the key");
            assert_eq!((kv.mod_revision, kv.value.len()), (revision, LARGE_BYTES));
        }
    });
    forget(&client, "kept/", "kept0");
}

/// Deletes what an attack has put, and its history.
fn forget(client: &Client, key: &str, range_end: &str) {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    let request = pb::DeleteRangeRequest { key, range_end, prev_kv: false };
    let revision = client.delete_range(request).expect("a delete").header.expect("a header");
    let compaction = pb::CompactionRequest { revision: revision.revision, physical: true };
    client.compact(compaction).expect("a compaction");
}

/// Deletions of which a round once took any number, because they put nothing.
pub fn large_deletes(attack: &mut Attack) {
    attack.at_once(100, |number, client| {
        for turn in 0..2 {
            let [one, other] = ["one", "other"].map(|key| format!("{key}/{number}/{turn}."));
            client.put(put(&one, vec![1])).expect("a put");
            client.put(put(&other, vec![1])).expect("another");
            let wide = delete(one.clone(), format!("{one}{}", "z".repeat(LARGE_BYTES)));
            client.txn(txn([delete(other, String::new()), wide])).expect("a txn of deletes");
        }
    });
}

/// A refused txn of 63 KB that once stood every core for seconds.
pub fn refused_deep_in_a_txn(attack: &mut Attack) {
    use pb::request_op::Request;
    const WIDTH: usize = 16;
    let client = attack.client();
    let key = |number: usize| format!("deep/{number:04}");
    let all = WIDTH * WIDTH * WIDTH;
    for begin in (0..all - 1).step_by(100) {
        let end = (begin + 100).min(all - 1);
        let puts = (begin..end).map(|number| Request::RequestPut(put(&key(number), vec![1])));
        client.txn(txn(puts)).expect("a txn");
    }
    let nested = |from: usize, width: usize, of: &dyn Fn(usize) -> Request| {
        txn((0..width).map(|number| of(from + number)))
    };
    let leaf = |number| Request::RequestPut(keep(&key(number)));
    let middle = |number| Request::RequestTxn(nested(number * WIDTH, WIDTH, &leaf));
    let outer = |number| Request::RequestTxn(nested(number * WIDTH, WIDTH, &middle));
    let request = nested(0, WIDTH, &outer);
    let started = Instant::now();
    for _ in 0..10 {
        let refused = client.txn(request.clone()).expect_err("the last key is missing");
        assert!(refused.to_string().contains("key not found"), "{refused}");
    }
    eprintln!("  a refusal takes {:?}", started.elapsed() / 10);
}

/// What `--max-request-bytes` allows, from several clients at once, beside small ones.
pub fn puts_of_many_megabytes(attack: &mut Attack) {
    attack.at_once(6, |number, client| {
        for turn in 0..4_usize {
            // From 7 to 9.5 MiB: some fit beside one that is on its way, and some do not.
            let bytes = (7 << 20) + (((number * 3 + turn * 5) % 6) << 19);
            let key = format!("many/{number}");
            client.put(put(&key, vec![turn as u8; bytes])).expect("a large put");
            client.put(put(&format!("few/{number}"), vec![1; 100])).expect("a small put");
        }
    });
    forget(&attack.client(), "many/", "many0");
}

/// The largest request there may be: put, watched, read, and found again by the next start, over
/// frames and over gRPC.
pub fn the_largest_request_is_carried_through() {
    let flag = format!("--max-request-bytes={LARGEST_BYTES}");
    let directory = common::scratch();
    let data = directory.path().join("d");
    let start = || Server::start_in(&common::program(), &data, &["--shards=2", &flag]);
    let value = |byte: u8| vec![byte; LARGEST_BYTES - 100];
    let transports = [(Transport::Frames, 3), (Transport::Grpc, 4)];
    let mut server = start();
    for (transport, byte) in transports {
        let writer = client(&server, transport);
        let watched = watch_one_put(&writer, "largest", value(byte));
        assert!(watched.value == value(byte), "{transport:?}: another value was watched");
        assert_read(&writer, value(byte));
        let above = put("largest", vec![0; LARGEST_BYTES]);
        let refused = writer.put(above).expect_err("above the limit").to_string();
        assert!(refused.contains("request is too large"), "{refused}");
        // Once with what the process left when it was asked to stop, once without a warning.
        if transport == Transport::Frames {
            assert_eq!(server.terminate(), Some(libc::SIGTERM));
        } else {
            server.kill();
        }
        server = start();
        for (transport, _) in transports {
            assert_read(&client(&server, transport), value(byte));
        }
    }
    assert!(server.is_alive());
}

fn assert_read(client: &Client, value: Vec<u8>) {
    let range = pb::RangeRequest { key: "largest".into(), ..Default::default() };
    let kv = client.range(range).expect("a range").kvs.pop().expect("the key");
    assert!(kv.value == value, "another value was read");
}

/// The event of a put, as a watcher is told of it.
fn watch_one_put(client: &Client, key: &'static str, value: Vec<u8>) -> mvccpb::KeyValue {
    block_on(async {
        let create = pb::WatchCreateRequest { key: key.into(), ..Default::default() };
        let mut watcher = client.inner().watch(create).await.expect("a watcher");
        let started = Instant::now();
        client.inner().put(put(key, value)).await.expect("a put");
        eprintln!("  a put of {LARGEST_BYTES} bytes takes {:?}", started.elapsed());
        loop {
            let response = watcher.next().await.expect("an event");
            if let Some(event) = response.events.into_iter().next() {
                return event.kv.expect("a key");
            }
        }
    })
}

/// A start that promises more than can be kept is refused.
pub fn a_larger_limit_is_refused() {
    let flags = [format!("--max-request-bytes={}", LARGEST_BYTES + 1), "--name=m".to_owned()];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = common::run_to_end(&common::program(), &flags);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    let expected = format!("--max-request-bytes must be at most {LARGEST_BYTES}");
    assert!(said.contains(&expected), "{said}");
}
