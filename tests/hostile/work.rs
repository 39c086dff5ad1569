//! Attacks with requests that are well formed, and heavier than they look: what they make the
//! server do must be in proportion to their bytes, and nothing once their client has left. Each is
//! answered once, and others go on being served.

use braid::protocol::pb::etcdserverpb as pb;
use pb::request_op::Request as Op;
use prost::Message;

use super::frames::put;
use super::streams::{BARE, CANCEL, KEEP_ALIVE, WATCH, opened};
use super::victim::Attack;
use crate::wire::Wire;
use crate::wire::frames::{END, ERROR, Frame, PUT, RANGE, frame, frames};

const RANGE_STREAM: u8 = 0x11;
const TXN: u8 = 0x14;
const COMPACT: u8 = 0x15;
const HASH_KV: u8 = 0x54;

/// Streams that a connection may have open.
const STREAMS: u32 = 16_000;

fn ends(got: &[u8]) -> usize {
    frames(got).iter().filter(|frame| frame.flags & END != 0).count()
}

/// What `count` streams were told last, none of them an error.
fn answers(wire: &mut Wire, count: usize) -> Vec<Frame> {
    let got = frames(&wire.read_until(|got| ends(got) >= count));
    let last: Vec<Frame> = got.into_iter().filter(|frame| frame.flags & END != 0).collect();
    assert_eq!(last.len(), count);
    for frame in &last {
        assert_eq!(frame.flags & ERROR, 0, "{:?}", frame.error());
    }
    last
}

fn ask(wire: &mut Wire, opcode: u8, request: &impl Message) -> Frame {
    wire.send(&frame(1, opcode, END, &request.encode_to_vec()));
    answers(wire, 1).pop().expect("an answer")
}

/// Deletes of the ranges with these numbers.
fn deletes(numbers: impl Iterator<Item = usize>) -> Vec<u8> {
    let success = numbers.map(|number| {
        let delete = pb::DeleteRangeRequest {
            key: format!("work/{number:06}").into(),
            range_end: format!("work/{number:06}~").into(),
            ..Default::default()
        };
        pb::RequestOp { request: Some(Op::RequestDeleteRange(delete)) }
    });
    pb::TxnRequest { success: success.collect(), ..Default::default() }.encode_to_vec()
}

/// Keys `work/…`, and the revision after them.
fn filled(wire: &mut Wire, keys: usize) -> i64 {
    for first in (0..keys).step_by(100) {
        let puts = (first..keys.min(first + 100)).map(|number| {
            let put = pb::PutRequest {
                key: format!("work/{number:06}").into(),
                value: "value".into(),
                ..Default::default()
            };
            pb::RequestOp { request: Some(Op::RequestPut(put)) }
        });
        let txn = pb::TxnRequest { success: puts.collect(), ..Default::default() };
        ask(wire, TXN, &txn);
    }
    let last = pb::PutRequest { key: "work/last".into(), ..Default::default() };
    let answer = ask(wire, PUT, &last);
    let reply = pb::PutResponse::decode(&answer.payload[..]).expect("a put's answer");
    reply.header.expect("a header").revision
}

/// A megabyte of txns of range deletes: once each with ranges of its own, once all with the same
/// last one, so that only the last look shows that they cannot go together.
pub fn range_deletes(attack: &mut Attack) {
    const TXNS: usize = 300;
    const DELETES: usize = 127;
    let own = |txn: usize| txn * DELETES..(txn + 1) * DELETES;
    let mut wire = opened(attack);
    for shared in [None, Some(TXNS * DELETES)] {
        for txn in 0..TXNS {
            let payload = deletes(own(txn).chain(shared));
            wire.send(&frame(1 + txn as u32, TXN, END, &payload));
        }
        answers(&mut wire, TXNS);
    }
}

/// Connections that go with as many requests under way as they may have.
pub fn resets(attack: &mut Attack) {
    let puts: Vec<u8> = (1..=STREAMS)
        .flat_map(|stream| frame(stream, PUT, END, &put(&format!("reset/{}", stream % 100), b"v")))
        .collect();
    for _ in 0..2 {
        let mut wires: Vec<Wire> = (0..8).map(|_| opened(attack)).collect();
        for wire in &mut wires {
            wire.flood(1, |_| puts.clone());
        }
    }
}

/// The same, stream by stream.
pub fn cancels(attack: &mut Attack) {
    let mut wire = opened(attack);
    let mut bytes = Vec::new();
    for stream in 1..=STREAMS {
        bytes.extend(frame(stream, PUT, END, &put(&format!("cancel/{}", stream % 100), b"v")));
    }
    for stream in (1..=STREAMS).rev() {
        bytes.extend(frame(stream, PUT, CANCEL, b""));
    }
    wire.send(&bytes);
    // Answered or cancelled, each stream ends once; what crossed its end is passed over.
    let got = wire.read_until(|got| ends(got) >= STREAMS as usize);
    assert_eq!(ends(&got), STREAMS as usize);
}

