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
    items: Items,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Items {
    /// All operations of the path, in order.
    Flat,
    /// `None` is the next operation of the path, in order; `Some` a nested txn.
    Tree(Vec<Option<Shape>>),
}

/// Returns every compare of the txn and of those nested in it, chosen or not: its own first, then
/// those of the success branch, then those of the failure branch.
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

/// Returns the path of a txn whose branches depend on nothing: it has no compares where it goes.
/// Else the txn back.
pub fn known(txn: TxnRequest) -> Result<Path, TxnRequest> {
    fn is_known(txn: &TxnRequest) -> bool {
        let is_nested_known = |op: &Op| !matches!(op, Op::Txn(nested) if !is_known(nested));
        txn.compare.is_empty() && txn.success.iter().all(is_nested_known)
    }
    fn collect(txn: TxnRequest, ops: &mut Vec<PathOp>) -> Shape {
        let mut items = Vec::new();
        for op in txn.success {
            items.push(match one_or_nested(op) {
                Ok(op) => {
                    ops.push(op);
                    None
                }
                Err(nested) => Some(collect(nested, ops)),
            });
        }
        Shape { succeeded: true, items: Items::Tree(items) }
    }
    if !is_known(&txn) {
        return Err(txn);
    }
    let mut ops = Vec::with_capacity(txn.success.len());
    if txn.success.iter().any(|op| matches!(op, Op::Txn(_))) {
        let shape = collect(txn, &mut ops);
        return Ok(Path { ops, shape });
    }
    ops.extend(txn.success.into_iter().map(|op| one_or_nested(op).expect("none is nested")));
    Ok(Path::flat(ops))
}

/// Returns an operation of a path, or the nested txn.
fn one_or_nested(op: Op) -> Result<PathOp, TxnRequest> {
    match op {
        Op::Range(range) => Ok(PathOp::Range(range)),
        Op::Put(put) => Ok(PathOp::Put(put)),
        Op::DeleteRange(delete) => Ok(PathOp::DeleteRange(delete)),
        Op::Txn(nested) => Err(nested),
    }
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
    (Shape { succeeded, items: Items::Tree(items) }, rest)
}

impl Path {
    /// Returns the path of a request that is no txn.
    pub fn of(op: PathOp) -> Path {
        Path::flat(vec![op])
    }

    /// Returns the path of a txn without compares that has these operations and no nested txn.
    pub fn flat(ops: Vec<PathOp>) -> Path {
        Path { ops, shape: Shape { succeeded: true, items: Items::Flat } }
    }

    /// Whether some operation may change something.
    pub fn has_write(&self) -> bool {
        self.ops.iter().any(PathOp::is_write)
    }

    /// Returns the highest revision that one of its ranges names; an answer without effect waits
    /// for it (C11).
    pub fn looks_at(&self) -> Revision {
        let named = self.ops.iter().map(|op| match op {
            PathOp::Range(range) => Revision(range.revision),
            PathOp::Put(_) | PathOp::DeleteRange(_) | PathOp::Revoke(_) => Revision::EMPTY,
        });
        named.max().unwrap_or(Revision::EMPTY)
    }

    /// Returns the answer, from one reply for each operation of the path.
    ///
    /// `revision` is the answer's header: the txn's own if something changed (then the state it
    /// began with is one below), else that of the state it saw. Headers of the operations follow
    /// etcd (docs/etcd-semantics.md 1.1): a put shows the txn's revision, a delete too if it or an
    /// earlier operation changed something, a range the state it began with, plus one after a
    /// change.
    pub fn assemble(&self, mut replies: Vec<OpReply>, revision: Revision) -> TxnReply {
        assert_eq!(self.ops.len(), replies.len(), "one reply for each operation");
        let changed = replies.iter().any(changes);
        let begin = if changed { Revision(revision.0 - 1) } else { revision };
        let mut dirty = false;
        for reply in &mut replies {
            let before = if dirty { begin.next() } else { begin };
            dirty |= changes(reply);
            let after = if dirty { begin.next() } else { begin };
            match reply {
                OpReply::Range(range) => range.revision = before,
                OpReply::Put(put) => put.revision = after,
                OpReply::DeleteRange(delete) => delete.revision = after,
                OpReply::Txn(_) => unreachable!("a path holds no nested txn"),
            }
        }
        let mut reply = match &self.shape.items {
            Items::Flat => {
                let succeeded = self.shape.succeeded;
                TxnReply { revision, succeeded, responses: replies }
            }
            Items::Tree(_) => fill(&self.shape, &mut replies.into_iter()),
        };
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

fn fill(shape: &Shape, replies: &mut impl Iterator<Item = OpReply>) -> TxnReply {
    let Items::Tree(items) = &shape.items else { unreachable!("only a whole path is flat") };
    let responses = items
        .iter()
        .map(|item| match item {
            Some(nested) => OpReply::Txn(fill(nested, replies)),
            None => replies.next().expect("one reply for each operation"),
        })
        .collect();
    TxnReply { revision: Revision(0), succeeded: shape.succeeded, responses }
}

/// Returns the ordinal of the operation at `position` of a path.
pub fn sub(position: usize) -> Sub {
    Sub(u32::try_from(position).expect("max-txn-ops bounds a path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CompareOperand, CompareOperator, KeyRange, PutReply};
    use bytes::Bytes;

    fn put(key: &'static str) -> Op {
        Op::Put(PutRequest::of(Bytes::from_static(key.as_bytes()), Bytes::new()))
    }

    fn guarded(success: Vec<Op>, failure: Vec<Op>) -> TxnRequest {
        let range = KeyRange::single(Bytes::from_static(b"guard"));
        let (operator, operand) = (CompareOperator::Equal, CompareOperand::Version(0));
        let compare = vec![Compare { range, operator, operand }];
        TxnRequest { compare, success, failure }
    }

    fn txn(success: Vec<Op>) -> TxnRequest {
        // A part that is never reached depends on nothing, whatever it is.
        TxnRequest {
            failure: vec![Op::Txn(guarded(vec![put("never")], vec![]))],
            success,
            ..TxnRequest::default()
        }
    }

    #[test]
    fn a_known_path_is_the_one_that_would_be_chosen() {
        let nested = || Op::Txn(txn(vec![put("b"), Op::Txn(txn(vec![])), put("c")]));
        for whole in
            [txn(vec![]), txn(vec![put("a"), put("b")]), txn(vec![put("a"), nested(), put("d")])]
        {
            let holds = vec![true; compares(&whole).len()];
            let chosen = choose(&whole, &holds);
            let known = known(whole).expect("it depends on nothing");
            assert_eq!(known.ops, chosen.ops);
            let replies = || vec![OpReply::Put(PutReply::default()); chosen.ops.len()];
            let answers = [&known, &chosen].map(|path| path.assemble(replies(), Revision(7)));
            assert_eq!(answers[0], answers[1]);
        }
    }

    #[test]
    fn what_depends_on_a_compare_is_not_known() {
        let deep = Op::Txn(txn(vec![Op::Txn(guarded(vec![put("a")], vec![]))]));
        for whole in [guarded(vec![put("a")], vec![]), txn(vec![put("b"), deep])] {
            assert_eq!(known(whole.clone()), Err(whole));
        }
    }
}
