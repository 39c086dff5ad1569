//! Streams both ways over frames.
//!
//! ```text
//!  reader ──message──▶ Mailbox ──▶ task (streams::watch, streams::keep_alive) ──▶ output
//! ```
//!
//! Frames have no window per stream. A mailbox that is full stops the whole connection from being
//! read until its task has taken something; answers do not wait for that.
//!
//! A stream may end here while messages of its client are on their way. They must not open it
//! again, so its number is remembered until the client has said END or CANCEL on it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;

use super::{Session, UnderWay};
use crate::budget::Charge;
use crate::limits::{STREAM_MESSAGE_BYTES_MAX, STREAM_MESSAGES_MAX, STREAMS_ENDED_MAX};
use crate::protocol::convert::{self, WatchMessage};
use crate::protocol::frame::{Flags, FrameFault};
use crate::protocol::method::Method;
use crate::protocol::status::{self, Status, code};
use crate::rt::{self, Task, WaitList};
use crate::server::streams::{self, Gone, Inlet, Outlet, Said, Terms};
use crate::types::{Reply, WatchStream};

/// A stream both ways that is open.
pub(super) struct Bidi {
    method: Method,
    mailbox: Rc<Mailbox>,
    /// Dropped, it ends.
    task: Task<()>,
}

/// A message, and what keeps its buffer charged.
pub(super) type Message = (Bytes, Rc<Charge>);

/// Messages that the task has not taken.
#[derive(Default)]
struct Mailbox {
    messages: RefCell<VecDeque<Message>>,
    bytes: Cell<usize>,
    /// The client has said END.
    ended: Cell<bool>,
    arrived: WaitList,
}

impl Mailbox {
    fn is_full(&self) -> bool {
        self.messages.borrow().len() >= STREAM_MESSAGES_MAX
            || self.bytes.get() >= STREAM_MESSAGE_BYTES_MAX
    }

    fn push(&self, flags: Flags, message: Message) {
        if !flags.contains(Flags::BARE) {
            self.bytes.set(self.bytes.get() + message.0.len());
            self.messages.borrow_mut().push_back(message);
        }
        self.ended.set(flags.contains(Flags::END));
        self.arrived.wake_all();
    }
}

impl Session {
    /// A frame of a stream both ways: the first one opens it.
    pub(super) fn take_message(
        self: &Rc<Session>,
        method: Method,
        stream: u32,
        flags: Flags,
        message: Message,
    ) -> Result<(), FrameFault> {
        let has_lie = flags.contains(Flags::BARE) && !message.0.is_empty();
        if has_lie || flags.contains(Flags::ERROR) {
            return Err(FrameFault::Flags(flags.0));
        }
        let known = match self.under_way.borrow().get(&stream) {
            None => None,
            Some(UnderWay::Bidi(bidi)) if bidi.method != method => {
                return Err(FrameFault::Stream { stream, opcode: method.opcode() });
            }
            Some(UnderWay::Bidi(bidi)) if !bidi.mailbox.ended.get() => Some(bidi.mailbox.clone()),
            Some(_) => return Err(FrameFault::StreamInUse(stream)),
        };
        if known.is_none() && self.ended.borrow().contains(stream) {
            if flags.contains(Flags::END) {
                self.ended.borrow_mut().forget(stream);
            }
            return Ok(());
        }
        let mailbox = known.unwrap_or_else(|| self.open(method, stream));
        let was_full = mailbox.is_full();
        mailbox.push(flags, message);
        if !was_full && mailbox.is_full() {
            self.inlets_full.set(self.inlets_full.get() + 1);
        }
        Ok(())
    }

    fn open(self: &Rc<Session>, method: Method, stream: u32) -> Rc<Mailbox> {
        let mailbox = Rc::<Mailbox>::default();
        self.front.meters().started(method);
        self.front.settings.figures.client_request(true, None);
        let mut inlet = FrameInlet { session: self.clone(), mailbox: mailbox.clone() };
        let mut outlet = FrameOutlet { session: self.clone(), stream, method };
        let handling = self.front.handling(method);
        let task = rt::spawn(async move {
            let _handling = handling;
            // An executor may begin a task before it is known by its stream.
            rt::yield_now().await;
            let (front, terms) = (&outlet.session.front.clone(), Terms::default());
            let end = match method {
                Method::Watch => streams::watch(front, terms, &mut inlet, &mut outlet).await,
                Method::LeaseKeepAlive => {
                    streams::keep_alive(front, terms, &mut inlet, &mut outlet).await
                }
                _ => Ok(status::of(&method.unimplemented())),
            };
            // A client that has left is told nothing; its connection ends this task itself.
            if let Ok(status) = end {
                outlet.session.end_bidi(stream, method, &status);
            }
        });
        let bidi = Bidi { method, mailbox: mailbox.clone(), task };
        self.under_way.borrow_mut().insert(stream, UnderWay::Bidi(bidi));
        mailbox
    }

