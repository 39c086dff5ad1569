//! Tests beside the model's: worked cases, hostile bytes, costs.

use std::borrow::Borrow;
use std::cell::Cell;

use bytes::Bytes;

use crate::types::txn::PathOp;
use crate::types::{
    Compare, CompareOperand, CompareOperator, DeleteRangeRequest, KeyRange, LeaseId, OpReply,
    PutRequest, RangeEnd, RangeFilters, RangeRequest, Refusal, Revision, SortOrder, SortTarget,
    Sub,
};

use super::{
    CheckpointCursor, Deletion, HashCursor, Moment, NothingToKeep, Scan, Share, Store, combine,
};

const NEWEST: Revision = Revision::NEWEST;

fn put(store: &mut Store, revision: i64, key: &str, value: &str) {
    let (at, lease) = ((Revision(revision), Sub(0)), Some(LeaseId::NONE));
    store.apply_put(at.0, at.1, key.as_bytes(), Some(value.as_bytes()), lease).unwrap();
}

fn delete(store: &mut Store, revision: i64, sub: u32, key: &'static str) {
    let range = KeyRange::single(Bytes::from_static(key.as_bytes()));
    let deleted = store.apply_delete_range(Revision(revision), Sub(sub), &range, 1);
    deleted.expect("the key is there");
}

/// The state up to `upto`, in chunks of about `bytes`.
fn chunks(store: &Store, upto: i64, bytes: usize) -> (Vec<Vec<u8>>, i64) {
    let mut cursor = CheckpointCursor::new();
    let mut chunks = Vec::new();
    loop {
        let mut chunk = Vec::new();
        let done = store.checkpoint_slice(&mut cursor, Revision(upto), bytes, &mut chunk);
        chunks.push(chunk);
        if done {
            return (chunks, cursor.compacted());
        }
    }
}

fn load(chunks: &[Vec<u8>], compacted: i64) -> Store {
    let mut store = Store::new();
    for chunk in chunks {
        store.load_chunk(chunk).expect("a chunk of our own");
    }
    store.finish_load(compacted);
    store
}

fn hash(store: &Store, at: i64) -> u32 {
    let mut cursor = HashCursor::new(Revision(at));
    store.hash_slice(&mut cursor, usize::MAX).expect("one slice is enough")
}

#[test]
fn a_range_that_is_not_to_be_counted_says_only_whether_there_is_more() {
    let mut store = Store::new();
    (0..9).for_each(|i| put(&mut store, 2 + i, &format!("k{i}"), "v"));
    for (limit, uncounted, count, more) in
        [(4, false, 9, true), (4, true, 4, true), (9, true, 9, false), (0, true, 9, false)]
    {
        let request = RangeRequest { limit, uncounted, ..RangeRequest::of(KeyRange::all()) };
        for at in [Revision::NEWEST, Revision(10)] {
            let reply = store.range(&request, at);
            assert_eq!((reply.count, reply.more), (count, more), "{limit} {uncounted} {at}");
        }
    }
}

#[test]
fn a_hash_of_long_ago_goes_in_slices_too() {
    let mut store = Store::new();
    put(&mut store, 2, "m", "old");
    (0..10_000).for_each(|i| put(&mut store, 3 + i, &format!("{i}"), "new"));
    let (mut cursor, mut slices) = (HashCursor::new(Revision(2)), 1);
    let sliced = loop {
        match store.hash_slice(&mut cursor, 100) {
            Some(hash) => break hash,
            None => slices += 1,
        }
    };
    assert!(slices >= 100, "{slices} slices for 10,001 keys");
    let mut only = Store::new();
    put(&mut only, 2, "m", "old");
    assert_eq!((sliced, sliced), (hash(&store, 2), hash(&only, 2)));
}

#[test]
fn a_key_deleted_and_put_again_in_one_revision_begins_a_generation() {
    let mut store = Store::new();
    put(&mut store, 2, "k", "a");
    put(&mut store, 3, "k", "b");
    delete(&mut store, 4, 1, "k");
    store.apply_put(Revision(4), Sub(7), b"k", Some(b"c"), Some(LeaseId(5))).unwrap();

    let kv = store.get(b"k", NEWEST).expect("put again");
    assert_eq!((kv.create, kv.modified, kv.version, kv.lease), (4, 4, 1, LeaseId(5)));
    assert_eq!(store.get(b"k", Revision(3)).expect("before").version, 2);
    let changes = store.changes(&KeyRange::all(), Revision(3), Revision(4), 10);
    let seen: Vec<_> = changes.iter().map(|c| (c.sub.0, c.put.is_some())).collect();
    assert_eq!(seen, [(1, false), (7, true)]);

    assert_eq!(store.roll_back(Revision(3)), 2);
    assert_eq!(store.get(b"k", NEWEST).expect("as before").version, 2);
    assert_eq!(store.lease_keys(LeaseId(5)).count(), 0);
    assert_eq!(store.newest(), Revision(3));
}

