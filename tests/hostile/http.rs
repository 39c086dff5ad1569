//! Attacks with HTTP/2 and HTTP/1.

use braid::protocol::pb::etcdserverpb as pb;
use prost::Message;

use super::victim::Attack;
use crate::wire::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, call, field, frame, frames, message, opening,
};

const RANGE_PATH: &str = "/etcdserverpb.KV/Range";
const PUT_PATH: &str = "/etcdserverpb.KV/Put";

/// Client streams are odd.
fn stream(number: usize) -> u32 {
    u32::try_from(number * 2 + 1).expect("a stream of a test")
}

fn get(key: &str) -> Vec<u8> {
    pb::RangeRequest { key: key.to_owned().into(), ..Default::default() }.encode_to_vec()
}

/// A whole unary call on a stream.
fn ask(stream: u32, path: &str, bytes: &[u8]) -> Vec<u8> {
    let mut frames = frame(HEADERS, END_HEADERS, stream, &call(path));
    let body = message(bytes);
    let pieces: Vec<&[u8]> = body.chunks(16_384).collect();
    for (number, piece) in pieces.iter().enumerate() {
        let flags = if number + 1 == pieces.len() { END_STREAM } else { 0 };
        frames.extend(frame(DATA, flags, stream, piece));
    }
    frames
}

/// Status and text of the trailers on a stream, if the server sent them without compression of the
/// texts; enough to look for a text in.
fn headers_of(bytes: &[u8], wanted: u32) -> Vec<u8> {
    let ours =
        |(kind, _, stream, _): &(u8, u8, u32, Vec<u8>)| *kind == HEADERS && *stream == wanted;
    frames(bytes).into_iter().filter(ours).flat_map(|frame| frame.3).collect()
}

fn has_kind(bytes: &[u8], kind: u8) -> bool {
    frames(bytes).iter().any(|frame| frame.0 == kind)
}

pub fn random_frames(attack: &mut Attack) {
    for number in 0..200 {
        let mut wire = attack.wire();
        let mut bytes = if number % 2 == 0 { opening() } else { PREFACE.to_vec() };
        for _ in 0..attack.chance.below(20) {
            let kind = attack.chance.below(12) as u8;
            let flags = attack.chance.below(256) as u8;
            let stream = attack.chance.below(8) as u32;
            let count = attack.chance.below(300) as usize;
            let payload = attack.chance.bytes(count);
            bytes.extend(frame(kind, flags, stream, &payload));
        }
        wire.send(&bytes);
        wire.finish();
        wire.read_to_end();
    }
}

/// CVE-2023-44487: streams are opened and reset before they are answered.
pub fn rapid_reset(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    let headers = call(RANGE_PATH);
    wire.flood(30_000, |number| {
        let stream = stream(number);
        let mut bytes = frame(HEADERS, END_HEADERS, stream, &headers);
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    });
    attack.memory_is_bounded();
    whole_calls_reset(attack);
}

/// The same with complete requests, so that work has begun.
fn whole_calls_reset(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    let request = get("x");
    wire.flood(10_000, |number| {
        let stream = stream(number);
        let mut bytes = ask(stream, RANGE_PATH, &request);
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    });
    attack.memory_is_bounded();
}

pub fn many_streams(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    let headers = call(PUT_PATH);
    wire.flood(100_000, |number| frame(HEADERS, END_HEADERS, stream(number), &headers));
    attack.memory_is_bounded();
}

/// CVE-2024-27316 and its kin: a header block that never ends.
pub fn continuation_flood(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    wire.send(&frame(HEADERS, 0, 1, &call(RANGE_PATH)));
    let block: Vec<u8> = (0..60).flat_map(|n| field(&format!("x-{n}"), &"v".repeat(120))).collect();
    let one = frame(CONTINUATION, 0, 1, &block);
    wire.flood(50_000, |_| one.clone());
    attack.memory_is_bounded();
}

pub fn large_headers(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    for number in 0..20 {
        wire.send(&frame(HEADERS, 0, stream(number), &call(RANGE_PATH)));
        let block: Vec<u8> =
            (0..100).flat_map(|n| field(&format!("x-{n}"), &"v".repeat(120))).collect();
        for _ in 0..60 {
            wire.send(&frame(CONTINUATION, 0, stream(number), &block));
        }
        wire.send(&frame(CONTINUATION, END_HEADERS, stream(number), b""));
    }
    attack.memory_is_bounded();
}

/// One long field goes into the table, then a few bytes name it again and again.
pub fn table_bomb(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    for number in 0..200 {
        let mut block = call(RANGE_PATH);
        // With indexing, name and value as literals: entry 62 from now on.
        block.push(0x40);
        for text in ["bomb", &"b".repeat(120)] {
            block.push(u8::try_from(text.len()).expect("below 127"));
            block.extend(text.bytes());
        }
        block.extend(std::iter::repeat_n(0x80 | 62, 12_000));
        wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &block));
    }
    attack.memory_is_bounded();
}

pub fn settings_flood(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    let one = frame(SETTINGS, 0, 0, b"").repeat(100);
    wire.flood(20_000, |_| one.clone());
    attack.memory_is_bounded();
}

