//! gRPC by h2's client, and HTTP/2 by hand where that is too well-behaved.

use std::io::{Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::{HeaderMap, Request as HttpRequest};
use bytes::{BufMut, Bytes, BytesMut};
use futures_lite::future::block_on;
use futures_lite::{AsyncRead as _, AsyncWrite as _};
use h2::client::SendRequest;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{get, put};
use super::*;
use crate::protocol::pb::{etcdserverpb as pb, grpc::health::v1 as health};

struct Socket(async_io::Async<TcpStream>);

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let result = Pin::new(&mut self.0).poll_read(cx, target.initialize_unfilled());
        result.map_ok(|count| target.advance(count))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// Runs `body` with a connection; returns what it returns.
pub(super) fn with_client<T, F: Future<Output = T>>(
    rig: &Rig,
    body: impl FnOnce(SendRequest<Bytes>) -> F,
) -> T {
    block_on(with_client_async(rig, body))
}

pub(super) async fn with_client_async<T, F: Future<Output = T>>(
    rig: &Rig,
    body: impl FnOnce(SendRequest<Bytes>) -> F,
) -> T {
    let socket = Socket(async_io::Async::new(rig.connect()).expect("socket"));
    let handshake = h2::client::Builder::new()
        .initial_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .handshake::<_, Bytes>(socket);
    let (client, connection) = handshake.await.expect("handshake");
    let driving = async {
        let ended = connection.await;
        // What the body waits for tells it; it is the body that ends the test.
        drop(ended);
        std::future::pending::<T>().await
    };
    futures_lite::future::or(body(client), driving).await
}

pub(super) fn frame(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.encoded_len() as u32);
    message.encode(&mut bytes).expect("room");
    bytes.freeze()
}

pub(super) fn request(path: &str) -> ::http::request::Builder {
    HttpRequest::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) http: u16,
    pub(super) messages: Vec<u8>,
    pub(super) code: u32,
    pub(super) text: String,
}

impl Ended {
    pub(super) fn message<M: Message + Default>(&self) -> M {
        assert_eq!((self.code, self.messages[0]), (0, 0), "{self:?}");
        M::decode(&self.messages[5..]).expect("a message")
    }
}

pub(super) async fn ended(response: h2::client::ResponseFuture) -> Ended {
    let (head, mut body) = response.await.expect("an answer").into_parts();
    let mut messages = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.expect("data");
        body.flow_control().release_capacity(piece.len()).expect("window");
        messages.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await.expect("trailers").unwrap_or(head.headers);
    let text = |name| {
        let value = trailers.get(name).map(|value| value.to_str().expect("ASCII"));
        value.unwrap_or_default().to_owned()
    };
    Ended {
        http: head.status.as_u16(),
        messages,
        code: text("grpc-status").parse().expect("a status"),
        text: crate::protocol::grpc::percent_decode(&text("grpc-message")),
    }
}

pub(super) async fn call(client: &SendRequest<Bytes>, path: &str, message: &impl Message) -> Ended {
    let mut client = client.clone().ready().await.expect("room");
    let request = request(path).body(()).expect("a request");
    let (response, mut body) = client.send_request(request, false).expect("sent");
    body.send_data(frame(message), true).expect("sent");
    ended(response).await
}

pub(super) const PUT: &str = "/etcdserverpb.KV/Put";
pub(super) const RANGE: &str = "/etcdserverpb.KV/Range";
const STREAM: &str = "/etcdserverpb.KV/RangeStream";

#[test]
fn put_get_and_a_thousand_at_once() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let reply: pb::PutResponse = call(&client, PUT, &put("a", b"1")).await.message();
        let header = reply.header.expect("a header");
        assert_eq!((header.revision, header.cluster_id, header.raft_term), (2, 0xC1, 2));
        let reply: pb::RangeResponse = call(&client, RANGE, &get("a")).await.message();
        assert_eq!(&reply.kvs[0].value[..], b"1");
        let big = vec![7; 1 << 20];
        let reply: pb::PutResponse = call(&client, PUT, &put("big", &big)).await.message();
        assert_eq!(reply.header.expect("a header").revision, 3);
        let reply: pb::RangeResponse = call(&client, RANGE, &get("big")).await.message();
        assert_eq!(reply.kvs[0].value, big);

        let mut client = client.ready().await.expect("room");
        let mut responses = Vec::new();
        for key in 0..1000 {
            let (response, mut body) = client
                .send_request(request(PUT).body(()).expect("a request"), false)
                .expect("sent");
            body.send_data(frame(&put(&format!("now-{key}"), b"v")), true).expect("sent");
            responses.push(response);
        }
        let mut revisions = Vec::new();
        for response in responses {
            let reply: pb::PutResponse = ended(response).await.message();
            revisions.push(reply.header.expect("a header").revision);
        }
        // Streams of HTTP/2 are independent: each was carried out, in whatever order.
        revisions.sort_unstable();
        assert_eq!(revisions, (4..1004).collect::<Vec<_>>());
    });
    rig.stop();
}

