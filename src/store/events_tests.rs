//! Events against the plain model of the store: what is told as it happens, and what is found
//! later, are the changes, with what was before them.

use std::sync::Arc;

use bytes::Bytes;

use super::{HistoryBounds, Store};
use crate::chance::Chance;
use crate::types::{Event, KeyRange, LeaseId, Revision, Sub};

const ALL: HistoryBounds =
    HistoryBounds { revisions: usize::MAX, visits: usize::MAX, bytes: usize::MAX };

fn show(event: &Event) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let of = |kv: &Option<crate::types::KeyValue>| match kv {
        Some(kv) => format!("{}({},{})", text(&kv.value), kv.create, kv.version),
        None => "-".to_owned(),
    };
    let (put, prev) = (of(&event.put), of(&event.prev));
    format!("{}.{} {} {put} {prev}", event.revision, event.sub, text(&event.key))
}

fn range(key: &str, end: &str) -> KeyRange {
    KeyRange::from_api(Bytes::from(key.to_owned()), Bytes::from(end.to_owned()))
}

fn told_above(store: &Store, after: i64) -> Vec<String> {
    let mut told = Vec::new();
    store.visit_events_above(Revision(after), |_| Some(()), |(), event| told.push(show(&event)));
    told
}

fn history(store: &Store, range: &KeyRange, after: i64, to: i64) -> Vec<String> {
    let found = store.history(range, Revision(after), Revision(to), &ALL);
    assert_eq!(found.through, Revision(to));
    found.events.iter().map(|event| show(event)).collect()
}

/// A key that changes several times in one revision: deleted with its neighbours, put again.
#[test]
fn changes_of_one_revision_are_told_apart_with_what_was_before_all_of_them() {
    let mut store = Store::new();
    let put = |store: &mut Store, revision, sub, key: &str, value: &str| {
        let (at, sub) = (Revision(revision), Sub(sub));
        let lease = Some(LeaseId::NONE);
        store.apply_put(at, sub, key.as_bytes(), Some(value.as_bytes()), lease).unwrap();
    };
    put(&mut store, 2, 0, "a", "1");
    put(&mut store, 2, 1, "b", "1");
    store.apply_delete_range(Revision(3), Sub(0), &KeyRange::all(), 2).expect("both");
    put(&mut store, 3, 1, "b", "2");
    put(&mut store, 3, 2, "a", "2");
    store.apply_delete_range(Revision(3), Sub(3), &range("a", ""), 1).expect("one");
    let expected =
        ["3.0 a - 1(2,1)", "3.0 b - 1(2,1)", "3.1 b 2(3,1) -", "3.2 a 2(3,1) -", "3.3 a - 1(2,1)"];
    assert_eq!(told_above(&store, 2), expected);
    assert_eq!(history(&store, &KeyRange::all(), 2, 3), expected);
    assert_eq!(history(&store, &range("b", ""), 2, 9), expected[1..3]);
    assert_eq!(history(&store, &range("a", ""), 0, 2), ["2.0 a 1(2,1) -"]);
    assert_eq!(told_above(&store, 3), Vec::<String>::new());
    store.set_compaction(Revision(3));
    let compacted = ["3.0 a - -", "3.0 b - -", "3.1 b 2(3,1) -", "3.2 a 2(3,1) -"];
    assert_eq!(history(&store, &KeyRange::all(), 2, 3)[..4], compacted);
    while !store.compact_slice(Revision(3), 1) {}
    assert_eq!(history(&store, &KeyRange::all(), 2, 3)[..4], compacted, "the same when it is gone");
}

#[test]
fn history_is_what_changes_says_and_comes_in_parts_of_whole_revisions() {
    let mut chance = Chance::new(5);
    let mut draw = |below: u64| chance.below(below);
    let mut store = Store::new();
    let mut told: Vec<Arc<Event>> = Vec::new();
    let mut newest = 1;
    for _ in 0..300 {
        newest += 1;
        for sub in 0..1 + draw(3) as u32 {
            let key = format!("k{}", draw(12));
            let one = range(&key, "");
            if draw(4) == 0 && store.count(&one, Revision::NEWEST) == 1 {
                store.apply_delete_range(Revision(newest), Sub(sub), &one, 1).expect("there");
            } else {
                let (at, sub) = (Revision(newest), Sub(sub));
                let lease = Some(LeaseId::NONE);
                store.apply_put(at, sub, key.as_bytes(), Some(b"v"), lease).unwrap();
            }
        }
        store.visit_events_above(
            Revision(newest - 1),
            |_| Some(()),
            |(), event| told.push(Arc::new(event)),
        );
    }
    for _ in 0..200 {
        let key = format!("k{}", draw(12));
        let range = range(&key, ["", "\0", "k3", "k9"][draw(4) as usize]);
        let (after, to) = (draw(300) as i64, draw(310) as i64);
        let expected: Vec<String> = told
            .iter()
            .filter(|e| range.contains(&e.key) && e.revision.0 > after && e.revision.0 <= to)
            .map(|event| show(event))
            .collect();
        let changes = store.changes(&range, Revision(after), Revision(to), usize::MAX);
        assert_eq!(changes.len(), expected.len());
        let bounds = HistoryBounds {
            revisions: 1 + draw(9) as usize,
            visits: 1 + draw(20) as usize,
            bytes: 1 + draw(400) as usize,
        };
        let (mut found, mut from) = (Vec::new(), after);
        while from < to {
            let part = store.history(&range, Revision(from), Revision(to), &bounds);
            assert!(part.through.0 > from && part.through.0 <= to);
            assert!(part.events.iter().all(|event| event.revision <= part.through));
            found.extend(part.events.iter().map(|event| show(event)));
            from = part.through.0;
        }
        assert_eq!(found, expected);
    }
}
