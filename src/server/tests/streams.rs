//! Watch and keep-alive, over frames and over gRPC.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;

use bytes::{Buf, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message;

use super::frames::{Client, error, put};
use super::grpc::{Reached, call, frame, request, with_client};
use super::*;
use crate::protocol::Method;
use crate::protocol::frame::{Flags, Frame, Opcode};
use crate::protocol::pb::etcdserverpb as pb;
use crate::protocol::status::Status;
use pb::watch_request::RequestUnion;

const WATCH: &str = "/etcdserverpb.Watch/Watch";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const PUT: &str = "/etcdserverpb.KV/Put";

fn create_of(request: pb::WatchCreateRequest) -> pb::WatchRequest {
    pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) }
}

fn create(key: &str) -> pb::WatchRequest {
    let key = Bytes::copy_from_slice(key.as_bytes());
    create_of(pb::WatchCreateRequest { key, ..Default::default() })
}

fn prefix(key: &str) -> pb::WatchRequest {
    let mut end = key.as_bytes().to_vec();
    *end.last_mut().expect("not empty") += 1;
    create_of(pb::WatchCreateRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: end.into(),
        ..Default::default()
    })
}

fn cancel(watch_id: i64) -> pb::WatchRequest {
    let cancel = pb::WatchCancelRequest { watch_id };
    pb::WatchRequest { request_union: Some(RequestUnion::CancelRequest(cancel)) }
}

fn progress() -> pb::WatchRequest {
    let progress = pb::WatchProgressRequest {};
    pb::WatchRequest { request_union: Some(RequestUnion::ProgressRequest(progress)) }
}

fn alive(id: i64) -> pb::LeaseKeepAliveRequest {
    pb::LeaseKeepAliveRequest { id }
}

fn told<M: Message + Default>(frame: &Frame) -> M {
    assert_eq!(frame.header.flags, Flags::NONE, "{frame:?}");
    M::decode(frame.payload.clone()).expect("a message")
}

impl Client {
    fn watched(&mut self) -> pb::WatchResponse {
        told(&self.frame().expect("a reply"))
    }

    fn puts(&mut self, stream: u32, key: &str, value: &[u8]) -> i64 {
        let answer = self.ask(stream, Method::Put, &put(key, value));
        let reply = pb::PutResponse::decode(answer.payload).expect("a message");
        reply.header.expect("a header").revision
    }
}

#[test]
fn watchers_of_one_stream_over_frames() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    let (mut other, _) = Client::connect(&rig, None);
    client.say(5, Method::Watch, &create("a"));
    let created = client.watched();
    assert!(created.created && !created.canceled && created.events.is_empty());
    assert_eq!((created.watch_id, created.header.expect("a header").revision), (0, 1));
    client.say(5, Method::Watch, &prefix("a"));
    assert_eq!(client.watched().watch_id, 1);
    // The empty key is the first one; here nothing matches it.
    client.say(5, Method::Watch, &create(""));
    assert_eq!(client.watched().watch_id, 2);
    // Nothing at all is said, which is passed over.
    client.say(5, Method::Watch, &pb::WatchRequest::default());
    client.say(5, Method::Watch, &progress());
    let progress = client.watched();
    assert_eq!((progress.watch_id, progress.header.expect("a header").revision), (-1, 1));

    let revision = other.puts(1, "a", b"1");
    for id in [0, 1] {
        let reply = client.watched();
        assert_eq!((reply.watch_id, reply.header.expect("a header").revision), (id, revision));
        assert_eq!(reply.events.len(), 1);
        assert_eq!(&reply.events[0].kv.as_ref().expect("a key").value[..], b"1");
    }
    client.say(5, Method::Watch, &cancel(0));
    let canceled = client.watched();
    assert!(canceled.canceled && !canceled.created && canceled.cancel_reason.is_empty());
    client.say(5, Method::Watch, &cancel(77));
    // Its last word leaves the watchers where they are.
    client.say_bare(5, Method::Watch, Flags::END | Flags::BARE);
    other.puts(2, "ab", b"2");
    assert_eq!(client.watched().watch_id, 1);
    // Another stream has numbers of its own.
    client.say(6, Method::Watch, &create("b"));
    let frame = client.frame().expect("a reply");
    assert_eq!((frame.header.stream, told::<pb::WatchResponse>(&frame).watch_id), (6, 0));
    client.say_bare(5, Method::Watch, Flags::CANCEL);
    let ended = client.frame().expect("the end");
    assert_eq!(ended.header.stream, 5);
    assert_eq!(error(&ended), Status::new(1, "etcdserver: watch canceled"));
    rig.until(|seen| seen.streams_closed == 1);
    drop(client);
    rig.until(|seen| seen.streams_closed == 2);
    rig.stop();
}

