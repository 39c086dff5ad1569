//! The account of what a shard's files hold of the line, so that a start can account for all of it.
//!
//! Collected while they are read, and only then; what comes of it when all groups are there is
//! `member::account`'s.

use super::entry::Stamp;
use crate::types::{Epoch, Revision, ShardId, ShardSet};

/// The account of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    shard: ShardId,
    /// The newest epoch that was opened here; 0 if none was.
    pub epoch: Epoch,
    /// The highest stable that is recorded.
    pub stable: Revision,
    /// A checkpoint holds everything up to here.
    pub covered: Revision,
    /// The revisions that the log holds above that, void ones aside.
    pub revisions: Revisions,
    /// The revisions among these that other shards take part in.
    pub shared: Vec<(Revision, ShardSet)>,
}

impl Account {
    /// Makes the account of a shard without files.
    pub fn new(shard: ShardId) -> Account {
        Account {
            shard,
            epoch: Epoch(0),
            stable: Revision::EMPTY,
            covered: Revision::EMPTY,
            revisions: Revisions::default(),
            shared: Vec::new(),
        }
    }

    /// A checkpoint covers everything up to `stable`, which was made in `epoch`.
    pub(super) fn cover(&mut self, epoch: Epoch, stable: Revision) {
        (self.epoch, self.stable, self.covered) = (epoch, stable, stable);
    }

    /// An entry records what was stable.
    pub(super) fn record(&mut self, stable: Revision) {
        self.stable = self.stable.max(stable);
    }

    /// From here on, what earlier epochs logged above the cut is void.
    pub(super) fn open(&mut self, stamp: Stamp, cut: Revision) {
        if self.epoch >= stamp.epoch {
            return;
        }
        self.epoch = stamp.epoch;
        self.record(stamp.stable);
        self.revisions.truncate(cut);
        while self.shared.last().is_some_and(|(revision, _)| *revision > cut) {
            self.shared.pop();
        }
    }

    /// The log holds a change of `revision`.
    pub(super) fn add(&mut self, revision: Revision, participants: Option<ShardSet>) {
        if revision <= self.covered || !self.revisions.add(revision) {
            return;
        }
        let others = participants.filter(|set| *set != ShardSet::one(self.shard));
        self.shared.extend(others.map(|set| (revision, set)));
    }
}

/// A set of revisions that grows upwards: 16 bytes for each 64 in a row of which it has any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions(Vec<(i64, u64)>);

const WORD: i64 = 64;

impl Revisions {
    /// Adds one that is not below any before; whether it is new.
    fn add(&mut self, revision: Revision) -> bool {
        let (base, bit) = (revision.0.div_euclid(WORD), 1 << revision.0.rem_euclid(WORD));
        match self.0.last_mut() {
            Some(last) if last.0 == base => {
                let is_new = last.1 & bit == 0;
                last.1 |= bit;
                is_new
            }
            _ => {
                self.0.push((base, bit));
                true
            }
        }
    }

    /// Forgets what is above `cut`.
    fn truncate(&mut self, cut: Revision) {
        let (base, last) = (cut.0.div_euclid(WORD), cut.0.rem_euclid(WORD));
        while self.0.last().is_some_and(|word| word.0 > base) {
            self.0.pop();
        }
        if let Some(word) = self.0.last_mut().filter(|word| word.0 == base) {
            word.1 &= u64::MAX >> (WORD - 1 - last);
            if word.1 == 0 {
                self.0.pop();
            }
        }
    }

    /// Whether it has `revision`.
    pub fn contains(&self, revision: Revision) -> bool {
        let (base, bit) = (revision.0.div_euclid(WORD), 1u64 << revision.0.rem_euclid(WORD));
        let found = self.0.binary_search_by_key(&base, |word| word.0);
        found.is_ok_and(|at| self.0[at].1 & bit != 0)
    }

    /// The highest.
    pub fn last(&self) -> Option<Revision> {
        let (base, word) = self.0.last()?;
        Some(Revision(base * WORD + WORD - 1 - i64::from(word.leading_zeros())))
    }

    /// The lowest revision in `above..=to` that none of the sets has. Visits each word once.
    pub fn first_missing(sets: &[&Revisions], above: Revision, to: Revision) -> Option<Revision> {
        let mut places = vec![0; sets.len()];
        let mut next = above.0 + 1;
        while next <= to.0 {
            let base = next.div_euclid(WORD);
            let mut word = 0;
            for (set, place) in sets.iter().zip(&mut places) {
                while set.0.get(*place).is_some_and(|word| word.0 < base) {
                    *place += 1;
                }
                word |=
                    set.0.get(*place).filter(|found| found.0 == base).map_or(0, |found| found.1);
            }
            let missing = !word & (u64::MAX << next.rem_euclid(WORD));
            if missing != 0 {
                let first = base * WORD + i64::from(missing.trailing_zeros());
                return (first <= to.0).then_some(Revision(first));
            }
            next = (base + 1) * WORD;
        }
        None
    }
}

impl FromIterator<Revision> for Revisions {
    /// Collects revisions that rise.
    fn from_iter<I: IntoIterator<Item = Revision>>(revisions: I) -> Revisions {
        let mut set = Revisions::default();
        for revision in revisions {
            set.add(revision);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn revisions_are_a_set(
            steps in prop::collection::vec(1..90i64, 0..60), cut in 0..2000i64, again in 1..90i64,
        ) {
            let (mut set, mut model, mut at) = (Revisions::default(), BTreeSet::new(), 0);
            for step in steps {
                at += step;
                prop_assert!(set.add(Revision(at)));
                prop_assert!(!set.add(Revision(at)), "it is there");
                model.insert(at);
            }
            set.truncate(Revision(cut));
            model.retain(|&revision| revision <= cut);
            let next = model.last().copied().unwrap_or(0).max(cut) + again;
            set.add(Revision(next));
            model.insert(next);
            prop_assert_eq!(set.last(), model.last().map(|&last| Revision(last)));
            for revision in 1..=next + 70 {
                prop_assert_eq!(set.contains(Revision(revision)), model.contains(&revision));
            }
        }

        #[test]
        fn the_first_that_is_missing_is_found(
            owners in prop::collection::vec(0..4usize, 1..400), above in 0..300i64, to in 0..420i64,
        ) {
            let mut sets = vec![Revisions::default(); 3];
            for (at, &owner) in owners.iter().enumerate() {
                if let Some(set) = sets.get_mut(owner) {
                    set.add(Revision(at as i64));
                }
            }
            let is_missing = |revision: &i64| {
                owners.get(*revision as usize).is_none_or(|&owner| owner == 3)
            };
            let expected = (above + 1..=to).find(is_missing).map(Revision);
            let sets: Vec<&Revisions> = sets.iter().collect();
            let found = Revisions::first_missing(&sets, Revision(above), Revision(to));
            prop_assert_eq!(found, expected);
        }
    }
}