#[test]
fn errors_are_trailers_only_and_say_what_grpc_go_says() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let told = async |path: &str| {
            let ended = call(&client, path, &put("", b"")).await;
            assert_eq!((ended.http, ended.messages.len()), (200, 0));
            (ended.code, ended.text)
        };
        let text = |code: u32, text: &str| (code, text.to_owned());
        assert_eq!(told(PUT).await, text(3, "etcdserver: key is not provided"));
        assert_eq!(told("/x.Y/Z").await, text(12, "unknown service x.Y"));
        assert_eq!(
            told("/etcdserverpb.KV/Rage").await,
            text(12, "unknown method Rage for service etcdserverpb.KV")
        );
        assert_eq!(told("/etcdserverpb.Auth/AuthEnable").await.0, 12);

        let mut ready = client.clone().ready().await.expect("room");
        let mut refused = async |request: ::http::request::Builder, body: Bytes| {
            let request = request.body(()).expect("a request");
            let (response, mut sending) = ready.send_request(request, false).expect("sent");
            // It may be reset before all of it is sent; that is told by the answer.
            let _ = sending.send_data(body, true);
            let ended = ended(response).await;
            (ended.http, ended.code, ended.text)
        };
        let json = HttpRequest::post("http://localhost/etcdserverpb.KV/Put")
            .header("content-type", "application/json");
        let (http, code, told) = refused(json, Bytes::new()).await;
        assert_eq!((http, code), (415, 3));
        assert_eq!(told, "invalid gRPC request content-type \"application/json\"");
        let slow = request(PUT).header("grpc-timeout", "5x");
        assert_eq!(refused(slow, Bytes::new()).await.1, 13);
        let (_, code, told) = refused(request(PUT), Bytes::from(vec![0, 0x7F, 0, 0, 0])).await;
        assert_eq!(
            (code, &*told),
            (8, "grpc: received message larger than max (2130706432 vs. 2097152)")
        );
        let (_, code, _) = refused(request(PUT), Bytes::from_static(b"\0\0\0\0\x01\xFF")).await;
        assert_eq!(code, 13, "bytes that are no message");
        let ended = async |path: &str, body: &'static [u8]| {
            let mut client = client.clone().ready().await.expect("room");
            let request = request(path).body(()).expect("a request");
            let (response, mut sending) = client.send_request(request, false).expect("sent");
            let _ = sending.send_data(Bytes::from_static(body), true);
            let ended = super::grpc::ended(response).await;
            (ended.code, ended.text)
        };
        // Unfinished messages: Go's server has a code for calls, and another for streams.
        let half = b"\0\0\0\0\x09abc";
        assert_eq!(ended(PUT, half).await, text(2, "unexpected EOF"));
        assert_eq!(ended(STREAM, half).await, text(13, "unexpected EOF"));
        assert_eq!(ended("/etcdserverpb.Watch/Watch", half).await, text(13, "unexpected EOF"));
        for nothing in [&b""[..], b"\0\0\0"] {
            assert_eq!(ended(PUT, nothing).await, text(2, "EOF"));
            let (code, told) = ended(STREAM, nothing).await;
            assert_eq!((code, &told[..21]), (13, "cardinality violation"));
        }
    });
    rig.stop();
}

