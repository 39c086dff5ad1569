//! Clients that stop in the middle, of what they say or of what they are told: while the member
//! serves, and when it stops.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use super::frames::{Client, get, put};
use super::grpc::{PUT, RANGE, call, frame, http2, request, with_client};
use super::*;
use crate::protocol::method::Method;
use crate::protocol::pb::etcdserverpb as pb;

const STALL: Duration = Duration::from_millis(300);

fn rig() -> Rig {
    Rig::start_with(1, |settings| settings.stall = STALL)
}

/// Reads to the end of the connection, which comes long before the socket's own timeout.
fn expect_end(stream: &mut TcpStream, what: &str) -> Vec<u8> {
    let mut told = Vec::new();
    match stream.read_to_end(&mut told) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{what}: no end of the connection: {error}"),
    }
    told
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn what_a_client_begins_and_does_not_end_ends_its_connection() {
    let rig = rig();
    let settings = http2(4, 0, 0, &[]);
    let half_frame = [PREFACE, &settings, &[0, 0, 8, 6]].concat();
    let half_headers = [PREFACE, &settings, &http2(1, 4, 1, &[0x83; 40])[..20]].concat();
    for (what, bytes) in [("a ping", half_frame), ("headers", half_headers)] {
        let mut stream = rig.connect();
        stream.write_all(&bytes).expect("write");
        expect_end(&mut stream, what);
    }
    let (mut client, _) = Client::connect(&rig, None);
    client.stream.write_all(&[9, 0, 0, 0, 1, 2]).expect("write");
    assert!(client.frame().is_none(), "half a frame");
    rig.stop();
}

#[test]
fn a_head_of_http1_has_its_time_however_many_bytes_come() {
    let rig = rig();
    let mut stream = rig.connect();
    let began = Instant::now();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ").expect("write");
    // A byte now and then, far more of them than the time holds.
    while stream.write_all(b"x").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "every byte gains time");
        std::thread::sleep(Duration::from_millis(20));
    }
    rig.stop();
}

#[test]
fn clients_that_wait_between_what_is_whole_stay() {
    let rig = rig();
    let mut http1 = rig.connect();
    let mut told = [0; 1024];
    let (mut framed, _) = Client::connect(&rig, None);
    with_client(&rig, async |client| {
        for round in 1..4 {
            http1.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").expect("write");
            assert!(http1.read(&mut told).expect("an answer") > 0);
            framed.ask(round, Method::Put, &put("k", b"v"));
            assert_eq!(call(&client, PUT, &put("k", b"v")).await.code, 0);
            async_io::Timer::after(STALL + STALL / 2).await;
        }
    });
    rig.stop();
}

#[test]
fn a_request_whose_rest_does_not_come_is_refused_and_its_connection_goes_on() {
    let rig = rig();
    with_client(&rig, async |client| {
        let half = frame(&put("key", &[7; 100])).slice(..50);
        let nothing = bytes::Bytes::new();
        for (path, body) in
            [(PUT, half.clone()), (RANGE, nothing), ("/etcdserverpb.Watch/Watch", half)]
        {
            let mut client = client.clone().ready().await.expect("room");
            let head = request(path).body(()).expect("a request");
            let (response, mut sending) = client.send_request(head, false).expect("sent");
            if !body.is_empty() {
                sending.send_data(body, false).expect("sent");
            }
            let ended = super::grpc::ended(response).await;
            let text = "braid: the rest of the request did not come";
            assert_eq!((ended.code, &*ended.text), (4, text), "{path}");
        }
        // A stream that says nothing for a while owes nothing.
        let mut ready = client.clone().ready().await.expect("room");
        let head = request("/etcdserverpb.Watch/Watch").body(()).expect("a request");
        let (response, mut sending) = ready.send_request(head, false).expect("sent");
        let mut body = response.await.expect("headers").into_body();
        async_io::Timer::after(STALL * 2).await;
        let create = pb::WatchCreateRequest { key: "k".into(), ..Default::default() };
        let create = pb::watch_request::RequestUnion::CreateRequest(create);
        let create = pb::WatchRequest { request_union: Some(create) };
        sending.send_data(frame(&create), false).expect("sent");
        assert!(body.data().await.expect("the stream lives").is_ok());
        assert_eq!(call(&client, PUT, &put("k", b"v")).await.code, 0);
    });
    rig.stop();
}

