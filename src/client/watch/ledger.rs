//! The books of a watch stream: who watches what from which revision, what the server was asked,
//! and what it has said. No I/O: requests come out, responses go in, updates come out.
//!
//! A watcher's life:
//!
//! ```text
//!  watch() ─▶ waiting ─request─▶ creating ─created─▶ open ─canceled─▶ gone
//!                ▲                   │                 │
//!                └────── stream lost ┴─────────────────┘
//! ```
//!
//! Invariants:
//!
//! 1. A watcher's `start_revision` is the first one that it has not handed out. It never falls.
//! 2. `creating` has the creations that the server owes an answer for, in their order; at most
//!    [`limits::CLIENT_WATCH_CREATIONS_MAX`], so that their answers never fill what a stream may
//!    have received and not taken.
//! 3. A watcher is in exactly one of `waiting`, `creating` and `on_the_wire`.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use crate::limits;
use crate::protocol::pb::etcdserverpb as pb;
use pb::watch_request::RequestUnion;

/// Names a watcher of one [`super::WatchStream`], over all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(u64);

/// A change that has reached a watcher.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The server knows it; the header has the store's revision. Comes once.
    Created(pb::ResponseHeader),
    /// Events, of whole revisions. Fragments have been put together.
    Events(pb::WatchResponse),
    /// Everything up to the header's revision has come.
    Progress(pb::ResponseHeader),
    /// It is over: [`super::End::of`] says why. The last update.
    Canceled(pb::WatchResponse),
}

/// The record of a stream's watchers.
#[derive(Default)]
pub(super) struct Ledger {
    watchers: BTreeMap<WatcherId, Entry>,
    id_last: u64,
    waiting: VecDeque<WatcherId>,
    creating: VecDeque<WatcherId>,
    on_the_wire: FxHashMap<i64, WatcherId>,
    /// Watchers of the server's that nobody wants any more.
    to_cancel: VecDeque<i64>,
    progress_wanted: bool,
    updates: VecDeque<(WatcherId, Update)>,
}

struct Entry {
    /// As it would have to be made to create the watcher now.
    request: pb::WatchCreateRequest,
    /// The server's name for it, once created on this stream.
    wire: Option<i64>,
    /// Whether its creation has been handed out.
    announced: bool,
    /// The fragments of a response that has further ones.
    fragments: Option<pb::WatchResponse>,
}

/// The id in a response that concerns all watchers, or none.
const NO_WATCHER: i64 = -1;

impl Ledger {
    pub(super) fn len(&self) -> usize {
        self.watchers.len()
    }

    pub(super) fn watch(&mut self, request: pb::WatchCreateRequest) -> WatcherId {
        self.id_last += 1;
        let id = WatcherId(self.id_last);
        let request = pb::WatchCreateRequest { watch_id: 0, ..request };
        self.watchers.insert(id, Entry { request, wire: None, announced: false, fragments: None });
        self.waiting.push_back(id);
        id
    }

    pub(super) fn cancel(&mut self, id: WatcherId) -> bool {
        let Some(entry) = self.watchers.remove(&id) else { return false };
        self.updates.retain(|(of, _)| *of != id);
        if let Some(wire) = entry.wire {
            self.on_the_wire.remove(&wire);
            self.to_cancel.push_back(wire);
        }
        // One that is being created is cancelled when the server says what it calls it.
        self.waiting.retain(|waiting| *waiting != id);
        true
    }

    pub(super) fn request_progress(&mut self) {
        self.progress_wanted = true;
    }

    pub(super) fn next_update(&mut self) -> Option<(WatcherId, Update)> {
        self.updates.pop_front()
    }