#[test]
fn an_empty_store_is_at_revision_one() {
    let store = Store::new();
    assert_eq!((store.newest(), store.compacted()), (Revision(1), -1));
    assert_eq!(store.count(&KeyRange::all(), NEWEST), 0);
    assert_eq!(store.range(&RangeRequest::of(KeyRange::all()), NEWEST).revision, Revision(1));
    assert_eq!(hash(&store, 1), 0);
    assert_eq!(store.size(), super::Size::default());
}

#[test]
fn revisions_are_bounded_as_etcd_bounds_them() {
    let mut store = Store::new();
    let current = Revision(9);
    assert_eq!(store.check_revision(-7, current), Ok(current));
    assert_eq!(store.check_revision_in_txn(-1, current), Ok(NEWEST));
    assert_eq!(store.check_revision_in_txn(-2, current), Err(Refusal::Compacted));
    store.set_compaction(Revision(5));
    store.set_compaction(Revision(3));
    assert_eq!(store.compacted(), 5);
    for (requested, outside, inside) in [
        (0, Ok(current), Ok(NEWEST)),
        (-1, Ok(current), Err(Refusal::Compacted)),
        (4, Err(Refusal::Compacted), Err(Refusal::Compacted)),
        (5, Ok(Revision(5)), Ok(Revision(5))),
        (9, Ok(current), Ok(current)),
        (10, Err(Refusal::FutureRevision), Err(Refusal::FutureRevision)),
    ] {
        assert_eq!(store.check_revision(requested, current), outside, "{requested}");
        assert_eq!(store.check_revision_in_txn(requested, current), inside, "{requested} in txn");
    }
}

#[test]
fn a_path_sees_its_own_changes() {
    let mut store = Store::new();
    put(&mut store, 2, "a", "1");
    let key = Bytes::from_static(b"a");
    let read = || PathOp::Range(RangeRequest::of(KeyRange::all()));
    let keep = PutRequest { ignore_value: true, ..PutRequest::of(key.clone(), Bytes::new()) };
    let ops = [
        (Sub(0), PathOp::Put(PutRequest::of(Bytes::from_static(b"b"), Bytes::from_static(b"2")))),
        (Sub(1), read()),
        (
            Sub(2),
            PathOp::DeleteRange(DeleteRangeRequest { range: KeyRange::single(key), prev_kv: true }),
        ),
        (Sub(3), read()),
    ];
    assert_eq!(store.validate(&ops, Revision(2), &|_| false), Ok(true));
    let replies = store.execute(&ops, Revision(3));
    let counts: Vec<i64> = replies
        .iter()
        .filter_map(|reply| match reply {
            OpReply::Range(range) => Some(range.count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [2, 1]);
    let mut after_deletion = ops[2..3].to_vec();
    after_deletion.push((Sub(4), PathOp::Put(keep)));
    let refused = store.validate(&after_deletion, Revision(3), &|_| false);
    assert_eq!(refused, Err((Sub(4), Refusal::KeyNotFound)));
}

/// An operation that counts how often it is looked at.
struct Looked<'a>(PathOp, &'a Cell<usize>);

impl Borrow<PathOp> for Looked<'_> {
    fn borrow(&self) -> &PathOp {
        self.1.set(self.1.get() + 1);
        &self.0
    }
}

