//! The hub: one core's watchers, from the requests of streams to their replies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::catch_up::Fetch;
use super::emit::Touched;
use super::inflow::Inflow;
use super::keys::Keys;
use super::message::{HubMessage, WatchAsk};
use super::recent::Recent;
use super::stream::{QueuedRequest, Streams, What};
use super::watcher::{State, Wants, Watcher, Watchers};
use crate::limits::{
    WATCH_HISTORY_VISITS, WATCH_RECENT_EVENTS_MAX, WATCH_REPLY_REVISIONS_MAX,
    WATCH_STREAM_BYTES_MAX,
};
use crate::types::placement::shard_of;
use crate::types::{
    Epoch, Event, Nanos, Revision, ShardId, WatchCreate, WatchId, WatchRefusal, WatchReply,
    WatchRequest, WatchStream,
};

/// The settings of a hub.
#[derive(Clone, Copy, Debug)]
pub struct HubConfig {
    pub shards: u16,
    /// The seed of its tables; clients do not know it.
    pub seed: u64,
    /// Nanoseconds between two notifications of progress.
    pub progress_interval: u64,
    pub limits: WatchLimits,
}

/// The bounds of a hub: [`crate::limits`]' numbers, but where little is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Bytes of events that a stream may have been given and not yet sent.
    pub stream_bytes: usize,
    /// Events that a core keeps for watchers that have fallen a little behind.
    pub recent_events: usize,
    /// Revisions in one reply of history.
    pub reply_revisions: usize,
    /// Changes that one look into a shard's history goes over.
    pub history_visits: usize,
}

impl Default for WatchLimits {
    fn default() -> WatchLimits {
        WatchLimits {
            stream_bytes: WATCH_STREAM_BYTES_MAX,
            recent_events: WATCH_RECENT_EVENTS_MAX,
            reply_revisions: WATCH_REPLY_REVISIONS_MAX,
            history_visits: WATCH_HISTORY_VISITS,
        }
    }
}

/// The effects of a step of a hub.
#[derive(Debug, Default)]
pub struct HubEffects {
    pub replies: Vec<(WatchStream, WatchReply)>,
    pub asks: Vec<(ShardId, WatchAsk)>,
}

/// Sizes for metrics; `events` only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubCounts {
    pub streams: usize,
    pub watchers: usize,
    /// Watchers that are behind.
    pub unsynced: usize,
    /// Events sent, counted for each watcher that got them.
    pub events: u64,
}

/// Streams that have asked something and were not answered, by what the first of it waits for; some
/// may be over, or wait no more.
#[derive(Debug, Default)]
struct Asking {
    /// To be looked at.
    fresh: Vec<WatchStream>,
    /// Until stable has reached this.
    due: BTreeSet<(Revision, WatchStream)>,
    /// Until every shard knows of a watcher's topic.
    unheard: Vec<WatchStream>,
    /// The last shard has said so of some topic.
    has_heard: bool,
}

/// The thing that a request of [`Asking`] still waits for.
enum Lacks {
    Stable(Revision),
    Shards,
}

impl Asking {
    /// The streams to look at now that `position` is reached.
    fn next(&mut self, position: Revision) -> Vec<WatchStream> {
        let mut next = std::mem::take(&mut self.fresh);
        if std::mem::take(&mut self.has_heard) {
            next.append(&mut self.unheard);
        }
        while let Some(&(need, stream)) = self.due.first()
            && need <= position
        {
            self.due.pop_first();
            next.push(stream);
        }
        next
    }

    /// Marks everything to be looked at again, since the stable that is waited for may be another.
    fn look_at_all(&mut self) {
        self.fresh.append(&mut self.unheard);
        self.fresh.extend(std::mem::take(&mut self.due).into_iter().map(|(_, stream)| stream));
    }
}

/// The watchers of one core's connections.
#[derive(Debug)]
pub struct Hub {
    pub(super) config: HubConfig,
    /// Every synced watcher has got the events up to here.
    pub(super) position: Revision,
    /// Whether an epoch has been open: before, stable says nothing.
    is_open: bool,
    /// The cut of the newest epoch: the stable at which it opened.
    cut: Revision,
    pub(super) watchers: Watchers,
    pub(super) streams: Streams,
    pub(super) inflow: Inflow,
    pub(super) recent: Recent,
    asking: Asking,
    /// Watchers that wait for their turn to catch up; some may be gone, or do no longer.
    pub(super) queue: VecDeque<u32>,
    /// The queued watchers, without those that are gone, by topic and by the lowest revision that
    /// they miss.
    pub(super) queued: BTreeSet<(u32, Revision, u32)>,
    pub(super) fetches: BTreeMap<u64, Fetch>,
    pub(super) fetched: u64,
    /// Something came in since the last [`Hub::advance`].
    pub(super) is_stirred: bool,
    pub(super) unsynced: usize,
    pub(super) events: u64,
    // Memory that every emission uses.
    pub(super) touched: Vec<Touched>,
    pub(super) revision: Vec<Arc<Event>>,
    pub(super) topics: Vec<u32>,
}

