//! Telling the cores what changes, before it commits.
//!
//! ```text
//!  evaluate, execute, apply ──▶ store's timeline   ······ told │ 15 16 16 17
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
use crate::limits::{WATCH_HISTORY_BYTES, WATCH_HISTORY_VISITS, WATCH_REPLY_REVISIONS_MAX};
use crate::store::HistoryBounds;
use crate::types::{CoreId, Event, Revision};
use crate::watch::{Compacted, HistoryAsk, HistoryPart, Interest, WatchAsk, WatchTold};

const BOUNDS: HistoryBounds = HistoryBounds {
    revisions: WATCH_REPLY_REVISIONS_MAX,
    visits: WATCH_HISTORY_VISITS,
    bytes: WATCH_HISTORY_BYTES,
};

/// Who wants what, and how far that has been told.
#[derive(Debug)]
pub(super) struct Telling {
    interest: Interest,
    /// Every change up to here was told to who wanted it then.
    told: Revision,
}

impl Telling {
    /// Of a shard that holds changes up to `newest`.
    pub fn new(seed: u64, newest: Revision) -> Telling {
        Telling { interest: Interest::new(seed), told: newest }
    }

    /// The store has taken back what was above `cut`.
    pub fn roll_back(&mut self, cut: Revision) {
        self.told = self.told.min(cut);
    }
}

impl Shard {
    /// Takes what a hub asks.
    pub fn watch(&mut self, core: CoreId, ask: WatchAsk, effects: &mut ShardEffects) {
        match ask {
            WatchAsk::Add { topic, keys } => {
                // What came before is of no interest to it; all that comes after is.
                self.tell(effects);
                self.telling.interest.add(keys, core);
                let newest = self.held.store.newest();
                effects.watch.push((core, WatchTold::Added { topic, newest }));
            }
            WatchAsk::Drop { keys } => self.telling.interest.drop(&keys, core),
            WatchAsk::History(ask) => {
                let fetch = ask.fetch;
                let part = self.history(&ask);
                effects.watch.push((core, WatchTold::History { fetch, part }));
            }
        }
    }

    /// Tells what has changed since it last did.
    pub(super) fn tell(&mut self, effects: &mut ShardEffects) {
        let Telling { interest, told } = &mut self.telling;
        let after = *told;
        *told = self.held.store.newest().max(after);
        if interest.is_empty() || *told == after {
            return;
        }
        let Some((epoch, _)) = self.held.opened else { return };
        let mut by_core: BTreeMap<CoreId, Vec<Arc<Event>>> = BTreeMap::new();
        let wanted = |key: &[u8]| Some(interest.cores_of(key)).filter(|cores| !cores.is_empty());
        self.held.store.tell_above(after, wanted, |cores, event| {
            let event = Arc::new(event);
            for core in cores.iter() {
                by_core.entry(core).or_default().push(Arc::clone(&event));
            }
        });
        effects.watch.extend(
            by_core
                .into_iter()
                .map(|(core, events)| (core, WatchTold::Events { epoch, after, events })),
        );
    }

    fn history(&self, ask: &HistoryAsk) -> Result<HistoryPart, Compacted> {
        let store = &self.held.store;
        if ask.after.0 + 1 < store.compacted() {
            return Err(Compacted(Revision(store.compacted())));
        }
        assert!(ask.to <= self.sequencer.stable(), "R3: history above stable");
        let history = store.history(&ask.keys.range(), ask.after, ask.to, &BOUNDS);
        Ok(HistoryPart { events: history.events, through: history.through })
    }
}
