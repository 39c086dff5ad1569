//! One call: admission, its message, its answer.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::future::or;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request as HttpRequest;
use prost::Message;
use rustc_hash::FxHashSet;

use super::gzip;
use super::head::Head;
use super::io::Wire;
use super::resets::{OnReset, Resets};
use super::respond::Respond;
use super::stream;
use crate::budget::{Account, Charge};
use crate::limits::{
    CALL_BYTES, CONNECTION_BYTES_MAX, CONNECTION_OUTPUT_BYTES_MAX, CONNECTION_PARTIAL_BYTES_MAX,
    CONNECTION_REQUESTS_MAX, REQUEST_OVERHEAD_BYTES,
};
use crate::member::{Answer, Ticket};
use crate::protocol::convert::{self, HeaderFields, Pieces};
use crate::protocol::grpc::{Encoding, MessageReader, PREFIX_BYTES, Packed, encode_message};
use crate::protocol::method::{Kind, Method, Served};
use crate::protocol::status::{self, Status, code};
use crate::rt::{self, WaitList, WaitPlace};
use crate::server::front::Front;
use crate::server::large::Large;
use crate::server::meters::{Meters, add};
use crate::server::reads::{Reading, Reads};
use crate::server::signal::Signal;
use crate::server::streams::{Inlet, Said};
use crate::server::waiters::Waiter;
use crate::server::{concurrency, health};
use crate::types::{Nanos, Refusal, Reply, Request};

/// Encoded answers are cut off buffers of this size.
const ENCODE_CHUNK_BYTES: usize = 64 << 10;

/// The state that the calls of one connection share.
pub(super) struct Link {
    pub(super) front: Rc<Front>,
    remote: SocketAddr,
    pub(super) wire: Rc<Wire>,
    under_way: RefCell<FxHashSet<Ticket>>,
    /// The connection's account of the member's memory.
    pub(super) account: Rc<Account>,
    reads: Rc<Reads>,
    /// Bytes of answers that h2 holds.
    owed: Rc<Cell<usize>>,
    /// Bytes of streams that h2 holds. They have a bound of their own: streams would wait for as
    /// long as there are large answers otherwise.
    streamed: Rc<Cell<usize>>,
    /// Answers for which there is no room yet. They share keys and values with the store, so they
    /// are small however much they will be as bytes.
    postponed: RefCell<VecDeque<(Method, Respond, Reply, Charge)>>,
    /// Answers that are sent in pieces, and whether a task is at it.
    large: RefCell<VecDeque<(Method, Respond, Large)>>,
    sends_large: Cell<bool>,
    /// Bytes of messages that are not all there.
    partial: Cell<usize>,
    /// Something was sent: there may be room for more.
    pub(super) drained: WaitList,
    /// Raised when the connection is gone.
    pub(super) lost: Signal,
    resets: Arc<Resets>,
    last_stream: Cell<u32>,
}

impl Link {
    /// Bytes of unfinished requests that the connection may have sent: of one request at least.
    fn partial_bytes_max(&self) -> usize {
        let largest = self.front.settings.request_bytes_max + 2 * REQUEST_OVERHEAD_BYTES;
        largest.max(CONNECTION_PARTIAL_BYTES_MAX)
    }

    pub(super) fn new(front: Rc<Front>, wire: Rc<Wire>, remote: SocketAddr) -> Rc<Link> {
        Rc::new(Link {
            account: wire.account().clone(),
            reads: Rc::default(),
            remote,
            front,
            wire,
            under_way: RefCell::default(),
            owed: Rc::default(),
            streamed: Rc::default(),
            postponed: RefCell::default(),
            large: RefCell::default(),
            sends_large: Cell::new(false),
            partial: Cell::new(0),
            drained: WaitList::new(),
            lost: Signal::default(),
            resets: Arc::new(Resets::default()),
            last_stream: Cell::new(0),
        })
    }

    pub(super) fn meters(&self) -> &Meters {
        self.front.meters()
    }

    pub(super) fn header(&self) -> HeaderFields {
        self.front.header()
    }

