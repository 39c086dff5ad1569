//! Measures how long this core works on a compaction, for metrics and for the log.

use crate::member::Core;
use crate::observe::CoreMetrics;
use crate::types::Nanos;

/// The part of one core in compactions.
#[derive(Default)]
pub(super) struct Compacting {
    began: Option<Nanos>,
    /// The target of the compaction that was finished last.
    done: i64,
}

impl Compacting {
    /// A turn that had a slice of background work took from `times.0` to `times.1`.
    pub fn turn(&mut self, core: &Core, times: (Nanos, Nanos), figures: &CoreMetrics) {
        let (done, pending) = core.compaction();
        if self.look(done, pending, times, figures) {
            // Published before the target, so that a reader of the target sees this too.
            let versions = core.shard_counters().map(|(_, counts)| counts.versions_compacted).sum();
            figures.compacted_versions.set(versions);
            figures.compacted_to.set(done.max(0) as u64);
        }
    }

    /// Tells whether a compaction was finished.
    fn look(
        &mut self,
        done: i64,
        pending: bool,
        (begin, end): (Nanos, Nanos),
        figures: &CoreMetrics,
    ) -> bool {
        if pending || done > self.done {
            self.began.get_or_insert(begin);
            figures.compaction_pause.observe(end.0 - begin.0);
        }
        if pending {
            return false;
        }
        self.done = done;
        let Some(began) = self.began.take() else { return false };
        figures.compaction_began.set(began.0);
        figures.compaction_ended.set(end.0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compaction_lasts_from_its_first_slice_to_its_last() {
        let figures = CoreMetrics::new(1);
        let mut compacting = Compacting::default();
        let mut look = |done, pending, begin, end| {
            compacting.look(done, pending, (Nanos(begin), Nanos(end)), &figures)
        };
        assert!(!look(0, false, 1, 2), "nothing is to be done");
        assert!(!look(0, true, 10, 12));
        assert!(!look(0, true, 20, 23));
        assert!(look(7, false, 30, 34));
        assert_eq!((figures.compaction_began.get(), figures.compaction_ended.get()), (10, 34));
        let pauses = figures.compaction_pause.read();
        assert_eq!((pauses.count(), pauses.sum), (3, 2 + 3 + 4));
        assert!(!look(7, false, 40, 41));
        // One that a single turn begins and ends.
        assert!(look(9, false, 50, 55));
        assert_eq!((figures.compaction_began.get(), figures.compaction_ended.get()), (50, 55));
        assert!(!look(9, false, 60, 61));
        assert_eq!(figures.compaction_pause.read().count(), 4);
    }
}
