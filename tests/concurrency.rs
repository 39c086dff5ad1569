//! Sessions, locks and elections of the client library against a server: one owner at a time, in
//! the order of asking, and nobody left waiting for one who is gone.

mod common;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::Timer;
use braid::client::concurrency::{Election, Failure, Leaders, Mutex, Session};
use braid::client::lease::LeaseLost;
use braid::client::{Client, Options, Transport};
use braid::protocol::pb::etcdserverpb as pb;
use common::{Program, Server, program};
use futures_lite::FutureExt;
use futures_lite::future::block_on;

/// What has not happened by then never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test over every transport of the server under test, each with a server of its own.
fn over_each_transport(test: impl AsyncFn(&Client)) {
    let transports: &[Transport] = match program() {
        Program::Braid => &[Transport::Frames, Transport::Grpc],
        Program::Etcd(_) => &[Transport::Grpc],
    };
    for transport in transports {
        let server = Server::start(&program(), &[]);
        let options = Options { transport: *transport, ..Options::endpoints([server.endpoint()]) };
        let late = async {
            Timer::after(PATIENCE).await;
            panic!("the test does not end");
        };
        block_on(
            async {
                let client = Client::connect(options).await.expect("the server is up");
                test(&client).await;
            }
            .or(late),
        );
    }
}

async fn session(client: &Client) -> Session {
    Session::open(client, 60).await.expect("a session")
}

async fn value(client: &Client, key: &'static str) -> i64 {
    let request = pb::RangeRequest { key: key.into(), ..Default::default() };
    let kvs = client.range(request).await.expect("a read").kvs;
    kvs.first().map_or(0, |kv| std::str::from_utf8(&kv.value).expect("text").parse().expect("n"))
}

fn put(key: &'static str, value: i64) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: value.to_string().into(), ..Default::default() }
}

/// The keys of a name, oldest first.
async fn queue(client: &Client, prefix: &'static str) -> Vec<bytes::Bytes> {
    let request = pb::RangeRequest {
        key: prefix.into(),
        range_end: braid::client::prefix_end(prefix.as_bytes()),
        sort_target: pb::range_request::SortTarget::Create as i32,
        sort_order: pb::range_request::SortOrder::Ascend as i32,
        ..Default::default()
    };
    client.range(request).await.expect("a read").kvs.into_iter().map(|kv| kv.key).collect()
}

