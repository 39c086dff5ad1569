//! Clients that send without a pause: their connections stop for others again and again. What is
//! sent is known to the byte, so the turns that it must take are, too.

use std::io::{Read, Write};
use std::net::Shutdown;

use bytes::BytesMut;

use super::frames::{Client, put};
use super::*;
use crate::limits::{CONNECTION_TURN_WORK, FRAME_WORK};
use crate::observe::CoreMetrics;
use crate::protocol::Method;
use crate::protocol::frame::{CONNECTION_STREAM, Flags, Opcode, encode_frame, encode_ping};
use crate::rt::READ_BYTES_MAX;

/// Sends `flood`, says that this was all and reads to the end: then the server has read all of it.
fn send_all(mut stream: TcpStream, flood: Vec<u8>) {
    let mut reading = stream.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || {
        stream.write_all(&flood).expect("the server goes on reading");
        stream.shutdown(Shutdown::Write).expect("say that this was all");
    });
    let mut ignored = vec![0; 1 << 20];
    while reading.read(&mut ignored).expect("the server goes on answering") > 0 {}
    sending.join().expect("no panic");
}

/// A member of one core, and what it counts.
fn counted_rig() -> (Rig, Arc<CoreMetrics>) {
    let figures = Arc::new(CoreMetrics::new(Method::ALL.len()));
    let given = figures.clone();
    (Rig::start_with(1, move |settings| settings.figures = given.clone()), figures)
}

/// Turns that `bytes` in `frames` frames take at least: one goes beyond its end by no more than
/// what one read brings.
fn turns_of(bytes: usize, frames: usize) -> u64 {
    ((bytes + frames * FRAME_WORK) / (CONNECTION_TURN_WORK + READ_BYTES_MAX)) as u64
}

/// Floods a connection that speaks frames; `write` appends the frame of that number.
fn flood_frames(count: usize, write: impl Fn(&mut BytesMut, usize)) {
    let (rig, figures) = counted_rig();
    let mut flood = BytesMut::new();
    for number in 0..count {
        write(&mut flood, number);
    }
    let turns = turns_of(flood.len(), count);
    assert!(turns > 10, "a flood: {turns}");
    let (client, _) = Client::connect(&rig, None);
    send_all(client.stream, flood.to_vec());
    let counted = figures.turns_over.get();
    assert!(counted >= turns, "{counted} turns of {turns}");
    rig.stop();
}

#[test]
fn a_flood_of_pings_takes_its_turns() {
    flood_frames(40_000, |out, _| encode_ping(out, Flags::NONE, b"ping"));
}

#[test]
fn a_flood_of_answers_to_pings_takes_its_turns() {
    flood_frames(40_000, |out, _| encode_ping(out, Flags::END, b""));
}

#[test]
fn a_flood_of_cancels_takes_its_turns() {
    let opcode = Method::Put.opcode();
    let cancel = Flags::CANCEL | Flags::END;
    flood_frames(40_000, |out, at| encode_frame(out, at as u32 + 1, opcode, cancel, |_| {}));
}

#[test]
fn a_flood_of_gets_takes_its_turns() {
    let get = super::frames::get("look/1");
    flood_frames(40_000, |out, at| {
        let opcode = Opcode::Method(Method::Range);
        crate::protocol::frame::encode_message(out, at as u32 + 1, opcode, Flags::END, &get);
    });
}

#[test]
fn a_flood_of_large_puts_takes_its_turns() {
    let put = put("large", &vec![b'v'; 1 << 20]);
    flood_frames(16, |out, at| {
        let opcode = Opcode::Method(Method::Put);
        crate::protocol::frame::encode_message(out, at as u32 + 1, opcode, Flags::END, &put);
    });
}

/// Floods an HTTP/2 connection with one frame again and again.
fn flood_http2(count: usize, frame: &[u8]) {
    let (rig, figures) = counted_rig();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    flood.extend(frame.repeat(count));
    let turns = turns_of(flood.len(), count);
    assert!(turns > 10, "a flood: {turns}");
    send_all(rig.connect(), flood);
    let counted = figures.turns_over.get();
    assert!(counted >= turns, "{counted} turns of {turns}");
    rig.stop();
}

#[test]
fn a_flood_of_http2_ping_acks_takes_its_turns() {
    flood_http2(40_000, b"\0\0\x08\x06\x01\0\0\0\0ponghere");
}

#[test]
fn a_flood_of_http2_priorities_takes_its_turns() {
    flood_http2(40_000, b"\0\0\x05\x02\0\0\0\0\x03\0\0\0\0\x10");
}

#[test]
fn a_flood_of_unknown_http2_frames_takes_its_turns() {
    flood_http2(40_000, b"\0\0\0\xfa\0\0\0\0\0");
}

#[test]
fn a_flood_of_http2_settings_takes_its_turns() {
    flood_http2(40_000, b"\0\0\0\x04\0\0\0\0\0");
}

#[test]
fn what_is_thrown_away_of_a_refused_client_is_bounded() {
    let rig = Rig::start(1);
    let mut stream = rig.connect();
    let mut flood = BytesMut::new();
    encode_frame(&mut flood, CONNECTION_STREAM, 0x7f, Flags::NONE, |_| {});
    let mut opening = b"\xB7BRAID\r\n".to_vec();
    opening.extend_from_slice(&flood);
    stream.write_all(&opening).expect("the breach");
    // The server has told it off and reads no more than LINGER_BYTES_MAX: the connection breaks
    // long before the client has sent this.
    let block = vec![0; 1 << 20];
    let broke = (0..256).any(|_| stream.write_all(&block).is_err());
    assert!(broke, "the server goes on reading");
    rig.stop();
}
