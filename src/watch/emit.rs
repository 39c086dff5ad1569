//! Telling what stable has reached: each revision whole, each event to whoever wants it.

use std::sync::Arc;

use super::hub::{Hub, HubEffects};
use super::watcher::{NONE, State, Wants};
use crate::limits::{WATCH_GATHERED_MAX, WATCH_REPLY_BYTES};
use crate::types::{Event, Revision, WatchEvents, WatchReply};

/// Revisions up to which a watcher gets a reply for each; more of them go out as one.
const FEW_REVISIONS: usize = 4;

/// A watcher and the events that it is to get.
#[derive(Debug)]
pub(super) struct Touched {
    watcher: u32,
    events: Vec<Arc<Event>>,
}

impl Hub {
    /// Everything up to `through`, to everybody who is synced.
    pub(super) fn emit(&mut self, through: Revision, effects: &mut HubEffects) {
        let mut gathered = 0;
        let mut events = std::mem::take(&mut self.revision);
        while let Some(revision) = self.inflow.lowest().filter(|lowest| *lowest <= through) {
            self.inflow.take_revision(revision, &mut events);
            for event in events.drain(..) {
                gathered += self.touch(&event);
                self.recent.push(event);
            }
            if gathered >= WATCH_GATHERED_MAX {
                self.hand_over(effects);
                gathered = 0;
            }
        }
        self.revision = events;
        self.hand_over(effects);
    }

    /// Notes the event for every watcher that wants it; how many do.
    fn touch(&mut self, event: &Arc<Event>) -> usize {
        let mut gathered = 0;
        let mut topics = std::mem::take(&mut self.topics);
        self.watchers.topics_of(&event.key, &mut topics);
        for &topic in &topics {
            let mut at = self.watchers.topic(topic).first;
            while at != NONE {
                let watcher = self.watchers.of_mut(at);
                let slot = std::mem::replace(&mut at, watcher.after);
                let is_told = watcher.state == State::Synced && event.revision >= watcher.next;
                if !is_told || !watcher.wants.takes(event) {
                    continue;
                }
                if watcher.mark == NONE {
                    watcher.mark = self.touched.len() as u32;
                    self.touched.push(Touched { watcher: slot, events: Vec::new() });
                }
                let touched = &mut self.touched[watcher.mark as usize];
                touched.events.push(Arc::clone(event));
                gathered += 1;
            }
        }
        self.topics = topics;
        gathered
    }

    fn hand_over(&mut self, effects: &mut HubEffects) {
        let mut touched = std::mem::take(&mut self.touched);
        for Touched { watcher, events } in touched.drain(..) {
            self.watchers.of_mut(watcher).mark = NONE;
            if let Err(missed) = self.deliver(watcher, events, None, effects) {
                self.lag(watcher, missed);
            }
        }
        self.touched = touched;
    }

    /// Tells a watcher of events, if its stream has room; else the first revision that it misses.
    /// Without a `header`, few revisions go out one by one, as they would have happened.
    pub(super) fn deliver(
        &mut self,
        slot: u32,
        mut events: Vec<Arc<Event>>,
        header: Option<Revision>,
        effects: &mut HubEffects,
    ) -> Result<(), Revision> {
        let watcher = self.watchers.of_mut(slot);
        let stream = self.streams.at_mut(watcher.stream);
        let (prev_kv, fragment) =
            (watcher.wants.has(Wants::PREV_KV), watcher.wants.has(Wants::FRAGMENT));
        let revisions = match header {
            None if is_few(&events) => 1,
            _ => self.config.limits.reply_revisions,
        };
        while let Some(first) = events.first() {
            if !stream.has_room() {
                return Err(first.revision);
            }
            let (count, bytes) = piece(&events, revisions, prev_kv);
            let rest = events.split_off(count);
            let last = events.last().expect("a piece holds something").revision;
            stream.give(bytes);
            self.events += count as u64;
            watcher.wants.set(Wants::HAD_EVENTS, true);
            let reply = WatchEvents {
                id: watcher.id,
                revision: header.unwrap_or(last),
                events,
                prev_kv,
                fragment,
                bytes,
            };
            effects.replies.push((stream.number, WatchReply::Events(reply)));
            events = rest;
        }
        Ok(())
    }
}

/// Whether there are so few revisions that each gets a reply.
fn is_few(events: &[Arc<Event>]) -> bool {
    let mut changes = events.windows(2).filter(|pair| pair[0].revision != pair[1].revision);
    changes.nth(FEW_REVISIONS - 1).is_none()
}

/// Counts the first events that make a reply, whole revisions, and their bytes.
fn piece(events: &[Arc<Event>], revisions_max: usize, prev_kv: bool) -> (usize, usize) {
    let (mut revisions, mut bytes, mut last) = (0, 0, Revision(0));
    for (count, event) in events.iter().enumerate() {
        if event.revision != last {
            if revisions == revisions_max || bytes >= WATCH_REPLY_BYTES {
                return (count, bytes);
            }
            revisions += 1;
            last = event.revision;
        }
        bytes += event.bytes(prev_kv);
    }
    (events.len(), bytes)
}
