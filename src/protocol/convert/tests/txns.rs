//! The form of txns.

use bytes::Bytes;
use prost::Message;

use super::super::{RequestLimits, decode};
use super::{bytes, decoded, delete_op, get_op, put_op, txn, txn_op};
use crate::limits::{TXN_DEPTH_MAX, TXN_OPS_TOTAL_MAX};
use crate::protocol::method::Method;
use crate::protocol::pb::etcdserverpb as pb;
use crate::protocol::pb::etcdserverpb::compare::TargetUnion;
use crate::types::{
    Compare, CompareOperand, CompareOperator, KeyRange, Op, Refusal, Request, TxnRequest,
};

fn txned(message: &pb::TxnRequest) -> Result<TxnRequest, Refusal> {
    decoded(Method::Txn, message).map(|request| match request {
        Request::Txn(txn) => txn,
        other => panic!("{other:?}"),
    })
}

fn compared(result: i32, target: i32, union: Option<TargetUnion>) -> Compare {
    let compare = pb::Compare {
        result,
        target,
        key: bytes("k"),
        range_end: Bytes::new(),
        target_union: union,
    };
    let message = pb::TxnRequest { compare: vec![compare], ..Default::default() };
    txned(&message).unwrap().compare.remove(0)
}

fn gets(count: usize) -> Vec<pb::RequestOp> {
    vec![get_op("k"); count]
}

/// `levels` txns in one another, the outermost counted.
fn nested(levels: usize) -> pb::TxnRequest {
    let mut message = txn(gets(1), vec![]);
    for _ in 1..levels {
        let inner = pb::request_op::Request::RequestTxn(message);
        message = txn(vec![super::op(inner)], vec![]);
    }
    message
}

#[test]
fn the_parts_of_a_txn_arrive_in_order() {
    let message = pb::TxnRequest {
        compare: vec![pb::Compare {
            result: 1,
            target: 2,
            key: bytes("c"),
            range_end: bytes("d"),
            target_union: Some(TargetUnion::ModRevision(5)),
        }],
        success: vec![get_op("g"), put_op("p"), delete_op("d", "e"), txn_op(gets(1), vec![])],
        failure: vec![put_op("f")],
    };
    let txn = txned(&message).unwrap();
    let compare = Compare {
        range: KeyRange::from_api(bytes("c"), bytes("d")),
        operator: CompareOperator::Greater,
        operand: CompareOperand::Mod(5),
    };
    assert_eq!(txn.compare, [compare]);
    assert!(matches!(
        &txn.success[..],
        [Op::Range(get), Op::Put(put), Op::DeleteRange(delete), Op::Txn(inner)]
            if get.range == KeyRange::single(bytes("g"))
                && put.key == "p"
                && delete.range == KeyRange::from_api(bytes("d"), bytes("e"))
                && inner.success.len() == 1
    ));
    assert!(matches!(&txn.failure[..], [Op::Put(put)] if put.key == "f"));
    assert_eq!(txned(&pb::TxnRequest::default()), Ok(TxnRequest::default()));
}

#[test]
fn an_operand_counts_only_if_it_is_the_targets() {
    use CompareOperand::*;
    let unions = [
        TargetUnion::Version(5),
        TargetUnion::CreateRevision(5),
        TargetUnion::ModRevision(5),
        TargetUnion::Value(bytes("v")),
        TargetUnion::Lease(5),
    ];
    let given = [Version(5), Create(5), Mod(5), Value(bytes("v")), Lease(5)];
    let not_given = [Version(0), Create(0), Mod(0), Value(Bytes::new()), Lease(0)];
    for target in 0..5 {
        assert_eq!(compared(0, target as i32, None).operand, not_given[target]);
        for (kind, union) in unions.iter().enumerate() {
            let expected = if kind == target { &given } else { &not_given };
            let compare = compared(0, target as i32, Some(union.clone()));
            assert_eq!(compare.operand, expected[target], "{target} {union:?}");
        }
    }
}

#[test]
fn operators_arrive() {
    use CompareOperator::*;
    for (result, operator) in [(0, Equal), (1, Greater), (2, Less), (3, NotEqual)] {
        assert_eq!(compared(result, 0, None).operator, operator);
    }
}

/// What our compare says of a key with `version` (0: missing), for those that unknown enum values
/// become.
fn holds(compare: &Compare, version: i64) -> bool {
    let CompareOperand::Version(operand) = compare.operand else { panic!("{compare:?}") };
    match compare.operator {
        CompareOperator::Equal => version == operand,
        CompareOperator::NotEqual => version != operand,
        CompareOperator::Greater => version > operand,
        CompareOperator::Less => version < operand,
    }
}

#[test]
fn unknown_enum_values_compare_as_in_etcd() {
    let unknown = 77;
    for version in [0, 1, i64::MAX] {
        // An unknown target compares as equal.
        for (result, expected) in [(0, true), (1, false), (2, false), (3, false)] {
            assert_eq!(holds(&compared(result, unknown, None), version), expected);
        }
        // An unknown operator holds, but no value compare does for a missing key.
        for target in [0, 1, 2, 4, unknown] {
            assert!(holds(&compared(unknown, target, None), version));
        }
        assert_eq!(holds(&compared(unknown, 3, None), version), version > 0);
    }
}

