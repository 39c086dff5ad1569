//! A path with where each of its operations goes: made once, where the request came in, and shared
//! by everyone who has a part in it.
//!
//! ```text
//!  TxnRequest ──no compares──▶ Unconditional(Arc<RoutedPath>) ──────▶ footprint, shards, answer
//!             └─ compares ───▶ Conditional ──Frozen: branches──▶ RoutedPath ┘
//! ```
//!
//! A path is *blind* if it is nothing but puts without a lease that ask for nothing back.
//! Everything about such a path but its revision is known beforehand: only a shard that takes no
//! puts at all can refuse it, every owner of a key changes something, and no shard has anything to
//! report.

use std::borrow::Cow;
use std::sync::Arc;

use crate::types::placement::{place_of, shard_at, shard_of};
use crate::types::txn::{self, Path, PathOp};
use crate::types::{
    Compare, KeyRange, LeaseId, Op, PutRequest, Revision, ShardId, ShardSet, Sub, TxnRequest,
};

/// A path and the owners of its operations.
#[derive(Debug)]
pub struct RoutedPath {
    path: Path,
    places: Vec<OpRoute>,
    owners: ShardSet,
    logged_bytes: usize,
    looks_at: Revision,
    is_blind: bool,
    deletes_ranges: bool,
}

/// The destination of an operation.
#[derive(Clone, Copy, Debug)]
struct OpRoute {
    owners: ShardSet,
    /// The hash of the key, if the operation is about one.
    hash: u64,
}

impl RoutedPath {
    /// Hashes every key.
    pub fn new(path: Path, shards: u16) -> RoutedPath {
        let mut routed = RoutedPath {
            places: Vec::with_capacity(path.ops.len()),
            owners: ShardSet::EMPTY,
            logged_bytes: 0,
            looks_at: path.looks_at(),
            is_blind: true,
            deletes_ranges: false,
            path,
        };
        for op in &routed.path.ops {
            let place = match key_of(op) {
                Some(key) => {
                    let hash = place_of(key);
                    OpRoute { owners: ShardSet::one(shard_at(hash, shards)), hash }
                }
                None => {
                    routed.deletes_ranges |= matches!(op, PathOp::DeleteRange(_));
                    OpRoute { owners: ShardSet::all(shards), hash: 0 }
                }
            };
            routed.owners = routed.owners.union(place.owners);
            routed.places.push(place);
            routed.logged_bytes += op.logged_bytes();
            routed.is_blind &= matches!(op, PathOp::Put(put) if is_blind(put));
        }
        routed
    }

    /// The operations and the form of their answer.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every shard that has an operation of it.
    pub fn owners(&self) -> ShardSet {
        self.owners
    }

    /// Whether it is nothing but puts of which everything is known beforehand.
    pub fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// Bytes that it adds to the log of a shard at most, whichever shard that is.
    pub fn logged_bytes(&self) -> usize {
        self.logged_bytes
    }

    /// The highest revision that one of its ranges names.
    pub fn looks_at(&self) -> Revision {
        self.looks_at
    }

    /// Whether some operation deletes more than one key.
    pub fn deletes_ranges(&self) -> bool {
        self.deletes_ranges
    }

    /// Each operation with the hash of its key, which says nothing if it is about several.
    pub fn hashed(&self) -> impl Iterator<Item = (&PathOp, u64)> {
        self.path.ops.iter().zip(&self.places).map(|(op, place)| (op, place.hash))
    }

    /// The operations that concern `shard`, with their ordinals.
    pub fn ops_of(&self, shard: ShardId) -> impl Iterator<Item = (Sub, &PathOp)> {
        let places = self.path.ops.iter().zip(&self.places).enumerate();
        let owned = places.filter(move |(_, (_, place))| place.owners.contains(shard));
        owned.map(|(position, (op, _))| (txn::sub(position), op))
    }

    /// Returns the share of `shard`: of ranges, its part.
    pub fn share_of(&self, shard: ShardId) -> Share<'_> {
        let parts = self.ops_of(shard).map(|(sub, op)| match op {
            PathOp::Range(range) => (sub, Cow::Owned(PathOp::Range(range.part()))),
            write => (sub, Cow::Borrowed(write)),
        });
        parts.collect()
    }

    /// The puts of a blind path that concern `shard`.
    pub fn puts_of(&self, shard: ShardId) -> impl Iterator<Item = (Sub, &PutRequest)> {
        assert!(self.is_blind, "a blind path");
        self.ops_of(shard).map(|(sub, op)| match op {
            PathOp::Put(put) => (sub, put),
            other => unreachable!("{other:?} is not blind"),
        })
    }
}

/// A shard's share of a path: the operations that concern it, with their ordinals.
pub type Share<'a> = Vec<(Sub, Cow<'a, PathOp>)>;

fn is_blind(put: &PutRequest) -> bool {
    put.lease == LeaseId::NONE && !put.prev_kv && !put.keeps()
}

fn key_of(op: &PathOp) -> Option<&[u8]> {
    match op {
        PathOp::Put(put) => Some(&put.key),
        PathOp::Range(range) => range.range.single_key().map(|key| &key[..]),
        PathOp::DeleteRange(delete) => delete.range.single_key().map(|key| &key[..]),
        PathOp::Revoke(_) => None,
    }
}

