//! A RangeStream while the store changes under it: what arrives is the store at one revision, or
//! the stream says that this revision has been compacted.

mod common;

use braid::client::blocking::Client;
use braid::client::{Options, Transport, error::code};
use braid::protocol::pb::etcdserverpb as pb;
use common::{Program, Server, program};
use futures_lite::future::block_on;

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
