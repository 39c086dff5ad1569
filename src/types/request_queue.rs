//! A queue of requests that wait for their turn, any of which its client may cancel.

use std::collections::VecDeque;
use std::hash::Hash;

use rustc_hash::FxHashSet;

/// A request that can be cancelled by its id, which no other request ever has.
pub trait Cancellable {
    /// The type that names a request.
    type Id: Copy + Eq + Hash;

    /// Returns the name of the request.
    fn id(&self) -> Self::Id;
}

/// Requests in order of arrival.
///
/// A cancelled request is passed over when its turn comes, and dropped before if there are many of
/// them: at most an eighth of the queue is held for nobody. Cancelling looks at eight requests, as
/// far as that can be spread over all cancellations, however many wait.
#[derive(Debug)]
pub struct RequestQueue<T: Cancellable> {
    requests: VecDeque<T>,
    /// Some of these may be here no more.
    cancelled: FxHashSet<T::Id>,
}

/// One cancelled request may be held for so many that wait.
const HELD_PART: usize = 8;

impl<T: Cancellable> Default for RequestQueue<T> {
    fn default() -> RequestQueue<T> {
        RequestQueue { requests: VecDeque::new(), cancelled: FxHashSet::default() }
    }
}

impl<T: Cancellable> RequestQueue<T> {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Requests held: those that wait, and some that were cancelled.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Adds the newest.
    pub fn push_back(&mut self, request: T) {
        self.requests.push_back(request);
    }

    /// Puts one back that was the oldest.
    pub fn push_front(&mut self, request: T) {
        self.requests.push_front(request);
    }

    /// Returns the oldest that waits.
    pub fn front(&self) -> Option<&T> {
        self.iter().next()
    }

    /// Takes the oldest that waits.
    pub fn pop_front(&mut self) -> Option<T> {
        loop {
            let Some(request) = self.requests.pop_front() else {
                self.cancelled.clear();
                return None;
            };
            if self.cancelled.is_empty() || !self.cancelled.remove(&request.id()) {
                return Some(request);
            }
        }
    }

    /// Iterates over the requests that wait, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let cancelled = &self.cancelled;
        let waits = move |request: &&T| cancelled.is_empty() || !cancelled.contains(&request.id());
        self.requests.iter().filter(waits)
    }

    /// The client of this request has left; it is no error if the request is not here any more.
    /// Returns how many requests were looked at.
    pub fn cancel(&mut self, id: T::Id) -> usize {
        self.cancelled.insert(id);
        if self.cancelled.len() * HELD_PART < self.requests.len() {
            return 0;
        }
        let visited = self.requests.len();
        self.requests.retain(|request| !self.cancelled.contains(&request.id()));
        self.cancelled.clear();
        visited
    }

    /// Takes all that wait, oldest first.
    pub fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        let RequestQueue { requests, cancelled } = std::mem::take(self);
        requests.into_iter().filter(move |request| !cancelled.contains(&request.id()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Cancellable for u32 {
        type Id = u32;

        fn id(&self) -> u32 {
            *self
        }
    }

    #[test]
    fn cancelling_everything_looks_at_each_request_a_few_times() {
        const COUNT: u32 = 16_000;
        let orders: [fn(u32) -> u32; 3] = [|i| i, |i| COUNT - 1 - i, |i| i * 7919 % COUNT];
        for order in orders {
            let mut queue = RequestQueue::default();
            (0..COUNT).for_each(|i| queue.push_back(i));
            let visited: usize = (0..COUNT).map(|i| queue.cancel(order(i))).sum();
            assert!(visited <= 9 * COUNT as usize, "{visited}");
            assert!(queue.is_empty() && queue.requests.len() <= HELD_PART);
        }
    }

    #[test]
    fn cancelling_what_is_no_more_here_keeps_nothing() {
        let mut queue = RequestQueue::default();
        (0..100).for_each(|i| queue.push_back(i));
        let visited: usize = (1000..100_000).map(|i| queue.cancel(i)).sum();
        assert!(visited <= 9 * 99_000, "{visited}");
        assert!(queue.cancelled.len() <= 100 / HELD_PART);
        assert_eq!(queue.iter().count(), 100);
        while queue.pop_front().is_some() {}
        assert!(queue.cancelled.is_empty());
    }

    proptest! {
        #[test]
        fn is_a_plain_list_whose_cancelled_requests_are_gone(
            steps in prop::collection::vec((0..4u8, 0..64u32), 0..200),
        ) {
            let (mut queue, mut plain) = (RequestQueue::default(), VecDeque::new());
            let mut next = 0;
            for (step, number) in steps {
                match step {
                    0 | 1 => {
                        queue.push_back(next);
                        plain.push_back(next);
                        next += 1;
                    }
                    2 if number < next => {
                        queue.cancel(number);
                        plain.retain(|request| *request != number);
                    }
                    2 => {}
                    _ => {
                        let front = queue.pop_front();
                        prop_assert_eq!(front, plain.pop_front());
                        if let Some(front) = front.filter(|_| number % 2 == 0) {
                            queue.push_front(front);
                            plain.push_front(front);
                        }
                    }
                }
                prop_assert_eq!(queue.front(), plain.front());
                prop_assert_eq!(queue.is_empty(), plain.is_empty());
                prop_assert!(queue.iter().eq(&plain));
            }
            prop_assert!(queue.take_all().eq(plain));
        }
    }
}
