//! Requests and replies of a watch stream.

use std::sync::Arc;

use super::{Event, KeyRange, Refusal, Revision};

/// A watch stream of one core's connections, never used twice while the core lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchStream(pub u64);

/// A watcher's number on its stream, as the client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub i64);

impl WatchId {
    /// The id of no watcher: answers that concern the stream carry it, and creations that failed.
    pub const NONE: WatchId = WatchId(-1);
}

/// One message of a client on its watch stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchRequest {
    /// Creates a watcher.
    Create(WatchCreate),
    /// Cancels a watcher.
    Cancel(WatchId),
    /// Asks for the revision up to which the stream has had all events.
    Progress,
}

/// A watcher that a client wants. An empty key of the API is the key `\0` here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchCreate {
    pub range: KeyRange,
    /// 0: what comes after the creation. Below 0 is refused in-band.
    pub start: i64,
    /// `WatchId(0)`: the server chooses.
    pub id: WatchId,
    /// Whether progress is reported while no events come.
    pub progress_notify: bool,
    /// Whether events have the key's version before the change.
    pub prev_kv: bool,
    /// A reply that is too large may be split inside a revision.
    pub fragment: bool,
    /// Whether puts are left out.
    pub no_put: bool,
    /// Whether deletes are left out.
    pub no_delete: bool,
}

impl WatchCreate {
    /// Returns all that happens in `range` from `start` on, without what was before; the server
    /// chooses the number.
    pub fn of(range: KeyRange, start: i64) -> WatchCreate {
        WatchCreate {
            range,
            start,
            id: WatchId(0),
            progress_notify: false,
            prev_kv: false,
            fragment: false,
            no_put: false,
            no_delete: false,
        }
    }
}

/// One thing that a watch stream is told, in this order.
#[derive(Clone, Debug)]
pub enum WatchReply {
    /// The watcher lives; it is told of nothing before this.
    Created { id: WatchId, revision: Revision },
    /// It was not created: `created` and `canceled` at once, with the id [`WatchId::NONE`].
    Refused { revision: Revision, reason: WatchRefusal },
    /// Changes: whole revisions, in order.
    Events(WatchEvents),
    /// Everything up to `revision` has been told: to one watcher, or with [`WatchId::NONE`] to all
    /// of the stream.
    Progress { id: WatchId, revision: Revision },
    /// The watcher is gone: because its client asked for that, or (`compacted`) because what it
    /// would have been told next is history that was dropped.
    Canceled { id: WatchId, revision: Revision, compacted: Option<Revision> },
    /// The whole stream ends.
    Ended(Refusal),
}

/// Events for one watcher.
#[derive(Clone, Debug)]
pub struct WatchEvents {
    pub id: WatchId,
    /// The header's.
    pub revision: Revision,
    pub events: Vec<Arc<Event>>,
    pub prev_kv: bool,
    /// Whether a reply above the size limit may be sent in parts.
    pub fragment: bool,
    /// Bytes that the events count against the stream's room until
    /// [`crate::member::Service::watch_sent`].
    pub bytes: usize,
}

/// Why a watcher is not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchRefusal {
    /// The start is below 0.
    Compacted,
    /// The range is empty.
    EmptyRange,
    /// The stream has a watcher with this id.
    DuplicateId,
}
