//! What the connections of one core share: the core under them, who waits for what, the counters.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;

use super::Delivery;
use super::meters::Meters;
use super::settings::Settings;
use super::signal::Signal;
use super::slow::Brief;
use super::waiters::{Desk, Waiter, Waiters};
use crate::limits::CORE_REQUESTS_MAX;
use crate::member::{Answer, Service, Ticket};
use crate::protocol::Method;
use crate::protocol::convert::HeaderFields;
use crate::rt::{self, InboxSender, Notify, OpenInbox};
use crate::types::{CoreId, Nanos, Refusal, Request, Term};

/// The connections of one core.
///
/// No borrow of the service is held while anything else of the core runs: [`Front`] borrows it for
/// one `submit` or `cancel`, the core's loop for one turn.
pub struct Front {
    pub(super) core: CoreId,
    pub(super) settings: Settings,
    service: Rc<RefCell<dyn Service>>,
    waiters: RefCell<Waiters>,
    /// Wakes the core's loop: something was submitted or cancelled.
    work: Rc<Notify>,
    header: Cell<HeaderFields>,
    meters: Meters,
    closing: Signal,
    /// Raised when the time for `closing` is over.
    dropping: Signal,
    connections: Cell<usize>,
    /// Rung when the last connection closes.
    empty: Notify,
    /// By core; where connections that want another core are sent.
    pub(super) cores: Vec<InboxSender<Delivery>>,
    /// Answers of gRPC are encoded here and cut off.
    scratch: RefCell<BytesMut>,
}

impl Front {
    /// The front of core `core`. `cores` are the inboxes of all cores, this one's included; `work`
    /// is what the core's loop waits for.
    pub fn new(
        core: CoreId,
        settings: Settings,
        service: Rc<RefCell<dyn Service>>,
        work: Rc<Notify>,
        cores: Vec<InboxSender<Delivery>>,
    ) -> Rc<Front> {
        let header = Cell::new(settings.header);
        Rc::new(Front {
            core,
            settings,
            service,
            waiters: RefCell::default(),
            work,
            header,
            meters: Meters::default(),
            closing: Signal::default(),
            dropping: Signal::default(),
            connections: Cell::new(0),
            empty: Notify::new(),
            cores,
            scratch: RefCell::default(),
        })
    }

    /// Serves every connection that `inbox` brings, until the task that runs this is dropped.
    pub async fn receive(self: Rc<Front>, inbox: OpenInbox<Delivery>) {
        loop {
            let delivery = inbox.receive().await;
            super::connection::spawn(&self, delivery);
        }
    }

    /// The service has answered. Whoever waits is told; an answer that nobody waits for is dropped.
    ///
    /// Must not be called while the service is borrowed.
    pub fn answer(&self, ticket: Ticket, answer: Answer) {
        self.answer_at(rt::now(), ticket, answer);
    }

    /// As [`Front::answer`], for everything that a turn has answered; empties `answers`.
    pub fn answer_all(&self, answers: &mut Vec<(Ticket, Answer)>) {
        if answers.is_empty() {
            return;
        }
        let now = rt::now();
        for (ticket, answer) in answers.drain(..) {
            self.answer_at(now, ticket, answer);
        }
    }

    fn answer_at(&self, now: Nanos, ticket: Ticket, answer: Answer) {
        let Some((brief, waiter)) = self.waiters.borrow_mut().remove(ticket) else { return };
        if let (Some(method), Some(remote)) = (waiter.method(), waiter.remote()) {
            brief.log_if_slow(now, self.settings.slow, method, remote, &answer);
        }
        match waiter {
            Waiter::Frames { session, stream, method } => session.answer(stream, method, answer),
            Waiter::Grpc(call) => call.answer(ticket, answer),
            Waiter::Task(desk) => desk.put(answer),
        }
    }

    /// The control group's term, as answers show it from now on.
    pub fn set_term(&self, raft_term: Term) {
        self.header.set(HeaderFields { raft_term, ..self.header.get() });
    }

    pub(super) fn header(&self) -> HeaderFields {
        self.header.get()
    }

    /// The counters of this core's connections.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Requests under way.
    pub fn requests(&self) -> usize {
        self.waiters.borrow().len()
    }

