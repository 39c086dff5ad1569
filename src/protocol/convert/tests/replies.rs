//! Replies: the encoders by hand against prost, and which fields of the header are there.

use bytes::BytesMut;
use proptest::prelude::*;
use prost::Message;

use super::super::{HeaderFields, encode, encode_range_part};
use crate::protocol::pb::etcdserverpb as pb;
use crate::types::{
    Alarm, AlarmKind, AlarmReply, Blob, ClusterId, CompactReply, DefragmentReply, DeleteRangeReply,
    HashKvReply, HashReply, KeyValue, LeaseId, Member, MemberId, MemberListReply, OpReply,
    PutReply, RangeReply, Reply, Revision, StatusReply, Term, TxnReply,
};

pub(super) const HEADER: HeaderFields =
    HeaderFields { cluster_id: ClusterId(7), member_id: MemberId(u64::MAX), raft_term: Term(3) };

fn encoded(header: &HeaderFields, reply: &Reply) -> Vec<u8> {
    let mut out = BytesMut::from(&b"before"[..]);
    encode(header, reply, &mut out);
    assert!(out.starts_with(b"before"));
    out[6..].to_vec()
}

pub(super) fn full(header: &HeaderFields, revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        cluster_id: header.cluster_id.0,
        member_id: header.member_id.0,
        revision,
        raft_term: header.raft_term.0,
    })
}

fn revision_only(revision: Revision) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision: revision.0, ..Default::default() })
}

fn range(header: Option<pb::ResponseHeader>, reply: &RangeReply) -> pb::RangeResponse {
    let kvs = reply.kvs.iter().map(Into::into).collect();
    pb::RangeResponse { header, kvs, more: reply.more, count: reply.count }
}

fn put(header: Option<pb::ResponseHeader>, reply: &PutReply) -> pb::PutResponse {
    pb::PutResponse { header, prev_kv: reply.prev_kv.as_ref().map(Into::into) }
}

fn delete(header: Option<pb::ResponseHeader>, reply: &DeleteRangeReply) -> pb::DeleteRangeResponse {
    let prev_kvs = reply.prev_kvs.iter().map(Into::into).collect();
    pb::DeleteRangeResponse { header, deleted: reply.deleted, prev_kvs }
}

fn txn(header: Option<pb::ResponseHeader>, reply: &TxnReply) -> pb::TxnResponse {
    let responses = reply.responses.iter().map(op).collect();
    pb::TxnResponse { header, succeeded: reply.succeeded, responses }
}

fn op(reply: &OpReply) -> pb::ResponseOp {
    use pb::response_op::Response;
    let response = match reply {
        OpReply::Range(reply) => {
            Response::ResponseRange(range(revision_only(reply.revision), reply))
        }
        OpReply::Put(reply) => Response::ResponsePut(put(revision_only(reply.revision), reply)),
        OpReply::DeleteRange(reply) => {
            Response::ResponseDeleteRange(delete(revision_only(reply.revision), reply))
        }
        OpReply::Txn(reply) => Response::ResponseTxn(txn(revision_only(reply.revision), reply)),
    };
    pb::ResponseOp { response: Some(response) }
}

pub(super) fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(-1), 0i64..300, any::<i64>()]
}

pub(super) fn blob() -> impl Strategy<Value = Blob> {
    // Lengths on both sides of 128, where a varint grows.
    prop_oneof![3 => 0usize..5, 1 => 120usize..140, 1 => 16_380usize..16_390]
        .prop_flat_map(|length| prop::collection::vec(any::<u8>(), length))
        .prop_map(Blob::from)
}

pub(super) fn key_value() -> impl Strategy<Value = KeyValue> {
    (blob(), blob(), number(), number(), number(), number()).prop_map(
        |(key, value, create, modified, version, lease)| KeyValue {
            key,
            value,
            create,
            modified,
            version,
            lease: LeaseId(lease),
        },
    )
}

fn kvs() -> impl Strategy<Value = Vec<KeyValue>> {
    prop::collection::vec(key_value(), 0..4)
}

fn range_reply() -> impl Strategy<Value = RangeReply> {
    (number(), kvs(), any::<bool>(), number()).prop_map(|(revision, kvs, more, count)| RangeReply {
        revision: Revision(revision),
        kvs,
        more,
        count,
    })
}

fn put_reply() -> impl Strategy<Value = PutReply> {
    (number(), prop::option::of(key_value()))
        .prop_map(|(revision, prev_kv)| PutReply { revision: Revision(revision), prev_kv })
}

fn delete_reply() -> impl Strategy<Value = DeleteRangeReply> {
    (number(), number(), kvs()).prop_map(|(revision, deleted, prev_kvs)| DeleteRangeReply {
        revision: Revision(revision),
        deleted,
        prev_kvs,
    })
}

