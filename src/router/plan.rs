//! Which way a request goes: decided by its keys alone.

use crate::line::routed::{RoundTxn, involved, owners};
use crate::shard::{Ask, Write};
use crate::types::placement::shard_of;
use crate::types::{
    DeleteRangeRequest, Op, PutRequest, RangeRequest, Request, ShardId, ShardSet, TxnRequest,
};

/// The way of a request.
#[derive(Debug)]
pub enum Plan {
    /// One shard has all that it concerns.
    One(ShardId, Ask),
    /// Several shards read at one stable.
    Range(RangeRequest),
    ReadTxn(TxnRequest),
    /// It may change something on several shards.
    Round(RoundTxn, RoundKind),
    /// It concerns no keys, or all shards.
    Other(Request),
}

/// How the answer of a round goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundKind {
    Txn,
    DeleteRange,
}

/// Plans a request over `shards` shards.
pub fn plan(request: Request, shards: u16) -> Plan {
    match request {
        Request::Put(put) => one_put(put, shards),
        Request::Range(range) => match sole(owners(&range.range, shards)) {
            Some(shard) => Plan::One(shard, Ask::Range(range)),
            None => Plan::Range(range),
        },
        Request::DeleteRange(delete) => match sole(owners(&delete.range, shards)) {
            Some(shard) => Plan::One(shard, Ask::Write(Write::DeleteRange(delete))),
            None => {
                let round = RoundTxn::new(deleting(delete), ShardSet::all(shards), shards);
                Plan::Round(round, RoundKind::DeleteRange)
            }
        },
        Request::Txn(txn) => plan_txn(txn, shards),
        other => Plan::Other(other),
    }
}

fn one_put(put: PutRequest, shards: u16) -> Plan {
    Plan::One(shard_of(&put.key, shards), Ask::Write(Write::Put(put)))
}

fn plan_txn(txn: TxnRequest, shards: u16) -> Plan {
    let all = involved(&txn, shards);
    // A txn without a key at all is answered by any shard.
    let sole = if all.is_empty() { Some(ShardId(0)) } else { sole(all) };
    match (sole, txn.only_reads()) {
        (Some(shard), true) => Plan::One(shard, Ask::ReadTxn(txn)),
        (Some(shard), false) => Plan::One(shard, Ask::Write(Write::Txn(txn))),
        (None, true) => Plan::ReadTxn(txn),
        (None, false) => Plan::Round(RoundTxn::new(txn, all, shards), RoundKind::Txn),
    }
}

fn sole(set: ShardSet) -> Option<ShardId> {
    set.iter().next().filter(|_| set.len() == 1)
}

fn deleting(delete: DeleteRangeRequest) -> TxnRequest {
    TxnRequest { success: vec![Op::DeleteRange(delete)], ..TxnRequest::default() }
}

/// Returns the bytes that etcd's quota counts a request as: what it may add at most.
pub fn cost(request: &Request) -> u64 {
    match request {
        Request::Put(put) => put_cost(put),
        Request::Txn(txn) => txn_cost(txn),
        Request::LeaseGrant(_) => LEASE_COST,
        _ => 0,
    }
}

/// Bytes that the quota counts a put as, beside its key and value.
pub const PUT_COST: u64 = 256;

/// Bytes that the quota counts a lease as.
pub const LEASE_COST: u64 = 64;

/// Whether a request goes through the log: everything but ranges and txns of nothing else.
pub fn changes(request: &Request) -> bool {
    match request {
        Request::Txn(txn) => !txn.only_reads(),
        Request::Put(_) | Request::DeleteRange(_) | Request::Compact(_) => true,
        Request::LeaseGrant(_) | Request::LeaseRevoke { .. } => true,
        _ => false,
    }
}

fn put_cost(put: &PutRequest) -> u64 {
    PUT_COST + put.key.len() as u64 + put.value.len() as u64
}

fn txn_cost(txn: &TxnRequest) -> u64 {
    let branch = |ops: &[Op]| {
        ops.iter()
            .map(|op| match op {
                Op::Put(put) => put_cost(put),
                Op::Txn(nested) => txn_cost(nested),
                Op::Range(_) | Op::DeleteRange(_) => 0,
            })
            .sum::<u64>()
    };
    branch(&txn.success).max(branch(&txn.failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::KeyRange;
    use bytes::Bytes;

    fn put(key: &str) -> Op {
        Op::Put(PutRequest::of(Bytes::from(key.to_owned()), Bytes::from("v")))
    }

    /// A key of `shard` among 5, one of many.
    fn key_of(shard: u16, nth: usize) -> String {
        let keys = (0..).map(|i| format!("key-{i}"));
        keys.filter(|key| shard_of(key.as_bytes(), 5) == ShardId(shard)).nth(nth).unwrap()
    }

    #[test]
    fn a_txn_goes_to_its_only_shard_or_into_a_round() {
        let txn = |ops: Vec<Op>| Request::Txn(TxnRequest { success: ops, ..Default::default() });
        let same = || vec![put(&key_of(1, 0)), put(&key_of(1, 1))];
        let apart = || vec![put(&key_of(0, 0)), put(&key_of(1, 0))];
        let one = plan(txn(same()), 5);
        assert!(matches!(one, Plan::One(ShardId(1), Ask::Write(Write::Txn(_)))));
        assert!(matches!(plan(txn(apart()), 5), Plan::Round(..)));
        assert!(matches!(plan(txn(apart()), 1), Plan::One(..)));
        let all = Op::Range(RangeRequest::of(KeyRange::all()));
        assert!(matches!(plan(txn(vec![all]), 5), Plan::ReadTxn(_)));
        assert!(matches!(plan(txn(vec![]), 5), Plan::One(ShardId(0), Ask::ReadTxn(_))));
    }

    #[test]
    fn the_cost_of_a_txn_is_that_of_its_dearer_branch() {
        let nested = TxnRequest { failure: vec![put("k"), put("k")], ..Default::default() };
        let txn = TxnRequest {
            success: vec![put("k")],
            failure: vec![Op::Txn(nested)],
            ..Default::default()
        };
        assert_eq!(cost(&Request::Txn(txn)), 2 * 258);
    }
}
