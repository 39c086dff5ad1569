//! Made-up streams against a made-up line: what is right passes, and each lie is found.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::types::{Blob, KeyRange, Refusal, Revision, Sub};

fn put(key: &str, create: i64, modified: i64, version: i64) -> Change {
    let kv = KeyValue {
        key: Blob::from(key.as_bytes()),
        value: Blob::from(format!("at {modified}").as_bytes()),
        create,
        modified,
        version,
        ..KeyValue::default()
    };
    Change { sub: 0, key: key.into(), put: Some(kv) }
}

fn delete(sub: u32, key: &str) -> Change {
    Change { sub, key: key.into(), put: None }
}

/// 2: a. 3: a and b. 4: a is deleted. 5: b. 6: c.
fn line() -> ObservedLine {
    let second = Change { sub: 1, ..put("b", 3, 3, 1) };
    ObservedLine::of(vec![
        vec![put("a", 2, 2, 1)],
        vec![put("a", 2, 3, 2), second],
        vec![delete(0, "a")],
        vec![put("b", 3, 5, 2)],
        vec![put("c", 6, 6, 1)],
    ])
}

fn at(line: &ObservedLine) -> Moment<'_> {
    Moment { line, stable: line.newest(), compacted: -1, compactions: &[(1, 3)] }
}

fn of(range: KeyRange, start: i64) -> WatchCreate {
    WatchCreate { progress_notify: true, prev_kv: true, ..WatchCreate::of(range, start) }
}

/// A stream with a watcher of `create`, made when `created` was stable.
fn stream(line: &ObservedLine, create: WatchCreate, created: i64) -> Stream {
    let mut stream = Stream::new(0, WatchStream(1), 1 << 20);
    let early = Moment { stable: created, ..at(line) };
    stream.ask(&WatchRequest::Create(create), early);
    let reply = WatchReply::Created { id: WatchId(0), revision: Revision(created) };
    stream.check(&reply, early).unwrap();
    stream
}

/// The events of some revisions, as they are right.
fn events(line: &ObservedLine, keys: &[&str], revisions: &[i64]) -> WatchEvents {
    let mut events = Vec::new();
    for &revision in revisions {
        for change in line.changes(revision) {
            if keys.iter().any(|key| key.as_bytes() == change.key) {
                let prev = line.shown().get(&change.key, revision - 1).cloned();
                let key = Blob::from(&change.key[..]);
                let (revision, sub) = (Revision(revision), Sub(change.sub));
                events.push(Arc::new(Event::new(revision, sub, key, change.put.clone(), prev)));
            }
        }
    }
    let bytes = events.iter().map(|event| event.bytes(true)).sum();
    let revision = events.last().map_or(Revision(0), |event| event.revision);
    WatchEvents { id: WatchId(0), revision, events, prev_kv: true, fragment: false, bytes }
}

fn tell(stream: &mut Stream, line: &ObservedLine, told: WatchEvents) -> Result<(), Broken> {
    stream.check(&WatchReply::Events(told), at(line))
}

fn progress(id: i64, revision: i64) -> WatchReply {
    WatchReply::Progress { id: WatchId(id), revision: Revision(revision) }
}

/// Whether it is found, in these words.
fn is_found(told: Result<(), Broken>, words: &str) -> bool {
    let broken = told.expect_err(words);
    assert!(broken.contains(words), "{broken}");
    true
}

#[test]
fn a_watcher_that_is_told_everything_in_any_portions_holds() {
    let line = line();
    for split in [1, 2, 4] {
        let mut stream = stream(&line, of(KeyRange::all(), 2), 6);
        let revisions = [2, 3, 4, 5, 6];
        for part in revisions.chunks(split) {
            tell(&mut stream, &line, events(&line, &["a", "b", "c"], part)).unwrap();
        }
        stream.check_rest(at(&line)).unwrap();
        stream.check(&progress(0, 6), at(&line)).unwrap();
        assert!(stream.owed > 0);
    }
    let mut one = stream(&line, of(KeyRange::single(Bytes::from("b")), 0), 2);
    tell(&mut one, &line, events(&line, &["b"], &[3])).unwrap();
    one.check(&progress(0, 4), at(&line)).unwrap();
    tell(&mut one, &line, events(&line, &["b"], &[5])).unwrap();
    one.check_rest(at(&line)).unwrap();
    assert_eq!(one.resumptions().map(|create| create.start).collect::<Vec<_>>(), [6]);
}