#[test]
fn a_deadline_passes_and_a_reset_cancels() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let mut client = client.ready().await.expect("room");
        let mut start = |request: ::http::request::Builder| {
            let request = request.body(()).expect("a request");
            let (response, mut body) = client.send_request(request, false).expect("sent");
            body.send_data(frame(&get("stall")), true).expect("sent");
            (response, body)
        };
        let (late, _) = start(request(RANGE).header("grpc-timeout", "30m"));
        let ended = ended(late).await;
        assert_eq!((ended.code, &*ended.text), (4, "context deadline exceeded"));
        for path in [RANGE, "/etcdserverpb.Watch/Watch", "/x.Y/Z"] {
            let request = request(path).header("grpc-timeout", "0n").body(()).expect("a request");
            let (response, mut body) = client.send_request(request, false).expect("sent");
            let _ = body.send_data(frame(&get("now-a")), true);
            let ended = super::grpc::ended(response).await;
            assert_eq!((ended.code, &*ended.text), (4, "context deadline exceeded"), "{path}");
        }
        let mut start = |request: ::http::request::Builder| {
            let request = request.body(()).expect("a request");
            let (response, mut body) = client.send_request(request, false).expect("sent");
            body.send_data(frame(&get("stall")), true).expect("sent");
            (response, body)
        };
        let (gone, mut body) = start(request(RANGE));
        let (_waiting, _body) = start(request(RANGE));
        // Answered after both have arrived.
        let health = call(&client, "/grpc.health.v1.Health/Check", &get("x")).await;
        assert_eq!(health.code, 5, "the bytes of a range ask for the health of x");
        body.send_reset(h2::Reason::CANCEL);
        assert!(gone.await.is_err());
        call(&client, PUT, &put("k", b"v")).await;
        rig.until(|seen| seen.cancelled.len() == 1);
    });
    // The connection is gone, and with it the request that was still waiting.
    rig.until(|seen| seen.cancelled.len() == 2);
    rig.stop();
}

#[test]
fn health_is_checked_and_watched() {
    let rig = Rig::start(1);
    let check = |service: &str| health::HealthCheckRequest { service: service.to_owned() };
    let (sender, receiver) = std::sync::mpsc::channel();
    with_client(&rig, async |client| {
        let path = "/grpc.health.v1.Health/Check";
        let reply: health::HealthCheckResponse = call(&client, path, &check("")).await.message();
        assert_eq!(reply.status, 1, "serving");
        let ended = call(&client, path, &check("x")).await;
        assert_eq!((ended.code, &*ended.text), (5, "unknown service"));
    });
    let address = rig.address;
    let watching = std::thread::spawn(move || {
        let rig = Reached { address };
        rig.with_client(async |client| {
            let mut client = client.ready().await.expect("room");
            let head = request("/grpc.health.v1.Health/Watch").body(()).expect("a request");
            let (response, mut body) = client.send_request(head, false).expect("sent");
            body.send_data(frame(&check("")), true).expect("sent");
            let mut body = response.await.expect("an answer").into_body();
            let first = body.data().await.expect("a state").expect("a state");
            sender.send(first).expect("the test waits");
            let last = body.data().await.expect("a state").expect("a state");
            sender.send(last).expect("the test waits");
            let trailers: HeaderMap = body.trailers().await.expect("an end").expect("trailers");
            assert_eq!(trailers["grpc-status"], "14");
        });
    });
    let serving = receiver.recv_timeout(Duration::from_secs(20)).expect("a state");
    assert_eq!(&serving[..], b"\0\0\0\0\x02\x08\x01");
    rig.stop();
    let stopped = receiver.recv_timeout(Duration::from_secs(20)).expect("a state");
    assert_eq!(&stopped[..], b"\0\0\0\0\x02\x08\x02");
    watching.join().expect("no panic");
}

/// A rig of another thread.
pub(super) struct Reached {
    pub(super) address: SocketAddr,
}

impl Reached {
    pub(super) fn with_client<T, F: Future<Output = T>>(
        &self,
        body: impl FnOnce(SendRequest<Bytes>) -> F,
    ) -> T {
        let stream = TcpStream::connect(self.address).expect("connect");
        block_on(async {
            let socket = Socket(async_io::Async::new(stream).expect("socket"));
            let (client, connection) = h2::client::handshake(socket).await.expect("handshake");
            let driving = async {
                drop(connection.await);
                std::future::pending::<T>().await
            };
            futures_lite::future::or(body(client), driving).await
        })
    }
}

#[test]
fn shutdown_says_go_away_and_answers_what_is_under_way() {
    let rig = Rig::start(1);
    let address = rig.address;
    let (sender, receiver) = std::sync::mpsc::channel();
    let asking = std::thread::spawn(move || {
        Reached { address }.with_client(async |client| {
            let mut ready = client.clone().ready().await.expect("room");
            let head = request(RANGE).header("grpc-timeout", "400m").body(()).expect("a request");
            let (response, mut body) = ready.send_request(head, false).expect("sent");
            body.send_data(frame(&get("stall")), true).expect("sent");
            call(&client, PUT, &put("k", b"v")).await;
            sender.send(()).expect("the test waits");
            ended(response).await.code
        })
    });
    receiver.recv_timeout(Duration::from_secs(20)).expect("it is under way");
    let began = std::time::Instant::now();
    rig.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "it did not wait for the limit");
    assert_eq!(asking.join().expect("no panic"), 4, "answered during the shutdown");
}