/// Waits until so many stand in a queue.
async fn until_queued(client: &Client, prefix: &'static str, count: usize) {
    while queue(client, prefix).await.len() != count {
        Timer::after(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_lock_lets_one_in_at_a_time() {
    const SESSIONS: i64 = 8;
    const ROUNDS: i64 = 10;
    over_each_transport(async |client| {
        let inside = Cell::new(0);
        let executor = LocalExecutor::new();
        let tasks: Vec<_> = (0..SESSIONS)
            .map(|_| {
                executor.spawn(async {
                    let session = session(client).await;
                    for _ in 0..ROUNDS {
                        let mut mutex = Mutex::new(&session, "n");
                        mutex.lock().await.expect("the lock");
                        assert_eq!(inside.replace(1), 0, "alone");
                        let count = value(client, "count").await;
                        client.put(put("count", count + 1)).await.expect("a put");
                        inside.set(0);
                        mutex.unlock().await.expect("unlocked");
                    }
                    session.close().await.expect("closed");
                })
            })
            .collect();
        executor
            .run(async {
                for task in tasks {
                    task.await;
                }
            })
            .await;
        assert_eq!(value(client, "count").await, SESSIONS * ROUNDS);
        assert!(queue(client, "n/").await.is_empty());
        assert!(client.leases().await.expect("leases").leases.is_empty());
    });
}

#[test]
fn a_lock_is_had_in_the_order_of_asking() {
    over_each_transport(async |client| {
        let first = session(client).await;
        let mut held = Mutex::new(&first, "n");
        held.lock().await.expect("the lock");
        let waiting = [session(client).await, session(client).await, session(client).await];
        let order = RefCell::new(Vec::new());
        let order = &order;
        let executor = LocalExecutor::new();
        let mut tasks = Vec::new();
        executor
            .run(async {
                for (number, session) in waiting.iter().enumerate() {
                    tasks.push(executor.spawn(async move {
                        let mut mutex = Mutex::new(session, "n");
                        mutex.lock().await.expect("the lock");
                        order.borrow_mut().push(number);
                        mutex.unlock().await.expect("unlocked");
                    }));
                    until_queued(client, "n/", number + 2).await;
                }
                assert!(order.borrow().is_empty());
                held.unlock().await.expect("unlocked");
                for task in tasks {
                    task.await;
                }
            })
            .await;
        assert_eq!(*order.borrow(), [0, 1, 2]);
    });
}

#[test]
fn a_lock_can_be_tried_and_taken_again() {
    over_each_transport(async |client| {
        let (one, two) = (session(client).await, session(client).await);
        let (mut first, mut second) = (Mutex::new(&one, "n"), Mutex::new(&two, "n"));
        assert_eq!(second.unlock().await, Err(Failure::Released));
        first.try_lock().await.expect("nobody has it");
        assert_eq!(second.try_lock().await, Err(Failure::Locked));
        assert_eq!(queue(client, "n/").await, [first.key().clone()], "no key is left behind");
        first.lock().await.expect("the same session has it");
        first.unlock().await.expect("unlocked");
        second.try_lock().await.expect("nobody has it");
    });
}

#[test]
fn a_write_guarded_by_a_lock_fails_when_the_lock_is_gone() {
    over_each_transport(async |client| {
        let session = session(client).await;
        let mut mutex = Mutex::new(&session, "n");
        assert_eq!(mutex.is_owner(), None);
        mutex.lock().await.expect("the lock");
        let guarded = pb::TxnRequest {
            compare: vec![mutex.is_owner().expect("it is held")],
            success: vec![pb::RequestOp {
                request: Some(pb::request_op::Request::RequestPut(put("k", 1))),
            }],
            failure: vec![],
        };
        assert!(client.txn(guarded.clone()).await.expect("a txn").succeeded);
        client.lease_revoke(session.lease()).await.expect("revoked");
        assert!(!client.txn(guarded).await.expect("a txn").succeeded);
        assert_eq!(session.lost().await, LeaseLost::Gone);
        assert_eq!(session.reason(), Some(LeaseLost::Gone));
        session.close().await.expect("that it is gone is fine");
    });
}

#[test]
fn who_waits_and_dies_lets_the_next_one_pass() {
    over_each_transport(async |client| {
        let (one, three) = (session(client).await, session(client).await);
        let two = Session::open(client, 3).await.expect("a session");
        let mut first = Mutex::new(&one, "n");
        first.lock().await.expect("the lock");
        let mut second = Mutex::new(&two, "n");
        let mut third = Mutex::new(&three, "n");
        let dies = async {
            until_queued(client, "n/", 2).await;
            client.lease_revoke(two.lease()).await.expect("revoked");
        };
        let (waited, ()) = futures_lite::future::zip(second.lock(), dies).await;
        assert_eq!(waited, Err(Failure::SessionExpired));
        let leaves = async {
            until_queued(client, "n/", 2).await;
            first.unlock().await.expect("unlocked");
        };
        let (had, ()) = futures_lite::future::zip(third.lock(), leaves).await;
        had.expect("the lock");
    });
}

#[test]
fn a_future_of_a_lock_that_is_dropped_is_undone_by_unlocking() {
    over_each_transport(async |client| {
        let (one, two) = (session(client).await, session(client).await);
        let (mut first, mut second) = (Mutex::new(&one, "n"), Mutex::new(&two, "n"));
        first.lock().await.expect("the lock");
        let bored = async {
            until_queued(client, "n/", 2).await;
            None
        };
        assert_eq!(async { Some(second.lock().await) }.or(bored).await, None);
        second.unlock().await.expect("it stood in the queue");
        assert_eq!(queue(client, "n/").await, [first.key().clone()]);
    });
}

#[test]
fn an_election_has_one_leader_who_may_speak_and_step_down() {
    over_each_transport(async |client| {
        let (one, two) = (session(client).await, session(client).await);
        let (mut first, mut second) = (Election::new(&one, "e"), Election::new(&two, "e"));
        assert_eq!(first.leader().await, Err(Failure::NoLeader));
        assert_eq!(first.proclaim("x").await, Err(Failure::NotLeader));
        assert_eq!(first.resign().await, Ok(()), "there is nothing to resign");
        first.campaign("one").await.expect("elected");
        first.campaign("uno").await.expect("elected still");
        let said = async |election: &Election<'_>| {
            let leader = election.leader().await.expect("a leader");
            String::from_utf8(leader.kvs[0].value.to_vec()).expect("text")
        };
        assert_eq!(said(&second).await, "uno");
        first.proclaim("eins").await.expect("it leads");
        assert_eq!(said(&second).await, "eins");
        let steps_down = async {
            until_queued(client, "e/", 2).await;
            first.resign().await.expect("resigned");
        };
        let (elected, ()) = futures_lite::future::zip(second.campaign("two"), steps_down).await;
        elected.expect("elected");
        assert_eq!(said(&first).await, "two");
        client.lease_revoke(two.lease()).await.expect("revoked");
        assert_eq!(second.proclaim("x").await, Err(Failure::NotLeader));
    });
}

#[test]
fn observers_see_every_leader_and_every_word() {
    over_each_transport(async |client| {
        let mut leaders = Leaders::of(client, "e");
        let mut next = async || {
            let shown = leaders.next().await.expect("a leader");
            String::from_utf8(shown.kvs[0].value.to_vec()).expect("text")
        };
        let (one, two) = (session(client).await, session(client).await);
        let (mut first, mut second) = (Election::new(&one, "e"), Election::new(&two, "e"));
        let (seen, elected) = futures_lite::future::zip(next(), first.campaign("1")).await;
        elected.expect("elected");
        assert_eq!(seen, "1");
        for word in ["1a", "1b", "1c"] {
            first.proclaim(word).await.expect("it leads");
        }
        for word in ["1a", "1b", "1c"] {
            assert_eq!(next().await, word);
        }
        let stands_down = async {
            until_queued(client, "e/", 2).await;
            first.resign().await.expect("resigned");
        };
        let (elected, ()) = futures_lite::future::zip(second.campaign("2"), stands_down).await;
        elected.expect("elected");
        assert_eq!(next().await, "2");
        // While nobody leads, the history is compacted away; the next leader is seen all the same.
        second.resign().await.expect("resigned");
        let compacts = async {
            let revision = client.put(put("k", 1)).await.expect("a put").header;
            let revision = revision.expect("a header").revision;
            let compaction = pb::CompactionRequest { revision, physical: false };
            client.compact(compaction).await.expect("compacted");
            first.campaign("3").await.expect("elected");
        };
        let (seen, ()) = futures_lite::future::zip(next(), compacts).await;
        assert_eq!(seen, "3");
    });
}
