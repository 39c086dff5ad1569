//! Putting the answers of several shards together. Every shard read at the same revision.

use crate::line::message::ShareReply;
use crate::line::routed::RoutedPath;
use crate::types::txn::PathOp;
use crate::types::{
    Blob, DeleteRangeReply, Discarded, KeyOrder, KeyValue, LeaseId, OpReply, PutReply, RangeReply,
    RangeRequest, Runs, SortTarget,
};

/// Answers of several shards on their way into one reply for each operation: in slices, for it is
/// the clients that say how much there is.
#[derive(Debug, Default)]
pub struct Merge {
    /// The merged replies, by operation; an empty one in the place of what is not merged yet.
    done: Vec<OpReply>,
    /// With their places, the next one last.
    left: Vec<(usize, Box<Merging>)>,
}

/// One operation on its way.
#[derive(Debug)]
struct Merging {
    reply: OpReply,
    /// Keys as they were cut in key order, if they are sorted after that.
    by_key: Option<Runs>,
    runs: Runs,
    strips: Strips,
}

/// The field to strip, which a shard was asked for although the client does not get it: see
/// `RangeRequest::part`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strips {
    Nothing,
    Value,
    ValueAndLease,
}

impl Merge {
    /// Merges operations, each with every shard's reply to its part. A run of a sort takes
    /// `run_keys`.
    pub fn new<'a>(
        ops: impl Iterator<Item = (&'a PathOp, Vec<OpReply>)>,
        run_keys: usize,
    ) -> Merge {
        let mut merge = Merge::default();
        for (place, (op, parts)) in ops.enumerate() {
            match begin(op, parts, run_keys) {
                Ok(reply) => merge.done.push(reply),
                Err(merging) => {
                    merge.done.push(OpReply::Range(RangeReply::default()));
                    merge.left.push((place, merging));
                }
            }
        }
        merge
    }

    /// Goes on, moving as many keys as there are `visits`, which it takes off; whether it is
    /// through.
    pub fn go_on(&mut self, visits: &mut usize) -> bool {
        while let Some((place, merging)) = self.left.last_mut() {
            if !merging.go_on(visits) {
                return false;
            }
            let reply = std::mem::replace(&mut merging.reply, OpReply::Txn(Default::default()));
            self.done[*place] = reply;
            self.left.pop();
        }
        true
    }

    /// One reply for each operation, once it is through.
    pub fn into_replies(self) -> Vec<OpReply> {
        assert!(self.left.is_empty(), "a merge ends before it is taken");
        self.done
    }

    /// Nobody wants it any more.
    pub fn discard(self, discarded: &mut Discarded) {
        let (replies, runs): (Vec<_>, Vec<_>) =
            self.left.into_iter().map(|(_, it)| (it.reply, (it.by_key, it.runs))).unzip();
        self.done.into_iter().chain(replies).for_each(|reply| discard(reply, discarded));
        for (by_key, runs) in runs {
            by_key.into_iter().chain([runs]).for_each(|runs| runs.discard(discarded));
        }
    }
}

impl Merging {
    fn go_on(&mut self, visits: &mut usize) -> bool {
        let Merging { reply, by_key, runs, strips } = self;
        if let Some(first) = by_key {
            if !first.take_some(visits, |kv| runs.push(kv)) {
                return false;
            }
            *by_key = None;
        }
        let kvs = match reply {
            OpReply::Range(range) => &mut range.kvs,
            OpReply::DeleteRange(delete) => &mut delete.prev_kvs,
            OpReply::Put(_) | OpReply::Txn(_) => unreachable!("it has no keys to merge"),
        };
        runs.take_some(visits, |mut kv| {
            if *strips != Strips::Nothing {
                kv.value = Blob::empty();
            }
            if *strips == Strips::ValueAndLease {
                kv.lease = LeaseId::NONE;
            }
            kvs.push(kv);
        })
    }
}

/// Puts the keys of a reply where they are dropped in slices.
pub fn discard(reply: OpReply, discarded: &mut Discarded) {
    match reply {
        OpReply::Range(range) => discarded.put(range.kvs),
        OpReply::DeleteRange(delete) => discarded.put(delete.prev_kvs),
        OpReply::Txn(txn) => {
            txn.responses.into_iter().for_each(|reply| discard(reply, discarded));
        }
        OpReply::Put(_) => {}
    }
}

/// The reply if nothing has to be moved for it, else what has to be merged.
fn begin(op: &PathOp, mut parts: Vec<OpReply>, run_keys: usize) -> Result<OpReply, Box<Merging>> {
    assert!(!parts.is_empty(), "somebody owns every operation");
    match op {
        PathOp::Put(_) => {
            assert_eq!(parts.len(), 1, "a key has one owner");
            Ok(parts.remove(0))
        }
        PathOp::DeleteRange(_) | PathOp::Revoke(_) => begin_delete(parts, run_keys),
        PathOp::Range(request) => begin_range(request, parts, run_keys),
    }
}

fn begin_delete(parts: Vec<OpReply>, run_keys: usize) -> Result<OpReply, Box<Merging>> {
    let mut merged = DeleteRangeReply::default();
    let mut sources = Vec::new();
    for part in parts {
        let OpReply::DeleteRange(part) = part else { unreachable!("of a delete") };
        merged.deleted += part.deleted;
        sources.extend(Some(part.prev_kvs).filter(|kvs| !kvs.is_empty()));
    }
    if sources.len() <= 1 {
        merged.prev_kvs = sources.pop().unwrap_or_default();
        return Ok(OpReply::DeleteRange(merged));
    }
    merged.prev_kvs.reserve_exact(sources.iter().map(Vec::len).sum());
    let runs = runs_of(sources, KeyOrder::BY_KEY, usize::MAX, run_keys);
    let reply = OpReply::DeleteRange(merged);
    Err(Box::new(Merging { reply, by_key: None, runs, strips: Strips::Nothing }))
}