/// A txn of 4,096 puts that keep their values once looked at each operation 4,096 times, and to
/// find the refused one 4,096 times as often.
#[test]
fn validating_looks_at_each_operation_twice_at_most_however_many_keep_something() {
    const OPS: u32 = 4096;
    let mut store = Store::new();
    let key = |number: u32| format!("key {number:05}");
    (0..OPS).for_each(|number| put(&mut store, 2, &key(number), "value"));
    let looks = Cell::new(0);
    let keep = |number: u32| {
        let put = PutRequest::of(Bytes::from(key(number)), Bytes::new());
        PathOp::Put(PutRequest { ignore_value: true, ..put })
    };
    let looked = |number, op| (Sub(number), Looked(op, &looks));
    let mut ops: Vec<_> = (0..OPS).map(|number| looked(number, keep(number))).collect();
    assert_eq!(store.validate(&ops, Revision(2), &|_| true), Ok(true));
    assert!(looks.get() <= 2 * OPS as usize, "{} looks", looks.get());
    // The last but one is refused, because one before it took the key away.
    let last = KeyRange::from_api(Bytes::from(key(OPS - 1)), Bytes::from("l"));
    let delete = PathOp::DeleteRange(DeleteRangeRequest { range: last, prev_kv: false });
    ops[0] = looked(0, delete);
    ops.push(looked(OPS, keep(0)));
    looks.set(0);
    let refused = store.validate(&ops, Revision(2), &|_| true);
    assert_eq!(refused, Err((Sub(OPS - 1), Refusal::KeyNotFound)));
    assert!(looks.get() <= 2 * OPS as usize, "{} looks", looks.get());
}

#[test]
fn a_replicated_put_that_keeps_needs_its_key() {
    let mut store = Store::new();
    put(&mut store, 2, "a", "1");
    let apply = |store: &mut Store, revision, key: &str, value: Option<&[u8]>, lease| {
        store.apply_put(Revision(revision), Sub(0), key.as_bytes(), value, lease)
    };
    let five = Some(LeaseId(5));
    assert_eq!(apply(&mut store, 3, "a", None, five), Ok(()));
    assert_eq!(apply(&mut store, 4, "a", Some(b"2"), None), Ok(()));
    let kv = store.get(b"a", Revision::NEWEST).unwrap();
    assert_eq!((&kv.value[..], kv.lease, kv.version), (&b"2"[..], LeaseId(5), 3));
    assert_eq!(store.get(b"a", Revision(3)).unwrap().value[..], b"1"[..]);
    assert_eq!(apply(&mut store, 5, "b", None, five), Err(NothingToKeep));
    assert_eq!(apply(&mut store, 5, "b", Some(b"2"), None), Err(NothingToKeep));
    assert_eq!(store.newest(), Revision(4), "without effect");
}

#[test]
fn a_missing_key_is_judged_only_if_no_shard_has_one() {
    let compare = |operator, operand| Compare { range: KeyRange::all(), operator, operand };
    let none = Share { matched: false, all_hold: true };
    let good = Share { matched: true, all_hold: true };
    let bad = Share { matched: true, all_hold: false };
    let absent = compare(CompareOperator::Equal, CompareOperand::Version(0));
    assert!(combine(&absent, [none, none]));
    assert!(!combine(&absent, [none, bad]));
    let present = compare(CompareOperator::Greater, CompareOperand::Version(0));
    assert!(!combine(&present, [none]));
    assert!(combine(&present, [none, good]));
    let value = compare(CompareOperator::NotEqual, CompareOperand::Value(Bytes::new()));
    assert!(!combine(&value, [none]), "a missing key has no value to differ");
    assert!(!combine(&value, []));
}

#[test]
#[should_panic(expected = "is final")]
fn what_was_settled_is_not_rolled_back() {
    let mut store = Store::new();
    put(&mut store, 2, "k", "");
    put(&mut store, 3, "k", "");
    store.settle(Revision(3));
    store.roll_back(Revision(2));
}

/// One key with a long history must not make a slice long.
#[test]
fn compaction_of_one_hot_key_goes_in_slices_too() {
    let mut store = Store::new();
    for revision in 2..10_002 {
        put(&mut store, revision, "hot", "v");
    }
    store.set_compaction(Revision(10_001));
    let mut versions = store.size().versions;
    while !store.compact_slice(Revision(10_001), 100) {
        let left = store.size().versions;
        assert!(versions - left <= 100, "{} at once", versions - left);
        versions = left;
    }
    assert_eq!(store.size().versions, 1);
    assert!(store.size().held > store.size().in_use);
    while !store.defragment_slice(1) {}
    assert_eq!(store.size().held, store.size().in_use);
}

