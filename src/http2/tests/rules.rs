//! The rules of RFC 9113, by its sections.

use super::*;
use crate::http2::streams::ANSWERED_MAX;

#[test]
fn s3_4_a_client_begins_with_its_preface_and_settings() {
    let mut rig = Rig::silent();
    for cut in 0..PREFACE.len() {
        assert!(rig.server.take(&PREFACE[..cut]).expect("no fault").is_none());
    }
    assert_eq!(rig.breaks(b"PRI * HTTP/3.0\r\n"), Reason::PROTOCOL_ERROR);
    let mut rig = Rig::silent();
    rig.take(PREFACE).expect("the preface");
    assert_eq!(rig.breaks(&frame(kind::PING, 0, 0, &[0; 8])), Reason::PROTOCOL_ERROR);
    let mut rig = Rig::silent();
    rig.take(PREFACE).expect("the preface");
    let ack = frame(kind::SETTINGS, flag::ACK, 0, &[]);
    assert_eq!(rig.breaks(&ack), Reason::PROTOCOL_ERROR);
    let first = Rig::silent().told();
    assert_eq!((first[0].kind, first[1].kind), (kind::SETTINGS, kind::WINDOW_UPDATE));
    assert_eq!(first[1].payload, (200_000u32 - 65_535).to_be_bytes());
}

#[test]
fn s4_1_frames_of_unknown_types_and_flags_are_ignored() {
    let mut rig = Rig::new();
    assert_eq!(rig.take(&frame(0xfa, 0xff, 7, &[1; 30])), Ok(vec![Saw::Nothing]));
    let ping = frame(kind::PING, 0xfe, 0, &[7; 8]);
    assert_eq!(rig.take(&ping), Ok(vec![Saw::Nothing]));
    assert_eq!(rig.told()[0].payload, [7; 8]);
}

#[test]
fn s4_2_frames_have_a_largest_size_and_their_own() {
    for (kind, stream, bytes) in [
        (kind::SETTINGS, 0, 5),
        (kind::PING, 0, 7),
        (kind::PING, 0, 9),
        (kind::RST_STREAM, 1, 3),
        (kind::WINDOW_UPDATE, 0, 5),
        (kind::PRIORITY, 3, 4),
        (kind::GOAWAY, 0, 7),
        (kind::DATA, 1, 16_385),
    ] {
        let mut rig = Rig::new();
        rig.take(&open(1)).expect("a stream");
        let bad = frame(kind, 0, stream, &vec![0; bytes]);
        assert_eq!(rig.breaks(&bad), Reason::FRAME_SIZE_ERROR, "{kind}");
    }
    let mut rig = Rig::new();
    rig.take(&open(1)).expect("a stream");
    assert!(rig.take(&frame(kind::DATA, 0, 1, &[0; 16_384])).is_ok());
    let saw = rig.take(&frame(kind::PRIORITY, 0, 1, &[0; 4]));
    assert_eq!(saw, Ok(vec![Saw::Reset(1, Some(1))]), "of a stream that is open");
    let ack = frame(kind::SETTINGS, flag::ACK, 0, &[0; 6]);
    assert_eq!(rig.breaks(&ack), Reason::FRAME_SIZE_ERROR);
}

#[test]
fn a_frame_is_taken_when_it_is_whole() {
    let mut rig = Rig::new();
    let bytes = frame(kind::PING, 0, 0, &[1; 8]);
    for cut in 0..bytes.len() {
        assert!(rig.server.take(&bytes[..cut]).expect("no fault").is_none(), "{cut}");
    }
    assert_eq!(rig.server.take(&bytes).expect("no fault").expect("whole").bytes, bytes.len());
}

