//! What connections may hold, by themselves and together; and that all that was accepted is
//! answered all the same.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use bytes::BytesMut;

use super::frames::{Client, put};
use super::*;
use crate::limits::CONNECTION_BYTES_MAX;
use crate::protocol::Method;
use crate::protocol::frame::{Flags, Opcode, encode_message};

const MIB: usize = 1 << 20;

/// A member of one core with a budget of so many bytes, which the test can look at.
fn rig_with(limit: usize) -> (Rig, Arc<Budget>) {
    let budget = Budget::new(limit, 1);
    let given = budget.clone();
    (Rig::start_with(1, move |settings| settings.budget = given.clone()), budget)
}

fn large_put(stream: u32, key: &str) -> BytesMut {
    let mut frame = BytesMut::new();
    let put = put(key, &vec![b'v'; MIB]);
    encode_message(&mut frame, stream, Opcode::Method(Method::Put), Flags::END, &put);
    frame
}

/// Waits until the member holds next to nothing for its connections.
fn until_released(budget: &Budget) {
    let began = std::time::Instant::now();
    // A core keeps a portion, and each connection the buffer of its output.
    while budget.taken() > 4 * MIB {
        assert!(began.elapsed() < Duration::from_secs(20), "{} are kept", budget.taken());
        thread::yield_now();
    }
}

#[test]
fn a_connection_with_enough_under_way_is_not_read() {
    let (rig, budget) = rig_with(1 << 30);
    let (mut client, _) = Client::connect(&rig, None);
    client.stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    // None is answered. Without a bound all of them are taken in.
    let sent = (0..200).take_while(|at| {
        let frame = large_put(*at + 1, "stall");
        client.stream.write_all(&frame).is_ok()
    });
    assert!(sent.count() < 200, "the server goes on reading");
    let stalled = rig.seen[0].lock().expect("no panic").stalled;
    let most = CONNECTION_BYTES_MAX / MIB + 1;
    assert!((most - 4..=most).contains(&stalled), "{stalled} of {most}");
    assert!(budget.taken() <= CONNECTION_BYTES_MAX + 4 * MIB, "{} are held", budget.taken());
    rig.stop_within(Duration::from_millis(100));
}

/// Connections that were woken together, of which one got the pass, once waited for ever: nobody
/// looked for room for those that asked again.
#[test]
fn a_full_budget_loses_nothing_and_ends_empty() {
    const LIMIT: usize = 8 * MIB;
    let (rig, budget) = rig_with(LIMIT);
    let (clients, puts) = (12, 20);
    thread::scope(|scope| {
        for number in 0..clients {
            let rig = &rig;
            scope.spawn(move || {
                let (mut client, _) = Client::connect(rig, None);
                let mut writing = client.stream.try_clone().expect("a second handle");
                let sending = thread::spawn(move || {
                    for at in 0..puts {
                        let frame = large_put(at + 1, &format!("{number}/{at}"));
                        writing.write_all(&frame).expect("it is read in the end");
                    }
                });
                for _ in 0..puts {
                    let frame = client.frame().expect("an answer");
                    assert!(!frame.header.flags.contains(Flags::ERROR), "{frame:?}");
                }
                sending.join().expect("no panic");
            });
        }
    });
    // The limit, a quarter for shares, a message with what it grows by, and what one read brings.
    let most = LIMIT + LIMIT / 4 + clients * 256 * 1024 + 4 * MIB;
    let held = rig.seen[0].lock().expect("no panic").held_max;
    assert!((LIMIT / 2..most).contains(&held), "{held} bytes were held, of {most}");
    until_released(&budget);
    rig.stop();
}

