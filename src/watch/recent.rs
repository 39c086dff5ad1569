//! The last events that this core emitted: who has fallen behind a little finds them here, and
//! goes over from here to what is live without a gap.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::limits::WATCH_RECENT_BYTES_MAX;
use crate::types::{Event, Revision};

/// A bounded queue in order of revisions. It holds the events of this core's topics, so for each
/// of them everything from its first revision on that is above `floor`.
#[derive(Debug)]
pub(super) struct Recent {
    events_max: usize,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The revision up to which something may be missing.
    floor: Revision,
}

impl Recent {
    pub fn new(events_max: usize) -> Recent {
        Recent { events_max, events: VecDeque::new(), bytes: 0, floor: Revision(0) }
    }

    pub fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.bytes(true);
        self.events.push_back(event);
        while self.bytes > WATCH_RECENT_BYTES_MAX || self.events.len() > self.events_max {
            let oldest = self.events.pop_front().expect("it holds something");
            self.bytes -= oldest.bytes(true);
            self.floor = oldest.revision;
        }
    }

    /// Whether everything from `next` on is here.
    pub fn covers(&self, next: Revision) -> bool {
        next > self.floor
    }

    /// The events from `next` on.
    pub fn from(&self, next: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let start = self.events.partition_point(|event| event.revision < next);
        self.events.range(start..)
    }

    /// Nobody watches: nothing of this is wanted.
    pub fn clear(&mut self) {
        if let Some(last) = self.events.back() {
            self.floor = last.revision;
            *self = Recent { floor: self.floor, ..Recent::new(self.events_max) };
        }
    }
}
