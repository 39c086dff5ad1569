//! A power cut to the process, again and again: SIGKILL at random moments under load, and after
//! each restart the whole history against what clients were told.
//!
//! With `BRAID_CASES_ETCD` the same load and the same checker run against etcd over gRPC, which
//! proves both. `BRAID_SEED` repeats a seed; the schedule of a real machine it cannot repeat.

mod common;
mod history;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use braid::chance::Chance;
use braid::client::blocking::Client;
use braid::client::{Error, Options, Transport};
use braid::protocol::pb::etcdserverpb as pb;
use common::{Program, Server};
use history::{Checker, Outcome, Read, Record, Request, Store, Write};
use pb::request_op::Request as Op;

const ROUNDS: u32 = 12;
/// Rounds after this end the loop: the machine is slow.
const TIME_MAX: Duration = Duration::from_secs(60);
const WORKERS: u64 = 8;
/// Few keys, so that requests meet.
const KEYS: u64 = 6;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let program = common::program();
    let mut chance = Chance::new(common::seed());
    let directory = common::scratch();
    let data = directory.path().join("d");
    let flags: &[&str] = if program.is_etcd() { &[] } else { &["--shards=3"] };
    let mut checker: Option<Checker> = None;
    let began = Instant::now();
    let mut rounds = 0;
    let mut server = Server::start_in(&program, &data, flags);
    while rounds < ROUNDS && (rounds < 3 || began.elapsed() < TIME_MAX) {
        let (newest, store) = read_all(&connect(&program, &server, Transport::Grpc), 0);
        let checker = checker.get_or_insert_with(|| Checker::new(newest, store));
        let pause = Duration::from_millis(30 + chance.below(270));
        let record = load_until_killed(&program, &mut server, &mut chance, newest, pause);
        server = Server::start_in(&program, &data, flags);
        judge(checker, record, &connect(&program, &server, Transport::Frames));
        rounds += 1;
    }
    let checker = checker.expect("at least one round");
    // The load must have been one.
    assert!(checker.acknowledged > 100 * u64::from(rounds), "{checker:?}");
    assert!(checker.reads > u64::from(rounds), "{checker:?}");
    eprintln!(
        "{rounds} kills, {} revisions: {} acknowledged, {} unanswered that stand, {} reads",
        checker.revision(),
        checker.acknowledged,
        checker.found_unanswered,
        checker.reads
    );
    stopped_as_asked(checker, &program, server, &data, flags);
}

/// And once without violence: everything is as it was after a SIGTERM, too.
fn stopped_as_asked(
    mut checker: Checker,
    program: &Program,
    mut server: Server,
    data: &std::path::Path,
    flags: &[&str],
) {
    assert_eq!(server.terminate(), Some(libc::SIGTERM));
    drop(server);
    let server = Server::start_in(program, data, flags);
    judge(&mut checker, Record::default(), &connect(program, &server, Transport::Frames));
}

fn judge(checker: &mut Checker, record: Record, client: &Client) {
    let (newest, _) = read_all(client, 0);
    let verdict = checker.check(record, newest, |revision| read_all(client, revision).1);
    if let Err(reason) = verdict {
        panic!("{reason}");
    }
}

/// etcd is reached over gRPC whatever is wished.
fn connect(program: &Program, server: &Server, wished: Transport) -> Client {
    let transport = if program.is_etcd() { Transport::Grpc } else { wished };
    let options = Options {
        transport,
        request_timeout: Some(REQUEST_TIME_MAX),
        attempts_max: 1,
        ..Options::endpoints([server.endpoint()])
    };
    Client::connect(options).expect("connect to the server")
}

/// The revision of the header, and every key at `revision`.
fn read_all(client: &Client, revision: i64) -> (i64, Store) {
    let zero = bytes::Bytes::from_static(b"\0");
    let request =
        pb::RangeRequest { key: zero.clone(), range_end: zero, revision, ..Default::default() };
    let answer = client.range(request).expect("read everything");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("our keys and values");
    let store = answer.kvs.iter().map(|kv| {
        let entry = history::Entry {
            value: text(&kv.value),
            create: kv.create_revision,
            modified: kv.mod_revision,
            version: kv.version,
        };
        (text(&kv.key), entry)
    });
    (answer.header.expect("a header").revision, store.collect())
}

fn load_until_killed(
    program: &Program,
    server: &mut Server,
    chance: &mut Chance,
    newest: i64,
    pause: Duration,
) -> Record {
    let stop = AtomicBool::new(false);
    let seen = AtomicI64::new(newest);
    // Half of the workers speak frames, half gRPC: it is one history.
    let clients = [Transport::Frames, Transport::Grpc].map(|wish| connect(program, server, wish));
    let round = chance.number();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let worker = Worker {
                    client: clients[(number % 2) as usize].clone(),
                    chance: Chance::new(chance.number()),
                    seen: &seen,
                    name: format!("{round:x}-{number}"),
                    writes: 0,
                    record: Record::default(),
                };
                let stop = &stop;
                scope.spawn(move || worker.work(stop))
            })
            .collect();
        thread::sleep(pause);
        server.kill();
        stop.store(true, Ordering::SeqCst);
        let mut whole = Record::default();
        for worker in workers {
            let record = worker.join().expect("a worker");
            whole.writes.extend(record.writes);
            whole.reads.extend(record.reads);
        }
        whole
    })
}

