//! The streams that are open, and a memory of closed ones.

use std::collections::VecDeque;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use slab::Slab;

/// Resets of calls that were not answered, beyond calls that were, after which a client only makes
/// work: its connection ends. Twice what a connection may have under way, so that a client may
/// cancel all of that and begin again.
pub const RESETS_UNEARNED_MAX: u32 = 2 * crate::limits::CONNECTION_REQUESTS_MAX as u32;

/// Streams that we have reset whose late frames are expected.
const RESET_MAX: usize = 1024;
/// Streams that have closed by themselves.
const CLOSED_MAX: usize = 32;

/// Streams that were answered before their clients had ended them, and bytes that may still come of
/// one. Beyond either one is reset: a client that ends it soon need not be told.
pub(super) const ANSWERED_MAX: usize = 32;
pub(super) const ANSWERED_BYTES_MAX: usize = 16 << 10;

/// One stream that is not closed.
#[derive(Debug)]
pub(super) struct Stream<C> {
    pub(super) id: u32,
    /// The client has ended its side.
    pub(super) is_ended: bool,
    /// We have ended ours: for the owner it is closed.
    pub(super) is_answered: bool,
    /// Bytes that the client may still send.
    pub(super) window: i64,
    /// Bytes that have come and that the owner has not consumed.
    pub(super) unconsumed: usize,
    /// Bytes that were consumed and are not granted again yet.
    pub(super) ungranted: u32,
    /// Bytes of its body that are still to come, if it has said how many.
    pub(super) body_left: Option<u64>,
    /// Bytes that we may still send; SETTINGS can make them negative.
    pub(super) send_window: i64,
    /// Bytes that have to wait for windows or for room in the output.
    pub(super) pending: Option<Box<Pending>>,
    /// It has an answer of many messages, whose bytes are counted by themselves.
    pub(super) is_long: bool,
    /// It is in the queue of those that may send.
    pub(super) is_queued: bool,
    /// The owner is to be told when there is room for more.
    pub(super) wants_room: bool,
    /// The value that the owner keeps with it.
    pub(super) call: Option<C>,
}

/// The bytes that wait to be sent on a stream, in order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) bytes: usize,
    /// The trailers behind them, after which the stream is closed.
    pub(super) end: Option<Vec<(&'static str, String)>>,
}

impl<C> Stream<C> {
    /// Whether the owner should make more to be sent.
    pub(super) fn has_room(&self) -> bool {
        self.pending.is_none() && self.send_window > 0
    }

    /// Takes note of bytes of the body; whether they are within what was said of it.
    pub(super) fn counts(&mut self, bytes: usize, ends: bool) -> bool {
        let Some(left) = &mut self.body_left else { return true };
        match left.checked_sub(bytes as u64) {
            Some(rest) => *left = rest,
            None => return false,
        }
        !ends || *left == 0
    }
}

/// The place of a stream, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

/// All that are open.
#[derive(Debug)]
pub(super) struct Streams<C> {
    slots: Slab<Stream<C>>,
    places: FxHashMap<u32, usize>,
}

impl<C> Streams<C> {
    pub(super) fn new() -> Streams<C> {
        Streams { slots: Slab::new(), places: FxHashMap::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn insert(&mut self, stream: Stream<C>) -> Place {
        let id = stream.id;
        let place = self.slots.insert(stream);
        self.places.insert(id, place);
        Place(place)
    }

    pub(super) fn find(&self, id: u32) -> Option<Place> {
        self.places.get(&id).copied().map(Place)
    }

    /// Finds a stream that is open for the owner.
    pub(super) fn open(&self, id: u32) -> Option<Place> {
        self.find(id).filter(|place| !self.slots[place.0].is_answered)
    }

    pub(super) fn at(&mut self, place: Place) -> &mut Stream<C> {
        &mut self.slots[place.0]
    }

    pub(super) fn remove(&mut self, place: Place) -> Stream<C> {
        let stream = self.slots.remove(place.0);
        self.places.remove(&stream.id);
        stream
    }

    /// Returns the values that the owner kept with them, in the order of their places.
    pub(super) fn into_calls(self) -> impl Iterator<Item = C> {
        self.slots.into_iter().filter_map(|(_, stream)| stream.call)
    }

    /// All of them, in the order of their places.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream<C>> {
        self.slots.iter_mut().map(|(_, stream)| stream)
    }
}

/// A memory of closed streams, by which is judged what may still come on them.
#[derive(Debug, Default)]
pub(super) struct Closed {
    /// Streams that we have reset, oldest first: the client may not know of it yet.
    reset: VecDeque<u32>,
    is_reset: FxHashSet<u32>,
    /// The highest one that was reset and is forgotten.
    forgotten: u32,
    /// Some that have closed otherwise, and where the next one goes.
    others: [u32; CLOSED_MAX],
    next: usize,
}

/// The way in which a stream was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// We have reset it: late frames are nobody's fault.
    Reset,
    /// We may have reset it.
    MayBeReset,
    /// Both sides have ended it, or the client has reset it.
    Ended,
    /// Its number was passed over, as far as is known.
    Skipped,
}

impl Closed {
    /// We have reset it.
    pub(super) fn reset(&mut self, id: u32) {
        if self.reset.len() >= RESET_MAX
            && let Some(oldest) = self.reset.pop_front()
        {
            self.is_reset.remove(&oldest);
            self.forgotten = self.forgotten.max(oldest);
        }
        if self.is_reset.insert(id) {
            self.reset.push_back(id);
        }
    }

    /// The client has reset it, too: nothing more is on its way.
    pub(super) fn reset_by_both(&mut self, id: u32) {
        if self.is_reset.remove(&id) {
            self.ended(id);
        }
    }

    /// It is closed, and the client knows.
    pub(super) fn ended(&mut self, id: u32) {
        self.others[self.next] = id;
        self.next = (self.next + 1) % CLOSED_MAX;
    }

    pub(super) fn how(&self, id: u32) -> How {
        if !self.is_reset.is_empty() && self.is_reset.contains(&id) {
            return How::Reset;
        }
        match (self.others.contains(&id), id <= self.forgotten) {
            (true, _) => How::Ended,
            (false, true) => How::MayBeReset,
            (false, false) => How::Skipped,
        }
    }
}