/// Found by the model tests: the tombstone behind the cut was compacted before the second slice,
/// and what the first had written came to life.
#[test]
fn a_tombstone_compacted_behind_a_cut_key_still_counts() {
    let mut store = Store::new();
    put(&mut store, 2, "k", "old");
    delete(&mut store, 3, 0, "k");
    put(&mut store, 4, "z", "");
    let mut cursor = CheckpointCursor::new();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    assert!(!store.checkpoint_slice(&mut cursor, Revision(4), 1, &mut first));
    store.set_compaction(Revision(4));
    while !store.compact_slice(Revision(4), 1) {}
    assert!(store.checkpoint_slice(&mut cursor, Revision(4), 1 << 20, &mut second));
    let loaded = load(&[first, second], cursor.compacted());
    assert_eq!(loaded.get(b"k", NEWEST), None);
    assert_eq!(loaded.count(&KeyRange::all(), NEWEST), 1);
    assert_eq!(hash(&loaded, 4), hash(&store, 4));
    assert_eq!(loaded.size().in_use, store.size().in_use);
}

fn some_history() -> Store {
    let mut store = Store::new();
    for revision in 2..200 {
        let key = format!("/prefix/long/enough/{:02}", revision * 7 % 40);
        if revision % 9 == 0 {
            let range = KeyRange { start: Bytes::from(key), end: RangeEnd::Single };
            store.delete_range(Revision(revision), Sub(0), &range, false);
        } else {
            put(&mut store, revision, &key, &"v".repeat(revision as usize % 11));
        }
    }
    store
}

#[test]
fn a_checkpoint_is_the_same_however_far_compaction_and_however_many_chunks() {
    let (mut slow, mut fast) = (some_history(), some_history());
    for store in [&mut slow, &mut fast] {
        store.set_compaction(Revision(100));
    }
    while !fast.compact_slice(Revision(150), 7) {}
    assert!(slow.size().versions > fast.size().versions);
    let whole = chunks(&slow, 180, usize::MAX);
    assert_eq!(whole, chunks(&fast, 180, usize::MAX));
    assert_eq!(hash(&slow, 180), hash(&fast, 180));

    let (pieces, compacted) = chunks(&slow, 180, 100);
    assert!(pieces.len() > 20 && pieces.iter().all(|piece| piece.len() < 200));
    let loaded = load(&pieces, compacted);
    assert_eq!(chunks(&loaded, 180, usize::MAX), whole);
    assert_eq!(hash(&loaded, 180), hash(&slow, 180));
    let all = RangeRequest::of(KeyRange::all());
    for at in 100..=180 {
        let (left, right) = (loaded.range(&all, Revision(at)), slow.range(&all, Revision(at)));
        assert_eq!(left.kvs, right.kvs, "at {at}");
    }
}

#[test]
fn bad_chunks_are_refused_and_cost_nothing() {
    let (pieces, _) = chunks(&some_history(), 199, usize::MAX);
    let good = &pieces[0];
    let mut refused = 0;
    for end in 0..good.len() {
        refused += usize::from(Store::new().load_chunk(&good[..end]).is_err());
    }
    assert!(refused > good.len() * 9 / 10, "only cuts between groups can pass");
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            let mut store = Store::new();
            if store.load_chunk(&bad).is_ok() {
                // What no check can notice makes another store, but a sound one.
                store.finish_load(-1);
                store.tree.assert_invariants();
            }
        }
    }
    let huge_count = [&1_u32.to_le_bytes()[..], &0x7fff_ffff_u32.to_le_bytes(), b"k"].concat();
    let error = Store::new().load_chunk(&huge_count).expect_err("cut off");
    assert_eq!((error.what, error.offset), ("cut off", 9));
    let mut store = Store::new();
    put(&mut store, 2, "k", "");
    assert_eq!(store.load_chunk(good).expect_err("not new").what, "the store is not new");
    let mut twice = load(&[], -1);
    twice.load_chunk(good).expect("nothing was loaded before");
    assert_eq!(twice.load_chunk(good).expect_err("again").what, "a key out of order");
}

#[test]
fn a_deletion_that_would_hit_other_keys_is_noticed() {
    let mut store = some_history();
    let before = chunks(&store, 199, usize::MAX);
    let count = store.count(&KeyRange::all(), NEWEST) as u64;
    let wrong = store.apply_delete_range(Revision(200), Sub(0), &KeyRange::all(), count + 1);
    let mismatch = wrong.expect_err("one too many");
    assert_eq!(
        mismatch.to_string(),
        format!("a deletion of {} keys finds {count} here", count + 1)
    );
    assert_eq!(chunks(&store, 200, usize::MAX), before);
}