    pub(super) fn scratch(&self) -> RefMut<'_, BytesMut> {
        self.front.scratch()
    }

    /// Whether streams may hand more to h2: half as much as answers of one message may.
    pub(super) fn has_room_for_streams(&self) -> bool {
        self.streamed.get() < CONNECTION_OUTPUT_BYTES_MAX / 2
    }

    /// Whether a piece of a large answer may be handed to h2.
    pub(super) fn has_room_for_pieces(&self) -> bool {
        self.owed.get() < CONNECTION_OUTPUT_BYTES_MAX / 2
    }

    /// Bytes of messages go out.
    pub(super) fn sent(&self, bytes: usize) {
        add(&self.meters().sent_bytes, bytes as u64);
    }

    /// Whether further calls are accepted.
    pub(super) fn has_room(&self) -> bool {
        let answers = self.postponed.borrow().len() + self.large.borrow().len();
        let requests = self.under_way.borrow().len() + answers;
        requests < CONNECTION_REQUESTS_MAX
            && self.owed.get() < CONNECTION_OUTPUT_BYTES_MAX
            // Messages that are not all there have a bound of their own.
            && self.account.held() - self.partial.get() < CONNECTION_BYTES_MAX
            && self.reads.has_room()
            && self.may_read()
    }

    /// Whether the member's budget lets more of the connection be taken in.
    pub(super) fn may_read(&self) -> bool {
        self.account.may_read(self.partial.get())
    }

    /// Whether some call is still to be answered by the core.
    pub(super) fn waits_for_core(&self) -> bool {
        !self.under_way.borrow().is_empty()
    }

    /// Has an answer of many keys sent in pieces.
    fn put_large(self: &Rc<Link>, method: Method, respond: Respond, reply: Reply) {
        let reply = Large::charged(&self.header(), reply, &self.account);
        self.large.borrow_mut().push_back((method, respond, reply));
        if !self.sends_large.replace(true) {
            rt::spawn(stream::send_large(self.clone())).detach();
        }
    }

    /// The next of them, for the task that sends them.
    pub(super) fn next_large(&self) -> Option<(Method, Respond, Large)> {
        let next = self.large.borrow_mut().pop_front();
        self.sends_large.set(next.is_some());
        next
    }

    /// Encodes postponed answers while there is room; `true` if there were any.
    pub(super) fn send_postponed(self: &Rc<Link>) -> bool {
        let mut sent = false;
        while self.owed.get() < CONNECTION_OUTPUT_BYTES_MAX {
            let Some((method, respond, reply, _)) = self.postponed.borrow_mut().pop_front() else {
                break;
            };
            send_reply(self, method, respond, &reply);
            sent = true;
        }
        sent
    }

    /// The newest stream that was accepted.
    pub(super) fn last_stream(&self) -> u32 {
        self.last_stream.get()
    }

    /// Names the task that resets wake.
    pub(super) fn driven_by(&self, waker: &Waker) {
        self.resets.lock().driver.clone_from(&Some(waker.clone()));
    }

    /// Cancels the calls that clients have reset since the last time.
    pub(super) fn reap_resets(&self) {
        let fired = std::mem::take(&mut self.resets.lock().fired);
        for ticket in fired {
            self.watch_reset(ticket);
        }
    }

    /// Cancels the call if its client has reset it; otherwise asks to be woken then.
    fn watch_reset(&self, ticket: Ticket) {
        let waker = Waker::from(Arc::new(OnReset { ticket, resets: self.resets.clone() }));
        let is_reset = self.front.with_waiter(ticket, |waiter| match waiter {
            Waiter::Grpc(call) => {
                call.respond.poll_reset(&mut Context::from_waker(&waker)).is_ready()
            }
            Waiter::Frames { .. } | Waiter::Task(_) => false,
        });
        if is_reset == Some(true) {
            self.cancel(ticket);
        }
    }

    fn cancel(&self, ticket: Ticket) {
        self.under_way.borrow_mut().remove(&ticket);
        if let Some(method) = self.front.with_waiter(ticket, |waiter| waiter.method()) {
            self.front.cancel(ticket);
            if let Some(method) = method {
                self.front.meters().handled(method, code::CANCELED);
            }
        }
    }

    /// The connection is gone.
    pub(super) fn cancel_all(&self) {
        let under_way = std::mem::take(&mut *self.under_way.borrow_mut());
        #[expect(clippy::iter_over_hash_type, reason = "all are cancelled, in any order")]
        for ticket in under_way {
            self.cancel(ticket);
        }
        self.postponed.borrow_mut().clear();
        self.large.borrow_mut().clear();
        self.resets.lock().driver = None;
        self.lost.raise();
        self.drained.wake_all();
    }
}

