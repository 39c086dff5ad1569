//! A connection that speaks frames.
//!
//! One task reads and another writes; between them stand the requests under way, by stream. The
//! reader decodes and submits everything a read brought before it lets anything else run, unless
//! its turn is over (`turn`); gets of one key it answers itself (`get`). Answers are encoded into
//! one buffer, which the writer swaps for an empty one and sends whole.
//!
//! - The first frame must be a hello. If it asks for another core, nothing is answered here: the
//!   socket and every byte read so far go to that core, which answers the hello itself.
//! - Answers are encoded only while the output is below its bound; further ones wait as they are.
//! - A frame that breaks the protocol is answered with CLOSE, what was asked before it is
//!   cancelled, and the connection ends.

mod bidi;
mod call;
mod get;
mod intake;
mod large;
mod owed;
mod pause;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::future::or;
use prost::Message;
use rustc_hash::FxHashMap;

use self::bidi::{Bidi, Ended};
use self::get::Counted;
use self::intake::Intake;
use self::large::{LargePlace, LargeReplies};
use self::owed::{Owed, OwedPlace};
use super::front::Front;
use super::meters::{Gauge, add};
use super::pulse::{self, Pulse};
use super::reads::{Reading, Reads};
use super::turn::Turn;
use super::waiters::Waiter;
use crate::budget::{Account, Charge};
use crate::limits::{
    CONNECTION_BYTES_MAX, CONNECTION_OUTPUT_BYTES_MAX, CONNECTION_REQUESTS_MAX, LINGER_BYTES_MAX,
    REQUEST_OVERHEAD_BYTES,
};
use crate::member::{Answer, Ticket};
use crate::protocol::convert::Pieces;
use crate::protocol::frame::{
    CONNECTION_STREAM, Decoder, Flags, Frame, FrameFault, Opcode, PING_BYTES_MAX, PREFACE,
    PROTOCOL_VERSION, encode_close, encode_error, encode_frame, encode_message, encode_ping,
    take_preface,
};
use crate::protocol::method::{Kind, Method, Served};
use crate::protocol::pb::braidpb;
use crate::protocol::status::Status;
use crate::protocol::{convert, status};
use crate::rt::{self, Notify, Task, TcpStream, WaitList};
use crate::types::{CoreId, Nanos, Refusal, Reply, WatchStream};

/// The time that a client may take for its hello, and to read what is sent before a close.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time that a client which was refused may take to close.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Payload bytes of a hello at most.
const HELLO_BYTES_MAX: usize = 16 << 10;

/// An output buffer above this is given back when it is empty.
const OUTPUT_KEPT_BYTES: usize = 64 << 10;

/// The connection's core changes.
pub(super) struct HandOver {
    pub(super) core: CoreId,
    pub(super) fd: OwnedFd,
    pub(super) input: BytesMut,
}

/// The result of a hello's request for another core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Granted,
    /// The core that is asked for has no room.
    Passed,
}

/// Serves the connection until it ends or is handed over to another core. `input` was read before.
pub(super) async fn serve(
    front: &Rc<Front>,
    stream: Rc<TcpStream>,
    pulse: Rc<Pulse>,
    mut input: BytesMut,
    wish: Wish,
) -> io::Result<Option<HandOver>> {
    let _counted = Gauge::up(&front.meters().connections_frames);
    let account = pulse.account().clone();
    let session = Rc::new(Session {
        unsent: RefCell::new(account.charge(0)),
        account,
        reads: Rc::default(),
        front: front.clone(),
        remote: stream.peer(),
        pulse,
        decoder: Decoder::new(payload_bytes_max(front)),
        output: RefCell::default(),
        under_way: RefCell::default(),
        owed: RefCell::default(),
        large: RefCell::default(),
        inlets_full: Cell::new(0),
        ended: RefCell::default(),
        credits: RefCell::default(),
        turn: Turn::new(&front.settings.figures),
        written: Notify::new(),
        room: Notify::new(),
        drained: WaitList::new(),
        sending: Cell::new(0),
        broken: Cell::new(false),
    });
    let writer = rt::spawn(write(session.clone(), stream.clone()));
    let result = session.read(&stream, &mut input, wish).await;
    session.leave();
    let end = match result {
        Ok(End::HandOver(core)) => {
            drop(writer);
            return Ok(Some(HandOver { core, fd: stream.duplicate()?, input }));
        }
        Ok(end) => end,
        Err(Broken::Fault(fault)) => {
            add(&front.meters().connections_refused, 1);
            tracing::debug!(peer = %stream.peer(), %fault, "a connection broke the frame protocol");
            encode_close(&mut session.output.borrow_mut(), &fault);
            session.wrote();
            End::Refused
        }
        Err(Broken::Io(error)) => {
            session.broken.set(true);
            return Err(error);
        }
    };
    // Also for one that only ended its side: it may still read what it was answered.
    if !session.broken.get() {
        rt::within(CLOSE_TIMEOUT, session.flush()).await;
        stream.shut_down(Shutdown::Write);
    }
    if matches!(end, End::Refused) {
        rt::within(LINGER_TIMEOUT, linger(&stream)).await;
    }
    Ok(None)
}