#[test]
fn watchers_that_cannot_be_are_refused_within_the_stream() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    let of = |start_revision, watch_id, range_end: &str| {
        create_of(pb::WatchCreateRequest {
            key: Bytes::from_static(b"k"),
            range_end: Bytes::copy_from_slice(range_end.as_bytes()),
            start_revision,
            watch_id,
            filters: vec![7],
            ..Default::default()
        })
    };
    client.say(1, Method::Watch, &of(0, 9, ""));
    assert_eq!(client.watched().watch_id, 9);
    let cases = [
        (of(-1, 0, ""), "etcdserver: mvcc: required revision has been compacted"),
        (of(0, 0, "a"), "mvcc: watcher range is empty"),
        (of(0, 9, ""), "mvcc: duplicate watch ID provided on the WatchStream"),
    ];
    for (request, reason) in cases {
        client.say(1, Method::Watch, &request);
        let refused = client.watched();
        assert_eq!((refused.created, refused.canceled, refused.watch_id), (true, true, -1));
        assert_eq!((&*refused.cancel_reason, refused.compact_revision), (reason, 0));
    }
    client.say(1, Method::Watch, &of(0, 0, ""));
    assert_eq!(client.watched().watch_id, 0, "the stream lives on");
    rig.stop();
}

#[test]
fn ten_thousand_requests_on_a_stream_are_all_answered_in_order() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    let (mut other, _) = Client::connect(&rig, None);
    const COUNT: i64 = 10_000;
    let mut stream = client.stream.try_clone().expect("a second handle");
    let flooding = thread::spawn(move || {
        use std::io::Write;
        let mut bytes = BytesMut::new();
        for _ in 0..COUNT {
            let method = Opcode::Method(Method::Watch);
            crate::protocol::frame::encode_message(
                &mut bytes,
                3,
                method,
                Flags::NONE,
                &create("same"),
            );
        }
        stream.write_all(&bytes).expect("the server reads on as it can");
    });
    for id in 0..COUNT {
        assert_eq!(client.watched().watch_id, id);
    }
    flooding.join().expect("no panic");
    other.puts(1, "same", b"v");
    for id in 0..COUNT {
        assert_eq!(client.watched().watch_id, id);
    }
    rig.stop();
}

#[test]
fn what_breaks_the_rules_of_a_stream_over_frames() {
    let rig = Rig::start(1);
    let closed_with = |break_it: &dyn Fn(&mut Client)| {
        let (mut client, _) = Client::connect(&rig, None);
        client.say(1, Method::Watch, &create("a"));
        client.watched();
        break_it(&mut client);
        let close = client.frame().expect("a close");
        assert_eq!(Opcode::from_u8(close.header.opcode), Some(Opcode::Close), "{close:?}");
        assert!(client.frame().is_none());
        error(&close).message.into_owned()
    };
    let after_end = closed_with(&|client| {
        client.say_bare(1, Method::Watch, Flags::END | Flags::BARE);
        client.say(1, Method::Watch, &create("b"));
    });
    assert_eq!(after_end, "braid: stream 1 already has a request under way");
    let other_method = closed_with(&|client| client.say(1, Method::LeaseKeepAlive, &alive(1)));
    assert_eq!(other_method, "braid: frame opcode 0x32 is not allowed on stream 1");
    let other_kind = closed_with(&|client| {
        client.queue(1, Method::Put, &put("a", b""));
        client.flush();
    });
    assert_eq!(other_kind, "braid: frame opcode 0x12 is not allowed on stream 1");
    let an_error = closed_with(&|client| {
        client.say_bare(1, Method::Watch, Flags::END | Flags::ERROR);
    });
    assert_eq!(an_error, "braid: invalid frame flags 0x03");
    rig.until(|seen| seen.streams_closed == 4);
    rig.stop();
}

