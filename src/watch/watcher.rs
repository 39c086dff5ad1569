//! Watchers and the topics that join those of one range: small records linked by numbers, for
//! there may be millions and nearly all of them idle.

use std::collections::HashMap;

use slab::Slab;

use super::hash::Seeded;
use super::interval::IntervalMap;
use super::keys::Keys;
use super::message::TopicId;
use crate::types::{Blob, Epoch, Event, Revision, WatchCreate, WatchId};

/// No place.
pub(super) const NONE: u32 = u32::MAX;

/// The state of a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not answered yet: a shard may not know of its topic.
    Registering,
    /// It has got every event up to the hub's position.
    Synced,
    /// Behind; waits for its turn to catch up.
    Queued,
    /// Behind; a look into history is under way for it.
    Fetching,
    /// Behind, and its stream has no room.
    Lagging,
    /// Cancelled by compaction; the client has not cancelled it yet.
    Compacted,
}

/// The options of a client's watcher, and what it has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wants(u8);

impl Wants {
    pub const PROGRESS: Wants = Wants(1);
    pub const PREV_KV: Wants = Wants(1 << 1);
    pub const FRAGMENT: Wants = Wants(1 << 2);
    pub const NO_PUT: Wants = Wants(1 << 3);
    pub const NO_DELETE: Wants = Wants(1 << 4);
    /// Events were sent since the last tick.
    pub const HAD_EVENTS: Wants = Wants(1 << 5);
    /// Starts in the past, and no shard has said whether that is compacted.
    pub const UNCHECKED: Wants = Wants(1 << 6);

    pub fn of(create: &WatchCreate) -> Wants {
        let mut wants = Wants(0);
        wants.set(Wants::PROGRESS, create.progress_notify);
        wants.set(Wants::PREV_KV, create.prev_kv);
        wants.set(Wants::FRAGMENT, create.fragment);
        wants.set(Wants::NO_PUT, create.no_put);
        wants.set(Wants::NO_DELETE, create.no_delete);
        wants
    }

    pub fn has(self, flag: Wants) -> bool {
        self.0 & flag.0 != 0
    }

    pub fn set(&mut self, flag: Wants, on: bool) {
        self.0 = if on { self.0 | flag.0 } else { self.0 & !flag.0 };
    }

    /// Whether its filters let the event pass.
    pub fn takes(self, event: &Event) -> bool {
        !self.has(if event.put.is_some() { Wants::NO_PUT } else { Wants::NO_DELETE })
    }
}

/// See the file.
#[derive(Debug)]
pub(super) struct Watcher {
    pub id: WatchId,
    /// The lowest revision of the events that it may get next. In a synced watcher it matters only
    /// above the hub's position: then it is the start in the future that the client asked for.
    pub next: Revision,
    pub stream: u32,
    pub topic: u32,
    /// Its neighbours in the topic.
    before: u32,
    pub after: u32,
    /// Synced: its place among those that this emission concerns. Fetching: the fetch.
    pub mark: u32,
    pub state: State,
    pub wants: Wants,
}

const _: () = assert!(size_of::<Watcher>() == 40);

/// The watchers of one range on this core.
#[derive(Debug)]
pub(super) struct Topic {
    pub keys: Keys,
    pub first: u32,
    last: u32,
    life: u32,
    /// Shards that do not know of it yet.
    pub unanswered: u16,
    /// Everything above is posted: as shards said in `epoch`, and in earlier ones.
    base: Revision,
    older: Revision,
    epoch: Epoch,
}

impl Topic {
    /// A shard posts everything above `newest`, which it holds in `epoch`.
    pub fn heard(&mut self, epoch: Epoch, newest: Revision) {
        if epoch > self.epoch {
            self.older = self.base();
            (self.base, self.epoch) = (newest, epoch);
        } else if epoch == self.epoch {
            self.base = self.base.max(newest);
        } else {
            self.older = self.older.max(newest);
        }
    }

    /// Everything above is posted.
    pub fn base(&self) -> Revision {
        self.base.max(self.older)
    }
}

/// All watchers of a core, found by what they watch.
#[derive(Debug)]
pub(super) struct Watchers {
    watchers: Slab<Watcher>,
    topics: Slab<Topic>,
    ones: HashMap<Blob, u32, Seeded>,
    spans: IntervalMap<u32>,
    lives: u32,
}

impl Watchers {
    /// An epoch is open: what shards held above its cut in earlier ones will not happen.
    pub fn opened(&mut self, epoch: Epoch, cut: Revision) {
        for (_, topic) in &mut self.topics {
            topic.older = topic.older.min(cut);
            if topic.epoch < epoch {
                topic.base = topic.base.min(cut);
            }
        }
    }

