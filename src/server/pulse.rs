//! Connections that make no progress, because the client owes the rest of something that it has
//! begun, or because it reads nothing of what it is sent.
//!
//! No timer is set or cleared while bytes move. Every connection notes since when it has been
//! waiting, and one task of the core looks at all of the notes a few times in the time that is
//! allowed. It shuts down the socket of a connection that has waited for too long; the task that
//! serves the connection then reads the end of the stream, as if the client had left.

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::time::Duration;

use slab::Slab;

use crate::budget::Account;
use crate::limits::PASS_UNREAD_BYTES_MIN;
use crate::rt::TcpStream;
use crate::types::Nanos;

/// The part of the time for which a client may owe the rest of a message that is left to it while
/// others wait for the memory that it holds, if too little of the rest waits to be read.
const STALL_PARTS_PRESSED: u32 = 6;

/// Notes of since when one connection has been waiting for its client.
pub(super) struct Pulse {
    /// A request under way keeps these notes, and is not to keep the socket open.
    stream: Weak<TcpStream>,
    account: Rc<Account>,
    owed: Cell<Option<Owed>>,
}

/// The rest of something that a client has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// The connection is read, and nothing has come since then.
    Since(Nanos),
    /// Nothing has been read since `heard` because the connection is not read from. The client owes
    /// the rest, which is `missing` bytes, if nothing of it waits in the socket.
    UnreadSince { heard: Nanos, missing: usize },
}

impl Pulse {
    /// Returns the connection's account of the member's memory.
    pub(super) fn account(&self) -> &Rc<Account> {
        &self.account
    }

    /// Notes what the client owes; `None` if it owes nothing.
    pub(super) fn owes(&self, owed: Option<Owed>) {
        self.owed.set(owed);
    }

    pub(super) fn is_owed(&self) -> bool {
        self.owed.get().is_some()
    }

    /// Returns why the connection is to end at `now`, if it is to. See [`Pulses::end_stalled`].
    fn verdict(
        &self,
        stream: &TcpStream,
        now: Nanos,
        owing: Duration,
        blocked: Duration,
    ) -> Option<&'static str> {
        let over = |since: Nanos, limit: Duration| {
            now.0.saturating_sub(since.0) as u128 >= limit.as_nanos()
        };
        if stream.blocked_since().is_some_and(|since| over(since, blocked)) {
            return Some("the client reads nothing of what it is sent");
        }
        let is_owed = match self.owed.get() {
            Some(Owed::Since(since)) => over(since, owing),
            Some(Owed::UnreadSince { heard, missing }) => {
                let is_silent = || stream.unread_bytes() == 0;
                let is_slow = || stream.unread_bytes() < missing.min(PASS_UNREAD_BYTES_MIN);
                let is_pressed = self.account.core_budget().budget().is_full();
                over(heard, owing) && is_silent()
                    || is_pressed && over(heard, owing / STALL_PARTS_PRESSED) && is_slow()
            }
            None => false,
        };
        is_owed.then_some("the rest of what the client began did not come")
    }
}

/// The notes of every connection of a core.
#[derive(Default)]
pub(super) struct Pulses(RefCell<Slab<Rc<Pulse>>>);

impl Pulses {
    /// Keeps notes of the connection `stream`, whose memory `account` counts, until the value that
    /// it returns is dropped.
    pub(super) fn attend(&self, stream: &Rc<TcpStream>, account: Rc<Account>) -> Attended<'_> {
        let stream = Rc::downgrade(stream);
        let pulse = Rc::new(Pulse { stream, account, owed: Cell::new(None) });
        let key = self.0.borrow_mut().insert(pulse.clone());
        Attended { pulses: self, key, pulse }
    }

    /// Shuts down every connection that has waited for too long at `now`, and returns their number.
    /// A client may owe the rest of something for `owing`, and read nothing for `blocked`.
    pub(super) fn end_stalled(&self, now: Nanos, owing: Duration, blocked: Duration) -> usize {
        let mut ended = 0;
        for (_, pulse) in self.0.borrow().iter() {
            if let Some(stream) = pulse.stream.upgrade()
                && let Some(why) = pulse.verdict(&stream, now, owing, blocked)
            {
                tracing::debug!(peer = %stream.peer(), why, "connection stalled");
                stream.shut_down(Shutdown::Both);
                ended += 1;
            }
        }
        ended
    }
}

impl Pulses {
    /// Shuts down the connection that has the pass of its core's budget.
    pub(super) fn end_pass_holder(&self) {
        for (_, pulse) in self.0.borrow().iter() {
            if pulse.account.has_slow_pass()
                && let Some(stream) = pulse.stream.upgrade()
            {
                let peer = stream.peer();
                tracing::debug!(%peer, "connection too slow: others wait for memory that it holds");
                stream.shut_down(Shutdown::Both);
            }
        }
    }
}

/// The notes of one connection, which are kept until this is dropped.
pub(super) struct Attended<'a> {
    pulses: &'a Pulses,
    key: usize,
    pulse: Rc<Pulse>,
}

impl Attended<'_> {
    pub(super) fn pulse(&self) -> Rc<Pulse> {
        self.pulse.clone()
    }
}

impl Deref for Attended<'_> {
    type Target = Pulse;

    fn deref(&self) -> &Pulse {
        &self.pulse
    }
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.pulses.0.borrow_mut().remove(self.key);
    }
}
