//! Events that the shards have posted and stable has not reached yet.
//!
//! ```text
//!  shard 0   12 12 15 ──▶│
//!  shard 1   13 14       │──▶ 12 12 13 14   stable = 14: revisions leave whole, in order
//!  shard 2   14 16    ──▶│
//! ```
//!
//! It is bounded by what shards may have pending: everything here is in an entry of a log that is
//! not committed everywhere.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::teeth::{Rule, leaves_out};
use crate::types::{Epoch, Event, Revision, ShardId, ShardSet};

/// Epochs that may pass while a word of a shard is on its way.
const EPOCHS_MAX: usize = 64;

/// One queue for each shard, in order of revisions.
#[derive(Debug)]
pub(super) struct Inflow {
    queues: Vec<VecDeque<(Epoch, Arc<Event>)>>,
    /// Shards whose queue holds something.
    filled: ShardSet,
    /// The last epochs that were heard to open, with their cuts.
    opened: VecDeque<(Epoch, Revision)>,
}

impl Inflow {
    pub fn new(shards: u16) -> Inflow {
        Inflow {
            queues: (0..shards).map(|_| VecDeque::new()).collect(),
            filled: ShardSet::EMPTY,
            opened: VecDeque::new(),
        }
    }

    /// Takes a shard's events; what the shard sent before above `after` is void.
    pub fn take(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        after: Revision,
        events: Vec<Arc<Event>>,
        position: Revision,
    ) {
        let queue = &mut self.queues[usize::from(shard.0)];
        while queue.back().is_some_and(|(_, event)| event.revision > after) {
            queue.pop_back();
        }
        let kept = self.still(epoch, Revision::NEWEST);
        let queue = &mut self.queues[usize::from(shard.0)];
        for event in events {
            if event.revision > kept {
                break; // It was on its way while its epoch ended.
            }
            assert!(
                event.revision > position || is_left_out(),
                "shard {shard} tells of {} when {position} has been told",
                event.revision
            );
            queue.push_back((epoch, event));
        }
        self.mark(shard);
    }

    /// An epoch is open: what earlier ones posted above its cut did not happen.
    pub fn opened(&mut self, epoch: Epoch, cut: Revision) {
        self.opened.push_back((epoch, cut));
        if self.opened.len() > EPOCHS_MAX {
            self.opened.pop_front();
        }
        for shard in self.filled.iter() {
            let queue = &mut self.queues[usize::from(shard.0)];
            queue.retain(|(of, event)| *of >= epoch || event.revision <= cut);
            self.mark(shard);
        }
    }

    /// A shard's newest revision in `epoch`, without what was void since.
    pub fn still(&self, epoch: Epoch, newest: Revision) -> Revision {
        let later = self.opened.iter().filter(|(opened, _)| *opened > epoch);
        later.map(|(_, cut)| *cut).fold(newest, Revision::min)
    }

    /// The lowest revision that waits.
    pub fn lowest(&self) -> Option<Revision> {
        let fronts = self.filled.iter().filter_map(|shard| self.front(shard));
        fronts.min()
    }

    /// Moves all of the lowest revision to `events`, in order.
    pub fn take_revision(&mut self, revision: Revision, events: &mut Vec<Arc<Event>>) {
        let mut sources = 0;
        for shard in self.filled.iter() {
            if self.front(shard) != Some(revision) {
                continue;
            }
            sources += 1;
            let queue = &mut self.queues[usize::from(shard.0)];
            while queue.front().is_some_and(|(_, event)| event.revision == revision) {
                events.extend(queue.pop_front().map(|(_, event)| event));
            }
            self.mark(shard);
        }
        if sources > 1 {
            events.sort_by(|a, b| (a.sub, &a.key).cmp(&(b.sub, &b.key)));
        }
    }

    fn front(&self, shard: ShardId) -> Option<Revision> {
        self.queues[usize::from(shard.0)].front().map(|(_, event)| event.revision)
    }

    fn mark(&mut self, shard: ShardId) {
        let queue = &mut self.queues[usize::from(shard.0)];
        if queue.is_empty() {
            self.filled.remove(shard);
            if queue.capacity() > 1024 {
                *queue = VecDeque::new();
            }
        } else {
            self.filled.insert(shard);
        }
    }
}

/// Whether a rule is left out that this would notice before any client does.
fn is_left_out() -> bool {
    leaves_out(Rule::TellBefore) || leaves_out(Rule::LookFirst)
}
