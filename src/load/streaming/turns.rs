//! The loop that writers and keepers share: it makes a client's requests when they are due.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::load::record::{CONNECTION_LOST, UNANSWERED};
use crate::load::session::{Pace, Thread, Timer};
use crate::load::wire::{Answer, Lost, Wires};
use crate::rt;
use crate::types::Nanos;

/// Rounds of a turn before the other tasks of the thread have theirs.
const ROUNDS_MAX: u32 = 16;

/// The work of a client in its turns.
pub(super) trait Work {
    /// The row that its requests count in.
    const ROW: u16;

    /// Whether another request may be made; if not, what it waits for wakes the task, unless that
    /// happens on another thread.
    fn has_slot(&mut self, cx: &mut Context<'_>) -> bool;

    /// Writes the next request, which was due at `intended`; false if there is no room now.
    fn write(&mut self, wires: &mut Wires, intended: Nanos, now: Nanos) -> bool;

    fn take(&mut self, answer: Answer<'_>, now: Nanos);

    /// Requests that are not answered.
    fn under_way(&self) -> usize;

    /// Nothing under way will be answered any more.
    fn give_up(&mut self, code: usize, text: &str, now: Nanos);
}

/// Makes requests until the end and waits for the answers, but not for ever. `look` is how long at
/// most it waits for something that happens on another thread. A lost connection ends it early.
pub(super) async fn make_requests<W: Work>(
    work: W,
    wires: Wires,
    thread: Rc<Thread>,
    pace: Pace,
    look: Duration,
) {
    let mut client = Client { work, wires, thread, pace, timer: None };
    let (code, text) = loop {
        match rt::within(look, poll_fn(|cx| client.poll_turn(cx))).await {
            Some(Ok(())) => break (UNANSWERED, String::new()),
            Some(Err(lost)) => break (CONNECTION_LOST, lost.0),
            None if rt::now() >= client.thread.clock.drained => {
                break (UNANSWERED, "no answer by the end of the drain".to_owned());
            }
            None => {}
        }
    };
    let now = rt::now();
    if code == CONNECTION_LOST && client.work.under_way() == 0 {
        // Nothing was under way, and all the same the client ends before its time.
        client.thread.recorder.borrow_mut().failed(W::ROW, code, &text);
    }
    client.work.give_up(code, &text, now);
    // What was due until the end has waited at least until then.
    client.count_unsent(now.max(client.thread.clock.end));
}

struct Client<W> {
    work: W,
    wires: Wires,
    thread: Rc<Thread>,
    pace: Pace,
    timer: Option<Timer>,
}

impl<W: Work> Client<W> {
    /// Ready when everything is asked and answered, or the connection is lost.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        for _ in 0..ROUNDS_MAX {
            let mut now = None;
            let work = &mut self.work;
            let read = self.wires.poll_answers(cx, |answer| {
                // One reading of the clock for everything that came at once.
                work.take(answer, *now.get_or_insert_with(rt::now));
            })?;
            let now = rt::now();
            let may_write = self.write_due(now, cx);
            self.wires.poll_flush(cx)?;
            if self.work.under_way() == 0 && self.is_over(now) {
                return Poll::Ready(Ok(()));
            }
            let waits = !may_write || self.poll_due(cx).is_pending();
            if !read && waits {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_over(&self, now: Nanos) -> bool {
        now >= self.thread.clock.end || self.thread.budget.get() == 0
    }

    /// Writes what is due; whether the next one can be written as soon as it is.
    fn write_due(&mut self, now: Nanos, cx: &mut Context<'_>) -> bool {
        while self.thread.budget.get() > 0 && self.work.has_slot(cx) {
            let Some(intended) = self.pace.due(now) else { return true };
            if intended >= self.thread.clock.end || !self.work.write(&mut self.wires, intended, now)
            {
                return false;
            }
            self.thread.budget.set(self.thread.budget.get() - 1);
            self.pace.advance();
        }
        false
    }

    /// Pending until the next request of an open loop is due.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Pace::Open { next, .. } = self.pace else { return Poll::Pending };
        let due = Nanos(next as u64);
        loop {
            let now = rt::now();
            if due <= now {
                return Poll::Ready(());
            }
            let (_, timer) = match &mut self.timer {
                Some(timer) if timer.0 <= due => timer,
                _ => {
                    let pause = Duration::from_nanos(due.0 - now.0);
                    self.timer.insert((due, Box::pin(rt::sleep(pause))))
                }
            };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }

    fn count_unsent(&mut self, now: Nanos) {
        if let Pace::Closed = self.pace {
            return;
        }
        let mut recorder = self.thread.recorder.borrow_mut();
        while let Some(due) = self.pace.due(self.thread.clock.end) {
            let budget = self.thread.budget.get();
            if budget == 0 {
                return;
            }
            self.thread.budget.set(budget - 1);
            recorder.unsent(W::ROW, due, now);
            self.pace.advance();
        }
    }
}
