//! The task of a connection: it reads, has frames taken, starts calls and writes.
//!
//! Its work in one turn is counted (`turn`), in bytes read and in the work of each frame. Output is
//! gathered in one buffer, and leaves in one write when there is nothing more to be taken.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::call::{Arrived, plain_message};
use super::get::{Counted, Gets};
use super::head::RequestHead;
use super::incoming::Body;
use super::link::{Called, Link};
use super::respond::Respond;
use crate::http2::frame::{PREFACE, Reason};
use crate::http2::{Broken, Config, Connection, Event};
use crate::limits::{CONNECTION_STREAMS_MAX, WRITE_BYTES_MAX};
use crate::protocol::grpc::Encoding;
use crate::protocol::method::Kind;
use crate::rt::{self, TcpStream, WaitPlace};
use crate::server::frames::{LINGER_TIMEOUT, linger};
use crate::server::front::Front;
use crate::server::meters::{Gauge, add};
use crate::server::pulse::{Owed, Pulse};
use crate::server::settings::Keepalive;
use crate::server::turn::Turn;
use crate::types::Nanos;

/// The time that a client may take for its preface, and to read what is sent before a close.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Windows for throughput. What a client may send before its calls take it is not counted as held,
/// so that of the connection is no larger than a large request or two.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;
/// Headers of one request at most, as HTTP/2 counts them.
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;

/// Bytes of output up to which what waits in streams is moved there.
const FILL_BYTES: usize = 256 << 10;