#[test]
fn a_range_stream_comes_in_parts() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        for key in 0..100 {
            call(&client, PUT, &put(&format!("key{key:03}"), &[b'v'; 100])).await;
        }
        let mut range = get("key");
        range.range_end = Bytes::from_static(b"kez");
        let ended = call(&client, STREAM, &range).await;
        assert_eq!(ended.code, 0);
        let mut rest = &ended.messages[..];
        let mut merged = pb::RangeResponse::default();
        let mut parts = 0;
        while let [0, a, b, c, d, tail @ ..] = rest {
            let (message, tail) = tail.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
            let part = pb::RangeStreamResponse::decode(message).expect("a message");
            merged.merge(&part.range_response.expect("a part").encode_to_vec()[..]).expect("ok");
            rest = tail;
            parts += 1;
        }
        assert!(parts >= 4 && rest.is_empty());
        assert_eq!((merged.kvs.len(), merged.count, merged.more), (100, 100, false));
        let mut sorted = range.clone();
        sorted.sort_order = 2;
        assert_eq!(call(&client, STREAM, &sorted).await.code, 12);
    });
    rig.stop();
}

/// Frames of HTTP/2 by hand.
pub(super) fn http2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_client_that_pings_without_end_is_sent_away() {
    let rig = Rig::start(1);
    let mut stream = rig.connect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("write");
    stream.write_all(&http2(4, 0, 0, &[])).expect("write");
    stream.write_all(&http2(4, 1, 0, &[])).expect("write");
    for _ in 0..4 {
        stream.write_all(&http2(6, 0, 0, &[9; 8])).expect("write");
    }
    let mut told = Vec::new();
    stream.read_to_end(&mut told).expect("the connection ends");
    let text = b"too_many_pings";
    assert!(told.windows(text.len()).any(|window| window == text), "{told:?}");
    rig.stop();
}

#[test]
fn a_client_that_measures_the_way_reads_large_values() {
    let rig = Rig::start(1);
    let big = vec![7; 1 << 20];
    with_client(&rig, async |client| {
        call(&client, PUT, &put("big", &big)).await;
    });
    block_on(async {
        let socket = Socket(async_io::Async::new(rig.connect()).expect("socket"));
        // grpc-go's first windows, so that a value comes in many turns.
        let handshake = h2::client::Builder::new().handshake::<_, Bytes>(socket);
        let (client, mut connection) = handshake.await.expect("handshake");
        let mut pings = connection.ping_pong().expect("the first to ask");
        let driving = async {
            panic!("the connection ended: {:?}", connection.await);
        };
        let mut sent = 0;
        let reading = async {
            for _ in 0..20 {
                let mut client = client.clone().ready().await.expect("room");
                let head = request(RANGE).body(()).expect("a request");
                let (response, mut body) = client.send_request(head, false).expect("sent");
                body.send_data(frame(&get("big")), true).expect("sent");
                let mut body = response.await.expect("an answer").into_body();
                while let Some(piece) = body.data().await {
                    let count = piece.expect("data").len();
                    body.flow_control().release_capacity(count).expect("window");
                    // As grpc-go: a ping for every piece while none is under way.
                    let waker = std::task::Waker::noop();
                    let _ = pings.poll_pong(&mut Context::from_waker(waker));
                    sent += u32::from(pings.send_ping(h2::Ping::opaque()).is_ok());
                }
            }
        };
        futures_lite::future::or(reading, driving).await;
        assert!(sent > 100, "a test of pings: {sent}");
    });
    rig.stop();
}

/// One message under gzip, with its prefix.
fn packed(message: &impl Message) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(1);
    out.put_u32(0);
    let mut packing = crate::protocol::grpc::Deflater::new(message.encode_to_vec().into(), out);
    let mut out = loop {
        if let Some(out) = packing.step() {
            break out;
        }
    };
    crate::protocol::grpc::write_prefix(&mut out, true).expect("small");
    out.freeze()
}