#[test]
fn s4_3_a_header_block_is_not_interrupted_and_its_damage_is_the_end() {
    for between in [
        frame(kind::PING, 0, 0, &[0; 8]),
        frame(0xfa, 0, 0, &[]),
        frame(kind::CONTINUATION, flag::END_HEADERS, 3, &[]),
        open(3),
    ] {
        let mut rig = Rig::new();
        rig.take(&frame(kind::HEADERS, 0, 1, &CALL[..1])).expect("the beginning");
        assert!(rig.server.is_inside());
        assert_eq!(rig.breaks(&between), Reason::PROTOCOL_ERROR);
    }
    let mut rig = Rig::new();
    let bad = frame(kind::HEADERS, flag::END_HEADERS, 1, &[0xff; 9]);
    assert_eq!(rig.breaks(&bad), Reason::COMPRESSION_ERROR);
}

#[test]
fn s5_1_idle_and_closed_streams() {
    for on_idle in [
        frame(kind::DATA, 0, 1, b"x"),
        reset(1),
        window_update(1, 1),
        frame(kind::CONTINUATION, flag::END_HEADERS, 1, CALL),
    ] {
        assert_eq!(Rig::new().breaks(&on_idle), Reason::PROTOCOL_ERROR);
    }
    assert!(Rig::new().take(&frame(kind::PRIORITY, 0, 1, &[0; 5])).is_ok());
    let closed = || {
        let mut rig = Rig::new();
        rig.take(&request(1, b"ask")).expect("a request");
        rig.server.answer(1, OK, |out| out.extend_from_slice(b"told"), DONE).expect("open");
        rig
    };
    for late in [reset(1), window_update(1, 1), frame(kind::PRIORITY, 0, 1, &[0; 5])] {
        assert_eq!(closed().take(&late), Ok(vec![Saw::Nothing]));
    }
    for late in [frame(kind::DATA, 0, 1, b"x"), open(1)] {
        assert_eq!(closed().breaks(&late), Reason::STREAM_CLOSED);
        let mut rig = Rig::new();
        rig.take(&[open(1), reset(1)].concat()).expect("a stream that is reset");
        assert_eq!(rig.breaks(&late), Reason::STREAM_CLOSED);
    }
}

#[test]
fn s5_1_after_its_end_a_client_says_nothing() {
    for more in [frame(kind::DATA, 0, 1, b"x"), frame(kind::HEADERS, 5, 1, CALL)] {
        let mut rig = Rig::new();
        rig.take(&request(1, b"ask")).expect("a request");
        assert_eq!(rig.take(&more), Ok(vec![Saw::Reset(1, Some(1))]));
        assert_eq!(resets(&rig.told()), [(1, Reason::STREAM_CLOSED)]);
    }
}

#[test]
fn s5_1_what_is_late_for_a_stream_that_we_have_reset_is_ignored() {
    let mut rig = Rig::new();
    rig.take(&open(1)).expect("a stream");
    assert_eq!(rig.server.reset(1, Reason::CANCEL), Some(1));
    let late = [
        frame(kind::DATA, 0, 1, b"late"),
        frame(kind::HEADERS, 5, 1, &[0x40, 1, b'a', 1, b'b']),
        window_update(1, 1),
        reset(1),
    ];
    assert_eq!(rig.take(&late.concat()), Ok(vec![Saw::Nothing; 4]));
    assert_eq!(resets(&rig.told()), [(1, Reason::CANCEL)]);
    // The header block counts all the same: the table has its field now.
    let known = frame(kind::HEADERS, 5, 3, &[CALL, &[0xbe]].concat());
    rig.take(&known).expect("a request");
    let list = &rig.lists.last().expect("a list").0;
    assert_eq!(list.last(), Some(&("a".to_owned(), "b".to_owned())));
    // Once both have reset it, nothing is late any more.
    assert_eq!(rig.breaks(&frame(kind::DATA, 0, 1, b"more")), Reason::STREAM_CLOSED);
}

#[test]
fn s5_1_1_numbers_of_streams_are_odd_and_rise() {
    assert_eq!(Rig::new().breaks(&open(2)), Reason::PROTOCOL_ERROR);
    assert_eq!(Rig::new().breaks(&open(0)), Reason::PROTOCOL_ERROR);
    let mut rig = Rig::new();
    rig.take(&open(5)).expect("a stream");
    assert_eq!(rig.breaks(&open(3)), Reason::PROTOCOL_ERROR);
}

