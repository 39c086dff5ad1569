//! Clients that make work on purpose. What a connection does for them is counted.

use super::*;

/// Takes frames until the connection has to end; how many it took.
fn until_broken(
    rig: &mut Rig,
    count: usize,
    one: impl Fn(u32) -> Vec<u8>,
) -> (usize, Option<Broken>) {
    for number in 0..count {
        if let Err(broken) = rig.take(&one(number as u32)) {
            return (number, Some(broken));
        }
    }
    (count, None)
}

#[test]
fn streams_that_are_opened_and_reset_are_forgotten_and_at_last_too_many() {
    let mut rig = Rig::new();
    let (taken, broken) = until_broken(&mut rig, 100_000, |number| {
        [open(2 * number + 1), reset(2 * number + 1)].concat()
    });
    assert_eq!(taken, RESETS_UNEARNED_MAX as usize);
    let broken = broken.expect("the end");
    assert_eq!((broken.reason, broken.text), (Reason::ENHANCE_YOUR_CALM, "too_many_resets"));
    assert_eq!(rig.server.streams(), 1, "the last one");
    assert!(rig.server.output().len() < 100, "nothing is answered");
}

#[test]
fn a_client_that_cancels_half_of_its_calls_is_served_for_ever() {
    let mut rig = Rig::new();
    for number in 0..3 * RESETS_UNEARNED_MAX {
        let stream = 2 * number + 1;
        rig.take(&request(stream, b"")).expect("a request");
        if number % 2 == 0 {
            rig.take(&reset(stream)).expect("cancelled");
        } else {
            rig.server.answer(stream, OK, |_| {}, DONE).expect("open");
        }
        rig.server.sent(rig.server.output().len());
    }
}

#[test]
fn a_client_that_never_reads_its_resets_is_remembered_within_bounds() {
    let mut rig = Rig::new();
    for number in 0..10_000 {
        rig.take(&open(2 * number + 1)).expect("a stream");
        rig.server.reset(2 * number + 1, Reason::CANCEL);
    }
    rig.told();
    // Of the newest ones late frames are expected; of old ones they are told off, each by itself.
    assert_eq!(rig.take(&frame(kind::DATA, 0, 19_999, b"x")), Ok(vec![Saw::Nothing]));
    assert_eq!(rig.told(), []);
    assert_eq!(rig.take(&frame(kind::DATA, 0, 1, b"x")), Ok(vec![Saw::Nothing]));
    assert_eq!(resets(&rig.told()), [(1, Reason::STREAM_CLOSED)]);
}

#[test]
fn a_header_block_without_end_ends_the_connection() {
    for (piece, most) in [(vec![], 65), (vec![0x84; 1000], 18)] {
        let mut rig = Rig::new();
        rig.take(&frame(kind::HEADERS, 0, 1, CALL)).expect("the beginning");
        let (taken, broken) =
            until_broken(&mut rig, 1000, |_| frame(kind::CONTINUATION, 0, 1, &piece));
        assert!(taken < most, "{taken}");
        assert_eq!(broken.expect("the end").reason, Reason::ENHANCE_YOUR_CALM);
    }
}

#[test]
fn a_list_that_unfolds_from_the_table_is_refused_and_costs_its_bytes() {
    let mut rig = Rig::new();
    // An entry of 4000 bytes, and then 12000 times its name: 48 MB unfolded.
    let mut insert = [CALL, &[0x40, 1, b'a', 0x7f, 0xa1, 0x1e]].concat();
    insert.extend([b'v'; 4000]);
    rig.take(&frame(kind::HEADERS, 5, 1, &insert)).expect("a request");
    let bomb = [CALL, &vec![0xbe; 12_000]].concat();
    assert_eq!(rig.take(&frame(kind::HEADERS, 5, 3, &bomb)), Ok(vec![Saw::Nothing]));
    assert!(resets(&rig.told()).contains(&(3, Reason::FRAME_SIZE_ERROR)));
    // One that is told of has no more than the bound.
    let told: usize =
        rig.lists.iter().flat_map(|list| &list.0).map(|(n, v)| n.len() + v.len()).sum();
    assert!(told < CONFIG.header_list_bytes_max as usize);
    assert_eq!(rig.take(&request(5, b"")), Ok(vec![Saw::Request(5, vec![], true)]));
}

