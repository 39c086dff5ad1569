//! Changes as watchers are told of them, with what was before: as they are made, and as history.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::{Event, KeyRange, Revision, Sub};

use super::Store;
use super::versions::{Record, Version};

/// The bounds of one look into the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryBounds {
    /// Revisions with events.
    pub revisions: usize,
    /// Changes looked at, about.
    pub visits: usize,
    /// Bytes of events, about; one revision comes whole whatever it takes.
    pub bytes: usize,
}

/// The events that a look into the past found.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub events: Vec<Arc<Event>>,
    /// Nothing up to here is missing.
    pub through: Revision,
}

impl Store {
    /// Goes over the changes above `after`, pending ones included, in order. Of those whose key
    /// `wanted` says something about, `tell` gets that and the event.
    pub fn visit_events_above<W>(
        &self,
        after: Revision,
        mut wanted: impl FnMut(&[u8]) -> Option<W>,
        mut visit: impl FnMut(W, Event),
    ) {
        let mut repeats = Repeats::default();
        for (revision, key) in self.timeline.above(after.0) {
            if let Some(wanted) = wanted(key) {
                let record = self.tree.get(key).expect("the timeline names keys that are there");
                let nth = repeats.nth(revision, key, record);
                visit(wanted, self.event_at(record, revision, nth));
            }
        }
    }

    /// The changes of keys in `range` with `after < revision <= to`, whole revisions in order, as
    /// far as the bounds go. The caller has seen to it that `after + 1` is not compacted.
    pub fn history(
        &self,
        range: &KeyRange,
        after: Revision,
        to: Revision,
        bounds: &HistoryBounds,
    ) -> History {
        assert!(after.0 + 1 >= self.compacted(), "history from {after} on is compacted");
        let mut gathering = Gathering::new(*bounds, after);
        if let Some(key) = range.single_key() {
            let Some(record) = self.tree.get(key) else { return gathering.whole(to) };
            let first = record.place_after(after.0);
            for place in first..record.len() {
                let (_, version) = record.with_previous(place);
                let revision = version.modified();
                if revision > to.0 {
                    break;
                }
                if gathering.is_full(revision) {
                    return gathering.until(revision - 1);
                }
                gathering.take(self.event_of(record, place));
            }
            return gathering.whole(to);
        }
        let mut repeats = Repeats::default();
        let mut last = after.0;
        for (visited, (revision, key)) in self.timeline.above(after.0).enumerate() {
            if revision > to.0 {
                break;
            }
            if revision != last && visited >= bounds.visits {
                return gathering.until(last);
            }
            last = revision;
            if range.contains(key) {
                if gathering.is_full(revision) {
                    return gathering.until(revision - 1);
                }
                let record = self.tree.get(key).expect("the timeline names keys that are there");
                let nth = repeats.nth(revision, key, record);
                gathering.take(self.event_at(record, revision, nth));
            }
        }
        gathering.whole(to)
    }

    fn event_at(&self, record: &Record, revision: i64, nth: usize) -> Event {
        let place = record.place_after(revision - 1) + nth;
        let event = self.event_of(record, place);
        assert_eq!(event.revision.0, revision, "the change is kept");
        event
    }

    fn event_of(&self, record: &Record, place: usize) -> Event {
        let (_, version) = record.with_previous(place);
        let stamp = version.stamp();
        let put = version.is_live().then(|| record.key_value(version));
        // As etcd has it: what was there before the whole revision, and nothing for what is created
        // in it.
        let (previous, _) = record.with_previous(record.place_after(stamp.modified - 1));
        let is_new = put.as_ref().is_some_and(|put| put.create == stamp.modified);
        // A slice of a compaction may not have come by yet: it shall make no difference.
        let is_kept = stamp.modified > self.compacted();
        let previous = previous.filter(|previous| previous.is_live() && !is_new && is_kept);
        let previous = previous.map(|previous| record.key_value(previous));
        let (revision, sub) = (Revision(stamp.modified), Sub(stamp.sub));
        Event::new(revision, sub, record.key.clone(), put, previous)
    }
}

/// Tells the changes of one key in one revision apart: the timeline names the key for each.
#[derive(Default)]
struct Repeats<'a> {
    revision: i64,
    seen: BTreeMap<&'a [u8], usize>,
}

impl<'a> Repeats<'a> {
    fn nth(&mut self, revision: i64, key: &'a [u8], record: &Record) -> usize {
        if record.changed_at(revision, 1).is_none() {
            return 0;
        }
        if self.revision != revision {
            self.revision = revision;
            self.seen.clear();
        }
        let count = self.seen.entry(key).or_default();
        *count += 1;
        *count - 1
    }
}

struct Gathering {
    bounds: HistoryBounds,
    events: Vec<Arc<Event>>,
    last: i64,
    revisions: usize,
    bytes: usize,
}

impl Gathering {
    fn new(bounds: HistoryBounds, after: Revision) -> Gathering {
        Gathering { bounds, events: Vec::new(), last: after.0, revisions: 0, bytes: 0 }
    }

    fn is_full(&self, revision: i64) -> bool {
        revision != self.last
            && (self.revisions >= self.bounds.revisions || self.bytes >= self.bounds.bytes)
            && !self.events.is_empty()
    }

    fn take(&mut self, event: Event) {
        if event.revision.0 != self.last {
            self.last = event.revision.0;
            self.revisions += 1;
        }
        self.bytes += event.bytes(true);
        self.events.push(Arc::new(event));
    }

    fn until(self, through: i64) -> History {
        History { events: self.events, through: Revision(through) }
    }

    fn whole(self, to: Revision) -> History {
        self.until(to.0)
    }
}

impl Record {
    /// The version at `place`, and the one before it.
    fn with_previous(&self, place: usize) -> (Option<&Version>, &Version) {
        let version = self.nth(place).expect("a place of the record");
        (place.checked_sub(1).and_then(|before| self.nth(before)), version)
    }
}