fn payload_bytes_max(front: &Front) -> usize {
    front.settings.request_bytes_max + REQUEST_OVERHEAD_BYTES
}

/// How reading ended.
enum End {
    /// The client left.
    Left,
    /// Nothing more is read; what is in the output is still to be sent.
    Closed,
    /// Nothing more is read because of what the client sent; the output is still to be sent.
    Refused,
    HandOver(CoreId),
}

enum Broken {
    Fault(FrameFault),
    Io(io::Error),
}

impl From<FrameFault> for Broken {
    fn from(fault: FrameFault) -> Broken {
        Broken::Fault(fault)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Io(error)
    }
}

/// The state that reader, writer and the core's answers share.
pub(super) struct Session {
    front: Rc<Front>,
    pub(super) remote: SocketAddr,
    pulse: Rc<Pulse>,
    decoder: Decoder,
    /// The connection's account of the member's memory.
    account: Rc<Account>,
    output: RefCell<BytesMut>,
    /// The charge for the output, and for what the writer has of it.
    unsent: RefCell<Charge>,
    reads: Rc<Reads>,
    /// The requests under way, by stream.
    under_way: RefCell<FxHashMap<u32, UnderWay>>,
    /// Answers for which there is no room in the output yet. They share keys and values with the
    /// store, as long as that keeps them.
    owed: RefCell<Owed>,
    /// Answers that are too much work to be encoded at once.
    large: RefCell<LargeReplies>,
    /// Streams whose messages are not taken as fast as they come.
    inlets_full: Cell<usize>,
    /// Streams that have ended here while their clients may still speak on them.
    ended: RefCell<Ended>,
    /// Events in the output, to be given back to their streams once it has been sent.
    credits: RefCell<Vec<(WatchStream, usize)>>,
    /// The turn of the reader.
    turn: Turn,
    /// There is output.
    written: Notify,
    /// There may be room for more requests or more output.
    room: Notify,
    /// The output has been sent, or will never be.
    drained: WaitList,
    /// Bytes of the buffer that the writer is in the middle of writing; 0 if it is not.
    sending: Cell<usize>,
    /// Nothing can be sent any more.
    broken: Cell<bool>,
}

/// A frame that asks for something.
struct RequestFrame {
    method: Method,
    stream: u32,
    flags: Flags,
    payload: Bytes,
}

/// The memory that a request holds until it is answered or cancelled.
pub(super) struct RequestHold {
    /// The buffer that it is a slice of.
    _buffer: Rc<Charge>,
    reading: Option<Reading>,
}

enum UnderWay {
    Ticket(Ticket),
    /// Answered, but there is no room in the output yet.
    Owed(OwedPlace),
    /// Answered; the writer encodes it in pieces.
    Large(LargePlace),
    /// A method that answers with more than one frame.
    Stream(Task<()>),
    /// A stream of messages both ways.
    Bidi(Bidi),
}

