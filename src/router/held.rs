//! Answers that rounds have made, until stable reaches their revisions.

use std::collections::VecDeque;

use crate::types::{Answer, Revision};

/// In order of their revisions; those of one revision in the order in which they came. There is
/// one coordinator, so nearly every answer comes behind all that are here.
#[derive(Debug, Default)]
pub(super) struct Held {
    answers: VecDeque<(Revision, u64, Answer)>,
}

impl Held {
    /// Keeps the answer to `call`.
    pub fn insert(&mut self, revision: Revision, call: u64, answer: Answer) {
        match self.answers.back() {
            Some((last, ..)) if *last > revision => {
                let at = self.answers.partition_point(|(held, ..)| *held <= revision);
                self.answers.insert(at, (revision, call, answer));
            }
            _ => self.answers.push_back((revision, call, answer)),
        }
    }

    /// The lowest revision that something here waits for.
    pub fn lowest(&self) -> Option<Revision> {
        self.answers.front().map(|(revision, ..)| *revision)
    }

    /// The next answer that `stable` has reached, with its call.
    pub fn pop(&mut self, stable: Revision) -> Option<(u64, Answer)> {
        self.lowest().filter(|lowest| *lowest <= stable)?;
        self.answers.pop_front().map(|(_, call, answer)| (call, answer))
    }

    /// The calls whose answers are above `cut`; the answers are gone.
    pub fn drop_above(&mut self, cut: Revision) -> impl Iterator<Item = u64> + use<> {
        let at = self.answers.partition_point(|(held, ..)| *held <= cut);
        self.answers.split_off(at).into_iter().map(|(_, call, _)| call)
    }

    /// Nobody waits for the answer to `call` any more.
    pub fn remove(&mut self, revision: Revision, call: u64) {
        let from = self.answers.partition_point(|(held, ..)| *held < revision);
        let same = self.answers.range(from..).take_while(|(held, ..)| *held == revision);
        let at = same.into_iter().position(|(_, held, _)| *held == call);
        if let Some(at) = at {
            self.answers.remove(from + at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Refusal;

    fn held(entries: &[(i64, u64)]) -> Held {
        let mut held = Held::default();
        for &(revision, call) in entries {
            held.insert(Revision(revision), call, Err(Refusal::Timeout));
        }
        held
    }

    fn released(held: &mut Held, stable: i64) -> Vec<u64> {
        std::iter::from_fn(|| held.pop(Revision(stable))).map(|(call, _)| call).collect()
    }

    #[test]
    fn answers_leave_by_revision_whatever_the_order_of_coming() {
        let mut held = held(&[(7, 1), (5, 2), (9, 3), (5, 4), (8, 5)]);
        assert_eq!(held.lowest(), Some(Revision(5)));
        assert!(released(&mut held, 4).is_empty());
        assert_eq!(released(&mut held, 7), [2, 4, 1]);
        assert_eq!(released(&mut held, 100), [5, 3]);
        assert_eq!(held.lowest(), None);
    }

    #[test]
    fn what_is_above_a_cut_or_cancelled_is_not_released() {
        let mut held = held(&[(5, 1), (6, 2), (6, 3), (7, 4), (8, 5)]);
        held.remove(Revision(6), 2);
        held.remove(Revision(6), 9);
        held.remove(Revision(20), 1);
        assert_eq!(held.drop_above(Revision(6)).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(released(&mut held, 100), [1, 3]);
    }
}