    fn end_bidi(&self, stream: u32, method: Method, status: &Status) {
        // The task that calls this must not drop itself.
        if let Some(UnderWay::Bidi(bidi)) = self.under_way.borrow_mut().remove(&stream) {
            bidi.task.detach();
            if !bidi.mailbox.ended.get() {
                self.ended.borrow_mut().remember(stream);
            }
        }
        if status.code == code::OK {
            self.front.meters().handled(method, code::OK);
            self.send(stream, method, Flags::END | Flags::BARE, |_| {});
        } else {
            self.end_with(stream, method, status);
        }
        self.room.notify();
    }
}

struct FrameInlet {
    session: Rc<Session>,
    mailbox: Rc<Mailbox>,
}

impl Inlet for FrameInlet {
    async fn next(&mut self) -> Said {
        let mailbox = &self.mailbox;
        let has_something = || mailbox.ended.get() || !mailbox.messages.borrow().is_empty();
        mailbox.arrived.until(has_something).await;
        let was_full = mailbox.is_full();
        let Some((message, _)) = mailbox.messages.borrow_mut().pop_front() else {
            return Said::End;
        };
        mailbox.bytes.set(mailbox.bytes.get() - message.len());
        if was_full && !mailbox.is_full() {
            self.session.inlet_has_room();
        }
        Said::Message(message)
    }
}

impl Drop for FrameInlet {
    fn drop(&mut self) {
        if self.mailbox.is_full() {
            self.session.inlet_has_room();
        }
    }
}

impl Session {
    fn inlet_has_room(&self) {
        self.inlets_full.set(self.inlets_full.get() - 1);
        self.room.notify();
    }
}

pub(super) struct FrameOutlet {
    pub(super) session: Rc<Session>,
    pub(super) stream: u32,
    pub(super) method: Method,
}

impl FrameOutlet {
    async fn send(&self, payload: impl FnOnce(&mut BytesMut)) {
        self.session.send_when_room(self.stream, self.method, Flags::NONE, payload).await;
        self.session.front.meters().sent(self.method);
    }
}

impl Outlet for FrameOutlet {
    async fn reply(&mut self, reply: &Reply) -> Result<(), Gone> {
        let front = &self.session.front;
        self.send(|out| convert::encode(&front.header(), reply, out)).await;
        Ok(())
    }

    async fn encoded(&mut self, message: Bytes) -> Result<(), Gone> {
        self.send(|out| out.extend_from_slice(&message)).await;
        Ok(())
    }

    async fn watch_message(&mut self, message: &WatchMessage<'_>) -> Result<(), Gone> {
        self.send(|out| message.encode(out)).await;
        Ok(())
    }

    fn give_back(&mut self, stream: WatchStream, bytes: usize) {
        let mut credits = self.session.credits.borrow_mut();
        match credits.last_mut() {
            Some((last, held)) if *last == stream => *held += bytes,
            _ => credits.push((stream, bytes)),
        }
    }

    async fn gone(&mut self) {
        // A client that leaves takes this task with it.
        std::future::pending().await
    }
}

/// The latest streams that ended before their clients had said END.
#[derive(Default)]
pub(super) struct Ended {
    /// The ordinal of each stream that has ended, by stream.
    streams: FxHashMap<u32, u64>,
    /// The ended streams, oldest first; one that has been forgotten may still be here.
    order: VecDeque<(u32, u64)>,
    ended: u64,
}

impl Ended {
    fn contains(&self, stream: u32) -> bool {
        self.streams.contains_key(&stream)
    }

    fn remember(&mut self, stream: u32) {
        self.ended += 1;
        self.streams.insert(stream, self.ended);
        self.order.push_back((stream, self.ended));
        while self.streams.len() > STREAMS_ENDED_MAX {
            let (oldest, number) = self.order.pop_front().expect("each stream is in order");
            if self.streams.get(&oldest) == Some(&number) {
                self.streams.remove(&oldest);
            }
        }
        if self.order.len() > 2 * STREAMS_ENDED_MAX {
            self.order.retain(|(stream, number)| self.streams.get(stream) == Some(number));
        }
    }

    pub(super) fn forget(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_streams_are_remembered_however_many_are_forgotten() {
        let mut ended = Ended::default();
        ended.remember(1);
        for _ in 0..10 {
            for stream in 2..2000 {
                ended.remember(stream);
                ended.forget(stream);
            }
        }
        assert!(ended.contains(1) && !ended.contains(2));
        assert!(ended.order.len() <= 2 * STREAMS_ENDED_MAX);
        // One that has ended again is as young as its latest end.
        (2..2 + STREAMS_ENDED_MAX as u32 - 1).for_each(|stream| ended.remember(stream));
        ended.forget(1);
        ended.remember(1);
        ended.remember(5000);
        assert!(ended.contains(1) && !ended.contains(2) && ended.contains(3));
        assert_eq!(ended.streams.len(), STREAMS_ENDED_MAX);
    }
}