impl Session {
    async fn read(
        self: &Rc<Session>,
        stream: &TcpStream,
        input: &mut BytesMut,
        wish: Wish,
    ) -> Result<End, Broken> {
        let hello = async {
            let shut = async {
                self.front.closing().wait().await;
                Ok(Some(End::Left))
            };
            or(self.hello(stream, input, wish), shut).await
        };
        let Some(end) = rt::within(HELLO_TIMEOUT, hello).await else {
            return Ok(End::Left);
        };
        if let Some(end) = end? {
            return Ok(end);
        }
        let closing = self.front.closing();
        let mut intake = Intake::new(&self.account, input);
        *input = BytesMut::new();
        let mut heard = rt::now();
        loop {
            self.take_all(&mut intake)?;
            if self.broken.get() {
                return Ok(End::Left);
            }
            intake.settle();
            if closing.is_raised() {
                self.pulse.owes(None);
                return self.finish().await;
            }
            if self.turn.is_over() {
                self.turn.give_way().await;
                continue;
            }
            let has_room = self.has_room();
            let missing = self.decoder.missing(intake.bytes());
            if !has_room || !self.may_read(stream, intake.begun(), missing) {
                if self.pause(stream, &mut intake, missing, heard, has_room).await {
                    return Ok(End::Left);
                }
                // It was not read meanwhile, so nothing could be heard.
                heard = rt::now();
                continue;
            }
            self.pulse.owes((intake.begun() > 0).then_some(pulse::Owed::Since(heard)));
            let reading = async { Some(self.read_some(stream, &mut intake, missing).await) };
            let shut = async {
                closing.wait().await;
                None
            };
            match or(reading, shut).await {
                Some(Ok(0)) => return Ok(End::Left),
                Some(Ok(bytes)) => {
                    self.turn.read(bytes);
                    heard = rt::now();
                }
                None => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Reads what has come, or waits for it with no more of a buffer than that needs.
    async fn read_some(
        &self,
        stream: &TcpStream,
        intake: &mut Intake,
        missing: usize,
    ) -> io::Result<usize> {
        poll_fn(|cx| {
            let room = self.account.readable();
            let read = stream.poll_read_with(cx, room, &mut |bytes| intake.push(bytes, missing));
            if read.is_pending() {
                intake.rest();
            }
            read
        })
        .await
    }

    /// Takes the preface and the hello off `input`, unless they are for another core.
    async fn hello(
        self: &Rc<Session>,
        stream: &TcpStream,
        input: &mut BytesMut,
        wish: Wish,
    ) -> Result<Option<End>, Broken> {
        let frame = loop {
            // Looked at in a copy: another core must find everything as it came.
            let mut seen = input.clone();
            if take_preface(&mut seen)?
                && let Some(frame) = Decoder::new(HELLO_BYTES_MAX).decode(&mut seen)?
            {
                break frame;
            }
            if stream.read(input).await? == 0 {
                return Ok(Some(End::Left));
            }
        };
        if frame.header.opcode != Opcode::Hello.as_u8() {
            return Err(FrameFault::HelloMissing { opcode: frame.header.opcode }.into());
        }
        if frame.header.stream != CONNECTION_STREAM {
            let (stream, opcode) = (frame.header.stream, frame.header.opcode);
            return Err(FrameFault::Stream { stream, opcode }.into());
        }
        let bytes = PREFACE.len() + frame.header.encode().len() + frame.payload.len();
        let hello =
            braidpb::HelloRequest::decode(frame.payload).map_err(|_| FrameFault::HelloInvalid)?;
        if hello.protocol_version != PROTOCOL_VERSION {
            let wanted = hello.protocol_version;
            return Err(FrameFault::Version { wanted, spoken: PROTOCOL_VERSION }.into());
        }
        if let Some(core) = hello.core
            && wish == Wish::Granted
            && core != u32::from(self.front.core.0)
            && (core as usize) < self.front.cores.len()
        {
            return Ok(Some(End::HandOver(CoreId(core as u16))));
        }
        let _ = input.split_to(bytes);
        self.greet();
        Ok(None)
    }

    fn greet(&self) {
        let settings = &self.front.settings;
        let header = self.front.header();
        let reply = braidpb::HelloReply {
            protocol_version: PROTOCOL_VERSION,
            braid_version: settings.versions.braid.clone(),
            etcd_version: settings.versions.server.clone(),
            cluster_id: header.cluster_id.0,
            member_id: header.member_id.0,
            core: u32::from(self.front.core.0),
            cores: self.front.cores.len() as u32,
            shards: settings.shard_cores.len() as u32,
            hash_seed: settings.hash_seed,
            shard_cores: settings.shard_cores.iter().map(|core| u32::from(core.0)).collect(),
            payload_bytes_max: payload_bytes_max(&self.front) as u32,
            requests_max: CONNECTION_REQUESTS_MAX as u32,
        };
        let mut output = self.output.borrow_mut();
        encode_message(&mut output, CONNECTION_STREAM, Opcode::Hello, Flags::NONE, &reply);
        drop(output);
        self.wrote();
    }

    /// Whether the connection may be read from.
    fn has_room(&self) -> bool {
        self.inlets_full.get() == 0
            && self.under_way.borrow().len() < CONNECTION_REQUESTS_MAX
            && self.output.borrow().len() < CONNECTION_OUTPUT_BYTES_MAX
            && self.account.held() < self.bytes_max()
            && self.reads.has_room()
    }

    /// Bytes that the connection may hold: its largest message must have room beside others.
    fn bytes_max(&self) -> usize {
        CONNECTION_BYTES_MAX.max(2 * payload_bytes_max(&self.front))
    }

    /// There is more in the output.
    fn wrote(&self) {
        self.count_unsent();
        self.written.notify();
    }

    fn count_unsent(&self) {
        let bytes = self.output.borrow().capacity() + self.sending.get();
        self.unsent.borrow_mut().resize(bytes);
    }

    /// Whether streams may send: they leave half of the output to answers of one message.
    fn has_room_for_streams(&self) -> bool {
        self.output.borrow().len() < CONNECTION_OUTPUT_BYTES_MAX / 2
    }

    /// Takes every frame that is there, as far as there is room and the turn goes.
    fn take_all(self: &Rc<Session>, intake: &mut Intake) -> Result<(), FrameFault> {
        let now = rt::now();
        let mut gets = Counted::default();
        let result = self.take_counting(now, intake, &mut gets);
        self.count_gets(&gets);
        self.front.count_answered(now);
        result
    }

    fn take_counting(
        self: &Rc<Session>,
        now: Nanos,
        intake: &mut Intake,
        gets: &mut Counted,
    ) -> Result<(), FrameFault> {
        let charge = intake.charge().clone();
        let input = intake.bytes();
        let before = input.len();
        while self.has_room() && !self.turn.is_over() {
            let (taken, next) = match Decoder::opcode(input) {
                Some(opcode) if opcode == Method::Range.opcode() => {
                    self.answer_gets(input, gets)?
                }
                _ => (0, self.decoder.look(input)?.map(|(header, _)| header)),
            };
            input.advance(taken);
            match next {
                Some(header) => {
                    self.turn.took(1);
                    self.take(now, Decoder::cut(input, header), &charge)?;
                }
                None if taken == 0 => break,
                None => {}
            }
        }
        if input.len() < before {
            // The message that the connection had a pass for is whole.
            self.account.pass_is_used();
        }
        Ok(())
    }

    /// Takes a frame, whose buffer is charged with `charge`.
    fn take(
        self: &Rc<Session>,
        now: Nanos,
        frame: Frame,
        charge: &Rc<Charge>,
    ) -> Result<(), FrameFault> {
        let Frame { header, payload } = frame;
        let opcode = Opcode::from_u8(header.opcode).ok_or(FrameFault::Opcode(header.opcode))?;
        let on_connection = header.stream == CONNECTION_STREAM;
        match opcode {
            Opcode::Method(method) if !on_connection => {
                let asked =
                    RequestFrame { method, stream: header.stream, flags: header.flags, payload };
                self.take_request(now, asked, charge)
            }
            Opcode::Ping if on_connection => self.take_ping(header.flags, &payload),
            Opcode::Hello if on_connection => Err(FrameFault::HelloInvalid),
            Opcode::Close if on_connection => Err(FrameFault::Opcode(header.opcode)),
            _ => Err(FrameFault::Stream { stream: header.stream, opcode: header.opcode }),
        }
    }

    fn take_ping(&self, flags: Flags, payload: &[u8]) -> Result<(), FrameFault> {
        if flags.contains(Flags::END) {
            // An answer to a ping; we send none, so there is nothing that it could answer.
            return Ok(());
        }
        if payload.len() > PING_BYTES_MAX {
            let (length, length_max) = (payload.len(), PING_BYTES_MAX);
            return Err(FrameFault::Length { length, length_max });
        }
        encode_ping(&mut self.output.borrow_mut(), Flags::END, payload);
        self.wrote();
        Ok(())
    }

    fn take_request(
        self: &Rc<Session>,
        now: Nanos,
        asked: RequestFrame,
        charge: &Rc<Charge>,
    ) -> Result<(), FrameFault> {
        let RequestFrame { method, stream, flags, payload } = asked;
        if flags.contains(Flags::CANCEL) {
            self.cancel(stream, method);
            return Ok(());
        }
        if method.kind() == Kind::Bidi {
            let said = (payload, charge.clone());
            return self.take_message(method, stream, flags, said);
        }
        if let Some(UnderWay::Bidi(_)) = self.under_way.borrow().get(&stream) {
            return Err(FrameFault::Stream { stream, opcode: method.opcode() });
        }
        if !flags.contains(Flags::END)
            || flags.contains(Flags::ERROR)
            || flags.contains(Flags::BARE)
        {
            return Err(FrameFault::Flags(flags.0));
        }
        if self.under_way.borrow().contains_key(&stream) {
            return Err(FrameFault::StreamInUse(stream));
        }
        let meters = self.front.meters();
        meters.started(method);
        let is_stream = method.kind() != Kind::Unary;
        self.front.settings.figures.client_request(is_stream, None);
        add(&meters.received_bytes, payload.len() as u64);
        if matches!(method.served(), Served::Edge | Served::Composed) {
            self.start_call(stream, method, payload);
            return Ok(());
        }
        match convert::decode(method, payload, &self.front.settings.limits) {
            Err(refusal) => {
                let refusal = self.front.refusal_of_malformed(method, refusal);
                self.refuse(stream, method, &refusal);
            }
            Ok(request) if method.kind() == Kind::Unary => {
                if let Some(answer) = self.front.answer_now(&request) {
                    match answer {
                        Ok(reply) => self.encode_reply(stream, method, &reply),
                        Err(refusal) => self.refuse(stream, method, &refusal),
                    }
                    return Ok(());
                }
                let reading = request.gathers().then(|| self.reads.begin(&self.account));
                let held = RequestHold { _buffer: charge.clone(), reading };
                let waiter = Waiter::Frames { session: self.clone(), stream, method, held };
                self.front.submit(now, request, None, waiter, |ticket| {
                    self.under_way.borrow_mut().insert(stream, UnderWay::Ticket(ticket));
                });
            }
            Ok(request) => self.start_range(stream, method, request),
        }
        Ok(())
    }

    /// The answer to a request; called once for each ticket that was not cancelled.
    pub(super) fn answer(&self, stream: u32, method: Method, held: RequestHold, answer: Answer) {
        if let (Some(reading), Ok(reply)) = (held.reading, &answer) {
            reading.came_to(reply.own_bytes());
        }
        match answer {
            Ok(reply) if Pieces::is_due(&reply) => self.put_large(stream, method, reply),
            Ok(reply) if self.output.borrow().len() < CONNECTION_OUTPUT_BYTES_MAX => {
                self.send_reply(stream, method, &reply);
            }
            Ok(reply) => {
                let charge = self.account.charge(reply.bytes());
                let place = self.owed.borrow_mut().push((stream, method, reply), charge);
                self.under_way.borrow_mut().insert(stream, UnderWay::Owed(place));
            }
            Err(refusal) => {
                self.under_way.borrow_mut().remove(&stream);
                self.refuse(stream, method, &refusal);
            }
        }
        self.room.notify();
    }

    fn send_reply(&self, stream: u32, method: Method, reply: &Reply) {
        self.under_way.borrow_mut().remove(&stream);
        self.encode_reply(stream, method, reply);
    }

    fn encode_reply(&self, stream: u32, method: Method, reply: &Reply) {
        let header = self.front.header();
        self.send(stream, method, Flags::END, |out| convert::encode(&header, reply, out));
        self.front.meters().handled(method, status::code::OK);
    }

    /// Encodes what is owed while there is room for it.
    fn send_owed(&self) {
        while self.output.borrow().len() < CONNECTION_OUTPUT_BYTES_MAX {
            let Some((stream, method, reply)) = self.owed.borrow_mut().pop() else {
                return;
            };
            self.send_reply(stream, method, &reply);
        }
    }

    fn send(&self, stream: u32, method: Method, flags: Flags, payload: impl FnOnce(&mut BytesMut)) {
        if self.broken.get() {
            return;
        }
        let mut output = self.output.borrow_mut();
        let before = output.len();
        encode_frame(&mut output, stream, method.opcode(), flags, payload);
        add(&self.front.meters().sent_bytes, (output.len() - before) as u64);
        drop(output);
        self.wrote();
    }

    fn refuse(&self, stream: u32, method: Method, refusal: &Refusal) {
        self.end_with(stream, method, &status::of(refusal));
    }

    fn end_with(&self, stream: u32, method: Method, status: &Status) {
        self.front.meters().handled(method, status.code);
        if !self.broken.get() {
            encode_error(&mut self.output.borrow_mut(), stream, method.opcode(), status);
            self.wrote();
        }
    }

    /// Sends a message of a stream when there is room for it. Streams leave half of the output to
    /// answers of one message: they are no reason not to read the connection.
    async fn send_when_room(
        &self,
        stream: u32,
        method: Method,
        flags: Flags,
        payload: impl FnOnce(&mut BytesMut),
    ) {
        self.drained.until(|| self.has_room_for_streams()).await;
        self.send(stream, method, flags, payload);
    }

    fn cancel(&self, stream: u32, method: Method) {
        let under_way = self.under_way.borrow_mut().remove(&stream);
        match under_way {
            Some(UnderWay::Ticket(ticket)) => self.front.cancel(ticket),
            Some(UnderWay::Stream(task)) => drop(task),
            Some(UnderWay::Bidi(bidi)) => {
                drop(bidi);
                let refusal = match method {
                    Method::Watch => Refusal::WatchCanceled,
                    _ => Refusal::Canceled,
                };
                return self.refuse(stream, method, &refusal);
            }
            // The writer passes over it.
            Some(UnderWay::Large(_)) => {}
            Some(UnderWay::Owed(place)) => self.owed.borrow_mut().remove(place),
            // Its answer and the cancellation crossed.
            None => return self.ended.borrow_mut().forget(stream),
        }
        // Every stream ends with one frame that has END.
        self.refuse(stream, method, &Refusal::Canceled);
    }

    fn leave(&self) {
        self.account.return_pass();
        let under_way = std::mem::take(&mut *self.under_way.borrow_mut());
        #[expect(clippy::iter_over_hash_type, reason = "all are cancelled, in any order")]
        for (_, one) in under_way {
            if let UnderWay::Ticket(ticket) = one {
                self.front.cancel(ticket);
            }
        }
    }

    /// At shutdown: what is under way is answered, nothing more is read.
    async fn finish(&self) -> Result<End, Broken> {
        while !self.under_way.borrow().is_empty() && !self.broken.get() {
            self.room.wait().await;
        }
        Ok(End::Closed)
    }

    /// Nothing can be sent any more.
    fn break_off(&self, stream: &TcpStream) {
        self.broken.set(true);
        self.output.borrow_mut().clear();
        *self.owed.borrow_mut() = Owed::default();
        *self.large.borrow_mut() = LargeReplies::default();
        // Wakes the reader, which then sees the end.
        stream.shut_down(Shutdown::Both);
        self.drained.wake_all();
        self.room.notify();
    }

    /// Until everything has been sent.
    async fn flush(&self) {
        self.drained
            .until(|| {
                self.sending.get() == 0
                    && self.output.borrow().is_empty()
                    && self.large.borrow().is_idle()
            })
            .await;
    }
}

/// Reads until the client's end: closing a socket with unread bytes would destroy what is still on
/// its way to the client. One that goes on sending is not read for long.
pub(super) async fn linger(stream: &TcpStream) {
    let mut ignored = BytesMut::new();
    let mut left = LINGER_BYTES_MAX;
    while left > 0
        && let Ok(bytes @ 1..) = stream.read(&mut ignored).await
    {
        left = left.saturating_sub(bytes);
        ignored.clear();
        rt::give_way().await;
    }
}

/// Sends what there is, all of it in one write, again and again; large replies by themselves.
async fn write(session: Rc<Session>, stream: Rc<TcpStream>) {
    let mut sending = BytesMut::new();
    loop {
        session.written.wait().await;
        while !session.output.borrow().is_empty() || !session.large.borrow().is_idle() {
            let is_good = write_output(&session, &stream, &mut sending).await
                && session.send_large(&stream, &mut sending).await;
            if !is_good {
                session.break_off(&stream);
                return;
            }
        }
        if session.has_room_for_streams() {
            session.drained.wake_all();
        }
    }
}

/// Sends what is in the output; whether the connection is still good.
async fn write_output(session: &Session, stream: &TcpStream, sending: &mut BytesMut) -> bool {
    while !session.output.borrow().is_empty() {
        std::mem::swap(sending, &mut *session.output.borrow_mut());
        let credits = std::mem::take(&mut *session.credits.borrow_mut());
        session.send_owed();
        session.sending.set(sending.capacity());
        session.count_unsent();
        let sent = stream.write_all(sending).await;
        session.sending.set(0);
        if sent.is_err() {
            return false;
        }
        for (stream, bytes) in credits {
            session.front.watch_sent(stream, bytes);
        }
        sending.clear();
        if sending.capacity() > OUTPUT_KEPT_BYTES {
            *sending = BytesMut::new();
        }
        session.count_unsent();
        session.room.notify();
        if session.has_room_for_streams() {
            session.drained.wake_all();
        }
    }
    true
}
