//! A bounded queue into an executor from any thread, for what is rare: new connections, scrapes,
//! commands. (Traffic between cores goes through the architect's mailboxes and a [`Ringer`].)

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::doorbell::{Doorbell, Parts, Ringer};
use super::notify::Notify;

/// The sending end; clone it to any thread.
pub struct InboxSender<T> {
    queue: Arc<Queue<T>>,
    ringer: Ringer,
}

impl<T> Clone for InboxSender<T> {
    fn clone(&self) -> InboxSender<T> {
        InboxSender { queue: self.queue.clone(), ringer: self.ringer.clone() }
    }
}

/// The queue was full, or nobody receives any more; this is what was to be sent.
#[derive(Debug)]
pub struct InboxFull<T>(pub T);

/// The receiving end before it is on its executor. `Send`, so that all cores' inboxes can be made
/// before the cores are started.
pub struct Inbox<T> {
    queue: Arc<Queue<T>>,
    bell: Parts,
}

/// The receiving end on its executor.
pub struct OpenInbox<T> {
    queue: Arc<Queue<T>>,
    notify: Rc<Notify>,
    _bell: Doorbell,
}

struct Queue<T> {
    items: Mutex<Items<T>>,
    items_max: usize,
}

struct Items<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, Items<T>> {
        // Nothing panics while it holds the lock.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inbox<T> {
    /// Makes an inbox for at most `items_max` things.
    pub fn new(items_max: usize) -> io::Result<(InboxSender<T>, Inbox<T>)> {
        let items = Mutex::new(Items { waiting: VecDeque::new(), closed: false });
        let queue = Arc::new(Queue { items, items_max });
        let bell = Parts::new()?;
        let sender = InboxSender { queue: queue.clone(), ringer: bell.ringer() };
        Ok((sender, Inbox { queue, bell }))
    }

    /// Opens it on the calling executor.
    pub fn open(self) -> io::Result<OpenInbox<T>> {
        let notify = Rc::new(Notify::new());
        let bell = self.bell.open(notify.clone())?;
        Ok(OpenInbox { queue: self.queue, notify, _bell: bell })
    }
}

impl<T> OpenInbox<T> {
    /// Returns the next thing sent.
    pub async fn receive(&self) -> T {
        loop {
            let item = self.queue.lock().waiting.pop_front();
            match item {
                Some(item) => return item,
                None => self.notify.wait().await,
            }
        }
    }
}

impl<T> Drop for OpenInbox<T> {
    fn drop(&mut self) {
        let mut items = self.queue.lock();
        items.closed = true;
        items.waiting.clear();
    }
}

impl<T> InboxSender<T> {
    /// Queues `item` and wakes the receiver.
    pub fn send(&self, item: T) -> Result<(), InboxFull<T>> {
        self.send_from(item)
    }

    /// Sends the item that is made from `item` once there is room for it; otherwise works as
    /// [`InboxSender::send`].
    pub fn send_from<S>(&self, item: S) -> Result<(), InboxFull<S>>
    where
        T: From<S>,
    {
        {
            let mut items = self.queue.lock();
            if items.closed || items.waiting.len() >= self.queue.items_max {
                return Err(InboxFull(item));
            }
            items.waiting.push_back(T::from(item));
        }
        self.ringer.ring();
        Ok(())
    }
}
