//! Requests that are no txn.

use bytes::Bytes;
use prost::Message;

use super::super::{RequestLimits, decode};
use super::{bytes, decoded};
use crate::protocol::method::{Method, Served};
use crate::protocol::pb::etcdserverpb as pb;
use crate::types::{
    AlarmAction, AlarmKind, AlarmRequest, CompactRequest, DeleteRangeRequest, HashKvRequest,
    KeyRange, LeaseId, MemberId, PutRequest, RangeEnd, RangeFilters, RangeRequest, Refusal,
    Request, SortOrder, SortTarget,
};

fn ranged(request: pb::RangeRequest) -> Result<RangeRequest, Refusal> {
    decoded(Method::Range, &request).map(|request| match request {
        Request::Range(range) => range,
        other => panic!("{other:?}"),
    })
}

fn streamed(request: &pb::RangeRequest) -> Result<Request, Refusal> {
    decoded(Method::RangeStream, request)
}

#[test]
fn every_field_of_a_range_arrives() {
    let range = ranged(pb::RangeRequest {
        key: bytes("a"),
        range_end: bytes("z"),
        limit: 5,
        revision: 6,
        sort_order: 2,
        sort_target: 4,
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 10,
        max_mod_revision: 11,
        min_create_revision: 12,
        max_create_revision: 13,
    });
    let expected = RangeRequest {
        range: KeyRange { start: bytes("a"), end: RangeEnd::Before(bytes("z")) },
        limit: 5,
        revision: 6,
        order: SortOrder::Descend,
        target: SortTarget::Value,
        serializable: true,
        keys_only: true,
        count_only: true,
        uncounted: false,
        filters: RangeFilters { min_mod: 10, max_mod: 11, min_create: 12, max_create: 13 },
    };
    assert_eq!(range, Ok(expected));
}

#[test]
fn negative_limits_are_none_and_negative_revisions_stay() {
    let range = ranged(pb::RangeRequest {
        key: bytes("a"),
        limit: i64::MIN,
        revision: -3,
        ..Default::default()
    });
    let range = range.unwrap();
    assert_eq!((range.limit, range.revision), (0, -3));
}

#[test]
fn the_key_is_missed_before_the_sort_is_judged() {
    let request = |key, sort_order, sort_target| pb::RangeRequest {
        key: bytes(key),
        sort_order,
        sort_target,
        ..Default::default()
    };
    assert_eq!(ranged(request("", 9, 9)), Err(Refusal::EmptyKey));
    for (order, target) in [(3, 0), (0, 5), (-1, 0), (0, -1), (i32::MAX, i32::MIN)] {
        assert_eq!(ranged(request("a", order, target)), Err(Refusal::InvalidSortOption));
    }
    for order in 0..=2 {
        for target in 0..=4 {
            assert!(ranged(request("a", order, target)).is_ok(), "{order} {target}");
        }
    }
}

#[test]
fn a_range_stream_takes_key_order_and_no_filters() {
    let unimplemented = |text: &str| Err(Refusal::Unimplemented(text.to_owned()));
    let sorted = |sort_order, sort_target| pb::RangeRequest {
        key: bytes("a"),
        sort_order,
        sort_target,
        ..Default::default()
    };
    let no_sort = "RangeStream does not support custom sort orders";
    assert_eq!(streamed(&sorted(2, 0)), unimplemented(no_sort));
    assert_eq!(streamed(&sorted(1, 3)), unimplemented(no_sort));
    assert_eq!(streamed(&sorted(0, 9)), Err(Refusal::InvalidSortOption));
    assert_eq!(streamed(&pb::RangeRequest::default()), Err(Refusal::EmptyKey));
    // Without an order the target is that of each part.
    let (by_key, by_value) = (SortTarget::Key, SortTarget::Value);
    for (accepted, target) in
        [(sorted(0, 0), by_key), (sorted(1, 0), by_key), (sorted(0, 4), by_value)]
    {
        match streamed(&accepted) {
            Ok(Request::Range(range)) => {
                assert!(range.filters.is_off());
                assert_eq!(range.target, target);
            }
            other => panic!("{other:?}"),
        }
    }
    let filtered = pb::RangeRequest { min_mod_revision: 1, ..sorted(0, 0) };
    let no_filter = "RangeStream does not support revision filters";
    assert_eq!(streamed(&filtered), unimplemented(no_filter));
    let both = pb::RangeRequest { sort_order: 2, ..filtered };
    assert_eq!(streamed(&both), unimplemented(no_sort));
}