    /// Returns the next request to send. It counts as sent: if it cannot be, the stream is lost.
    pub(super) fn next_request(&mut self) -> Option<pb::WatchRequest> {
        let union = if let Some(watch_id) = self.to_cancel.pop_front() {
            RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id })
        } else if let Some(id) = self.next_creation() {
            RequestUnion::CreateRequest(self.watchers[&id].request.clone())
        } else if self.progress_wanted && self.waiting.is_empty() {
            self.progress_wanted = false;
            RequestUnion::ProgressRequest(pb::WatchProgressRequest {})
        } else {
            return None;
        };
        Some(pb::WatchRequest { request_union: Some(union) })
    }

    fn next_creation(&mut self) -> Option<WatcherId> {
        if self.creating.len() >= limits::CLIENT_WATCH_CREATIONS_MAX {
            return None;
        }
        let id = self.waiting.pop_front()?;
        self.creating.push_back(id);
        Some(id)
    }

    /// Forgets the stream: the next request opens a new one, on which every watcher has to be
    /// created again.
    pub(super) fn stream_lost(&mut self) {
        self.creating.clear();
        self.on_the_wire.clear();
        self.to_cancel.clear();
        self.waiting = self.watchers.keys().copied().collect();
        for entry in self.watchers.values_mut() {
            entry.wire = None;
            entry.fragments = None;
        }
    }

    pub(super) fn take(&mut self, response: pb::WatchResponse) {
        if response.created {
            self.created(response);
        } else if response.canceled {
            // Unknown: our own cancellation, or one that crossed it.
            if let Some(id) = self.on_the_wire.remove(&response.watch_id) {
                self.watchers.remove(&id);
                self.updates.push_back((id, Update::Canceled(response)));
            }
        } else if response.watch_id == NO_WATCHER {
            let header = response.header.unwrap_or_default();
            let open: Vec<WatcherId> =
                self.watchers.iter().filter(|(_, e)| e.wire.is_some()).map(|(id, _)| *id).collect();
            open.into_iter().for_each(|id| self.progress(id, header));
        } else if let Some(id) = self.on_the_wire.get(&response.watch_id) {
            self.events(*id, response);
        }
    }

    fn created(&mut self, response: pb::WatchResponse) {
        let Some(id) = self.creating.pop_front() else { return };
        let Some(entry) = self.watchers.get_mut(&id) else {
            // Cancelled meanwhile.
            if !response.canceled {
                self.to_cancel.push_back(response.watch_id);
            }
            return;
        };
        if response.canceled {
            self.watchers.remove(&id);
            self.updates.push_back((id, Update::Canceled(response)));
            return;
        }
        entry.wire = Some(response.watch_id);
        self.on_the_wire.insert(response.watch_id, id);
        let header = response.header.unwrap_or_default();
        if entry.request.start_revision == 0 {
            // From here on it owes everything after this moment, also over another stream.
            entry.request.start_revision = header.revision + 1;
        }
        if !entry.announced {
            entry.announced = true;
            self.updates.push_back((id, Update::Created(header)));
        }
    }

    fn progress(&mut self, id: WatcherId, header: pb::ResponseHeader) {
        self.advance(id, header.revision);
        self.updates.push_back((id, Update::Progress(header)));
    }

    fn events(&mut self, id: WatcherId, response: pb::WatchResponse) {
        let entry = self.watchers.get_mut(&id).expect("a watcher on the wire is there");
        let response = match entry.fragments.take() {
            Some(mut first) => {
                first.events.extend(response.events);
                first.fragment = response.fragment;
                first
            }
            None => response,
        };
        if response.fragment {
            entry.fragments = Some(response);
            return;
        }
        let last = response.events.last().and_then(|event| event.kv.as_ref());
        match last.map(|kv| kv.mod_revision) {
            Some(revision) => {
                self.advance(id, revision);
                self.updates.push_back((id, Update::Events(response)));
            }
            None => self.progress(id, response.header.unwrap_or_default()),
        }
    }

    /// The watcher has had everything up to `revision`.
    fn advance(&mut self, id: WatcherId, revision: i64) {
        let entry = self.watchers.get_mut(&id).expect("a watcher that advances is there");
        let start = &mut entry.request.start_revision;
        *start = (*start).max(revision.saturating_add(1));
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
