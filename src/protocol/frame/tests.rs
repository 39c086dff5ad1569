//! Frames there and back, as documented, and under hostile bytes.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::protocol::method::{Kind, Method};
use crate::protocol::pb::{braidpb, etcdserverpb};
use crate::protocol::status::{Status, code};

const DOCUMENT: &str = include_str!("../../../proto/FRAMES.md");

fn frame(stream: u32, opcode: u8, flags: Flags, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    encode_frame(&mut out, stream, opcode, flags, |out| out.extend_from_slice(payload));
    out
}

fn decode(bytes: &[u8]) -> Result<Option<Frame>, FrameFault> {
    Decoder::new(1 << 20).decode(&mut BytesMut::from(bytes))
}

/// The bytes of the example under a heading of `proto/FRAMES.md`.
fn example(name: &str) -> Vec<u8> {
    let (_, section) = DOCUMENT.split_once(&format!("\n### {name}\n")).expect(name);
    let block = section.split("```").nth(1).expect(name);
    block.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect(byte)).collect()
}

fn with_message(stream: u32, opcode: Opcode, flags: Flags, message: &impl Message) -> BytesMut {
    let mut out = BytesMut::new();
    encode_message(&mut out, stream, opcode, flags, message);
    out
}

#[test]
fn the_documents_examples_are_what_we_send() {
    let hello = braidpb::HelloRequest {
        protocol_version: PROTOCOL_VERSION,
        core: Some(0),
        ..Default::default()
    };
    let put = etcdserverpb::PutRequest {
        key: Bytes::from_static(b"foo"),
        value: Bytes::from_static(b"bar"),
        ..Default::default()
    };
    let header =
        etcdserverpb::ResponseHeader { cluster_id: 7, member_id: 9, revision: 2, raft_term: 3 };
    let put_reply = etcdserverpb::PutResponse { header: Some(header), prev_kv: None };
    let method = |method| Opcode::Method(method);

    assert_eq!(example("preface"), PREFACE);
    assert_eq!(example("hello"), with_message(0, Opcode::Hello, Flags::NONE, &hello));
    assert_eq!(example("put"), with_message(1, method(Method::Put), Flags::END, &put));
    assert_eq!(example("put reply"), with_message(1, method(Method::Put), Flags::END, &put_reply));

    let mut error = BytesMut::new();
    let status = Status::new(code::INVALID_ARGUMENT, "etcdserver: key is not provided");
    encode_error(&mut error, 2, Method::Put.opcode(), &status);
    assert_eq!(example("error"), error);

    assert_eq!(example("cancel"), frame(5, Method::Range.opcode(), Flags::CANCEL, b""));

    let (mut ping, mut pong, mut close) = (BytesMut::new(), BytesMut::new(), BytesMut::new());
    encode_ping(&mut ping, Flags::NONE, &[1, 2, 3, 4]);
    encode_ping(&mut pong, Flags::END, &[1, 2, 3, 4]);
    encode_close(&mut close, &FrameFault::Opcode(0xFF));
    assert_eq!(example("ping"), ping);
    assert_eq!(example("pong"), pong);
    assert_eq!(example("close"), close);
}

