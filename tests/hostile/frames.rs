//! Attacks with frames. What the server must say is in proto/FRAMES.md 4.

use braid::protocol::pb::etcdserverpb as pb;
use prost::Message;

use super::victim::Attack;
use crate::wire::Flooded;
use crate::wire::frames::{
    CLOSE, END, ERROR, Frame, HEADER_BYTES, HELLO, PING, PREFACE, PUT, RANGE, frame, frame_with,
    frames, header_alone, opening, opening_of,
};

const INVALID_ARGUMENT: u32 = 3;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNIMPLEMENTED: u32 = 12;
const DATA_LOSS: u32 = 15;

pub fn put(key: &str, value: &[u8]) -> Vec<u8> {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_vec().into(),
        ..Default::default()
    }
    .encode_to_vec()
}

pub fn get(key: &str) -> Vec<u8> {
    pb::RangeRequest { key: key.to_owned().into(), ..Default::default() }.encode_to_vec()
}

/// What the server sends to `bytes` until it closes.
fn told(attack: &Attack, bytes: &[u8]) -> Vec<Frame> {
    let mut wire = attack.wire();
    wire.send(bytes);
    frames(&wire.read_to_end())
}

/// The key as others see it.
fn stands(attack: &Attack, key: &str) -> bool {
    let mut wire = attack.wire();
    wire.send(&[opening(), frame(1, RANGE, END, &get(key))].concat());
    let got = wire.read_until(|got| frames(got).len() >= 2);
    let answer = frames(&got).pop().expect("the answer");
    assert_eq!((answer.stream, answer.flags), (1, END), "{answer:?}");
    let range = pb::RangeResponse::decode(answer.payload.as_slice()).expect("a range's answer");
    range.count == 1
}

pub fn random_bytes(attack: &mut Attack) {
    for number in 0..300 {
        let mut wire = attack.wire();
        let count = 1 + attack.chance.below(4000) as usize;
        let mut bytes = attack.chance.bytes(count);
        match number % 3 {
            0 => bytes[0] = PREFACE[0],
            1 => bytes.splice(0..0, PREFACE.iter().copied()).for_each(drop),
            _ => bytes.splice(0..0, opening()).for_each(drop),
        }
        wire.send(&bytes);
        wire.finish();
        for frame in frames(&wire.read_to_end()) {
            assert!(frame.opcode == HELLO || frame.error().is_some(), "{frame:?}");
        }
    }
}

pub fn bad_magic(attack: &mut Attack) {
    for first in [&b"\x00\x00\x00\x00"[..], b"\xff\xff\xff\xff\xff", b"\xB7BRAID\n\n", b"\xB7brai"]
    {
        let told = told(attack, first);
        let close = told.last().unwrap_or_else(|| panic!("nothing was said to {first:?}"));
        assert_eq!(close.opcode, CLOSE);
        let (code, message) = close.error().expect("an error");
        assert_eq!(code, INVALID_ARGUMENT);
        assert_eq!(message, "braid: bad magic at the start of the connection");
    }
}

/// A frame that is not all there is not carried out.
pub fn truncated(attack: &mut Attack) {
    let whole = [opening(), frame(1, PUT, END, &put("truncated", b"value"))].concat();
    for length in 0..whole.len() {
        let mut wire = attack.wire();
        wire.send(&whole[..length]);
        wire.finish();
        for frame in frames(&wire.read_to_end()) {
            assert!(frame.opcode == HELLO || frame.opcode == CLOSE, "{length}: {frame:?}");
        }
    }
    assert!(!stands(attack, "truncated"));
}

/// Every bit of a frame is covered: no flipped one is carried out.
pub fn bit_flips(attack: &mut Attack) {
    let opening = opening();
    let good = frame(1, PUT, END, &put("flipped", b"value"));
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let mut wire = attack.wire();
        wire.send(&[&opening[..], &bad].concat());
        // A longer length waits for bytes that never come.
        wire.finish();
        let told = frames(&wire.read_to_end());
        assert_eq!(told.first().map(|frame| frame.opcode), Some(HELLO), "bit {bit}");
        for frame in &told[1..] {
            let (code, _) = frame.error().unwrap_or_else(|| panic!("bit {bit}: {frame:?}"));
            assert_eq!(frame.opcode, CLOSE, "bit {bit}");
            assert!([DATA_LOSS, RESOURCE_EXHAUSTED].contains(&code), "bit {bit}: {frame:?}");
        }
        if bit >= 32 {
            assert_eq!(told.len(), 2, "bit {bit}: a whole frame is judged");
        }
    }
    assert!(!stands(attack, "flipped"));
}

