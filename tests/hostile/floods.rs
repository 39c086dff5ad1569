//! Clients that send without a pause, each kind beside one that asks and waits for its answer; and
//! clients that have the server hold all that it lets them hold. What is counted is how many
//! answers the one gets while the others go on, and what the server says that it holds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::frames::{get, put};
use super::victim::Attack;
use crate::common;
use crate::wire::frames::{END, PING, PUT, RANGE, frame, frames, opening};
use crate::wire::{Flooded, PATIENCE, Wire, http2};

/// Connections that flood: two for each core of the servers here.
const FLOODING: usize = 4;
/// Questions of the client beside them.
const ASKED: u32 = 40;

const CANCEL: u8 = 4;
const RANGE_STREAM: u8 = 0x11;

/// What `--connection-memory-bytes` is for these tests.
pub const BUDGET_BYTES: u64 = 64 << 20;

/// Floods the server with what `block` makes, again and again, and asks beside it.
fn beside(attack: &mut Attack, opening: &[u8], block: impl Fn(u32) -> Vec<u8> + Sync) {
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..FLOODING {
            let stream = TcpStream::connect(("127.0.0.1", attack.server.client_port));
            let mut writing = stream.expect("connect");
            let mut reading = writing.try_clone().expect("a second handle");
            let (stop, sent, block) = (&stop, &sent, &block);
            scope.spawn(move || {
                let mut begun = writing.write_all(opening).is_ok();
                for number in 0.. {
                    if !begun || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let block = block(number);
                    begun = writing.write_all(&block).is_ok();
                    sent.fetch_add(block.len() as u64, Ordering::Relaxed);
                }
                let _ = writing.shutdown(std::net::Shutdown::Both);
            });
            scope.spawn(move || {
                let mut ignored = vec![0; 1 << 20];
                while matches!(reading.read(&mut ignored), Ok(1..)) {}
            });
        }
        // Every core has one that asks: connections are dealt out evenly.
        let mut asking: Vec<Wire> = (0..2).map(|_| attack.wire()).collect();
        for wire in &mut asking {
            wire.send(&crate::wire::frames::opening());
            answers(wire, 1);
        }
        wait_for(&sent, 1 << 20);
        let before = sent.load(Ordering::Relaxed);
        for stream in 1..=ASKED {
            for wire in &mut asking {
                let asked = match stream % 10 {
                    0 => frame(stream, PUT, END, &put("beside", b"value")),
                    _ => frame(stream, RANGE, END, &get("beside")),
                };
                wire.send(&asked);
                answers(wire, 1);
            }
        }
        let while_asking = sent.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        assert!(while_asking > 1 << 20, "the flood went on: {while_asking} bytes");
    });
}

fn answers(wire: &mut Wire, count: usize) {
    let got = wire.read_until(|got| frames(got).len() >= count);
    let answered = frames(&got);
    assert_eq!(answered.len(), count, "answers beside a flood");
    assert!(answered.iter().all(|frame| frame.error().is_none()), "{answered:?}");
}

fn wait_for(counter: &AtomicU64, enough: u64) {
    let deadline = Instant::now() + PATIENCE;
    while counter.load(Ordering::Relaxed) < enough {
        assert!(Instant::now() < deadline, "the server takes nothing");
        thread::yield_now();
    }
}

/// 1000 frames at a time.
fn thousand(one: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (1..=1000).flat_map(one).collect()
}

pub fn pings(attack: &mut Attack) {
    let block = thousand(|_| frame(0, PING, 0, b"ping"));
    beside(attack, &opening(), |_| block.clone());
}

pub fn ping_answers(attack: &mut Attack) {
    let block = thousand(|_| frame(0, PING, END, b""));
    beside(attack, &opening(), |_| block.clone());
}

pub fn cancels(attack: &mut Attack) {
    let block = thousand(|stream| frame(stream, PUT, CANCEL | END, b""));
    beside(attack, &opening(), |_| block.clone());
}