fn txn_reply() -> impl Strategy<Value = TxnReply> {
    let leaf = prop_oneof![
        range_reply().prop_map(OpReply::Range),
        put_reply().prop_map(OpReply::Put),
        delete_reply().prop_map(OpReply::DeleteRange),
    ];
    let node = leaf.prop_recursive(4, 12, 3, |inner| {
        txn_of(prop::collection::vec(inner, 0..3)).prop_map(OpReply::Txn)
    });
    txn_of(prop::collection::vec(node, 0..4))
}

/// As the answer to nothing but puts, whose headers agree or do not.
fn puts_reply() -> impl Strategy<Value = TxnReply> {
    let put = (1i64..3).prop_map(|revision| {
        OpReply::Put(PutReply { revision: Revision(revision), prev_kv: None })
    });
    txn_of(prop::collection::vec(put, 0..4))
}

fn txn_of(responses: impl Strategy<Value = Vec<OpReply>>) -> impl Strategy<Value = TxnReply> {
    (number(), any::<bool>(), responses).prop_map(|(revision, succeeded, responses)| TxnReply {
        revision: Revision(revision),
        succeeded,
        responses,
    })
}

fn header_fields() -> impl Strategy<Value = HeaderFields> {
    (number(), number(), number()).prop_map(|(cluster_id, member_id, raft_term)| HeaderFields {
        cluster_id: ClusterId(cluster_id as u64),
        member_id: MemberId(member_id as u64),
        raft_term: Term(raft_term as u64),
    })
}

proptest! {
    #[test]
    fn ranges_are_prosts(header in header_fields(), reply in range_reply()) {
        let expected = range(full(&header, reply.revision.0), &reply).encode_to_vec();
        prop_assert_eq!(encoded(&header, &Reply::Range(reply)), expected);
    }

    #[test]
    fn puts_are_prosts(header in header_fields(), reply in put_reply()) {
        let expected = put(full(&header, reply.revision.0), &reply).encode_to_vec();
        prop_assert_eq!(encoded(&header, &Reply::Put(reply)), expected);
    }

    #[test]
    fn deletes_are_prosts(header in header_fields(), reply in delete_reply()) {
        let expected = delete(full(&header, reply.revision.0), &reply).encode_to_vec();
        prop_assert_eq!(encoded(&header, &Reply::DeleteRange(reply)), expected);
    }

    #[test]
    fn txns_are_prosts(header in header_fields(), reply in prop_oneof![txn_reply(), puts_reply()]) {
        let expected = txn(full(&header, reply.revision.0), &reply).encode_to_vec();
        prop_assert_eq!(encoded(&header, &Reply::Txn(reply)), expected);
    }

    #[test]
    fn the_parts_of_a_stream_merge_to_the_range(
        kvs in prop::collection::vec(key_value(), 0..60),
        more: bool,
        part_keys in 1usize..30,
    ) {
        let reply = RangeReply { revision: Revision(9), kvs, more, count: 77 };
        let expected = range(full(&HEADER, 9), &reply);
        let parts = parts(&reply, part_keys);
        let (last, others) = parts.split_last().unwrap();
        for part in others {
            let part = part.range_response.as_ref().unwrap();
            prop_assert!(part.header.is_none() && !part.more && part.count == 0);
            prop_assert!(!part.kvs.is_empty());
        }
        prop_assert!(last.range_response.as_ref().unwrap().header.is_some());
        let mut merged = pb::RangeStreamResponse::default();
        for part in &parts {
            merged.merge(&part.encode_to_vec()[..]).unwrap();
        }
        prop_assert_eq!(merged.range_response, Some(expected));
    }
}

/// The answer in parts of at most `part_keys` keys.
fn parts(reply: &RangeReply, part_keys: usize) -> Vec<pb::RangeStreamResponse> {
    let chunks: Vec<&[KeyValue]> = reply.kvs.chunks(part_keys).collect();
    let count = chunks.len().max(1);
    (0..count)
        .map(|at| {
            let kvs = chunks.get(at).map_or_else(Vec::new, |chunk| chunk.to_vec());
            let header = (at + 1 == count).then_some(&HEADER);
            let mut out = BytesMut::new();
            encode_range_part(header, &RangeReply { kvs, ..reply.clone() }, &mut out);
            let part = pb::RangeStreamResponse::decode(&out[..]).unwrap();
            assert_eq!(part.encode_to_vec(), out, "prost's bytes");
            part
        })
        .collect()
}