/// A unary call that waits for the core.
pub(in crate::server) struct UnaryCall {
    link: Rc<Link>,
    pub(in crate::server) method: Method,
    respond: Respond,
    /// The charge for the request.
    _charge: Charge,
    reading: Option<Reading>,
}

impl UnaryCall {
    pub(in crate::server) fn remote(&self) -> SocketAddr {
        self.link.remote
    }

    pub(in crate::server) fn answer(self, ticket: Ticket, answer: Answer) {
        self.link.under_way.borrow_mut().remove(&ticket);
        let UnaryCall { link, method, respond, reading, .. } = self;
        if let (Some(reading), Ok(reply)) = (reading, &answer) {
            reading.came_to(reply.own_bytes());
        }
        match answer {
            Ok(reply) if Pieces::is_due(&reply) => link.put_large(method, respond, reply),
            Ok(reply) if link.owed.get() < CONNECTION_OUTPUT_BYTES_MAX => {
                send_reply(&link, method, respond, &reply);
            }
            Ok(reply) => {
                let charge = link.account.charge(reply.bytes());
                link.postponed.borrow_mut().push_back((method, respond, reply, charge));
            }
            Err(refusal) => refuse(&link, Some(method), respond, &status::of(&refusal)),
        }
    }
}

fn send_reply(link: &Rc<Link>, method: Method, respond: Respond, reply: &Reply) {
    let header = link.front.header();
    send_unary(link, method, respond, |out| convert::encode(&header, reply, out));
}

/// Bytes that h2 is to send; they count as owed until it has sent or dropped them.
pub(super) struct Payload {
    bytes: Bytes,
    owed: Rc<Cell<usize>>,
    charge: Charge,
}

impl Payload {
    /// An answer of one message.
    pub(super) fn new(link: &Link, bytes: Bytes) -> Payload {
        Payload::counted(bytes, link, &link.owed)
    }

    /// A piece of a stream's messages.
    pub(super) fn of_stream(link: &Link, bytes: Bytes) -> Payload {
        Payload::counted(bytes, link, &link.streamed)
    }

    fn counted(bytes: Bytes, link: &Link, owed: &Rc<Cell<usize>>) -> Payload {
        let charge = link.account.charge(bytes.len());
        owed.set(owed.get() + charge.bytes());
        Payload { bytes, owed: owed.clone(), charge }
    }

    /// All of it, shared.
    pub(super) fn whole(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.owed.set(self.owed.get() - self.charge.bytes());
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        self.bytes.copy_to_bytes(count)
    }
}

/// A call that has arrived and is not begun.
pub(super) struct Arrived {
    now: Nanos,
    head: Head,
    body: RecvStream,
    respond: Respond,
}

impl Arrived {
    /// The call of `request`, unless it is refused at once.
    pub(super) fn of(
        link: &Link,
        request: HttpRequest<RecvStream>,
        respond: SendResponse<Payload>,
    ) -> Option<Arrived> {
        link.last_stream.set(link.last_stream.get().max(respond.stream_id().as_u32()));
        let (parts, body) = request.into_parts();
        match Head::of(&parts) {
            Ok(head) => {
                let respond = Respond::new(respond, head.encoding);
                Some(Arrived { now: rt::now(), head, body, respond })
            }
            Err(rejection) => {
                Respond::new(respond, Encoding::Identity).reject(&rejection);
                None
            }
        }
    }

    /// Begins the call: answers it, submits it, or gives it a task.
    pub(super) fn start(self, link: &Rc<Link>) {
        let Arrived { now, head, body, respond } = self;
        let method = head.method;
        link.meters().started(method);
        let is_stream = method.kind() != Kind::Unary;
        link.front.settings.figures.client_request(is_stream, head.api_version());
        start(link, now, head, body, respond);
    }
}

