//! The client against a gRPC server of a few lines, which answers, refuses, breaks and stalls.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_io::Async;
use bytes::{BufMut, Bytes, BytesMut};
use futures_lite::future::block_on;
use prost::Message;

use super::socket::{Socket, TokioSocket};
use super::*;
use crate::protocol::pb::etcdserverpb as pb;

/// What the server does with a request.
enum Act {
    Answer(Vec<Bytes>),
    Refuse(u32, &'static str),
    /// Close the connection without a word.
    Hang,
    /// Keep the request and never answer.
    Stall,
}

/// The ways in which a server that knows no frames meets them.
#[derive(Clone, Copy, Debug)]
enum ToFrames {
    Close,
    /// As etcd's HTTP/1 half does.
    BadRequest,
    Silence,
}

/// What the server knows of a request.
struct Seen {
    path: String,
    token: Option<String>,
    message: Bytes,
    /// How many requests the server has seen before.
    before: usize,
}

struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Serves until the test's process ends.
    fn start(act: impl Fn(Seen) -> Act + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (requests, connections) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let server = Server {
            address,
            requests: Arc::clone(&requests),
            connections: Arc::clone(&connections),
        };
        let act = Arc::new(act);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::SeqCst);
                let (act, requests) = (Arc::clone(&act), Arc::clone(&requests));
                std::thread::spawn(move || {
                    let stream = Async::new(stream).expect("a socket can be non-blocking");
                    block_on(serve(Socket::Tcp(stream), &*act, &requests));
                });
            }
        });
        server
    }

    /// As [`Server::start`], with something else than HTTP/2's answer to frames.
    fn without_frames(reaction: ToFrames, act: fn(Seen) -> Act) -> Server {
        let backend = Server::start(act);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let server = Server { address, ..backend };
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut first = [0; 1];
                stream.peek(&mut first).expect("a client says something");
                match reaction {
                    _ if first == *b"P" => relay(stream, backend.address),
                    ToFrames::Close => drop(stream),
                    ToFrames::BadRequest => {
                        let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400";
                        stream.write_all(answer).expect("the client reads");
                    }
                    ToFrames::Silence => silent.push(stream),
                }
            }
        });
        server
    }

    fn options(&self) -> Options {
        Options { transport: Transport::Grpc, ..Options::endpoints([self.address.to_string()]) }
    }
}

/// Passes bytes on, both ways, until either side ends.
fn relay(client: TcpStream, to: SocketAddr) {
    let server = TcpStream::connect(to).expect("the server is up");
    let pairs = [(&client, &server), (&server, &client)]
        .map(|(from, to)| (from.try_clone(), to.try_clone()));
    for (from, to) in pairs {
        let (mut from, mut to) = (from.expect("a handle"), to.expect("a handle"));
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
}

async fn serve(socket: Socket, act: &impl Fn(Seen) -> Act, requests: &AtomicUsize) {
    let Ok(mut connection) = h2::server::handshake(TokioSocket(socket)).await else { return };
    let mut stalled = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let header = |name| {
            let value = request.headers().get(name)?;
            Some(value.to_str().expect("a readable header").to_owned())
        };
        let token = header("token");
        let path = request.uri().path().to_owned();
        let mut body = request.into_body();
        let mut bytes = BytesMut::new();
        let read = async {
            while let Some(Ok(piece)) = body.data().await {
                body.flow_control().release_capacity(piece.len()).expect("what was received");
                bytes.extend_from_slice(&piece);
            }
            true
        };
        // The body arrives only while the connection is polled.
        let drive = async {
            let _ = std::future::poll_fn(|cx| connection.poll_closed(cx)).await;
            false
        };
        if !read.or(drive).await {
            return;
        }
        let before = requests.fetch_add(1, Ordering::SeqCst);
        let message = bytes.freeze().slice(5..);
        match act(Seen { path, token, message, before }) {
            Act::Hang => return,
            Act::Stall => stalled.push(respond),
            Act::Refuse(code, text) => {
                let head = http::Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", code)
                    .header("grpc-message", text);
                let head = head.body(()).expect("a response head");
                let _ = respond.send_response(head, true);
            }
            Act::Answer(messages) => {
                let head = http::Response::builder().header("content-type", "application/grpc");
                let head = head.body(()).expect("a response head");
                let Ok(mut stream) = respond.send_response(head, false) else { continue };
                for message in messages {
                    let mut frame = BytesMut::new();
                    frame.put_u8(0);
                    frame.put_u32(message.len() as u32);
                    frame.put(message);
                    let _ = stream.send_data(frame.freeze(), false);
                }
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                let _ = stream.send_trailers(trailers);
            }
        }
    }
}

