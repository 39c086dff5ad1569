//! etcd's walk for keys given twice, with its quirks.
//!
//! A txn must not put a key twice, nor put a key that it deletes, on any path of execution. What
//! etcd refuses is not quite that, and clients live with what it does (docs/etcd-semantics.md 4.1).
//! One list of operations (a branch) is judged like this:
//!
//! 1. collect the deletes of this level;
//! 2. for each nested txn in order: judge both its branches; its puts must not collide with puts or
//!    deletes collected so far, but its two branches may share keys; then collect its puts, and
//!    only now its deletes;
//! 3. the puts of this level must not collide with anything collected.
//!
//! So a put in one nested txn and a delete of its key in a later one pass, and the other way round
//! they do not. A delete of "every key from here on" (`range_end` one zero byte) is taken literally
//! as `[key, 0x00)`, which is empty.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{DeleteRangeRequest, Op, RangeEnd, Refusal, TxnRequest};

/// Judges both branches, success first.
pub(super) fn check(txn: &TxnRequest) -> Result<(), Refusal> {
    for branch in [&txn.success, &txn.failure] {
        if let [] | [Op::Range(_) | Op::Put(_) | Op::DeleteRange(_)] = branch[..] {
            continue;
        }
        match has_twice(branch) {
            Some(true) => return Err(Refusal::DuplicateKey),
            Some(false) => {}
            None => drop(Touched::by(branch)?),
        }
    }
    Ok(())
}

/// Operations that are compared one with another rather than put into sets.
const FEW_OPS: usize = 8;

/// Whether a branch of a few puts and ranges puts a key twice; `None` if it is not such a one.
fn has_twice(branch: &[Op]) -> Option<bool> {
    if branch.len() > FEW_OPS {
        return None;
    }
    let mut twice = false;
    for (at, op) in branch.iter().enumerate() {
        match op {
            Op::Put(put) => {
                let is_same = |other: &Op| matches!(other, Op::Put(other) if other.key == put.key);
                twice |= branch[..at].iter().any(is_same);
            }
            Op::Range(_) => {}
            Op::DeleteRange(_) | Op::Txn(_) => return None,
        }
    }
    Some(twice)
}

/// Keys that a branch may change.
#[derive(Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Deletes<'a>,
}

impl<'a> Touched<'a> {
    fn by(branch: &'a [Op]) -> Result<Touched<'a>, Refusal> {
        let mut touched = Touched::default();
        for op in branch {
            if let Op::DeleteRange(delete) = op {
                touched.deletes.add(delete);
            }
        }
        for op in branch {
            if let Op::Txn(nested) = op {
                touched.nest(Touched::by(&nested.success)?, Touched::by(&nested.failure)?)?;
            }
        }
        for op in branch {
            if let Op::Put(put) = op {
                touched.refuse_deleted(&put.key)?;
                if !touched.puts.insert(&put.key) {
                    return Err(Refusal::DuplicateKey);
                }
            }
        }
        Ok(touched)
    }

    fn nest(&mut self, success: Touched<'a>, failure: Touched<'a>) -> Result<(), Refusal> {
        if self.collides(&success.puts) || self.collides(&failure.puts) {
            return Err(Refusal::DuplicateKey);
        }
        for branch in [success, failure] {
            merge(&mut self.puts, branch.puts);
            self.deletes.merge(branch.deletes);
        }
        Ok(())
    }

    /// Whether one of `puts` was collected so far, or is deleted; in steps of the smaller side, so
    /// that many puts do not cost their number again on every level above them.
    fn collides(&self, puts: &BTreeSet<&[u8]>) -> bool {
        if puts.len() <= self.puts.len() + self.deletes.len() {
            return puts.iter().any(|key| self.puts.contains(key) || self.deletes.cover(key));
        }
        self.puts.iter().any(|key| puts.contains(key)) || self.deletes.cover_any(puts)
    }

    fn refuse_deleted(&self, key: &[u8]) -> Result<(), Refusal> {
        if self.deletes.cover(key) { Err(Refusal::DuplicateKey) } else { Ok(()) }
    }
}

/// Puts the smaller set into the larger, so that deep nesting stays cheap.
fn merge<'a>(into: &mut BTreeSet<&'a [u8]>, mut from: BTreeSet<&'a [u8]>) {
    if from.len() > into.len() {
        std::mem::swap(into, &mut from);
    }
    into.extend(from);
}

/// A set of keys, as single ones and as ranges that neither overlap nor touch.
#[derive(Default)]
struct Deletes<'a> {
    single: BTreeSet<&'a [u8]>,
    /// Start to end, half-open, never empty.
    ranges: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Deletes<'a> {
    fn add(&mut self, delete: &'a DeleteRangeRequest) {
        match &delete.range.end {
            RangeEnd::Single => {
                self.single.insert(&delete.range.start);
            }
            // etcd reads the zero byte as a bound here, and no key is below it.
            RangeEnd::Unbounded => {}
            RangeEnd::Before(end) => self.add_range(&delete.range.start, end),
        }
    }

    fn add_range(&mut self, mut start: &'a [u8], mut end: &'a [u8]) {
        if end <= start {
            return;
        }
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.ranges.remove(other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
    }

    fn merge(&mut self, mut from: Deletes<'a>) {
        merge(&mut self.single, from.single);
        if from.ranges.len() > self.ranges.len() {
            std::mem::swap(&mut self.ranges, &mut from.ranges);
        }
        for (start, end) in from.ranges {
            self.add_range(start, end);
        }
    }

    fn len(&self) -> usize {
        self.single.len() + self.ranges.len()
    }

    fn cover_any(&self, keys: &BTreeSet<&[u8]>) -> bool {
        let has_some = |(start, end): (&&[u8], &&[u8])| keys.range(*start..*end).next().is_some();
        self.single.iter().any(|key| keys.contains(key)) || self.ranges.iter().any(has_some)
    }

    fn cover(&self, key: &[u8]) -> bool {
        let mut below = self
            .ranges
            .range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key)));
        self.single.contains(key) || below.next_back().is_some_and(|(_, end)| key < *end)
    }
}
