//! The state that the calls of one connection share.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;

use super::head::RequestHead;
use super::incoming::Body;
use super::respond::Respond;
use super::{call, stream};
use crate::budget::{Account, Charge};
use crate::http2::{self, frame::Reason};
use crate::limits::{
    CONNECTION_BYTES_MAX, CONNECTION_OUTPUT_BYTES_MAX, CONNECTION_PARTIAL_BYTES_MAX,
    CONNECTION_REQUESTS_MAX, REQUEST_OVERHEAD_BYTES,
};
use crate::member::Ticket;
use crate::protocol::convert::HeaderFields;
use crate::protocol::method::Method;
use crate::protocol::status::code;
use crate::rt::{self, WaitList};
use crate::server::front::Front;
use crate::server::large::Large;
use crate::server::meters::{Meters, add};
use crate::server::pulse::Pulse;
use crate::server::reads::Reads;
use crate::server::signal::Signal;
use crate::types::{Nanos, Reply};

pub(super) type Http2 = http2::Connection<RequestHead, Called>;

/// Who is told of what becomes of a stream.
#[derive(Debug)]
pub(super) enum Called {
    /// Nobody but the core, which is asked for the answer.
    Core(Ticket),
    /// The task of the call.
    Task(Rc<Body>),
}

/// The shared state of one connection.
pub(super) struct Link {
    pub(super) front: Rc<Front>,
    pub(super) remote: SocketAddr,
    pub(super) pulse: Rc<Pulse>,
    http2: RefCell<Http2>,
    /// The connection's account of the member's memory.
    pub(super) account: Rc<Account>,
    /// The charge for the output, and for bytes that wait in streams.
    unsent: RefCell<Charge>,
    pub(super) reads: Rc<Reads>,
    /// Requests to the core.
    under_way: Cell<usize>,
    /// Answers for which there is no room yet. They share keys and values with the store, so they
    /// are small however much they will be as bytes.
    postponed: RefCell<VecDeque<(Method, Respond, Reply, Charge)>>,
    /// Answers that are sent in pieces, and whether a task is at it.
    large: RefCell<VecDeque<(Method, Respond, Large)>>,
    sends_large: Cell<bool>,
    /// Bytes of messages that are not all there.
    pub(super) partial: Cell<usize>,
    /// Something was sent: there may be room for more.
    pub(super) drained: WaitList,
    /// Raised when the connection is gone.
    pub(super) lost: Signal,
    /// The connection's task, and whether it is at work or woken.
    driver: RefCell<Option<Waker>>,
    is_driven: Cell<bool>,
    /// When bytes last came.
    pub(super) heard: Cell<Nanos>,
    /// Everything that has come was read.
    pub(super) is_drained: Cell<bool>,
}

