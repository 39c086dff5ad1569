//! Answers that wait for room in the output.

use std::collections::BTreeMap;

use crate::budget::Charge;
use crate::protocol::Method;
use crate::types::Reply;

/// Answers that wait for room in the output, oldest first.
#[derive(Default)]
pub(super) struct Owed {
    answers: BTreeMap<u64, (OwedAnswer, Charge)>,
    pushed: u64,
}

/// Stream, method and answer.
pub(super) type OwedAnswer = (u32, Method, Reply);

/// The place of an answer that waits.
pub(super) struct OwedPlace(u64);

impl Owed {
    pub(super) fn push(&mut self, answer: OwedAnswer, charge: Charge) -> OwedPlace {
        self.pushed += 1;
        self.answers.insert(self.pushed, (answer, charge));
        OwedPlace(self.pushed)
    }

    pub(super) fn pop(&mut self) -> Option<OwedAnswer> {
        self.answers.pop_first().map(|(_, (answer, _))| answer)
    }

    pub(super) fn remove(&mut self, place: OwedPlace) {
        self.answers.remove(&place.0);
    }
}
