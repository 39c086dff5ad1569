//! A RangeStream while the store changes under it: what arrives is the store at one revision, or
//! the stream says that this revision has been compacted.

mod common;
#[allow(dead_code, reason = "made for attackers, who need more of it")]
mod wire;

use braid::client::blocking::Client;
use braid::client::{Options, Transport, error::code};
use braid::protocol::pb::etcdserverpb as pb;
use common::{Program, Server, program};
use futures_lite::future::block_on;
use prost::Message;
use wire::Wire;

/// Large enough that the stream cannot be over before it is read.
const KEYS: usize = 300;
const VALUE_BYTES: usize = 200 << 10;

fn transports(program: &Program) -> &'static [Transport] {
    match program {
        Program::Braid => &[Transport::Frames, Transport::Grpc],
        Program::Etcd(_) => &[Transport::Grpc],
    }
}

fn filled(server: &Server, transport: Transport) -> Client {
    let options = Options { transport, ..Options::endpoints([server.endpoint()]) };
    let client = Client::connect(options).expect("connect to the server");
    for number in 0..KEYS {
        put(&client, number, b'1');
    }
    client
}

fn put(client: &Client, number: usize, byte: u8) -> i64 {
    let request = pb::PutRequest {
        key: format!("key/{number:04}").into(),
        value: vec![byte; VALUE_BYTES].into(),
        ..Default::default()
    };
    client.put(request).expect("a put").header.expect("a header").revision
}

fn everything() -> pb::RangeRequest {
    pb::RangeRequest { key: "key/".into(), range_end: "key0".into(), ..Default::default() }
}

/// Opens a stream, reads one chunk, lets `change` happen, reads the rest.
fn stream_over(
    client: &Client,
    change: impl FnOnce(),
) -> Result<Vec<pb::RangeResponse>, braid::client::Error> {
    block_on(async {
        let mut stream = client.inner().with_timeout(None).range_stream(everything()).await?;
        let mut chunks = Vec::new();
        let first = stream.next().await?.expect("a first chunk");
        chunks.push(first.range_response.expect("a part"));
        change();
        while let Some(chunk) = stream.next().await? {
            chunks.push(chunk.range_response.expect("a part"));
        }
        Ok(chunks)
    })
}

/// Whether the chunks are the whole store as it was before anything changed.
fn assert_as_before(chunks: &[pb::RangeResponse], revision: i64) {
    let kvs: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.kvs).collect();
    assert_eq!(kvs.len(), KEYS);
    for (number, kv) in kvs.iter().enumerate() {
        assert_eq!(kv.key, format!("key/{number:04}"));
        assert_eq!((kv.value.len(), kv.value[0], kv.version), (VALUE_BYTES, b'1', 1));
    }
    let last = chunks.last().expect("chunks");
    assert_eq!(last.count, KEYS as i64);
    assert_eq!(last.header.expect("a header on the last").revision, revision);
}

#[test]
fn a_stream_shows_one_revision_whatever_is_written_meanwhile() {
    for transport in transports(&program()) {
        let server = Server::start(&program(), &[]);
        let client = filled(&server, *transport);
        let chunks = stream_over(&client, || {
            for number in (0..KEYS).rev().step_by(7) {
                put(&client, number, b'2');
            }
            let half = pb::DeleteRangeRequest {
                key: "key/0100".into(),
                range_end: "key/0200".into(),
                ..Default::default()
            };
            assert_eq!(client.delete_range(half).expect("a delete").deleted, 100);
        });
        assert_as_before(&chunks.expect("a stream"), KEYS as i64 + 1);
    }
}

#[test]
fn a_stream_overtaken_by_compaction_is_whole_or_says_so() {
    for transport in transports(&program()) {
        let server = Server::start(&program(), &[]);
        let client = filled(&server, *transport);
        let streamed = stream_over(&client, || {
            let revision = put(&client, KEYS - 1, b'2');
            client.compact(pb::CompactionRequest { revision, physical: false }).expect("compact");
        });
        match streamed {
            Ok(chunks) => assert_as_before(&chunks, KEYS as i64 + 1),
            Err(error) => assert_eq!(error.code(), code::OUT_OF_RANGE, "{error}"),
        }
    }
}

/// What a stream may cost the server above its store, however large the range is.
const STREAM_BYTES_MAX: u64 = 64 << 20;
const LARGE_VALUE_BYTES: usize = 1 << 20;

/// The opcode of RangeStream in frames.
const RANGE_STREAM: u8 = 0x11;

/// A server with `mebibytes` of values below `key/`.
fn large(mebibytes: usize) -> Server {
    let server = Server::start(&Program::Braid, &[]);
    let options = Options::endpoints([server.endpoint()]);
    let client = Client::connect(options).expect("connect to the server");
    let value = vec![b'v'; LARGE_VALUE_BYTES];
    for number in 0..mebibytes {
        let request = pb::PutRequest {
            key: format!("key/{number:05}").into(),
            value: value.clone().into(),
            ..Default::default()
        };
        client.put(request).expect("a put");
    }
    server
}

/// Asks for everything at once over frames, and reads nothing yet.
fn asked(server: &Server) -> Wire {
    let mut wire = Wire::connect(server.client_port);
    wire.send(&wire::frames::opening());
    let request = everything().encode_to_vec();
    wire.send(&wire::frames::frame(1, RANGE_STREAM, wire::frames::END, &request));
    wire
}

/// Reads a stream of `mebibytes` with `pause` between one piece and the next; returns the most that
/// the server held meanwhile beyond what it held before.
fn cost_of_reading(server: &Server, mebibytes: usize, mut pause: impl FnMut()) -> u64 {
    let before = server.resident_bytes();
    let mut wire = asked(server);
    let (mut read, mut most) = (0, before);
    while read < mebibytes * LARGE_VALUE_BYTES {
        pause();
        most = most.max(server.resident_bytes());
        let wanted = LARGE_VALUE_BYTES.min(mebibytes * LARGE_VALUE_BYTES - read);
        let got = wire.read_until(|got| got.len() >= wanted);
        assert!(!got.is_empty(), "the stream ended after {read} bytes");
        read += got.len();
    }
    most - before
}

fn stream_is_bounded(mebibytes: usize) {
    let server = large(mebibytes);
    let options = Options::endpoints([server.endpoint()]);
    let other = Client::connect(options).expect("connect to the server");
    // Reads of others while the stalled one reads nothing: each of them is a turn of the server.
    let get = || {
        let request = pb::RangeRequest { key: "key/00000".into(), ..Default::default() };
        other.range(request).expect("a range");
    };
    let before = server.resident_bytes();
    let stalled = asked(&server);
    let mut most = before;
    for _ in 0..50 {
        get();
        most = most.max(server.resident_bytes());
    }
    let cost = most - before;
    assert!(cost <= STREAM_BYTES_MAX, "a stalled reader costs {cost} bytes");
    drop(stalled);
    let cost = cost_of_reading(&server, mebibytes, get);
    assert!(cost <= STREAM_BYTES_MAX, "a slow reader costs {cost} bytes");
}

#[test]
fn a_stream_costs_little_however_slowly_it_is_read() {
    if !program().is_etcd() {
        stream_is_bounded(256);
    }
}

/// `cargo test --release --test streams -- --ignored` measures it at full size.
#[test]
#[ignore = "holds a gigabyte"]
fn a_stream_of_a_gibibyte_costs_little() {
    stream_is_bounded(1024);
}
