//! Calls that send or take more than one message: a task each.
//!
//! A message is made only when the one before it has left and the client takes more. A stream that
//! nobody reads holds one message at most, of its own; it takes nothing of the bytes that the
//! connection may owe, which others need.

use std::future::{Future, poll_fn};
use std::rc::Rc;

use super::call::{encode, prepare, refuse};
use super::gzip;
use super::head::Head;
use super::incoming::Incoming;
use super::link::Link;
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
use bytes::{BufMut, Bytes, BytesMut};
use futures_lite::future::or;

/// Events up to this are gathered, larger ones are sent as they are.
const EVENT_COPIED_BYTES_MAX: usize = 16 << 10;
/// Bytes that are gathered before they are handed on.
const PIECE_BYTES: usize = 48 << 10;

/// The answering half of a call: headers are out, messages follow.
struct Sending {
    link: Rc<Link>,
    method: Method,
    respond: Respond,
    /// A call of more than one message takes time until this is dropped.
    _handling: Option<Handling>,
}

impl Sending {
    /// Sends the headers of an answer of many messages.
    fn begin(link: &Rc<Link>, method: Method, mut respond: Respond) -> Result<Sending, Gone> {
        respond.begin(true).map_err(|_| Gone)?;
        let handling = Some(link.front.handling(method));
        Ok(Sending { link: link.clone(), method, respond, _handling: handling })
    }

    /// Begins the answer of a call with one answer, whose time ended when that was there.
    fn answering(link: &Rc<Link>, method: Method, mut respond: Respond) -> Result<Sending, Gone> {
        respond.begin(false).map_err(|_| Gone)?;
        Ok(Sending { link: link.clone(), method, respond, _handling: None })
    }

    /// Until another message may be made: the one before it has left, the client takes more, and
    /// others have not filled the output.
    async fn room(&mut self) -> Result<(), Gone> {
        let link = self.link.clone();
        loop {
            poll_fn(|cx| self.respond.poll_room(cx)).await.map_err(|_| Gone)?;
            if link.has_room_for_streams() {
                return Ok(());
            }
            let gone = async {
                self.gone().await;
                Err(Gone)
            };
            let drained = async {
                link.drained.until(|| link.has_room_for_streams()).await;
                Ok(())
            };
            or(gone, drained).await?;
        }
    }

    /// Sends one message that is written when there is room for its beginning.
    async fn message(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), Unsent> {
        self.room().await?;
        let mut bytes = encode(&self.link, write)?;
        if self.respond.encoding() == Encoding::Gzip {
            let _charge = self.link.account.charge(bytes.len());
            bytes = gzip::pack(bytes).await;
        }
        self.respond.send(bytes).map_err(|_| Gone)?;
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
            self.respond.send(out.split().freeze()).map_err(|_| Gone)?;
            if is_through {
                return Ok(());
            }
            rt::give_way().await;
        }
    }

    /// The last word: `Err` if nobody is there to hear it.
    fn end(self, end: Result<Status, Gone>) {
        let meters = self.link.meters();
        meters.handled(self.method, end.as_ref().map_or(code::CANCELED, |status| status.code));
        if let Ok(status) = end {
            self.respond.end(&status);
        }
    }
}

impl Sending {
    /// Sends a message of which large events are not copied.
    fn in_pieces(
        &mut self,
        message: &WatchMessage<'_>,
        put_head: impl FnOnce(&mut BytesMut),
    ) -> Result<(), crate::http2::Gone> {
        let is_small = |event: &&Bytes| event.len() <= EVENT_COPIED_BYTES_MAX;
        let mut events = message.events().peekable();
        let mut piece = {
            let mut out = self.link.scratch();
            prepare(&mut out);
            put_head(&mut out);
            out.split()
        };
        loop {
            while piece.len() < PIECE_BYTES
                && let Some(event) = events.next_if(is_small)
            {
                piece.extend_from_slice(event);
            }
            self.respond.send(std::mem::take(&mut piece).freeze())?;
            if let Some(large) = events.next_if(|event| !is_small(event)) {
                self.respond.send(large.clone())?;
            }
            if events.peek().is_none() {
                return Ok(());
            }
            piece.reserve(PIECE_BYTES);
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
            let bytes = whole(&link, &mut reply).await;
            let _charge = link.account.charge(bytes.len());
            link.meters().handled(method, code::OK);
            respond.unary(gzip::pack(bytes).await);
        } else if let Ok(mut sending) = Sending::answering(&link, method, respond) {
            let sent = sending.pieces(&mut reply).await;
            sending.end(sent.map(|()| Status::new(code::OK, "")));
        }
    }
}

/// The whole message, made in pieces: to be packed.
async fn whole(link: &Link, reply: &mut Large) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + reply.length());
    put_prefix(reply, &mut out);
    while !reply.encode_some(SLICE_BYTES, &mut out) {
        rt::give_way().await;
    }
    link.sent(out.len());
    out.freeze()
}

fn put_prefix(reply: &mut Large, out: &mut BytesMut) {
    out.put_u8(0);
    out.put_u32(u32::try_from(reply.length()).expect("MESSAGE_BYTES_MAX is below 2^32"));
}

/// The reason for which a message was not sent.
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
        if self.respond.encoding() == Encoding::Gzip {
            return self.message(|out| message.encode(out)).await.map_err(|_| Gone);
        }
        self.room().await?;
        let length = message.length();
        if length > MESSAGE_BYTES_MAX {
            return Err(Gone);
        }
        self.link.sent(PREFIX_BYTES + length);
        let put_head = |out: &mut BytesMut| {
            out.put_u8(0);
            out.put_u32(length as u32);
            message.put_head(out);
        };
        if length <= EVENT_COPIED_BYTES_MAX {
            let write = |out: &mut BytesMut| {
                put_head(out);
                message.events().for_each(|event| out.extend_from_slice(event));
            };
            self.respond.send_with(write).map_err(|_| Gone)?;
        } else {
            self.in_pieces(message, put_head).map_err(|_| Gone)?;
        }
        self.link.meters().sent(self.method);
        Ok(())
    }

    fn give_back(&mut self, stream: WatchStream, bytes: usize) {
        // One message of the stream at most is on its way.
        self.link.front.watch_sent(stream, bytes);
    }

    async fn gone(&mut self) {
        poll_fn(|cx| self.respond.poll_reset(cx)).await;
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
    let room = || link.front.room_to_make(&link.account, &link.drained);
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