#[test]
fn a_stream_that_ended_here_is_not_opened_again_by_what_was_on_its_way() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    let garbage = |client: &mut Client| {
        let opcode = Method::Watch.opcode();
        let mut bytes = BytesMut::new();
        crate::protocol::frame::encode_frame(&mut bytes, 1, opcode, Flags::NONE, |out| {
            out.extend_from_slice(b"\x07garbage");
        });
        use std::io::Write;
        client.stream.write_all(&bytes).expect("write");
    };
    garbage(&mut client);
    let ended = client.frame().expect("the end");
    assert_eq!(error(&ended).code, 13);
    // These crossed the end.
    client.say(1, Method::Watch, &create("a"));
    garbage(&mut client);
    client.say_bare(1, Method::Watch, Flags::END | Flags::BARE);
    // The number is free now.
    client.say(1, Method::Watch, &create("b"));
    assert!(client.watched().created);
    client.say(1, Method::Watch, &create("b"));
    assert_eq!(client.watched().watch_id, 1);
    rig.stop();
}

#[test]
fn a_storm_of_opened_and_cancelled_streams_leaves_nothing() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    for stream in 1..=3000 {
        client.say(stream, Method::Watch, &prefix("k"));
        client.say_bare(stream, Method::Watch, Flags::CANCEL);
        // What is cancelled twice has crossed its end.
        client.say_bare(stream, Method::Watch, Flags::CANCEL);
    }
    let mut ended = BTreeSet::new();
    while ended.len() < 3000 {
        let frame = client.frame().expect("an end");
        if frame.header.flags.contains(Flags::END) {
            assert!(ended.insert(frame.header.stream), "it ends once");
        }
    }
    rig.until(|seen| seen.streams_open == 0 && seen.streams_waiting == 0);
    rig.stop();
}

#[test]
fn streams_that_come_and_go_leave_no_waker_behind() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    // As a client does that keeps a lease alive once, again and again.
    for stream in 1..=500 {
        client.say(stream, Method::LeaseKeepAlive, &alive(7));
        let _: pb::LeaseKeepAliveResponse = told(&client.frame().expect("a reply"));
        if stream == 1 {
            rig.until(|seen| seen.streams_waiting == 1);
        }
        client.say_bare(stream, Method::LeaseKeepAlive, Flags::END | Flags::BARE);
        assert!(client.frame().expect("the end").header.flags.contains(Flags::END));
    }
    rig.until(|seen| seen.streams_waiting == 0);
    rig.stop();
}

#[test]
fn keep_alives_are_answered_in_order_and_the_stream_ends_with_its_client() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    for id in [7, 13] {
        let grant = pb::LeaseGrantRequest { id, ttl: 100 + id };
        let answer = client.ask(1, Method::LeaseGrant, &grant);
        let reply = pb::LeaseGrantResponse::decode(answer.payload).expect("a message");
        assert_eq!((reply.id, reply.ttl), (id, 100 + id));
    }
    let ids: Vec<i64> = (0..3000).map(|number| [7, 13, 99][number % 3]).collect();
    for &id in &ids {
        client.say(2, Method::LeaseKeepAlive, &alive(id));
    }
    client.say_bare(2, Method::LeaseKeepAlive, Flags::END | Flags::BARE);
    for id in ids {
        let reply: pb::LeaseKeepAliveResponse = told(&client.frame().expect("a reply"));
        // A lease that is not there is no error.
        assert_eq!((reply.id, reply.ttl), (id, if id == 99 { 0 } else { 100 + id }));
    }
    let end = client.frame().expect("the end");
    assert_eq!((end.header.stream, end.header.flags), (2, Flags::END | Flags::BARE));

    client.say(2, Method::LeaseKeepAlive, &alive(7));
    client.say(2, Method::LeaseKeepAlive, &alive(-1));
    let reply: pb::LeaseKeepAliveResponse = told(&client.frame().expect("a reply"));
    assert_eq!(reply.ttl, 107);
    let end = client.frame().expect("the end");
    assert_eq!(error(&end), Status::new(14, "etcdserver: no leader"));
    rig.stop();
}

