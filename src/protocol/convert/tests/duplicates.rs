//! Keys given twice: docs/etcd-semantics.md 4.1, and a model that says it the slow way.

use proptest::prelude::*;

use super::{decoded, delete_op, get_op, put_op, txn, txn_op};
use crate::protocol::method::Method;
use crate::protocol::pb::etcdserverpb as pb;
use crate::types::Refusal;

fn accepted(success: Vec<pb::RequestOp>) -> bool {
    judged(&txn(success, vec![]))
}

fn judged(message: &pb::TxnRequest) -> bool {
    match decoded(Method::Txn, message) {
        Ok(_) => true,
        Err(Refusal::DuplicateKey) => false,
        Err(other) => panic!("{other:?}"),
    }
}

fn then(ops: Vec<pb::RequestOp>) -> pb::RequestOp {
    txn_op(ops, vec![])
}

#[test]
fn one_level() {
    assert!(accepted(vec![put_op("a"), put_op("b"), get_op("a"), get_op("a")]));
    assert!(!accepted(vec![put_op("a"), put_op("a")]));
    assert!(!accepted(vec![put_op("a"), delete_op("a", "")]));
    assert!(!accepted(vec![delete_op("a", ""), put_op("a")]));
    assert!(!accepted(vec![put_op("b"), delete_op("a", "c")]));
    assert!(!accepted(vec![put_op("a"), delete_op("a", "c")]));
    assert!(accepted(vec![put_op("c"), delete_op("a", "c")]));
    assert!(accepted(vec![put_op("ab"), delete_op("a", "")]));
    assert!(accepted(vec![delete_op("a", "c"), delete_op("b", "d"), delete_op("a", "")]));
    assert!(!accepted(vec![delete_op("a", "c"), delete_op("c", "e"), put_op("c")]));
    assert!(!accepted(vec![delete_op("a", "z"), delete_op("b", "c"), put_op("x")]));
    assert!(!accepted(vec![delete_op("b", "c"), delete_op("a", "z"), put_op("x")]));
    let branches = |success, failure| judged(&txn(success, failure));
    assert!(branches(vec![put_op("a")], vec![put_op("a")]));
    assert!(branches(vec![put_op("a")], vec![delete_op("a", "")]));
    assert!(!branches(vec![], vec![put_op("a"), put_op("a")]));
}

#[test]
fn a_delete_of_everything_is_taken_literally_as_empty() {
    assert!(accepted(vec![delete_op("a", "\0"), put_op("b")]));
    assert!(accepted(vec![delete_op("\0", "\0"), put_op("\0")]));
    assert!(accepted(vec![delete_op("c", "a"), put_op("b"), put_op("c")]));
    assert!(accepted(vec![delete_op("c", "c"), put_op("c")]));
}

#[test]
fn nested() {
    // Puts of a nested txn collide with those before, beside and around it.
    assert!(!accepted(vec![then(vec![put_op("a")]), then(vec![put_op("a")])]));
    assert!(!accepted(vec![then(vec![put_op("a")]), put_op("a")]));
    assert!(!accepted(vec![put_op("a"), then(vec![put_op("a")])]));
    assert!(!accepted(vec![then(vec![then(vec![put_op("a")])]), put_op("a")]));
    // Its branches exclude one another.
    assert!(accepted(vec![txn_op(vec![put_op("a")], vec![put_op("a")])]));
    assert!(accepted(vec![txn_op(vec![put_op("a")], vec![delete_op("a", "")])]));
    assert!(accepted(vec![txn_op(vec![delete_op("a", "")], vec![put_op("a")])]));
    assert!(!accepted(vec![txn_op(vec![put_op("a")], vec![put_op("a")]), put_op("a")]));
    assert!(!accepted(vec![then(vec![put_op("a")]), txn_op(vec![], vec![put_op("a")])]));
}