#[test]
fn a_put_is_judged_in_etcds_order() {
    let all = pb::PutRequest {
        key: bytes("k"),
        value: bytes("v"),
        lease: 7,
        prev_kv: true,
        ignore_value: true,
        ignore_lease: true,
    };
    let put = |request: &pb::PutRequest| decoded(Method::Put, request);
    let without_key = pb::PutRequest { key: Bytes::new(), ..all.clone() };
    assert_eq!(put(&without_key), Err(Refusal::EmptyKey));
    assert_eq!(put(&all), Err(Refusal::ValueProvided));
    let without_value = pb::PutRequest { value: Bytes::new(), ..all.clone() };
    assert_eq!(put(&without_value), Err(Refusal::LeaseProvided));
    let neither = pb::PutRequest { lease: 0, ..without_value };
    assert!(put(&neither).is_ok());
    let plain = pb::PutRequest { ignore_value: false, ignore_lease: false, ..all };
    let expected = PutRequest {
        key: bytes("k"),
        value: bytes("v"),
        lease: LeaseId(7),
        prev_kv: true,
        ignore_value: false,
        ignore_lease: false,
    };
    assert_eq!(put(&plain), Ok(Request::Put(expected)));
}

#[test]
fn keys_and_values_stay_in_the_receive_buffer() {
    let message = pb::PutRequest { key: bytes("key"), value: bytes("value"), ..Default::default() };
    let payload = Bytes::from(message.encode_to_vec());
    let within = payload.as_ptr() as usize..payload.as_ptr() as usize + payload.len();
    match decode(Method::Put, payload.clone(), &RequestLimits::default()) {
        Ok(Request::Put(put)) => {
            assert!(within.contains(&(put.key.as_ptr() as usize)));
            assert!(within.contains(&(put.value.as_ptr() as usize)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_other_requests_arrive() {
    let delete = pb::DeleteRangeRequest { key: bytes("k"), range_end: bytes("\0"), prev_kv: true };
    let range = KeyRange { start: bytes("k"), end: RangeEnd::Unbounded };
    assert_eq!(
        decoded(Method::DeleteRange, &delete),
        Ok(Request::DeleteRange(DeleteRangeRequest { range, prev_kv: true }))
    );
    assert_eq!(
        decoded(Method::DeleteRange, &pb::DeleteRangeRequest::default()),
        Err(Refusal::EmptyKey)
    );
    assert_eq!(
        decoded(Method::Compact, &pb::CompactionRequest { revision: 9, physical: true }),
        Ok(Request::Compact(CompactRequest { revision: 9, physical: true }))
    );
    assert_eq!(
        decoded(Method::HashKv, &pb::HashKvRequest { revision: 4 }),
        Ok(Request::HashKv(HashKvRequest { revision: 4 }))
    );
    assert_eq!(decoded(Method::Hash, &pb::HashRequest {}), Ok(Request::Hash));
    assert_eq!(decoded(Method::Status, &pb::StatusRequest {}), Ok(Request::Status));
    assert_eq!(decoded(Method::Defragment, &pb::DefragmentRequest {}), Ok(Request::Defragment));
    assert_eq!(
        decoded(Method::MemberList, &pb::MemberListRequest { linearizable: true }),
        Ok(Request::MemberList { linearizable: true })
    );
}

#[test]
fn alarms_are_named_or_refused() {
    let alarm =
        |action, alarm| decoded(Method::Alarm, &pb::AlarmRequest { action, member_id: 3, alarm });
    let request =
        |action, kind| Ok(Request::Alarm(AlarmRequest { action, member: MemberId(3), kind }));
    assert_eq!(alarm(0, 0), request(AlarmAction::Get, None));
    assert_eq!(alarm(1, 1), request(AlarmAction::Activate, Some(AlarmKind::NoSpace)));
    assert_eq!(alarm(2, 2), request(AlarmAction::Deactivate, Some(AlarmKind::Corrupt)));
    assert!(matches!(alarm(3, 0), Err(Refusal::Invalid(text)) if text.contains("action 3")));
    assert!(matches!(alarm(0, 3), Err(Refusal::Invalid(text)) if text.contains("type 3")));
}

#[test]
fn only_what_is_proposed_is_measured() {
    let limits = RequestLimits { max_request_bytes: 100, max_txn_ops: 128 };
    let measured = |method, message: &dyn Fn(usize) -> Vec<u8>| {
        let exact = (0..100).map(message).find(|bytes| bytes.len() == 100).expect("some fit");
        let above = (0..101).map(message).find(|bytes| bytes.len() == 101).expect("some fit");
        assert!(decode(method, exact.into(), &limits).is_ok(), "{method:?}");
        decode(method, above.into(), &limits).map(|_| ())
    };
    let text = |length: usize| bytes(&"v".repeat(length));
    let put = |length| {
        pb::PutRequest { key: bytes("k"), value: text(length), ..Default::default() }
            .encode_to_vec()
    };
    assert_eq!(measured(Method::Put, &put), Err(Refusal::RequestTooLarge));
    let range = |length| {
        pb::RangeRequest { key: bytes("k"), range_end: text(length), ..Default::default() }
            .encode_to_vec()
    };
    assert_eq!(measured(Method::Range, &range), Ok(()));
    let delete = |length| {
        pb::DeleteRangeRequest { key: bytes("k"), range_end: text(length), prev_kv: false }
            .encode_to_vec()
    };
    assert_eq!(measured(Method::DeleteRange, &delete), Err(Refusal::RequestTooLarge));
    let reading =
        |length| super::txn(vec![super::get_op(&"k".repeat(length + 1))], vec![]).encode_to_vec();
    assert_eq!(measured(Method::Txn, &reading), Ok(()));
    let writing =
        |length| super::txn(vec![super::put_op(&"k".repeat(length + 1))], vec![]).encode_to_vec();
    assert_eq!(measured(Method::Txn, &writing), Err(Refusal::RequestTooLarge));
    // Form comes first.
    let keyless = pb::PutRequest { value: text(200), ..Default::default() }.encode_to_vec();
    assert_eq!(decode(Method::Put, keyless.into(), &limits), Err(Refusal::EmptyKey));
}

#[test]
fn bytes_that_are_no_message_are_refused_in_grpcs_words() {
    let junk = Bytes::from_static(b"\x0A\xFF");
    let unary = "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data";
    let stream = "grpc: failed to unmarshal the received message: \
                  proto: cannot parse invalid wire-format data";
    for &method in Method::ALL {
        let refused = decode(method, junk.clone(), &RequestLimits::default());
        let expected = match (method.served(), method) {
            // Its messages are no requests of one answer: `decode_watch` is theirs.
            (_, Method::Watch) => method.unimplemented(),
            (Served::Core, Method::RangeStream | Method::LeaseKeepAlive) => {
                Refusal::Undecodable(stream.to_owned())
            }
            (Served::Core, _) => Refusal::Undecodable(unary.to_owned()),
            _ => method.unimplemented(),
        };
        assert_eq!(refused, Err(expected), "{method:?}");
    }
}

#[test]
fn every_method_of_the_core_decodes_something() {
    for &method in Method::ALL {
        // An empty message, or one with field 1 = "k": enough for every one of them.
        let served = [&b""[..], b"\x0A\x01k"].iter().any(|payload| {
            decode(method, Bytes::from_static(payload), &RequestLimits::default()).is_ok()
        });
        let is_one = method.served() == Served::Core && method != Method::Watch;
        assert_eq!(served, is_one, "{method:?}");
    }
}
