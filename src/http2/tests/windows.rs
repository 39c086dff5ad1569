//! Flow control in both directions, and answers as windows let them out.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_consumed_is_granted_again_in_good_time() {
    let mut rig = Rig::new();
    rig.take(&open(1)).expect("a stream");
    let piece = frame(kind::DATA, 0, 1, &[7; 10_000]);
    for _ in 0..5 {
        rig.take(&piece).expect("within the window");
    }
    assert_eq!(rig.told(), [], "nothing is consumed");
    rig.server.consumed(1, 40_000);
    assert_eq!(rig.told(), [], "little is consumed");
    rig.server.consumed(1, 10_000);
    let told = rig.told();
    assert_eq!((told.len(), told[0].stream), (1, 1), "half of the stream's window");
    assert_eq!(told[0].payload, 50_000u32.to_be_bytes());
    for _ in 0..5 {
        rig.take(&piece).expect("within the window");
        rig.server.consumed(1, 10_000);
    }
    let told: Vec<_> = rig.told().into_iter().map(|one| (one.stream, one.payload)).collect();
    let of = |stream, bytes: u32| (stream, bytes.to_be_bytes().to_vec());
    assert_eq!(told, [of(1, 50_000), of(0, 100_000)]);
}

#[test]
fn more_than_a_window_is_a_fault_of_the_stream_or_of_the_connection() {
    let mut rig = Rig::new();
    rig.take(&open(1)).expect("a stream");
    let piece = |stream| frame(kind::DATA, 0, stream, &[7; 10_000]);
    for _ in 0..10 {
        rig.take(&piece(1)).expect("within the window");
    }
    assert_eq!(rig.take(&piece(1)), Ok(vec![Saw::Reset(1, Some(1))]));
    assert!(resets(&rig.told()).contains(&(1, Reason::FLOW_CONTROL_ERROR)));
    // All that the stream had is granted again with its end.
    let mut rig = Rig::new();
    for stream in [1, 3, 5] {
        rig.take(&open(stream)).expect("a stream");
    }
    for _ in 0..10 {
        rig.take(&[piece(1), piece(3)].concat()).expect("within the windows");
    }
    assert_eq!(rig.breaks(&piece(5)), Reason::FLOW_CONTROL_ERROR);
}

#[test]
fn padding_and_what_comes_late_are_granted_again_by_themselves() {
    let mut rig = Rig::new();
    rig.take(&open(1)).expect("a stream");
    let padding = [&[255][..], &[0; 255]].concat();
    for _ in 0..1000 {
        rig.take(&frame(kind::DATA, flag::PADDED, 1, &padding)).expect("windows stay open");
    }
    rig.server.reset(1, Reason::CANCEL);
    for _ in 0..100 {
        rig.take(&frame(kind::DATA, 0, 1, &[0; 10_000])).expect("the window stays open");
    }
    let granted = rig.told().into_iter().filter(|one| one.kind == kind::WINDOW_UPDATE);
    let sum: u32 =
        granted.filter(|one| one.stream == 0).filter_map(|one| frame::word(&one.payload)).sum();
    assert!((1_156_000..=1_256_000).contains(&sum), "{sum}");
}

#[test]
fn a_stream_that_is_dropped_gives_its_window_back() {
    let mut rig = Rig::new();
    for stream in (1..2000).step_by(2) {
        rig.take(&[open(stream), frame(kind::DATA, 0, stream, &[0; 5000]), reset(stream)].concat())
            .expect("the connection's window stays open");
    }
}

#[test]
fn an_answer_that_fits_is_three_frames_with_small_headers() {
    let mut rig = Rig::new();
    for stream in [1, 3, 5] {
        rig.take(&request(stream, b"")).expect("a request");
        rig.server.answer(stream, OK, |out| out.extend_from_slice(b"message"), DONE).expect("open");
        let told = rig.told();
        let kinds: Vec<_> = told.iter().map(|one| (one.kind, one.flags, one.stream)).collect();
        let headers = |flags| (kind::HEADERS, flags, stream);
        assert_eq!(kinds, [headers(4), (kind::DATA, 0, stream), headers(5)]);
        assert_eq!(told[1].payload, b"message");
        let (first, last) = (rig.list(&told[0].payload), rig.list(&told[2].payload));
        assert_eq!(first[0], (":status".to_owned(), "200".to_owned()));
        assert_eq!(last, [("grpc-status".to_owned(), "0".to_owned())]);
        if stream > 1 {
            assert_eq!((told[0].payload.len(), told[2].payload.len()), (2, 1));
        }
    }
    assert_eq!(rig.server.streams(), 0);
}