/// A request for a round.
#[derive(Clone, Debug)]
pub struct RoundTxn {
    /// Every shard that it may touch, on whichever branch.
    pub involved: ShardSet,
    pub plan: RoundPlan,
}

/// The plan of a round request.
#[derive(Clone, Debug)]
pub enum RoundPlan {
    /// It has no compares, so it takes this path.
    Unconditional(Arc<RoutedPath>),
    /// Its path depends on compares.
    Conditional(TxnRequest),
}

impl RoundPlan {
    /// Whether it may delete or compare a range, on whichever branch, so that it may have to be
    /// prepared.
    pub fn takes_ranges(&self) -> bool {
        match self {
            RoundPlan::Unconditional(path) => path.deletes_ranges(),
            RoundPlan::Conditional(txn) => deletes_ranges(txn) || compares_ranges(txn),
        }
    }

    /// Its compares over more than one key, on whichever branch.
    pub fn range_compares(&self) -> Arc<[Compare]> {
        let RoundPlan::Conditional(txn) = self else { return Arc::new([]) };
        let compares = txn::compares(txn).into_iter();
        compares.filter(|compare| compare.range.single_key().is_none()).cloned().collect()
    }
}

fn compares_ranges(txn: &TxnRequest) -> bool {
    let nested = |op: &Op| matches!(op, Op::Txn(nested) if compares_ranges(nested));
    txn.compare.iter().any(|compare| compare.range.single_key().is_none())
        || txn.success.iter().chain(&txn.failure).any(nested)
}

/// Whether a txn may delete a range, on whichever branch.
pub fn deletes_ranges(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::DeleteRange(delete) => delete.range.single_key().is_none(),
        Op::Txn(nested) => deletes_ranges(nested),
        Op::Put(_) | Op::Range(_) => false,
    })
}

impl RoundTxn {
    /// Plans the round of a txn that may touch the shards `involved`.
    pub fn new(txn: TxnRequest, involved: ShardSet, shards: u16) -> RoundTxn {
        let plan = match txn::known(txn) {
            Ok(path) => RoundPlan::Unconditional(Arc::new(RoutedPath::new(path, shards))),
            Err(txn) => RoundPlan::Conditional(txn),
        };
        RoundTxn { involved, plan }
    }
}

/// The shards that own keys of `range`.
pub fn owners(range: &KeyRange, shards: u16) -> ShardSet {
    match range.single_key() {
        Some(key) => ShardSet::one(shard_of(key, shards)),
        None => ShardSet::all(shards),
    }
}

/// Every shard that a txn may touch, on whichever branch.
pub fn involved(txn: &TxnRequest, shards: u16) -> ShardSet {
    let mut all = ShardSet::EMPTY;
    for compare in &txn.compare {
        all = all.union(owners(&compare.range, shards));
    }
    for op in txn.success.iter().chain(&txn.failure) {
        all = all.union(match op {
            Op::Range(range) => owners(&range.range, shards),
            Op::Put(put) => ShardSet::one(shard_of(&put.key, shards)),
            Op::DeleteRange(delete) => owners(&delete.range, shards),
            Op::Txn(nested) => involved(nested, shards),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DeleteRangeRequest, LOGGED_OVERHEAD_BYTES, RangeRequest};
    use bytes::Bytes;

    const SHARDS: u16 = 3;

    fn put(key: &str) -> PathOp {
        PathOp::Put(PutRequest::of(Bytes::from(key.to_owned()), Bytes::from_static(b"value")))
    }

    fn routed(ops: Vec<PathOp>) -> RoutedPath {
        RoutedPath::new(Path::flat(ops), SHARDS)
    }

    #[test]
    fn every_operation_goes_to_its_owners_with_its_ordinal() {
        let range = PathOp::Range(RangeRequest::of(KeyRange::all()));
        let routed = routed(vec![put("a"), range, put("b"), put("c"), put("d")]);
        assert_eq!(routed.owners(), ShardSet::all(SHARDS));
        assert!(!routed.is_blind());
        assert_eq!(routed.logged_bytes(), 4 * (6 + LOGGED_OVERHEAD_BYTES));
        let mut puts = 0;
        for shard in (0..SHARDS).map(ShardId) {
            let share = routed.share_of(shard);
            assert!(share.iter().any(|(sub, _)| *sub == Sub(1)), "all have a part of a range");
            for (sub, op) in &share {
                assert_eq!(**op, routed.path().ops[sub.0 as usize]);
                if let PathOp::Put(put) = &**op {
                    assert_eq!(shard_of(&put.key, SHARDS), shard);
                    puts += 1;
                }
            }
        }
        assert_eq!(puts, 4, "a key has one owner");
    }

    #[test]
    fn a_path_is_blind_if_nothing_about_it_has_to_be_found_out() {
        let with = |change: fn(&mut PutRequest)| {
            let mut put = PutRequest::of(Bytes::from_static(b"k"), Bytes::new());
            change(&mut put);
            routed(vec![PathOp::Put(put)]).is_blind()
        };
        assert!(with(|_| ()));
        assert!(!with(|put| put.lease = LeaseId(1)));
        assert!(!with(|put| put.prev_kv = true));
        assert!(!with(|put| put.ignore_value = true));
        assert!(!with(|put| put.ignore_lease = true));
        let range = KeyRange::single(Bytes::from_static(b"k"));
        let delete = PathOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
        assert!(!routed(vec![put("j"), delete]).is_blind());
    }
}
