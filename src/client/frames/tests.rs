//! The client against a server of frames that a test scripts.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::block_on;
use prost::Message;

use super::exchange::Exchanges;
use super::fake::{Peer, Server, Then, hello};
use crate::client::{Client, Error, Options, Transport, blocking};
use crate::protocol::frame::{
    Flags, Frame, FrameFault, Header, Opcode, encode_close, encode_frame, encode_ping,
};
use crate::protocol::method::Method as Rpc;
use crate::protocol::pb::braidpb::HelloReply;
use crate::protocol::pb::etcdserverpb as pb;
use crate::types::placement::shard_of;

/// Answers a range with its limit, as the count.
fn echo(peer: &mut Peer, frame: &Frame) -> Then {
    let request = pb::RangeRequest::decode(frame.payload.clone()).expect("a range request");
    peer.answer(frame, &pb::RangeResponse { count: request.limit, ..Default::default() });
    Then::GoOn
}

fn range(limit: i64) -> pb::RangeRequest {
    pb::RangeRequest { key: Bytes::from_static(b"k"), limit, ..Default::default() }
}

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), ..Default::default() }
}

#[test]
fn answers_find_their_requests_in_any_order() {
    // Three requests are gathered, then answered last to first.
    let waiting: Mutex<Vec<Frame>> = Mutex::default();
    let server = Server::start(hello(), move |peer, frame| {
        let mut waiting = waiting.lock().expect("no panic before");
        waiting.push(frame);
        if waiting.len() == 3 {
            for frame in waiting.drain(..).rev() {
                echo(peer, &frame);
            }
        }
        Then::GoOn
    });
    let client = block_on(Client::connect(server.options())).expect("the server is up");
    let executor = async_executor::Executor::new();
    let tasks: Vec<_> = (0..63)
        .map(|limit| {
            let client = client.clone();
            executor.spawn(async move { client.range(range(limit)).await.map(|it| it.count) })
        })
        .collect();
    let counts = block_on(executor.run(async {
        let mut counts = Vec::new();
        for task in tasks {
            counts.push(task.await.expect("an answer"));
        }
        counts
    }));
    assert_eq!(counts, (0..63).collect::<Vec<i64>>());
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_server_of_frames_is_spoken_to_in_frames() {
    let server = Server::start(hello(), |peer, frame| echo(peer, &frame));
    let options = Options { transport: Transport::Auto, ..server.options() };
    let client = block_on(Client::connect(options)).expect("the server is up");
    assert_eq!(block_on(client.transport()), Ok(Transport::Frames));
    assert_eq!(block_on(client.range(range(7))).expect("an answer").count, 7);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn an_error_frame_is_the_answer_no() {
    let server = Server::start(hello(), |peer, frame| {
        peer.refuse(&frame, 3, "etcdserver: key is not provided");
        Then::GoOn
    });
    let error = server.client().put(put("")).expect_err("a refusal");
    let message = "etcdserver: key is not provided".to_owned();
    assert_eq!(error, Error::Status { code: 3, message });
}

#[test]
fn a_closed_connection_is_replaced_for_a_read_and_reported_for_a_write() {
    let server = Server::start(hello(), |peer, frame| match (peer.number, frame.header.opcode) {
        (0, _) => Then::Hang,
        (1, opcode) if opcode == Rpc::Put.opcode() => {
            encode_close(&mut peer.out, &FrameFault::Reserved(7));
            Then::Hang
        }
        _ => echo(peer, &frame),
    });
    let client = server.client();
    assert_eq!(client.range(range(7)).expect("the second connection").count, 7);
    let error = client.put(put("k")).expect_err("the outcome is unknown");
    let Error::Lost { sent: true, reason, .. } = &error else { panic!("{error:?}") };
    assert!(reason.contains("reserved bits"), "{reason}");
    assert!(error.outcome_unknown());
    assert_eq!(client.range(range(8)).expect("the third connection").count, 8);
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[test]
fn bytes_that_break_the_protocol_end_the_connection() {
    type Break = fn(&mut Peer, &Frame);
    let cases: [(Break, &str); 3] = [
        (
            |peer, frame| {
                echo(peer, frame);
                let last = peer.out.len() - 1;
                peer.out[last] ^= 1;
            },
            "checksum",
        ),
        (
            |peer, frame| {
                let stream = frame.header.stream + 1;
                encode_frame(&mut peer.out, stream, frame.header.opcode, Flags::END, |_| {});
            },
            "not open",
        ),
        (
            |peer, _| encode_frame(&mut peer.out, 0, 0x10, Flags::END, |_| {}),
            "opcode 0x10 on stream 0",
        ),
    ];
    for (break_it, text) in cases {
        let server = Server::start(hello(), move |peer, frame| {
            break_it(peer, &frame);
            Then::GoOn
        });
        let error = server.client().range(range(1)).expect_err(text);
        assert!(
            matches!(&error, Error::Protocol { reason, .. } if reason.contains(text)),
            "{error:?}"
        );
    }
}

#[test]
fn a_deadline_cancels_the_stream() {
    let (told, hear) = mpsc::channel();
    let server = Server::start(hello(), move |peer, frame| {
        told.send((frame.header.stream, frame.header.flags)).expect("the test listens");
        if frame.header.flags.contains(Flags::CANCEL) {
            peer.refuse(&frame, 1, "context canceled");
        } else if peer.number > 0 {
            echo(peer, &frame);
        }
        Then::GoOn
    });
    let client = block_on(Client::connect(server.options())).expect("the server is up");
    let brief = client.with_timeout(Some(Duration::from_millis(40)));
    let error = block_on(brief.range(range(1))).expect_err("the server stalls");
    assert_eq!(error, Error::Timeout { last: None, sent: true });
    let (stream, flags) = hear.recv().expect("the request");
    assert_eq!(flags, Flags::END);
    assert_eq!(hear.recv().expect("its end"), (stream, Flags::CANCEL));
    // The connection has answered nobody, so the next request makes another.
    assert_eq!(block_on(client.range(range(2))).expect("an answer").count, 2);
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[test]
fn the_number_of_a_cancelled_stream_is_taken_until_the_server_ends_it() {
    let guard = || {
        let room = Arc::new(async_lock::Semaphore::new(1));
        room.try_acquire_arc().expect("a permit")
    };
    let exchanges = Exchanges::new("e".to_owned());
    let opcode = Opcode::Method(Rpc::Range);
    let stream = exchanges.open(guard()).expect("a stream");
    exchanges.close(stream, opcode, true);
    assert!(exchanges.is_taken(stream));
    let header = |flags| Header { length: 0, crc: 0, stream, opcode: 0x10, flags, reserved: 0 };
    let deliver = |flags| {
        let frame = Frame { header: header(flags), payload: Bytes::new() };
        block_on(std::future::poll_fn(|cx| exchanges.poll_deliver(cx, &frame)))
    };
    assert_eq!(deliver(Flags::NONE), Ok(()));
    assert!(exchanges.is_taken(stream));
    assert_eq!(deliver(Flags::END), Ok(()));
    assert!(!exchanges.is_taken(stream));
    assert!(deliver(Flags::END).is_err(), "a second end is a breach");
    let unknown = exchanges.open(guard()).expect("a stream");
    exchanges.close(unknown, opcode, false);
    assert!(!exchanges.is_taken(unknown), "the server was never told of it");
}

#[test]
fn requests_above_the_servers_limit_wait() {
    let under_way = Arc::new(AtomicUsize::new(0));
    let seen_max = Arc::new(AtomicUsize::new(0));
    let (count, max) = (Arc::clone(&under_way), Arc::clone(&seen_max));
    let waiting: Mutex<Vec<Frame>> = Mutex::default();
    let limited = HelloReply { requests_max: 2, ..hello() };
    let server = Server::start(limited, move |peer, frame| {
        let mut waiting = waiting.lock().expect("no panic before");
        waiting.push(frame);
        max.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // A third request would have to come with the first two, were there no limit.
        if waiting.len() == 2 {
            for frame in waiting.drain(..) {
                count.fetch_sub(1, Ordering::SeqCst);
                echo(peer, &frame);
            }
        }
        Then::GoOn
    });
    let client = block_on(Client::connect(server.options())).expect("the server is up");
    let executor = async_executor::Executor::new();
    let tasks: Vec<_> = (0..8)
        .map(|limit| {
            let client = client.clone();
            executor.spawn(async move { client.range(range(limit)).await.map(|it| it.count) })
        })
        .collect();
    block_on(executor.run(async {
        for (limit, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, Ok(limit as i64));
        }
    }));
    assert_eq!(seen_max.load(Ordering::SeqCst), 2);
}

#[test]
fn a_request_on_a_key_goes_to_its_core() {
    let (told, hear) = mpsc::channel();
    let spread = HelloReply { cores: 2, shards: 2, shard_cores: vec![1, 0], ..hello() };
    let server = Server::start(spread, move |peer, frame| {
        told.send(peer.hello.core).expect("the test listens");
        peer.answer(&frame, &pb::PutResponse::default());
        Then::GoOn
    });
    let client = server.client();
    for key in ["a", "b", "c", "d", "e", "f"] {
        client.put(put(key)).expect("an answer");
        let core = hear.recv().expect("a request").unwrap_or(0);
        assert_eq!(core, 1 - u32::from(shard_of(key.as_bytes(), 2).0), "{key}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    let shared = Options { core_connections: false, ..server.options() };
    let client = blocking::Client::connect(shared).expect("the server is up");
    for key in ["a", "b", "c", "d", "e", "f"] {
        client.put(put(key)).expect("an answer");
        assert_eq!(hear.recv().expect("a request"), None);
    }
}

#[test]
fn a_stream_of_answers_ends_with_or_without_a_last_message() {
    for bare in [false, true] {
        let server = Server::start(hello(), move |peer, frame| {
            assert_eq!(frame.header.flags, Flags::END, "one frame opens and ends the request");
            for count in 1..=100 {
                let flags = if count == 100 && !bare { Flags::END } else { Flags::NONE };
                let part = pb::RangeResponse { count, ..Default::default() };
                peer.part(&frame, flags, &pb::RangeStreamResponse { range_response: Some(part) });
            }
            if bare {
                let (stream, opcode) = (frame.header.stream, frame.header.opcode);
                encode_frame(&mut peer.out, stream, opcode, Flags::END | Flags::BARE, |_| {});
            }
            Then::GoOn
        });
        let client = block_on(Client::connect(server.options())).expect("the server is up");
        let mut stream = block_on(client.range_stream(range(0))).expect("a stream");
        for count in 1..=100 {
            let part = block_on(stream.next()).expect("a part").expect("not the end");
            assert_eq!(part.range_response.expect("a range").count, count);
        }
        assert_eq!(block_on(stream.next()), Ok(None));
        assert_eq!(block_on(stream.next()), Ok(None));
    }
}

#[test]
fn a_ping_is_answered_in_kind() {
    let (told, hear) = mpsc::channel();
    let server = Server::start(hello(), move |peer, frame| {
        if frame.header.opcode == 0x02 {
            told.send((frame.header.flags, frame.payload)).expect("the test listens");
            return Then::GoOn;
        }
        encode_ping(&mut peer.out, Flags::NONE, b"well?");
        echo(peer, &frame)
    });
    assert_eq!(server.client().range(range(3)).expect("an answer").count, 3);
    assert_eq!(hear.recv().expect("a pong"), (Flags::END, Bytes::from_static(b"well?")));
}

#[test]
fn a_message_above_the_servers_limit_is_not_sent() {
    let small = HelloReply { payload_bytes_max: 10, ..hello() };
    let server = Server::start(small, |peer, frame| {
        peer.answer(&frame, &pb::PutResponse::default());
        Then::GoOn
    });
    let client = server.client();
    let error = client.put(put("0123456789")).expect_err("too large");
    let message = "trying to send message larger than max (12 vs. 10)".to_owned();
    assert_eq!(error, Error::Status { code: 8, message });
    client.put(put("small")).expect("the connection is as good as before");
}

#[test]
fn the_token_is_in_the_hello() {
    let server = Server::start(hello(), |peer, frame| {
        if frame.header.opcode == Rpc::Authenticate.opcode() {
            let token = "t.1".to_owned();
            peer.answer(&frame, &pb::AuthenticateResponse { token, ..Default::default() });
            return Then::GoOn;
        }
        match peer.hello.token.as_str() {
            "t.1" => return echo(peer, &frame),
            _ => peer.refuse(&frame, 3, "etcdserver: user name is empty"),
        }
        Then::GoOn
    });
    let client = block_on(Client::connect(server.options())).expect("the server is up");
    assert!(block_on(client.range(range(1))).is_err());
    let client = block_on(client.authenticate("root", "pw")).expect("a token");
    assert_eq!(block_on(client.range(range(1))).expect("an answer").count, 1);
}

#[test]
fn a_server_that_speaks_no_frames_is_told_from_a_dead_one() {
    for (answer, text) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not speak frames"),
        (b"", "may not speak frames, only gRPC"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut piece = [0; 4096];
            let _ = stream.read(&mut piece);
            let _ = stream.write_all(answer);
        });
        let options = Options::endpoints([address.to_string()]);
        let options = Options { transport: Transport::Frames, ..options };
        let error = blocking::Client::connect(options).err();
        let error = error.expect("nobody speaks frames there").to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn another_version_is_refused_by_name() {
    let other = HelloReply { protocol_version: 9, ..hello() };
    let server = Server::start(other, |_, _| Then::Hang);
    let error = blocking::Client::connect(server.options()).err().expect("another version");
    assert!(error.to_string().contains("version 9"), "{error}");
}