    /// Connections open.
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Stops serving: no new request is read, those under way are answered, then the connections
    /// close; those that are not done after `limit` are dropped. The core's loop must go on turning
    /// meanwhile. New connections are closed at once from now on.
    pub async fn shut_down(&self, limit: Duration) {
        self.closing.raise();
        if rt::within(limit, self.gone()).await.is_none() {
            tracing::warn!(open = self.connections.get(), "connections dropped at shutdown");
            self.dropping.raise();
            self.gone().await;
        }
    }

    async fn gone(&self) {
        while self.connections.get() > 0 {
            self.empty.wait().await;
        }
    }

    pub(super) fn dropping(&self) -> &Signal {
        &self.dropping
    }

    pub(super) fn closing(&self) -> &Signal {
        &self.closing
    }

    pub(super) fn connection_opened(self: &Rc<Front>) -> ConnectionCount {
        self.connections.set(self.connections.get() + 1);
        ConnectionCount(self.clone())
    }

    /// Hands a request to the core. The answer, now or later, goes to `waiter`.
    pub(super) fn submit(
        &self,
        now: Nanos,
        request: Request,
        deadline: Option<Nanos>,
        waiter: Waiter,
        admitted: impl FnOnce(Ticket),
    ) {
        let ticket = {
            let mut waiters = self.waiters.borrow_mut();
            let full = waiters.len() >= CORE_REQUESTS_MAX;
            let ticket = waiters.insert(Brief::of(now, &request), waiter);
            drop(waiters);
            admitted(ticket);
            if full {
                self.answer(ticket, Err(Refusal::TooManyRequests));
                return;
            }
            ticket
        };
        let answer = self.service.borrow_mut().submit(now, ticket, request, deadline);
        self.work.notify();
        if let Some(answer) = answer {
            self.answer(ticket, answer);
        }
    }

    /// The answer to a request that the core can give without being woken for it; the request is
    /// never under way then.
    pub(super) fn answer_now(&self, request: &Request) -> Option<Answer> {
        self.service.borrow_mut().answer_now(request)
    }

    /// What a request that is malformed is told: etcd looks at its quota first.
    pub(super) fn refusal_of_malformed(&self, method: Method, refusal: Refusal) -> Refusal {
        let needs_space = matches!(method, Method::Put | Method::Txn);
        if needs_space && self.service.borrow().is_out_of_space() {
            return Refusal::NoSpace;
        }
        refusal
    }

    /// The client of `ticket` is gone.
    pub(super) fn cancel(&self, ticket: Ticket) {
        let waiter = self.waiters.borrow_mut().remove(ticket);
        if waiter.is_some() {
            self.service.borrow_mut().cancel(ticket);
            self.work.notify();
        }
    }

    /// Looks at who waits for `ticket`.
    pub(super) fn with_waiter<T>(
        &self,
        ticket: Ticket,
        look: impl FnOnce(&mut Waiter) -> T,
    ) -> Option<T> {
        self.waiters.borrow_mut().get_mut(ticket).map(look)
    }

    /// Asks the core and waits for the answer; dropping the future cancels the request.
    pub(super) async fn ask(&self, request: Request, deadline: Option<Nanos>) -> Answer {
        let desk = Rc::new(Desk::default());
        let mut asked = Asked { front: self, ticket: None };
        let waiter = Waiter::Task(desk.clone());
        self.submit(rt::now(), request, deadline, waiter, |ticket| asked.ticket = Some(ticket));
        let answer = poll_fn(|cx| match desk.take(cx.waker()) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await;
        asked.ticket = None;
        answer
    }

    pub(super) fn scratch(&self) -> std::cell::RefMut<'_, BytesMut> {
        self.scratch.borrow_mut()
    }
}

/// Cancels the request if its answer was not waited for.
struct Asked<'a> {
    front: &'a Front,
    ticket: Option<Ticket>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.front.cancel(ticket);
        }
    }
}

/// Counts as an open connection until it is dropped.
pub(super) struct ConnectionCount(Rc<Front>);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        let left = self.0.connections.get() - 1;
        self.0.connections.set(left);
        if left == 0 {
            self.0.empty.notify();
        }
    }
}
