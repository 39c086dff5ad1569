//! The state that one core's connections share: the core under them, their waiters, the counters.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::Delivery;
use super::large;
use super::meters::{Meters, add};
use super::pulse::{Attended, Pulses};
use super::settings::Settings;
use super::signal::Signal;
use super::slow::RequestRecord;
use super::waiters::{OneShot, Waiter, Waiters};
use super::watching::Feeds;
use crate::budget::{Account, CoreBudget};
use crate::limits::{ACCEPTS_PER_TURN, BUDGET_PAUSE_MILLIS, CORE_REQUESTS_MAX, PASS_ASKS_MAX};
use crate::member::{Answer, PointRead, Service, Ticket, Visit};
use crate::protocol::Method;
use crate::protocol::convert::HeaderFields;
use crate::rt::{self, InboxSender, Notify, OpenInbox, WaitList, WaitPlace};
use crate::types::{
    CoreId, Nanos, Refusal, Request, Tally, Term, WatchReply, WatchRequest, WatchStream,
};

/// Election timeouts without a leader after which the streams that want one end: etcd's number.
const LEADERLESS_TIMEOUTS: u32 = 3;

/// The number of looks at all connections in the time for which one may make no progress.
const LOOKS_PER_STALL: u32 = 8;

/// At shutdown: how long a client may read nothing of what it is sent, and the time between looks.
const CLOSING_STALL: Duration = Duration::from_millis(250);
const CLOSING_LOOK: Duration = Duration::from_millis(50);