#[test]
fn floods_are_counted_frame_by_frame_and_answered_in_kind() {
    let floods = [
        (settings(&[]), 9),
        (frame(kind::PING, 0, 0, &[0; 8]), 17),
        (frame(kind::PING, flag::ACK, 0, &[0; 8]), 0),
        (frame(kind::PRIORITY, 0, 9, &[0; 5]), 0),
        (frame(0xfa, 0, 0, &[]), 0),
        (frame(kind::DATA, 0, 1, &[]), 0),
        (window_update(0, 1), 0),
    ];
    for (one, answer) in floods {
        let mut rig = Rig::new();
        rig.take(&open(1)).expect("a stream");
        let (work, output) = (rig.work, rig.server.output().len());
        for _ in 0..1000 {
            rig.take(&one).expect("a frame");
        }
        assert_eq!(rig.work - work, 1000);
        assert_eq!(rig.server.output().len() - output, 1000 * answer);
    }
}

#[test]
fn settings_that_move_all_windows_are_counted_by_streams() {
    let mut rig = Rig::new();
    for number in 0..100 {
        rig.take(&request(2 * number + 1, b"")).expect("a request");
    }
    let before = rig.work;
    for window in [0, 1, 1] {
        rig.take(&settings(&[(setting::INITIAL_WINDOW_SIZE, window)])).expect("settings");
    }
    assert_eq!(rig.work - before, 100 + 100 + 3, "the last one moves nothing");
}

#[test]
fn answers_without_a_window_wait_within_what_was_handed_over() {
    let mut rig = Rig::with(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    for number in 0..RESETS_UNEARNED_MAX {
        let stream = 2 * number + 1;
        rig.take(&request(stream, b"")).expect("a request");
        rig.server.headers(stream, OK, false).expect("open");
        rig.server.body(stream, Bytes::from_static(&[7; 1000])).expect("open");
        rig.server.fill(usize::MAX);
        assert_eq!(rig.server.pending_bytes(), [1000, 0]);
        rig.take(&reset(stream)).expect("it leaves");
        rig.server.sent(rig.server.output().len());
    }
    assert_eq!((rig.server.pending_bytes(), rig.server.streams()), ([0, 0], 0));
    assert!(rig.server.ready.len() < 200, "{}", rig.server.ready.len());
}

#[test]
fn streams_that_leave_while_they_wait_for_the_connections_window_are_forgotten() {
    let mut rig = Rig::with(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    rig.take(&request(1, b"")).expect("a request");
    rig.server.body(1, Bytes::from(vec![7; 70_000])).expect("open");
    rig.told();
    for number in 1..20_000 {
        let stream = 2 * number + 1;
        rig.take(&request(stream, b"")).expect("a request");
        rig.server.body(stream, Bytes::from_static(&[7; 1000])).expect("open");
        rig.take(&reset(stream)).expect("it leaves");
        rig.server.fill(usize::MAX);
    }
    assert!(rig.server.ready.len() < 200, "{}", rig.server.ready.len());
    rig.take(&window_update(0, 10_000)).expect("a window");
    assert_eq!(data_of(&rig.told(), 1).len(), 70_000 - 65_535);
}

#[test]
fn pings_are_judged_as_grpc_does() {
    let mut rig = Rig::new();
    let ping = frame(kind::PING, 0, 0, &[1; 8]);
    let second = 1_000_000_000;
    for _ in 0..3 {
        rig.take(&ping).expect("a ping");
    }
    assert!(!rig.server.pinged_too_much(Nanos(second)), "two strikes");
    rig.take(&request(1, b"")).expect("a request");
    rig.told();
    rig.take(&ping).expect("a ping");
    assert!(rig.server.pinged_too_much(Nanos(2 * second)), "answers to pings forgive nothing");
    let mut rig = Rig::new();
    for number in 0..100u32 {
        let stream = 2 * number + 1;
        rig.take(&request(stream, b"")).expect("a request");
        rig.server.answer(stream, OK, |_| {}, DONE).expect("open");
        rig.told();
        rig.take(&ping).expect("a ping");
        assert!(!rig.server.pinged_too_much(Nanos(second)), "answers forgive");
    }
}
