//! Braid's own protocol, from a blocking socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::*;
use crate::protocol::frame::{
    Decoder, Flags, Frame, Opcode, PREFACE, decode_error, encode_frame, encode_message,
};
use crate::protocol::method::Method;
use crate::protocol::pb::{braidpb, etcdserverpb as pb};
use crate::protocol::status::Status;

/// A client that has sent its preface and hello.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
}

impl Client {
    fn raw(rig: &Rig) -> Client {
        Client { stream: rig.connect(), input: BytesMut::new(), output: BytesMut::new() }
    }

    pub(super) fn connect(rig: &Rig, core: Option<u32>) -> (Client, braidpb::HelloReply) {
        let mut client = Client::raw(rig);
        client.hello(core);
        client.flush();
        let frame = client.frame().expect("a hello");
        assert_eq!(Opcode::from_u8(frame.header.opcode), Some(Opcode::Hello));
        let reply = braidpb::HelloReply::decode(frame.payload).expect("a hello");
        (client, reply)
    }

    fn hello(&mut self, core: Option<u32>) {
        self.output.extend_from_slice(&PREFACE);
        let hello = braidpb::HelloRequest {
            protocol_version: 1,
            token: String::new(),
            core,
            client: "test".to_owned(),
        };
        encode_message(&mut self.output, 0, Opcode::Hello, Flags::NONE, &hello);
    }

    pub(super) fn queue(&mut self, stream: u32, method: Method, message: &impl Message) {
        encode_message(&mut self.output, stream, Opcode::Method(method), Flags::END, message);
    }

    /// A frame of a stream both ways.
    pub(super) fn say(&mut self, stream: u32, method: Method, message: &impl Message) {
        encode_message(&mut self.output, stream, Opcode::Method(method), Flags::NONE, message);
        self.flush();
    }

    pub(super) fn say_bare(&mut self, stream: u32, method: Method, flags: Flags) {
        encode_frame(&mut self.output, stream, method.opcode(), flags, |_| {});
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        self.stream.write_all(&self.output.split()).expect("write");
    }

    /// The next frame; `None` at the end of the connection.
    pub(super) fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Decoder::new(1 << 30).decode(&mut self.input).expect("frames") {
                return Some(frame);
            }
            let mut bytes = [0; 65536];
            let count = self.stream.read(&mut bytes).expect("an answer in time");
            if count == 0 {
                assert!(self.input.is_empty(), "the connection ended inside a frame");
                return None;
            }
            self.input.extend_from_slice(&bytes[..count]);
        }
    }

    /// Waits for a frame, and takes all that came with it.
    pub(super) fn frames(&mut self) -> u32 {
        self.frame().expect("an answer");
        let mut count = 1;
        while Decoder::new(1 << 30).decode(&mut self.input).expect("frames").is_some() {
            count += 1;
        }
        count
    }

    pub(super) fn ask(&mut self, stream: u32, method: Method, message: &impl Message) -> Frame {
        self.queue(stream, method, message);
        self.flush();
        self.frame().expect("an answer")
    }
}

pub(super) fn put(key: &str, value: &[u8]) -> pb::PutRequest {
    pb::PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value),
        ..Default::default()
    }
}

pub(super) fn get(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..Default::default() }
}

pub(super) fn error(frame: &Frame) -> Status {
    assert!(frame.header.flags.contains(Flags::ERROR | Flags::END), "{frame:?}");
    decode_error(frame.payload.clone())
}

