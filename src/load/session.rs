//! One client: its connections, its requests under way, when the next one is due.
//!
//! One task per client. In each turn it takes the answers that have come, writes every request that
//! may be written, and flushes: so reads, writes and bookkeeping are as large as the load allows,
//! and nothing is allocated per request. An answer finds its request by its *slot*.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::acks::AckLog;
use super::distribution::exponential;
use super::record::{Attempts, CONNECTION_LOST, Clock, Recorder, UNANSWERED, WRONG_VALUE};
use super::source::{Found, Planned, Source};
use super::wire::{Answer, Lost, Protocol, Wires};
use crate::chance::Chance;
use crate::rt;
use crate::types::Nanos;

/// Rounds of a turn before the other tasks of the thread have theirs.
const ROUNDS_MAX: u32 = 16;
/// Pause before a lost connection is made again: first and longest.
const RECONNECT_MIN: Duration = Duration::from_millis(20);
const RECONNECT_MAX: Duration = Duration::from_secs(1);

/// The state that the clients of one thread share.
pub(super) struct Thread {
    pub(super) source: RefCell<Source>,
    pub(super) recorder: RefCell<Recorder>,
    pub(super) acks: Option<RefCell<AckLog>>,
    pub(super) clock: Clock,
    /// Requests that are still to be made, for runs that end by count.
    pub(super) budget: Cell<u64>,
}

/// When a client makes requests.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    /// As soon as one is answered.
    Closed,
    /// At times that do not depend on answers, this many nanoseconds apart on average.
    Open { gap_ns: f64, poisson: bool, next: f64, chance: Chance },
}

impl Pace {
    /// When the next request is due, if it is by `now`.
    pub(super) fn due(&self, now: Nanos) -> Option<Nanos> {
        match self {
            Pace::Closed => Some(now),
            Pace::Open { next, .. } => (*next <= now.0 as f64).then_some(Nanos(*next as u64)),
        }
    }