fn begin_range(
    request: &RangeRequest,
    parts: Vec<OpReply>,
    run_keys: usize,
) -> Result<OpReply, Box<Merging>> {
    let mut merged = RangeReply::default();
    let mut sources = Vec::new();
    for part in parts {
        let OpReply::Range(part) = part else { unreachable!("of a range") };
        merged.count += part.count;
        merged.more |= part.more;
        merged.revision = merged.revision.max(part.revision);
        sources.extend(Some(part.kvs).filter(|kvs| !kvs.is_empty()));
    }
    let found = sources.iter().map(Vec::len).sum::<usize>();
    let limit = match request.limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    merged.more |= found > limit;
    let cuts_first = request.sorts_after_limit();
    let by_value = request.target == SortTarget::Value;
    let strips = match request.keys_only {
        true if by_value => Strips::Value,
        true if cuts_first => Strips::ValueAndLease,
        _ => Strips::Nothing,
    };
    if sources.len() <= 1 && !cuts_first && strips == Strips::Nothing {
        merged.kvs = sources.pop().unwrap_or_default();
        return Ok(OpReply::Range(merged));
    }
    merged.kvs.reserve_exact(found.min(limit));
    let order = KeyOrder::of(request);
    let reply = OpReply::Range(merged);
    if cuts_first {
        let by_key = runs_of(sources, KeyOrder::BY_KEY, limit.saturating_add(1), run_keys);
        let runs = Runs::new(order, limit, run_keys);
        return Err(Box::new(Merging { reply, by_key: Some(by_key), runs, strips }));
    }
    let runs = runs_of(sources, order, limit, run_keys);
    Err(Box::new(Merging { reply, by_key: None, runs, strips }))
}

/// The parts are in order already.
fn runs_of(sources: Vec<Vec<KeyValue>>, order: KeyOrder, limit: usize, run_keys: usize) -> Runs {
    let mut runs = Runs::new(order, limit, run_keys);
    sources.into_iter().for_each(|source| runs.push_run(source));
    runs
}

/// Merges the shards' replies to their shares of a path, by operation. There are none for a blind
/// path.
pub fn shares(path: &RoutedPath, shares: Vec<ShareReply>, run_keys: usize) -> Merge {
    let ops = &path.path().ops;
    if path.is_blind() {
        assert!(shares.is_empty(), "a shard tells of a blind path");
        let done = ops.iter().map(|_| OpReply::Put(PutReply::default())).collect();
        return Merge { done, left: Vec::new() };
    }
    let mut by_op: Vec<Vec<OpReply>> = ops.iter().map(|_| Vec::new()).collect();
    for (sub, reply) in shares.into_iter().flatten() {
        by_op[sub.0 as usize].push(reply);
    }
    Merge::new(ops.iter().zip(by_op), run_keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{KeyRange, SortOrder};

    /// Merged in slices of one key.
    fn ranges(request: &RangeRequest, parts: Vec<RangeReply>) -> RangeReply {
        let op = PathOp::Range(request.clone());
        let parts = parts.into_iter().map(OpReply::Range).collect();
        let mut merge = Merge::new([(&op, parts)].into_iter(), 1);
        while !merge.go_on(&mut 1) {}
        match merge.into_replies().pop() {
            Some(OpReply::Range(reply)) => reply,
            other => unreachable!("{other:?}"),
        }
    }

    fn part(keys: &[&str], more: bool) -> RangeReply {
        let kvs = keys.iter().map(|key| KeyValue {
            key: Blob::from(key.as_bytes()),
            version: key.len() as i64,
            ..KeyValue::default()
        });
        let count = keys.len() as i64 + i64::from(more);
        RangeReply { kvs: kvs.collect(), more, count, ..RangeReply::default() }
    }

    fn keys(reply: &RangeReply) -> Vec<String> {
        reply.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
    }

    #[test]
    fn parts_merge_by_key_and_the_limit_cuts_the_whole() {
        let request = RangeRequest { limit: 3, ..RangeRequest::of(KeyRange::all()) };
        let merged = ranges(&request, vec![part(&["a", "d"], false), part(&["b", "c"], false)]);
        assert_eq!(keys(&merged), ["a", "b", "c"]);
        assert!(merged.more);
        assert_eq!(merged.count, 4);
    }

    #[test]
    fn what_a_shard_held_back_is_more() {
        let request = RangeRequest { limit: 5, ..RangeRequest::of(KeyRange::all()) };
        let merged = ranges(&request, vec![part(&["a"], true), part(&[], false)]);
        assert!(merged.more);
        assert_eq!(merged.count, 2);
    }

    #[test]
    fn a_descending_sort_merges_descending_and_ties_by_key() {
        let request = RangeRequest {
            order: SortOrder::Descend,
            target: SortTarget::Version,
            ..RangeRequest::of(KeyRange::all())
        };
        let merged = ranges(&request, vec![part(&["ccc", "a"], false), part(&["bb", "dd"], false)]);
        assert_eq!(keys(&merged), ["ccc", "bb", "dd", "a"]);
        assert!(!merged.more);
    }
}