/// The tree through growth by tens of thousands of keys, in an order that levels, splits and
/// merges everywhere, and back to nothing.
#[test]
fn the_tree_grows_and_shrinks() {
    let mut store = Store::new();
    let key = |i: i64| format!("/registry/things/{:016x}", i.wrapping_mul(0x1e37_79b9_7f4a_7c15));
    let count = 30_000;
    for i in 0..count {
        put(&mut store, i + 2, &key(i), "v");
        if i % 10_000 == 0 {
            store.tree.assert_invariants();
        }
    }
    store.tree.assert_invariants();
    let half = KeyRange {
        start: Bytes::from_static(b"/registry/things/4"),
        end: RangeEnd::Before(Bytes::from_static(b"/registry/things/c")),
    };
    let request = RangeRequest::of(half.clone());
    let in_half = store.range(&request, NEWEST).kvs.len() as i64;
    assert_eq!(store.count(&half, NEWEST), in_half);
    let last = Revision(count + 2);
    let deleted = store.delete_range(last, Sub(0), &half, false).deleted;
    assert_eq!(deleted, in_half);
    assert_eq!(store.count(&KeyRange::all(), NEWEST), count - in_half);
    assert_eq!(store.count(&half, Revision(count + 1)), in_half);
    store.set_compaction(last.next());
    while !store.compact_slice(last.next(), 1000) {}
    store.tree.assert_invariants();
    assert_eq!(store.size().versions as i64, count - in_half);
    while !store.defragment_slice(500) {}
    store.tree.assert_invariants();
    store.delete_range(last.next(), Sub(0), &KeyRange::all(), false);
    store.set_compaction(Revision(count + 4));
    while !store.compact_slice(Revision(count + 4), 1000) {}
    store.tree.assert_invariants();
    assert_eq!((store.size().versions, store.size().in_use), (0, 0));
}

/// Every kind of range that goes its own way through a scan.
fn ranges() -> Vec<RangeRequest> {
    let all = RangeRequest::of(KeyRange::all());
    let part = RangeRequest {
        range: KeyRange {
            start: Bytes::from("/prefix/long/enough/08"),
            end: RangeEnd::Before(Bytes::from("/prefix/long/enough/33")),
        },
        ..all.clone()
    };
    let filters = RangeFilters { min_mod: 60, max_create: 170, ..RangeFilters::default() };
    let mut ranges = Vec::new();
    for target in [SortTarget::Key, SortTarget::Mod, SortTarget::Value, SortTarget::Version] {
        for order in [SortOrder::None, SortOrder::Ascend, SortOrder::Descend] {
            for limit in [0, 1, 7, 90] {
                for keys_only in [false, true] {
                    let base = if limit == 7 { &part } else { &all };
                    let request = RangeRequest { target, order, limit, keys_only, ..base.clone() };
                    ranges.push(RangeRequest { filters, ..request.clone() });
                    ranges.push(request);
                }
            }
        }
    }
    ranges.push(RangeRequest { count_only: true, ..part });
    ranges
}

#[test]
fn a_scan_in_slices_of_any_size_sees_its_moment_whatever_happens_meanwhile() {
    for slice in [1, 3, 50] {
        let mut store = some_history();
        let at = Revision(180);
        let expected: Vec<_> = ranges().iter().map(|range| store.range(range, at)).collect();
        let mut scans: Vec<_> = ranges()
            .into_iter()
            .map(|range| Some(Scan::new(range, Moment::at(at), slice)))
            .collect();
        let mut found = vec![None; scans.len()];
        let (mut revision, mut step) = (store.newest().0, 0);
        while found.iter().any(Option::is_none) {
            for (scan, found) in scans.iter_mut().zip(&mut found) {
                let Some(going) = scan else { continue };
                let mut visits = slice;
                *found = store.scan_slice(going, &mut visits);
                assert!(found.is_some() || visits == 0, "it stops only because it has to");
                if found.is_some() {
                    *scan = None;
                }
            }
            // Keys come and change, history is dropped up to the moment, changes are taken back.
            revision += 1;
            let key = format!("/prefix/long/enough/{:02}", revision * 31 % 55);
            put(&mut store, revision, &key, "later");
            store.set_compaction(Revision(revision));
            store.compact_slice(at, 5);
            step += 1;
            if step % 61 == 0 {
                revision -= 2;
                store.roll_back(Revision(revision));
            }
        }
        for ((range, found), expected) in ranges().iter().zip(found).zip(expected) {
            assert_eq!(found, Some(expected), "in slices of {slice}: {range:?}");
        }
    }
}

