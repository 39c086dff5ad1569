//! The tasks and streams that wait for answers, by ticket.
//!
//! A ticket is a slot of a slab and the slot's generation, so that an answer that comes late, after
//! its client left, meets nobody instead of whoever has the slot now.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

use slab::Slab;

use super::frames::{RequestHold, Session};
use super::grpc::UnaryCall;
use super::slow::RequestRecord;
use crate::member::{Answer, Ticket};
use crate::protocol::Method;

/// The destination of an answer.
pub(super) enum Waiter {
    /// To a stream of a connection that speaks frames.
    Frames { session: Rc<Session>, stream: u32, method: Method, held: RequestHold },
    /// To a stream of HTTP/2.
    Grpc(UnaryCall),
    /// To a task of this executor.
    Task(Rc<OneShot>),
}

impl Waiter {
    /// Returns the address of the client, if one called.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        match self {
            Waiter::Frames { session, .. } => Some(session.remote),
            Waiter::Grpc(call) => Some(call.remote()),
            Waiter::Task(_) => None,
        }
    }

    /// The method that was called, where a client called one.
    pub(super) fn method(&self) -> Option<Method> {
        match self {
            Waiter::Frames { method, .. } => Some(*method),
            Waiter::Grpc(call) => Some(call.method),
            Waiter::Task(_) => None,
        }
    }
}

/// A one-shot channel by which a task gets its answer.
#[derive(Default)]
pub(super) struct OneShot {
    state: RefCell<OneShotState>,
}

#[derive(Default)]
struct OneShotState {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl OneShot {
    pub(super) fn put(&self, answer: Answer) {
        let mut state = self.state.borrow_mut();
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The answer, or a wake-up of `waker` when it is there.
    pub(super) fn take(&self, waker: &Waker) -> Option<Answer> {
        let mut state = self.state.borrow_mut();
        if state.answer.is_none() {
            state.waker = Some(waker.clone());
        }
        state.answer.take()
    }
}

/// Every request of the core's connections that has no answer yet.
#[derive(Default)]
pub(super) struct Waiters {
    slots: Slab<(u32, RequestRecord, Waiter)>,
    generation: u32,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn insert(&mut self, record: RequestRecord, waiter: Waiter) -> Ticket {
        self.generation = self.generation.wrapping_add(1);
        let slot = self.slots.insert((self.generation, record, waiter));
        let slot = u32::try_from(slot).expect("CORE_REQUESTS_MAX bounds the slots");
        Ticket(u64::from(self.generation) << 32 | u64::from(slot))
    }

    /// Returns the waiter with the ticket; `None` if there is none any more.
    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        let (slot, generation) = parts(ticket);
        self.slots.get_mut(slot).filter(|(own, ..)| *own == generation).map(|(.., waiter)| waiter)
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<(RequestRecord, Waiter)> {
        self.get_mut(ticket)?;
        let (_, record, waiter) = self.slots.remove(parts(ticket).0);
        Some((record, waiter))
    }
}

fn parts(ticket: Ticket) -> (usize, u32) {
    (ticket.place(), (ticket.0 >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_meets_nobody_after_its_slot_was_given_to_another() {
        let mut waiters = Waiters::default();
        let first = waiters.insert(RequestRecord::default(), Waiter::Task(Rc::default()));
        assert!(waiters.remove(first).is_some());
        let second = waiters.insert(RequestRecord::default(), Waiter::Task(Rc::default()));
        assert_eq!(parts(first).0, parts(second).0, "the slot is used again");
        assert!(waiters.get_mut(first).is_none());
        assert!(waiters.remove(first).is_none());
        assert!(waiters.get_mut(second).is_some());
        assert_eq!(waiters.len(), 1);
    }
}
