//! Notifications of progress, by the clock: to watchers that asked for them and heard nothing.

use super::hub::{Hub, HubEffects};
use super::watcher::{State, Wants};
use crate::types::{Nanos, WatchReply};

impl Hub {
    /// A tick of the core's clock.
    pub fn tick(&mut self, now: Nanos, entropy: u64, effects: &mut HubEffects) {
        for place in self.streams.places() {
            let stream = self.streams.at_mut(place);
            let chance = entropy ^ stream.number.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let jitter = (chance >> 11) % (self.config.progress_interval / 10 + 1);
            let interval = self.config.progress_interval + jitter;
            let due = *stream.due.get_or_insert(Nanos(stream.opened.0 + interval));
            if now >= due {
                stream.due = Some(Nanos(now.0 + interval));
                self.notify_progress(place, effects);
            }
        }
    }

    fn notify_progress(&mut self, place: u32, effects: &mut HubEffects) {
        let revision = self.position;
        let stream = self.streams.at(place);
        for (&id, &slot) in &stream.ids {
            let watcher = self.watchers.of_mut(slot);
            let is_quiet = !watcher.wants.has(Wants::HAD_EVENTS);
            watcher.wants.set(Wants::HAD_EVENTS, false);
            // Synced, and not waiting for a start in the future. A client that does not take its
            // events is told nothing else either: that would pile up.
            let has_progressed = watcher.state == State::Synced && watcher.next <= revision;
            if watcher.wants.has(Wants::PROGRESS) && is_quiet && has_progressed && stream.has_room()
            {
                effects.replies.push((stream.number, WatchReply::Progress { id, revision }));
            }
        }
    }
}
