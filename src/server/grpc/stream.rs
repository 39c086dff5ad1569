//! Calls that send or take more than one message: a task each.
//!
//! Messages are handed to h2 only as far as the client takes them. A stream that nobody reads holds
//! one message at most, of its own; it takes nothing of the bytes that the connection may owe,
//! which others need.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures_lite::future::or;
use h2::SendStream;

use super::call::{Incoming, Link, Payload, encode, prepare, refuse};
use super::gzip;
use super::head::{self, Head};
use super::respond::Respond;
use crate::protocol::convert::{self, WatchMessage};
use crate::protocol::grpc::{Encoding, MESSAGE_BYTES_MAX, PREFIX_BYTES, above_limit};
use crate::protocol::method::Method;
use crate::protocol::status::{self, Status, code};
use crate::rt;
use crate::server::front::Handling;
use crate::server::large::{Large, SLICE_BYTES};
use crate::server::range_stream::RangeStream;
use crate::server::streams::{self, Gone, Outlet, Terms};
use crate::server::{concurrency, health};
use crate::types::{Nanos, Reply, Request, WatchStream};

/// Events up to this are gathered, larger ones are sent as they are.
const EVENT_COPIED_BYTES_MAX: usize = 16 << 10;
/// Bytes that are gathered before they are handed on.
const PIECE_BYTES: usize = 48 << 10;

/// The answering half of a call: headers are out, messages follow.
struct Sending {
    link: Rc<Link>,
    method: Method,
    stream: SendStream<Payload>,
    encoding: Encoding,
    /// A call of more than one message takes time until this is dropped.
    _handling: Option<Handling>,
}

impl Sending {
    /// Sends the headers.
    fn begin(link: &Rc<Link>, method: Method, respond: Respond) -> Result<Sending, Gone> {
        let handling = link.front.handling(method);
        let sending = Sending::answering(link, method, respond)?;
        Ok(Sending { _handling: Some(handling), ..sending })
    }

    /// Begins the answer of a call with one answer, whose time ended when that was there.
    fn answering(link: &Rc<Link>, method: Method, respond: Respond) -> Result<Sending, Gone> {
        let encoding = respond.encoding();
        let stream = respond.begin().map_err(|_| Gone)?;
        Ok(Sending { link: link.clone(), method, stream, encoding, _handling: None })
    }

    /// Hands `bytes` to h2, piece by piece as the client takes them.
    async fn send(&mut self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let capacity = self.capacity(bytes.len()).await?;
            let piece = bytes.split_to(capacity.min(bytes.len()));
            let payload = Payload::of_stream(&self.link, piece);
            self.stream.send_data(payload, false).map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Waits until h2 takes some bytes; returns how many: at least one, at most `wanted`.
    async fn capacity(&mut self, wanted: usize) -> Result<usize, Gone> {
        let link = self.link.clone();
        if !link.has_room_for_streams() {
            // h2 has set aside a part of the connection's window for this stream, which others may
            // need to go out, and those are waited for here.
            self.stream.reserve_capacity(0);
            link.drained.until(|| link.has_room_for_streams()).await;
        }
        self.stream.reserve_capacity(wanted);
        while self.stream.capacity() == 0 {
            match poll_fn(|cx| self.stream.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Gone),
            }
        }
        Ok(self.stream.capacity().min(wanted))
    }

    /// Sends one message that is written when there is room for its beginning.
    async fn message(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), Unsent> {
        self.capacity(1).await?;
        let mut bytes = encode(&self.link, write)?;
        let _charge = self.link.account.charge(bytes.len());
        if self.encoding == Encoding::Gzip {
            bytes = gzip::pack(bytes).await;
        }
        self.send(bytes).await?;
        self.link.meters().sent(self.method);
        Ok(())
    }