fn start(link: &Rc<Link>, now: Nanos, head: Head, body: RecvStream, respond: Respond) {
    let method = head.method;
    if method.served() == Served::NotYet {
        return refuse(link, Some(method), respond, &status::of(&method.unimplemented()));
    }
    if head.requires_leader && !link.front.has_leader() {
        return refuse(link, Some(method), respond, &status::of(&Refusal::NoLeader));
    }
    let deadline = head.timeout.map(|timeout| deadline(now, timeout));
    let mut incoming = Incoming::new(link.clone(), head, body);
    if method.kind() == Kind::Bidi {
        return stream::start_bidi(link, now, incoming, respond);
    }
    let polled = incoming.poll_packed(&mut Context::from_waker(Waker::noop()));
    match polled {
        Poll::Ready(Ok(Packed { bytes, is_compressed: false })) => {
            proceed(link, now, method, deadline, Ok(bytes), respond);
        }
        Poll::Ready(Err(said)) => {
            let message = incoming.only(said);
            proceed(link, now, method, deadline, message, respond);
        }
        Poll::Ready(Ok(_)) | Poll::Pending => {
            let link = link.clone();
            let timeout = incoming.head.timeout.unwrap_or(Duration::MAX);
            let task = async move {
                let reading = async {
                    let said = match polled {
                        Poll::Ready(Ok(packed)) => incoming.unpack(packed).await,
                        _ => incoming.next().await,
                    };
                    incoming.only(said)
                };
                // No rest of a request is waited for once the server stops.
                let stopping = async {
                    link.front.closing().wait().await;
                    Err(Some(status::of(&Refusal::Stopped)))
                };
                let reading = or(reading, stopping);
                let late = || Err(Some(status::of(&Refusal::DeadlineExceeded)));
                let message = within_maybe(timeout, reading).await.unwrap_or_else(late);
                proceed(&link, rt::now(), method, deadline, message, respond);
            };
            rt::spawn(task).detach();
        }
    }
}

async fn within_maybe<T>(timeout: Duration, future: impl Future<Output = T>) -> Option<T> {
    match timeout == Duration::MAX {
        true => Some(future.await),
        false => rt::within(timeout, future).await,
    }
}

pub(super) fn deadline(now: Nanos, timeout: Duration) -> Nanos {
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    Nanos(now.0.saturating_add(timeout))
}

/// A call's messages on their way in.
pub(super) struct Incoming {
    link: Rc<Link>,
    pub(super) head: Head,
    body: RecvStream,
    reader: MessageReader,
    /// The charge for what has come and is not a whole message yet.
    held: Charge,
    /// The place in which it waits for room in the budget.
    place: WaitPlace,
    /// Runs while the client owes a part of a message.
    stall: Option<rt::Sleep>,
}

impl Incoming {
    fn new(link: Rc<Link>, head: Head, body: RecvStream) -> Incoming {
        let settings = &link.front.settings;
        let reader = MessageReader::new(settings.request_bytes_max + REQUEST_OVERHEAD_BYTES);
        let held = link.account.charge(0);
        Incoming { link, head, body, reader, held, place: WaitPlace::default(), stall: None }
    }

    /// The message of a call that has one; `Err(None)` if the client has gone.
    fn only(&self, said: Said) -> Result<Bytes, Option<Status>> {
        let (code, text) = match said {
            Said::Message(message) => return Ok(message),
            Said::Broken(status) => return Err(Some(status)),
            Said::Gone => return Err(None),
            Said::End if self.head.method.kind() == Kind::Unary => (code::UNKNOWN, "EOF"),
            Said::End => (
                code::INTERNAL,
                "cardinality violation: received no request message from non-client-streaming RPC",
            ),
        };
        Err(Some(Status::new(code, text)))
    }

