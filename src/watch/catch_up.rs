//! Watchers that are behind: from history, then from what is recent, to what is live.
//!
//! ```text
//!   Queued ──▶ Fetching ──▶ Queued ──▶ … ──▶ (recent) ──▶ Synced
//!     ▲           │            │                │            │
//!     │           └────────────┴─ no room ──────┴────────────┴──▶ Lagging
//!     └────────────────────────── half the room is free ─────────────┘
//! ```
//!
//! A fetch asks the shards of a range what changed after the watcher's last revision, up to
//! position; every watcher of the range that waits and is as far shares it. Meanwhile the range is
//! live, so what comes after position is among the recent events when the answer is there. A
//! watcher that has stayed a synced one until now looks there first.

use std::sync::Arc;

use super::hub::{Hub, HubEffects, shards_of};
use super::keys::Keys;
use super::message::{Compacted, HistoryAsk, HistoryPart, WatchAsk};
use super::watcher::{NONE, State, Wants, Watcher};
use crate::limits::{WATCH_FETCHES_MAX, WATCH_RECENT_VISITS};
use crate::types::{Event, Revision, WatchReply};

/// A look into history that is under way.
#[derive(Debug)]
pub(super) struct Fetch {
    /// Some may have gone since.
    readers: Vec<u32>,
    unanswered: usize,
    parts: Vec<Vec<Arc<Event>>>,
    /// Nothing up to here is missing of any part.
    through: Revision,
    compacted: Option<Compacted>,
}

impl Hub {
    /// A watcher misses what comes from `missed` on: its stream has no room.
    pub(super) fn lag(&mut self, slot: u32, missed: Revision) {
        self.unqueue(slot);
        let watcher = self.watchers.of_mut(slot);
        let stream = self.streams.at_mut(watcher.stream);
        if watcher.state == State::Synced {
            stream.unsynced += 1;
            self.unsynced += 1;
        }
        (watcher.state, watcher.next) = (State::Lagging, missed);
        stream.lagging.push(watcher.id);
    }

    /// There is room again: those that lag queue to catch up.
    pub(super) fn rouse(&mut self, stream: u32) {
        let mut roused = Vec::new();
        let stream = self.streams.at_mut(stream);
        for id in std::mem::take(&mut stream.lagging) {
            let Some(&slot) = stream.ids.get(&id) else { continue };
            if self.watchers.of(slot).state == State::Lagging {
                self.is_stirred = true;
                roused.push(slot);
            }
        }
        roused.into_iter().for_each(|slot| self.enqueue(slot));
    }

    /// Serves those that wait, in turn. Whether some would get on at once in another turn.
    pub(super) fn catch_up(&mut self, effects: &mut HubEffects) -> bool {
        let mut visits = WATCH_RECENT_VISITS;
        while let Some(slot) = self.queue.pop_front() {
            let Some(watcher) = self.watchers.get(slot) else { continue };
            if watcher.state != State::Queued {
                continue;
            }
            if !self.streams.at(watcher.stream).has_room() {
                self.lag(slot, watcher.next);
            } else if self.finds_recent(watcher) {
                if visits == 0 {
                    self.queue.push_front(slot);
                    return true;
                }
                self.read_recent(slot, &mut visits, effects);
            } else if self.fetches.len() < WATCH_FETCHES_MAX {
                self.fetch(slot, effects);
            } else {
                self.queue.push_front(slot); // The end of a fetch makes room.
                return false;
            }
        }
        false
    }

    /// Whether all that it misses is among the recent events: not what was before its topic.
    fn finds_recent(&self, watcher: &Watcher) -> bool {
        !watcher.wants.has(Wants::UNCHECKED)
            && watcher.next > self.watchers.topic(watcher.topic).base()
            && self.recent.covers(watcher.next)
    }

    fn read_recent(&mut self, slot: u32, visits: &mut usize, effects: &mut HubEffects) {
        self.unqueue(slot);
        let watcher = self.watchers.of(slot);
        let keys = &self.watchers.topic(watcher.topic).keys;
        let mut events = Vec::new();
        let mut through = self.position;
        let (mut last, mut revisions) = (Revision(0), 0);
        for event in self.recent.from(watcher.next) {
            if event.revision != last
                && (*visits == 0 || revisions == self.config.limits.reply_revisions)
            {
                through = last;
                break;
            }
            *visits = visits.saturating_sub(1);
            if keys.contains(&event.key) && watcher.wants.takes(event) {
                revisions += usize::from(event.revision != last);
                events.push(Arc::clone(event));
            }
            last = event.revision;
        }
        self.deliver_history(slot, events, through, effects);
    }

    /// Tells a watcher all of its events up to `through`; whether it is synced then or goes on.
    fn deliver_history(
        &mut self,
        slot: u32,
        events: Vec<Arc<Event>>,
        through: Revision,
        effects: &mut HubEffects,
    ) {
        if let Err(missed) = self.deliver(slot, events, Some(self.position), effects) {
            return self.lag(slot, missed);
        }
        let watcher = self.watchers.of_mut(slot);
        if through >= self.position {
            watcher.next = self.position;
            self.set_synced(slot);
        } else {
            watcher.next = watcher.next.max(through.next());
            self.enqueue(slot);
        }
    }