/// Simulator seed 30815: the timeline names such a key twice, and it was counted twice.
#[test]
fn a_key_that_a_txn_puts_and_deletes_counts_once_between_the_two() {
    let mut store = Store::new();
    for i in 0..20 {
        put(&mut store, i + 2, &format!("{i:02}"), "v");
    }
    put(&mut store, 30, "05", "again");
    let limited = RangeRequest { limit: 3, ..RangeRequest::of(KeyRange::all()) };
    let mut limited = Scan::new(limited, Moment::within(Revision(30), Sub(1)), 8);
    delete(&mut store, 30, 2, "05");
    let reply = store.scan_slice(&mut limited, &mut usize::MAX.clone()).expect("at once");
    assert_eq!((reply.kvs.len(), reply.count), (3, 20));
}

#[test]
fn a_scan_visits_what_it_is_allowed_and_goes_on_behind_dead_keys() {
    let mut store = Store::new();
    for i in 0..1000 {
        put(&mut store, i + 2, &format!("{i:04}"), "v");
    }
    let range = KeyRange { start: Bytes::from("0100"), end: RangeEnd::Before(Bytes::from("0900")) };
    store.apply_delete_range(Revision(1002), Sub(0), &range, 800).expect("as many");
    let mut scan = Scan::new(RangeRequest::of(KeyRange::all()), store.now(), 64);
    let mut slices = 0;
    let reply = loop {
        slices += 1;
        if let Some(reply) = store.scan_slice(&mut scan, &mut 64) {
            break reply;
        }
    };
    assert_eq!((reply.kvs.len(), reply.count), (200, 200));
    assert!(slices >= 1000 / 64, "dead keys are visits too: {slices} slices");
}

/// Two stores of the same history, in one of which a deletion of `ranges` is prepared meanwhile.
struct Pair {
    plain: Store,
    prepared: Store,
    revision: i64,
}

impl Pair {
    fn new() -> Pair {
        Pair { plain: Store::new(), prepared: Store::new(), revision: 1 }
    }

    fn put(&mut self, key: i64, lease: i64) {
        self.revision += 1;
        let (key, lease) = (format!("{key:04}"), LeaseId(lease));
        let value = self.revision.to_string();
        for store in [&mut self.plain, &mut self.prepared] {
            let at = Revision(self.revision);
            let value = Some(value.as_bytes());
            store.apply_put(at, Sub(0), key.as_bytes(), value, Some(lease)).unwrap();
        }
    }

    fn delete(&mut self, range: &KeyRange, prev_kv: bool) -> u64 {
        self.revision += 1;
        let at = Revision(self.revision);
        let [one, other] = [&mut self.plain, &mut self.prepared]
            .map(|store| store.delete_range(at, Sub(3), range, prev_kv));
        assert_eq!(one, other);
        one.deleted as u64
    }

    fn assert_same(&self) {
        let Pair { plain, prepared, revision } = self;
        assert_eq!((plain.size(), plain.newest()), (prepared.size(), prepared.newest()));
        let all = KeyRange::all();
        for at in [1, revision / 2, revision - 1, *revision] {
            let request = RangeRequest::of(all.clone());
            let at = Revision(at);
            assert_eq!(plain.range(&request, at), prepared.range(&request, at));
            assert_eq!(plain.count(&all, at), prepared.count(&all, at));
        }
        let changes = |store: &Store| store.changes(&all, Revision(1), NEWEST, usize::MAX);
        assert_eq!(changes(plain), changes(prepared));
        assert_eq!(hash(plain, *revision), hash(prepared, *revision));
        let whole = |store: &Store| chunks(store, *revision, usize::MAX);
        assert_eq!(whole(plain), whole(prepared));
        for lease in 0..5 {
            let keys = |store: &Store| -> Vec<Vec<u8>> {
                store.lease_keys(LeaseId(lease)).map(|key| key.to_vec()).collect()
            };
            assert_eq!(keys(plain), keys(prepared), "lease {lease}");
        }
    }
}

