//! HTTP/1.1, byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::*;

fn exchange(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    stream.write_all(request.as_bytes()).expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_ascii_lowercase(), body.to_owned())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (head, body) = exchange(address, &request);
    (head[9..12].parse().expect("a code"), body)
}

fn put(rig: &Rig, key: &str, value: &[u8]) {
    let (mut client, _) = super::frames::Client::connect(rig, None);
    client.queue(1, crate::protocol::method::Method::Put, &super::frames::put(key, value));
    client.flush();
    client.frame().expect("an answer");
}

#[test]
fn version_health_and_metrics_are_etcds() {
    let rig = Rig::start(1);
    let version = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
    assert_eq!(get(rig.address, "/version"), (200, version.to_owned()));
    assert_eq!(get(rig.metrics, "/version").0, 404);
    assert_eq!(get(rig.address, "/nothing"), (404, "404 page not found\n".to_owned()));
    for address in [rig.address, rig.metrics] {
        assert_eq!(get(address, "/metrics"), (200, "braid_up 1\n".to_owned()));
        let healthy = r#"{"health":"true","reason":""}"#;
        assert_eq!(get(address, "/health"), (200, healthy.to_owned()));
        assert_eq!(get(address, "/livez"), (200, "ok\n".to_owned()));
        assert_eq!(get(address, "/readyz"), (200, "ok\n".to_owned()));
    }
    let verbose = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n\
                   [+]non_learner ok\nok\n";
    assert_eq!(get(rig.address, "/readyz?verbose"), (200, verbose.to_owned()));
    assert_eq!(get(rig.address, "/livez/serializable_read"), (200, "ok\n".to_owned()));
    assert_eq!(get(rig.address, "/livez/linearizable_read").0, 404, "only of readyz");
    let post = "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (head, body) = exchange(rig.address, post);
    assert!(head.starts_with("http/1.1 405") && head.contains("allow: get"), "{head}");
    assert_eq!(body, "Method Not Allowed\n");
    rig.stop();
}

#[test]
fn alarms_and_a_missing_leader_show() {
    let rig = Rig::start(1);
    put(&rig, "set/leader", b"0");
    let no_leader = "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n";
    assert_eq!(get(rig.address, "/health"), (503, no_leader.to_owned()));
    assert_eq!(get(rig.address, "/health?serializable=true").0, 200);
    put(&rig, "set/leader", b"1");
    put(&rig, "set/alarm", b"NOSPACE");
    let full = "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n";
    assert_eq!(get(rig.address, "/health"), (503, full.to_owned()));
    assert_eq!(get(rig.address, "/health?exclude=NOSPACE").0, 200);
    assert_eq!(get(rig.address, "/readyz").0, 200, "a full disk can still be read");
    put(&rig, "set/alarm", b"CORRUPT");
    let (code, body) = get(rig.address, "/readyz");
    assert_eq!(code, 503);
    assert!(body.starts_with("[-]data_corruption failed: alarm activated: CORRUPT\n"), "{body}");
    assert_eq!(get(rig.address, "/readyz?exclude=data_corruption").0, 200);
    assert_eq!(get(rig.address, "/livez").0, 200);
    rig.stop();
}

#[test]
fn a_host_that_is_not_on_the_list_is_misdirected() {
    let rig = Rig::start_with(1, |settings| settings.hosts = vec!["localhost".to_owned()]);
    assert_eq!(get(rig.address, "/version").0, 200);
    let request = "GET /version HTTP/1.1\r\nHost: evil.example:80\r\nConnection: close\r\n\r\n";
    let (head, body) = exchange(rig.address, request);
    assert!(head.starts_with("http/1.1 421"), "{head}");
    assert!(body.contains("--host-whitelist \"evil.example\""), "{body}");
    rig.stop();
}

#[test]
fn one_connection_serves_many_requests() {
    let rig = Rig::start(1);
    let mut stream = rig.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").expect("write");
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut bytes = [0; 512];
            let count = stream.read(&mut bytes).expect("read");
            assert!(count > 0, "the connection stays open");
            answer.extend_from_slice(&bytes[..count]);
        }
    }
    rig.stop();
}

#[test]
fn a_request_without_a_host_is_a_bad_one() {
    let rig = Rig::start(1);
    let (head, body) = exchange(rig.address, "GET /version HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("http/1.1 400") && head.contains("connection: close"), "{head}");
    assert_eq!(body, "400 Bad Request: missing required Host header");
    let (head, _) = exchange(rig.address, "GET /version HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("http/1.0 200"), "{head}");
    rig.stop();
}

#[test]
fn metrics_come_packed_to_who_asks_for_it() {
    let figures = "braid_up 1\n".repeat(20_000);
    let expected = figures.clone();
    let rig = Rig::start_with(1, move |settings| {
        let figures = figures.clone();
        settings.metrics = Rc::new(move || figures.clone());
    });
    let mut stream = TcpStream::connect(rig.address).expect("connect");
    let request = "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\
                   Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("write");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read");
    assert!(answer.len() < 20_000, "packed");
    let at = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let packed = bytes::Bytes::copy_from_slice(&answer[at..]);
    let mut inflater = crate::protocol::grpc::Inflater::new(packed, 1 << 20).expect("gzip");
    let body = loop {
        if let Some(body) = inflater.step().expect("gzip") {
            break body;
        }
    };
    assert_eq!(body, expected);
    rig.stop();
}