#[test]
fn put_and_get_and_a_thousand_at_once_in_few_turns() {
    let rig = Rig::start(1);
    let (mut client, hello) = Client::connect(&rig, None);
    assert_eq!((hello.cores, hello.core, hello.shards), (1, 0, 2));
    assert_eq!(hello.shard_cores, [0, 1]);
    assert_eq!((hello.cluster_id, hello.member_id, hello.hash_seed), (0xC1, 0xA1, 7));

    let answer = client.ask(1, Method::Put, &put("a", b"1"));
    assert_eq!((answer.header.stream, answer.header.flags), (1, Flags::END));
    let reply = pb::PutResponse::decode(answer.payload).expect("a message");
    let header = reply.header.expect("a header");
    assert_eq!((header.revision, header.member_id, header.raft_term), (2, 0xA1, 2));
    let answer = client.ask(1, Method::Range, &get("a"));
    let reply = pb::RangeResponse::decode(answer.payload).expect("a message");
    assert_eq!((&reply.kvs[0].value[..], reply.count), (&b"1"[..], 1));
    let answer = client.ask(1, Method::Put, &put("now", b"1"));
    assert_eq!(answer.header.flags, Flags::END, "answered by submit itself");

    for stream in 1..=1000 {
        client.queue(stream, Method::Put, &put(&format!("key{stream}"), b"value"));
    }
    client.flush();
    let mut revisions: Vec<(u32, i64)> = (0..1000)
        .map(|_| {
            let frame = client.frame().expect("an answer");
            let reply = pb::PutResponse::decode(frame.payload).expect("a message");
            (frame.header.stream, reply.header.expect("a header").revision)
        })
        .collect();
    revisions.sort_unstable();
    let expected: Vec<_> = (1..=1000).map(|stream| (stream, i64::from(stream) + 3)).collect();
    assert_eq!(revisions, expected, "in the order in which they were sent");
    let turns = rig.seen[0].lock().expect("no panic").turns.clone();
    assert!(turns.len() < 20, "requests of one read share a turn: {turns:?}");
    rig.stop();
}

#[test]
fn refusals_name_themselves_and_the_connection_goes_on() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    let status = error(&client.ask(1, Method::Put, &put("", b"")));
    assert_eq!((status.code, &*status.message), (3, "etcdserver: key is not provided"));
    let status = error(&client.ask(2, Method::AuthEnable, &pb::LeaseGrantRequest::default()));
    assert_eq!(status.code, 12, "{status:?}");
    let status = error(&client.ask(3, Method::Put, &put("k", &vec![0; 3 << 19])));
    assert_eq!(&*status.message, "etcdserver: request is too large");
    assert_eq!(client.ask(4, Method::Put, &put("k", b"")).header.flags, Flags::END);
    rig.stop();
}

#[test]
fn cancelled_by_frame_or_by_leaving_a_request_reaches_the_core_as_cancelled() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    client.queue(5, Method::Range, &get("stall/a"));
    client.queue(6, Method::Range, &get("stall/b"));
    encode_frame(&mut client.output, 5, Method::Range.opcode(), Flags::CANCEL, |_| {});
    client.flush();
    let frame = client.frame().expect("the end of stream 5");
    assert_eq!((frame.header.stream, error(&frame).code), (5, 1));
    rig.until(|seen| seen.cancelled.len() == 1);
    drop(client);
    rig.until(|seen| seen.cancelled.len() == 2);
    rig.stop();
}

#[test]
fn whatever_breaks_the_protocol_is_named_and_closed_while_others_are_served() {
    let rig = Rig::start(1);
    let (mut other, _) = Client::connect(&rig, None);
    let hello = |client: &mut Client| client.hello(None);
    let request = |stream| {
        let mut frame = BytesMut::new();
        let opcode = Opcode::Method(Method::Put);
        encode_message(&mut frame, stream, opcode, Flags::END, &put("stall", b"v"));
        frame
    };
    let mut flipped = request(1);
    *flipped.last_mut().expect("a payload") ^= 1;
    let mut oversized = request(1);
    oversized[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut unknown = BytesMut::new();
    encode_frame(&mut unknown, 1, 0xFE, Flags::END, |_| {});
    let twice = [request(9), request(9)].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("frame checksum", flipped.to_vec()),
        ("is above the limit", oversized.to_vec()),
        ("unknown frame opcode 0xfe", unknown.to_vec()),
        ("stream 9 already has a request under way", twice),
        ("is not allowed on stream 0", request(0).to_vec()),
    ];
    for (what, bytes) in cases {
        let mut client = Client::raw(&rig);
        hello(&mut client);
        client.output.extend_from_slice(&bytes);
        client.flush();
        client.frame().expect("a hello");
        let last = client.frame().expect("a close");
        assert_eq!(Opcode::from_u8(last.header.opcode), Some(Opcode::Close), "{what}");
        let status = error(&last);
        assert!(status.message.contains(what), "{status:?} says {what}");
        assert!(client.frame().is_none(), "and then the connection ends");
    }
    let mut early = Client::raw(&rig);
    early.output.extend_from_slice(&PREFACE);
    early.output.extend_from_slice(&request(1));
    early.flush();
    let status = error(&early.frame().expect("a close"));
    assert!(status.message.contains("came before the hello"), "{status:?}");
    let mut noise = Client::raw(&rig);
    noise.output.extend_from_slice(b"\x00\xff\x07\x12garbage");
    noise.flush();
    let status = error(&noise.frame().expect("a close"));
    assert!(status.message.contains("bad magic"), "{status:?}");
    assert_eq!(other.ask(1, Method::Put, &put("k", b"v")).header.flags, Flags::END);
    rig.stop();
}