/// Answered for a while, then the client is sent away or no longer read.
pub fn ping_flood(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    let one = frame(PING, 0, 0, b"12345678").repeat(100);
    wire.flood(20_000, |_| one.clone());
    attack.memory_is_bounded();
    // Few, but more than a client may send: it is told why it is sent away.
    let mut wire = attack.wire();
    wire.send(&opening());
    wire.send(&frame(PING, 0, 0, b"12345678").repeat(20));
    let got = wire.read_until(|got| has_kind(got, GOAWAY));
    let goaway = frames(&got).into_iter().find(|frame| frame.0 == GOAWAY);
    let (.., reason) = goaway.expect("pings without pause are answered with GOAWAY");
    assert!(reason.ends_with(b"too_many_pings"), "{reason:?}");
}

/// RUSTSEC-2026-0258: DATA frames without a byte cost no window.
pub fn empty_data(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    wire.send(&frame(HEADERS, END_HEADERS, 1, &call(PUT_PATH)));
    let one = frame(DATA, 0, 1, b"").repeat(100);
    wire.flood(20_000, |_| one.clone());
    attack.memory_is_bounded();
}

pub fn priority_flood(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    wire.flood(50_000, |number| {
        let mut bytes = frame(PRIORITY, 0, stream(number), b"\0\0\0\0\x10");
        bytes.extend(frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()));
        bytes
    });
    attack.memory_is_bounded();
}

/// Large answers are asked for by a client that grants no window to send them.
pub fn no_window(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    let put = pb::PutRequest {
        key: "window".into(),
        value: vec![7; 60_000].into(),
        ..Default::default()
    };
    wire.send(&ask(1, PUT_PATH, &put.encode_to_vec()));
    // The answer's last frame ends the stream.
    let ended =
        |got: &[u8]| frames(got).iter().any(|frame| frame.2 == 1 && frame.1 & END_STREAM != 0);
    wire.read_until(ended);
    let mut wire = attack.wire();
    let mut settings = vec![0, 4];
    settings.extend(0_u32.to_be_bytes());
    wire.send(PREFACE);
    wire.send(&frame(SETTINGS, 0, 0, &settings));
    let request = get("window");
    wire.flood(20_000, |number| ask(stream(number), RANGE_PATH, &request));
    attack.memory_is_bounded();
}

/// The length in front of a gRPC message, and its flag.
pub fn lying_messages(attack: &mut Attack) {
    let bodies: [&[u8]; 6] = [
        &[0, 0xff, 0xff, 0xff, 0xff, 1, 2],
        &[0, 0x7f, 0xff, 0xff, 0xff],
        &[1, 0, 0, 0, 1, 1],
        &[9, 0, 0, 0, 0],
        &[0, 0, 0, 0, 9, 1, 2],
        &[0, 0],
    ];
    for body in bodies {
        let mut wire = attack.wire();
        wire.send(&opening());
        wire.send(&frame(HEADERS, END_HEADERS, 1, &call(RANGE_PATH)));
        wire.send(&frame(DATA, END_STREAM, 1, body));
        let over = |got: &[u8]| {
            let ends = |f: &(u8, u8, u32, Vec<u8>)| {
                f.2 == 1 && (f.0 == RST_STREAM || (f.0 == HEADERS && f.1 & END_STREAM != 0))
            };
            frames(got).iter().any(ends)
        };
        let got = wire.read_until(over);
        assert!(over(&got), "{body:?} got no end");
        let answered = frames(&got).iter().any(|f| f.0 == DATA && f.2 == 1);
        assert!(!answered, "{body:?} was answered");
        // The connection goes on.
        wire.send(&ask(3, RANGE_PATH, &get("x")));
        let got = wire.read_until(|got| frames(got).iter().any(|f| f.0 == DATA && f.2 == 3));
        assert!(!headers_of(&got, 3).is_empty(), "after {body:?}");
    }
}

pub fn slow_preface(attack: &mut Attack) {
    let mut wires: Vec<_> = (0..50).map(|_| attack.wire()).collect();
    for byte in PREFACE {
        for wire in &mut wires {
            wire.send(&[*byte]);
        }
    }
    for wire in &mut wires {
        wire.send(&frame(SETTINGS, 0, 0, b""));
        wire.send(&ask(1, RANGE_PATH, &get("x")));
    }
    for wire in &mut wires {
        let got = wire.read_until(|got| frames(got).iter().any(|f| f.0 == DATA && f.2 == 1));
        assert!(has_kind(&got, DATA), "a slow client is served");
    }
}

pub fn http1_garbage(attack: &mut Attack) {
    let requests: [&[u8]; 10] = [
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{\"key\":[[",
        b"POST /v3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"PRIX * HTTP/1.1\r\n\r\n",
        b"get /health http/1.1\n\n",
    ];
    for request in requests {
        let mut wire = attack.wire();
        wire.send(request);
        wire.finish();
        let got = wire.read_to_end();
        assert!(!got.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&got));
    }
    for _ in 0..200 {
        let mut wire = attack.wire();
        let count = attack.chance.below(2000) as usize;
        wire.send(&[&b"POST /"[..], &attack.chance.bytes(count)].concat());
        wire.finish();
        wire.read_to_end();
    }
}

pub fn http1_endless_header(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n");
    let line = format!("X-Y: {}\r\n", "z".repeat(1000)).repeat(10).into_bytes();
    wire.flood(20_000, |_| line.clone());
    attack.memory_is_bounded();
    let mut wire = attack.wire();
    wire.send(b"GET /");
    wire.flood(20_000, |_| vec![b'a'; 10_000]);
    attack.memory_is_bounded();
}