fn keys(from: i64, to: i64) -> KeyRange {
    let end = RangeEnd::Before(Bytes::from(format!("{to:04}")));
    KeyRange { start: Bytes::from(format!("{from:04}")), end }
}

#[test]
fn a_prepared_deletion_is_the_plain_one_whatever_happens_while_it_is_prepared() {
    for (slice, undone) in [(1, false), (7, false), (64, false), (1000, false), (9, true)] {
        let mut pair = Pair::new();
        (0..300).for_each(|i| pair.put(i * 37 % 500, i % 5));
        let ranges = [keys(100, 300), keys(250, 450)];
        let deletions = ranges.clone().map(Deletion::Range);
        pair.prepared.begin_delete(&deletions);
        let mut step: i64 = 0;
        while !pair.prepared.prepare_delete(&mut slice.clone()) {
            step += 1;
            // New keys, old ones on other leases, single deletes and one of a few, in and outside.
            pair.put(step * 53 % 500, step % 4);
            pair.delete(&keys(step * 61 % 500, step * 61 % 500 + 1), false);
            if step % 9 == 0 {
                pair.delete(&keys(step * 29 % 480, step * 29 % 480 + 12), step % 2 == 0);
                pair.assert_same();
            }
        }
        (0..40).for_each(|i| pair.put(i * 101 % 500, i % 3));
        pair.assert_same();
        assert!(pair.prepared.is_delete_prepared(&deletions));
        if undone {
            pair.prepared.abandon_delete();
            while !pair.prepared.undo_delete(&mut slice.clone()) {
                step += 1;
                pair.put(step * 53 % 500, step % 4);
            }
            assert!(!pair.prepared.has_delete());
        }
        let before = pair.revision;
        let deleted = ranges.each_ref().map(|range| pair.delete(range, false));
        assert!(deleted.iter().all(|&deleted| deleted > 50), "{deleted:?}");
        pair.assert_same();
        (0..30).for_each(|i| pair.put(i * 97 % 500, i % 5));
        pair.assert_same();
        // Taken back, and made again by the log.
        let (plain, prepared) =
            (pair.plain.roll_back(Revision(before)), pair.prepared.roll_back(Revision(before)));
        assert_eq!(plain, prepared);
        pair.revision = before;
        pair.assert_same();
        pair.plain.set_compaction(Revision(before));
        pair.prepared.set_compaction(Revision(before));
        while !pair.plain.compact_slice(Revision(before), 5) {}
        while !pair.prepared.compact_slice(Revision(before), 5) {}
        pair.plain.tree.assert_invariants();
        pair.prepared.tree.assert_invariants();
    }
}

#[test]
fn a_deletion_that_is_prepared_is_taken_back_with_what_it_stands_on() {
    let mut pair = Pair::new();
    (0..100).for_each(|i| pair.put(i, 0));
    pair.prepared.begin_delete(&[Deletion::Range(keys(10, 90))]);
    assert!(!pair.prepared.prepare_delete(&mut 30));
    let cut = Revision(60);
    assert_eq!(pair.plain.roll_back(cut), pair.prepared.roll_back(cut));
    pair.revision = cut.0;
    assert!(!pair.prepared.has_delete());
    pair.assert_same();
    pair.prepared.tree.assert_invariants();
}

#[test]
fn the_end_of_a_lease_that_is_prepared_is_the_plain_one_whatever_happens_meanwhile() {
    for (slice, undone) in [(1, false), (7, false), (1000, false), (9, true)] {
        let mut pair = Pair::new();
        (0..400).for_each(|i| pair.put(i * 37 % 500, i % 3));
        let deletion = [Deletion::Lease(LeaseId(1))];
        pair.prepared.begin_delete(&deletion);
        let mut step: i64 = 0;
        while !pair.prepared.prepare_delete(&mut slice.clone()) {
            step += 1;
            // New keys, old ones that leave the lease, and deletes.
            pair.put(step * 53 % 500, 2 * (step % 2));
            pair.delete(&keys(step * 61 % 500, step * 61 % 500 + 1), false);
            pair.assert_same();
        }
        (0..40).for_each(|i| pair.put(i * 101 % 500, 2));
        assert!(pair.prepared.is_delete_prepared(&deletion));
        if undone {
            pair.prepared.abandon_delete();
            while !pair.prepared.undo_delete(&mut slice.clone()) {
                step += 1;
                pair.put(step * 53 % 500, 2);
            }
            assert!(!pair.prepared.has_delete());
        }
        pair.revision += 1;
        let at = Revision(pair.revision);
        let [one, other] = [&mut pair.plain, &mut pair.prepared]
            .map(|store| store.delete_lease_keys(at, Sub(0), LeaseId(1)));
        assert!(one == other && one > 30, "{one} and {other}");
        pair.assert_same();
        while !pair.prepared.detach_some(&mut slice.clone()) {}
        pair.assert_same();
        (0..30).for_each(|i| pair.put(i * 97 % 500, i % 5));
        pair.assert_same();
        assert_eq!(
            pair.plain.roll_back(Revision(at.0 - 1)),
            pair.prepared.roll_back(Revision(at.0 - 1))
        );
        pair.revision = at.0 - 1;
        pair.assert_same();
        pair.prepared.tree.assert_invariants();
    }
}

