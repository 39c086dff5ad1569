//! Watchers against a server that breaks off, refuses and falls silent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::block_on;
use prost::Message;

use super::*;
use crate::client::Options;
use crate::client::frames::fake::{Peer, Server, Then, hello};
use crate::protocol::frame::{Flags, Frame};
use crate::protocol::pb::mvccpb;
use pb::watch_request::RequestUnion;

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..Default::default() })
}

fn event(key: &'static str, revision: i64) -> pb::WatchResponse {
    let kv = mvccpb::KeyValue { key: key.into(), mod_revision: revision, ..Default::default() };
    pb::WatchResponse {
        header: header(revision),
        events: vec![mvccpb::Event { kv: Some(kv), ..Default::default() }],
        ..Default::default()
    }
}

/// The watcher that a frame asks for; answered with its creation at revision 10.
fn create(peer: &mut Peer, frame: &Frame) -> Option<pb::WatchCreateRequest> {
    let request = pb::WatchRequest::decode(frame.payload.clone()).expect("a watch request");
    let Some(RequestUnion::CreateRequest(create)) = request.request_union else { return None };
    let created = pb::WatchResponse { header: header(10), created: true, ..Default::default() };
    peer.part(frame, Flags::NONE, &created);
    Some(create)
}

fn request(key: &'static str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: key.into(), ..Default::default() }
}

#[test]
fn a_lost_connection_costs_no_event_and_repeats_none() {
    let server = Server::start(hello(), |peer, frame| {
        let Some(create) = create(peer, &frame) else { return Then::GoOn };
        let starts = [0, 11, 12, 12];
        assert_eq!(create.start_revision, starts[peer.number], "stream {}", peer.number);
        match peer.number {
            0 => return Then::Hang,
            1 => {
                peer.part(&frame, Flags::NONE, &event("k", 11));
                return Then::Hang;
            }
            2 => peer.refuse(&frame, code::UNAVAILABLE, "etcdserver: leader changed"),
            _ => {
                peer.part(&frame, Flags::NONE, &event("k", 12));
                peer.part(&frame, Flags::NONE, &event("k", 15));
            }
        }
        // A refused stream is opened again on the same connection.
        peer.number += 1;
        Then::GoOn
    });
    block_on(async {
        let client = Client::lazy(server.options()).expect("good options");
        let mut watcher = client.watch(request("k")).await.expect("a watcher");
        assert_eq!(watcher.created_revision(), 10);
        for revision in [11, 12, 15] {
            assert_eq!(watcher.next().await, Ok(event("k", revision)));
        }
    });
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[test]
fn a_connection_that_falls_silent_is_noticed_and_replaced() {
    let server = Server::start(hello(), |peer, frame| {
        let Ok(watch) = pb::WatchRequest::decode(frame.payload.clone()) else {
            // A ping; the first connection is as good as cut.
            return Then::GoOn;
        };
        if watch.request_union.is_some() {
            create(peer, &frame);
            if peer.number == 1 {
                peer.part(&frame, Flags::NONE, &event("k", 11));
            }
        }
        Then::GoOn
    });
    let options = Options {
        ping_interval: Some(Duration::from_millis(100)),
        ping_timeout: Duration::from_millis(100),
        ..server.options()
    };
    block_on(async {
        let client = Client::lazy(options).expect("good options");
        let mut watcher = client.watch(request("k")).await.expect("a watcher");
        assert_eq!(watcher.next().await, Ok(event("k", 11)));
    });
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_refusal_that_time_does_not_mend_ends_all_watchers() {
    for (code, text) in [
        (code::PERMISSION_DENIED, "etcdserver: permission denied"),
        (code::UNAVAILABLE, "etcdserver: no leader"),
        (code::CANCELED, "etcdserver: watch canceled"),
    ] {
        let server = Server::start(hello(), move |peer, frame| {
            peer.refuse(&frame, code, text);
            Then::GoOn
        });
        block_on(async {
            let client = Client::lazy(server.options()).expect("good options");
            let mut stream = client.watch_stream();
            stream.watch(request("k"));
            let refused = Error::Status { code, message: text.to_owned() };
            assert_eq!(stream.next().await, Err(refused.clone()));
            assert_eq!(stream.next().await, Err(refused.clone()), "for good");
            assert_eq!(End::Failed(refused).to_string(), text);
        });
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_dropped_future_loses_nothing() {
    let server = Server::start(hello(), |peer, frame| {
        create(peer, &frame);
        for revision in 11..40 {
            peer.part(&frame, Flags::NONE, &event("k", revision));
        }
        Then::GoOn
    });
    block_on(async {
        let client = Client::lazy(server.options()).expect("good options");
        let mut stream = client.watch_stream();
        let id = stream.watch(request("k"));
        let mut seen = Vec::new();
        while seen.len() < 30 {
            // Polled once at a time, and dropped whenever nothing is there yet.
            let impatient = async {
                futures_lite::future::yield_now().await;
                None
            };
            if let Some(update) = async { Some(stream.next().await) }.or(impatient).await {
                seen.push(update.expect("an update"));
            }
        }
        assert_eq!(seen[0], (id, Update::Created(header(10).expect("some"))));
        for (update, revision) in seen[1..].iter().zip(11..) {
            assert_eq!(*update, (id, Update::Events(event("k", revision))));
        }
    });
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn many_watchers_share_a_stream_however_few_answers_it_holds() {
    const WATCHERS: usize = 500;
    let server = Server::start(hello(), |peer, frame| {
        let created = pb::WatchResponse {
            header: header(10),
            created: true,
            watch_id: i64::try_from(peer.frames).expect("few frames"),
            ..Default::default()
        };
        peer.part(&frame, Flags::NONE, &created);
        peer.part(
            &frame,
            Flags::NONE,
            &pb::WatchResponse { watch_id: created.watch_id, ..event("k", 11) },
        );
        Then::GoOn
    });
    block_on(async {
        let client = Client::lazy(server.options()).expect("good options");
        let mut stream = client.watch_stream();
        let ids: Vec<WatcherId> = (0..WATCHERS).map(|_| stream.watch(request("k"))).collect();
        let (mut created, mut told) = (Vec::new(), Vec::new());
        while told.len() < WATCHERS {
            match stream.next().await.expect("an update") {
                (id, Update::Created(_)) => created.push(id),
                (id, Update::Events(_)) => told.push(id),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(created, ids);
        assert_eq!(told, ids);
    });
}

#[test]
fn ends_are_told_as_etcdctl_does() {
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let response = |compact_revision, reason: &str| pb::WatchResponse {
        compact_revision,
        cancel_reason: reason.to_owned(),
        canceled: true,
        ..Default::default()
    };
    for (response, text, is_compacted) in [
        (response(5, ""), compacted, true),
        (response(0, compacted), compacted, true),
        (response(0, "mvcc: watcher range is empty"), "mvcc: watcher range is empty", false),
        (response(0, ""), "etcdserver: mvcc: required revision is a future revision", false),
    ] {
        let end = End::of(&response);
        assert_eq!((end.to_string().as_str(), end.is_compacted()), (text, is_compacted));
    }
}