#[test]
fn a_client_that_never_reads_is_not_read_from_and_harms_nobody() {
    let rig = Rig::start(1);
    let (mut other, _) = Client::connect(&rig, None);
    let value = vec![b'x'; 1 << 20];
    assert_eq!(other.ask(1, Method::Put, &put("big", &value)).header.flags, Flags::END);
    let (mut flood, _) = Client::connect(&rig, None);
    flood.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("timeout");
    let mut stream = 0u32;
    let stuck = loop {
        for _ in 0..64 {
            stream += 1;
            flood.queue(stream, Method::Range, &get("big"));
        }
        let bytes = flood.output.split();
        if flood.stream.write_all(&bytes).is_err() {
            break true;
        }
        if stream > 2_000_000 {
            break false;
        }
    };
    assert!(stuck, "the server reads on and on although nobody takes its answers");
    assert_eq!(other.ask(2, Method::Put, &put("k", b"v")).header.flags, Flags::END);
    drop(flood);
    rig.stop();
}

#[test]
fn a_hello_moves_the_connection_to_the_core_it_asks_for() {
    let rig = Rig::start(2);
    for core in [0, 1, 1, 0] {
        let mut client = Client::raw(&rig);
        client.hello(Some(core));
        // What follows the hello at once travels along.
        client.queue(1, Method::Put, &put("k", b"v"));
        client.flush();
        let hello = client.frame().expect("a hello");
        let hello = braidpb::HelloReply::decode(hello.payload).expect("a hello");
        assert_eq!((hello.core, hello.cores), (core, 2));
        assert_eq!(client.frame().expect("an answer").header.stream, 1);
        assert_eq!(client.ask(2, Method::Put, &put("k", b"v")).header.flags, Flags::END);
    }
    let (_, hello) = Client::connect(&rig, Some(99));
    assert!(hello.core < 2, "there is no core 99, so any will do");
    assert!(rig.seen.iter().all(|seen| seen.lock().expect("no panic").turns.len() >= 4));
    rig.stop();
}

#[test]
fn at_shutdown_what_is_under_way_is_answered_and_idle_connections_end() {
    let rig = Rig::start_with(1, |settings| {
        settings.request_bytes_max = 1 << 20;
    });
    let (mut idle, _) = Client::connect(&rig, None);
    let (mut busy, _) = Client::connect(&rig, None);
    busy.queue(1, Method::Range, &get("stall"));
    busy.queue(2, Method::Put, &put("k", b"v"));
    busy.flush();
    assert_eq!(busy.frame().expect("an answer").header.stream, 2, "both have arrived");
    let (sender, receiver) = std::sync::mpsc::channel();
    let stopping = std::thread::spawn(move || {
        rig.stop_within(Duration::from_millis(500));
        sender.send(()).expect("the test waits");
    });
    assert!(idle.frame().is_none(), "ends at once");
    receiver.recv_timeout(Duration::from_secs(20)).expect("the limit holds");
    stopping.join().expect("no panic");
    assert_eq!(busy.stream.read(&mut [0; 16]).expect("an end"), 0, "dropped at the limit");
}

