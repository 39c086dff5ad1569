//! A watch stream's messages: requests in, `WatchResponse`s out.
//!
//! Many watchers get the same event. So an event's bytes are made once, as they stand in every
//! message (with the key and the length in front), and only copied after that. Only the few bytes
//! before a message's events are made anew.

use std::slice;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::HeaderFields;
use super::decode::message;
use super::gather::Gather;
use super::hot::{self, Stamp};
use crate::protocol::method::Method;
use crate::protocol::pb::etcdserverpb as pb;
use crate::types::{
    Event, KeyRange, KeyValue, Refusal, Revision, WatchCreate, WatchId, WatchRefusal, WatchReply,
    WatchRequest,
};

/// Decodes a client's message on its watch stream; `None` says nothing, and etcd passes over it.
pub fn decode_watch(payload: Bytes) -> Result<Option<WatchRequest>, Refusal> {
    use pb::watch_request::RequestUnion;
    let request: pb::WatchRequest = message(Method::Watch, payload)?;
    Ok(request.request_union.map(|union| match union {
        RequestUnion::CreateRequest(request) => WatchRequest::Create(create(request)),
        RequestUnion::CancelRequest(request) => WatchRequest::Cancel(WatchId(request.watch_id)),
        RequestUnion::ProgressRequest(_) => WatchRequest::Progress,
    }))
}

fn create(request: pb::WatchCreateRequest) -> WatchCreate {
    use pb::watch_create_request::FilterType;
    // A filter that is none filters nothing.
    let filters = |wanted: FilterType| request.filters.contains(&wanted.into());
    let (no_put, no_delete) = (filters(FilterType::Noput), filters(FilterType::Nodelete));
    let key = if request.key.is_empty() { Bytes::from_static(b"\0") } else { request.key };
    WatchCreate {
        range: KeyRange::from_api(key, request.range_end),
        start: request.start_revision,
        id: WatchId(request.watch_id),
        progress_notify: request.progress_notify,
        prev_kv: request.prev_kv,
        fragment: request.fragment,
        no_put,
        no_delete,
    }
}

/// Returns the messages that `reply` is: one, or several if its watcher wants large ones in parts.
/// A part has less than `bytes_max` bytes or one event. The end of a stream is no message.
pub fn watch_messages<'a>(
    header: &HeaderFields,
    reply: &'a WatchReply,
    bytes_max: usize,
) -> WatchMessages<'a> {
    let bare = WatchMessage {
        header: *header,
        revision: Revision(0),
        id: WatchId::NONE,
        created: false,
        canceled: false,
        compact_revision: 0,
        reason: "",
        fragment: false,
        events: &[],
        prev_kv: false,
    };
    let mut bytes_max = Some(bytes_max);
    let next = match reply {
        &WatchReply::Created { id, revision } => {
            Some(WatchMessage { revision, id, created: true, ..bare })
        }
        &WatchReply::Refused { revision, reason } => {
            let reason = refusal_text(reason);
            Some(WatchMessage { revision, created: true, canceled: true, reason, ..bare })
        }
        WatchReply::Events(told) => {
            bytes_max = bytes_max.filter(|_| told.fragment);
            let (revision, id, prev_kv) = (told.revision, told.id, told.prev_kv);
            Some(WatchMessage { revision, id, prev_kv, events: &told.events, ..bare })
        }
        &WatchReply::Progress { id, revision } => Some(WatchMessage { revision, id, ..bare }),
        // A reply about a compaction names no other revision.
        &WatchReply::Canceled { id, compacted: Some(compacted), .. } => {
            let compact_revision = compacted.0;
            Some(WatchMessage { id, canceled: true, compact_revision, ..bare })
        }
        &WatchReply::Canceled { id, revision, compacted: None } => {
            Some(WatchMessage { revision, id, canceled: true, ..bare })
        }
        WatchReply::Ended(_) => None,
    };
    WatchMessages { next, bytes_max }
}

/// Returns etcd's reason, within a message that its watch stream survives.
fn refusal_text(reason: WatchRefusal) -> &'static str {
    match reason {
        WatchRefusal::Compacted => "etcdserver: mvcc: required revision has been compacted",
        WatchRefusal::EmptyRange => "mvcc: watcher range is empty",
        WatchRefusal::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
    }
}

/// The iterator that [`watch_messages`] returns.
#[derive(Debug)]
pub struct WatchMessages<'a> {
    /// The rest of the reply, as one message.
    next: Option<WatchMessage<'a>>,
    /// `None`: never in parts.
    bytes_max: Option<usize>,
}

