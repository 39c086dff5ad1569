//! Watch streams of the fake core: no shards, no compaction, but the same promises of what waits
//! where.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::types::{
    Blob, Event, KeyValue, Revision, Sub, WatchCreate, WatchEvents, WatchId, WatchRefusal,
    WatchReply, WatchRequest, WatchStream,
};

/// Requests of a stream that may wait for the next turn.
pub(super) const REQUESTS_MAX: usize = 16;
/// Bytes of events that a stream may have been told and not given back.
pub(super) const TOLD_BYTES_MAX: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Hub {
    streams: BTreeMap<WatchStream, Stream>,
    opened: u64,
    history: Vec<Arc<Event>>,
}

/// What a watcher is told of an event.
fn told(id: WatchId, create: &WatchCreate, event: &Arc<Event>) -> Option<WatchEvents> {
    let is_filtered = if event.put.is_some() { create.no_put } else { create.no_delete };
    (create.range.contains(&event.key) && !is_filtered).then(|| WatchEvents {
        id,
        revision: event.revision,
        events: vec![event.clone()],
        prev_kv: create.prev_kv,
        fragment: create.fragment,
        bytes: event.bytes(create.prev_kv),
    })
}

#[derive(Default)]
struct Stream {
    watchers: BTreeMap<i64, WatchCreate>,
    next_id: i64,
    /// Control replies that the next turn tells.
    replies: VecDeque<WatchReply>,
    /// Events for which there was no room.
    behind: VecDeque<WatchEvents>,
    events_bytes: usize,
    unanswered: usize,
}

impl Hub {
    pub(super) fn open(&mut self) -> WatchStream {
        self.opened += 1;
        self.streams.insert(WatchStream(self.opened), Stream::default());
        WatchStream(self.opened)
    }

    pub(super) fn close(&mut self, stream: WatchStream) {
        assert!(self.streams.remove(&stream).is_some(), "{stream:?} is closed once");
    }

    pub(super) fn ask(
        &mut self,
        revision: Revision,
        stream: WatchStream,
        request: WatchRequest,
    ) -> bool {
        let own = self.streams.get_mut(&stream).expect("an open stream");
        assert!(own.unanswered < REQUESTS_MAX, "it was told to wait");
        own.unanswered += 1;
        match request {
            WatchRequest::Create(create) => {
                let (start, asked) = (create.start, create.clone());
                let reply = own.create(revision, create);
                if let WatchReply::Created { id, .. } = &reply {
                    let past = self.history.iter().filter(|event| event.revision.0 >= start);
                    let past = past.filter(|_| start > 0);
                    own.behind.extend(past.filter_map(|event| told(*id, &asked, event)));
                }
                own.replies.push_back(reply);
            }
            WatchRequest::Cancel(id) => {
                if own.watchers.remove(&id.0).is_some() {
                    let reply = WatchReply::Canceled { id, revision, compacted: None };
                    own.replies.push_back(reply);
                }
            }
            WatchRequest::Progress => {
                own.replies.push_back(WatchReply::Progress { id: WatchId::NONE, revision });
            }
        }
        own.unanswered < REQUESTS_MAX
    }

    pub(super) fn has_room(&self, stream: WatchStream) -> bool {
        self.streams[&stream].unanswered < REQUESTS_MAX
    }

    pub(super) fn sent(&mut self, stream: WatchStream, bytes: usize) {
        let own = self.streams.get_mut(&stream).expect("an open stream");
        own.events_bytes -= bytes;
    }

    /// A key has changed.
    pub(super) fn changed(
        &mut self,
        revision: Revision,
        key: Blob,
        put: Option<KeyValue>,
        prev: Option<KeyValue>,
    ) {
        let event = Arc::new(Event::new(revision, Sub(0), key, put, prev));
        for own in self.streams.values_mut() {
            for (&id, create) in &own.watchers {
                own.behind.extend(told(WatchId(id), create, &event));
            }
        }
        self.history.push(event);
    }

    pub(super) fn turn(&mut self) {
        for own in self.streams.values_mut() {
            own.unanswered = 0;
        }
    }

    pub(super) fn tell(&mut self) -> Vec<(WatchStream, WatchReply)> {
        let mut told = Vec::new();
        for (&stream, own) in &mut self.streams {
            told.extend(own.replies.drain(..).map(|reply| (stream, reply)));
            while let Some(events) = own.behind.front()
                && (own.events_bytes == 0 || own.events_bytes + events.bytes <= TOLD_BYTES_MAX)
            {
                let events = own.behind.pop_front().expect("just seen");
                own.events_bytes += events.bytes;
                told.push((stream, WatchReply::Events(events)));
            }
        }
        told
    }

    /// Of all streams, and of the one that has most.
    pub(super) fn events_bytes(&self) -> (usize, usize) {
        let each = self.streams.values().map(|own| own.events_bytes);
        (each.clone().sum(), each.max().unwrap_or(0))
    }
}

impl Stream {
    fn create(&mut self, revision: Revision, create: WatchCreate) -> WatchReply {
        let id = if create.id.0 == 0 { self.next_id } else { create.id.0 };
        let refused = match () {
            () if create.start < 0 => Some(WatchRefusal::Compacted),
            () if create.range.is_empty() => Some(WatchRefusal::EmptyRange),
            () if self.watchers.contains_key(&id) => Some(WatchRefusal::DuplicateId),
            () => None,
        };
        if let Some(reason) = refused {
            return WatchReply::Refused { revision, reason };
        }
        self.next_id += i64::from(create.id.0 == 0);
        self.watchers.insert(id, create);
        WatchReply::Created { id: WatchId(id), revision }
    }
}