/// Beginnings of messages fill the budget by themselves, and only their ends can empty it.
#[test]
fn messages_that_fill_the_budget_by_their_beginnings_all_get_whole() {
    let (rig, budget) = rig_with(2 * MIB);
    let mut clients: Vec<Client> = (0..12).map(|_| Client::connect(&rig, None).0).collect();
    let frame = large_put(1, "whole");
    let (first, rest) = frame.split_at(MIB / 2);
    for client in &mut clients {
        client.stream.write_all(first).expect("the socket takes half a message");
    }
    thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(move || {
                client.stream.write_all(rest).expect("it is read in the end");
                let frame = client.frame().expect("an answer");
                assert!(!frame.header.flags.contains(Flags::ERROR), "{frame:?}");
            });
        }
    });
    // A client that holds nothing is served although others fill the budget and say no more.
    let mut silent: Vec<Client> = (0..6).map(|_| Client::connect(&rig, None).0).collect();
    for client in &mut silent {
        client.stream.write_all(first).expect("the socket takes half a message");
    }
    let (mut small, _) = Client::connect(&rig, None);
    for stream in 1..20 {
        small.ask(stream, Method::Put, &put("small", b"value"));
    }
    drop((clients, silent, small));
    until_released(&budget);
    rig.stop();
}

#[test]
fn unread_answers_are_charged_until_they_are_sent() {
    let (rig, budget) = rig_with(1 << 30);
    let (mut writer, _) = Client::connect(&rig, None);
    for at in 0..4 {
        writer.stream.write_all(&large_put(at + 1, &format!("now/{at}"))).expect("a put");
        writer.frame().expect("an answer");
    }
    let (mut reader, _) = Client::connect(&rig, None);
    for at in 0..40 {
        reader.queue(at + 1, Method::Range, &super::frames::get(&format!("now/{}", at % 4)));
    }
    reader.flush();
    let began = std::time::Instant::now();
    // Replies that wait share their values with the store; the frame on its way is charged whole.
    while budget.taken() < MIB {
        assert!(began.elapsed() < Duration::from_secs(20), "only {} are held", budget.taken());
        thread::yield_now();
    }
    assert!(budget.taken() <= 8 * MIB, "{} are held of 40 MiB", budget.taken());
    for _ in 0..40 {
        reader.frame().expect("all answers in the end");
    }
    let mut nothing = [0; 1];
    reader.stream.shutdown(Shutdown::Write).expect("no more");
    assert_eq!(reader.stream.read(&mut nothing).expect("the end"), 0);
    drop(writer);
    until_released(&budget);
    rig.stop();
}

/// Reads until the connection ends; an error is an end too.
fn until_ended(client: &mut Client) {
    let mut byte = [0; 1];
    while matches!(client.stream.read(&mut byte), Ok(1..)) {}
}

#[test]
fn a_silent_client_with_the_pass_does_not_hold_up_others() {
    let budget = Budget::new(MIB, 1);
    let rig = Rig::start_with(1, move |settings| {
        settings.budget = budget.clone();
        settings.stall = Duration::from_secs(3600);
    });
    let frame = large_put(1, "half");
    let mut silent: Vec<Client> = (0..3).map(|_| Client::connect(&rig, None).0).collect();
    for client in &mut silent {
        client.stream.write_all(&frame[..MIB / 2]).expect("the socket takes half a message");
    }
    let (mut live, _) = Client::connect(&rig, None);
    live.stream.write_all(&frame).expect("it is read in the end");
    let answer = live.frame().expect("an answer");
    assert!(!answer.header.flags.contains(Flags::ERROR), "{answer:?}");
    drop(silent);
    rig.stop();
}

#[test]
fn a_client_that_owes_a_rest_is_ended_although_it_is_not_read_from() {
    let budget = Budget::new(MIB, 1);
    let rig = Rig::start_with(1, move |settings| {
        settings.budget = budget.clone();
        settings.stall = Duration::from_millis(200);
    });
    let (mut client, _) = Client::connect(&rig, None);
    // It is never answered, and fills the budget.
    client.stream.write_all(&large_put(1, "stall")).expect("a put");
    let (mut slow, _) = Client::connect(&rig, None);
    // A little more than its share, so that some of it waits in the socket.
    slow.stream.write_all(&large_put(1, "rest")[..MIB / 8 + 1000]).expect("a part");
    until_ended(&mut slow);
    rig.stop_within(Duration::from_millis(100));
}