#[test]
fn s5_1_2_further_streams_are_refused_and_the_others_go_on() {
    let mut rig = Rig::new();
    for number in 0..CONFIG.streams_max {
        rig.take(&open(2 * number + 1)).expect("a stream");
    }
    assert_eq!(rig.take(&open(1001)), Ok(vec![Saw::Nothing]));
    assert_eq!(resets(&rig.told()), [(1001, Reason::REFUSED_STREAM)]);
    rig.take(&reset(1)).expect("one fewer");
    assert_eq!(rig.take(&open(1003)), Ok(vec![Saw::Request(1003, vec![], false)]));
}

#[test]
fn s5_3_a_stream_is_not_its_own_parent() {
    let own = [&[0, 0, 0, 1, 16][..], CALL].concat();
    let headers = frame(kind::HEADERS, flag::END_HEADERS | flag::PRIORITY, 1, &own);
    let mut rig = Rig::new();
    assert_eq!(rig.take(&headers), Ok(vec![Saw::Nothing]));
    assert_eq!(resets(&rig.told()), [(1, Reason::PROTOCOL_ERROR)]);
    let mut rig = Rig::new();
    rig.take(&open(1)).expect("a stream");
    let saw = rig.take(&frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 16]));
    assert_eq!(saw, Ok(vec![Saw::Reset(1, Some(1))]));
    let of_another = [&[0x80, 0, 0, 7, 16][..], CALL].concat();
    let headers = frame(kind::HEADERS, flag::END_HEADERS | flag::PRIORITY, 3, &of_another);
    assert_eq!(rig.take(&headers), Ok(vec![Saw::Request(3, vec![], false)]));
}

#[test]
fn s6_frames_of_the_connection_and_of_streams_are_not_mixed() {
    for (kind, stream) in [
        (kind::DATA, 0),
        (kind::HEADERS, 0),
        (kind::PRIORITY, 0),
        (kind::RST_STREAM, 0),
        (kind::CONTINUATION, 0),
        (kind::SETTINGS, 1),
        (kind::PING, 1),
        (kind::GOAWAY, 1),
        (kind::PUSH_PROMISE, 1),
    ] {
        let bytes = match kind {
            kind::PRIORITY => 5,
            kind::RST_STREAM => 4,
            kind::PING | kind::GOAWAY => 8,
            _ => 0,
        };
        let mut rig = Rig::new();
        rig.take(&open(1)).expect("a stream");
        let bad = frame(kind, 0, stream, &vec![0; bytes]);
        assert_eq!(rig.breaks(&bad), Reason::PROTOCOL_ERROR, "{kind}");
    }
}

#[test]
fn s6_1_padding_is_taken_off_and_must_fit() {
    let mut rig = Rig::new();
    let headers = [&[2][..], CALL, &[0, 0]].concat();
    rig.take(&frame(kind::HEADERS, 0x0c, 1, &headers)).expect("a stream");
    let padded = frame(kind::DATA, 0x08, 1, b"\x03body\0\0\0");
    assert_eq!(rig.take(&padded), Ok(vec![Saw::Data(1, b"body".to_vec(), false)]));
    let too_much = frame(kind::DATA, 0x08, 1, b"\x08body\0\0\0");
    assert_eq!(rig.breaks(&too_much), Reason::PROTOCOL_ERROR);
    let headers = frame(kind::HEADERS, 0x0c, 3, &[9, 0x83]);
    assert_eq!(Rig::new().breaks(&headers), Reason::PROTOCOL_ERROR);
}