/// A client that does not read is told no more than it may owe; the rest waits in the core, others
/// go on, and in the end everything comes in order.
#[test]
fn a_client_that_does_not_read_holds_little_and_misses_nothing() {
    let rig = Rig::start(1);
    let (mut slow, _) = Client::connect(&rig, None);
    let (mut other, _) = Client::connect(&rig, None);
    for stream in 1..=3 {
        slow.say(stream, Method::Watch, &prefix("k"));
        slow.watched();
    }
    let value = vec![7; 50_000];
    const PUTS: usize = 600;
    for number in 0..PUTS {
        other.puts(1, &format!("k{number:04}"), &value);
    }
    let mut next = [0; 3];
    while next.iter().sum::<usize>() < 3 * PUTS {
        let frame = slow.frame().expect("an event");
        let at = frame.header.stream as usize - 1;
        for event in told::<pb::WatchResponse>(&frame).events {
            let kv = event.kv.expect("a key");
            assert_eq!(&kv.key[..], format!("k{:04}", next[at]).as_bytes());
            next[at] += 1;
        }
    }
    rig.until(|seen| seen.events_bytes == 0);
    let most = rig.seen[0].lock().expect("no panic").events_bytes_max;
    assert!(most <= hub::TOLD_BYTES_MAX, "{most}");
    rig.stop();
}

#[test]
fn streams_end_when_the_server_stops() {
    let rig = Rig::start(1);
    let (mut client, _) = Client::connect(&rig, None);
    client.say(1, Method::Watch, &create("a"));
    client.watched();
    client.say(2, Method::LeaseKeepAlive, &alive(7));
    client.frame().expect("a reply");
    let address = rig.address;
    let (sender, receiver) = mpsc::channel();
    let over_grpc = thread::spawn(move || {
        Reached { address }.with_client(async |client| {
            let mut watch = TestCall::open(&client, WATCH, &[]).await;
            watch.say(&create("a"));
            assert!(watch.next::<pb::WatchResponse>().await.created);
            sender.send(()).expect("the test waits");
            watch.end().await
        })
    });
    receiver.recv_timeout(Duration::from_secs(20)).expect("it watches");
    let began = std::time::Instant::now();
    rig.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "it did not wait for the limit");
    let stopped = Status::new(14, "etcdserver: server stopped");
    let ends: BTreeSet<u32> = (0..2)
        .map(|_| {
            let frame = client.frame().expect("an end");
            assert_eq!(error(&frame), stopped);
            frame.header.stream
        })
        .collect();
    assert_eq!(ends, BTreeSet::from([1, 2]));
    assert_eq!(over_grpc.join().expect("no panic"), stopped);
}

/// A call with messages both ways.
struct TestCall {
    sending: SendStream<Bytes>,
    head: Option<ResponseFuture>,
    body: Option<RecvStream>,
    input: BytesMut,
}

impl TestCall {
    async fn open(client: &SendRequest<Bytes>, path: &str, metadata: &[(&str, &str)]) -> TestCall {
        let mut client = client.clone().ready().await.expect("room");
        let mut head = request(path);
        for (name, value) in metadata {
            head = head.header(*name, *value);
        }
        let head = head.body(()).expect("a request");
        let (response, sending) = client.send_request(head, false).expect("sent");
        TestCall { sending, head: Some(response), body: None, input: BytesMut::new() }
    }

    fn say(&mut self, message: &impl Message) {
        self.sending.send_data(frame(message), false).expect("sent");
    }

    async fn body(&mut self) -> &mut RecvStream {
        if let Some(head) = self.head.take() {
            self.body = Some(head.await.expect("an answer").into_body());
        }
        self.body.as_mut().expect("an answer")
    }

    /// The next message; `None` at the end.
    async fn maybe_next<M: Message + Default>(&mut self) -> Option<M> {
        loop {
            if let [0, a, b, c, d, rest @ ..] = &self.input[..] {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if rest.len() >= length {
                    self.input.advance(5);
                    let message = self.input.split_to(length).freeze();
                    return Some(M::decode(message).expect("a message"));
                }
            }
            let body = self.body().await;
            let piece = body.data().await?.expect("data");
            body.flow_control().release_capacity(piece.len()).expect("window");
            self.input.extend_from_slice(&piece);
        }
    }

