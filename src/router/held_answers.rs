//! Answers that rounds have made, until stable reaches their revisions.

use std::collections::{BTreeMap, VecDeque};

use crate::types::{Answer, Revision};

/// In order of their revisions; those of one revision in the order in which they came. There is
/// one coordinator, so nearly every answer comes behind all that are here; the others have a place
/// of their own, for one in the midst of many would have to move them.
#[derive(Debug, Default)]
pub(super) struct HeldAnswers {
    /// Those that came in order.
    answers: VecDeque<(Revision, u64, Answer)>,
    /// Those that came late, by revision and by how manieth they were.
    late: BTreeMap<(Revision, u64), (u64, Answer)>,
    lates: u64,
}

impl HeldAnswers {
    /// Keeps the answer to `call`.
    pub fn insert(&mut self, revision: Revision, call: u64, answer: Answer) {
        if self.answers.back().is_some_and(|(last, ..)| *last > revision) {
            self.lates += 1;
            self.late.insert((revision, self.lates), (call, answer));
        } else {
            self.answers.push_back((revision, call, answer));
        }
    }

    /// The lowest revision that something here waits for.
    pub fn lowest(&self) -> Option<Revision> {
        let late = self.late.first_key_value().map(|((revision, _), _)| *revision);
        self.answers.front().map(|(revision, ..)| *revision).into_iter().chain(late).min()
    }

    /// The next answer that `stable` has reached, with its call.
    pub fn pop(&mut self, stable: Revision) -> Option<(u64, Answer)> {
        let lowest = self.lowest().filter(|lowest| *lowest <= stable)?;
        // Answers that came in order came first.
        if self.answers.front().is_some_and(|(revision, ..)| *revision == lowest) {
            return self.answers.pop_front().map(|(_, call, answer)| (call, answer));
        }
        self.late.pop_first().map(|(_, answer)| answer)
    }

    /// The calls whose answers are above `cut`; the answers are gone.
    pub fn drop_above(&mut self, cut: Revision) -> impl Iterator<Item = u64> + use<> {
        let at = self.answers.partition_point(|(held, ..)| *held <= cut);
        let late = self.late.split_off(&(cut.next(), 0));
        let in_order = self.answers.split_off(at).into_iter().map(|(_, call, _)| call);
        in_order.chain(late.into_values().map(|(call, _)| call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Refusal;

    fn held(entries: &[(i64, u64)]) -> HeldAnswers {
        let mut held = HeldAnswers::default();
        for &(revision, call) in entries {
            held.insert(Revision(revision), call, Err(Refusal::Timeout));
        }
        held
    }

    fn released(held: &mut HeldAnswers, stable: i64) -> Vec<u64> {
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
    fn what_is_above_a_cut_is_not_released() {
        let mut held = held(&[(5, 1), (7, 4), (6, 3), (8, 5), (7, 6)]);
        assert_eq!(held.drop_above(Revision(6)).collect::<Vec<_>>(), [4, 5, 6]);
        assert_eq!(released(&mut held, 100), [1, 3]);
    }

    #[test]
    fn an_answer_that_is_late_moves_no_other() {
        let mut held = HeldAnswers::default();
        let expected = (1..1000).flat_map(|i| [2 * i, 2 * i + 1]);
        (1..1000).for_each(|i| held.insert(Revision(2 * i), 2 * i as u64, Err(Refusal::Timeout)));
        for i in (1..1000).rev() {
            held.insert(Revision(2 * i), 2 * i as u64 + 1, Err(Refusal::Timeout));
        }
        assert_eq!((held.answers.len(), held.late.len()), (1000, 998), "the last is in order");
        assert!(released(&mut held, 3000).into_iter().eq(expected));
    }
}