impl Hub {
    /// Without streams.
    pub fn new(config: HubConfig) -> Hub {
        Hub {
            position: Revision(0),
            is_open: false,
            cut: Revision(0),
            watchers: Watchers::new(config.seed),
            streams: Streams::new(config.limits.stream_bytes),
            inflow: Inflow::new(config.shards),
            recent: Recent::new(config.limits.recent_events),
            asking: Asking::default(),
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            fetches: BTreeMap::new(),
            fetched: 0,
            is_stirred: false,
            unsynced: 0,
            events: 0,
            touched: Vec::new(),
            revision: Vec::new(),
            topics: Vec::new(),
            config,
        }
    }

    /// For metrics.
    pub fn counts(&self) -> HubCounts {
        HubCounts {
            streams: self.streams.len(),
            watchers: self.watchers.len(),
            unsynced: self.unsynced,
            events: self.events,
        }
    }

    /// Opens a stream.
    pub fn open(&mut self, now: Nanos) -> WatchStream {
        self.streams.open(now)
    }

    /// Takes a request; `stable` is now's. Whether there is room for another.
    pub fn ask(
        &mut self,
        stream: WatchStream,
        request: WatchRequest,
        stable: Revision,
        effects: &mut HubEffects,
    ) -> bool {
        let Some(place) = self.streams.place(stream) else { return true };
        let what = match request {
            WatchRequest::Create(create) => self.create(place, &create, effects),
            WatchRequest::Cancel(id) => match self.cancel(place, id, effects) {
                Some(what) => what,
                None => return self.streams.at(place).takes_requests(),
            },
            WatchRequest::Progress => What::Progress,
        };
        let stream = self.streams.at_mut(place);
        if stream.asked.is_empty() {
            self.asking.fresh.push(stream.number);
        }
        stream.asked.push_back(QueuedRequest { need: stable, what });
        self.is_stirred = true;
        stream.takes_requests()
    }

    /// Whether the stream may send another request.
    pub fn has_room(&self, stream: WatchStream) -> bool {
        self.streams.place(stream).is_none_or(|place| self.streams.at(place).takes_requests())
    }

    /// Gives back `bytes` of events that have left for the stream's client.
    pub fn sent(&mut self, stream: WatchStream, bytes: usize) {
        let Some(place) = self.streams.place(stream) else { return };
        let stream = self.streams.at_mut(place);
        stream.sent(bytes);
        if stream.has_half_its_room() && !stream.lagging.is_empty() {
            self.rouse(place);
        }
    }

    /// The stream is over.
    pub fn close(&mut self, stream: WatchStream, effects: &mut HubEffects) {
        let Some(place) = self.streams.place(stream) else { return };
        let ids = std::mem::take(&mut self.streams.at_mut(place).ids);
        for slot in ids.into_values() {
            self.forget(slot, effects);
        }
        self.streams.remove(place);
    }

    /// Takes a message of a shard.
    pub fn receive(&mut self, shard: ShardId, message: HubMessage, effects: &mut HubEffects) {
        self.is_stirred = true;
        match message {
            HubMessage::Added { topic, epoch, newest } => {
                let newest = self.inflow.still(epoch, newest);
                if let Some(topic) = self.watchers.topic_named(topic) {
                    topic.unanswered -= 1;
                    topic.heard(epoch, newest);
                    self.asking.has_heard |= topic.unanswered == 0;
                }
            }
            HubMessage::Events { epoch, after, events } => {
                self.inflow.take(shard, epoch, after, events, self.position);
            }
            HubMessage::History { fetch, part } => self.fetched(fetch, part, effects),
        }
    }

    /// An epoch is open; what earlier ones had pending above its cut is void.
    pub fn opened(&mut self, epoch: Epoch, cut: Revision) {
        (self.is_open, self.cut) = (true, cut);
        self.inflow.opened(epoch, cut);
        self.watchers.opened(epoch, cut);
        self.asking.look_at_all();
        self.is_stirred = true;
    }