/// Serves HTTP/2 until the connection ends. `input` is what was read already.
pub(in crate::server) async fn serve(
    front: &Rc<Front>,
    stream: Rc<TcpStream>,
    pulse: Rc<Pulse>,
    mut input: BytesMut,
) -> io::Result<()> {
    let _counted = Gauge::up(&front.meters().connections_grpc);
    let greeting = async {
        while input.len() < PREFACE.len() && PREFACE.starts_with(&input) {
            if stream.read(&mut input).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let shut = async {
        front.closing().wait().await;
        Ok(false)
    };
    let greeting = futures_lite::future::or(greeting, shut);
    if !rt::within(HANDSHAKE_TIMEOUT, greeting).await.unwrap_or(Ok::<_, io::Error>(false))? {
        return Ok(());
    }
    let keepalive = front.settings.keepalive;
    let http2 = Connection::new(config(front.settings.streams_max, keepalive));
    let link = Link::new(front.clone(), pulse, http2, stream.peer());
    let mut driver = Driver {
        beat: Beat::new(keepalive),
        link: link.clone(),
        turn: Turn::new(&front.settings.figures),
        stream,
        input,
        sent: 0,
        sent_bytes: 0,
        waiting: VecDeque::new(),
        place: WaitPlace::default(),
        closing: None,
    };
    let result = {
        let mut raised = std::pin::pin!(front.closing().wait());
        poll_fn(|cx| driver.poll(cx, raised.as_mut())).await
    };
    driver.waiting.clear();
    link.cancel_all();
    match result {
        Ok(()) => Ok(()),
        Err(End::Io(error)) => Err(error),
        Err(End::SentAway { reason, text }) => {
            add(&front.meters().connections_refused, 1);
            tracing::debug!(peer = %link.remote, text, "a client was sent away");
            link.http2_mut().go_away(reason, text);
            rt::within(CLOSE_TIMEOUT, driver.flush()).await;
            driver.stream.shut_down(Shutdown::Write);
            rt::within(LINGER_TIMEOUT, linger(&driver.stream)).await;
            Ok(())
        }
    }
}

fn config(streams_max: u32, keepalive: Keepalive) -> Config {
    let announced = Some(streams_max).filter(|max| !matches!(max, 0 | &u32::MAX));
    Config {
        streams_max: announced.unwrap_or(CONNECTION_STREAMS_MAX).min(CONNECTION_STREAMS_MAX),
        tells_streams_max: announced.is_some(),
        stream_window: STREAM_WINDOW_BYTES,
        connection_window: CONNECTION_WINDOW_BYTES,
        header_list_bytes_max: HEADER_LIST_BYTES_MAX,
        ping_interval_min: keepalive.ping_interval_min,
    }
}

/// The reason for which a connection ended other than by agreement.
enum End {
    /// Because of what it did, which it is to be told.
    SentAway {
        reason: Reason,
        text: &'static str,
    },
    Io(io::Error),
}

impl From<Broken> for End {
    fn from(Broken { reason, text }: Broken) -> End {
        End::SentAway { reason, text }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Io(error)
    }
}

struct Driver {
    link: Rc<Link>,
    stream: Rc<TcpStream>,
    /// The turn of the reader.
    turn: Turn,
    /// Bytes that were read and are not taken.
    input: BytesMut,
    /// Bytes that were sent in this turn, and since the beginning.
    sent: usize,
    sent_bytes: u64,
    beat: Option<Beat>,
    /// Calls for which there is no room yet.
    waiting: VecDeque<(Arrived, Rc<Body>)>,
    /// The place in which it waits for room in the budget.
    place: WaitPlace,
    /// The last of the connection, once it is to end.
    closing: Option<Closing>,
}

impl Driver {
    /// One turn: everything that came, everything to be sent.
    fn poll<S: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        raised: Pin<&mut S>,
    ) -> Poll<Result<(), End>> {
        self.link.drives(cx.waker());
        self.turn.begin();
        self.sent = 0;
        let polled = self.poll_turn(cx, raised);
        self.link.count_unsent();
        self.link.rests();
        polled
    }

    fn poll_turn<S: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        mut raised: Pin<&mut S>,
    ) -> Poll<Result<(), End>> {
        loop {
            if let Poll::Ready(read) = self.poll_input(cx) {
                read?;
                // The client has left, or has only said its last: what is made is sent.
                let _ = self.poll_send(cx);
                return Poll::Ready(Ok(()));
            }
            if self.closing.is_none() && raised.as_mut().poll(cx).is_ready() {
                self.closing = Some(Closing::new());
                self.link.http2_mut().shut_down();
            }
            let waits = self.link.waits_for_core();
            if let Some(closing) = &mut self.closing
                && closing.poll(cx, self.sent_bytes, waits).is_ready()
            {
                return Poll::Ready(Ok(()));
            }
            let now = rt::now();
            if self.link.http2_mut().pinged_too_much(now) {
                let (reason, text) = (Reason::ENHANCE_YOUR_CALM, "too_many_pings");
                return Poll::Ready(Err(End::SentAway { reason, text }));
            }
            if let Some(beat) = &mut self.beat
                && beat.poll(cx, now, &self.link).is_ready()
            {
                let error = io::Error::new(io::ErrorKind::TimedOut, "keepalive ping timeout");
                return Poll::Ready(Err(End::Io(error)));
            }
            let could_take = self.link.has_room_for_frames();
            let is_sent = match self.poll_send(cx) {
                Poll::Ready(result) => {
                    result?;
                    true
                }
                Poll::Pending => false,
            };
            self.link.tell_roomy();
            if self.link.has_room_for_streams() || self.link.has_room_for_pieces() {
                self.link.drained.wake_all();
            }
            if is_sent && self.link.http2().is_over() {
                return Poll::Ready(Ok(()));
            }
            let more = self.link.send_postponed();
            let may_start = !self.waiting.is_empty() && self.link.has_room();
            let may_take = !could_take && self.link.has_room_for_frames();
            if !more && !may_start && !may_take {
                return Poll::Pending;
            }
        }
    }

    /// Reads and takes what has come, as far as the turn goes. Ready when the client has left.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            self.start_waiting();
            if !self.waiting.is_empty() && !self.link.may_read() {
                self.link.front.wait_for_budget(&mut self.place, cx);
            }
            self.take_all()?;
            if !self.link.has_room_for_frames() {
                // It goes on when the client has read some of what it asked for.
                self.link.pulse.owes(None);
                return Poll::Pending;
            }
            ready!(self.turn.poll_left(cx));
            match self.stream.poll_read(cx, &mut self.input) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(count)) => {
                    self.turn.read(count);
                    self.link.heard.set(rt::now());
                    self.link.is_drained.set(false);
                    self.link.pulse.owes(None);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    self.link.is_drained.set(true);
                    let is_inside = !self.input.is_empty() || self.link.http2().is_inside();
                    let heard = self.link.heard.get();
                    self.link.pulse.owes(is_inside.then_some(Owed::Since(heard)));
                    if self.input.is_empty() {
                        // Nothing will come for a while; an idle connection holds no buffer.
                        self.input = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Starts calls for which there is room now.
    fn start_waiting(&mut self) {
        while self.link.has_room()
            && let Some((arrived, body)) = self.waiting.pop_front()
        {
            if !body.is_reset() {
                arrived.start(&self.link, body);
            }
        }
    }

    /// Takes every frame that has come, as far as there is room and the turn goes.
    fn take_all(&mut self) -> Result<(), Broken> {
        let mut input = std::mem::take(&mut self.input);
        let (now, link) = (rt::now(), self.link.clone());
        let (mut gets, mut counted) = (Gets::default(), Counted::default());
        let mut rest = &input[..];
        let result = loop {
            if self.turn.is_over() || !link.has_room_for_frames() {
                break Ok(());
            }
            let taken = match link.http2_mut().take(rest) {
                Ok(Some(taken)) => taken,
                Ok(None) => break Ok(()),
                Err(broken) => break Err(broken),
            };
            self.turn.took(taken.work);
            let frames = rest;
            rest = &rest[taken.bytes..];
            match taken.event {
                Event::Nothing => {}
                Event::Request { stream, head, body, ends } => {
                    let body = &frames[body];
                    self.take_request((now, stream), head, (body, ends), &mut gets);
                    if gets.is_full() {
                        gets.answer(&link, now, &mut counted);
                    }
                }
                Event::Data { stream, body, ends } => take_body(&link, stream, &frames[body], ends),
                Event::Reset { call, .. } => link.was_reset(call),
            }
        };
        gets.answer(&link, now, &mut counted);
        counted.show(&link);
        link.front.count_answered(now);
        let taken = input.len() - rest.len();
        input.advance(taken);
        self.input = input;
        result
    }

    fn take_request<'a>(
        &mut self,
        (now, stream): (Nanos, u32),
        head: RequestHead,
        (body, ends): (&'a [u8], bool),
        gets: &mut Gets<'a>,
    ) {
        let link = self.link.clone();
        let head = match head.judge() {
            Ok(head) => head,
            Err(rejection) => {
                return Respond::new(&link, stream, Encoding::Identity).reject(&rejection);
            }
        };
        let has_room = self.waiting.is_empty() && link.has_room();
        if has_room && ends && head.method.kind() != Kind::Bidi {
            let Err(head) = gets.take(&link, stream, head, body) else { return };
            if let Some(message) = plain_message(body) {
                link.consumed(stream, body.len());
                return Arrived { now, head, stream }.start_whole(&link, message);
            }
            return self.attend(Arrived { now, head, stream }, (body, ends), true);
        }
        self.attend(Arrived { now, head, stream }, (body, ends), has_room);
    }

    /// Starts a call that has to wait for its body or, unless `now`, for room.
    fn attend(&mut self, arrived: Arrived, (bytes, ends): (&[u8], bool), now: bool) {
        let body = self.link.attend(arrived.stream, Rc::default());
        body.push(bytes, ends);
        match now {
            true => arrived.start(&self.link, body),
            false => self.waiting.push_back((arrived, body)),
        }
    }

    /// Sends what is to be sent. Ready when all of it is out that may be.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut http2 = self.link.http2_mut();
        loop {
            http2.fill(FILL_BYTES);
            if http2.output().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let left = WRITE_BYTES_MAX.saturating_sub(self.sent);
            if left == 0 {
                rt::wake_after_others(cx);
                return Poll::Pending;
            }
            let piece = http2.output();
            let piece = &piece[..piece.len().min(left)];
            let count = ready!(self.stream.poll_write(cx, piece))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            http2.sent(count);
            self.sent += count;
            self.sent_bytes += count as u64;
        }
    }

    /// Until everything is out.
    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            self.sent = 0;
            self.poll_send(cx)
        })
        .await
    }
}