#[test]
fn what_is_missing_doubled_or_out_of_order_is_found() {
    let line = line();
    let all = ["a", "b", "c"];
    let fresh = || stream(&line, of(KeyRange::all(), 2), 6);
    assert!(is_found(tell(&mut fresh(), &line, events(&line, &all, &[3])), "in place of"));
    assert!(is_found(tell(&mut fresh(), &line, events(&line, &all, &[2, 4])), "in place of"));
    assert!(is_found(tell(&mut fresh(), &line, events(&line, &all, &[3, 2])), "in place of"));
    let mut twice = fresh();
    tell(&mut twice, &line, events(&line, &all, &[2, 3])).unwrap();
    assert!(is_found(tell(&mut twice, &line, events(&line, &all, &[3])), "nobody wants"));
    // Atomic: a part of a revision is no revision.
    let half = || events(&line, &["a"], &[2, 3]);
    assert!(is_found(tell(&mut fresh(), &line, half()), "revision 3 is missing"));
    assert!(is_found(tell(&mut fresh(), &line, events(&line, &all, &[])), "of nothing"));
    assert!(is_found(fresh().check_rest(at(&line)), "never told of revision 2"));
    let above = Moment { stable: 4, ..at(&line) };
    let told = WatchReply::Events(events(&line, &all, &[2, 3, 4, 5]));
    assert!(is_found(fresh().check(&told, above), "above stable"));
}

#[test]
fn what_was_before_and_what_is_filtered_is_held_against_the_line() {
    let line = line();
    let keys = ["a"];
    let one = |no_put, no_delete| {
        let create = of(KeyRange::single(Bytes::from("a")), 2);
        stream(&line, WatchCreate { no_put, no_delete, ..create }, 6)
    };
    tell(&mut one(true, false), &line, events(&line, &keys, &[4])).unwrap();
    tell(&mut one(false, true), &line, events(&line, &keys, &[2, 3])).unwrap();
    assert!(is_found(tell(&mut one(true, false), &line, events(&line, &keys, &[2])), "nobody"));
    assert!(is_found(tell(&mut one(false, true), &line, events(&line, &keys, &[2, 3, 4])), "nob"));
    let without = |revision: i64| {
        let mut told = events(&line, &keys, &[revision]);
        let event = &told.events[0];
        let (key, put) = (event.key.clone(), event.put.clone());
        told.events = vec![Arc::new(Event::new(event.revision, event.sub, key, put, None))];
        told.bytes = told.events[0].bytes(true);
        told
    };
    let begin = |start| {
        let create = of(KeyRange::single(Bytes::from("a")), start);
        stream(&line, create, 6)
    };
    // A compaction at 3 was asked for: it may have taken what was before 3, not before 4.
    tell(&mut begin(3), &line, without(3)).unwrap();
    assert!(is_found(tell(&mut begin(4), &line, without(4)), "before revision 4"));
}

#[test]
fn progress_that_says_too_much_or_too_little_is_found() {
    let line = line();
    let fresh = || stream(&line, of(KeyRange::single(Bytes::from("b")), 2), 6);
    assert!(is_found(fresh().check(&progress(0, 3), at(&line)), "revision 3 was never told"));
    fresh().check(&progress(0, 2), at(&line)).unwrap();
    let mut ahead = fresh();
    tell(&mut ahead, &line, events(&line, &["b"], &[3])).unwrap();
    assert!(is_found(ahead.check(&progress(0, 2), at(&line)), "has been told more"));
    assert!(is_found(fresh().check(&progress(-1, 2), at(&line)), "answers nothing"));
    let mut future = stream(&line, of(KeyRange::all(), 9), 6);
    assert!(is_found(future.check(&progress(0, 6), at(&line)), "waits for a revision"));
    let mut silent =
        stream(&line, WatchCreate { progress_notify: false, ..of(KeyRange::all(), 7) }, 6);
    assert!(is_found(silent.check(&progress(0, 6), at(&line)), "nobody wanted"));
    silent.ask(&WatchRequest::Progress, at(&line));
    assert!(is_found(silent.check(&progress(-1, 5), at(&line)), "below 6"));
}