/// The messages of a body, unpacked if they are packed.
fn unpacked(mut body: &[u8]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let [format, a, b, c, d, rest @ ..] = body {
        let (message, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        assert_eq!(*format, 1, "the answer is packed as the request was");
        let message = Bytes::copy_from_slice(message);
        let mut inflater = crate::protocol::grpc::Inflater::new(message, 1 << 30).expect("gzip");
        messages.push(loop {
            if let Some(message) = inflater.step().expect("gzip") {
                break message;
            }
        });
        body = rest;
    }
    messages
}

#[test]
fn messages_under_gzip_are_taken_and_answered_alike() {
    let rig = Rig::start(1);
    let big = vec![7; 1 << 20];
    with_client(&rig, async |client| {
        let ended = async |path: &str, encoding: &str, body: Bytes| {
            let mut client = client.clone().ready().await.expect("room");
            let head = request(path).header("grpc-encoding", encoding).body(()).expect("a request");
            let (response, mut sending) = client.send_request(head, false).expect("sent");
            // It may be refused at its headers.
            let _ = sending.send_data(body, true);
            super::grpc::ended(response).await
        };
        let put_big = ended(PUT, "gzip", packed(&put("big", &big))).await;
        assert_eq!(put_big.code, 0, "{put_big:?}");
        for plain_or_packed in [frame(&get("big")), packed(&get("big"))] {
            let read = ended(RANGE, "gzip", plain_or_packed).await;
            assert!(read.messages.len() < 100_000, "packed");
            let reply = unpacked(&read.messages).remove(0);
            assert_eq!(pb::RangeResponse::decode(reply).expect("a reply").kvs[0].value, big);
        }
        for key in 0..100 {
            call(&client, PUT, &put(&format!("key{key:03}"), &[b'v'; 100])).await;
        }
        let mut range = get("key");
        range.range_end = Bytes::from_static(b"kez");
        let streamed = ended(STREAM, "gzip", packed(&range)).await;
        assert_eq!(streamed.code, 0);
        assert!(unpacked(&streamed.messages).len() >= 4);
        // Small by itself, and far beyond what a request may be.
        let bomb = ended(PUT, "gzip", packed(&put("bomb", &vec![0; 16 << 20]))).await;
        assert_eq!(bomb.code, 8);
        let text = "grpc: received message after decompression larger than max 2097152";
        assert_eq!(bomb.text, text);
        let unset = ended(RANGE, "identity", packed(&get("a"))).await;
        assert_eq!(unset.code, 13);
        assert_eq!(unset.text, "grpc: compressed flag set with identity or empty encoding");
        for path in [RANGE, "/etcdserverpb.Watch/Watch"] {
            let other = ended(path, "snappy", frame(&get("a"))).await;
            let text = "grpc: Decompressor is not installed for grpc-encoding \"snappy\"";
            assert_eq!((other.code, &*other.text), (12, text));
        }
    });
    rig.stop();
}

/// The payload of the SETTINGS that a client is told.
fn settings_received(streams_max: u32) -> Vec<u8> {
    let rig = Rig::start_with(1, move |settings| settings.streams_max = streams_max);
    let mut stream = rig.connect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("write");
    stream.write_all(&http2(4, 0, 0, &[])).expect("write");
    let mut header = [0; 9];
    stream.read_exact(&mut header).expect("a frame");
    assert_eq!(header[3], 4, "SETTINGS come first");
    let mut payload = vec![0; usize::from(header[2])];
    stream.read_exact(&mut payload).expect("its payload");
    drop(stream);
    rig.stop();
    payload
}

#[test]
fn clients_are_told_how_many_streams_there_may_be_only_if_somebody_said_so() {
    let told = |streams_max| {
        let settings = settings_received(streams_max);
        let of_streams = settings.chunks(6).find(|setting| setting[..2] == [0, 3]);
        of_streams.map(|setting| u32::from_be_bytes(setting[2..].try_into().expect("four bytes")))
    };
    assert_eq!(told(0), None);
    assert_eq!(told(u32::MAX), None);
    assert_eq!(told(7), Some(7));
}

#[test]
fn streams_and_large_answers_share_a_small_window_to_the_end() {
    let rig = Rig::start(1);
    let big = vec![7; 1 << 20];
    let whole = with_client(&rig, async |client| {
        for key in 0..8 {
            call(&client, PUT, &put(&format!("big{key}"), &big)).await;
        }
        let mut whole = get("big");
        whole.range_end = Bytes::from_static(b"bih");
        whole
    });
    // A client of the first windows, 64 KB for all of its streams together.
    Reached { address: rig.address }.with_client(async |client| {
        let stalled = async {
            async_io::Timer::after(Duration::from_secs(60)).await;
            panic!("the streams wait for one another");
        };
        let read = async |path: &'static str| {
            for _ in 0..3 {
                let ended = call(&client, path, &whole).await;
                assert!(ended.code == 0 && ended.messages.len() > 8 << 20, "{path}");
            }
        };
        let streams = async || {
            let two = futures_lite::future::zip(read(STREAM), read(STREAM));
            futures_lite::future::zip(two, read(STREAM)).await;
        };
        let ranges = futures_lite::future::zip(read(RANGE), read(RANGE));
        let all = async {
            futures_lite::future::zip(ranges, streams()).await;
        };
        futures_lite::future::or(all, stalled).await;
    });
    rig.stop();
}