#[test]
fn trailers_wait_for_the_body_and_the_body_for_both_windows() {
    let mut rig = Rig::with(&[(setting::INITIAL_WINDOW_SIZE, 3)]);
    rig.take(&request(1, b"")).expect("a request");
    rig.server.answer(1, OK, |out| out.extend_from_slice(b"abcdefgh"), DONE).expect("open");
    assert_eq!(rig.server.pending_bytes(), [8, 0]);
    let told = rig.told();
    assert_eq!((told.len(), data_of(&told, 1)), (2, b"abc".to_vec()));
    rig.take(&window_update(1, 2)).expect("a window");
    assert_eq!(data_of(&rig.told(), 1), b"de");
    rig.take(&settings(&[(setting::INITIAL_WINDOW_SIZE, 4)])).expect("a window");
    assert_eq!(data_of(&rig.told(), 1), b"f");
    rig.take(&settings(&[(setting::INITIAL_WINDOW_SIZE, 0)])).expect("a window below nothing");
    rig.take(&window_update(1, 4)).expect("a window of nothing");
    assert_eq!(data_of(&rig.told(), 1), b"");
    rig.take(&window_update(1, 1)).expect("a window");
    assert_eq!(data_of(&rig.told(), 1), b"g");
    rig.take(&window_update(1, 100)).expect("a window");
    let told = rig.told();
    assert_eq!(data_of(&told, 1), b"h");
    assert_eq!(told.last().map(|one| (one.kind, one.flags)), Some((kind::HEADERS, 5)));
    assert_eq!((rig.server.streams(), rig.server.pending_bytes()), (0, [0, 0]));
}