    /// Sends a reply that is measured, piece by piece, as fast as the connection sends.
    async fn pieces(&mut self, reply: &mut Large) -> Result<(), Gone> {
        let link = self.link.clone();
        let mut out = BytesMut::with_capacity(SLICE_BYTES + PREFIX_BYTES);
        put_prefix(reply, &mut out);
        loop {
            link.drained.until(|| link.has_room_for_pieces() || link.lost.is_raised()).await;
            if link.lost.is_raised() {
                return Err(Gone);
            }
            let is_through = reply.encode_some(SLICE_BYTES, &mut out);
            link.sent(out.len());
            let payload = Payload::new(&link, out.split().freeze());
            self.stream.send_data(payload, false).map_err(|_| Gone)?;
            if is_through {
                return Ok(());
            }
            rt::give_way().await;
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(|_| ())
    }

    /// The last word: `Err` if nobody is there to hear it.
    fn end(mut self, end: Result<Status, Gone>) {
        let meters = self.link.meters();
        meters.handled(self.method, end.as_ref().map_or(code::CANCELED, |status| status.code));
        if let Ok(status) = end {
            let _ = self.stream.send_trailers(head::end(&status));
        }
    }
}

/// Answers calls with replies of many keys, one after the other, in pieces between which others
/// have their turn.
pub(super) async fn send_large(link: Rc<Link>) {
    while let Some((method, respond, mut reply)) = link.next_large() {
        while !reply.measure_some() {
            rt::give_way().await;
        }
        if reply.length() > MESSAGE_BYTES_MAX {
            refuse(&link, Some(method), respond, &above_limit(reply.length()));
            continue;
        }
        if respond.encoding() == Encoding::Gzip {
            let payload = whole(&link, &mut reply).await;
            link.meters().handled(method, code::OK);
            respond.unary(gzip::pack_counted(&link, payload).await);
        } else if let Ok(mut sending) = Sending::answering(&link, method, respond) {
            let sent = sending.pieces(&mut reply).await;
            sending.end(sent.map(|()| Status::new(code::OK, "")));
        }
    }
}

/// The whole message, made in pieces: to be packed.
async fn whole(link: &Link, reply: &mut Large) -> Payload {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + reply.length());
    put_prefix(reply, &mut out);
    while !reply.encode_some(SLICE_BYTES, &mut out) {
        rt::give_way().await;
    }
    link.sent(out.len());
    Payload::new(link, out.freeze())
}

fn put_prefix(reply: &mut Large, out: &mut BytesMut) {
    out.put_u8(0);
    out.put_u32(u32::try_from(reply.length()).expect("MESSAGE_BYTES_MAX is below 2^32"));
}

/// Why a message was not sent.
enum Unsent {
    Gone(Gone),
    Refused(Status),
}

impl From<Gone> for Unsent {
    fn from(gone: Gone) -> Unsent {
        Unsent::Gone(gone)
    }
}

impl From<Status> for Unsent {
    fn from(status: Status) -> Unsent {
        Unsent::Refused(status)
    }
}

impl From<Unsent> for Result<Status, Gone> {
    fn from(unsent: Unsent) -> Result<Status, Gone> {
        match unsent {
            Unsent::Gone(gone) => Err(gone),
            Unsent::Refused(status) => Ok(status),
        }
    }
}

impl Outlet for Sending {
    async fn reply(&mut self, reply: &Reply) -> Result<(), Gone> {
        let header = self.link.header();
        // Refused is what is too large for gRPC, which no reply of a stream is.
        self.message(|out| convert::encode(&header, reply, out)).await.map_err(|_| Gone)
    }

    async fn encoded(&mut self, message: Bytes) -> Result<(), Gone> {
        self.message(|out| out.extend_from_slice(&message)).await.map_err(|_| Gone)
    }

    async fn watch_message(&mut self, message: &WatchMessage<'_>) -> Result<(), Gone> {
        if self.encoding == Encoding::Gzip {
            let write = |out: &mut BytesMut| {
                message.put_head(out);
                message.events().for_each(|event| out.extend_from_slice(event));
            };
            return self.message(write).await.map_err(|_| Gone);
        }
        self.capacity(1).await?;
        let length = message.length();
        if length > MESSAGE_BYTES_MAX {
            return Err(Gone);
        }
        self.link.sent(PREFIX_BYTES + length);
        let mut events = message.events().peekable();
        let mut is_begun = false;
        loop {
            let piece = {
                let mut out = self.link.scratch();
                prepare(&mut out);
                if !is_begun {
                    out.put_u8(0);
                    out.put_u32(length as u32);
                    message.put_head(&mut out);
                    is_begun = true;
                }
                let small = |event: &&Bytes| event.len() <= EVENT_COPIED_BYTES_MAX;
                while out.len() < PIECE_BYTES
                    && let Some(event) = events.next_if(small)
                {
                    out.extend_from_slice(event);
                }
                out.split().freeze()
            };
            self.send(piece).await?;
            if let Some(large) = events.next_if(|event| event.len() > EVENT_COPIED_BYTES_MAX) {
                self.send(large.clone()).await?;
            }
            if events.peek().is_none() {
                break;
            }
        }
        self.link.meters().sent(self.method);
        Ok(())
    }

