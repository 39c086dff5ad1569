//! An event: one change of one key, as watchers get it.

use std::sync::OnceLock;

use bytes::Bytes;

use super::{Blob, KeyValue, Revision, Sub};

/// One change. Shared by everybody it is told to, on one core and across cores.
#[derive(Debug)]
pub struct Event {
    /// The revision of the change.
    pub revision: Revision,
    /// The position of the change inside its revision.
    pub sub: Sub,
    pub key: Blob,
    /// `None` is a deletion.
    pub put: Option<KeyValue>,
    /// The key's version before this change: `None` for a creation, and where a compaction has
    /// dropped it.
    pub prev: Option<KeyValue>,
    /// The API's bytes of it, without and with `prev`: encoded once, however many are told.
    encoded: [OnceLock<Bytes>; 2],
}

impl Event {
    /// Makes the event of one change.
    pub fn new(
        revision: Revision,
        sub: Sub,
        key: Blob,
        put: Option<KeyValue>,
        prev: Option<KeyValue>,
    ) -> Event {
        Event { revision, sub, key, put, prev, encoded: Default::default() }
    }

    /// Bytes that it takes on its way to a client, about.
    pub fn bytes(&self, with_prev: bool) -> usize {
        let of = |kv: &KeyValue| kv.key.len() + kv.value.len() + 32;
        let own = self.put.as_ref().map_or(self.key.len() + 16, of);
        own + if with_prev { self.prev.as_ref().map_or(0, of) } else { 0 }
    }

    /// Its bytes as `encode` makes them, which is called once.
    pub fn encoded(&self, with_prev: bool, encode: impl FnOnce() -> Bytes) -> &Bytes {
        self.encoded[usize::from(with_prev)].get_or_init(encode)
    }
}