/// A client of frames that asks for far more than its socket holds, and reads nothing.
fn unread(rig: &Rig) -> Client {
    let (mut client, _) = Client::connect(rig, None);
    client.ask(1, Method::Put, &put("big", &[7; 1 << 20]));
    for stream in 2..66 {
        client.queue(stream, Method::Range, &get("big"));
    }
    client.flush();
    client
}

#[test]
fn a_client_that_reads_nothing_is_left_and_one_that_reads_slowly_is_not() {
    let rig = rig();
    let mut unread = unread(&rig);
    let mut slow = self::unread(&rig);
    // Longer by far than the time that it might read nothing.
    let mut bytes = vec![0; 256 << 10];
    for _ in 0..20 {
        std::thread::sleep(STALL / 5);
        assert!(slow.stream.read(&mut bytes).expect("it is still served") > 0);
    }
    let told = expect_end(&mut unread.stream, "nothing is read");
    assert!(told.len() < 40 << 20, "the end came before the answers: {}", told.len());
    rig.stop();
}

#[test]
fn a_stop_waits_for_nobody_who_has_stopped_in_the_middle() {
    let rig = Rig::start(1);
    let held: Vec<Box<dyn std::any::Any>> = halves(&rig);
    let unread = unread(&rig);
    let mut unread_http2 = rig.connect();
    // Requests whose answers exceed the window, which is never opened: :method POST, :scheme http,
    // :path /etcdserverpb.KV/Range and content-type application/grpc as literals.
    let mut head = vec![0x83, 0x86, 0x04, 22];
    head.extend_from_slice(RANGE.as_bytes());
    head.extend_from_slice(&[0x0F, 0x10, 16]);
    head.extend_from_slice(b"application/grpc");
    unread_http2.write_all(&[PREFACE, &http2(4, 0, 0, &[])].concat()).expect("write");
    for stream in [1, 3, 5] {
        unread_http2.write_all(&http2(1, 4, stream, &head)).expect("write");
        unread_http2.write_all(&http2(0, 1, stream, &frame(&get("big")))).expect("write");
    }
    // All of it has been read once its neighbour is answered.
    let (mut neighbour, _) = Client::connect(&rig, None);
    neighbour.ask(1, Method::Put, &put("k", b"v"));
    let mut window = vec![0; 40_000];
    unread_http2.read_exact(&mut window).expect("the beginning of an answer");
    let began = Instant::now();
    rig.stop();
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    drop((held, unread, unread_http2));
}

/// Connections with half of something on them, in every protocol and at every stage.
fn halves(rig: &Rig) -> Vec<Box<dyn std::any::Any>> {
    let mut held: Vec<Box<dyn std::any::Any>> = Vec::new();
    let settings = http2(4, 0, 0, &[]);
    let begun = [PREFACE, &settings].concat();
    let half_message = [&begun[..], &http2(1, 4, 1, &[0x83, 0x86, 0x84])].concat();
    for bytes in [
        &b"GET /livez HT"[..],
        b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /liv",
        b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
        &PREFACE[..20],
        PREFACE,
        &begun,
        &half_message,
        &[&begun[..], &[0, 0, 8, 6]].concat(),
        &crate::protocol::frame::PREFACE[..3],
        &crate::protocol::frame::PREFACE,
    ] {
        let mut stream = rig.connect();
        stream.write_all(bytes).expect("write");
        held.push(Box::new(stream));
    }
    let (mut client, _) = Client::connect(rig, None);
    client.stream.write_all(&[9, 0, 0, 0, 1, 2]).expect("write");
    held.push(Box::new(client));
    held
}