#[test]
fn s6_5_settings_are_followed_and_acknowledged() {
    let mut rig = Rig::new();
    let told = settings(&[(setting::MAX_FRAME_SIZE, 20_000), (0x1234, 1)]);
    rig.take(&told).expect("settings");
    let ack = Told { kind: kind::SETTINGS, flags: flag::ACK, stream: 0, payload: vec![] };
    assert_eq!(rig.told(), [ack]);
    rig.take(&frame(kind::SETTINGS, flag::ACK, 0, &[])).expect("an acknowledgement");
    assert_eq!(rig.told(), []);
    for (name, value, reason) in [
        (setting::ENABLE_PUSH, 2, Reason::PROTOCOL_ERROR),
        (setting::INITIAL_WINDOW_SIZE, 1 << 31, Reason::FLOW_CONTROL_ERROR),
        (setting::MAX_FRAME_SIZE, 16_383, Reason::PROTOCOL_ERROR),
        (setting::MAX_FRAME_SIZE, 1 << 24, Reason::PROTOCOL_ERROR),
    ] {
        assert_eq!(Rig::new().breaks(&settings(&[(name, value)])), reason, "{name}");
    }
}

#[test]
fn s6_5_2_no_field_is_kept_for_a_client_without_a_table() {
    let mut rig = Rig::with(&[(setting::HEADER_TABLE_SIZE, 0)]);
    for stream in [1, 3, 5] {
        rig.take(&request(stream, b"")).expect("a request");
        rig.server.answer(stream, OK, |_| {}, DONE).expect("open");
        let told = rig.told();
        let blocks = told.iter().filter(|one| one.kind == kind::HEADERS);
        let lists: Vec<_> = blocks.map(|one| rig.decoder_less(&one.payload)).collect();
        assert_eq!(lists[0][1], ("content-type".to_owned(), "application/grpc".to_owned()));
        assert_eq!(lists[1][0], ("grpc-status".to_owned(), "0".to_owned()));
    }
}

impl Rig {
    /// Reads a block with a decoder that remembers nothing.
    fn decoder_less(&self, block: &[u8]) -> Vec<(String, String)> {
        let mut list = Listed::default();
        Decoder::default().decode(block, |name, value| list.field(name, value)).expect("a block");
        list.0
    }
}

#[test]
fn s6_7_pings_are_answered_with_what_they_carry() {
    let mut rig = Rig::new();
    rig.take(&frame(kind::PING, 0, 0, b"whatever")).expect("a ping");
    rig.take(&frame(kind::PING, flag::ACK, 0, b"nobodys!")).expect("an answer to nothing");
    let pong =
        Told { kind: kind::PING, flags: flag::ACK, stream: 0, payload: b"whatever".to_vec() };
    assert_eq!(rig.told(), [pong]);
}

#[test]
fn s6_8_a_shutdown_names_the_last_stream_once_the_client_has_heard_of_it() {
    let mut rig = Rig::new();
    rig.take(&request(1, b"")).expect("a request");
    rig.server.shut_down();
    let told = rig.told();
    let go_away = |told: &Told| (told.kind, frame::word(&told.payload));
    assert_eq!(go_away(&told[0]), (kind::GOAWAY, Some(i32::MAX as u32)));
    assert_eq!(told[1].kind, kind::PING);
    // What was on its way is served.
    assert_eq!(rig.take(&request(3, b"")), Ok(vec![Saw::Request(3, vec![], true)]));
    rig.take(&frame(kind::PING, flag::ACK, 0, &told[1].payload)).expect("it has heard");
    let told = rig.told();
    assert_eq!(go_away(&told[0]), (kind::GOAWAY, Some(3)));
    assert_eq!(rig.take(&request(5, b"")).expect("ignored"), [Saw::Nothing, Saw::Nothing]);
    assert!(!rig.server.is_over());
    for stream in [1, 3] {
        rig.server.answer(stream, OK, |_| {}, DONE).expect("open");
    }
    assert!(rig.server.is_over());
    let kinds: Vec<_> = rig.told().iter().map(|one| one.kind).collect();
    assert!(!kinds.contains(&kind::RST_STREAM));
}

#[test]
fn s6_8_a_client_that_leaves_gets_what_it_asked_for() {
    let mut rig = Rig::new();
    rig.take(&request(1, b"")).expect("a request");
    rig.take(&frame(kind::GOAWAY, 0, 0, &[0; 8])).expect("it leaves");
    assert!(!rig.server.is_over());
    rig.server.answer(1, OK, |_| {}, DONE).expect("open");
    assert!(rig.server.is_over());
}