#[test]
fn zeros_are_left_out_but_headers_stay() {
    let nested = TxnReply { succeeded: true, ..Default::default() };
    let reply = TxnReply {
        revision: Revision(4),
        succeeded: true,
        responses: vec![
            OpReply::Put(PutReply { revision: Revision(4), prev_kv: None }),
            OpReply::Txn(nested),
        ],
    };
    let bytes = encoded(&HeaderFields::default(), &Reply::Txn(reply));
    // header{revision 4}, succeeded, {put{header{revision 4}}}, {txn{header{}, succeeded}}
    let expected = b"\x0A\x02\x18\x04\x10\x01\x1A\x06\x12\x04\x0A\x02\x18\x04\
                     \x1A\x06\x22\x04\x0A\x00\x10\x01";
    assert_eq!(bytes, expected);
    let range = encoded(&HeaderFields::default(), &Reply::Range(RangeReply::default()));
    assert_eq!(range, b"\x0A\x00");
}

#[test]
fn headers_say_what_etcds_do() {
    let decoded = |reply: Reply| encoded(&HEADER, &reply);
    let compact = decoded(Reply::Compact(CompactReply { revision: Revision(8) }));
    let compact = pb::CompactionResponse::decode(&compact[..]).unwrap();
    assert_eq!(compact.header, full(&HEADER, 8));

    let defragment = decoded(Reply::Defragment(DefragmentReply {}));
    assert_eq!(defragment, b"", "no header at all");

    let member = Member {
        id: 5,
        name: "m".to_owned(),
        peer_urls: vec!["http://p".to_owned()],
        client_urls: vec!["http://c".to_owned()],
        is_learner: true,
    };
    let list = decoded(Reply::MemberList(MemberListReply { members: vec![member] }));
    let list = pb::MemberListResponse::decode(&list[..]).unwrap();
    assert_eq!(list.header, full(&HEADER, 0));
    assert_eq!(list.members[0].peer_ur_ls, ["http://p"]);
    assert_eq!(list.members[0].client_ur_ls, ["http://c"]);
    assert!(list.members[0].is_learner && list.members[0].name == "m" && list.members[0].id == 5);
}

#[test]
fn maintenance_replies_carry_their_fields() {
    let alarms = vec![
        Alarm { member: MemberId(1), kind: AlarmKind::NoSpace },
        Alarm { member: MemberId(0), kind: AlarmKind::Corrupt },
    ];
    let alarm = encoded(&HEADER, &Reply::Alarm(AlarmReply { revision: Revision(2), alarms }));
    let alarm = pb::AlarmResponse::decode(&alarm[..]).unwrap();
    assert_eq!(alarm.header, full(&HEADER, 2));
    let raised: Vec<_> = alarm.alarms.iter().map(|a| (a.member_id, a.alarm)).collect();
    assert_eq!(raised, [(1, 1), (0, 2)]);

    let hash = encoded(&HEADER, &Reply::Hash(HashReply { revision: Revision(2), hash: 9 }));
    let hash = pb::HashResponse::decode(&hash[..]).unwrap();
    assert_eq!(hash, pb::HashResponse { header: full(&HEADER, 2), hash: 9 });

    let reply =
        HashKvReply { revision: Revision(5), hash: 9, compact_revision: -1, hash_revision: 4 };
    let hash_kv = encoded(&HEADER, &Reply::HashKv(reply));
    let hash_kv = pb::HashKvResponse::decode(&hash_kv[..]).unwrap();
    assert_eq!(hash_kv.header, full(&HEADER, 5));
    assert_eq!((hash_kv.hash, hash_kv.compact_revision, hash_kv.hash_revision), (9, -1, 4));
}

#[test]
fn a_status_has_our_versions_and_always_a_downgrade() {
    let reply = StatusReply {
        revision: Revision(2),
        db_size: 10,
        db_size_in_use: 11,
        db_size_quota: 12,
        leader: MemberId(13),
        raft_term: 14,
        raft_index: 15,
        raft_applied_index: 16,
        errors: vec!["etcdserver: no leader".to_owned()],
        is_learner: true,
    };
    let bytes = encoded(&HEADER, &Reply::Status(Box::new(reply)));
    let expected = pb::StatusResponse {
        header: full(&HEADER, 2),
        version: "3.7.1".to_owned(),
        db_size: 10,
        leader: 13,
        raft_index: 15,
        raft_term: 14,
        raft_applied_index: 16,
        errors: vec!["etcdserver: no leader".to_owned()],
        db_size_in_use: 11,
        is_learner: true,
        storage_version: "3.7.0".to_owned(),
        db_size_quota: 12,
        downgrade_info: Some(pb::DowngradeInfo::default()),
    };
    assert_eq!(pb::StatusResponse::decode(&bytes[..]), Ok(expected));
}