#[test]
fn the_index_of_leases_is_right_while_a_deletion_is_taken_out_of_it() {
    let mut pair = Pair::new();
    (0..200).for_each(|i| pair.put(i, 1 + i % 4));
    pair.prepared.begin_delete(&[Deletion::Range(keys(0, 150))]);
    assert!(pair.prepared.prepare_delete(&mut usize::MAX.clone()));
    pair.delete(&keys(0, 150), false);
    pair.assert_same();
    let mut step = 0;
    while !pair.prepared.detach_some(&mut 3) {
        step += 1;
        // They come back to the same lease, to another, and go again.
        pair.put(step * 7 % 150, 1 + step * 7 % 4);
        pair.put(step * 11 % 150, step % 5);
        if step % 3 == 0 {
            pair.delete(&keys(step % 150, step % 150 + 9), false);
        }
        pair.assert_same();
    }
    assert!(step > 10);
    pair.assert_same();
}

#[test]
fn what_is_judged_is_what_a_look_at_all_keys_says_after_every_change() {
    let mut store = Store::new();
    let mut revision = 1;
    let mut change = |store: &mut Store, key: i64, value: &str| {
        revision += 1;
        if value.is_empty() {
            store.delete_range(Revision(revision), Sub(0), &keys(key, key + 3), false);
        } else {
            put(store, revision, &format!("{key:04}"), value);
        }
    };
    (0..200).for_each(|key| change(&mut store, key, "good"));
    let bad = CompareOperand::Value(Bytes::from_static(b"bad"));
    let compare = |range, operator, operand| Compare { range, operator, operand };
    let compares = [
        compare(keys(0, 200), CompareOperator::NotEqual, bad.clone()),
        compare(keys(50, 150), CompareOperator::NotEqual, bad.clone()),
        compare(keys(0, 200), CompareOperator::Greater, CompareOperand::Version(0)),
        compare(keys(300, 400), CompareOperator::Equal, CompareOperand::Version(0)),
        compare(keys(60, 60), CompareOperator::Equal, bad),
    ];
    store.begin_judging(compares.iter());
    let (mut decided, mut failed) = (0, 0);
    for step in 0..4000i64 {
        let key = step * 7919 % 210;
        let value = match step % 5 {
            0 if step % 400 < 40 => "bad",
            1 if step % 50 == 1 => "",
            _ => "good",
        };
        change(&mut store, key, value);
        let mut visits = (step % 17) as usize;
        let before = visits;
        store.judge_some(&mut visits);
        assert!(visits <= before);
        let Some(shares) = store.shares(compares.iter(), &mut 0) else {
            assert!(!store.is_judged());
            continue;
        };
        let plainly = compares.each_ref().map(|compare| store.holds_share(compare, NEWEST));
        assert_eq!(shares.len(), plainly.len());
        for ((compare, one), other) in compares.iter().zip(&shares).zip(&plainly) {
            assert_eq!(combine(compare, [*one]), combine(compare, [*other]), "{compare:?}");
        }
        decided += 1;
        failed += usize::from(!shares[0].all_hold);
    }
    assert!(decided > 500 && failed > 100 && failed < decided, "{failed} of {decided}");
    // Others are looked at, as far as that is allowed.
    assert!(store.shares(&compares[..1], &mut 0).is_some());
    store.end_judging();
    assert!(store.shares(&compares[..1], &mut 20).is_none());
    assert!(store.shares(&compares[..1], &mut 2000).is_some());
}