/// The connections of one core.
///
/// No borrow of the service is held while anything else of the core runs: [`Front`] borrows it for
/// one `submit` or `cancel`, the core's loop for one turn.
pub struct Front {
    pub(super) core: CoreId,
    pub(super) settings: Settings,
    service: Rc<RefCell<dyn Service>>,
    waiters: RefCell<Waiters>,
    feeds: Feeds,
    /// Wakes the core's loop: something was submitted or cancelled.
    work: Rc<Notify>,
    header: Cell<HeaderFields>,
    meters: Meters,
    /// Answered at once, and not yet counted.
    answered_now: Cell<Tally>,
    closing: Signal,
    /// Raised when the time for `closing` is over.
    dropping: Signal,
    leaderless: Leaderless,
    /// This core's part of what connections may hold.
    core_budget: Rc<CoreBudget>,
    /// Connections that wait for room in it, and that there are some.
    budget_waits: WaitList,
    budget_asked: Notify,
    connections: Cell<usize>,
    pulses: Pulses,
    /// Tasks that are to end before the core's loop does, whoever has left.
    tasks: Cell<usize>,
    /// Rung when the last connection closes, and when the last of the tasks ends.
    empty: Notify,
    /// The inboxes of all cores, for connections that want another core.
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
        let core_budget = CoreBudget::new(settings.budget.clone());
        Rc::new(Front {
            core,
            settings,
            service,
            waiters: RefCell::default(),
            feeds: Feeds::default(),
            leaderless: Leaderless::default(),
            core_budget,
            budget_waits: WaitList::new(),
            budget_asked: Notify::new(),
            work,
            header,
            meters: Meters::default(),
            answered_now: Cell::default(),
            closing: Signal::default(),
            dropping: Signal::default(),
            connections: Cell::new(0),
            pulses: Pulses::default(),
            tasks: Cell::new(0),
            empty: Notify::new(),
            cores,
            scratch: RefCell::default(),
        })
    }

    /// Serves every connection that `inbox` brings, until the task that runs this is dropped.
    pub async fn receive(self: Rc<Front>, inbox: OpenInbox<Delivery>) {
        let receiving = async {
            let mut taken = 0;
            loop {
                let delivery = inbox.receive().await;
                super::connection::spawn(&self, delivery);
                taken += 1;
                if taken % ACCEPTS_PER_TURN == 0 {
                    rt::give_way().await;
                }
            }
        };
        let looking = futures_lite::future::or(self.look_for_leader(), self.look_for_stalls());
        let looking = futures_lite::future::or(looking, self.look_for_room());
        futures_lite::future::or(receiving, looking).await
    }

    /// Ends connections that make no progress; see `pulse`.
    async fn look_for_stalls(&self) {
        let stall = self.settings.stall;
        loop {
            let is_closing = self.closing.is_raised();
            let (pause, blocked) = match is_closing {
                true => (CLOSING_LOOK, CLOSING_STALL.min(stall)),
                false => (stall / LOOKS_PER_STALL, stall),
            };
            let paused = rt::sleep(pause.max(Duration::from_millis(1)));
            match is_closing {
                true => paused.await,
                false => futures_lite::future::or(paused, self.closing.wait()).await,
            }
            let ended = self.pulses.end_stalled(rt::now(), stall, blocked);
            add(&self.meters.connections_refused, ended as u64);
        }
    }

    /// Ends the connection `stream` when it makes no progress, until the value returned is dropped.
    pub(super) fn attend(&self, stream: &Rc<rt::TcpStream>) -> Attended<'_> {
        self.pulses.attend(stream, self.core_budget.open())
    }

    /// Has connections that wait for room in the budget ask again. What makes room may happen on
    /// any core, so it is looked for.
    async fn look_for_room(&self) {
        loop {
            self.budget_asked.wait().await;
            while self.budget_waits.is_waited_for() {
                rt::sleep(Duration::from_millis(BUDGET_PAUSE_MILLIS)).await;
                if self.core_budget.look_at_pass() {
                    self.pulses.end_pass_holder();
                }
                if !self.core_budget.budget().is_full() {
                    self.budget_waits.wake_all();
                } else if self.core_budget.is_worth_asking() {
                    self.budget_waits.wake_first(PASS_ASKS_MAX);
                }
            }
        }
    }

    /// Until `holds`, which is asked whenever there may be room in the budget.
    pub(super) fn room_in_budget<H: FnMut() -> bool + Unpin>(&self, holds: H) -> BudgetRoom<'_, H> {
        BudgetRoom { front: self, holds, place: WaitPlace::default() }
    }

    /// Waits until a stream of the connection with this `account` may make another message: the
    /// budget has room, or the connection's own share is free, which `drained` tells of.
    pub(super) async fn room_to_make(&self, account: &Account, drained: &WaitList) {
        let own = drained.until(|| account.may_make());
        futures_lite::future::or(own, self.room_in_budget(|| account.may_make())).await;
    }

    /// The task with this place does not wait for room any more.
    pub(super) fn leave_budget(&self, place: &mut WaitPlace) {
        self.budget_waits.leave(place);
    }

    /// Has the task of `cx` woken when there may be room in the budget. A task that was woken and
    /// found none asks again in the same way: nobody looks for room when nobody waits.
    pub(super) fn wait_for_budget(&self, place: &mut WaitPlace, cx: &Context<'_>) {
        self.budget_asked.notify();
        self.budget_waits.wait(place, cx);
    }

    /// Ends the streams that want a leader once there has been none for too long.
    async fn look_for_leader(&self) {
        let mut missing = 0;
        loop {
            rt::sleep(self.settings.election_timeout).await;
            missing = if self.has_leader() { 0 } else { missing + 1 };
            if missing >= LEADERLESS_TIMEOUTS {
                self.leaderless.times.set(self.leaderless.times.get() + 1);
                self.leaderless.streams.wake_all();
            }
        }
    }

    /// Delivers an answer of the service; one that nobody waits for is dropped.
    ///
    /// Must not be called while the service is borrowed.
    pub fn answer(&self, ticket: Ticket, answer: Answer) {
        self.answer_at(rt::now(), ticket, answer);
    }

    /// Delivers all answers of a turn as [`Front::answer`] does; empties `answers`.
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
        let Some((record, waiter)) = self.waiters.borrow_mut().remove(ticket) else {
            if let Ok(reply) = answer {
                large::discard(reply);
            }
            return;
        };
        record.count(now, &self.settings.figures, &answer);
        if let (Some(method), Some(remote)) = (waiter.method(), waiter.remote()) {
            self.handled_in(method, 1, now.0.saturating_sub(record.started().0));
            record.log_if_slow(now, self.settings.slow, method, remote, &answer);
        }
        match waiter {
            Waiter::Frames { session, stream, method, held } => {
                session.answer(stream, method, held, answer);
            }
            Waiter::Grpc(call) => call.answer(answer),
            Waiter::Task(one_shot) => one_shot.put(answer),
        }
    }

    /// Counts calls that took `nanos`, with `--metrics=extensive`.
    fn handled_in(&self, method: Method, calls: u64, nanos: u64) {
        if self.settings.times_methods {
            let place = Method::ALL.iter().position(|known| *known == method);
            let figures = &self.settings.figures.methods[place.expect("a method of the table")];
            figures.handling.observe_all(calls, nanos);
        }
    }

    /// The time of a call that is not one request to the core begins; it ends when this is dropped.
    pub(super) fn handling(self: &Rc<Front>, method: Method) -> Handling {
        Handling { front: self.clone(), method, began: rt::now() }
    }

    /// Delivers a reply on a watch stream; a reply on a closed stream is dropped.
    ///
    /// Must not be called while the service is borrowed.
    pub fn watched(&self, stream: WatchStream, reply: WatchReply) {
        if let Some(feed) = self.feeds.get(stream) {
            feed.push(&self.meters, reply);
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
        while self.connections.get() + self.tasks.get() > 0 {
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

    /// Keeps the core's loop turning until it is dropped.
    pub(super) fn busy(self: &Rc<Front>) -> Busy {
        self.tasks.set(self.tasks.get() + 1);
        Busy(self.clone())
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
            let record = RequestRecord::of(now, &request);
            record.begin(&self.settings.figures);
            let ticket = waiters.insert(record, waiter);
            drop(waiters);
            admitted(ticket);
            if full {
                self.settings.figures.requests_refused.add(1);
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
        let answer = self.service.borrow_mut().answer_now(request)?;
        let mut answered = self.answered_now.get();
        answered.count(answer.is_ok());
        self.answered_now.set(answered);
        Some(answer)
    }

    /// Counts what [`Front::answer_now`] and [`Front::multi_get`] have answered of what was read at
    /// `read`, which are ranges.
    pub(super) fn count_answered(&self, read: Nanos) {
        let answered = self.answered_now.take();
        if answered != Tally::default() {
            let nanos = rt::now().0 - read.0;
            self.settings.figures.ranges_took(answered, nanos);
            self.handled_in(Method::Range, answered.done + answered.refused, nanos);
        }
    }

    /// Reads keys as [`Service::multi_get`] does, and counts them.
    pub(super) fn multi_get(&self, wanted: &[PointRead<'_>], visit: &mut Visit<'_>) -> usize {
        let visited = self.service.borrow_mut().multi_get(wanted, visit);
        let mut answered = self.answered_now.get();
        answered.done += visited as u64;
        self.answered_now.set(answered);
        visited
    }

    /// Whether a leader is known.
    pub(super) fn has_leader(&self) -> bool {
        self.service.borrow().has_leader()
    }

    /// Until a stream has to end whatever its client does: the deadline has passed, the server
    /// stops, or, if the stream `requires_leader`, there has been none for too long.
    pub(super) async fn end_of_stream(
        &self,
        requires_leader: bool,
        deadline: Option<Nanos>,
    ) -> Refusal {
        let before = self.leaderless.times.get();
        let leaderless = async {
            let over = || requires_leader && self.leaderless.times.get() != before;
            self.leaderless.streams.until(over).await;
            Refusal::NoLeader
        };
        let stopping = async {
            self.closing.wait().await;
            Refusal::Stopped
        };
        let late = async {
            match deadline {
                Some(at) => rt::sleep(Duration::from_nanos(at.0.saturating_sub(rt::now().0))).await,
                None => std::future::pending().await,
            }
            Refusal::DeadlineExceeded
        };
        futures_lite::future::or(leaderless, futures_lite::future::or(stopping, late)).await
    }

    /// Streams that wait for their end.
    #[cfg(test)]
    pub(super) fn streams_waiting(&self) -> usize {
        self.leaderless.streams.count()
    }

    pub(super) fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    pub(super) fn watch_open(&self) -> WatchStream {
        self.service.borrow_mut().watch_open(rt::now())
    }

    pub(super) fn watch(&self, stream: WatchStream, request: WatchRequest) -> bool {
        let has_room = self.service.borrow_mut().watch(rt::now(), stream, request);
        self.work.notify();
        has_room
    }

    pub(super) fn watch_has_room(&self, stream: WatchStream) -> bool {
        self.service.borrow().watch_has_room(stream)
    }

    /// Gives events back to their stream; nothing if that has been closed meanwhile.
    pub(super) fn watch_sent(&self, stream: WatchStream, bytes: usize) {
        if bytes > 0 && self.feeds.get(stream).is_some() {
            self.service.borrow_mut().watch_sent(stream, bytes);
            self.work.notify();
        }
    }

    pub(super) fn watch_close(&self, stream: WatchStream) {
        self.service.borrow_mut().watch_close(stream);
        self.work.notify();
    }

    /// Returns the refusal of a malformed request: etcd looks at its quota first.
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
        if let Some((record, _)) = waiter {
            record.count_canceled(&self.settings.figures);
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
        PendingRequest::new(self, request, deadline).await
    }

    pub(super) fn scratch(&self) -> std::cell::RefMut<'_, BytesMut> {
        self.scratch.borrow_mut()
    }
}

/// The future that [`Front::room_in_budget`] returns.
pub(super) struct BudgetRoom<'a, H: FnMut() -> bool + Unpin> {
    front: &'a Front,
    holds: H,
    place: WaitPlace,
}

impl<H: FnMut() -> bool + Unpin> Future for BudgetRoom<'_, H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let room = &mut *self;
        if (room.holds)() {
            return Poll::Ready(());
        }
        room.front.wait_for_budget(&mut room.place, cx);
        Poll::Pending
    }
}