impl Link {
    pub(super) fn new(
        front: Rc<Front>,
        pulse: Rc<Pulse>,
        http2: Http2,
        remote: SocketAddr,
    ) -> Rc<Link> {
        let account = pulse.account().clone();
        Rc::new(Link {
            unsent: RefCell::new(account.charge(0)),
            account,
            reads: Rc::default(),
            remote,
            front,
            pulse,
            http2: RefCell::new(http2),
            under_way: Cell::new(0),
            postponed: RefCell::default(),
            large: RefCell::default(),
            sends_large: Cell::new(false),
            partial: Cell::new(0),
            drained: WaitList::new(),
            lost: Signal::default(),
            driver: RefCell::default(),
            is_driven: Cell::new(false),
            heard: Cell::new(rt::now()),
            is_drained: Cell::new(false),
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

    /// Not to be held while anything else of the connection runs.
    pub(super) fn http2(&self) -> Ref<'_, Http2> {
        self.http2.borrow()
    }

    /// Borrows as [`Link::http2`] does. [`Link::wrote`] is to be called if that wrote to the
    /// output.
    pub(super) fn http2_mut(&self) -> RefMut<'_, Http2> {
        self.http2.borrow_mut()
    }

    /// There may be more in the output.
    pub(super) fn wrote(&self) {
        self.count_unsent();
        if !self.is_driven.replace(true)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    pub(super) fn count_unsent(&self) {
        let bytes = {
            let http2 = self.http2();
            http2.output_capacity() + http2.pending_bytes().iter().sum::<usize>()
        };
        self.unsent.borrow_mut().resize(bytes);
    }

    /// The connection's task is at work, and looks at the output before it rests.
    pub(super) fn drives(&self, driver: &Waker) {
        self.is_driven.set(true);
        let mut own = self.driver.borrow_mut();
        if !own.as_ref().is_some_and(|own| own.will_wake(driver)) {
            *own = Some(driver.clone());
        }
    }

    /// It rests.
    pub(super) fn rests(&self) {
        self.is_driven.set(false);
    }

    /// Bytes of a stream's body were taken.
    pub(super) fn consumed(&self, stream: u32, bytes: usize) {
        let grants = {
            let mut http2 = self.http2_mut();
            let before = http2.output().len();
            http2.consumed(stream, bytes);
            http2.output().len() > before
        };
        if grants {
            self.wrote();
        }
    }

    /// Resets a stream of which nobody wants to hear any more.
    pub(super) fn reset(&self, stream: u32, reason: Reason) {
        // The value that was kept with it is dropped when nothing is borrowed.
        let call = self.http2_mut().reset(stream, reason);
        drop(call);
        self.wrote();
    }

    /// Has a stream's events told to a body, which gets a reset if the stream is gone.
    pub(super) fn attend(&self, stream: u32, body: Rc<Body>) -> Rc<Body> {
        let before = self.http2_mut().set_call(stream, Called::Task(body.clone()));
        if before.is_err() {
            body.reset();
        }
        body
    }

    /// Bytes of unfinished requests that the connection may have sent: of one request at least.
    pub(super) fn partial_bytes_max(&self) -> usize {
        let largest = self.front.settings.request_bytes_max + 2 * REQUEST_OVERHEAD_BYTES;
        largest.max(CONNECTION_PARTIAL_BYTES_MAX)
    }

    /// Bytes of answers of one message that are made and have not left.
    fn owed(&self) -> usize {
        let http2 = self.http2();
        http2.output().len() + http2.pending_bytes()[0]
    }

    /// Whether an answer may be made.
    pub(super) fn has_room_for_answers(&self) -> bool {
        self.owed() < CONNECTION_OUTPUT_BYTES_MAX
    }

    /// Whether streams may make more: they leave half of the output to answers of one message.
    pub(super) fn has_room_for_streams(&self) -> bool {
        self.http2().output().len() < CONNECTION_OUTPUT_BYTES_MAX / 2
    }

    /// Whether a piece of a large answer may be made.
    pub(super) fn has_room_for_pieces(&self) -> bool {
        self.owed() < CONNECTION_OUTPUT_BYTES_MAX / 2
    }

    /// Whether the connection may be read from: a client that reads nothing is not heard.
    pub(super) fn has_room_for_frames(&self) -> bool {
        self.http2().output().len() < CONNECTION_OUTPUT_BYTES_MAX
    }

    /// Whether further calls are accepted.
    pub(super) fn has_room(&self) -> bool {
        let answers = self.postponed.borrow().len() + self.large.borrow().len();
        self.under_way.get() + answers < CONNECTION_REQUESTS_MAX
            && self.has_room_for_answers()
            // Messages that are not all there have a bound of their own.
            && self.account.held() - self.partial.get() < CONNECTION_BYTES_MAX
            && self.reads.has_room()
            && self.may_read()
    }

    /// Whether the member's budget lets more of the connection be taken in.
    pub(super) fn may_read(&self) -> bool {
        self.account.may_read(self.partial.get())
    }

    /// Whether the connection has been read from within `limit`, as far as there was anything: what
    /// has not come by now, the client has not sent.
    pub(super) fn was_read(&self, now: Nanos, limit: Duration) -> bool {
        let heard = Duration::from_nanos(now.0.saturating_sub(self.heard.get().0));
        self.is_drained.get() || heard < limit
    }

    /// Bytes of messages go out.
    pub(super) fn sent(&self, bytes: usize) {
        add(&self.meters().sent_bytes, bytes as u64);
    }

    /// Whether some call is still to be answered by the core.
    pub(super) fn waits_for_core(&self) -> bool {
        self.under_way.get() > 0
    }

    /// The core is asked for the answer to a call.
    pub(super) fn asks_core(&self, stream: u32, ticket: Ticket) {
        self.under_way.set(self.under_way.get() + 1);
        // A stream that has just been reset is found gone by its answer.
        let before = self.http2_mut().set_call(stream, Called::Core(ticket));
        drop(before);
    }

    /// The core has answered a call.
    pub(super) fn was_answered(&self) {
        self.under_way.set(self.under_way.get() - 1);
    }

    /// An answer has to wait until there is room for it, which there never is once the connection
    /// is gone.
    pub(super) fn postpone(&self, method: Method, respond: Respond, reply: Reply) {
        if self.lost.is_raised() {
            return;
        }
        let charge = self.account.charge(reply.bytes());
        self.postponed.borrow_mut().push_back((method, respond, reply, charge));
    }

    /// Encodes postponed answers while there is room; `true` if there were any.
    pub(super) fn send_postponed(self: &Rc<Link>) -> bool {
        let mut sent = false;
        while self.has_room_for_answers() {
            let Some((method, respond, reply, _)) = self.postponed.borrow_mut().pop_front() else {
                break;
            };
            call::send_reply(self, method, respond, &reply);
            sent = true;
        }
        sent
    }

    /// Has an answer of many keys sent in pieces.
    pub(super) fn put_large(self: &Rc<Link>, method: Method, respond: Respond, reply: Reply) {
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

    /// A stream is gone by its client's will or fault.
    pub(super) fn was_reset(&self, call: Option<Called>) {
        match call {
            Some(Called::Core(ticket)) => self.cancel(ticket),
            Some(Called::Task(body)) => body.reset(),
            None => {}
        }
    }

    fn cancel(&self, ticket: Ticket) {
        if let Some(method) = self.front.with_waiter(ticket, |waiter| waiter.method()) {
            self.was_answered();
            self.front.cancel(ticket);
            if let Some(method) = method {
                self.meters().handled(method, code::CANCELED);
            }
        }
    }

    /// Tells those that have asked for it that their streams have room.
    pub(super) fn tell_roomy(&self) {
        loop {
            let mut http2 = self.http2_mut();
            let Some(stream) = http2.next_roomy() else { return };
            if let Some(Called::Task(body)) = http2.call(stream) {
                let body = body.clone();
                drop(http2);
                body.has_room();
            }
        }
    }

    /// The connection is gone.
    pub(super) fn cancel_all(&self) {
        let calls = self.http2_mut().abandon();
        calls.into_iter().for_each(|call| self.was_reset(Some(call)));
        let postponed = std::mem::take(&mut *self.postponed.borrow_mut());
        let large = std::mem::take(&mut *self.large.borrow_mut());
        drop((postponed, large));
        *self.driver.borrow_mut() = None;
        self.count_unsent();
        self.lost.raise();
        self.drained.wake_all();
    }
}
