//! Keeping a lease alive against a server that answers, breaks off and falls silent.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use prost::Message;

use super::error::code;
use super::frames::fake::{Peer, Server, Then, hello};
use super::lease::{LeaseId, LeaseLost};
use super::{Client, Error, Options};
use crate::protocol::frame::{Flags, Frame};
use crate::protocol::pb::etcdserverpb as pb;

const ID: LeaseId = LeaseId(0x1f);

fn renew(peer: &mut Peer, frame: &Frame, ttl: i64) -> Then {
    let request = pb::LeaseKeepAliveRequest::decode(frame.payload.clone()).expect("a request");
    assert_eq!(request.id, ID.0);
    let answer = pb::LeaseKeepAliveResponse { id: request.id, ttl, ..Default::default() };
    peer.part(frame, Flags::NONE, &answer);
    Then::GoOn
}

fn client(server: &Server) -> Client {
    // So that what is measured is the lease and not the first answer's patience.
    let options = Options { dial_timeout: Some(Duration::from_millis(100)), ..server.options() };
    Client::lazy(options).expect("good options")
}

#[test]
fn ids_are_printed_as_go_does() {
    assert_eq!(format!("{:x} {:016x}", LeaseId(31), LeaseId(31)), "1f 000000000000001f");
    assert_eq!(format!("{:x} {:016x}", LeaseId(-31), LeaseId(-31)), "-1f -00000000000001f");
}

#[test]
fn a_lease_is_renewed_thrice_in_its_time() {
    let server = Server::start(hello(), |peer, frame| renew(peer, &frame, 1));
    let started = Instant::now();
    block_on(async {
        let mut keep_alive = client(&server).lease_keep_alive(ID);
        for _ in 0..4 {
            assert_eq!(keep_alive.next().await.map(|answer| answer.ttl), Ok(1));
        }
    });
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(999), "{took:?}: three thirds of a second");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_lost_connection_is_replaced_while_the_lease_lasts() {
    let server = Server::start(hello(), |peer, frame| match peer.number {
        0 if peer.frames == 1 => Then::Hang,
        1 => {
            peer.refuse(&frame, code::UNAVAILABLE, "etcdserver: no leader");
            peer.number = 2;
            Then::GoOn
        }
        _ => renew(peer, &frame, 6),
    });
    block_on(async {
        let mut keep_alive = client(&server).lease_keep_alive(ID);
        assert!(keep_alive.next().await.is_ok());
        assert!(keep_alive.next().await.is_ok());
    });
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_lease_that_is_gone_is_told_at_once() {
    let server = Server::start(hello(), |peer, frame| renew(peer, &frame, 0));
    let lost = block_on(client(&server).lease_keep_alive(ID).next());
    assert_eq!(lost, Err(LeaseLost::Gone));
}

#[test]
fn a_lease_that_cannot_be_renewed_is_lost_when_its_time_is_over() {
    let server = Server::start(hello(), |peer, frame| match peer.frames {
        0 => renew(peer, &frame, 1),
        _ => Then::GoOn,
    });
    let (last, took) = block_on(async {
        let mut keep_alive = client(&server).lease_keep_alive(ID);
        assert!(keep_alive.next().await.is_ok());
        let started = Instant::now();
        (keep_alive.next().await, started.elapsed())
    });
    let Err(LeaseLost::Unreachable { last: Some(Error::Timeout { .. }) }) = last else {
        panic!("{last:?}");
    };
    // Never later than the server may give the lease up.
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_millis(1900), "{took:?}");
}

#[test]
fn renewing_once_tells_a_lease_that_is_gone() {
    let server = Server::start(hello(), |peer, frame| {
        let request = pb::LeaseKeepAliveRequest::decode(frame.payload.clone()).expect("a request");
        let ttl = if request.id == ID.0 { 9 } else { 0 };
        peer.answer(&frame, &pb::LeaseKeepAliveResponse { id: request.id, ttl, header: None });
        Then::GoOn
    });
    let client = client(&server);
    let renewed = block_on(client.lease_keep_alive_once(ID)).expect("a renewal");
    assert_eq!((renewed.id, renewed.ttl), (ID.0, 9));
    let gone = block_on(client.lease_keep_alive_once(LeaseId(2))).expect_err("no lease");
    let message = "etcdserver: requested lease not found".to_owned();
    assert_eq!(gone, Error::Status { code: code::NOT_FOUND, message });
}
