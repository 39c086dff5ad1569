//! Watch streams and leases: prost is the yardstick.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use prost::Message;

use super::super::{WatchMessage, decode_watch, encode, watch_messages};
use super::decoded;
use super::replies::{HEADER, blob, full, key_value, number};
use crate::protocol::method::Method;
use crate::protocol::pb::etcdserverpb as pb;
use crate::protocol::pb::mvccpb;
use crate::types::{
    Blob, Event, KeyRange, KeyValue, LeaseGrantReply, LeaseGrantRequest, LeaseId,
    LeaseKeepAliveReply, LeaseLeasesReply, LeaseRevokeReply, LeaseTimeToLiveReply,
    LeaseTimeToLiveRequest, RangeEnd, Refusal, Reply, Request, Revision, Sub, WatchCreate,
    WatchEvents, WatchId, WatchRefusal, WatchReply, WatchRequest,
};
use pb::watch_request::RequestUnion;

fn asked(union: Option<RequestUnion>) -> Option<WatchRequest> {
    let message = pb::WatchRequest { request_union: union };
    decode_watch(message.encode_to_vec().into()).expect("a message")
}

fn create(request: pb::WatchCreateRequest) -> WatchCreate {
    match asked(Some(RequestUnion::CreateRequest(request))) {
        Some(WatchRequest::Create(create)) => create,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_of_a_watch_stream() {
    assert_eq!(asked(None), None, "nothing said is passed over");
    // A request that a later version may have.
    let unknown = decode_watch(Bytes::from_static(b"\x22\x00"));
    assert_eq!(unknown, Ok(None));
    let cancel = pb::WatchCancelRequest { watch_id: -7 };
    let canceled = asked(Some(RequestUnion::CancelRequest(cancel)));
    assert_eq!(canceled, Some(WatchRequest::Cancel(WatchId(-7))));
    let progress = asked(Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})));
    assert_eq!(progress, Some(WatchRequest::Progress));

    let empty = create(pb::WatchCreateRequest::default());
    assert_eq!(empty.range, KeyRange::single(Bytes::from_static(b"\0")));
    let everything = create(pb::WatchCreateRequest {
        range_end: Bytes::from_static(b"\0"),
        ..Default::default()
    });
    assert_eq!(everything.range, KeyRange::all());
    let whole = create(pb::WatchCreateRequest {
        key: Bytes::from_static(b"a"),
        range_end: Bytes::from_static(b"c"),
        start_revision: -4,
        progress_notify: true,
        filters: vec![1],
        prev_kv: true,
        watch_id: 12,
        fragment: true,
    });
    let range = KeyRange { start: Bytes::from_static(b"a"), end: RangeEnd::Before("c".into()) };
    let expected = WatchCreate {
        range,
        start: -4,
        id: WatchId(12),
        progress_notify: true,
        prev_kv: true,
        fragment: true,
        no_put: false,
        no_delete: true,
    };
    assert_eq!(whole, expected);
}

#[test]
fn filters_are_known_or_passed_over() {
    let filtered = |filters: &[i32]| {
        let create =
            create(pb::WatchCreateRequest { filters: filters.to_vec(), ..Default::default() });
        (create.no_put, create.no_delete)
    };
    assert_eq!(filtered(&[]), (false, false));
    assert_eq!(filtered(&[0]), (true, false));
    assert_eq!(filtered(&[1, 1]), (false, true));
    assert_eq!(filtered(&[2, -1, 0, i32::MAX, 1]), (true, true));
}

#[test]
fn what_is_no_message_is_refused_in_gos_words() {
    let text = "grpc: failed to unmarshal the received message: \
        proto: cannot parse invalid wire-format data";
    for bytes in [&b"\x07"[..], b"\x0A\x05abc", b"\x0A\x02\x08", b"\xFF\xFF\xFF"] {
        let refusal = Refusal::Undecodable(text.to_owned());
        assert_eq!(decode_watch(Bytes::from_static(bytes)), Err(refusal));
    }
}