    /// The request that was due is made.
    pub(super) fn advance(&mut self) {
        if let Pace::Open { gap_ns, poisson, next, chance } = self {
            *next += if *poisson { exponential(chance, *gap_ns) } else { *gap_ns };
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    busy: bool,
    planned: Planned,
    intended: Nanos,
    sent: Nanos,
}

pub(super) struct Session {
    thread: Rc<Thread>,
    protocol: Protocol,
    endpoints: Vec<SocketAddr>,
    /// Which endpoint is connected to.
    endpoint: usize,
    wires: Option<Wires>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    pace: Pace,
    /// Planned and due, but there was no room on its connection.
    held: Option<(Planned, Nanos)>,
    timer: Option<Timer>,
}

/// When a wake-up comes, and what brings it.
pub(super) type Timer = (Nanos, Pin<Box<dyn Future<Output = ()>>>);

impl Session {
    pub(super) fn new(
        thread: Rc<Thread>,
        (protocol, wires): (Protocol, Wires),
        (endpoints, endpoint): (Vec<SocketAddr>, usize),
        outstanding: u32,
        pace: Pace,
    ) -> Session {
        Session {
            thread,
            protocol,
            endpoints,
            endpoint,
            wires: Some(wires),
            slots: vec![Slot::default(); outstanding as usize],
            free: (0..outstanding).rev().collect(),
            pace,
            held: None,
            timer: None,
        }
    }

    /// Makes requests until the end; then waits for their answers, but not for ever.
    pub(super) async fn run(mut self) {
        let patience = self.thread.clock.drained.0.saturating_sub(rt::now().0);
        let run = rt::within(Duration::from_nanos(patience), self.requests());
        run.await;
        self.give_up(UNANSWERED, "no answer by the end of the drain");
        self.count_unsent();
    }

    async fn requests(&mut self) {
        loop {
            let lost = match poll_fn(|cx| self.poll_turn(cx)).await {
                Ok(()) => return,
                Err(lost) => lost,
            };
            self.give_up(CONNECTION_LOST, &lost.0);
            self.wires = None;
            let mut pause = RECONNECT_MIN;
            while self.wires.is_none() {
                if self.is_over(rt::now()) {
                    return;
                }
                rt::sleep(pause).await;
                pause = (pause * 2).min(RECONNECT_MAX);
                self.endpoint = (self.endpoint + 1) % self.endpoints.len();
                let address = self.endpoints[self.endpoint];
                match Wires::connect(self.protocol, address, self.slots.len() as u32).await {
                    Ok(wires) => self.wires = Some(wires),
                    Err(lost) => {
                        let attempts = Attempts { failed: 1, text: Some(lost.0) };
                        self.thread.recorder.borrow_mut().not_connected(attempts);
                    }
                }
            }
        }
    }

    /// Ready when everything is asked and answered, or the connection is lost.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        for _ in 0..ROUNDS_MAX {
            let read = match self.take_answers(cx) {
                Ok(read) => read,
                Err(lost) => return Poll::Ready(Err(lost)),
            };
            let now = rt::now();
            self.write_requests(now);
            if let Some(Err(lost)) = self.wires.as_mut().map(|wires| wires.poll_flush(cx)) {
                return Poll::Ready(Err(lost));
            }
            if self.free.len() == self.slots.len() && self.is_over(now) {
                return Poll::Ready(Ok(()));
            }
            if !read && self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether no further request is to be made.
    fn is_over(&self, now: Nanos) -> bool {
        now >= self.thread.clock.end || (self.thread.budget.get() == 0 && self.held.is_none())
    }

    fn take_answers(&mut self, cx: &mut Context<'_>) -> Result<bool, Lost> {
        let Session { wires, slots, free, thread, endpoint, .. } = self;
        let Some(wires) = wires else { return Ok(false) };
        let mut now = None;
        let mut source = thread.source.borrow_mut();
        let mut recorder = thread.recorder.borrow_mut();
        wires.poll_answers(cx, |Answer { slot: number, result, .. }| {
            // One reading of the clock for everything that came at once.
            let now = *now.get_or_insert_with(rt::now);
            let Some(slot) = slots.get_mut(number as usize).filter(|slot| slot.busy) else {
                return recorder.failed(0, 13, "an answer to nothing that was asked");
            };
            slot.busy = false;
            free.push(number);
            let Slot { planned, intended, sent, .. } = *slot;
            match result {
                Ok(answer) => {
                    let found = source.learn(&planned, answer);
                    if found == Found::Wrong {
                        recorder.ended_at(*endpoint, intended, now, Some(WRONG_VALUE));
                        let text = source.wrong(&planned, answer);
                        return recorder.failed(planned.step, WRONG_VALUE, &text);
                    }
                    recorder.answered(planned.step, intended, sent, now, found);
                    recorder.ended_at(*endpoint, intended, now, None);
                    if let Some(acks) = &thread.acks {
                        acks.borrow_mut().note(&mut source, &planned, found, answer);
                    }
                }
                Err((code, text)) => {
                    source.ended(&planned);
                    recorder.ended_at(*endpoint, intended, now, Some(code as usize));
                    recorder.failed(planned.step, code as usize, text);
                }
            }
        })
    }

    fn write_requests(&mut self, now: Nanos) {
        let Some(wires) = &mut self.wires else { return };
        let mut source = self.thread.source.borrow_mut();
        while let Some(&number) = self.free.last() {
            let (planned, intended) = match self.held.take() {
                Some(held) => held,
                None => {
                    let budget = self.thread.budget.get();
                    let Some(intended) = self.pace.due(now) else { return };
                    if budget == 0 || intended >= self.thread.clock.end {
                        return;
                    }
                    self.thread.budget.set(budget - 1);
                    self.pace.advance();
                    (source.plan(), intended)
                }
            };
            let Some(place) = wires.place(source.route(&planned)) else {
                self.held = Some((planned, intended));
                return;
            };
            self.free.pop();
            let slot = &mut self.slots[number as usize];
            *slot = Slot { busy: true, planned, intended, sent: now };
            let method = source.method(&planned);
            wires.send(place, number, method, |out| source.write(&planned, out));
        }
    }

    /// Pending until the next request is due, or until an answer comes if none can be sent.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Pace::Open { next, .. } = self.pace else { return Poll::Pending };
        let due = Nanos(next as u64).min(self.thread.clock.end);
        if self.free.is_empty() || self.held.is_some() {
            return Poll::Pending;
        }
        loop {
            let now = rt::now();
            if due <= now && now < self.thread.clock.end {
                return Poll::Ready(());
            }
            let (_, timer) = match &mut self.timer {
                Some(timer) if timer.0 <= due => timer,
                _ => {
                    let pause = Duration::from_nanos(due.0.saturating_sub(now.0).max(1));
                    self.timer.insert((due, Box::pin(rt::sleep(pause))))
                }
            };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
            if now >= self.thread.clock.end {
                return Poll::Pending;
            }
        }
    }

    /// The outcome of everything under way is unknown.
    fn give_up(&mut self, code: usize, text: &str) {
        let now = rt::now();
        let mut recorder = self.thread.recorder.borrow_mut();
        let mut source = self.thread.source.borrow_mut();
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if std::mem::take(&mut slot.busy) {
                let times = (slot.intended, slot.sent, now);
                recorder.given_up(slot.planned.step, code, times, text);
                recorder.ended_at(self.endpoint, slot.intended, now, Some(code));
                source.ended(&slot.planned);
                if let Some(acks) = &self.thread.acks {
                    acks.borrow_mut().doubt(&mut source, &slot.planned);
                }
                self.free.push(number as u32);
            }
        }
    }

    fn count_unsent(&mut self) {
        // What was due until the end has waited at least until then.
        let (end, budget) = (self.thread.clock.end, &self.thread.budget);
        let now = rt::now().max(end);
        let mut recorder = self.thread.recorder.borrow_mut();
        let mut source = self.thread.source.borrow_mut();
        if let Some((planned, intended)) = self.held.take() {
            recorder.unsent(planned.step, intended, now);
        }
        if matches!(self.pace, Pace::Closed) {
            return;
        }
        while let Some(due) = self.pace.due(end).filter(|due| *due < end && budget.get() > 0) {
            budget.set(budget.get() - 1);
            recorder.unsent(source.plan().step, due, now);
            self.pace.advance();
        }
    }
}