#[test]
fn faults_are_found_in_etcds_order() {
    let keyless = pb::Compare { target: 1, ..Default::default() };
    let empty_op = pb::RequestOp::default();
    let with_compare = |compare, success| pb::TxnRequest { compare, success, failure: vec![] };
    assert_eq!(txned(&with_compare(vec![keyless.clone()], gets(129))), Err(Refusal::TooManyOps));
    assert_eq!(txned(&with_compare(vec![keyless], vec![empty_op.clone()])), Err(Refusal::EmptyKey));
    assert_eq!(txned(&txn(vec![empty_op.clone(), get_op("")], vec![])), Err(Refusal::KeyNotFound));
    assert_eq!(txned(&txn(vec![get_op(""), empty_op.clone()], vec![])), Err(Refusal::EmptyKey));
    assert_eq!(txned(&txn(vec![], vec![put_op("")])), Err(Refusal::EmptyKey));
    assert_eq!(txned(&txn(vec![], vec![delete_op("", "z")])), Err(Refusal::EmptyKey));
    // Form of both branches comes before keys given twice.
    let twice = vec![put_op("k"), put_op("k")];
    assert_eq!(txned(&txn(twice.clone(), vec![empty_op])), Err(Refusal::KeyNotFound));
    assert_eq!(txned(&txn(twice, vec![])), Err(Refusal::DuplicateKey));
    // Depth first: the fault in the nested txn of the first op is named.
    let inner = txn_op(vec![get_op("")], vec![]);
    assert_eq!(txned(&txn(vec![inner, pb::RequestOp::default()], vec![])), Err(Refusal::EmptyKey));
}

#[test]
fn a_nested_txn_gets_what_the_longest_list_left() {
    assert!(txned(&txn(gets(128), gets(128))).is_ok());
    assert_eq!(txned(&txn(gets(129), vec![])), Err(Refusal::TooManyOps));
    assert_eq!(txned(&txn(vec![], gets(129))), Err(Refusal::TooManyOps));
    let compare = pb::Compare { key: bytes("k"), ..Default::default() };
    let compares = |count| pb::TxnRequest {
        compare: vec![compare.clone(); count],
        success: vec![txn_op(gets(28), vec![])],
        failure: vec![],
    };
    assert!(txned(&compares(100)).is_ok());
    assert_eq!(txned(&compares(101)), Err(Refusal::TooManyOps));
    assert!(txned(&txn(vec![txn_op(gets(127), vec![])], vec![])).is_ok());
    assert_eq!(txned(&txn(vec![txn_op(vec![], gets(128))], vec![])), Err(Refusal::TooManyOps));
    let limits = RequestLimits { max_txn_ops: 2, ..Default::default() };
    let message = Bytes::from(txn(gets(3), vec![]).encode_to_vec());
    assert_eq!(decode(Method::Txn, message, &limits), Err(Refusal::TooManyOps));
}

#[test]
fn nesting_is_bounded_by_name() {
    assert!(txned(&nested(TXN_DEPTH_MAX)).is_ok());
    let refused = txned(&nested(TXN_DEPTH_MAX + 1));
    assert!(matches!(&refused, Err(Refusal::Invalid(text)) if text.contains("nested")));
    // A budget of few operations runs out first.
    let limits = RequestLimits { max_txn_ops: 10, ..Default::default() };
    let message = Bytes::from(nested(11).encode_to_vec());
    assert_eq!(decode(Method::Txn, message, &limits), Err(Refusal::TooManyOps));
}

#[test]
fn the_whole_tree_is_bounded_too() {
    // Three levels of 25 are 16,275 operations, four would be a quarter of a million.
    let wide = |inner: pb::RequestOp| txn_op(vec![inner; 25], vec![]);
    let three = txn(vec![wide(wide(get_op("k"))); 25], vec![]);
    assert!(txned(&three).is_ok());
    let above = txn(vec![wide(wide(get_op("k"))); 26], vec![]);
    const { assert!(26 * (1 + 25 * 26) > TXN_OPS_TOTAL_MAX) };
    assert_eq!(txned(&above), Err(Refusal::TooManyOps));
    let limits = RequestLimits { max_txn_ops: 1 << 13, ..Default::default() };
    let message = Bytes::from(above.encode_to_vec());
    assert!(decode(Method::Txn, message, &limits).is_ok());
}

#[test]
fn an_operation_of_several_txns_is_refused() {
    let inner = pb::request_op::Request::RequestTxn(txn(gets(1), vec![]));
    let once = super::op(inner).encode_to_vec();
    let twice = [once.clone(), once.clone()].concat();
    let message = |op: &[u8]| {
        let length = u8::try_from(op.len()).unwrap();
        Bytes::from([&[0x12, length], op].concat())
    };
    let limits = RequestLimits::default();
    assert!(decode(Method::Txn, message(&once), &limits).is_ok());
    let refused = decode(Method::Txn, message(&twice), &limits);
    assert!(matches!(refused, Err(Refusal::Undecodable(_))));
}