#[test]
fn a_range_stream_comes_in_parts_that_add_up() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    for stream in 1..=500 {
        client.queue(stream, Method::Put, &put(&format!("key{stream:03}"), &[b'v'; 100]));
    }
    client.flush();
    (0..500).for_each(|_| drop(client.frame().expect("an answer")));
    let range = pb::RangeRequest {
        key: Bytes::from_static(b"key"),
        range_end: Bytes::from_static(b"kez"),
        ..Default::default()
    };
    client.queue(1, Method::RangeStream, &range);
    client.flush();
    let mut keys = Vec::new();
    let mut parts = 0;
    loop {
        let frame = client.frame().expect("a part");
        let part = pb::RangeStreamResponse::decode(frame.payload).expect("a message");
        let response = part.range_response.expect("a part");
        keys.extend(response.kvs.into_iter().map(|kv| kv.key));
        parts += 1;
        if frame.header.flags.contains(Flags::END) {
            assert_eq!((response.count, response.more), (500, false));
            break;
        }
        assert!(response.header.is_none());
    }
    assert!(parts >= 5, "10, 20, 40, …: {parts}");
    assert_eq!(keys.len(), 500);
    assert!(keys.is_sorted());

    let range = pb::RangeRequest { limit: 25, ..range };
    client.queue(2, Method::RangeStream, &range);
    client.flush();
    let first = client.frame().expect("a part");
    assert!(!first.header.flags.contains(Flags::END), "ten of them");
    let last = client.frame().expect("a part");
    assert!(last.header.flags.contains(Flags::END));
    let part = pb::RangeStreamResponse::decode(last.payload).expect("a message");
    let response = part.range_response.expect("a part");
    assert_eq!((response.kvs.len(), response.count, response.more), (15, 500, true));
    assert_eq!(&response.kvs[0].key[..], b"key011");
    rig.stop();
}

#[test]
fn a_streamed_range_is_counted_once_and_each_part_is_ordered_by_its_target() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    for stream in 1..=99 {
        // Values descend.
        client.queue(stream, Method::Put, &put(&format!("key{stream:03}"), &[200 - stream as u8]));
    }
    client.flush();
    (0..99).for_each(|_| drop(client.frame().expect("an answer")));
    let mut stream = 0;
    let mut ask = |limit: i64, keys_only: bool| {
        rig.seen[0].lock().expect("no panic").ranges.clear();
        let range = pb::RangeRequest {
            key: Bytes::from_static(b"key"),
            range_end: Bytes::from_static(b"kez"),
            sort_target: pb::range_request::SortTarget::Value as i32,
            keys_only,
            limit,
            ..Default::default()
        };
        stream += 1;
        client.queue(stream, Method::RangeStream, &range);
        client.flush();
        let mut parts = Vec::new();
        loop {
            let frame = client.frame().expect("a part");
            let part = pb::RangeStreamResponse::decode(frame.payload).expect("a message");
            parts.push(part.range_response.expect("a part"));
            if frame.header.flags.contains(Flags::END) {
                return (parts, rig.seen[0].lock().expect("no panic").ranges.clone());
            }
        }
    };
    let number = |kv: &crate::protocol::pb::mvccpb::KeyValue| {
        std::str::from_utf8(&kv.key[3..]).expect("text").parse::<usize>().expect("a number")
    };
    for (limit, sent, counts) in [(0, 99, 0), (40, 40, 1)] {
        for keys_only in [false, true] {
            let (parts, asked) = ask(limit, keys_only);
            let mut expected = 1;
            for part in &parts {
                // What follows in key order, from its last to its first.
                let numbers: Vec<usize> = part.kvs.iter().map(number).collect();
                let next = expected + numbers.len();
                assert!(numbers.into_iter().rev().eq(expected..next));
                assert!(part.kvs.iter().all(|kv| kv.value.is_empty() == keys_only));
                expected = next;
            }
            assert_eq!(expected, sent + 1);
            assert_eq!(parts.last().expect("a last one").count, 99);
            let (counting, reading): (Vec<_>, Vec<_>) =
                asked.into_iter().partition(|range| range.count_only);
            assert!(reading.len() == parts.len() && reading.iter().all(|range| range.uncounted));
            assert_eq!(counting.len(), counts, "what was left out, and nothing else");
        }
    }
    // What fits the first part is a range like any other.
    let (parts, asked) = ask(7, true);
    assert_eq!((parts.len(), asked.len()), (1, 1));
    assert!(!asked[0].uncounted && asked[0].target == SortTarget::Value && asked[0].keys_only);
    rig.stop();
}