pub fn gets(attack: &mut Attack) {
    let request = get("beside");
    beside(attack, &opening(), |number| {
        let first = number.wrapping_mul(1000) & 0x3fff_ffff;
        thousand(|stream| frame(first + stream, RANGE, END, &request))
    });
}

pub fn large_puts(attack: &mut Attack) {
    let request = put("flood", &vec![7; 1 << 20]);
    beside(attack, &opening(), |number| frame(number + 1, PUT, END, &request));
}

pub fn http2_ping_acks(attack: &mut Attack) {
    let block = http2::frame(http2::PING, 1, 0, b"ponghere").repeat(1000);
    beside(attack, &http2::opening(), |_| block.clone());
}

pub fn http2_priorities(attack: &mut Attack) {
    let block = http2::frame(http2::PRIORITY, 0, 3, &[0, 0, 0, 0, 16]).repeat(1000);
    beside(attack, &http2::opening(), |_| block.clone());
}

pub fn http2_unknown_frames(attack: &mut Attack) {
    let block = http2::frame(0xfa, 0, 0, b"").repeat(1000);
    beside(attack, &http2::opening(), |_| block.clone());
}

pub fn http2_settings(attack: &mut Attack) {
    let block = http2::frame(http2::SETTINGS, 0, 0, b"").repeat(1000);
    beside(attack, &http2::opening(), |_| block.clone());
}

pub fn http1_requests(attack: &mut Attack) {
    let block = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    beside(attack, b"", |_| block.clone());
}

/// What else a server of these attacks comes to hold: the versions that they put, the buffers of
/// its log, and what its allocator keeps.
const KEPT_BYTES: u64 = 128 << 20;

/// A figure of `/metrics`.
fn figure(attack: &Attack, name: &str) -> u64 {
    let (code, body) = common::http_get(attack.server.client_port, "/metrics");
    assert_eq!(code, 200);
    let value = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in:\n{body}")).parse::<f64>().expect("a number")
        as u64
}

/// The server comes to hold `least` bytes for what its clients do, and never more than its budget,
/// shares, a message and two portions for each core, and `more` for answers that were asked for by
/// small requests; it says so, and a client that holds nothing gets its answers.
fn holds_its_budget(attack: &Attack, least: u64, more: u64) {
    assert_eq!(figure(attack, "braid_connection_memory_limit_bytes"), BUDGET_BYTES);
    let most = BUDGET_BYTES + BUDGET_BYTES / 2 + (16 << 20) + more;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = figure(attack, "braid_connection_memory_bytes");
        assert!(held <= most, "{held} bytes are held, of {most}");
        if held >= least {
            break;
        }
        assert!(Instant::now() < deadline, "only {held} bytes are held");
        thread::yield_now();
    }
    attack.memory_grew_at_most(most + KEPT_BYTES);
    let mut wire = attack.wire();
    wire.send(&opening());
    answers(&mut wire, 1);
    for stream in 1..=ASKED {
        wire.send(&frame(stream, PUT, END, &put("beside", b"value")));
        answers(&mut wire, 1);
    }
}

/// Frames of which the end never comes, on more connections than the budget has room for.
pub fn begun_frames(attack: &mut Attack) {
    let whole = frame(1, PUT, END, &put("begun", &vec![7; 1 << 20]));
    let begun = [&opening()[..], &whole[..whole.len() - 1]].concat();
    let mut wires: Vec<Wire> = (0..200).map(|_| attack.wire()).collect();
    thread::scope(|scope| {
        for part in wires.chunks_mut(20) {
            scope.spawn(|| part.iter_mut().for_each(|wire| _ = wire.send(&begun)));
        }
    });
    holds_its_budget(attack, BUDGET_BYTES / 2, 0);
}