    fn give_back(&mut self, stream: WatchStream, bytes: usize) {
        // The bytes that h2 has taken are bounded by what the connection owes.
        self.link.front.watch_sent(stream, bytes);
    }

    async fn gone(&mut self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }
}

/// A call with messages both ways.
pub(super) fn start_bidi(link: &Rc<Link>, now: Nanos, mut incoming: Incoming, respond: Respond) {
    let Head { method, timeout, requires_leader, .. } = incoming.head;
    let deadline = timeout.map(|timeout| super::call::deadline(now, timeout));
    let terms = Terms { requires_leader, deadline };
    // At once: clients wait for the headers before they say anything.
    let Ok(mut sending) = Sending::begin(link, method, respond) else {
        return link.meters().handled(method, code::CANCELED);
    };
    let link = link.clone();
    let task = async move {
        let serving = async {
            match method {
                Method::Watch => {
                    streams::watch(&link.front, terms, &mut incoming, &mut sending).await
                }
                Method::LeaseKeepAlive => {
                    streams::keep_alive(&link.front, terms, &mut incoming, &mut sending).await
                }
                _ => Ok(status::of(&method.unimplemented())),
            }
        };
        let end = while_connected(&link, serving).await;
        sending.end(end);
    };
    rt::spawn(task).detach();
}

/// Awaits `call`, unless the connection ends first.
async fn while_connected(
    link: &Link,
    call: impl Future<Output = Result<Status, Gone>>,
) -> Result<Status, Gone> {
    let lost = async {
        link.lost.wait().await;
        Err(Gone)
    };
    or(lost, call).await
}

/// RangeStream: parts as fast as the client takes them.
pub(super) async fn stream_range(
    link: Rc<Link>,
    method: Method,
    deadline: Option<Nanos>,
    request: Request,
    mut respond: Respond,
) {
    let bytes_aimed = link.front.settings.request_bytes_max;
    let mut ranging = match RangeStream::new(request, deadline, bytes_aimed) {
        Ok(ranging) => ranging,
        Err(refusal) => return refuse(&link, Some(method), respond, &status::of(&refusal)),
    };
    let room = || link.front.room_in_budget(|| link.account.may_make());
    let first = async {
        room().await;
        Some(ranging.next(&link.front).await)
    };
    let reset = poll_fn(|cx| respond.poll_reset(cx).map(|_| None));
    let mut part = match or(first, reset).await {
        Some(Ok(part)) => part,
        Some(Err(refusal)) => return refuse(&link, Some(method), respond, &status::of(&refusal)),
        None => return link.meters().handled(method, code::CANCELED),
    };
    let Ok(mut sending) = Sending::begin(&link, method, respond) else {
        return link.meters().handled(method, code::CANCELED);
    };
    let parts = async {
        loop {
            let write = |out: &mut _| part.encode(&link.front, out);
            if let Err(unsent) = sending.message(write).await {
                return unsent.into();
            }
            if part.is_last {
                return Ok(Status::new(code::OK, ""));
            }
            room().await;
            part = match ranging.next(&link.front).await {
                Ok(part) => part,
                Err(refusal) => return Ok(status::of(&refusal)),
            };
        }
    };
    let end = while_connected(&link, parts).await;
    sending.end(end);
}

/// Election.Observe: leaders as they come.
pub(super) async fn observe(
    link: Rc<Link>,
    message: Bytes,
    deadline: Option<Nanos>,
    respond: Respond,
) {
    let method = Method::Observe;
    let Ok(mut sending) = Sending::begin(&link, method, respond) else {
        return link.meters().handled(method, code::CANCELED);
    };
    let observing = concurrency::observe(&link.front, message, deadline, &mut sending);
    let end = while_connected(&link, observing).await;
    sending.end(end);
}

/// Health.Watch: the state now, and nothing more until the server stops.
pub(super) async fn health_watch(link: Rc<Link>, message: Bytes, respond: Respond) {
    let method = Method::HealthWatch;
    let state = match health::now(&message) {
        Ok(state) => state,
        Err(status) => return refuse(&link, Some(method), respond, &status),
    };
    let Ok(mut sending) = Sending::begin(&link, method, respond) else {
        return link.meters().handled(method, code::CANCELED);
    };
    let watching = health::watch(&link.front, state, &mut sending);
    let end = while_connected(&link, watching).await;
    sending.end(end);
}