#[test]
fn the_documents_streams_are_what_we_send() {
    let header = |revision| {
        Some(etcdserverpb::ResponseHeader { cluster_id: 7, member_id: 9, revision, raft_term: 3 })
    };
    let of = |method: Method, message: &dyn Fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        let stream = if method == Method::Watch { 3 } else { 4 };
        encode_frame(&mut out, stream, method.opcode(), Flags::NONE, |out| message(out));
        out
    };
    let key = Bytes::from_static(b"foo");
    let create = etcdserverpb::WatchCreateRequest { key: key.clone(), ..Default::default() };
    let create = etcdserverpb::watch_request::RequestUnion::CreateRequest(create);
    let create = etcdserverpb::WatchRequest { request_union: Some(create) };
    let created =
        etcdserverpb::WatchResponse { header: header(2), created: true, ..Default::default() };
    let kv = crate::protocol::pb::mvccpb::KeyValue {
        key,
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        value: Bytes::from_static(b"bar"),
        lease: 0,
    };
    let event = crate::protocol::pb::mvccpb::Event { kv: Some(kv), ..Default::default() };
    let event = etcdserverpb::WatchResponse {
        header: header(3),
        events: vec![event],
        ..Default::default()
    };
    let alive = etcdserverpb::LeaseKeepAliveRequest { id: 7 };
    let kept = etcdserverpb::LeaseKeepAliveResponse { header: header(3), id: 7, ttl: 60 };
    let put = |message: &dyn Fn(&mut BytesMut)| of(Method::Watch, message);
    assert_eq!(example("watch create"), put(&|out| create.encode(out).unwrap()));
    assert_eq!(example("watch created"), put(&|out| created.encode(out).unwrap()));
    assert_eq!(example("watch event"), put(&|out| event.encode(out).unwrap()));
    let put = |message: &dyn Fn(&mut BytesMut)| of(Method::LeaseKeepAlive, message);
    assert_eq!(example("keep-alive"), put(&|out| alive.encode(out).unwrap()));
    assert_eq!(example("keep-alive reply"), put(&|out| kept.encode(out).unwrap()));

    let (watch, lease) = (Method::Watch.opcode(), Method::LeaseKeepAlive.opcode());
    let last = Flags::END | Flags::BARE;
    assert_eq!(example("watch last word"), frame(3, watch, last, b""));
    assert_eq!(example("watch cancel"), frame(3, watch, Flags::CANCEL, b""));
    assert_eq!(example("keep-alive end"), frame(4, lease, last, b""));
    let mut end = BytesMut::new();
    let status = crate::protocol::status::of(&crate::types::Refusal::WatchCanceled);
    encode_error(&mut end, 3, watch, &status);
    assert_eq!(example("watch end"), end);
}

#[test]
fn the_documents_bounds_of_streams_are_ours() {
    use crate::limits::{STREAM_MESSAGE_BYTES_MAX, STREAM_MESSAGES_MAX, STREAMS_ENDED_MAX};
    assert_eq!((STREAM_MESSAGES_MAX, STREAM_MESSAGE_BYTES_MAX), (1024, 4 << 20));
    assert_eq!(STREAMS_ENDED_MAX, 1024);
    assert!(DOCUMENT.contains("Above 1024 messages or 4 MiB"));
    assert!(DOCUMENT.contains("remembers the latest 1024 numbers"));
}