pub fn oversized(attack: &mut Attack) {
    const LIMIT: u32 = (1536 << 10) + (512 << 10);
    for length in [LIMIT + 1, 1 << 24, 1 << 30, i32::MAX as u32, u32::MAX] {
        let bytes = [opening(), header_alone(length, 1, PUT)].concat();
        let told = told(attack, &bytes);
        let (code, message) = told.last().expect("a close").error().expect("an error");
        let expected =
            format!("braid: frame payload of {length} bytes is above the limit of {LIMIT}");
        assert_eq!((code, message), (RESOURCE_EXHAUSTED, expected));
    }
    // A put just below the frame's limit is refused as etcd refuses it, and the connection goes on.
    let large = put("large", &vec![0; LIMIT as usize - 100]);
    let mut wire = attack.wire();
    wire.send(&[opening(), frame(1, PUT, END, &large), frame(2, RANGE, END, &get("x"))].concat());
    let got = wire.read_until(|got| frames(got).len() >= 3);
    let answer = |stream| frames(&got).into_iter().find(|frame| frame.stream == stream);
    let refused = answer(1).and_then(|frame| frame.error()).expect("the put's error");
    assert_eq!(refused, (INVALID_ARGUMENT, "etcdserver: request is too large".to_owned()));
    assert_eq!(answer(2).map(|frame| frame.flags), Some(END));
}

/// One breach each, with what proto/FRAMES.md 4 says to it.
pub fn breaches(attack: &mut Attack) {
    let request = get("x");
    let not_first = |opcode| format!("braid: frame opcode {opcode:#04x} came before the hello");
    let not_there = |opcode, stream| {
        format!("braid: frame opcode {opcode:#04x} is not allowed on stream {stream}")
    };
    let hello = &opening()[PREFACE.len()..];
    let mut cases: Vec<(Vec<u8>, u32, String)> = vec![
        (frame(1, RANGE, END, &request), INVALID_ARGUMENT, not_first(RANGE)),
        (frame(0, PING, 0, b"1"), INVALID_ARGUMENT, not_first(PING)),
        (frame(0, HELLO, 0, b"\xff\xff"), INVALID_ARGUMENT, "braid: invalid hello".into()),
        (
            opening_of(9)[PREFACE.len()..].to_vec(),
            UNIMPLEMENTED,
            "braid: frame protocol version 9 is not spoken here, only 1".into(),
        ),
    ];
    let after_hello = [
        (hello.to_vec(), INVALID_ARGUMENT, "braid: invalid hello".to_owned()),
        (frame(1, 0, END, b""), UNIMPLEMENTED, "braid: unknown frame opcode 0x00".into()),
        (frame(1, 0xff, END, b""), UNIMPLEMENTED, "braid: unknown frame opcode 0xff".into()),
        (frame(0, RANGE, END, &request), INVALID_ARGUMENT, not_there(RANGE, 0)),
        (frame(7, PING, 0, b"1"), INVALID_ARGUMENT, not_there(PING, 7)),
        (
            frame(1, RANGE, 0xf1, &request),
            INVALID_ARGUMENT,
            "braid: invalid frame flags 0xf1".into(),
        ),
        (
            frame(1, RANGE, END | ERROR, &request),
            INVALID_ARGUMENT,
            "braid: invalid frame flags 0x03".into(),
        ),
        (frame(1, RANGE, 0, &request), INVALID_ARGUMENT, "braid: invalid frame flags 0x00".into()),
        (
            frame_with(1, RANGE, END, 0x100, &request),
            INVALID_ARGUMENT,
            "braid: reserved bits of the frame header are 0x0100 instead of zero".into(),
        ),
    ];
    cases.extend(after_hello.map(|(bytes, code, text)| ([hello, &bytes].concat(), code, text)));
    for (bytes, code, text) in cases {
        let told = told(attack, &[PREFACE, &bytes].concat());
        let close = told.last().unwrap_or_else(|| panic!("nothing was said: {text}"));
        assert_eq!((close.opcode, close.stream, close.flags), (CLOSE, 0, END | ERROR), "{text}");
        assert_eq!(close.error(), Some((code, text)));
    }
    methods_not_served(attack);
}

