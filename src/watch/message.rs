//! Messages between hubs and shards.

use std::sync::Arc;

use super::keys::Keys;
use crate::types::{Epoch, Event, Revision};

/// Names a topic of a hub, the watchers of one range on one core; a later topic in the same place
/// has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicId {
    pub(super) slot: u32,
    pub(super) life: u32,
}

/// From a hub to a shard.
#[derive(Clone, Debug)]
pub enum WatchAsk {
    /// The core wants every change of these keys from here on.
    Add { topic: TopicId, keys: Keys },
    /// It does not want them any more.
    Drop { keys: Keys },
    /// The hub asks for what happened before.
    History(HistoryAsk),
}

/// Changes of keys with `after < revision <= to`; `to` is stable.
#[derive(Clone, Debug)]
pub struct HistoryAsk {
    pub fetch: u64,
    pub keys: Keys,
    pub after: Revision,
    pub to: Revision,
    /// Changes that it goes over at most.
    pub visits: usize,
}

/// From a shard to a hub.
#[derive(Clone, Debug)]
pub enum HubMessage {
    /// Every change above `newest`, which is held in `epoch` and may be pending, will be posted.
    Added { topic: TopicId, epoch: Epoch, newest: Revision },
    /// All that the core wants of what changed above `after`, pending: it counts when stable has
    /// reached it. What was posted above `after` before this is void.
    Events { epoch: Epoch, after: Revision, events: Vec<Arc<Event>> },
    /// Answers [`WatchAsk::History`].
    History { fetch: u64, part: Result<HistoryPart, Compacted> },
}

/// A part of a shard's history.
#[derive(Clone, Debug)]
pub struct HistoryPart {
    pub events: Vec<Arc<Event>>,
    /// Nothing up to here is missing.
    pub through: Revision,
}

/// The requested history is below this revision, at which the shard is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted(pub Revision);