    /// Tells everything up to `stable`, of which every event must have been heard; answers what
    /// can be answered; lets watchers catch up. Whether there is more to do without anything else
    /// happening.
    pub fn advance(&mut self, stable: Revision, effects: &mut HubEffects) -> bool {
        // Stable may have been looked at before the epoch was heard of. What a watcher is told then
        // would leave out what is in history.
        if !self.is_open || stable < self.cut {
            return false;
        }
        self.is_stirred = false;
        if stable > self.position {
            self.emit(stable, effects);
            self.position = stable;
        }
        self.answer(effects);
        self.catch_up(effects)
    }

    /// Whether something came in since the last [`Hub::advance`].
    pub fn is_stirred(&self) -> bool {
        self.is_open && self.is_stirred
    }

    /// The lowest stable at which there is something to do.
    pub fn waits_for(&self) -> Option<Revision> {
        if !self.is_open {
            return None;
        }
        let late = (self.position < self.cut).then_some(self.cut);
        let need = self.asking.due.first().map(|(need, _)| *need);
        let need = need.filter(|need| *need > self.position);
        need.into_iter().chain(self.inflow.lowest()).chain(late).min()
    }

    fn create(&mut self, place: u32, create: &WatchCreate, effects: &mut HubEffects) -> What {
        let stream = self.streams.at_mut(place);
        if create.start < 0 {
            return What::Refuse(WatchRefusal::Compacted);
        }
        if create.range.is_empty() {
            return What::Refuse(WatchRefusal::EmptyRange);
        }
        let id = match create.id {
            WatchId(0) => stream.choose_id(),
            id if stream.ids.contains_key(&id) => {
                return What::Refuse(WatchRefusal::DuplicateId);
            }
            id => id,
        };
        let keys = Keys::of(&create.range);
        let shards = shards_of(&keys, self.config.shards);
        let (topic, new) = self.watchers.topic_of(keys.clone(), shards.len() as u16);
        if let Some(topic) = new {
            let asks = shards.map(|shard| (shard, WatchAsk::Add { topic, keys: keys.clone() }));
            effects.asks.extend(asks);
        }
        let start = Revision(create.start);
        let watcher = Watcher::new(id, place, topic, start, Wants::of(create));
        let slot = self.watchers.insert(watcher);
        stream.ids.insert(id, slot);
        stream.unsynced += 1;
        self.unsynced += 1;
        What::Create { id, slot: Some(slot) }
    }

    fn cancel(&mut self, place: u32, id: WatchId, effects: &mut HubEffects) -> Option<What> {
        let stream = self.streams.at_mut(place);
        let slot = stream.ids.remove(&id)?;
        if self.watchers.of(slot).state == State::Registering {
            let waits =
                |what: &What| matches!(what, What::Create { slot: s, .. } if *s == Some(slot));
            let creation = stream.asked.iter_mut().find(|asked| waits(&asked.what));
            let creation = creation.expect("its creation waits to be answered");
            creation.what = What::Create { id, slot: None };
            self.asking.fresh.push(stream.number);
        }
        self.forget(slot, effects);
        Some(What::Cancel(id))
    }

    /// Answers the streams' requests in order, as far as position has got. Looks at streams of
    /// which something has changed, and at no others.
    fn answer(&mut self, effects: &mut HubEffects) {
        for number in self.asking.next(self.position) {
            let Some(place) = self.streams.place(number) else { continue };
            while let Some(asked) = self.streams.at(place).asked.front() {
                match self.lacks(asked) {
                    Some(Lacks::Stable(need)) => drop(self.asking.due.insert((need, number))),
                    Some(Lacks::Shards) => self.asking.unheard.push(number),
                    None => {
                        let asked = self.streams.at_mut(place).asked.pop_front().expect("a front");
                        self.answer_one(place, asked.what, effects);
                        continue;
                    }
                }
                break;
            }
            if self.streams.at(place).asked.is_empty() {
                self.streams.at_mut(place).asked = VecDeque::new();
            }
        }
    }

    /// Returns what has to happen before a request is answered.
    fn lacks(&self, asked: &QueuedRequest) -> Option<Lacks> {
        let mut need = asked.need;
        if let What::Create { slot: Some(slot), .. } = asked.what {
            let topic = self.watchers.topic(self.watchers.of(slot).topic);
            if topic.unanswered > 0 {
                return Some(Lacks::Shards);
            }
            need = need.max(topic.base());
        }
        (need > self.position).then_some(Lacks::Stable(need))
    }

