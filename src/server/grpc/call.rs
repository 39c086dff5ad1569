//! One call: admission, its message, its answer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_lite::future::or;
use prost::Message;

use super::gzip;
use super::head::Head;
use super::incoming::{Body, Incoming};
use super::link::Link;
use super::respond::Respond;
use super::stream;
use crate::budget::Charge;
use crate::limits::CALL_BYTES;
use crate::member::Answer;
use crate::protocol::convert::{self, Pieces};
use crate::protocol::grpc::{Encoding, PREFIX_BYTES, Packed, encode_message};
use crate::protocol::method::{Kind, Method, Served};
use crate::protocol::status::{self, Status, code};
use crate::rt;
use crate::server::meters::add;
use crate::server::reads::Reading;
use crate::server::streams::{Inlet, Said};
use crate::server::waiters::Waiter;
use crate::server::{concurrency, health};
use crate::types::{Nanos, Refusal, Reply, Request};

/// Encoded answers are cut off buffers of this size.
const ENCODE_CHUNK_BYTES: usize = 64 << 10;

/// Bytes of an answer that is written straight into the output. A larger one is made by itself, so
/// that it is not copied again when it has to wait there.
const SMALL_BYTES: usize = 12 << 10;

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

    pub(in crate::server) fn answer(self, answer: Answer) {
        let UnaryCall { link, method, respond, reading, .. } = self;
        link.was_answered();
        if let (Some(reading), Ok(reply)) = (reading, &answer) {
            reading.came_to(reply.own_bytes());
        }
        match answer {
            Ok(reply) if Pieces::is_due(&reply) => link.put_large(method, respond, reply),
            Ok(reply) if link.has_room_for_answers() => send_reply(&link, method, respond, &reply),
            Ok(reply) => link.postpone(method, respond, reply),
            Err(refusal) => refuse(&link, Some(method), respond, &status::of(&refusal)),
        }
    }
}

/// A call that has come.
pub(super) struct Arrived {
    pub(super) now: Nanos,
    pub(super) head: Head,
    pub(super) stream: u32,
}

impl Arrived {
    /// Begins the call with what has come of its body, and what will.
    pub(super) fn start(self, link: &Rc<Link>, body: Rc<Body>) {
        let Some((admitted, respond)) = self.admit(link) else { return };
        let Arrived { now, head, stream } = admitted;
        let method = head.method;
        let deadline = head.timeout.map(|timeout| deadline(now, timeout));
        let mut incoming = Incoming::new(link, head, stream, body);
        if method.kind() == Kind::Bidi {
            let respond = respond.with_body(&incoming.body);
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
            polled => {
                let receiving = receive(link.clone(), incoming, polled, deadline, respond);
                rt::spawn(receiving).detach();
            }
        }
    }

    /// Begins a call whose one message, which is not compressed, has come whole.
    pub(super) fn start_whole(self, link: &Rc<Link>, message: &[u8]) {
        let Some((Arrived { now, head, .. }, respond)) = self.admit(link) else { return };
        let deadline = head.timeout.map(|timeout| deadline(now, timeout));
        // A request keeps what it needs of the bytes, and not the buffer that was read.
        let message = Bytes::copy_from_slice(message);
        proceed(link, now, head.method, deadline, Ok(message), respond);
    }

    /// Counts the call, and refuses it if that needs no look at its body.
    fn admit(self, link: &Rc<Link>) -> Option<(Arrived, Respond)> {
        let Head { method, encoding, requires_leader, .. } = self.head;
        link.meters().started(method);
        let is_stream = method.kind() != Kind::Unary;
        link.front.settings.figures.client_request(is_stream, self.head.api_version.as_deref());
        let respond = Respond::new(link, self.stream, encoding);
        let refusal = match method.served() {
            Served::NotYet => method.unimplemented(),
            _ if requires_leader && !link.front.has_leader() => Refusal::NoLeader,
            _ => return Some((self, respond)),
        };
        refuse(link, Some(method), respond, &status::of(&refusal));
        None
    }
}

/// The one message of a body that is whole, if it is not compressed.
pub(super) fn plain_message(body: &[u8]) -> Option<&[u8]> {
    let (&[format, a, b, c, d], message) = body.split_first_chunk::<PREFIX_BYTES>()?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    (format == 0 && message.len() == length).then_some(message)
}

/// Waits for the rest of a call's message.
async fn receive(
    link: Rc<Link>,
    mut incoming: Incoming,
    polled: Poll<Result<Packed, Said>>,
    deadline: Option<Nanos>,
    respond: Respond,
) {
    let method = incoming.head.method;
    let timeout = incoming.head.timeout.unwrap_or(Duration::MAX);
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
            Ok(reply) => {
                send_unary(link, method, respond, reply.encoded_len(), |out| append(out, &reply))
            }
            Err(status) => refuse(link, Some(method), respond, &status),
        },
        Method::HealthList => match health::list(&message) {
            Ok(reply) => {
                send_unary(link, method, respond, reply.encoded_len(), |out| append(out, &reply))
            }
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
    let (link, stream) = (call.link.clone(), call.respond.stream());
    let waiter = Waiter::Grpc(call);
    link.front.submit(now, request, deadline, waiter, |ticket| link.asks_core(stream, ticket));
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
            send_unary(&link, method, respond, reply.len(), |out| out.extend_from_slice(&reply));
        }
        Some(Err(status)) => refuse(&link, Some(method), respond, &status),
        None => link.meters().handled(method, code::CANCELED),
    }
}

pub(super) fn send_reply(link: &Rc<Link>, method: Method, respond: Respond, reply: &Reply) {
    let header = link.front.header();
    let bytes = reply.bytes();
    send_unary(link, method, respond, bytes, |out| convert::encode(&header, reply, out));
}

/// Sends headers, one message of about so many bytes, and the status OK. That the client is gone is
/// no error of ours.
fn send_unary(
    link: &Rc<Link>,
    method: Method,
    respond: Respond,
    bytes: usize,
    write_message: impl FnOnce(&mut BytesMut),
) {
    if bytes <= SMALL_BYTES && respond.encoding() == Encoding::Identity {
        link.meters().handled(method, code::OK);
        let mut sent = 0;
        respond.unary_with(|out| {
            let start = out.len();
            // A few times as large at most as it was thought to be, it is far below the limit.
            let written = encode_message(out, write_message);
            assert!(written.is_ok(), "a message above the limit of gRPC was said to be small");
            sent = out.len() - start;
        });
        return link.sent(sent);
    }
    let bytes = match encode(link, write_message) {
        Ok(bytes) => bytes,
        Err(status) => return refuse(link, Some(method), respond, &status),
    };
    link.meters().handled(method, code::OK);
    match respond.encoding() {
        Encoding::Identity => respond.unary(bytes),
        Encoding::Gzip => {
            let charge = link.account.charge(bytes.len());
            rt::spawn(async move {
                let packed = gzip::pack(bytes).await;
                drop(charge);
                respond.unary(packed);
            })
            .detach();
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