impl<'a> Iterator for WatchMessages<'a> {
    type Item = WatchMessage<'a>;

    fn next(&mut self) -> Option<WatchMessage<'a>> {
        let mut message = self.next.take()?;
        if let Some(bytes_max) = self.bytes_max
            && message.events.len() > 1
            && message.length() >= bytes_max
        {
            let (events, rest) = message.events.split_at(message.events_within(bytes_max));
            self.next = (!rest.is_empty()).then_some(WatchMessage { events: rest, ..message });
            message = WatchMessage { events, fragment: !rest.is_empty(), ..message };
        }
        Some(message)
    }
}

/// One `WatchResponse`.
#[derive(Clone, Copy, Debug)]
pub struct WatchMessage<'a> {
    header: HeaderFields,
    revision: Revision,
    id: WatchId,
    created: bool,
    canceled: bool,
    compact_revision: i64,
    reason: &'static str,
    fragment: bool,
    events: &'a [Arc<Event>],
    prev_kv: bool,
}

impl<'a> WatchMessage<'a> {
    /// Bytes of the whole message.
    pub fn length(&self) -> usize {
        self.head_length() + self.events().map(Bytes::len).sum::<usize>()
    }

    /// Appends what stands before the events.
    pub fn put_head(&self, out: &mut BytesMut) {
        let mut fields = Gather::new(out);
        hot::put_header(Stamp::Full(&self.header), self.revision, &mut fields);
        fields.varint(2, self.id.0 as u64);
        fields.bool(3, self.created);
        fields.bool(4, self.canceled);
        fields.varint(5, self.compact_revision as u64);
        fields.bytes(6, self.reason.as_bytes());
        fields.bool(7, self.fragment);
        fields.finish();
    }

    /// Returns the bytes behind the head, event by event.
    pub fn events(&self) -> WatchedEvents<'a> {
        WatchedEvents { events: self.events.iter(), prev_kv: self.prev_kv }
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.length());
        self.put_head(out);
        self.events().for_each(|event| out.extend_from_slice(event));
    }

    fn head_length(&self) -> usize {
        hot::nested_len(hot::header_len(Stamp::Full(&self.header), self.revision))
            + hot::varint_field_len(self.id.0 as u64)
            + hot::bool_len(self.created)
            + hot::bool_len(self.canceled)
            + hot::varint_field_len(self.compact_revision as u64)
            + hot::bytes_len(self.reason.len())
            + hot::bool_len(self.fragment)
    }

    /// Counts the events that a part can have: at least one, and as many as leave it below
    /// `bytes_max`.
    fn events_within(&self, bytes_max: usize) -> usize {
        let mut length = WatchMessage { fragment: true, ..*self }.head_length();
        let fitting = self.events().take_while(|event| {
            length += event.len();
            length < bytes_max
        });
        fitting.count().max(1)
    }
}

/// The iterator that [`WatchMessage::events`] returns.
#[derive(Clone, Debug)]
pub struct WatchedEvents<'a> {
    events: slice::Iter<'a, Arc<Event>>,
    prev_kv: bool,
}

impl<'a> Iterator for WatchedEvents<'a> {
    type Item = &'a Bytes;

    fn next(&mut self) -> Option<&'a Bytes> {
        let event = self.events.next()?;
        let with_prev = self.prev_kv && event.prev.is_some();
        Some(event.encoded(with_prev, || encode_event(event, with_prev)))
    }
}

/// Returns an event as it stands in a `WatchResponse`: field 11, with the key and the length in
/// front.
fn encode_event(event: &Event, with_prev: bool) -> Bytes {
    let deleted;
    let kv = match &event.put {
        Some(kv) => kv,
        None => {
            let (key, modified) = (event.key.clone(), event.revision.0);
            deleted = KeyValue { key, modified, ..KeyValue::default() };
            &deleted
        }
    };
    let prev = event.prev.as_ref().filter(|_| with_prev);
    let of = |kv: &KeyValue| hot::nested_len(hot::key_value_len(kv.view()));
    let length = hot::bool_len(event.put.is_none()) + of(kv) + prev.map_or(0, of);
    let mut out = BytesMut::with_capacity(hot::nested_len(length));
    let mut fields = Gather::new(&mut out);
    fields.length(11, length);
    // The type: PUT is 0 and left out, DELETE is 1.
    fields.bool(1, event.put.is_none());
    hot::put_key_value(2, kv.view(), &mut fields);
    if let Some(prev) = prev {
        hot::put_key_value(3, prev.view(), &mut fields);
    }
    fields.finish();
    out.freeze()
}