/// Hashes of everything for callers who do not wait for them.
pub fn left_hashes(attack: &mut Attack) {
    let mut wire = opened(attack);
    let newest = filled(&mut wire, 5000);
    for first in 0..10 {
        let mut leaving = opened(attack);
        for stream in 1..=300 {
            let revision = newest - i64::from(first * 300 + stream) % 40;
            let request = pb::HashKvRequest { revision };
            leaving.send(&frame(stream as u32, HASH_KV, END, &request.encode_to_vec()));
        }
    }
    ask(&mut wire, HASH_KV, &pb::HashKvRequest { revision: 0 });
}

/// Streams of everything, part by part, at a revision of the past.
pub fn old_range_streams(attack: &mut Attack) {
    const KEYS: usize = 5000;
    const ASKED: usize = 50;
    let mut wire = opened(attack);
    let revision = filled(&mut wire, KEYS);
    filled(&mut wire, KEYS);
    for stream in 1..=ASKED {
        let range = pb::RangeRequest {
            key: "work/".into(),
            range_end: "work0".into(),
            revision,
            limit: KEYS as i64 - 1,
            ..Default::default()
        };
        wire.send(&frame(stream as u32, RANGE_STREAM, END, &range.encode_to_vec()));
    }
    for last in answers(&mut wire, ASKED) {
        let part = pb::RangeStreamResponse::decode(&last.payload[..]).expect("a part");
        let part = part.range_response.expect("a part");
        assert_eq!((part.count, part.more), (KEYS as i64 + 1, true));
    }
}

/// A lease that is kept alive once, again and again: a stream each time.
pub fn streams_that_come_and_go(attack: &mut Attack) {
    const TIMES: u32 = 5000;
    let mut wire = opened(attack);
    let message = pb::LeaseKeepAliveRequest { id: 7 }.encode_to_vec();
    for stream in 1..=TIMES {
        let mut bytes = frame(stream, KEEP_ALIVE, 0, &message);
        bytes.extend(frame(stream, KEEP_ALIVE, END | BARE, b""));
        wire.send(&bytes);
    }
    answers(&mut wire, TIMES as usize);
}

/// Watchers of one key, each of which misses one revision more than the one before.
pub fn watchers_one_behind_the_other(attack: &mut Attack) {
    const WATCHERS: i64 = 300;
    let mut wire = opened(attack);
    let mut first = 0;
    for number in 0..WATCHERS {
        let request = pb::PutRequest { key: "behind".into(), ..Default::default() };
        let answer = ask(&mut wire, PUT, &request);
        let reply = pb::PutResponse::decode(&answer.payload[..]).expect("a put's answer");
        if number == 0 {
            first = reply.header.expect("a header").revision;
        }
    }
    for number in (0..WATCHERS).rev() {
        use pb::watch_request::RequestUnion;
        let create = pb::WatchCreateRequest {
            key: "behind".into(),
            start_revision: first + number,
            ..Default::default()
        };
        let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        wire.send(&frame(1, WATCH, 0, &request.encode_to_vec()));
    }
    // Each is told of the last put.
    let last_told = |got: &[u8]| {
        let told = frames(got).into_iter().filter(|frame| {
            let reply = pb::WatchResponse::decode(&frame.payload[..]).expect("a watch's answer");
            let last = reply.events.last().and_then(|event| event.kv.as_ref());
            last.is_some_and(|kv| kv.version == WATCHERS)
        });
        told.count()
    };
    wire.read_until(|got| last_told(got) >= WATCHERS as usize);
}

/// Compactions to one revision after the other, all at once.
pub fn compactions(attack: &mut Attack) {
    const TIMES: u32 = 500;
    let mut wire = opened(attack);
    let mut newest = 0;
    for _ in 0..TIMES {
        let request = pb::PutRequest { key: "compacted".into(), ..Default::default() };
        let answer = ask(&mut wire, PUT, &request);
        let reply = pb::PutResponse::decode(&answer.payload[..]).expect("a put's answer");
        newest = reply.header.expect("a header").revision;
    }
    for stream in 1..=TIMES {
        let revision = newest - i64::from(TIMES - stream);
        let request = pb::CompactionRequest { revision, physical: stream % 2 == 0 };
        wire.send(&frame(stream, COMPACT, END, &request.encode_to_vec()));
    }
    answers(&mut wire, TIMES as usize);
    let range = pb::RangeRequest { key: "compacted".into(), ..Default::default() };
    let answer = ask(&mut wire, RANGE, &range);
    let reply = pb::RangeResponse::decode(&answer.payload[..]).expect("a range's answer");
    assert_eq!(reply.count, 1);
}