#[test]
fn s6_9_windows_rise_by_something_and_have_an_end() {
    assert_eq!(Rig::new().breaks(&window_update(0, 0)), Reason::PROTOCOL_ERROR);
    let mut rig = Rig::new();
    rig.take(&[open(1), reset(1)].concat()).expect("a stream that is closed");
    assert_eq!(rig.breaks(&window_update(1, 0)), Reason::PROTOCOL_ERROR);
    let most = i32::MAX as u32;
    assert_eq!(Rig::new().breaks(&window_update(0, most)), Reason::FLOW_CONTROL_ERROR);
    for (more, reason) in [(0, Reason::PROTOCOL_ERROR), (most, Reason::FLOW_CONTROL_ERROR)] {
        let mut rig = Rig::new();
        rig.take(&open(1)).expect("a stream");
        assert_eq!(rig.take(&window_update(1, more)), Ok(vec![Saw::Reset(1, Some(1))]));
        assert_eq!(resets(&rig.told()), [(1, reason)]);
    }
    let mut rig = Rig::new();
    rig.take(&[open(1), window_update(1, most - 65_535)].concat()).expect("the largest");
    let wider = settings(&[(setting::INITIAL_WINDOW_SIZE, 65_536)]);
    assert_eq!(rig.breaks(&wider), Reason::FLOW_CONTROL_ERROR);
}

#[test]
fn s6_10_a_header_block_goes_on() {
    let mut rig = Rig::new();
    let bytes = [
        frame(kind::HEADERS, flag::END_STREAM, 1, &CALL[..1]),
        frame(kind::CONTINUATION, 0, 1, &CALL[1..2]),
        frame(kind::CONTINUATION, 0, 1, &[]),
        frame(kind::CONTINUATION, flag::END_HEADERS, 1, &CALL[2..]),
    ];
    let saw = rig.take(&bytes.concat()).expect("a request");
    assert_eq!(saw.last(), Some(&Saw::Request(1, vec![], true)));
    assert_eq!(rig.lists[0].0.len(), 3);
    let more = frame(kind::CONTINUATION, flag::END_HEADERS, 1, CALL);
    assert_eq!(rig.breaks(&more), Reason::PROTOCOL_ERROR);
}

/// A literal field.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.push(text.len() as u8);
        bytes.extend(text.bytes());
    }
    bytes
}

#[test]
fn s8_1_1_malformed_requests_are_reset() {
    let call = |fields: &[(&str, &str)]| -> Vec<u8> {
        fields.iter().flat_map(|(name, value)| field(name, value)).collect()
    };
    let fine = [(":method", "POST"), (":scheme", "http"), (":path", "/a/b")];
    let with = |more: &[(&'static str, &'static str)]| [&fine[..], more].concat();
    let malformed = [
        with(&[("Content-Type", "x")]),
        with(&[("a b", "x")]),
        with(&[("", "x")]),
        with(&[("a:b", "x")]),
        with(&[("a", "x\ny")]),
        with(&[("a", "x\0")]),
        with(&[("a", " x")]),
        with(&[("a", "x\t")]),
        with(&[(":path", "/twice")]),
        with(&[(":status", "200")]),
        with(&[(":unknown", "x")]),
        with(&[("a", "x"), (":authority", "late")]),
        with(&[("connection", "close")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "x")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "x")]),
        with(&[("te", "gzip")]),
        with(&[("content-length", "x")]),
        with(&[("content-length", "1"), ("content-length", "2")]),
        vec![fine[0], fine[1]],
        vec![fine[0], fine[2]],
        vec![fine[1], fine[2]],
        vec![fine[0], fine[1], (":path", "")],
        vec![(":method", "CONNECT"), (":path", "/"), (":scheme", "http")],
    ];
    for list in malformed {
        let mut rig = Rig::new();
        let headers = frame(kind::HEADERS, 5, 1, &call(&list));
        assert_eq!(rig.take(&headers), Ok(vec![Saw::Nothing]), "{list:?}");
        assert_eq!(resets(&rig.told()), [(1, Reason::PROTOCOL_ERROR)], "{list:?}");
        // The connection goes on.
        assert!(rig.take(&request(3, b"")).is_ok());
    }
    for list in [
        with(&[("te", "trailers"), (":x", "")][..1]),
        with(&[("content-length", "0")]),
        with(&[("a", "")]),
        vec![(":method", "CONNECT"), (":authority", "a")],
    ] {
        let mut rig = Rig::new();
        let saw = rig.take(&frame(kind::HEADERS, 5, 1, &call(&list)));
        assert_eq!(saw, Ok(vec![Saw::Request(1, vec![], true)]), "{list:?}");
    }
}