#[test]
fn hostile_bytes_end_their_connection_only() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let settings = http2(4, 0, 0, &[]);
        let cases: Vec<Vec<u8>> = vec![
            b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n".to_vec(),
            [&preface[..], &[0xFF; 64]].concat(),
            [&preface[..], &settings, &http2(1, 4, 1, &[0xFF; 32])].concat(),
            [&preface[..], &settings, &http2(0, 0, 1, b"data of nobody")].concat(),
            [&preface[..], &settings, &http2(8, 0, 0, &[0; 4])].concat(),
        ];
        for bytes in cases {
            let mut stream = rig.connect();
            stream.write_all(&bytes).expect("write");
            let mut told = Vec::new();
            // A reset is as good an end as any.
            let _ = stream.read_to_end(&mut told);
            let reply: pb::PutResponse = call(&client, PUT, &put("k", b"v")).await.message();
            assert!(reply.header.is_some());
        }
        // Requests opened and reset without end.
        let mut flood = rig.connect();
        flood.write_all(&[&preface[..], &settings].concat()).expect("write");
        let mut flooded = Vec::new();
        for stream in 0..20_000u32 {
            // :method POST, :scheme http, :path /, all from HPACK's static table.
            flooded.extend(http2(1, 4, stream * 2 + 1, &[0x83, 0x86, 0x84]));
            flooded.extend(http2(3, 0, stream * 2 + 1, &[0, 0, 0, 8]));
        }
        let _ = flood.write_all(&flooded);
        let reply: pb::PutResponse = call(&client, PUT, &put("k", b"v")).await.message();
        assert!(reply.header.is_some());
    });
    rig.stop();
}

#[test]
fn answers_that_nobody_takes_yet_wait_without_harm_and_all_come_in_the_end() {
    let rig = Rig::start(1);
    with_client(&rig, async |other| {
        let big = vec![7; 1 << 20];
        call(&other, PUT, &put("big", &big)).await;
        with_client_async(&rig, async |client| {
            let mut client = client.ready().await.expect("room");
            let mut responses = Vec::new();
            for _ in 0..100 {
                let head = request(RANGE).body(()).expect("a request");
                let (response, mut body) = client.send_request(head, false).expect("sent");
                body.send_data(frame(&get("big")), true).expect("sent");
                responses.push(response);
            }
            // Far more than the connection may owe, and the client takes none of it; another is
            // served meanwhile.
            let reply: pb::PutResponse = call(&other, PUT, &put("k", b"v")).await.message();
            assert!(reply.header.is_some());
            for response in responses {
                let reply: pb::RangeResponse = ended(response).await.message();
                assert_eq!(reply.kvs[0].value.len(), 1 << 20);
            }
        })
        .await;
    });
    rig.stop();
}

#[test]
fn a_silent_client_is_pinged_and_dropped() {
    let rig = Rig::start_with(1, |settings| {
        settings.keepalive.interval = Duration::from_millis(30);
        settings.keepalive.timeout = Duration::from_millis(30);
    });
    let mut stream = rig.connect();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("write");
    stream.write_all(&http2(4, 0, 0, &[])).expect("write");
    let mut told = Vec::new();
    stream.read_to_end(&mut told).expect("the connection ends");
    assert!(told.windows(5).any(|window| window == [0, 0, 8, 6, 0]), "a ping: {told:?}");
    // One that answers pings, as h2's client does, stays.
    with_client(&rig, async |client| {
        for _ in 0..10 {
            async_io::Timer::after(Duration::from_millis(30)).await;
            call(&client, PUT, &put("k", b"v")).await;
        }
        async_io::Timer::after(Duration::from_millis(200)).await;
        call(&client, PUT, &put("k", b"v")).await;
    });
    rig.stop();
}