/// More has come of a call's body.
fn take_body(link: &Link, stream: u32, bytes: &[u8], ends: bool) {
    let body = match link.http2_mut().call(stream) {
        Some(Called::Task(body)) => Some(body.clone()),
        Some(Called::Core(_)) | None => None,
    };
    match body {
        Some(body) => body.push(bytes, ends),
        // The call has its message; nobody wants what follows.
        None => link.consumed(stream, bytes.len()),
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.link.front.leave_budget(&mut self.place);
        // Calls that wait for the pass are woken only when nobody has it; they keep the account.
        self.link.account.return_pass();
    }
}

/// At shutdown: time between looks, and looks in a row that find nothing moving.
const CLOSING_LOOK: Duration = Duration::from_millis(100);
const CLOSING_LOOKS: u32 = 3;

/// A connection after GOAWAY. It ends by itself when its client has answered and every call is
/// done. It is ended when it only waits for its client: for an answer to the ping that goes with
/// GOAWAY, or for room in the windows of its calls.
struct Closing {
    timer: rt::Sleep,
    sent_bytes: u64,
    /// Looks in a row that found nothing moving.
    still: u32,
}

impl Closing {
    fn new() -> Closing {
        Closing { timer: rt::sleep(CLOSING_LOOK), sent_bytes: 0, still: 0 }
    }