/// One client that writes and reads until the server is gone.
struct Worker<'a> {
    client: Client,
    chance: Chance,
    /// The highest revision of any answer of any worker.
    seen: &'a AtomicI64,
    name: String,
    writes: u64,
    record: Record,
}

impl Worker<'_> {
    fn work(mut self, stop: &AtomicBool) -> Record {
        while !stop.load(Ordering::SeqCst) {
            let seen = self.seen.load(Ordering::SeqCst);
            let answered = match self.chance.below(10) {
                0..4 => self.put_one(seen),
                4..6 => self.swap(seen),
                6..8 => self.put_several(seen),
                8 => self.delete(seen),
                _ => self.read(seen).is_some(),
            };
            if !answered {
                break;
            }
        }
        self.record
    }

    fn value(&mut self) -> String {
        self.writes += 1;
        format!("{}-{}", self.name, self.writes)
    }

    fn key(&mut self) -> String {
        format!("key/{}", self.chance.below(KEYS))
    }

    fn put_one(&mut self, seen: i64) -> bool {
        let (key, value) = (self.key(), self.value());
        let put = put_request(&key, &value);
        let answer = self.client.put(put);
        let outcome = answer.map(|put| Outcome::Changed(revision(put.header)));
        self.wrote(Request::Put { keys: vec![key], value }, seen, outcome)
    }

    /// Keys that live on different shards, in one txn.
    fn put_several(&mut self, seen: i64) -> bool {
        let value = self.value();
        let first = self.chance.below(KEYS);
        let keys: Vec<String> = (0..3).map(|n| format!("key/{}", (first + n) % KEYS)).collect();
        let put = |key: &String| op(Op::RequestPut(put_request(key, &value)));
        let txn = pb::TxnRequest { success: keys.iter().map(put).collect(), ..Default::default() };
        let answer = self.client.txn(txn);
        let outcome = answer.map(|txn| Outcome::Changed(revision(txn.header)));
        self.wrote(Request::Put { keys, value }, seen, outcome)
    }

    fn swap(&mut self, seen: i64) -> bool {
        let (key, value) = (self.key(), self.value());
        let Some(kvs) = self.read(seen) else { return false };
        let expected = kvs.iter().find(|kv| kv.0 == key).map_or(0, |kv| kv.2);
        let compare = pb::Compare {
            result: pb::compare::CompareResult::Equal.into(),
            target: pb::compare::CompareTarget::Mod.into(),
            key: key.clone().into(),
            target_union: Some(pb::compare::TargetUnion::ModRevision(expected)),
            ..Default::default()
        };
        let success = vec![op(Op::RequestPut(put_request(&key, &value)))];
        let txn = pb::TxnRequest { compare: vec![compare], success, ..Default::default() };
        let seen = self.seen.load(Ordering::SeqCst);
        let outcome = self.client.txn(txn).map(|txn| match txn.succeeded {
            true => Outcome::Changed(revision(txn.header)),
            false => Outcome::Nothing(revision(txn.header)),
        });
        self.wrote(Request::Swap { key, value, expected }, seen, outcome)
    }

    fn delete(&mut self, seen: i64) -> bool {
        let key = self.key();
        let request = pb::DeleteRangeRequest { key: key.clone().into(), ..Default::default() };
        let outcome = self.client.delete_range(request).map(|answer| match answer.deleted {
            0 => Outcome::Nothing(revision(answer.header)),
            _ => Outcome::Changed(revision(answer.header)),
        });
        self.wrote(Request::Delete { key }, seen, outcome)
    }

    /// Records a write; says whether there was an answer.
    fn wrote(&mut self, request: Request, seen: i64, outcome: Result<Outcome, Error>) -> bool {
        let outcome = match outcome {
            Ok(outcome @ (Outcome::Changed(revision) | Outcome::Nothing(revision))) => {
                self.seen.fetch_max(revision, Ordering::SeqCst);
                outcome
            }
            Ok(Outcome::Unknown) => Outcome::Unknown,
            Err(error) if error.outcome_unknown() => Outcome::Unknown,
            // It never left: it can stand nowhere, so there is nothing to record.
            Err(_) => return false,
        };
        self.record.writes.push(Write { request, seen, outcome });
        outcome != Outcome::Unknown
    }

    /// Reads every key; `None` if the server is gone.
    fn read(&mut self, seen: i64) -> Option<Vec<(String, String, i64)>> {
        let prefix = "key/".to_owned();
        let request = pb::RangeRequest {
            key: prefix.clone().into(),
            range_end: "key0".into(),
            ..Default::default()
        };
        let answer = self.client.range(request).ok()?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("our keys and values");
        let kvs: Vec<(String, String, i64)> =
            answer.kvs.iter().map(|kv| (text(&kv.key), text(&kv.value), kv.mod_revision)).collect();
        let revision = revision(answer.header);
        self.seen.fetch_max(revision, Ordering::SeqCst);
        self.record.reads.push(Read { prefix, seen, revision, kvs: kvs.clone() });
        Some(kvs)
    }
}

fn put_request(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    }
}

fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn revision(header: Option<pb::ResponseHeader>) -> i64 {
    header.expect("a header").revision
}
