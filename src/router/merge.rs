//! Putting the answers of several shards together. Every shard read at the same revision.

use std::cmp::Ordering;

use crate::line::message::ShareReply;
use crate::line::routed::RoutedPath;
use crate::types::txn::PathOp;
use crate::types::{
    Blob, DeleteRangeReply, KeyValue, LeaseId, OpReply, PutReply, RangeReply, RangeRequest,
    SortOrder, SortTarget,
};

/// One answer from those of the shards, each sorted and limited as asked.
pub fn ranges(request: &RangeRequest, parts: Vec<RangeReply>) -> RangeReply {
    let mut merged = RangeReply::default();
    let mut sources = 0;
    for mut part in parts {
        merged.count += part.count;
        merged.more |= part.more;
        sources += usize::from(!part.kvs.is_empty());
        merged.revision = merged.revision.max(part.revision);
        if merged.kvs.is_empty() {
            merged.kvs = part.kvs;
        } else {
            merged.kvs.append(&mut part.kvs);
        }
    }
    if request.sorts_after_limit() {
        merged.kvs.sort_by(|a, b| a.key.cmp(&b.key));
        merged.kvs.truncate(request.limit.saturating_add(1) as usize);
        merged.kvs.sort_by(|a, b| order(request, a, b));
    } else if sources > 1 {
        // The parts are sorted runs, which a stable sort merges.
        merged.kvs.sort_by(|a, b| order(request, a, b));
    }
    if request.limit > 0 && merged.kvs.len() as u64 > request.limit {
        merged.kvs.truncate(request.limit as usize);
        merged.more = true;
    }
    if request.keys_only {
        // More may have been asked for, to sort by: see `RangeRequest::part`.
        merged.kvs.iter_mut().for_each(|kv| strip(request, kv));
    }
    merged
}

/// Leaves what `keys_only` shows: from the index alone, unless the sort is by value.
fn strip(request: &RangeRequest, kv: &mut KeyValue) {
    kv.value = Blob::empty();
    if request.target != SortTarget::Value {
        kv.lease = LeaseId::NONE;
    }
}

/// The order that a request asks for; equal targets are ordered by key.
fn order(request: &RangeRequest, a: &KeyValue, b: &KeyValue) -> Ordering {
    let by_target = match request.target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create.cmp(&b.create),
        SortTarget::Mod => a.modified.cmp(&b.modified),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    let by_target =
        if request.order == SortOrder::Descend { by_target.reverse() } else { by_target };
    by_target.then_with(|| a.key.cmp(&b.key))
}

/// One reply for each operation of a path, from what each shard made of its share. Nobody has to
/// say anything of a plain one.
pub fn shares(path: &RoutedPath, shares: Vec<ShareReply>) -> Vec<OpReply> {
    let ops = &path.path().ops;
    if path.is_plain() {
        assert!(shares.is_empty(), "a shard tells of a plain path");
        return ops.iter().map(|_| OpReply::Put(PutReply::default())).collect();
    }
    let mut by_op: Vec<Vec<OpReply>> = ops.iter().map(|_| Vec::new()).collect();
    for (sub, reply) in shares.into_iter().flatten() {
        by_op[sub.0 as usize].push(reply);
    }
    ops.iter().zip(by_op).map(|(op, parts)| merge_op(op, parts)).collect()
}

fn merge_op(op: &PathOp, mut parts: Vec<OpReply>) -> OpReply {
    assert!(!parts.is_empty(), "somebody owns every operation");
    match op {
        PathOp::Put(_) => {
            assert_eq!(parts.len(), 1, "a key has one owner");
            parts.remove(0)
        }
        PathOp::DeleteRange(_) | PathOp::Revoke(_) => {
            let mut merged = DeleteRangeReply::default();
            for part in parts {
                let OpReply::DeleteRange(mut part) = part else { unreachable!("of a delete") };
                merged.deleted += part.deleted;
                merged.prev_kvs.append(&mut part.prev_kvs);
            }
            merged.prev_kvs.sort_by(|a, b| a.key.cmp(&b.key));
            OpReply::DeleteRange(merged)
        }
        PathOp::Range(request) => {
            let parts = parts.into_iter().map(|part| match part {
                OpReply::Range(range) => range,
                _ => unreachable!("of a range"),
            });
            OpReply::Range(ranges(request, parts.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::KeyRange;

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
