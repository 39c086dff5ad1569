//! Compares, and the operations that a txn came down to.
//!
//! ```text
//!  holds_share ──▶ combine ──▶ choose (types::txn) ──▶ validate ──▶ execute
//!  on every shard that a        one path               no effect    cannot be refused any more
//!  compare's range touches
//! ```

use std::borrow::Borrow;
use std::cmp::Ordering;

use crate::types::txn::PathOp;
use crate::types::{
    Compare, CompareOperand, CompareOperator, DeleteRangeReply, LeaseId, OpReply, PutRequest,
    RangeReply, RangeRequest, Refusal, Revision, Stamp, Sub,
};

use super::Store;
use super::existence::Existence;
use super::moment::Moment;
use super::prepare::Deletion;
use super::scan::CompareScan;

/// One shard's share of a compare's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The shard has a key in the compare's range.
    pub matched: bool,
    /// Each of its keys there satisfies the compare.
    pub all_hold: bool,
}

/// Whether a compare holds, given what each shard that its range touches says. Only if none has a
/// key there is it judged like a missing one.
pub fn combine(compare: &Compare, shares: impl IntoIterator<Item = Share>) -> bool {
    let mut matched = false;
    for share in shares {
        if share.matched && !share.all_hold {
            return false;
        }
        matched |= share.matched;
    }
    matched || holds_for_missing(compare)
}

/// Whether a key that is not there satisfies the compare.
pub fn holds_for_missing(compare: &Compare) -> bool {
    match compare.operand {
        CompareOperand::Value(_) => false,
        _ => satisfies(compare, &Stamp::default(), &[]),
    }
}

pub(super) fn satisfies(compare: &Compare, stamp: &Stamp, value: &[u8]) -> bool {
    let order = match &compare.operand {
        CompareOperand::Version(operand) => stamp.version.cmp(operand),
        CompareOperand::Create(operand) => stamp.create.cmp(operand),
        CompareOperand::Mod(operand) => stamp.modified.cmp(operand),
        CompareOperand::Lease(operand) => stamp.lease.cmp(operand),
        CompareOperand::Value(operand) => value.cmp(operand),
    };
    match compare.operator {
        CompareOperator::Equal => order == Ordering::Equal,
        CompareOperator::NotEqual => order != Ordering::Equal,
        CompareOperator::Greater => order == Ordering::Greater,
        CompareOperator::Less => order == Ordering::Less,
    }
}

impl Store {
    /// This shard's share of a compare at `at`, if it takes no more than `visits`, which it takes
    /// off; see [`combine`].
    pub(super) fn share_within(
        &self,
        compare: &Compare,
        at: Revision,
        visits: &mut usize,
    ) -> Option<Share> {
        self.compare_slice(&mut CompareScan::new(compare.clone(), Moment::at(at)), visits)
    }

    /// The same, however many keys there are.
    pub(super) fn holds_share(&self, compare: &Compare, at: Revision) -> Share {
        self.share_within(compare, at, &mut usize::MAX.clone()).expect("nothing stops it")
    }

    /// Whether the operations of a path (those that concern this shard) can be carried out, and
    /// whether they change anything here; else the first that cannot, and why. Nothing is changed
    /// by asking. Each operation is looked at twice at most.
    ///
    /// `current` is the revision that the txn starts from: a range cannot ask for a later one.
    pub fn validate<O: Borrow<PathOp>>(
        &self,
        ops: &[(Sub, O)],
        current: Revision,
        lease_exists: &dyn Fn(LeaseId) -> bool,
    ) -> Result<bool, (Sub, Refusal)> {
        let mut changes = false;
        // The keys that the operations so far leave there, from the first put on that keeps
        // something.
        let mut existence: Option<Existence<'_>> = None;
        for (position, (sub, op)) in ops.iter().enumerate() {
            let op = op.borrow();
            let checked = match op {
                PathOp::Range(range) => {
                    self.check_revision_in_txn(range.revision, current).map(|_| ())
                }
                PathOp::Put(put) => {
                    changes = true;
                    if existence.is_none() && put.keeps() {
                        existence = Some(Existence::after(&ops[..position]));
                    }
                    self.validate_put(put, existence.as_ref(), lease_exists)
                }
                PathOp::DeleteRange(delete) => {
                    changes = changes || self.tree.count(&delete.range) > 0;
                    Ok(())
                }
                PathOp::Revoke(lease) => {
                    let prepared = self.prepared_keys(&Deletion::Lease(*lease));
                    let has_keys = || self.lease_keys(*lease).next().is_some();
                    changes = changes || prepared.map_or_else(has_keys, |count| count > 0);
                    Ok(())
                }
            };
            checked.map_err(|refusal| (*sub, refusal))?;
            if let Some(existence) = &mut existence {
                existence.follow(op);
            }
        }
        Ok(changes)
    }

    fn validate_put(
        &self,
        put: &PutRequest,
        existence: Option<&Existence<'_>>,
        lease_exists: &dyn Fn(LeaseId) -> bool,
    ) -> Result<(), Refusal> {
        if put.lease != LeaseId::NONE && !put.ignore_lease && !lease_exists(put.lease) {
            return Err(Refusal::LeaseNotFound);
        }
        let exists = || {
            let decided = existence.and_then(|existence| existence.of(&put.key));
            decided.unwrap_or_else(|| self.has(&put.key, Revision::NEWEST))
        };
        if put.keeps() && !exists() {
            return Err(Refusal::KeyNotFound);
        }
        Ok(())
    }

    /// Carries out operations that were validated, each seeing what those before it did. Headers
    /// are left to [`crate::types::txn::Path::assemble`].
    pub fn execute(&mut self, ops: &[(Sub, PathOp)], revision: Revision) -> Vec<OpReply> {
        ops.iter().map(|(sub, op)| self.execute_op(*sub, op, revision)).collect()
    }

    fn execute_op(&mut self, sub: Sub, op: &PathOp, revision: Revision) -> OpReply {
        match op {
            PathOp::Range(range) => OpReply::Range(self.range_in_txn(range)),
            PathOp::Put(put) => OpReply::Put(self.put(revision, sub, put)),
            PathOp::DeleteRange(delete) => {
                let prev_kv = delete.prev_kv;
                OpReply::DeleteRange(self.delete_range(revision, sub, &delete.range, prev_kv))
            }
            PathOp::Revoke(lease) => {
                let deleted = self.delete_lease_keys(revision, sub, *lease) as i64;
                OpReply::DeleteRange(DeleteRangeReply { deleted, ..DeleteRangeReply::default() })
            }
        }
    }

    /// A range inside a txn: without a revision it sees what the txn did so far.
    fn range_in_txn(&self, request: &RangeRequest) -> RangeReply {
        let at = if request.revision <= 0 { Revision::NEWEST } else { Revision(request.revision) };
        self.range(request, at)
    }
}