fn answer(message: &impl Message) -> Act {
    Act::Answer(vec![message.encode_to_vec().into()])
}

/// Answers a range with its key, as the count.
fn echo(seen: &Seen) -> Act {
    let request = pb::RangeRequest::decode(&seen.message[..]).expect("a range request");
    answer(&pb::RangeResponse { count: request.limit, ..Default::default() })
}

fn range(limit: i64) -> pb::RangeRequest {
    pb::RangeRequest { key: Bytes::from_static(b"k"), limit, ..Default::default() }
}

#[test]
fn many_tasks_share_one_connection() {
    let server = Server::start(|seen| echo(&seen));
    let client = block_on(Client::connect(server.options())).expect("the server is up");
    let executor = async_executor::Executor::new();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let client = client.clone();
            executor.spawn(async move {
                for round in 0..20 {
                    let limit = task * 1000 + round;
                    let answer = client.range(range(limit)).await.expect("an answer");
                    assert_eq!(answer.count, limit);
                }
            })
        })
        .collect();
    block_on(executor.run(async {
        for task in tasks {
            task.await;
        }
    }));
    assert_eq!(server.requests.load(Ordering::SeqCst), 64 * 20);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_server_without_frames_is_spoken_to_in_grpc() {
    for reaction in [ToFrames::Close, ToFrames::BadRequest, ToFrames::Silence] {
        let server = Server::without_frames(reaction, |seen| match &*seen.path {
            "/etcdserverpb.KV/Put" => answer(&pb::PutResponse::default()),
            _ => echo(&seen),
        });
        let options = Options { transport: Transport::Auto, ..server.options() };
        let client = block_on(Client::connect(options)).expect("the server is up");
        assert_eq!(block_on(client.transport()), Ok(Transport::Grpc), "{reaction:?}");
        assert_eq!(block_on(client.range(range(7))).expect("an answer").count, 7);
        // Nothing was sent before, so a write may be repeated as well.
        block_on(client.put(pb::PutRequest::default())).expect("an answer");
        assert_eq!(server.requests.load(Ordering::SeqCst), 2);
        let frames = Options { transport: Transport::Frames, ..server.options() };
        let frames = Options { dial_timeout: Some(Duration::from_millis(100)), ..frames };
        let error = block_on(Client::connect(frames)).err().expect("frames alone do not reach it");
        let said = error.to_string();
        assert!(said.contains("speak") || said.contains("reset"), "{reaction:?}: {said}");
    }
    assert_eq!(Options::default().transport, Transport::Auto);
}

#[test]
fn without_a_limit_a_dial_waits_as_long_as_the_request() {
    let server = Server::start(|seen| echo(&seen));
    for transport in [Transport::Auto, Transport::Grpc] {
        let options = Options { transport, dial_timeout: None, ..server.options() };
        let client = blocking::Client::connect(options).expect("the server is up");
        assert_eq!(client.range(range(7)).expect("an answer").count, 7);
    }
}