impl<H: FnMut() -> bool + Unpin> Drop for BudgetRoom<'_, H> {
    fn drop(&mut self) {
        self.front.leave_budget(&mut self.place);
    }
}

/// A request under way, and its answer as a future; dropped before that, it is cancelled.
pub(super) struct PendingRequest<F: Deref<Target = Front>> {
    front: F,
    one_shot: Rc<OneShot>,
    ticket: Option<Ticket>,
}

impl<F: Deref<Target = Front>> PendingRequest<F> {
    pub(super) fn new(front: F, request: Request, deadline: Option<Nanos>) -> PendingRequest<F> {
        let one_shot = Rc::<OneShot>::default();
        let waiter = Waiter::Task(one_shot.clone());
        let mut ticket = None;
        front.submit(rt::now(), request, deadline, waiter, |given| ticket = Some(given));
        PendingRequest { front, one_shot, ticket }
    }
}

impl<F: Deref<Target = Front> + Unpin> Future for PendingRequest<F> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.one_shot.take(cx.waker()) {
            Some(answer) => {
                self.ticket = None;
                Poll::Ready(answer)
            }
            None => Poll::Pending,
        }
    }
}

impl<F: Deref<Target = Front>> Drop for PendingRequest<F> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.front.cancel(ticket);
        }
    }
}

/// The guard that [`Front::handling`] returns.
pub(super) struct Handling {
    front: Rc<Front>,
    method: Method,
    began: Nanos,
}

impl Drop for Handling {
    fn drop(&mut self) {
        let nanos = rt::now().0 - self.began.0;
        self.front.handled_in(self.method, 1, nanos);
    }
}

/// Counts the times that there has been no leader for too long, and wakes the streams that require
/// one.
#[derive(Default)]
struct Leaderless {
    times: Cell<u64>,
    streams: WaitList,
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

/// The guard that [`Front::busy`] returns.
pub(super) struct Busy(Rc<Front>);

impl Drop for Busy {
    fn drop(&mut self) {
        let left = self.0.tasks.get() - 1;
        self.0.tasks.set(left);
        if left == 0 {
            self.0.empty.notify();
        }
    }
}