#[test]
fn s8_1_1_a_body_is_as_long_as_was_said() {
    let headers = |flags| {
        let block = [CALL, &field("content-length", "4")].concat();
        frame(kind::HEADERS, flag::END_HEADERS | flags, 1, &block)
    };
    let data = |flags, body: &[u8]| frame(kind::DATA, flags, 1, body);
    let trailers = frame(kind::HEADERS, 5, 1, &field("a", "b"));
    for bad in [
        vec![headers(flag::END_STREAM)],
        vec![headers(0), data(flag::END_STREAM, b"abc")],
        vec![headers(0), data(0, b"abcde")],
        vec![headers(0), data(0, b"abc"), trailers.clone()],
    ] {
        let mut rig = Rig::new();
        rig.take(&bad.concat()).expect("a fault of the stream");
        assert_eq!(resets(&rig.told()), [(1, Reason::PROTOCOL_ERROR)]);
    }
    for fine in [
        vec![headers(0), data(flag::END_STREAM, b"abcd")],
        vec![headers(0), data(0, b"ab"), data(0, b"cd"), data(flag::END_STREAM, b"")],
        vec![headers(0), data(0, b"abcd"), trailers],
    ] {
        let mut rig = Rig::new();
        rig.take(&fine.concat()).expect("a request");
        assert_eq!(resets(&rig.told()), []);
    }
}

#[test]
fn s8_1_trailers_end_the_stream_and_have_no_pseudo_header_fields() {
    let mut rig = Rig::new();
    rig.take(&open(1)).expect("a stream");
    let trailers = frame(kind::HEADERS, 5, 1, &field("a", "b"));
    assert_eq!(rig.take(&trailers), Ok(vec![Saw::Data(1, vec![], true)]));
    for (flags, block) in [(4, field("a", "b")), (5, CALL.to_vec()), (5, field("A", "b"))] {
        let mut rig = Rig::new();
        rig.take(&open(1)).expect("a stream");
        let saw = rig.take(&frame(kind::HEADERS, flags, 1, &block));
        assert_eq!(saw, Ok(vec![Saw::Reset(1, Some(1))]));
        assert_eq!(resets(&rig.told()), [(1, Reason::PROTOCOL_ERROR)]);
    }
}

#[test]
fn s8_1_an_answer_before_the_end_of_the_request_asks_for_no_more_of_it() {
    let answered = || {
        let mut rig = Rig::new();
        rig.take(&open(1)).expect("a stream");
        rig.server.headers(1, OK, true).expect("open");
        let told = rig.told();
        assert_eq!((told.len(), told[0].kind, told[0].flags), (1, kind::HEADERS, 5));
        assert_eq!(rig.server.headers(1, OK, true), Err(Gone));
        assert_eq!((rig.server.streams(), rig.server.call(1)), (0, None));
        rig
    };
    // A little more of it is ignored, and much is not wanted.
    let mut rig = answered();
    let more = frame(kind::DATA, 0, 1, &[7; 10_000]);
    assert_eq!(rig.take(&more), Ok(vec![Saw::Nothing]));
    assert_eq!(resets(&rig.told()), []);
    assert_eq!(rig.take(&[&more[..], &more].concat()), Ok(vec![Saw::Nothing; 2]));
    assert_eq!(resets(&rig.told()), [(1, Reason::NO_ERROR)]);
    // Its end is.
    for end in [frame(kind::DATA, 1, 1, b"end"), frame(kind::HEADERS, 5, 1, &field("a", "b"))] {
        let mut rig = answered();
        assert_eq!(rig.take(&end), Ok(vec![Saw::Nothing]));
        assert_eq!(resets(&rig.told()), []);
        assert_eq!(rig.breaks(&more), Reason::STREAM_CLOSED);
    }
    // The rules hold until then.
    let mut rig = answered();
    let pseudo = frame(kind::HEADERS, 5, 1, CALL);
    assert_eq!(rig.take(&pseudo), Ok(vec![Saw::Reset(1, None)]));
    assert_eq!(resets(&rig.told()), [(1, Reason::PROTOCOL_ERROR)]);
    let mut rig = answered();
    assert_eq!(rig.take(&reset(1)), Ok(vec![Saw::Reset(1, None)]));
}