#[test]
fn requests_for_leases() {
    let id = LeaseId(-9);
    let grant = decoded(Method::LeaseGrant, &pb::LeaseGrantRequest { ttl: -1, id: -9 });
    assert_eq!(grant, Ok(Request::LeaseGrant(LeaseGrantRequest { id, ttl: -1 })));
    let revoke = decoded(Method::LeaseRevoke, &pb::LeaseRevokeRequest { id: -9 });
    assert_eq!(revoke, Ok(Request::LeaseRevoke { id }));
    let alive = decoded(Method::LeaseKeepAlive, &pb::LeaseKeepAliveRequest { id: -9 });
    assert_eq!(alive, Ok(Request::LeaseKeepAlive { id }));
    let look = pb::LeaseTimeToLiveRequest { id: -9, keys: true };
    let expected = LeaseTimeToLiveRequest { id, keys: true };
    assert_eq!(decoded(Method::LeaseTimeToLive, &look), Ok(Request::LeaseTimeToLive(expected)));
    let all = decoded(Method::LeaseLeases, &pb::LeaseLeasesRequest {});
    assert_eq!(all, Ok(Request::LeaseLeases));
    // Unknown fields are passed over, and what goes through consensus is bounded with them.
    let mut large = pb::LeaseGrantRequest { ttl: 1, id: 1 }.encode_to_vec();
    large.extend_from_slice(b"\x7A\x80\x80\x60");
    large.resize(large.len() + (3 << 19), 0);
    let limits = super::RequestLimits::default();
    let decoded = |method| super::decode(method, large.clone().into(), &limits);
    assert_eq!(decoded(Method::LeaseGrant), Err(Refusal::RequestTooLarge));
    assert!(decoded(Method::LeaseKeepAlive).is_ok(), "this one does not");
}

#[test]
fn replies_about_leases() {
    let (revision, id) = (Revision(5), LeaseId(-3));
    let header = full(&HEADER, 5);
    let sent = |reply: Reply| {
        let mut out = BytesMut::new();
        encode(&HEADER, &reply, &mut out);
        out.to_vec()
    };
    assert_eq!(
        sent(Reply::LeaseGrant(LeaseGrantReply { revision, id, ttl: 60 })),
        pb::LeaseGrantResponse { header, id: -3, ttl: 60, error: String::new() }.encode_to_vec()
    );
    assert_eq!(
        sent(Reply::LeaseRevoke(LeaseRevokeReply { revision })),
        pb::LeaseRevokeResponse { header }.encode_to_vec()
    );
    assert_eq!(
        sent(Reply::LeaseKeepAlive(LeaseKeepAliveReply { revision, id, ttl: 0 })),
        pb::LeaseKeepAliveResponse { header, id: -3, ttl: 0 }.encode_to_vec()
    );
    let keys = vec![Blob::from(&b"a"[..]), Blob::from(&b"b"[..])];
    assert_eq!(
        sent(Reply::LeaseTimeToLive(LeaseTimeToLiveReply {
            revision,
            id,
            ttl: -1,
            granted_ttl: 7,
            keys
        })),
        pb::LeaseTimeToLiveResponse {
            header,
            id: -3,
            ttl: -1,
            granted_ttl: 7,
            keys: vec!["a".into(), "b".into()]
        }
        .encode_to_vec()
    );
    let leases = vec![pb::LeaseStatus { id: -3 }, pb::LeaseStatus { id: 4 }];
    assert_eq!(
        sent(Reply::LeaseLeases(LeaseLeasesReply { revision, leases: vec![id, LeaseId(4)] })),
        pb::LeaseLeasesResponse { header, leases }.encode_to_vec()
    );
}

/// The messages of a reply, decoded, and checked against what they say of themselves.
fn messages(reply: &WatchReply, bytes_max: usize) -> Vec<pb::WatchResponse> {
    let message = |message: WatchMessage| {
        let mut out = BytesMut::from(&b"before"[..]);
        message.encode(&mut out);
        let bytes = out.split_off(6).freeze();
        assert_eq!(bytes.len(), message.length());
        // The other way to write it.
        let mut pieces = BytesMut::new();
        message.put_head(&mut pieces);
        message.events().for_each(|event| pieces.extend_from_slice(event));
        assert_eq!(pieces, bytes);
        let decoded = pb::WatchResponse::decode(bytes.clone()).expect("a message");
        assert_eq!(decoded.encode_to_vec(), bytes, "prost writes the same");
        decoded
    };
    watch_messages(&HEADER, reply, bytes_max).map(message).collect()
}

fn one(reply: &WatchReply) -> pb::WatchResponse {
    let mut messages = messages(reply, usize::MAX);
    assert_eq!(messages.len(), 1);
    messages.pop().expect("one")
}

#[test]
fn replies_without_events() {
    let (id, revision) = (WatchId(3), Revision(8));
    let bare = pb::WatchResponse { header: full(&HEADER, 8), watch_id: 3, ..Default::default() };
    let created = pb::WatchResponse { created: true, ..bare.clone() };
    assert_eq!(one(&WatchReply::Created { id, revision }), created);
    assert_eq!(one(&WatchReply::Progress { id, revision }), bare);
    let all = pb::WatchResponse { watch_id: -1, ..bare.clone() };
    assert_eq!(one(&WatchReply::Progress { id: WatchId::NONE, revision }), all);
    let canceled = pb::WatchResponse { canceled: true, ..bare.clone() };
    assert_eq!(one(&WatchReply::Canceled { id, revision, compacted: None }), canceled);
    let compacted =
        pb::WatchResponse { header: full(&HEADER, 0), compact_revision: 6, ..canceled.clone() };
    let told = WatchReply::Canceled { id, revision, compacted: Some(Revision(6)) };
    assert_eq!(one(&told), compacted);
    let reasons = [
        (WatchRefusal::Compacted, "etcdserver: mvcc: required revision has been compacted"),
        (WatchRefusal::EmptyRange, "mvcc: watcher range is empty"),
        (WatchRefusal::DuplicateId, "mvcc: duplicate watch ID provided on the WatchStream"),
    ];
    for (reason, text) in reasons {
        let refused = pb::WatchResponse {
            watch_id: -1,
            created: true,
            canceled: true,
            cancel_reason: text.to_owned(),
            ..bare.clone()
        };
        assert_eq!(one(&WatchReply::Refused { revision, reason }), refused);
    }
    assert!(messages(&WatchReply::Ended(Refusal::NoLeader), usize::MAX).is_empty());
}