#[test]
fn a_refusal_comes_with_code_and_text_and_is_not_repeated() {
    let text = "etcdserver: mvcc: required revision has been compacted";
    let server = Server::start(move |_| Act::Refuse(11, text));
    let client = blocking::Client::lazy(server.options()).expect("good options");
    let error = client.range(range(0)).expect_err("a refusal");
    assert_eq!(error, Error::Status { code: 11, message: text.to_owned() });
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[test]
fn a_read_is_repeated_while_unavailable_and_a_write_is_not() {
    let server = Server::start(|seen| match seen.before {
        0 | 2 => Act::Refuse(14, "etcdserver: leader changed"),
        _ => echo(&seen),
    });
    let client = blocking::Client::lazy(server.options()).expect("good options");
    assert_eq!(client.range(range(7)).expect("the second attempt").count, 7);
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
    let error = client.put(pb::PutRequest::default()).expect_err("no second attempt");
    assert_eq!(error.to_string(), "etcdserver: leader changed");
    assert!(error.outcome_unknown());
    assert_eq!(server.requests.load(Ordering::SeqCst), 3);
}

#[test]
fn a_lost_connection_is_replaced_for_a_read_and_reported_for_a_write() {
    let server = Server::start(|seen| match seen.before {
        0 | 2 => Act::Hang,
        _ => echo(&seen),
    });
    let client = blocking::Client::lazy(server.options()).expect("good options");
    assert_eq!(client.range(range(7)).expect("the second connection").count, 7);
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    let error = client.put(pb::PutRequest::default()).expect_err("the outcome is unknown");
    assert!(matches!(error, Error::Lost { sent: true, .. }) && error.outcome_unknown());
    assert_eq!(server.requests.load(Ordering::SeqCst), 3);
    assert_eq!(client.range(range(8)).expect("the third connection").count, 8);
}

#[test]
fn a_dead_endpoint_is_passed_over_also_for_a_write() {
    let server = Server::start(|_| answer(&pb::PutResponse::default()));
    let dead = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let options = Options {
        endpoints: vec![dead.to_string(), server.address.to_string()],
        ..server.options()
    };
    let client = blocking::Client::connect(options).expect("the second endpoint is up");
    client.put(pb::PutRequest::default()).expect("an answer");
    let alone = Options { endpoints: vec![dead.to_string()], ..server.options() };
    let error = blocking::Client::connect(alone.clone()).err().expect("nobody is there");
    assert!(matches!(&error, Error::Connect { endpoint, .. } if *endpoint == dead.to_string()));
    let brief = Options { request_timeout: Some(Duration::from_millis(60)), ..alone };
    let client = blocking::Client::lazy(brief).expect("good options");
    let error = client.put(pb::PutRequest::default()).expect_err("nobody is there");
    let Error::Timeout { last: Some(last), sent: false } = &error else { panic!("{error:?}") };
    assert!(last.contains("cannot connect"), "{last}");
    assert!(!error.outcome_unknown());
}

#[test]
fn a_connection_that_answers_nobody_is_replaced_after_a_deadline() {
    let server = Server::start(|seen| match seen.before {
        0 => Act::Stall,
        _ => echo(&seen),
    });
    let client = block_on(Client::connect(server.options())).expect("the server is up");
    let brief = client.with_timeout(Some(Duration::from_millis(50)));
    let started = Instant::now();
    let error = block_on(brief.range(range(1))).expect_err("the server stalls");
    assert_eq!(error, Error::Timeout { last: None, sent: true });
    assert_eq!(error.to_string(), "context deadline exceeded");
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!(block_on(client.range(range(2))).expect("the next is answered").count, 2);
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_deadline_ends_a_stalled_request_and_only_that() {
    let server = Server::start(|seen| match seen.before {
        0 => Act::Stall,
        _ => echo(&seen),
    });
    let client = block_on(Client::connect(server.options())).expect("the server is up");
    let brief = client.with_timeout(Some(Duration::from_millis(200)));
    let stalled = async {
        let error = brief.range(range(1)).await.expect_err("the server stalls");
        assert_eq!(error, Error::Timeout { last: None, sent: true });
    };
    // Polled second, so the server sees it second.
    let answered = async {
        assert_eq!(client.range(range(2)).await.expect("an answer").count, 2);
    };
    block_on(futures_lite::future::zip(stalled, answered));
    assert_eq!(block_on(client.range(range(3))).expect("an answer").count, 3);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn the_parts_of_a_range_stream_are_put_together() {
    let part = |key: &'static [u8], count, revision| {
        let kv = crate::protocol::pb::mvccpb::KeyValue {
            key: Bytes::from_static(key),
            ..Default::default()
        };
        let header = pb::ResponseHeader { revision, ..Default::default() };
        let header = (revision != 0).then_some(header);
        let whole = pb::RangeResponse { header, kvs: vec![kv], count, more: false };
        let part = pb::RangeStreamResponse { range_response: Some(whole) };
        Bytes::from(part.encode_to_vec())
    };
    let server = Server::start(move |seen| {
        assert_eq!(seen.path, "/etcdserverpb.KV/RangeStream");
        Act::Answer(vec![part(b"a", 0, 0), part(b"b", 0, 0), part(b"c", 3, 9)])
    });
    let client = block_on(Client::connect(server.options())).expect("the server is up");
    let whole = block_on(client.range_stream_collect(range(0))).expect("an answer");
    let keys: Vec<&[u8]> = whole.kvs.iter().map(|kv| &kv.key[..]).collect();
    assert_eq!(keys, [b"a", b"b", b"c"]);
    assert_eq!((whole.count, whole.header.map(|header| header.revision)), (3, Some(9)));
}

#[test]
fn large_messages_pass_the_windows_both_ways() {
    let server = Server::start(|seen| {
        let request = pb::PutRequest::decode(&seen.message[..]).expect("a put request");
        let value = request.value;
        let prev_kv = crate::protocol::pb::mvccpb::KeyValue { value, ..Default::default() };
        answer(&pb::PutResponse { prev_kv: Some(prev_kv), ..Default::default() })
    });
    let client = blocking::Client::connect(server.options()).expect("the server is up");
    let value = Bytes::from(vec![7; 1 << 20]);
    let request = pb::PutRequest { value: value.clone(), ..Default::default() };
    let answer = client.put(request).expect("an answer");
    assert_eq!(answer.prev_kv.expect("a previous value").value, value);
}

#[test]
fn the_token_rides_along() {
    let server = Server::start(|seen| match &*seen.path {
        "/etcdserverpb.Auth/Authenticate" => {
            answer(&pb::AuthenticateResponse { token: "t.1".to_owned(), ..Default::default() })
        }
        _ if seen.token.as_deref() == Some("t.1") => echo(&seen),
        _ => Act::Refuse(3, "etcdserver: user name is empty"),
    });
    let client = block_on(Client::connect(server.options())).expect("the server is up");
    assert!(block_on(client.range(range(1))).is_err());
    let client = block_on(client.authenticate("root", "pw")).expect("a token");
    assert_eq!(block_on(client.range(range(1))).expect("an answer").count, 1);
}

#[test]
fn an_answer_that_breaks_the_rules_is_an_error() {
    for messages in [vec![], vec![Bytes::new(), Bytes::new()], vec![Bytes::from_static(b"\xff")]] {
        let server = Server::start(move |_| Act::Answer(messages.clone()));
        let client = blocking::Client::connect(server.options()).expect("the server is up");
        let error = client.range(range(0)).expect_err("the answer is broken");
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
}

#[test]
fn bad_options_are_refused() {
    let none: [&str; 0] = [];
    for endpoints in [Options::endpoints(none), Options::endpoints(["https://a:1"])] {
        assert!(matches!(Client::lazy(endpoints), Err(Error::Invalid(_))));
    }
}
