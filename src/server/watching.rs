//! One watch stream as a task of its executor has it: what it asks goes to the core at once, what
//! it is told waits here until the task takes it.
//!
//! The core bounds what waits: events by their bytes until they are given back as sent,
//! everything else by the room it says it has left.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::front::Front;
use super::meters::{Meters, add, take};
use crate::rt::WaitList;
use crate::types::{WatchReply, WatchRequest, WatchStream};

/// The watch streams of a core's connections, by what the core calls them.
#[derive(Default)]
pub(super) struct Feeds {
    feeds: RefCell<FxHashMap<WatchStream, Rc<Feed>>>,
}

impl Feeds {
    pub(super) fn get(&self, stream: WatchStream) -> Option<Rc<Feed>> {
        self.feeds.borrow().get(&stream).cloned()
    }
}

/// Replies of one stream that it has not taken yet.
#[derive(Default)]
pub(super) struct Feed {
    waiting: RefCell<VecDeque<WatchReply>>,
    pushed: WaitList,
}

impl Feed {
    pub(super) fn push(&self, meters: &Meters, reply: WatchReply) {
        add(&meters.events_pending, events(&reply));
        self.waiting.borrow_mut().push_back(reply);
        self.pushed.wake_all();
    }
}

/// A watch stream. Dropping it closes it: its watchers are gone then.
pub(super) struct Watching {
    front: Rc<Front>,
    stream: WatchStream,
    feed: Rc<Feed>,
}

impl Watching {
    pub(super) fn open(front: &Rc<Front>) -> Watching {
        let stream = front.watch_open();
        let feed = Rc::<Feed>::default();
        let before = front.feeds().feeds.borrow_mut().insert(stream, feed.clone());
        assert!(before.is_none(), "the core opened {stream:?} twice");
        Watching { front: front.clone(), stream, feed }
    }

    pub(super) fn stream(&self) -> WatchStream {
        self.stream
    }

    /// Says something to the core. If it has no room for more, [`Watching::room`] comes first.
    pub(super) fn ask(&self, request: WatchRequest) -> bool {
        self.front.watch(self.stream, request)
    }

    /// Until the core takes another request.
    pub(super) async fn room(&self) {
        // It changes only when the stream is told something.
        self.feed.pushed.until(|| self.front.watch_has_room(self.stream)).await;
    }

    /// Waits for the stream's next reply.
    pub(super) async fn next(&self) -> WatchReply {
        self.feed.pushed.until(|| !self.feed.waiting.borrow().is_empty()).await;
        let reply = self.feed.waiting.borrow_mut().pop_front().expect("just seen");
        take(&self.front.meters().events_pending, events(&reply));
        reply
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.front.feeds().feeds.borrow_mut().remove(&self.stream);
        self.front.watch_close(self.stream);
        let pending: u64 = self.feed.waiting.borrow().iter().map(events).sum();
        take(&self.front.meters().events_pending, pending);
    }
}

fn events(reply: &WatchReply) -> u64 {
    match reply {
        WatchReply::Events(events) => events.events.len() as u64,
        _ => 0,
    }
}