    /// The next message as it came, or what came in its place.
    fn poll_packed(&mut self, cx: &mut Context<'_>) -> Poll<Result<Packed, Said>> {
        loop {
            match self.reader.next_message(self.head.encoding) {
                Ok(Some(message)) => {
                    let rest = self.held.bytes().saturating_sub(message.bytes.len() + PREFIX_BYTES);
                    self.hold(rest);
                    return Poll::Ready(Ok(message));
                }
                Ok(None) => {}
                Err(status) => return Poll::Ready(Err(Said::Broken(status))),
            }
            if self.link.partial.get() > self.link.partial_bytes_max() {
                return Poll::Ready(Err(Said::Broken(too_much_unfinished())));
            }
            let may_read = self.link.may_read();
            if !may_read {
                // What has come stays with h2, which does not let the client send more than that.
                // It is looked at only to tell a client that owes the rest from one that waits.
                self.link.front.wait_for_budget(&mut self.place, cx);
                ready!(self.poll_stall(cx));
            }
            let piece = match self.body.poll_data(cx) {
                Poll::Ready(Some(Ok(piece))) => piece,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Said::Gone)),
                Poll::Ready(None) => return Poll::Ready(Err(self.end())),
                Poll::Pending => {
                    if may_read {
                        ready!(self.poll_stall(cx));
                    }
                    match self.link.wire.was_read(rt::now(), self.link.front.settings.stall) {
                        true => return Poll::Ready(Err(Said::Broken(stalled()))),
                        false => continue,
                    }
                }
            };
            self.stall = None;
            // Refused only when the stream is gone, which the next poll tells.
            let _ = self.body.flow_control().release_capacity(piece.len());
            self.hold(self.held.bytes() + piece.len());
            self.reader.push(piece);
        }
    }

    /// Ready when nothing of the message has been taken for as long as its client may owe the rest,
    /// and every such time again. On a stream of many messages it owes nothing between two of them.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.head.method.kind() == Kind::Bidi && !self.reader.is_begun() {
            return Poll::Pending;
        }
        let limit = self.link.front.settings.stall;
        let stall = self.stall.get_or_insert_with(|| rt::sleep(limit));
        ready!(Pin::new(stall).poll(cx));
        self.stall = None;
        Poll::Ready(())
    }

    /// Reads the end of the body: it must not come inside a message.
    fn end(&self) -> Said {
        if !self.reader.is_inside_message() {
            return Said::End;
        }
        // Go's server makes a difference.
        let code = match self.head.method.kind() {
            Kind::Unary => code::UNKNOWN,
            _ => code::INTERNAL,
        };
        Said::Broken(Status::new(code, "unexpected EOF"))
    }

    /// The message itself.
    async fn unpack(&mut self, packed: Packed) -> Said {
        if !packed.is_compressed {
            return Said::Message(packed.bytes);
        }
        let held = self.held.bytes();
        let bytes_max = self.reader.message_bytes_max();
        let unpacking = gzip::unpack(packed.bytes, bytes_max, |bytes| {
            self.hold(held + bytes);
            match self.link.partial.get() > self.link.partial_bytes_max() {
                true => Err(too_much_unfinished()),
                false => Ok(()),
            }
        });
        let unpacked = unpacking.await;
        self.hold(held);
        unpacked.map_or_else(Said::Broken, Said::Message)
    }

    /// Counts the bytes that are not a whole message yet.
    fn hold(&mut self, bytes: usize) {
        let others = self.link.partial.get() - self.held.bytes();
        self.held.resize(bytes);
        self.link.partial.set(others + bytes);
        if others + bytes == 0 {
            self.link.account.return_pass();
        }
    }
}

impl Inlet for Incoming {
    async fn next(&mut self) -> Said {
        let link = self.link.clone();
        // While the budget is full, nothing is taken of the body, and so not its end.
        let lost = async {
            link.lost.wait().await;
            Err(Said::Gone)
        };
        match or(lost, poll_fn(|cx| self.poll_packed(cx))).await {
            Ok(packed) => self.unpack(packed).await,
            Err(said) => said,
        }
    }
}

fn stalled() -> Status {
    Status::new(code::DEADLINE_EXCEEDED, "braid: the rest of the request did not come")
}

fn too_much_unfinished() -> Status {
    let text = "braid: too many unfinished requests on this connection";
    Status::new(code::RESOURCE_EXHAUSTED, text)
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.hold(0);
        self.link.front.leave_budget(&mut self.place);
    }
}

/// The message is there, or is not to be had.
fn proceed(
    link: &Rc<Link>,
    now: Nanos,
    method: Method,
    deadline: Option<Nanos>,
    message: Result<Bytes, Option<Status>>,
    respond: Respond,
) {
    let message = match message {
        Ok(message) => message,
        Err(Some(status)) => return refuse(link, Some(method), respond, &status),
        Err(None) => return link.meters().handled(method, code::CANCELED),
    };
    add(&link.meters().received_bytes, message.len() as u64);
    match method {
        Method::HealthCheck => match health::check(&message) {
            Ok(reply) => send_unary(link, method, respond, |out| append(out, &reply)),
            Err(status) => refuse(link, Some(method), respond, &status),
        },
        Method::HealthList => match health::list(&message) {
            Ok(reply) => send_unary(link, method, respond, |out| append(out, &reply)),
            Err(status) => refuse(link, Some(method), respond, &status),
        },
        Method::HealthWatch => {
            let watch = stream::health_watch(link.clone(), message, respond);
            rt::spawn(watch).detach();
        }
        Method::Observe => {
            let observing = stream::observe(link.clone(), message, deadline, respond);
            rt::spawn(observing).detach();
        }
        _ if method.served() == Served::Composed => {
            let composing = compose(link.clone(), method, message, deadline, respond);
            rt::spawn(composing).detach();
        }
        _ => match decode_charged(link, method, message) {
            Err(refusal) => {
                let refusal = link.front.refusal_of_malformed(method, refusal);
                refuse(link, Some(method), respond, &status::of(&refusal));
            }
            Ok((request, charge)) if method.kind() == Kind::Unary => {
                let reading = request.gathers().then(|| link.reads.begin(&link.account));
                let link = link.clone();
                let call = UnaryCall { link, method, respond, _charge: charge, reading };
                submit(now, deadline, request, call);
            }
            Ok((request, _)) => {
                let streaming =
                    stream::stream_range(link.clone(), method, deadline, request, respond);
                rt::spawn(streaming).detach();
            }
        },
    }
}