#[test]
fn requests_are_answered_in_order_and_with_the_right_numbers() {
    let line = line();
    let now = at(&line);
    let mut stream = Stream::new(0, WatchStream(1), 1 << 20);
    let create =
        |id| WatchRequest::Create(WatchCreate { id: WatchId(id), ..of(KeyRange::all(), 7) });
    let created = |id| WatchReply::Created { id: WatchId(id), revision: Revision(6) };
    let canceled =
        |id| WatchReply::Canceled { id: WatchId(id), revision: Revision(6), compacted: None };
    for request in [create(1), create(0), create(0), create(1), WatchRequest::Progress] {
        stream.ask(&request, now);
    }
    for id in [1, 0] {
        stream.check(&created(id), now).unwrap();
    }
    assert!(is_found(stream.check(&created(1), now), "should have the id WatchId(2)"));
    let reason = WatchRefusal::DuplicateId;
    stream.check(&WatchReply::Refused { revision: Revision(6), reason }, now).unwrap();
    for request in [WatchRequest::Cancel(WatchId(1)), WatchRequest::Cancel(WatchId(7)), create(1)] {
        stream.ask(&request, now);
    }
    assert!(is_found(stream.check_rest(now), "waits"));
    stream.check(&canceled(1), now).unwrap();
    stream.check(&created(1), now).unwrap();
    assert!(is_found(stream.check(&canceled(1), now), "answers nothing"));
    assert!(is_found(stream.check(&WatchReply::Ended(Refusal::Stopped), now), "nobody ended"));
    let empty = KeyRange::from_api(Bytes::from("b"), Bytes::from("a"));
    stream.ask(&WatchRequest::Create(of(empty, -1)), now);
    assert!(is_found(stream.check(&created(3), now), "no answer"));
}

#[test]
fn a_compaction_cancels_only_what_it_has_reached() {
    let line = line();
    let canceled = |at| WatchReply::Canceled {
        id: WatchId(0),
        revision: Revision(0),
        compacted: Some(Revision(at)),
    };
    let b = || KeyRange::single(Bytes::from("b"));
    stream(&line, of(b(), 2), 6).check(&canceled(3), at(&line)).unwrap();
    assert!(is_found(
        stream(&line, of(b(), 3), 6).check(&canceled(3), at(&line)),
        "is not compacted"
    ));
    assert!(is_found(
        stream(&line, of(b(), 2), 6).check(&canceled(4), at(&line)),
        "nobody asked for that"
    ));
    let mut gone = stream(&line, of(b(), 2), 6);
    gone.check(&canceled(3), at(&line)).unwrap();
    assert!(is_found(tell(&mut gone, &line, events(&line, &["b"], &[3])), "by a compaction"));
    assert_eq!(gone.resumptions().count(), 0);
    assert!(!gone.owes_progress(6));
    // One that was answered before the watcher was asked for leaves it no choice.
    let known = Moment { compacted: 3, ..at(&line) };
    let mut doomed = Stream::new(0, WatchStream(1), 1 << 20);
    doomed.ask(&WatchRequest::Create(of(b(), 2)), known);
    let created = WatchReply::Created { id: WatchId(0), revision: Revision(6) };
    doomed.check(&created, known).unwrap();
    assert!(is_found(doomed.check_rest(known), "never told of revision 3"));
    assert!(is_found(tell(&mut doomed, &line, events(&line, &["b"], &[3])), "was compacted"));
}

#[test]
fn a_stream_without_room_is_told_of_no_events() {
    let line = line();
    let mut stream = stream(&line, of(KeyRange::all(), 2), 6);
    stream.room = 1;
    tell(&mut stream, &line, events(&line, &["a", "b", "c"], &[2])).unwrap();
    let told = tell(&mut stream, &line, events(&line, &["a", "b", "c"], &[3]));
    assert!(is_found(told, "has no room"));
}