#[test]
fn order_matters_only_between_nested_txns() {
    // A delete of the outer level counts before all that is nested.
    assert!(!accepted(vec![then(vec![put_op("a")]), delete_op("a", "")]));
    assert!(!accepted(vec![delete_op("a", "z"), then(vec![put_op("b")])]));
    // A nested delete, then a put in a later sibling or at the outer level.
    assert!(!accepted(vec![then(vec![delete_op("a", "")]), then(vec![put_op("a")])]));
    assert!(!accepted(vec![then(vec![delete_op("a", "")]), put_op("a")]));
    assert!(!accepted(vec![put_op("a"), then(vec![delete_op("a", "")])]));
    // A put in one nested txn and a delete in a later one.
    assert!(accepted(vec![then(vec![put_op("a")]), then(vec![delete_op("a", "")])]));
    assert!(accepted(vec![then(vec![put_op("b")]), then(vec![delete_op("a", "z")])]));
}

#[test]
fn many_keys_and_ranges_are_judged_quickly() {
    // 25 * 25 * 25 operations; the walk must not compare each with each.
    let leaf = |i: usize, j: usize| {
        let ops = (0..24).map(|k| match k % 2 {
            0 => put_op(&format!("p/{i}/{j}/{k}")),
            _ => delete_op(&format!("d/{i}/{j}/{k}/a"), &format!("d/{i}/{j}/{k}/b")),
        });
        then(ops.collect())
    };
    let level = |i: usize| then((0..24).map(|j| leaf(i, j)).collect());
    assert!(accepted((0..24).map(level).collect()));
}

/// A tree of puts and deletes over few keys.
#[derive(Clone, Debug)]
enum Node {
    Put(u8),
    Delete(u8, Option<u8>),
    Txn(Vec<Node>, Vec<Node>),
}

fn key(number: u8) -> String {
    char::from(b'a' + number).to_string()
}

fn message(nodes: &[Node]) -> Vec<pb::RequestOp> {
    let op = |node: &Node| match node {
        Node::Put(k) => put_op(&key(*k)),
        Node::Delete(k, None) => delete_op(&key(*k), ""),
        Node::Delete(k, Some(end)) => delete_op(&key(*k), &key(*end)),
        Node::Txn(success, failure) => txn_op(message(success), message(failure)),
    };
    nodes.iter().map(op).collect()
}

/// The same walk with lists of single keys instead of sets and ranges; `None` is refused.
fn model(nodes: &[Node]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    for node in nodes {
        match node {
            Node::Delete(k, None) => deletes.push(*k),
            Node::Delete(k, Some(end)) => deletes.extend(*k..*end),
            Node::Put(_) | Node::Txn(..) => {}
        }
    }
    for node in nodes {
        let Node::Txn(success, failure) = node else { continue };
        let (then_puts, then_deletes) = model(success)?;
        let (else_puts, else_deletes) = model(failure)?;
        for k in &then_puts {
            if puts.contains(k) || deletes.contains(k) {
                return None;
            }
            puts.push(*k);
        }
        for k in &else_puts {
            if puts.contains(k) && !then_puts.contains(k) || deletes.contains(k) {
                return None;
            }
            if !puts.contains(k) {
                puts.push(*k);
            }
        }
        deletes.extend(then_deletes);
        deletes.extend(else_deletes);
    }
    for node in nodes {
        let Node::Put(k) = node else { continue };
        if puts.contains(k) || deletes.contains(k) {
            return None;
        }
        puts.push(*k);
    }
    Some((puts, deletes))
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let leaf = prop_oneof![
        3 => (0u8..16).prop_map(Node::Put),
        1 => (0u8..16).prop_map(|k| Node::Delete(k, None)),
        1 => (0u8..16, 0u8..16).prop_map(|(k, end)| Node::Delete(k, Some(end))),
    ];
    let node = leaf.prop_recursive(3, 12, 3, |inner| {
        let branch = || prop::collection::vec(inner.clone(), 0..3);
        (branch(), branch()).prop_map(|(success, failure)| Node::Txn(success, failure))
    });
    prop::collection::vec(node, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_walk_agrees_with_the_model(success in nodes(), failure in nodes()) {
        let expected = model(&success).is_some() && model(&failure).is_some();
        prop_assert_eq!(judged(&txn(message(&success), message(&failure))), expected);
    }
}