/// A method that exists and is not served ends its stream only.
fn methods_not_served(attack: &Attack) {
    const AUTH_ENABLE: u8 = 0x60;
    let mut wire = attack.wire();
    wire.send(&[opening(), frame(1, AUTH_ENABLE, END, b""), frame(2, PING, 0, b"?")].concat());
    wire.send(&frame(0, PING, 0, b"?"));
    let told = frames(&wire.read_until(|got| frames(got).iter().any(|f| f.opcode == CLOSE)));
    let ended = told.iter().find(|frame| frame.stream == 1).and_then(Frame::error);
    assert_eq!(ended.map(|error| error.0), Some(UNIMPLEMENTED), "{told:?}");
}

/// The checksum holds, the message does not: the stream ends with an error, the connection goes on.
pub fn garbage_messages(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    const COUNT: u32 = 400;
    for stream in 1..=COUNT {
        let count = 1 + attack.chance.below(60) as usize;
        let mut payload = attack.chance.bytes(count);
        // No field has number 0, so this is never a message.
        payload[0] = 0x07;
        let opcode = [RANGE, PUT, 0x11, 0x13, 0x14, 0x15, 0x50, 0x54][stream as usize % 8];
        wire.send(&frame(stream, opcode, END, &payload));
    }
    wire.send(&frame(COUNT + 1, RANGE, END, &get("x")));
    let got = wire.read_until(|got| frames(got).len() > COUNT as usize + 1);
    let told = frames(&got);
    for frame in &told[1..] {
        if frame.stream == COUNT + 1 {
            assert_eq!(frame.flags, END, "{frame:?}");
        } else {
            assert_ne!(frame.opcode, CLOSE, "{frame:?}");
            frame.error().unwrap_or_else(|| panic!("accepted: {frame:?}"));
        }
    }
}

pub fn trickle(attack: &mut Attack) {
    let whole = [opening(), frame(1, RANGE, END, &get("x"))].concat();
    let mut wire = attack.wire();
    for byte in &whole {
        wire.send(&[*byte]);
    }
    let got = wire.read_until(|got| frames(got).len() >= 2);
    assert_eq!(frames(&got)[1].flags, END, "a slow client is served");
}

pub fn silent_connections(attack: &mut Attack) {
    let wires: Vec<_> = (0..300)
        .map(|number| {
            let mut wire = attack.wire();
            match number % 4 {
                0 => {}
                1 => drop(wire.send(&PREFACE[..4])),
                2 => drop(wire.send(&opening())),
                _ => drop(wire.send(&[opening(), vec![9; HEADER_BYTES - 1]].concat())),
            }
            wire
        })
        .collect();
    let mut other = attack.wire();
    other.send(&[opening(), frame(1, RANGE, END, &get("x"))].concat());
    let got = other.read_until(|got| frames(got).len() >= 2);
    assert_eq!(frames(&got)[1].flags, END);
    attack.memory_is_bounded();
    drop(wires);
}

pub fn churn(attack: &mut Attack) {
    for number in 0..1500 {
        let mut wire = attack.wire();
        if number % 2 == 0 {
            wire.send(&[opening(), frame(1, PUT, END, &put("churn", b"v"))].concat());
        }
    }
}

/// Nobody reserves what a peer merely says that it will send.
pub fn claims(attack: &mut Attack) {
    let wires: Vec<_> = (0..200)
        .map(|_| {
            let mut wire = attack.wire();
            wire.send(&[opening(), header_alone(2 << 20, 1, PUT), vec![7; 10]].concat());
            wire
        })
        .collect();
    // All of them have been looked at once the last has greeted.
    for mut wire in wires {
        let got = wire.read_until(|got| !frames(got).is_empty());
        assert_eq!(frames(&got)[0].opcode, HELLO);
        attack.memory_is_bounded();
    }
}

/// Terabytes of answers are asked for, and not one is read.
pub fn unread_answers(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&[opening(), frame(1, PUT, END, &put("unread", &vec![7; 1 << 20]))].concat());
    wire.read_until(|got| frames(got).len() >= 2);
    let request = get("unread");
    // Far more bytes than the buffers of the two sockets hold.
    let flooded = wire.flood(20_000, |piece| {
        let first = 2 + piece as u32 * 100;
        (first..first + 100).flat_map(|stream| frame(stream, RANGE, END, &request)).collect()
    });
    assert_eq!(flooded, Flooded::Blocked, "the server reads on although nobody reads it");
    attack.memory_is_bounded();
}

pub fn unread_pings(attack: &mut Attack) {
    let mut wire = attack.wire();
    wire.send(&opening());
    let ping = frame(0, PING, 0, &[7; 64]).repeat(100);
    let flooded = wire.flood(10_000, |_| ping.clone());
    assert_ne!(flooded, Flooded::Taken, "the server reads on although nobody reads it");
    attack.memory_is_bounded();
}