    async fn next<M: Message + Default>(&mut self) -> M {
        self.maybe_next().await.expect("a message")
    }

    async fn end(&mut self) -> Status {
        let more = self.maybe_next::<pb::WatchResponse>().await;
        assert!(more.is_none(), "{more:?}");
        let trailers = self.body().await.trailers().await.expect("an end").expect("trailers");
        let text = |name| trailers.get(name).map_or("", |value| value.to_str().expect("ASCII"));
        let message = crate::protocol::grpc::percent_decode(text("grpc-message"));
        Status::new(text("grpc-status").parse().expect("a number"), message)
    }
}

#[test]
fn watchers_of_one_stream_over_grpc() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let mut watch = TestCall::open(&client, WATCH, &[]).await;
        // The headers come before anything is said.
        watch.body().await;
        watch.say(&create("a"));
        let created: pb::WatchResponse = watch.next().await;
        assert!(created.created);
        watch.say(&create_of(pb::WatchCreateRequest {
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from_static(b"b"),
            prev_kv: true,
            watch_id: 40,
            ..Default::default()
        }));
        assert_eq!(watch.next::<pb::WatchResponse>().await.watch_id, 40);
        call(&client, PUT, &put("a", b"1")).await;
        call(&client, PUT, &put("a", b"2")).await;
        let replies: Vec<pb::WatchResponse> =
            [watch.next().await, watch.next().await, watch.next().await, watch.next().await].into();
        let seen = |id| {
            let of_id = replies.iter().filter(move |reply| reply.watch_id == id);
            let events = of_id.flat_map(|reply| &reply.events);
            let value = |kv: &Option<crate::protocol::pb::mvccpb::KeyValue>| {
                kv.as_ref().map(|kv| kv.value.to_vec())
            };
            events.map(|event| (value(&event.kv), value(&event.prev_kv))).collect::<Vec<_>>()
        };
        let (one, two) = (Some(b"1".to_vec()), Some(b"2".to_vec()));
        assert_eq!(seen(0), [(one.clone(), None), (two.clone(), None)]);
        assert_eq!(seen(40), [(one.clone(), None), (two, one)]);
        // The last word.
        watch.sending.send_data(frame(&cancel(0)), true).expect("sent");
        assert!(watch.next::<pb::WatchResponse>().await.canceled);
        call(&client, PUT, &put("ab", b"3")).await;
        assert_eq!(watch.next::<pb::WatchResponse>().await.watch_id, 40);
        watch.sending.send_reset(h2::Reason::CANCEL);
        call(&client, PUT, &put("ab", b"4")).await;
        rig.until(|seen| seen.streams_closed == 1);
    });
    rig.stop();
}

#[test]
fn keep_alives_over_grpc() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let grant = pb::LeaseGrantRequest { id: 13, ttl: 60 };
        call(&client, "/etcdserverpb.Lease/LeaseGrant", &grant).await;
        let mut stream = TestCall::open(&client, KEEP_ALIVE, &[]).await;
        for id in [13, 5, 13] {
            stream.say(&alive(id));
        }
        stream.sending.send_data(Bytes::new(), true).expect("sent");
        for (id, ttl) in [(13, 60), (5, 0), (13, 60)] {
            let reply: pb::LeaseKeepAliveResponse = stream.next().await;
            assert_eq!((reply.id, reply.ttl), (id, ttl));
        }
        assert_eq!(stream.end().await, Status::new(0, ""));
        let mut stream = TestCall::open(&client, KEEP_ALIVE, &[("grpc-timeout", "30m")]).await;
        assert_eq!(stream.end().await.code, 4, "its deadline");
    });
    rig.stop();
}

#[test]
fn garbage_ends_a_stream_as_go_would() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let mut watch = TestCall::open(&client, WATCH, &[]).await;
        watch.sending.send_data(Bytes::from_static(b"\0\0\0\0\x01\x07"), false).expect("sent");
        let text = "grpc: failed to unmarshal the received message: \
            proto: cannot parse invalid wire-format data";
        assert_eq!(watch.end().await, Status::new(13, text));
        let mut watch = TestCall::open(&client, WATCH, &[]).await;
        watch.sending.send_data(Bytes::from_static(b"\0\x7F\0\0\0"), false).expect("sent");
        assert_eq!(watch.end().await.code, 8);
        let mut watch = TestCall::open(&client, WATCH, &[]).await;
        watch.sending.send_data(Bytes::from_static(b"\0\0\0\0\x09cut"), true).expect("sent");
        assert_eq!(watch.end().await, Status::new(13, "unexpected EOF"));
    });
    rig.stop();
}