#[test]
fn answered_streams_that_are_not_ended_are_few() {
    let mut rig = Rig::new();
    for number in 0..1000 {
        rig.take(&open(2 * number + 1)).expect("a stream");
        rig.server.headers(2 * number + 1, OK, true).expect("open");
    }
    let told = resets(&rig.told());
    assert_eq!((told.len(), told[0]), (1000 - ANSWERED_MAX, (1, Reason::NO_ERROR)));
    assert_eq!((rig.server.streams(), rig.server.streams.len()), (0, ANSWERED_MAX));
    rig.take(&frame(kind::GOAWAY, 0, 0, &[0; 8])).expect("it leaves");
    assert!(rig.server.is_over());
}

#[test]
fn a_request_that_comes_whole_is_one_event() {
    let mut rig = Rig::new();
    let (whole, other) = (request(1, b"body"), open(3));
    let saw = rig.take(&[&whole[..], &other].concat()).expect("requests");
    assert_eq!(saw[0], Saw::Request(1, b"body".to_vec(), true));
    assert_eq!(saw[1], Saw::Request(3, vec![], false));
    // A part of the body is an event of its own.
    let part = [open(5), frame(kind::DATA, 0, 5, b"pa")].concat();
    let saw = rig.take(&part).expect("a part");
    assert_eq!(saw, [Saw::Request(5, vec![], false), Saw::Data(5, b"pa".to_vec(), false)]);
    // However the bytes are cut, nothing is lost.
    for cut in 9..whole.len() {
        let mut rig = Rig::new();
        let first = rig.server.take(&whole[..cut]).expect("no fault");
        let taken = first.map_or(0, |taken| taken.bytes);
        let saw = rig.take(&whole[taken..]).expect("the rest");
        assert!(matches!(saw[..], [.., Saw::Request(1, ref b, true) | Saw::Data(1, ref b, true)]
            if b == b"body"));
    }
}

#[test]
fn blocks_that_come_again_mean_the_same_as_long_as_the_table_does() {
    let mut rig = Rig::new();
    let block = |more: &[u8]| frame(kind::HEADERS, 5, 0, &[CALL, more].concat());
    let numbered = |mut bytes: Vec<u8>, stream: u32| {
        bytes[5..9].copy_from_slice(&stream.to_be_bytes());
        bytes
    };
    let last = |rig: &Rig| rig.lists.last().and_then(|list| list.0.last().cloned());
    let named = |value: &str| Some(("a".to_owned(), value.to_owned()));
    rig.take(&numbered(block(&[0x40, 1, b'a', 1, b'1']), 1)).expect("inserted");
    for stream in [3, 5] {
        rig.take(&numbered(block(&[0xbe]), stream)).expect("of the table");
        assert_eq!(last(&rig), named("1"));
    }
    rig.take(&numbered(block(&[0x40, 1, b'a', 1, b'2']), 7)).expect("inserted");
    rig.take(&numbered(block(&[0xbe]), 9)).expect("of the table");
    assert_eq!(last(&rig), named("2"));
}