/// The request, and what the connection holds for it.
fn decode_charged(
    link: &Link,
    method: Method,
    message: Bytes,
) -> Result<(Request, Charge), Refusal> {
    let charge = link.account.charge(message.len() + CALL_BYTES);
    let request = convert::decode(method, message, &link.front.settings.limits)?;
    Ok((request, charge))
}

fn submit(now: Nanos, deadline: Option<Nanos>, request: Request, call: UnaryCall) {
    let link = call.link.clone();
    let waiter = Waiter::Grpc(call);
    let mut submitted = None;
    link.front.submit(now, request, deadline, waiter, |ticket| {
        link.under_way.borrow_mut().insert(ticket);
        submitted = Some(ticket);
    });
    // Answered already, it is nobody's any more.
    let ticket = submitted.expect("every request gets a ticket");
    link.watch_reset(ticket);
}

/// A call that takes more than one request to the core.
async fn compose(
    link: Rc<Link>,
    method: Method,
    message: Bytes,
    deadline: Option<Nanos>,
    mut respond: Respond,
) {
    let _handling = link.front.handling(method);
    // Such a call may last: it keeps no more than it needs of what was read.
    let message = Bytes::copy_from_slice(&message);
    let _charge = link.account.charge(message.len() + CALL_BYTES);
    let calling = async { Some(concurrency::call(&link.front, method, message, deadline).await) };
    let reset = poll_fn(|cx| respond.poll_reset(cx).map(|_| None));
    let lost = async {
        link.lost.wait().await;
        None
    };
    match or(or(lost, reset), calling).await {
        Some(Ok(reply)) => {
            send_unary(&link, method, respond, |out| out.extend_from_slice(&reply));
        }
        Some(Err(status)) => refuse(&link, Some(method), respond, &status),
        None => link.meters().handled(method, code::CANCELED),
    }
}

/// Sends headers, one message and the status OK. That the client is gone is no error of ours.
fn send_unary(
    link: &Rc<Link>,
    method: Method,
    respond: Respond,
    write_message: impl FnOnce(&mut BytesMut),
) {
    let bytes = match encode(link, write_message) {
        Ok(bytes) => bytes,
        Err(status) => return refuse(link, Some(method), respond, &status),
    };
    link.meters().handled(method, code::OK);
    let payload = Payload::new(link, bytes);
    match respond.encoding() {
        Encoding::Identity => respond.unary(payload),
        Encoding::Gzip => {
            let link = link.clone();
            let packing = async move {
                let packed = gzip::pack_counted(&link, payload).await;
                respond.unary(packed);
            };
            rt::spawn(packing).detach();
        }
    }
}

/// Makes room for a message.
pub(super) fn prepare(scratch: &mut BytesMut) {
    if scratch.capacity() < PREFIX_BYTES + 512 {
        *scratch = BytesMut::with_capacity(ENCODE_CHUNK_BYTES);
    }
}

/// One message with its prefix.
pub(super) fn encode(
    link: &Link,
    write_message: impl FnOnce(&mut BytesMut),
) -> Result<Bytes, Status> {
    let mut scratch = link.scratch();
    prepare(&mut scratch);
    encode_message(&mut scratch, write_message)?;
    let bytes = scratch.split().freeze();
    link.sent(bytes.len());
    Ok(bytes)
}

pub(super) fn append(out: &mut BytesMut, message: &impl Message) {
    message.encode(out).expect("a BytesMut grows");
}

pub(super) fn refuse(link: &Link, method: Option<Method>, respond: Respond, status: &Status) {
    if let Some(method) = method {
        link.meters().handled(method, status.code);
    }
    respond.refuse(status);
}
