//! Attacks with streams: watch, keep-alive, locks.

use braid::protocol::pb::{etcdserverpb as pb, v3lockpb};
use prost::Message;

use super::frames::put;
use super::victim::Attack;
use crate::wire::Wire;
use crate::wire::frames::{CLOSE, END, ERROR, Frame, PUT, RANGE, frame, frames, opening};

pub const WATCH: u8 = 0x20;
pub const KEEP_ALIVE: u8 = 0x32;
const LOCK: u8 = 0x90;
pub const CANCEL: u8 = 0x04;
pub const BARE: u8 = 0x08;

const INTERNAL: u32 = 13;

fn create(key: &str, range_end: &str) -> Vec<u8> {
    use pb::watch_request::RequestUnion;
    let create = pb::WatchCreateRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        ..Default::default()
    };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    request.encode_to_vec()
}

/// A connection that has said hello.
pub fn opened(attack: &Attack) -> Wire {
    let mut wire = attack.wire();
    wire.send(&opening());
    wire.read_until(|got| !frames(got).is_empty());
    wire
}

fn ended(told: &[Frame], stream: u32) -> Option<(u32, String)> {
    told.iter().find(|frame| frame.stream == stream && frame.flags & END != 0)?.error()
}

/// Whatever a stream is told, it ends with an error or does what was asked; others go on.
pub fn garbage(attack: &mut Attack) {
    const STREAMS: u32 = 300;
    let mut wire = opened(attack);
    for stream in 1..=STREAMS {
        let count = 1 + attack.chance.below(60) as usize;
        let mut payload = attack.chance.bytes(count);
        // No field has number 0, so this is never a message.
        payload[0] = 0x07;
        let opcode = [WATCH, KEEP_ALIVE][stream as usize % 2];
        wire.send(&frame(stream, opcode, 0, &payload));
        // These cross the end.
        wire.send(&frame(stream, opcode, 0, &payload));
        wire.send(&frame(stream, opcode, END | BARE, b""));
    }
    let is_end = |frame: &Frame| frame.flags & END != 0;
    let got = wire.read_until(|got| {
        frames(got).iter().filter(|frame| is_end(frame)).count() >= STREAMS as usize
    });
    for stream in 1..=STREAMS {
        let (code, text) = ended(&frames(&got), stream).expect("an error");
        assert_eq!(code, INTERNAL, "{text}");
    }
}

/// They are created as fast as the replies are read, and not faster.
pub fn endless_creates(attack: &mut Attack) {
    let mut wire = opened(attack);
    let request = frame(1, WATCH, 0, &create("endless", "")).repeat(1000);
    // A million, of which nobody reads a reply.
    wire.flood(1000, |_| request.clone());
    attack.memory_is_bounded();
    let mut other = opened(attack);
    other.send(&frame(1, WATCH, 0, &create("k", "")));
    let got = other.read_until(|got| !frames(got).is_empty());
    assert_eq!(frames(&got)[0].flags, 0, "others are served");
}

pub fn after_the_last_word(attack: &mut Attack) {
    for (opcode, message) in [(WATCH, create("k", "")), (KEEP_ALIVE, vec![8, 1])] {
        let mut wire = opened(attack);
        wire.send(&frame(1, opcode, 0, &message));
        wire.read_until(|got| !frames(got).is_empty());
        if opcode == WATCH {
            wire.send(&frame(1, opcode, END | BARE, b""));
            wire.send(&frame(1, opcode, 0, &message));
            let told = frames(&wire.read_to_end());
            let close = told.last().expect("a close");
            assert_eq!((close.opcode, close.flags), (CLOSE, END | ERROR), "{close:?}");
        } else {
            // Both ends have said their last word, so the number is free again.
            wire.send(&frame(1, opcode, END | BARE, b""));
            wire.read_until(|got| frames(got).iter().any(|frame| frame.flags & END != 0));
            wire.send(&frame(1, opcode, 0, &message));
            let got = wire.read_until(|got| !frames(got).is_empty());
            assert_eq!(frames(&got)[0].flags, 0);
        }
    }
}

pub fn cancel_storm(attack: &mut Attack) {
    let mut wire = opened(attack);
    const STREAMS: u32 = 5000;
    for stream in 1..=STREAMS {
        let mut bytes = frame(stream, WATCH, 0, &create("storm", "storn"));
        bytes.extend(frame(stream, WATCH, CANCEL, b""));
        wire.send(&bytes);
    }
    let ends = |got: &[u8]| frames(got).iter().filter(|frame| frame.flags & END != 0).count();
    wire.read_until(|got| ends(got) >= STREAMS as usize);
    attack.memory_is_bounded();
}

/// Gigabytes of events for somebody who reads none of them.
pub fn unread_events(attack: &mut Attack) {
    let mut silent: Vec<Wire> = (0..20).map(|_| opened(attack)).collect();
    for wire in &mut silent {
        for stream in 1..=20 {
            wire.send(&frame(stream, WATCH, 0, &create("unread/", "unread0")));
        }
    }
    let mut writer = opened(attack);
    let value = vec![7; 100 << 10];
    for stream in 1..=200 {
        writer.send(&frame(stream, PUT, END, &put("unread/key", &value)));
        writer.read_until(|got| !frames(got).is_empty());
    }
    attack.memory_is_bounded();
    drop(silent);
}

pub fn unread_keep_alives(attack: &mut Attack) {
    let mut wire = opened(attack);
    let message = pb::LeaseKeepAliveRequest { id: 7 }.encode_to_vec();
    let messages = frame(1, KEEP_ALIVE, 0, &message).repeat(1000);
    wire.flood(2000, |_| messages.clone());
    attack.memory_is_bounded();
}

/// Whoever leaves takes the key along that it waited with.
pub fn left_locks(attack: &mut Attack) {
    let mut holder = opened(attack);
    let lock = |stream| {
        let request = v3lockpb::LockRequest { name: "left".into(), lease: 0 };
        frame(stream, LOCK, END, &request.encode_to_vec())
    };
    holder.send(&lock(1));
    holder.read_until(|got| !frames(got).is_empty());
    for _ in 0..20 {
        let mut waiting = opened(attack);
        for stream in 1..=20 {
            waiting.send(&lock(stream));
        }
    }
    let count = pb::RangeRequest {
        key: "left/".into(),
        range_end: "left0".into(),
        count_only: true,
        ..Default::default()
    };
    let mut stream = 2;
    loop {
        holder.send(&frame(stream, RANGE, END, &count.encode_to_vec()));
        let got = holder.read_until(|got| !frames(got).is_empty());
        let answer = frames(&got).pop().expect("an answer");
        let reply = pb::RangeResponse::decode(answer.payload.as_slice()).expect("a range's answer");
        assert!(reply.count >= 1, "the holder still has it");
        if reply.count == 1 {
            return;
        }
        stream += 1;
        std::thread::yield_now();
    }
}