/// Bodies of gRPC of which the end never comes.
pub fn begun_bodies(attack: &mut Attack) {
    // Within the windows of a stream and of the connection, which are the server's own once its
    // settings are acknowledged.
    let message = http2::message(&put("begun", &vec![7; 900 << 10]));
    let call = http2::call("/etcdserverpb.KV/Put");
    let mut begun = http2::frame(http2::SETTINGS, 1, 0, b"");
    for stream in [1, 3] {
        begun.extend(http2::frame(http2::HEADERS, http2::END_HEADERS, stream, &call));
        for piece in message[..message.len() - 1].chunks(16 << 10) {
            begun.extend(http2::frame(http2::DATA, 0, stream, piece));
        }
    }
    let mut wires: Vec<Wire> = (0..80).map(|_| attack.wire()).collect();
    for wire in &mut wires {
        wire.send(&http2::opening());
        wire.read_until(|got| got.len() >= 9);
    }
    thread::scope(|scope| {
        for part in wires.chunks_mut(10) {
            scope.spawn(|| part.iter_mut().for_each(|wire| _ = wire.send(&begun)));
        }
    });
    holds_its_budget(attack, BUDGET_BYTES / 2, 0);
}

/// Large answers that nobody reads, one after the other on each of many connections.
pub fn unread_answers(attack: &mut Attack) {
    let mut writer = attack.wire();
    writer.send(&[opening(), frame(1, PUT, END, &put("unread", &vec![7; 1 << 20]))].concat());
    answers(&mut writer, 2);
    let request = get("unread");
    let ask = |streams: std::ops::Range<u32>| -> Vec<u8> {
        streams.flat_map(|stream| frame(stream, RANGE, END, &request)).collect()
    };
    let mut wires: Vec<Wire> = (0..30).map(|_| attack.wire()).collect();
    for wire in &mut wires {
        wire.send(&[opening(), ask(1..20)].concat());
    }
    // One answer of each is on its way to a socket that takes no more.
    holds_its_budget(attack, BUDGET_BYTES / 4, 30 * (5 << 20));
}

/// Streams of everything that nobody reads.
pub fn unread_range_streams(attack: &mut Attack) {
    let mut writer = attack.wire();
    writer.send(&opening());
    answers(&mut writer, 1);
    for number in 0..24 {
        let put = put(&format!("stream/{number:02}"), &vec![7; 1 << 20]);
        writer.send(&frame(number + 1, PUT, END, &put));
        answers(&mut writer, 1);
    }
    let everything = braid::protocol::pb::etcdserverpb::RangeRequest {
        key: "stream/".into(),
        range_end: "stream0".into(),
        ..Default::default()
    };
    let request = prost::Message::encode_to_vec(&everything);
    let mut wires: Vec<Wire> = (0..50).map(|_| attack.wire()).collect();
    for wire in &mut wires {
        let asked = (1..5).flat_map(|stream| frame(stream, RANGE_STREAM, END, &request));
        wire.send(&[opening(), asked.collect()].concat());
    }
    holds_its_budget(attack, BUDGET_BYTES / 2, 50 * (4 << 20));
    // Whoever reads gets all of it, now that others keep the budget full.
    let mut reader = attack.wire();
    reader.send(&[opening(), frame(1, RANGE_STREAM, END, &request)].concat());
    let got = reader.read_until(|got| got.len() > (24 << 20));
    assert!(got.len() > (24 << 20), "{} bytes came", got.len());
}

/// Puts of 1 MB without a pause for their answers, on many connections: they are all carried out.
pub fn pipelined_puts(attack: &mut Attack) {
    let request = put("pipelined", &vec![7; 1 << 20]);
    let mut wires: Vec<Wire> = (0..8).map(|_| attack.wire()).collect();
    thread::scope(|scope| {
        for wire in &mut wires {
            let request = &request;
            scope.spawn(move || {
                wire.send(&opening());
                let flooded = wire.flood(12, |at| frame(at as u32 + 1, PUT, END, request));
                assert_ne!(flooded, Flooded::Closed);
                if flooded == Flooded::Taken {
                    answers(wire, 13);
                }
            });
        }
        for _ in 0..20 {
            let held = figure(attack, "braid_connection_memory_bytes");
            let most = BUDGET_BYTES + BUDGET_BYTES / 4 + (16 << 20);
            assert!(held <= most, "{held} bytes are held, of {most}");
        }
    });
    attack.memory_is_bounded();
}