    /// Asks the shards for what a watcher misses, and for everybody of its topic who waits and
    /// misses no more. Those that miss a little more, as much as one reply brings, are served with
    /// it: else watchers that came one behind the other would take a look each.
    fn fetch(&mut self, slot: u32, effects: &mut HubEffects) {
        self.fetched += 1;
        let fetch = self.fetched;
        let watcher = self.watchers.of(slot);
        let topic = watcher.topic;
        let reply = self.config.limits.reply_revisions as i64;
        let from = (topic, Revision(watcher.next.0.saturating_sub(reply)), 0);
        let until = (topic + 1, Revision(i64::MIN), 0);
        let waiting: Vec<_> = self.queued.range(from..until).copied().collect();
        let next = waiting.first().expect("the watcher itself").1;
        let mut readers = Vec::with_capacity(waiting.len());
        for queued in waiting {
            self.queued.remove(&queued);
            let watcher = self.watchers.of_mut(queued.2);
            (watcher.state, watcher.mark) = (State::Fetching, fetch as u32);
            readers.push(queued.2);
        }
        let keys: &Keys = &self.watchers.topic(topic).keys;
        let shards = shards_of(keys, self.config.shards);
        let unanswered = shards.len();
        let (after, to) = (Revision(next.0 - 1), self.position);
        effects.asks.extend(shards.map(|shard| {
            let visits = self.config.limits.history_visits;
            let ask = HistoryAsk { fetch, keys: keys.clone(), after, to, visits };
            (shard, WatchAsk::History(ask))
        }));
        let (parts, compacted) = (Vec::new(), None);
        self.fetches.insert(fetch, Fetch { readers, unanswered, parts, through: to, compacted });
    }

    /// A shard's part of a fetch is there.
    pub(super) fn fetched(
        &mut self,
        number: u64,
        part: Result<HistoryPart, Compacted>,
        effects: &mut HubEffects,
    ) {
        let fetch = self.fetches.get_mut(&number).expect("a fetch ends with its last part");
        match part {
            Ok(part) => {
                fetch.through = fetch.through.min(part.through);
                fetch.parts.push(part.events);
            }
            Err(at) => {
                let highest = fetch.compacted.map_or(at.0, |other| other.0.max(at.0));
                fetch.compacted = Some(Compacted(highest));
            }
        }
        fetch.unanswered -= 1;
        if fetch.unanswered > 0 {
            return;
        }
        let mut fetch = self.fetches.remove(&number).expect("it was there");
        let events = if fetch.compacted.is_some() {
            Vec::new()
        } else {
            fetch.merged(self.config.limits.reply_revisions)
        };
        for slot in fetch.readers {
            let Some(watcher) = self.watchers.get(slot) else { continue };
            if watcher.state != State::Fetching || watcher.mark != number as u32 {
                continue; // It has gone; another one may have its place.
            }
            let (next, wants) = (watcher.next, watcher.wants);
            self.watchers.of_mut(slot).mark = NONE;
            match fetch.compacted {
                Some(Compacted(at)) if next < at => self.end_compacted(slot, at, effects),
                Some(_) => self.enqueue(slot),
                None => {
                    self.watchers.of_mut(slot).wants.set(Wants::UNCHECKED, false);
                    let from = events.partition_point(|event| event.revision < next);
                    let wanted = events[from..].iter().filter(|event| wants.takes(event));
                    let events = wanted.cloned().collect();
                    self.deliver_history(slot, events, fetch.through, effects);
                }
            }
        }
    }

    /// Ends a watcher whose next events are compacted. It keeps its number until its client cancels
    /// it, as in etcd.
    fn end_compacted(&mut self, slot: u32, at: Revision, effects: &mut HubEffects) {
        self.leave(slot, effects);
        let watcher = self.watchers.of_mut(slot);
        watcher.state = State::Compacted;
        let stream = self.streams.at(watcher.stream).number;
        let (id, revision) = (watcher.id, Revision(0));
        let reply = WatchReply::Canceled { id, revision, compacted: Some(at) };
        effects.replies.push((stream, reply));
    }
}

impl Fetch {
    /// All parts in order, up to what is complete, and no more revisions than a reply has.
    fn merged(&mut self, revisions_max: usize) -> Vec<Arc<Event>> {
        let mut events: Vec<Arc<Event>> = match self.parts.len() {
            1 => self.parts.pop().expect("counted"),
            _ => self.parts.drain(..).flatten().collect(),
        };
        events.retain(|event| event.revision <= self.through);
        // Runs that are in order: the sort merges them.
        events.sort_by(|a, b| (a.revision, a.sub, &a.key).cmp(&(b.revision, b.sub, &b.key)));
        let (mut revisions, mut last) = (0, Revision(0));
        for at in 0..events.len() {
            let revision = events[at].revision;
            if revision != last && revisions == revisions_max {
                self.through = last;
                events.truncate(at);
                break;
            }
            revisions += usize::from(revision != last);
            last = revision;
        }
        events
    }
}
