//! Bytes that mean no good.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::super::txn::only_puts;
use super::super::{RequestLimits, decode, txn as slow};
use super::{delete_op, get_op, put_op, txn, txn_op};
use crate::protocol::method::Method;
use crate::protocol::pb::etcdserverpb as pb;
use crate::types::Refusal;

fn try_all(payload: &Bytes) {
    for &method in Method::ALL {
        let _ = decode(method, payload.clone(), &RequestLimits::default());
    }
}

/// `levels` txns in one another around nothing, without building them first.
fn tower(levels: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for _ in 0..levels {
        for key in [0x22, 0x12] {
            let mut outer = vec![key];
            prost::encoding::encode_varint(message.len() as u64, &mut outer);
            outer.extend_from_slice(&message);
            message = outer;
        }
    }
    message
}

#[test]
fn a_tower_of_txns_falls_without_taking_the_stack() {
    for levels in [50, 100, 1000, 3000] {
        let refused = decode(Method::Txn, tower(levels).into(), &RequestLimits::default());
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{levels}: {refused:?}");
    }
    // Every other way in which such a message could be read.
    try_all(&Bytes::from(tower(3000)));
}

#[test]
fn a_million_empty_operations_are_refused_before_they_are_built() {
    let payload = Bytes::from(b"\x12\x00".repeat(1 << 20));
    let refused = decode(Method::Txn, payload, &RequestLimits::default());
    assert_eq!(refused, Err(Refusal::TooManyOps));
}

#[test]
fn lengths_beyond_the_end_are_refused() {
    for length in [2u64, 1 << 20, u64::from(u32::MAX), u64::MAX] {
        let mut payload = vec![0x0A];
        prost::encoding::encode_varint(length, &mut payload);
        payload.push(b'k');
        for method in [Method::Range, Method::Put, Method::DeleteRange, Method::Txn] {
            let refused = decode(method, payload.clone().into(), &RequestLimits::default());
            assert!(matches!(refused, Err(Refusal::Undecodable(_))), "{method:?} {refused:?}");
        }
    }
}

fn sample() -> Vec<u8> {
    let compare = pb::Compare {
        key: Bytes::from_static(b"k"),
        target: 3,
        target_union: Some(pb::compare::TargetUnion::Value(Bytes::from_static(b"v"))),
        ..Default::default()
    };
    let inner = txn_op(vec![put_op("x"), get_op("y")], vec![delete_op("z", "\0")]);
    let request = txn(vec![put_op("a"), get_op("b"), inner], vec![delete_op("a", "c")]);
    pb::TxnRequest { compare: vec![compare], ..request }.encode_to_vec()
}

#[test]
fn truncated_and_bit_flipped_txns_are_read_or_refused() {
    let whole = sample();
    assert!(decode(Method::Txn, whole.clone().into(), &RequestLimits::default()).is_ok());
    for length in 0..whole.len() {
        try_all(&Bytes::copy_from_slice(&whole[..length]));
    }
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        try_all(&Bytes::from(damaged));
    }
}

/// Whatever the short way reads is what prost reads, or refused for the same.
fn reads_as_prost(payload: &Bytes) -> bool {
    let Some(quick) = only_puts(payload, 128) else { return false };
    let message = pb::TxnRequest::decode(payload.clone()).expect("sound bytes");
    assert_eq!(quick, slow::txn(message), "{payload:?}");
    true
}

#[test]
fn puts_read_the_short_way_are_prosts() {
    let put = |key: &str, change: fn(&mut pb::PutRequest)| {
        let mut op = put_op(key);
        let Some(pb::request_op::Request::RequestPut(put)) = &mut op.request else {
            unreachable!("a put")
        };
        change(put);
        op
    };
    let puts = vec![
        put("a", |_| ()),
        put("b", |put| put.lease = -7),
        put("c", |put| put.prev_kv = true),
        put("", |_| ()),
        put("d", |put| (put.ignore_value, put.value) = (true, Bytes::new())),
        put("e", |put| put.ignore_value = true),
        put("f", |put| (put.ignore_lease, put.lease) = (true, 5)),
    ];
    for op in &puts {
        assert!(reads_as_prost(&txn(vec![op.clone()], Vec::new()).encode_to_vec().into()));
    }
    let whole = txn(puts, Vec::new()).encode_to_vec();
    assert!(reads_as_prost(&whole.clone().into()));
    for length in 0..whole.len() {
        reads_as_prost(&Bytes::copy_from_slice(&whole[..length]));
    }
    let mut read = 0;
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        read += usize::from(reads_as_prost(&Bytes::from(damaged)));
    }
    assert!(read > whole.len(), "only {read} of {} are still puts", whole.len() * 8);
}

#[test]
fn what_is_more_than_puts_goes_the_long_way() {
    let payload = |txn: pb::TxnRequest| Bytes::from(txn.encode_to_vec());
    assert_eq!(only_puts(&payload(txn(vec![put_op("a"), get_op("b")], Vec::new())), 128), None);
    assert_eq!(only_puts(&payload(txn(vec![put_op("a")], vec![put_op("b")])), 128), None);
    let three = payload(txn(vec![put_op("a"), put_op("b"), put_op("c")], Vec::new()));
    assert!(only_puts(&three, 3).is_some());
    assert_eq!(only_puts(&three, 2), None, "too many is said by `bounds`");
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        try_all(&Bytes::from(payload));
    }

    /// Bytes that look like protobuf reach further than random ones.
    #[test]
    fn near_messages_are_read_or_refused(
        fields in prop::collection::vec(
            (1u8..16, 0u8..6, prop::collection::vec(any::<u8>(), 0..12)),
            0..20,
        ),
    ) {
        let mut payload = Vec::new();
        for (number, wire_type, bytes) in fields {
            payload.push(number << 3 | wire_type);
            if wire_type == 2 {
                payload.push(bytes.len() as u8);
            }
            payload.extend_from_slice(&bytes);
        }
        try_all(&Bytes::from(payload));
    }

    /// The outline never refuses as malformed what prost can read, groups aside.
    #[test]
    fn the_outline_agrees_with_prost(payload in prop::collection::vec(any::<u8>(), 0..40)) {
        let has_group = payload.iter().any(|byte| matches!(byte & 7, 3 | 4));
        if !has_group && pb::TxnRequest::decode(&payload[..]).is_ok() {
            let outcome = decode(Method::Txn, payload.into(), &RequestLimits::default());
            prop_assert!(!matches!(outcome, Err(Refusal::Undecodable(_))));
        }
    }
}