/// A stream whose client takes nothing blocks neither its own control replies' arrival in the core
/// nor any other stream of its connection.
#[test]
fn a_slow_watch_stream_does_not_hold_up_its_connection() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let mut slow = Vec::new();
        for _ in 0..4 {
            let mut watch = TestCall::open(&client, WATCH, &[]).await;
            watch.say(&prefix("k"));
            assert!(watch.next::<pb::WatchResponse>().await.created);
            slow.push(watch);
        }
        let mut quick = TestCall::open(&client, WATCH, &[]).await;
        quick.say(&create("last"));
        assert!(quick.next::<pb::WatchResponse>().await.created);
        // Far more than the windows of the slow ones and what the connection may owe.
        let value = vec![7; 500_000];
        const PUTS: usize = 40;
        for number in 0..PUTS {
            let ended = call(&client, PUT, &put(&format!("k{number:02}"), &value)).await;
            assert_eq!(ended.code, 0);
        }
        call(&client, PUT, &put("last", b"v")).await;
        assert_eq!(quick.next::<pb::WatchResponse>().await.events.len(), 1);
        // They still can say something, and miss nothing.
        for watch in &mut slow {
            let mut seen = 0;
            while seen < PUTS {
                let reply: pb::WatchResponse = watch.next().await;
                for event in reply.events {
                    let kv = event.kv.expect("a key");
                    assert_eq!(&kv.key[..], format!("k{seen:02}").as_bytes());
                    seen += 1;
                }
            }
        }
        rig.until(|seen| seen.events_bytes == 0);
    });
    rig.stop();
}

#[test]
fn fragments_are_parts_of_one_reply() {
    let rig = Rig::start_with(1, |settings| settings.request_bytes_max = 1 << 20);
    with_client(&rig, async |client| {
        let mut watch = TestCall::open(&client, WATCH, &[]).await;
        watch.say(&create_of(pb::WatchCreateRequest {
            key: Bytes::from_static(b"k"),
            prev_kv: true,
            fragment: true,
            ..Default::default()
        }));
        assert!(watch.next::<pb::WatchResponse>().await.created);
        call(&client, PUT, &put("k", &vec![1; 900_000])).await;
        let reply: pb::WatchResponse = watch.next().await;
        // One event is never cut.
        assert_eq!((reply.events.len(), reply.fragment), (1, false));
        call(&client, PUT, &put("k", &vec![2; 900_000])).await;
        let reply: pb::WatchResponse = watch.next().await;
        assert_eq!((reply.events.len(), reply.fragment), (1, false));
    });
    rig.stop();
}

#[test]
fn streams_that_require_a_leader_end_without_one() {
    let rig = Rig::start(1);
    with_client(&rig, async |client| {
        let wanting = [("hasleader", "true")];
        let mut wants = TestCall::open(&client, WATCH, &wanting).await;
        let mut keeps = TestCall::open(&client, KEEP_ALIVE, &wanting).await;
        let mut does_not = TestCall::open(&client, WATCH, &[("hasleader", "yes")]).await;
        for watch in [&mut wants, &mut does_not] {
            watch.say(&create("k"));
            assert!(watch.next::<pb::WatchResponse>().await.created);
        }
        call(&client, PUT, &put("set/leader", b"0")).await;
        let no_leader = Status::new(14, "etcdserver: no leader");
        assert_eq!(wants.end().await, no_leader);
        assert_eq!(keeps.end().await, no_leader);
        let mut refused = TestCall::open(&client, WATCH, &wanting).await;
        let head = refused.head.take().expect("a head").await.expect("an answer");
        assert_eq!(head.headers()["grpc-status"], "14", "at once");
        call(&client, PUT, &put("set/leader", b"1")).await;
        call(&client, PUT, &put("k", b"v")).await;
        assert_eq!(does_not.next::<pb::WatchResponse>().await.events.len(), 1);
    });
    rig.stop();
}
