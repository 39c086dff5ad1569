//! Publication: the shard posts its changes to the hubs that want them, before they commit.
//!
//! ```text
//!  evaluate, execute, apply ──▶ store's timeline   · published │ 15 16 16 17
//!                                                              └── asked of `Interest`, key by key
//!  disk writes leave with the same effects ──▶ … ──▶ committed ──▶ stable
//! ```
//!
//! Invariant: when a turn's effects hold a write, they hold the events of every change in it, for
//! each core that wants them. Mail is posted before the write can end, so an event is in the
//! mailbox of every interested core before stable can reach its revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Shard, ShardEffects};
use crate::limits::{WATCH_HISTORY_BYTES, WATCH_REPLY_REVISIONS_MAX};
use crate::store::HistoryBounds;
use crate::types::{CoreId, Epoch, Event, Revision};
use crate::watch::{Compacted, HistoryAsk, HistoryPart, HubMessage, Interest, WatchAsk};

/// Bounds of one look into history; the asking hub sets `visits`.
const BOUNDS: HistoryBounds =
    HistoryBounds { revisions: WATCH_REPLY_REVISIONS_MAX, visits: 0, bytes: WATCH_HISTORY_BYTES };

/// Which cores want which keys, and how far changes have been posted to them.
#[derive(Debug)]
pub(super) struct Publication {
    interest: Interest,
    /// Every change up to here was posted to the cores that wanted it then.
    published: Revision,
}

impl Publication {
    /// Begins at a shard that holds changes up to `newest`.
    pub fn new(seed: u64, newest: Revision) -> Publication {
        Publication { interest: Interest::new(seed), published: newest }
    }

    /// The store has taken back what was above `cut`.
    pub fn roll_back(&mut self, cut: Revision) {
        self.published = self.published.min(cut);
    }
}

impl Shard {
    /// Takes what a hub asks.
    pub fn watch(&mut self, core: CoreId, ask: WatchAsk, effects: &mut ShardEffects) {
        match ask {
            WatchAsk::Add { topic, keys } => {
                // Earlier changes are of no interest to it; all later ones are.
                self.publish(effects);
                self.publication.interest.add(keys, core);
                let newest = self.state.store.newest();
                let epoch = self.state.opened.map_or(Epoch(0), |(epoch, _)| epoch);
                effects.watch.push((core, HubMessage::Added { topic, epoch, newest }));
            }
            WatchAsk::Drop { keys } => self.publication.interest.drop(&keys, core),
            WatchAsk::History(ask) => {
                let fetch = ask.fetch;
                let part = self.history(&ask);
                effects.watch.push((core, HubMessage::History { fetch, part }));
            }
        }
    }

    /// Tells what has changed since it last did.
    pub(super) fn publish(&mut self, effects: &mut ShardEffects) {
        let Publication { interest, published } = &mut self.publication;
        let after = *published;
        *published = self.state.store.newest().max(after);
        if interest.is_empty() || *published == after {
            return;
        }
        let Some((epoch, _)) = self.state.opened else { return };
        let mut by_core: BTreeMap<CoreId, Vec<Arc<Event>>> = BTreeMap::new();
        let wanted = |key: &[u8]| Some(interest.cores_of(key)).filter(|cores| !cores.is_empty());
        self.state.store.visit_events_above(after, wanted, |cores, event| {
            let event = Arc::new(event);
            for core in cores.iter() {
                by_core.entry(core).or_default().push(Arc::clone(&event));
            }
        });
        effects.watch.extend(
            by_core
                .into_iter()
                .map(|(core, events)| (core, HubMessage::Events { epoch, after, events })),
        );
    }

    fn history(&self, ask: &HistoryAsk) -> Result<HistoryPart, Compacted> {
        let store = &self.state.store;
        if ask.after.0 + 1 < store.compacted() {
            return Err(Compacted(Revision(store.compacted())));
        }
        assert!(ask.to <= self.sequencer.stable(), "R3: history above stable");
        let bounds = HistoryBounds { visits: ask.visits, ..BOUNDS };
        let history = store.history(&ask.keys.range(), ask.after, ask.to, &bounds);
        Ok(HistoryPart { events: history.events, through: history.through })
    }
}
