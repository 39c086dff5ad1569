//! A bounded queue from one core to another: one sender, one receiver, no lock.
//!
//! ```text
//!  slots   [ . . 5 6 7 . . . ]      head = 2: the receiver's next     (it alone writes head)
//!                ▲     ▲            tail = 5: the sender's next free  (it alone writes tail)
//!               head  tail          both only count up; a slot is their value modulo capacity
//! ```
//!
//! Invariants: `head ≤ tail ≤ head + capacity`; the slots `head..tail` are filled and belong to the
//! receiver, the others are empty and belong to the sender. Each side hands slots over by a
//! release store to its counter, and keeps a copy of the other's so as to read it only when that
//! copy says "full" or "empty".
//!
//! It wakes nobody: the sender asks [`Waits::pushed`](super::wake::Waits::pushed) after a push, or
//! after several.

use std::mem::MaybeUninit;

use super::atomics::{Arc, AtomicUsize, Ordering, Padded, UnsafeCell};

/// There is no room; here it is back.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// Returns a mailbox for up to `capacity` messages.
pub fn mailbox<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a mailbox has room for something");
    let slots = (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let head = Padded(AtomicUsize::new(0));
    let tail = Padded(AtomicUsize::new(0));
    let ring = Arc::new(Ring { slots, head, tail });
    let sender = Sender { ring: Arc::clone(&ring), tail: 0, head_seen: 0 };
    (sender, Receiver { ring, head: 0, tail_seen: 0 })
}

/// The end that fills. There is exactly one.
#[derive(Debug)]
pub struct Sender<T> {
    ring: Arc<Ring<T>>,
    tail: usize,
    head_seen: usize,
}

/// The end that empties. There is exactly one.
#[derive(Debug)]
pub struct Receiver<T> {
    ring: Arc<Ring<T>>,
    head: usize,
    tail_seen: usize,
}

#[derive(Debug)]
struct Ring<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    head: Padded<AtomicUsize>,
    tail: Padded<AtomicUsize>,
}

// SAFETY: a slot is accessed by the sender or by the receiver, never by both: see the invariants
// above. What passes through is moved from one thread to another, hence `T: Send`.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: as above; whoever drops the ring drops what is left in it.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T> Ring<T> {
    fn slot(&self, count: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[count % self.slots.len()]
    }

    fn len(&self) -> usize {
        // The head first: it can then only be too low, and the difference too high.
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Acquire);
        (tail - head).min(self.slots.len())
    }
}

impl<T> Sender<T> {
    /// Puts one message in, or hands it back.
    pub fn push(&mut self, message: T) -> Result<(), Full<T>> {
        if self.room() == 0 {
            return Err(Full(message));
        }
        self.ring.slot(self.tail).with_mut(|slot| {
            // SAFETY: tail - head < capacity, so the slot at tail is empty and the sender's; the
            // acquire load of head in `room` put the receiver's last use of it before this.
            unsafe { (*slot).write(message) };
        });
        self.tail += 1;
        self.ring.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Returns how many more fit now, at least.
    pub fn room(&mut self) -> usize {
        let capacity = self.ring.slots.len();
        if self.tail - self.head_seen == capacity {
            self.head_seen = self.ring.head.load(Ordering::Acquire);
        }
        capacity - (self.tail - self.head_seen)
    }

    /// Returns about how many messages are in it, for metrics.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether it is about empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest message out.
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail_seen {
            self.tail_seen = self.ring.tail.load(Ordering::Acquire);
        }
        if self.head == self.tail_seen {
            return None;
        }
        // SAFETY: head < tail, so the slot at head is filled and the receiver's; the acquire load
        // of tail above put the sender's write before this. Counting head up gives it
        // back as empty.
        let message =
            self.ring.slot(self.head).with_mut(|slot| unsafe { (*slot).assume_init_read() });
        self.head += 1;
        self.ring.head.store(self.head, Ordering::Release);
        Some(message)
    }

    /// Whether there is nothing. It is exact about everything pushed before, and to be asked again
    /// before parking.
    pub fn is_empty(&self) -> bool {
        self.head == self.ring.tail.load(Ordering::Acquire)
    }

    /// Returns about how many messages are in it, for metrics.
    pub fn len(&self) -> usize {
        self.ring.len()
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // Both ends are gone: what was pushed and not popped is ours.
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Acquire);
        for count in head..tail {
            // SAFETY: the slots head..tail are filled, and nobody else has the ring any more.
            self.slot(count).with_mut(|slot| unsafe { (*slot).assume_init_drop() });
        }
    }
}
