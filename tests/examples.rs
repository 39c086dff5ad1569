//! The examples, each against a server.

mod common;
#[allow(dead_code)] // Its main.
#[path = "../examples/lock.rs"]
mod lock;
#[allow(dead_code)] // Its main.
#[path = "../examples/put_get.rs"]
mod put_get;
#[allow(dead_code)] // Its main.
#[path = "../examples/watch_from_revision.rs"]
mod watch_from_revision;

use std::thread;

use braid::client::blocking::Client;
use braid::client::{Options, prefix_end};
use braid::protocol::pb::etcdserverpb as pb;
use common::{Server, program};
use futures_lite::future::block_on;

fn value(client: &Client, key: &'static str) -> String {
    let get = pb::RangeRequest { key: key.into(), ..Default::default() };
    let kvs = client.range(get).expect("a read").kvs;
    String::from_utf8(kvs[0].value.to_vec()).expect("text")
}

#[test]
fn the_examples_do_what_they_say() {
    let server = Server::start(&program(), &[]);
    let endpoint = server.endpoint();
    let client = Client::connect(Options::endpoints([&endpoint])).expect("the server is up");

    put_get::put_and_get(&endpoint).expect("it ends well");
    assert_eq!(value(&client, "greeting"), "hi");

    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| block_on(lock::work(&endpoint)).expect("it ends well"));
        }
    });
    assert_eq!(value(&client, "counter"), "3");
    let queue = pb::RangeRequest {
        key: "locks/".into(),
        range_end: prefix_end(b"locks/"),
        ..Default::default()
    };
    assert_eq!(client.range(queue).expect("a read").kvs, [], "all locks are given back");
}

#[test]
fn the_example_of_a_watch_goes_on_where_history_begins() {
    let server = Server::start(&program(), &[]);
    let endpoint = server.endpoint();
    let client = Client::connect(Options::endpoints([&endpoint])).expect("the server is up");
    let put = |key: &'static str, value: &'static str| {
        let put = pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() };
        client.put(put).expect("a write").header.expect("a header").revision
    };
    let first = put("config/a", "1");
    put("other", "2");
    let third = put("config/b", "3");
    let delete = pb::DeleteRangeRequest { key: "config/a".into(), ..Default::default() };
    client.delete_range(delete).expect("a write");

    let follow = |revision: i64, count: usize| {
        let mut seen = Vec::new();
        let visit = |event: &braid::protocol::pb::mvccpb::Event| {
            seen.push(watch_from_revision::described(event));
            seen.len() < count
        };
        block_on(watch_from_revision::follow(&endpoint, b"config/", revision, visit))
            .expect("it ends well");
        seen
    };
    let all = [
        format!("{first} put config/a \"1\""),
        format!("{third} put config/b \"3\""),
        format!("{} delete config/a", third + 1),
    ];
    assert_eq!(follow(1, 3), all);
    let compaction = pb::CompactionRequest { revision: third, physical: true };
    client.compact(compaction).expect("a compaction");
    assert_eq!(follow(1, 2), all[1..]);
}