    /// Ready when the connection waits for its client alone.
    fn poll(&mut self, cx: &mut Context<'_>, sent_bytes: u64, waits_for_core: bool) -> Poll<()> {
        while self.still < CLOSING_LOOKS {
            ready!(Pin::new(&mut self.timer).poll(cx));
            self.timer = rt::sleep(CLOSING_LOOK);
            let before = std::mem::replace(&mut self.sent_bytes, sent_bytes);
            let is_still = before == sent_bytes && !waits_for_core;
            self.still = if is_still { self.still + 1 } else { 0 };
        }
        Poll::Ready(())
    }
}

/// Keepalive of the server: an idle client is pinged, and dropped if it stays silent.
struct Beat {
    keepalive: Keepalive,
    timer: rt::Sleep,
    /// When the ping that is not answered yet was sent.
    pinged: Option<Nanos>,
}

impl Beat {
    fn new(keepalive: Keepalive) -> Option<Beat> {
        if keepalive.interval.is_zero() || keepalive.timeout.is_zero() {
            return None;
        }
        Some(Beat { keepalive, timer: rt::sleep(keepalive.interval), pinged: None })
    }

    /// Ready when the client is dead.
    fn poll(&mut self, cx: &mut Context<'_>, now: Nanos, link: &Link) -> Poll<()> {
        let heard = link.heard.get();
        loop {
            ready!(Pin::new(&mut self.timer).poll(cx));
            let silent = Duration::from_nanos(now.0.saturating_sub(heard.0));
            let wait = match self.pinged.take() {
                // The pong is bytes, too.
                Some(pinged) if heard <= pinged => return Poll::Ready(()),
                Some(_) => self.keepalive.interval.saturating_sub(silent),
                None if silent < self.keepalive.interval => self.keepalive.interval - silent,
                None => {
                    self.pinged = Some(now);
                    link.http2_mut().ping();
                    self.keepalive.timeout
                }
            };
            self.timer = rt::sleep(wait.max(Duration::from_millis(1)));
        }
    }
}