    pub fn new(seed: u64) -> Watchers {
        Watchers {
            watchers: Slab::new(),
            topics: Slab::new(),
            ones: HashMap::with_hasher(Seeded(seed)),
            spans: IntervalMap::new(seed),
            lives: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    pub fn get(&self, slot: u32) -> Option<&Watcher> {
        self.watchers.get(slot as usize)
    }

    pub fn of(&self, slot: u32) -> &Watcher {
        &self.watchers[slot as usize]
    }

    pub fn of_mut(&mut self, slot: u32) -> &mut Watcher {
        &mut self.watchers[slot as usize]
    }

    pub fn topic(&self, slot: u32) -> &Topic {
        &self.topics[slot as usize]
    }

    /// The topic, unless it has ended.
    pub fn topic_named(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.topics.get_mut(id.slot as usize).filter(|topic| topic.life == id.life)
    }

    /// The topic of `keys`, a new one if nobody watches them; then it must be made known.
    pub fn topic_of(&mut self, keys: Keys, shards: u16) -> (u32, Option<TopicId>) {
        let found = match &keys {
            Keys::One(key) => self.ones.get(key).copied(),
            Keys::Span(span) => self.spans.get_mut(span).map(|slot| *slot),
        };
        if let Some(slot) = found {
            return (slot, None);
        }
        self.lives = self.lives.wrapping_add(1);
        let topic = Topic {
            keys: keys.clone(),
            first: NONE,
            last: NONE,
            life: self.lives,
            unanswered: shards,
            base: Revision(0),
            older: Revision(0),
            epoch: Epoch(0),
        };
        let slot = self.topics.insert(topic) as u32;
        match keys {
            Keys::One(key) => drop(self.ones.insert(key, slot)),
            Keys::Span(span) => self.spans.insert(span, slot),
        }
        (slot, Some(TopicId { slot, life: self.lives }))
    }

    /// Adds a watcher to its topic.
    pub fn insert(&mut self, mut watcher: Watcher) -> u32 {
        let topic = &mut self.topics[watcher.topic as usize];
        watcher.before = topic.last;
        let slot = u32::try_from(self.watchers.insert(watcher)).expect("fewer than 2^32 watchers");
        match topic.last {
            NONE => topic.first = slot,
            last => self.watchers[last as usize].after = slot,
        }
        topic.last = slot;
        slot
    }

    /// Takes a watcher out of its topic; the keys that nobody here watches any more.
    pub fn unlink(&mut self, slot: u32) -> Option<Keys> {
        let watcher = &mut self.watchers[slot as usize];
        let (at, before, after) = (watcher.topic, watcher.before, watcher.after);
        if at == NONE {
            return None;
        }
        (watcher.topic, watcher.before, watcher.after) = (NONE, NONE, NONE);
        let topic = &mut self.topics[at as usize];
        match before {
            NONE => topic.first = after,
            before => self.watchers[before as usize].after = after,
        }
        match after {
            NONE => topic.last = before,
            after => self.watchers[after as usize].before = before,
        }
        if topic.first != NONE {
            return None;
        }
        let keys = self.topics.remove(at as usize).keys;
        match &keys {
            Keys::One(key) => drop(self.ones.remove(key)),
            Keys::Span(span) => drop(self.spans.remove(span)),
        }
        self.shrink();
        Some(keys)
    }

    /// Forgets a watcher that is in no topic.
    pub fn remove(&mut self, slot: u32) -> Watcher {
        let watcher = self.watchers.remove(slot as usize);
        assert_eq!(watcher.topic, NONE, "a watcher leaves its topic first");
        if self.watchers.is_empty() {
            (self.watchers, self.topics) = (Slab::new(), Slab::new());
        }
        watcher
    }

    /// The topics that `key` belongs to.
    pub fn topics_of(&self, key: &[u8], topics: &mut Vec<u32>) {
        topics.clear();
        topics.extend(self.ones.get(key));
        self.spans.stab(key, &mut |slot| topics.push(*slot));
    }

    fn shrink(&mut self) {
        if self.ones.capacity() > 1024 && self.ones.len() < self.ones.capacity() / 8 {
            self.ones.shrink_to(self.ones.len() * 2);
        }
    }
}

impl Watcher {
    /// One that is in no topic's list yet.
    pub fn new(id: WatchId, stream: u32, topic: u32, start: Revision, wants: Wants) -> Watcher {
        let (before, after, mark) = (NONE, NONE, NONE);
        let state = State::Registering;
        Watcher { id, next: start, stream, topic, before, after, mark, state, wants }
    }
}