    fn answer_one(&mut self, place: u32, what: What, effects: &mut HubEffects) {
        let revision = self.position;
        let number = self.streams.at(place).number;
        let reply = match what {
            What::Create { id, slot } => {
                effects.replies.push((number, WatchReply::Created { id, revision }));
                if let Some(slot) = slot {
                    self.begin(slot);
                }
                return;
            }
            What::Refuse(reason) => WatchReply::Refused { revision, reason },
            What::Cancel(id) => WatchReply::Canceled { id, revision, compacted: None },
            What::Progress => {
                let stream = self.streams.at_mut(place);
                let lacks = stream.ids.is_empty() || stream.unsynced > 0;
                if lacks || stream.awaits_future(revision) {
                    return;
                }
                WatchReply::Progress { id: WatchId::NONE, revision }
            }
        };
        effects.replies.push((number, reply));
    }

    /// A watcher has been told that it lives: from here on it is told what happens, after what
    /// has happened since its start.
    fn begin(&mut self, slot: u32) {
        let watcher = self.watchers.of_mut(slot);
        let start = watcher.next;
        if start == Revision(0) || start > self.position {
            self.set_synced(slot);
            return;
        }
        watcher.wants.set(Wants::UNCHECKED, true);
        self.enqueue(slot);
    }

    /// It waits for its turn to catch up.
    pub(super) fn enqueue(&mut self, slot: u32) {
        let watcher = self.watchers.of_mut(slot);
        watcher.state = State::Queued;
        self.queue.push_back(slot);
        self.queued.insert((watcher.topic, watcher.next, slot));
    }

    /// It does not wait any more, if it did.
    pub(super) fn unqueue(&mut self, slot: u32) {
        let watcher = self.watchers.of(slot);
        if watcher.state == State::Queued {
            self.queued.remove(&(watcher.topic, watcher.next, slot));
        }
    }

    /// It has got every event up to position, or starts above.
    pub(super) fn set_synced(&mut self, slot: u32) {
        let watcher = self.watchers.of_mut(slot);
        watcher.state = State::Synced;
        let stream = self.streams.at_mut(watcher.stream);
        stream.unsynced -= 1;
        self.unsynced -= 1;
        if watcher.next > self.position {
            stream.futures.insert((watcher.next, watcher.id));
        }
    }

    /// Ends a watcher whose number its stream has given up.
    fn forget(&mut self, slot: u32, effects: &mut HubEffects) {
        self.unqueue(slot);
        self.leave(slot, effects);
        let watcher = self.watchers.remove(slot);
        let stream = self.streams.at_mut(watcher.stream);
        if watcher.state == State::Synced {
            stream.futures.remove(&(watcher.next, watcher.id));
        } else {
            stream.unsynced -= 1;
            self.unsynced -= 1;
        }
        if self.watchers.len() == 0 {
            self.recent.clear();
        }
    }

    /// Takes a watcher out of its topic.
    pub(super) fn leave(&mut self, slot: u32, effects: &mut HubEffects) {
        if let Some(keys) = self.watchers.unlink(slot) {
            let shards = shards_of(&keys, self.config.shards);
            let asks = shards.map(|shard| (shard, WatchAsk::Drop { keys: keys.clone() }));
            effects.asks.extend(asks);
        }
    }
}

/// The shards that have some of the keys, or may have.
pub(super) fn shards_of(
    keys: &Keys,
    shards: u16,
) -> impl ExactSizeIterator<Item = ShardId> + use<> {
    let range = match keys {
        Keys::One(key) => {
            let shard = shard_of(key, shards).0;
            shard..shard + 1
        }
        Keys::Span(_) => 0..shards,
    };
    range.map(ShardId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_wait_are_looked_at_when_what_they_wait_for_has_come() {
        const STREAMS: u64 = 1000;
        let mut asking = Asking::default();
        for stream in 0..STREAMS {
            asking.fresh.push(WatchStream(stream));
            assert_eq!(asking.next(Revision(1)), [WatchStream(stream)], "and at no other");
            match stream % 2 {
                0 => asking.unheard.push(WatchStream(stream)),
                _ => drop(asking.due.insert((Revision(2 + stream as i64), WatchStream(stream)))),
            }
        }
        assert!(asking.next(Revision(2)).is_empty());
        assert_eq!(asking.next(Revision(5)), [WatchStream(1), WatchStream(3)]);
        asking.has_heard = true;
        assert_eq!(asking.next(Revision(5)).len(), STREAMS as usize / 2);
        assert!(asking.next(Revision(5)).is_empty());
        asking.look_at_all();
        assert_eq!(asking.next(Revision(5)).len(), STREAMS as usize / 2 - 2);
    }
}
