//! A watch stream: its watchers by their numbers, what it has asked, and how much it has been
//! given that its client has not taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use slab::Slab;

use crate::limits::WATCH_REQUESTS_MAX;
use crate::types::{Nanos, Revision, WatchId, WatchRefusal, WatchStream};

/// See the file.
#[derive(Debug)]
pub(super) struct Stream {
    pub number: WatchStream,
    pub ids: BTreeMap<WatchId, u32>,
    next_id: i64,
    /// Bytes of events that have not been sent, and how many there may be.
    used: usize,
    room: usize,
    /// Requests that are not answered yet, in order.
    pub asked: VecDeque<QueuedRequest>,
    /// Watchers that are not synced: while there are any, a request for progress gets nothing.
    pub unsynced: usize,
    /// Synced watchers that wait for a start in the future, maybe reached meanwhile.
    pub futures: BTreeSet<(Revision, WatchId)>,
    /// Watchers that wait for room; some may be gone, or do no longer.
    pub lagging: Vec<WatchId>,
    pub opened: Nanos,
    /// The time of the next progress notification.
    pub due: Option<Nanos>,
}

/// A request that waits for those before it, and until `need` is stable: what was stable when it
/// came, so that no answer is older than what its client may have seen.
#[derive(Debug)]
pub(super) struct QueuedRequest {
    pub need: Revision,
    pub what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// `slot` is none if it was cancelled meanwhile.
    Create {
        id: WatchId,
        slot: Option<u32>,
    },
    Refuse(WatchRefusal),
    Cancel(WatchId),
    Progress,
}

impl Stream {
    /// The next number that the server chooses: counted up, those in use left out.
    pub fn choose_id(&mut self) -> WatchId {
        while self.ids.contains_key(&WatchId(self.next_id)) {
            self.next_id += 1;
        }
        self.next_id += 1;
        WatchId(self.next_id - 1)
    }

    /// Whether another request may come.
    pub fn takes_requests(&self) -> bool {
        self.asked.len() < WATCH_REQUESTS_MAX
    }

    /// Whether it may be given events: one reply may go beyond the bound.
    pub fn has_room(&self) -> bool {
        self.used < self.room
    }

    /// Whether those that lag may catch up.
    pub fn has_half_its_room(&self) -> bool {
        self.used <= self.room / 2
    }

    pub fn give(&mut self, bytes: usize) {
        self.used += bytes;
    }

    pub fn sent(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used, "more was sent than given");
        self.used = self.used.saturating_sub(bytes);
    }

    /// Whether some synced watcher has not reached its start.
    pub fn awaits_future(&mut self, position: Revision) -> bool {
        while self.futures.first().is_some_and(|(start, _)| *start <= position) {
            self.futures.pop_first();
        }
        !self.futures.is_empty()
    }
}

/// The streams of a core.
#[derive(Debug)]
pub(super) struct Streams {
    /// Bytes of events that a stream may have been given and not sent.
    room: usize,
    streams: Slab<Stream>,
    opened: u64,
}

/// Bits of a stream's number that say its place; the others count.
const PLACE_BITS: u32 = 24;

impl Streams {
    pub fn new(room: usize) -> Streams {
        Streams { room, streams: Slab::new(), opened: 0 }
    }

    pub fn open(&mut self, now: Nanos) -> WatchStream {
        self.opened += 1;
        let entry = self.streams.vacant_entry();
        assert!(entry.key() < 1 << PLACE_BITS, "fewer than 2^{PLACE_BITS} streams on a core");
        let number = WatchStream(self.opened << PLACE_BITS | entry.key() as u64);
        entry.insert(Stream {
            number,
            ids: BTreeMap::new(),
            next_id: 0,
            used: 0,
            room: self.room,
            asked: VecDeque::new(),
            unsynced: 0,
            futures: BTreeSet::new(),
            lagging: Vec::new(),
            opened: now,
            due: None,
        });
        number
    }

    /// The place of a stream that is open.
    pub fn place(&self, number: WatchStream) -> Option<u32> {
        let place = (number.0 & ((1 << PLACE_BITS) - 1)) as usize;
        let stream = self.streams.get(place)?;
        (stream.number == number).then_some(place as u32)
    }

    pub fn at(&self, place: u32) -> &Stream {
        &self.streams[place as usize]
    }

    pub fn at_mut(&mut self, place: u32) -> &mut Stream {
        &mut self.streams[place as usize]
    }

    pub fn remove(&mut self, place: u32) -> Stream {
        self.streams.remove(place as usize)
    }

    pub fn places(&self) -> Vec<u32> {
        self.streams.iter().map(|(place, _)| place as u32).collect()
    }

    pub fn len(&self) -> usize {
        self.streams.len()
    }
}
