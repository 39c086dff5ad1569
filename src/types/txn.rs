//! A txn flattened, and put together again.
//!
//! etcd decides every branch of a txn, nested ones included, on the state before the txn. So all
//! compares can be answered first; after that what is left is a *path*: a linear list of puts,
//! range deletes and range reads. Its positions are the ordinals ([`Sub`]) that order the changes
//! of one revision. The answer is the same tree again, filled from the list.
//!
//! ```text
//! txn ──compares──▶ [bool] ──choose──▶ Path ──execute──▶ [OpReply] ──assemble──▶ TxnReply
//! ```

use super::{
    Compare, DeleteRangeRequest, LeaseId, Op, OpReply, PutRequest, RangeRequest, Revision, Sub,
    TxnReply, TxnRequest,
};

/// An operation of a path: everything but a nested txn; and what no client's txn holds, the end of
/// a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathOp {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    /// Deletes every key that is attached to the lease.
    Revoke(LeaseId),
}

impl PathOp {
    /// Whether the operation may change something.
    pub fn is_write(&self) -> bool {
        !matches!(self, PathOp::Range(_))
    }
}

/// The operations that a txn came down to, and the tree that its answer must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The operation at position `i` has `Sub(i)`.
    pub ops: Vec<PathOp>,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    succeeded: bool,
    /// `None` is the next operation of the path, in order; `Some` a nested txn.
    items: Vec<Option<Shape>>,
}

/// Every compare of the txn and of those nested in it, chosen or not: its own first, then those of
/// the success branch, then those of the failure branch.
pub fn compares(txn: &TxnRequest) -> Vec<&Compare> {
    fn collect<'a>(txn: &'a TxnRequest, found: &mut Vec<&'a Compare>) {
        found.extend(&txn.compare);
        for op in txn.success.iter().chain(&txn.failure) {
            if let Op::Txn(nested) = op {
                collect(nested, found);
            }
        }
    }
    let mut found = Vec::new();
    collect(txn, &mut found);
    found
}

/// Picks the branches, given whether each compare of [`compares`] holds.
///
/// # Panics
///
/// If there are not as many results as compares.
pub fn choose(txn: &TxnRequest, holds: &[bool]) -> Path {
    let mut ops = Vec::new();
    let (shape, rest) = walk(txn, holds, Some(&mut ops));
    assert!(rest.is_empty(), "more compare results than compares");
    Path { ops, shape }
}

/// Goes through the whole tree, because results are numbered over both branches; with `ops` it is
/// on the path and collects.
fn walk<'a>(
    txn: &TxnRequest,
    holds: &'a [bool],
    mut ops: Option<&mut Vec<PathOp>>,
) -> (Shape, &'a [bool]) {
    let (own, mut rest) = holds.split_at(txn.compare.len());
    let succeeded = own.iter().all(|&held| held);
    let mut items = Vec::new();
    for (branch, chosen) in [(&txn.success, succeeded), (&txn.failure, !succeeded)] {
        for op in branch {
            let mut on_path = ops.as_deref_mut().filter(|_| chosen);
            let item = match op {
                Op::Txn(nested) => {
                    let (shape, left) = walk(nested, rest, on_path);
                    rest = left;
                    Some(shape)
                }
                Op::Range(range) => {
                    on_path.iter_mut().for_each(|ops| ops.push(PathOp::Range(range.clone())));
                    None
                }
                Op::Put(put) => {
                    on_path.iter_mut().for_each(|ops| ops.push(PathOp::Put(put.clone())));
                    None
                }
                Op::DeleteRange(delete) => {
                    on_path
                        .iter_mut()
                        .for_each(|ops| ops.push(PathOp::DeleteRange(delete.clone())));
                    None
                }
            };
            if chosen {
                items.push(item);
            }
        }
    }
    (Shape { succeeded, items }, rest)
}

impl Path {
    /// The path of a request that is no txn.
    pub fn of(op: PathOp) -> Path {
        Path { ops: vec![op], shape: Shape { succeeded: true, items: vec![None] } }
    }

    /// Whether some operation may change something.
    pub fn has_write(&self) -> bool {
        self.ops.iter().any(PathOp::is_write)
    }

    /// The answer, from one reply for each operation of the path.
    ///
    /// `revision` is the answer's header: the txn's own if something changed (then the state it
    /// began with is one below), else that of the state it saw. Headers of the operations follow
    /// etcd (semantics.md 1): a put shows the txn's revision, a delete too if it or an earlier
    /// operation changed something, a range the state it began with, plus one after a change.
    pub fn assemble(self, replies: Vec<OpReply>, revision: Revision) -> TxnReply {
        assert_eq!(self.ops.len(), replies.len(), "one reply for each operation");
        let changed = replies.iter().any(changes);
        let begin = if changed { Revision(revision.0 - 1) } else { revision };
        let mut dirty = false;
        let stamped: Vec<OpReply> = replies
            .into_iter()
            .map(|mut reply| {
                let before = if dirty { begin.next() } else { begin };
                dirty |= changes(&reply);
                let after = if dirty { begin.next() } else { begin };
                match &mut reply {
                    OpReply::Range(range) => range.revision = before,
                    OpReply::Put(put) => put.revision = after,
                    OpReply::DeleteRange(delete) => delete.revision = after,
                    OpReply::Txn(_) => unreachable!("a path holds no nested txn"),
                }
                reply
            })
            .collect();
        let mut stamped = stamped.into_iter();
        let mut reply = fill(self.shape, &mut stamped);
        reply.revision = revision;
        reply
    }
}

fn changes(reply: &OpReply) -> bool {
    match reply {
        OpReply::Put(_) => true,
        OpReply::DeleteRange(delete) => delete.deleted > 0,
        OpReply::Range(_) | OpReply::Txn(_) => false,
    }
}

fn fill(shape: Shape, replies: &mut impl Iterator<Item = OpReply>) -> TxnReply {
    let responses = shape
        .items
        .into_iter()
        .map(|item| match item {
            Some(nested) => OpReply::Txn(fill(nested, replies)),
            None => replies.next().expect("one reply for each operation"),
        })
        .collect();
    TxnReply { revision: Revision(0), succeeded: shape.succeeded, responses }
}

/// The ordinal of the operation at `position` of a path.
pub fn sub(position: usize) -> Sub {
    Sub(u32::try_from(position).expect("max-txn-ops bounds a path"))
}
