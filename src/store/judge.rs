//! Compares over many keys that a write waits for: looked at in slices, and kept true by every
//! change until the write is evaluated.
//!
//! ```text
//!  range   │ every key here satisfies │ not looked at yet  …  │
//!          └──────────────────────────┴── left ───────────────┘
//! ```
//!
//! A compare is decided when nothing is left (it holds for every key) or when the first key that is
//! left is known not to satisfy it (it fails). A key before `left` that ceases to satisfy it
//! becomes the first that is left, so the line above is true after every change, and the
//! evaluation need not look at the keys again. One write's compares are judged at a time.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::Store;
use super::evaluate::{Share, satisfies};
use super::scan::successor;
use super::versions::{Record, Version};
use crate::types::{Blob, Compare, KeyRange, Revision};

/// The compares of one write, in its order.
pub(super) struct Judging {
    compares: Vec<Judged>,
}

/// One compare.
struct Judged {
    compare: Compare,
    /// Every key of the range before it satisfies the compare; `None`: every key of the range does.
    left: Option<KeyRange>,
    /// The first key of `left`, if it is known not to satisfy the compare.
    failing: Option<Blob>,
}

impl Judged {
    fn of(compare: &Compare) -> Judged {
        let left = Some(compare.range.clone()).filter(|range| !range.is_empty());
        Judged { compare: compare.clone(), left, failing: None }
    }

    fn is_decided(&self) -> bool {
        self.left.is_none() || self.failing.is_some()
    }

    /// A slice has come to `key`, or everything before it satisfies the compare.
    fn leave_from(&mut self, key: &[u8]) {
        let start = Bytes::copy_from_slice(key);
        self.left = Some(KeyRange { start, end: self.compare.range.end.clone() });
    }

    fn changed(&mut self, record: &Record) {
        let key = record.key.as_slice();
        if !self.compare.range.contains(key) {
            return;
        }
        let version = record.live_top();
        let fails = version.is_some_and(|version| self.is_failed_by(version));
        if self.failing.as_ref().is_some_and(|failing| failing.as_slice() == key) {
            if !fails {
                self.failing = None;
            }
        } else if fails && self.left.as_ref().is_none_or(|left| key < &left.start[..]) {
            self.leave_from(key);
            self.failing = Some(record.key.clone());
        }
    }

    fn is_failed_by(&self, version: &Version) -> bool {
        !satisfies(&self.compare, version.stamp(), version.value())
    }
}

impl Judging {
    /// The newest state of a key has changed.
    pub(super) fn changed(&mut self, record: &Record) {
        self.compares.iter_mut().for_each(|judged| judged.changed(record));
    }

    /// Keys are deleted without a word of each: those that `is_deleted` says.
    pub(super) fn deleted(&mut self, is_deleted: impl Fn(&[u8]) -> bool) {
        for judged in &mut self.compares {
            judged.failing.take_if(|failing| is_deleted(failing));
        }
    }
}

impl Store {
    /// Begins to judge `compares`, each about more than one key, in place of those before. What is
    /// known of the same compares already is kept.
    pub fn begin_judging<'a>(&mut self, compares: impl Iterator<Item = &'a Compare> + Clone) {
        let judging = self.judging.as_ref();
        let own = judging.map_or(&[][..], |judging| &judging.compares);
        if !compares.clone().eq(own.iter().map(|judged| &judged.compare)) {
            let compares: Vec<Judged> = compares.map(Judged::of).collect();
            self.judging = (!compares.is_empty()).then(|| Box::new(Judging { compares }));
        }
    }

    /// Whether compares are judged.
    pub fn is_judging(&self) -> bool {
        self.judging.is_some()
    }

    /// Whether every compare that is judged is decided.
    pub fn is_judged(&self) -> bool {
        let judging = self.judging.as_ref();
        judging.is_none_or(|judging| judging.compares.iter().all(Judged::is_decided))
    }

    /// Nobody waits for what is judged any more.
    pub fn end_judging(&mut self) {
        self.judging = None;
    }

    /// Looks at as many keys as there are `visits`, which it takes off; whether every compare is
    /// decided.
    pub fn judge_some(&mut self, visits: &mut usize) -> bool {
        let Some(mut judging) = self.judging.take() else { return true };
        for judged in &mut judging.compares {
            if *visits == 0 {
                break;
            }
            self.judge(judged, visits);
        }
        self.judging = Some(judging);
        self.is_judged()
    }

    fn judge(&self, judged: &mut Judged, visits: &mut usize) {
        if judged.is_decided() {
            return;
        }
        let left = judged.left.clone().expect("it is not decided");
        let mut failing = None;
        let last = self.look_through(&left, visits, &mut |record, version| {
            if judged.is_failed_by(version) {
                failing = Some(record.key.clone());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        match (failing, last) {
            (Some(key), _) => {
                judged.leave_from(&key);
                judged.failing = Some(key);
            }
            (None, Some(last)) => judged.leave_from(&successor(&last)),
            (None, None) => judged.left = None,
        }
    }

    /// This shard's share of each of `compares` in the newest state, in their order; `None` if the
    /// keys of those that are not judged are more than there are `visits`, which it takes off, or
    /// if one that is judged is not decided.
    pub fn shares<'a>(
        &self,
        compares: impl IntoIterator<Item = &'a Compare>,
        visits: &mut usize,
    ) -> Option<Vec<Share>> {
        let judging = self.judging.as_ref();
        // They are in the order in which their write asks.
        let mut judged = judging.map_or(&[][..], |judging| &judging.compares).iter().peekable();
        let shares = compares.into_iter().map(|compare| {
            if compare.range.single_key().is_some() {
                return Some(self.holds_share(compare, Revision::NEWEST));
            }
            match judged.next_if(|judged| judged.compare == *compare) {
                Some(judged) => judged.is_decided().then(|| Share {
                    matched: self.tree.count(&compare.range) > 0,
                    all_hold: judged.failing.is_none(),
                }),
                None => self.share_within(compare, Revision::NEWEST, visits),
            }
        });
        shares.collect()
    }
}