#[test]
fn the_connections_window_is_shared_in_turns() {
    let mut rig = Rig::with(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    for stream in [1, 3, 5] {
        rig.take(&request(stream, b"")).expect("a request");
        rig.server.headers(stream, OK, false).expect("open");
        let bytes = Bytes::from(vec![stream as u8; 100_000]);
        rig.server.body(stream, bytes).expect("open");
        rig.server.end(stream, DONE).expect("open");
    }
    let told = rig.told();
    let sent: Vec<_> = [1, 3, 5].iter().map(|&stream| data_of(&told, stream).len()).collect();
    assert_eq!(sent.iter().sum::<usize>(), 65_535);
    assert!(sent.iter().all(|&bytes| bytes >= 16_384), "{sent:?}");
    // 3 leaves; the others share what comes.
    rig.take(&reset(3)).expect("it leaves");
    let mut rest = vec![Vec::new(); 6];
    for _ in 0..100 {
        rig.take(&window_update(0, 5000)).expect("a window");
        let told = rig.told();
        for stream in [1, 3, 5] {
            rest[stream as usize].extend(data_of(&told, stream));
        }
    }
    assert_eq!(sent[0] + rest[1].len(), 100_000);
    assert_eq!(sent[2] + rest[5].len(), 100_000);
    assert!(rest[3].is_empty() && rig.server.streams() == 0);
}

#[test]
fn the_output_is_filled_up_to_its_bound_and_a_frame() {
    let mut rig = Rig::with(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    rig.take(&window_update(0, 1 << 20)).expect("a window");
    rig.take(&request(1, b"")).expect("a request");
    rig.server.body(1, Bytes::from(vec![1; 1 << 20])).expect("open");
    rig.server.sent(rig.server.output().len());
    rig.server.fill(100_000);
    let bytes = rig.server.output().len();
    assert!((100_000..100_000 + 16_393).contains(&bytes), "{bytes}");
    assert_eq!(rig.server.fill(100_000), 0);
}

#[test]
fn frames_are_as_large_as_the_client_takes_them() {
    let mut rig = Rig::with(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    rig.take(&window_update(0, 1 << 20)).expect("a window");
    rig.take(&request(1, b"")).expect("a request");
    rig.server.body_with(1, |out| out.extend_from_slice(&[1; 40_000])).expect("open");
    let sizes: Vec<_> = rig.told().iter().map(|one| one.payload.len()).collect();
    assert_eq!(sizes, [16_384, 16_384, 7232]);
    rig.take(&settings(&[(setting::MAX_FRAME_SIZE, 40_000)])).expect("settings");
    rig.told();
    rig.server.body_with(1, |out| out.extend_from_slice(&[1; 40_000])).expect("open");
    assert_eq!(rig.told().len(), 1);
}

#[test]
fn a_header_block_larger_than_a_frame_goes_on_in_others() {
    let mut rig = Rig::new();
    rig.take(&request(1, b"")).expect("a request");
    let text = "\u{1}".repeat(20_000);
    let fields = [Field::once("grpc-message", &text)];
    let list = Fields { status: Some(404), fields: &fields, kept: None };
    rig.server.headers(1, list, true).expect("open");
    let told = rig.told();
    let heads: Vec<_> = told.iter().map(|one| (one.kind, one.flags)).collect();
    assert_eq!(heads, [(kind::HEADERS, flag::END_STREAM), (kind::CONTINUATION, flag::END_HEADERS)]);
    let list = rig.list(&[&told[0].payload[..], &told[1].payload].concat());
    assert_eq!(list[0], (":status".to_owned(), "404".to_owned()));
    assert_eq!(list[1].1, text);
}

#[test]
fn who_wants_room_is_told_once_there_is_some() {
    let mut rig = Rig::with(&[(setting::INITIAL_WINDOW_SIZE, 4)]);
    rig.take(&request(1, b"")).expect("a request");
    rig.server.answers_at_length(1);
    assert_eq!(rig.server.has_room(1), Ok(true));
    rig.server.body(1, Bytes::from_static(b"abcdef")).expect("open");
    assert_eq!(rig.server.pending_bytes(), [0, 6]);
    assert_eq!(rig.server.has_room(1), Ok(false));
    rig.told();
    assert_eq!(rig.server.next_roomy(), None, "two bytes wait");
    rig.take(&window_update(1, 2)).expect("a window");
    rig.told();
    assert_eq!(rig.server.next_roomy(), None, "the window is shut");
    rig.take(&window_update(1, 1)).expect("a window");
    assert_eq!((rig.server.next_roomy(), rig.server.next_roomy()), (Some(1), None));
    assert_eq!((rig.server.has_room(1), rig.server.has_room(3)), (Ok(true), Err(Gone)));
}

proptest! {
    /// However windows move and streams end, every byte that comes is the next one, no window is
    /// exceeded, and what waits is counted.
    #[test]
    fn answers_come_whole_and_in_order(
        steps in prop::collection::vec((0..7u8, 0..4usize, 1..3000u32), 1..120),
    ) {
        let mut rig = Rig::with(&[(setting::INITIAL_WINDOW_SIZE, 1000)]);
        let mut initial = 1000i64;
        let mut next_stream = 1;
        // Stream, bytes handed over, bytes that have come, its window.
        let mut open_ones: Vec<(u32, usize, usize, i64)> = Vec::new();
        let mut window = 65_535i64;
        for (step, number, amount) in steps {
            let count = open_ones.len();
            match (step, open_ones.get_mut(if count == 0 { 0 } else { number % count })) {
                (0, _) if count < 4 => {
                    rig.take(&request(next_stream, b"")).expect("a request");
                    open_ones.push((next_stream, 0, 0, initial));
                    next_stream += 2;
                }
                (1 | 2, Some(one)) => {
                    let handed = one.1..one.1 + amount as usize;
                    let bytes: Vec<u8> = handed.map(|at| at as u8).collect();
                    one.1 += bytes.len();
                    if step == 1 {
                        rig.server.body(one.0, bytes.into()).expect("open");
                    } else {
                        let write = |out: &mut BytesMut| out.extend_from_slice(&bytes);
                        rig.server.body_with(one.0, write).expect("open");
                    }
                }
                (3, Some(one)) => {
                    rig.take(&window_update(one.0, amount)).expect("a window");
                    one.3 += i64::from(amount);
                }
                (4, _) => {
                    rig.take(&window_update(0, amount)).expect("a window");
                    window += i64::from(amount);
                }
                (5, _) => {
                    let told = settings(&[(setting::INITIAL_WINDOW_SIZE, amount)]);
                    rig.take(&told).expect("settings");
                    open_ones.iter_mut().for_each(|one| one.3 += i64::from(amount) - initial);
                    initial = i64::from(amount);
                }
                (6, Some(&mut (stream, ..))) => {
                    rig.take(&reset(stream)).expect("it leaves");
                    open_ones.retain(|one| one.0 != stream);
                }
                _ => {}
            }
            let told = rig.told();
            for one in told.iter().filter(|one| one.kind == kind::DATA) {
                let own = open_ones.iter_mut().find(|own| own.0 == one.stream);
                // Its last bytes and its reset may have crossed.
                let Some(own) = own else { continue };
                for byte in &one.payload {
                    prop_assert_eq!(*byte, own.2 as u8);
                    own.2 += 1;
                }
                own.3 -= one.payload.len() as i64;
                window -= one.payload.len() as i64;
                prop_assert!(own.3 >= 0 && window >= 0);
            }
            let waits: usize = open_ones.iter().map(|one| one.1 - one.2).sum();
            prop_assert_eq!(rig.server.pending_bytes(), [waits, 0]);
            for one in &open_ones {
                prop_assert!(one.1 == one.2 || one.3 <= 0 || window == 0, "it could leave");
            }
        }
    }
}
