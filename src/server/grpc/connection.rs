//! Driving h2: accepting calls, keepalive, the end.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use h2::server::Connection;

use super::call::{Arrived, Link, Payload};
use super::io::{Socket, Wire};
use super::pings::Pings;
use crate::limits::CONNECTION_STREAMS_MAX;
use crate::rt::{self, TcpStream, WaitPlace};
use crate::server::frames::{LINGER_TIMEOUT, linger};
use crate::server::front::Front;
use crate::server::meters::{Gauge, add};
use crate::server::pulse::Pulse;
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
/// Streams that were reset and may still be spoken of; beyond it the connection is closed.
const RESET_STREAMS_MAX: usize = 1024;

/// Serves HTTP/2 until the connection ends. `input` is what was read already.
pub(in crate::server) async fn serve(
    front: &Rc<Front>,
    stream: Rc<TcpStream>,
    pulse: Rc<Pulse>,
    input: BytesMut,
) -> io::Result<()> {
    let _counted = Gauge::up(&front.meters().connections_grpc);
    let keepalive = front.settings.keepalive;
    let remote = stream.peer();
    let turn = Turn::new(&front.settings.figures);
    let wire = Wire::new(stream, pulse, input, Pings::new(keepalive.ping_interval_min), turn);
    let streams_announced =
        Some(front.settings.streams_max).filter(|max| !matches!(max, 0 | &u32::MAX));
    let socket = Socket::new(wire.clone(), streams_announced.is_none());
    let mut handshake = builder(streams_announced).handshake::<_, Payload>(socket);
    let handshake = poll_fn(|cx| {
        wire.begin_turn();
        Pin::new(&mut handshake).poll(cx).map(Some)
    });
    let shut = async {
        front.closing().wait().await;
        None
    };
    let handshake = futures_lite::future::or(handshake, shut);
    let Some(Some(connection)) = rt::within(HANDSHAKE_TIMEOUT, handshake).await else {
        return Ok(());
    };
    let mut connection = connection.map_err(io_error)?;
    let link = Link::new(front.clone(), wire.clone(), remote);
    let mut driver = Driver {
        beat: Beat::new(keepalive, connection.ping_pong()),
        connection,
        link: link.clone(),
        waiting: VecDeque::new(),
        place: WaitPlace::default(),
        closing: None,
    };
    let result = {
        let mut raised = std::pin::pin!(front.closing().wait());
        poll_fn(|cx| driver.poll(cx, raised.as_mut())).await
    };
    link.cancel_all();
    drop(driver);
    if let Err(End::SentAway) = &result {
        add(&front.meters().connections_refused, 1);
        let sending = poll_fn(|cx| {
            wire.begin_turn();
            wire.poll_send(cx)
        });
        let _ = rt::within(CLOSE_TIMEOUT, sending).await;
        wire.stream().shut_down(Shutdown::Write);
        rt::within(LINGER_TIMEOUT, linger(wire.stream())).await;
    }
    match result {
        Ok(()) | Err(End::SentAway) => Ok(()),
        Err(End::Error(error)) => Err(io_error(error)),
        Err(End::Io(error)) => Err(error),
    }
}

fn builder(streams_announced: Option<u32>) -> h2::server::Builder {
    let streams_max =
        streams_announced.unwrap_or(CONNECTION_STREAMS_MAX).min(CONNECTION_STREAMS_MAX);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(streams_max)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX);
    builder
}

fn io_error(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error.into_io().expect("just asked"),
        false => io::Error::other(error),
    }
}

/// Why a connection ended other than by agreement.
enum End {
    /// The reason is in frames of ours that are still to be sent.
    SentAway,
    Error(h2::Error),
    Io(io::Error),
}