fn events() -> impl Strategy<Value = Vec<Arc<Event>>> {
    let event = (any::<bool>(), number(), blob(), key_value(), prop::option::of(key_value()));
    let event = event.prop_map(|(is_put, revision, key, kv, prev)| {
        let put = is_put.then_some(kv);
        Arc::new(Event::new(Revision(revision), Sub(0), key, put, prev))
    });
    prop::collection::vec(event, 0..8)
}

fn event(event: &Event, with_prev: bool) -> mvccpb::Event {
    let deleted =
        || KeyValue { key: event.key.clone(), modified: event.revision.0, ..KeyValue::default() };
    mvccpb::Event {
        r#type: i32::from(event.put.is_none()),
        kv: Some(mvccpb::KeyValue::from(&event.put.clone().unwrap_or_else(deleted))),
        prev_kv: event.prev.as_ref().filter(|_| with_prev).map(Into::into),
    }
}

/// What etcd's server does with a response that is too large, step by step.
fn fragments(whole: pb::WatchResponse, bytes_max: usize) -> Vec<pb::WatchResponse> {
    if whole.encoded_len() < bytes_max || whole.events.len() < 2 {
        return vec![whole];
    }
    let mut parts: Vec<pb::WatchResponse> = Vec::new();
    let empty = pb::WatchResponse { events: Vec::new(), fragment: true, ..whole.clone() };
    let mut part = empty.clone();
    for event in whole.events {
        part.events.push(event);
        if part.events.len() > 1 && part.encoded_len() >= bytes_max {
            let next = part.events.pop().expect("just pushed");
            parts.push(std::mem::replace(&mut part, empty.clone()));
            part.events.push(next);
        }
    }
    part.fragment = false;
    parts.push(part);
    parts
}

proptest! {
    #[test]
    fn events_are_what_prost_would_write(
        events in events(),
        id in number(),
        revision in number(),
        prev_kv: bool,
        fragment: bool,
        bytes_max in prop_oneof![Just(usize::MAX), 0usize..200, 10_000usize..100_000],
    ) {
        let told = WatchEvents {
            id: WatchId(id),
            revision: Revision(revision),
            events: events.clone(),
            prev_kv,
            fragment,
            bytes: 0,
        };
        let whole = pb::WatchResponse {
            header: full(&HEADER, revision),
            watch_id: id,
            events: events.iter().map(|one| event(one, prev_kv)).collect(),
            ..Default::default()
        };
        let expected = match fragment {
            true => fragments(whole, bytes_max),
            false => vec![whole],
        };
        let sent = messages(&WatchReply::Events(told.clone()), bytes_max);
        // A last part within two bytes of the bound may be cut once more by etcd.
        if sent.len() == expected.len() {
            prop_assert_eq!(&sent, &expected);
        } else {
            prop_assert_eq!(sent.len() + 1, expected.len());
        }
        let bytes_of = |parts: &[pb::WatchResponse]| -> Vec<_> {
            parts.iter().flat_map(|part| part.events.clone()).collect()
        };
        prop_assert_eq!(bytes_of(&sent), bytes_of(&expected));
        for (at, part) in sent.iter().enumerate() {
            prop_assert_eq!(part.fragment, at + 1 < sent.len());
            prop_assert!(!fragment || part.events.len() < 2 || part.encoded_len() < bytes_max);
        }
        // Its bytes are made once, for whoever is told with or without what was before.
        let other = WatchEvents { prev_kv: !prev_kv, ..told };
        let expected: Vec<_> = events.iter().map(|one| event(one, !prev_kv)).collect();
        prop_assert_eq!(&one(&WatchReply::Events(other)).events, &expected);
    }

    #[test]
    fn random_bytes_are_a_request_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode_watch(bytes.clone().into());
        for method in [Method::LeaseGrant, Method::LeaseKeepAlive, Method::LeaseTimeToLive] {
            let _ = super::decode(method, bytes.clone().into(), &Default::default());
        }
    }
}