#[test]
fn the_documents_opcodes_are_the_tables() {
    for &method in Method::ALL {
        let kind = match method.kind() {
            Kind::Unary => "unary",
            Kind::Stream => "server stream",
            Kind::Bidi => "bidirectional",
        };
        let row = format!("\n| `{:02X}` | {} | {kind} |\n", method.opcode(), &method.path()[1..]);
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    for opcode in 0..=u8::MAX {
        if let Some(known) = Opcode::from_u8(opcode) {
            assert_eq!(known.as_u8(), opcode);
        }
    }
    let known = (0..=u8::MAX).filter(|&opcode| Opcode::from_u8(opcode).is_some()).count();
    assert_eq!(known, Method::ALL.len() + 3);
}

#[test]
fn the_documents_faults_are_what_we_say() {
    let faults = [
        (FrameFault::Preface, "bad magic at the start of the connection"),
        (FrameFault::HelloInvalid, "invalid hello"),
        (FrameFault::Version { wanted: 1, spoken: 1 }, "is not spoken here, only 1"),
        (FrameFault::StreamInUse(1), "already has a request under way"),
        (FrameFault::HelloMissing { opcode: 1 }, "came before the hello"),
        (FrameFault::Length { length: 2, length_max: 1 }, "is above the limit of"),
        (FrameFault::Reserved(1), "reserved bits of the frame header are 0x"),
        (FrameFault::Flags(1), "invalid frame flags 0x"),
        (FrameFault::Opcode(1), "unknown frame opcode 0x"),
        (FrameFault::Stream { stream: 0, opcode: 1 }, "is not allowed on stream"),
        (FrameFault::Checksum { stated: 1, computed: 2 }, "frame checksum is 0x"),
    ];
    for (fault, text) in faults {
        let status = fault.status();
        assert!(status.message.contains(text), "{fault:?}: {}", status.message);
        let row = DOCUMENT.lines().find(|line| line.starts_with('|') && line.contains(text));
        let row = row.expect(text);
        assert!(row.contains(&format!("| {} | `braid: ", status.code)), "{row}");
    }
}

#[test]
fn a_frame_comes_out_as_it_went_in_without_a_copy() {
    let mut input = frame(7, 0x12, Flags::END, b"payload");
    let before = input.as_ptr() as usize;
    let decoded = Decoder::new(16).decode(&mut input).unwrap().unwrap();
    assert_eq!(decoded.payload, "payload");
    assert_eq!(decoded.payload.as_ptr() as usize, before + HEADER_BYTES);
    assert_eq!((decoded.header.stream, decoded.header.opcode), (7, 0x12));
    assert_eq!(decoded.header.flags, Flags::END);
    assert!(input.is_empty());
}

#[test]
fn frames_may_come_byte_by_byte() {
    let mut sent = frame(1, 0x10, Flags::END, b"one");
    sent.unsplit(frame(2, 0x11, Flags::NONE, b""));
    let decoder = Decoder::new(16);
    let mut input = BytesMut::new();
    let mut streams = Vec::new();
    for (at, &byte) in sent.iter().enumerate() {
        let missing = decoder.missing(&input);
        assert!((1..=HEADER_BYTES).contains(&missing), "{missing} at {at}");
        input.put_u8(byte);
        if let Some(frame) = decoder.decode(&mut input).unwrap() {
            streams.push((frame.header.stream, frame.payload.len(), at + 1));
        }
    }
    assert_eq!(streams, [(1, 3, 19), (2, 0, 35)]);
}

#[test]
fn a_length_above_the_limit_is_refused_before_anything_is_reserved() {
    let mut input = BytesMut::with_capacity(HEADER_BYTES);
    let header = Header { length: u32::MAX, ..Default::default() };
    input.extend_from_slice(&header.encode());
    let capacity = input.capacity();
    let decoder = Decoder::new(1000);
    let fault = FrameFault::Length { length: u32::MAX as usize, length_max: 1000 };
    assert_eq!(decoder.decode(&mut input), Err(fault));
    assert_eq!(decoder.missing(&input), 0);
    assert_eq!(input.capacity(), capacity);

    let at_the_limit = frame(1, 1, Flags::NONE, &[0; 1000]);
    assert!(decoder.decode(&mut at_the_limit.clone()).unwrap().is_some());
    let above = frame(1, 1, Flags::NONE, &[0; 1001]);
    assert!(matches!(decoder.decode(&mut above.clone()), Err(FrameFault::Length { .. })));
}

#[test]
fn waiting_for_a_payload_reserves_nothing() {
    let decoder = Decoder::new(1 << 30);
    let mut input = BytesMut::with_capacity(64);
    input.extend_from_slice(&Header { length: 1 << 30, ..Default::default() }.encode());
    let capacity = input.capacity();
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert_eq!(decoder.missing(&input), 1 << 30);
    assert_eq!(input.capacity(), capacity);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let sent = frame(3, 0x12, Flags::END, b"some payload");
    for bit in 0..sent.len() * 8 {
        let mut damaged = sent.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match decode(&damaged) {
            Ok(Some(frame)) => panic!("bit {bit} went through: {frame:?}"),
            // A longer length waits for bytes that would not match either.
            Ok(None) => assert!(bit < 32, "bit {bit} waits"),
            Err(FrameFault::Length { .. } | FrameFault::Checksum { .. }) => {}
            Err(other) => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn unknown_flags_and_reserved_bits_are_named_when_the_checksum_holds() {
    assert_eq!(decode(&frame(1, 0x12, Flags(0x10), b"")), Err(FrameFault::Flags(0x10)));
    let mut header = Header { stream: 1, reserved: 5, ..Default::default() };
    header.crc = header.checksum(b"");
    assert_eq!(decode(&header.encode()), Err(FrameFault::Reserved(5)));
    header.crc ^= 1;
    assert!(matches!(decode(&header.encode()), Err(FrameFault::Checksum { .. })));
}

#[test]
fn protocols_are_told_apart_by_their_first_bytes() {
    let protocol = |bytes: &[u8]| sniff(bytes);
    let is = Sniffed::Protocol;
    assert_eq!(protocol(b""), Sniffed::More);
    assert_eq!(protocol(&PREFACE[..1]), is(Protocol::Frames));
    assert_eq!(protocol(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), is(Protocol::Http2));
    assert_eq!(protocol(b"P"), Sniffed::More);
    assert_eq!(protocol(b"PR"), Sniffed::More);
    assert_eq!(protocol(b"PRI"), Sniffed::More);
    for request in ["GET / HTTP/1.1", "POST ", "PUT ", "PO", "PROPFIND ", "OPTIONS * ", "get "] {
        assert_eq!(protocol(request.as_bytes()), is(Protocol::Http1), "{request}");
    }
    assert_eq!(protocol(&[0x16, 3, 1]), is(Protocol::Tls));
    for first in [0x00, 0x0A, b'*', b'1', 0x7F, 0x80, 0xFF] {
        assert_eq!(protocol(&[first, 0]), Sniffed::Unknown, "{first:#x}");
    }
}

#[test]
fn the_preface_is_taken_whole_or_refused_at_its_first_wrong_byte() {
    for length in 0..PREFACE.len() {
        let mut input = BytesMut::from(&PREFACE[..length]);
        assert_eq!(take_preface(&mut input), Ok(false));
        input.put_u8(!PREFACE[length]);
        assert_eq!(take_preface(&mut input), Err(FrameFault::Preface));
    }
    let mut input = BytesMut::from(&b"\xB7BRAID\r\nrest"[..]);
    assert_eq!(take_preface(&mut input), Ok(true));
    assert_eq!(input, "rest");
}

#[test]
fn errors_come_back() {
    let status = Status::new(code::UNAVAILABLE, "etcdserver: no leader");
    let mut out = BytesMut::from(&b"before"[..]);
    encode_error(&mut out, 9, 0x10, &status);
    let frame = decode(&out[6..]).unwrap().unwrap();
    assert_eq!(frame.header.flags, Flags::END | Flags::ERROR);
    assert_eq!(decode_error(frame.payload), status);
    assert_eq!(decode_error(Bytes::from_static(b"\xFF")).code, code::INTERNAL);
}

#[test]
fn a_hello_is_judged_by_version_and_form() {
    let hello = |version| braidpb::HelloRequest {
        protocol_version: version,
        token: "t".to_owned(),
        ..Default::default()
    };
    let judged = |hello: braidpb::HelloRequest| decode_hello(hello.encode_to_vec().into());
    assert_eq!(judged(hello(1)), Ok(hello(1)));
    assert_eq!(judged(hello(2)), Err(FrameFault::Version { wanted: 2, spoken: 1 }));
    assert_eq!(decode_hello(Bytes::new()), Err(FrameFault::Version { wanted: 0, spoken: 1 }));
    assert_eq!(decode_hello(Bytes::from_static(b"\x12\xFF")), Err(FrameFault::HelloInvalid));
}

proptest! {
    #[test]
    fn headers_come_back(length: u32, crc: u32, stream: u32, opcode: u8, flags: u8, reserved: u16) {
        let header = Header { length, crc, stream, opcode, flags: Flags(flags), reserved };
        prop_assert_eq!(Header::decode(&header.encode()), header);
    }

    #[test]
    fn random_bytes_are_waited_for_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // A checksum that holds by chance is once in four billion.
        let decoded = Decoder::new(1 << 16).decode(&mut BytesMut::from(&bytes[..]));
        prop_assert!(!matches!(decoded, Ok(Some(_))));
        let _ = sniff(&bytes);
        let _ = decode_error(Bytes::from(bytes.clone()));
        let _ = decode_hello(Bytes::from(bytes));
    }

    #[test]
    fn any_pieces_give_the_same_frames(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..8),
        cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let mut sent = BytesMut::new();
        for (stream, payload) in (1u32..).zip(&payloads) {
            encode_frame(&mut sent, stream, 0x12, Flags::END, |out| out.put_slice(payload));
        }
        let decoder = Decoder::new(64);
        let mut input = BytesMut::new();
        let mut received = Vec::new();
        let mut cuts = cuts.iter().cycle();
        while !sent.is_empty() {
            let cut = sent.len().min(*cuts.next().unwrap());
            input.unsplit(sent.split_to(cut));
            while let Some(frame) = decoder.decode(&mut input).unwrap() {
                received.push(frame.payload.to_vec());
            }
        }
        prop_assert_eq!(received, payloads);
    }

    #[test]
    fn a_cut_frame_is_waited_for(
        payload in prop::collection::vec(any::<u8>(), 0..50),
        cut in 1usize..60,
    ) {
        let sent = frame(1, 0x12, Flags::END, &payload);
        let kept = sent.len().saturating_sub(cut);
        let mut input = BytesMut::from(&sent[..kept]);
        prop_assert_eq!(Decoder::new(64).decode(&mut input), Ok(None));
        prop_assert_eq!(input.len(), kept);
    }
}