struct Driver {
    connection: Connection<Socket, Payload>,
    link: Rc<Link>,
    beat: Option<Beat>,
    /// Calls for which there is no room yet.
    waiting: VecDeque<Arrived>,
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
        mut raised: Pin<&mut S>,
    ) -> Poll<Result<(), End>> {
        self.link.driven_by(cx.waker());
        self.link.wire.begin_turn();
        loop {
            if let Poll::Ready(result) = self.poll_calls(cx) {
                return Poll::Ready(result.map_err(End::Error));
            }
            self.link.reap_resets();
            if self.closing.is_none() && raised.as_mut().poll(cx).is_ready() {
                self.closing = Some(Closing::new());
                self.connection.graceful_shutdown();
                continue;
            }
            if self.closing.as_mut().is_some_and(|closing| closing.poll(cx, &self.link).is_ready())
            {
                return Poll::Ready(Ok(()));
            }
            let wire = &self.link.wire;
            let now = rt::now();
            if wire.pings.borrow_mut().too_many(now, self.connection.has_streams()) {
                tracing::debug!(peer = %wire.stream().peer(), "sent away: too many pings");
                wire.append(&go_away(self.link.last_stream()));
                return Poll::Ready(Err(End::SentAway));
            }
            match self.beat.as_mut().map(|beat| beat.poll(cx, now, wire.heard.get())) {
                Some(Poll::Ready(Beaten::Pinged)) => continue,
                Some(Poll::Ready(Beaten::Dead)) => {
                    let error = io::Error::new(io::ErrorKind::TimedOut, "keepalive ping timeout");
                    return Poll::Ready(Err(End::Io(error)));
                }
                Some(Poll::Pending) | None => {}
            }
            let had_room = self.link.has_room();
            match wire.poll_send(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Io(error))),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if self.link.has_room_for_streams() || self.link.has_room_for_pieces() {
                self.link.drained.wake_all();
            }
            let more = self.link.send_postponed();
            if !more && (had_room || !self.link.has_room()) {
                return Poll::Pending;
            }
        }
    }

    /// Lets h2 read and write, and starts the calls that came, while there is room for them. Others
    /// wait without their headers, which are most of what h2 would keep of them.
    fn poll_calls(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            while self.link.has_room()
                && let Some(arrived) = self.waiting.pop_front()
            {
                arrived.start(&self.link);
            }
            if self.waiting.len() >= CONNECTION_STREAMS_MAX as usize {
                return self.connection.poll_closed(cx);
            }
            if !self.link.may_read() {
                self.link.front.wait_for_budget(&mut self.place, cx);
            }
            match ready!(self.connection.poll_accept(cx)) {
                Some(Ok((request, respond))) => {
                    self.waiting.extend(Arrived::of(&self.link, request, respond));
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
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
    fn poll(&mut self, cx: &mut Context<'_>, link: &Link) -> Poll<()> {
        while self.still < CLOSING_LOOKS {
            ready!(Pin::new(&mut self.timer).poll(cx));
            self.timer = rt::sleep(CLOSING_LOOK);
            let sent_bytes = std::mem::replace(&mut self.sent_bytes, link.wire.sent_bytes());
            let is_still = self.sent_bytes == sent_bytes && !link.waits_for_core();
            self.still = if is_still { self.still + 1 } else { 0 };
        }
        Poll::Ready(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.link.front.leave_budget(&mut self.place);
        // Calls that wait for the pass are woken only when nobody has it; they keep the account.
        self.link.account.return_pass();
    }
}

/// GOAWAY in grpc-go's words, which h2 has no way to say.
fn go_away(last_stream: u32) -> Vec<u8> {
    const TYPE_GOAWAY: u8 = 7;
    const ENHANCE_YOUR_CALM: u32 = 11;
    const REASON: &[u8] = b"too_many_pings";
    let length = 8 + REASON.len() as u32;
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[TYPE_GOAWAY, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&last_stream.to_be_bytes());
    frame.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
    frame.extend_from_slice(REASON);
    frame
}

/// Keepalive of the server: an idle client is pinged, and dropped if it stays silent.
struct Beat {
    keepalive: Keepalive,
    pings: h2::PingPong,
    timer: Pin<Box<dyn Future<Output = ()>>>,
    /// When the ping that is not answered yet was sent.
    pinged: Option<Nanos>,
}

enum Beaten {
    /// A ping is to be sent.
    Pinged,
    Dead,
}

impl Beat {
    fn new(keepalive: Keepalive, pings: Option<h2::PingPong>) -> Option<Beat> {
        if keepalive.interval.is_zero() || keepalive.timeout.is_zero() {
            return None;
        }
        let timer = Box::pin(rt::sleep(keepalive.interval));
        Some(Beat { keepalive, pings: pings?, timer, pinged: None })
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Nanos, heard: Nanos) -> Poll<Beaten> {
        if self.pinged.is_some() {
            // The pong itself moves `heard`; asking makes room for the next ping.
            let _ = self.pings.poll_pong(cx);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let silent = Duration::from_nanos(now.0.saturating_sub(heard.0));
            let wait = match self.pinged.take() {
                Some(pinged) if heard <= pinged => return Poll::Ready(Beaten::Dead),
                Some(_) => self.keepalive.interval.saturating_sub(silent),
                None if silent < self.keepalive.interval => self.keepalive.interval - silent,
                None => {
                    self.timer = Box::pin(rt::sleep(self.keepalive.timeout));
                    self.pinged = Some(now);
                    // Refused only while an earlier one is unanswered, which is as good.
                    let _ = self.pings.send_ping(h2::Ping::opaque());
                    return Poll::Ready(Beaten::Pinged);
                }
            };
            self.timer = Box::pin(rt::sleep(wait.max(Duration::from_millis(1))));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn go_away_is_laid_out_as_http2_has_it() {
        let frame = super::go_away(7);
        assert_eq!(frame[..9], [0, 0, 22, 7, 0, 0, 0, 0, 0]);
        assert_eq!(frame[9..17], [0, 0, 0, 7, 0, 0, 0, 11]);
        assert_eq!(&frame[17..], b"too_many_pings");
    }
}
