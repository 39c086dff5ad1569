//! Compactions that were decided: each is answered when every shard has applied it, or, if it was
//! asked for, when its history is gone everywhere.

use std::collections::VecDeque;

use crate::types::{Origin, Revision, ShardId};

/// A shard that is as far as a compaction is as far as all before it, so those that wait are in
/// order of their revisions, and a report of a shard looks at no more of them than it answers.
#[derive(Debug)]
pub(super) struct Compactions {
    applied: Waiting,
    /// Those that are answered when it is carried out.
    physical: Waiting,
}

#[derive(Debug)]
struct Waiting {
    /// The revision that each shard has reached.
    shards: Vec<Revision>,
    calls: VecDeque<(Revision, Origin)>,
}

impl Compactions {
    pub fn new(shards: u16) -> Compactions {
        Compactions { applied: Waiting::new(shards), physical: Waiting::new(shards) }
    }

    /// It is decided to compact at `revision`, which is above all before.
    pub fn begin(&mut self, revision: Revision, origin: Origin, physical: bool) {
        let waiting = if physical { &mut self.physical } else { &mut self.applied };
        assert!(waiting.calls.back().is_none_or(|(last, _)| *last < revision), "targets rise");
        waiting.calls.push_back((revision, origin));
    }

    /// A shard has applied it. Returns who is to be answered.
    pub fn applied(&mut self, shard: ShardId, revision: Revision) -> Vec<Origin> {
        self.applied.reached(shard, revision)
    }

    /// A shard has carried it out. Returns who is to be answered.
    pub fn carried_out(&mut self, shard: ShardId, revision: Revision) -> Vec<Origin> {
        self.physical.reached(shard, revision)
    }

    /// The epoch is over: everybody who waits.
    pub fn close(&mut self) -> impl Iterator<Item = Origin> + use<> {
        let applied = std::mem::take(&mut self.applied.calls);
        let physical = std::mem::take(&mut self.physical.calls);
        applied.into_iter().chain(physical).map(|(_, origin)| origin)
    }
}

impl Waiting {
    fn new(shards: u16) -> Waiting {
        let shards = vec![Revision::EMPTY; usize::from(shards)];
        Waiting { shards, calls: VecDeque::new() }
    }

    fn reached(&mut self, shard: ShardId, revision: Revision) -> Vec<Origin> {
        let own = &mut self.shards[usize::from(shard.0)];
        *own = revision.max(*own);
        let all = self.shards.iter().copied().min().expect("a member has a shard");
        let mut reached = Vec::new();
        while self.calls.front().is_some_and(|(target, _)| *target <= all) {
            reached.extend(self.calls.pop_front().map(|(_, origin)| origin));
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CoreId;

    fn origin(call: u64) -> Origin {
        Origin { core: CoreId(0), call, part: 0 }
    }

    #[test]
    fn each_is_answered_when_the_last_shard_is_as_far_and_no_sooner() {
        let mut compactions = Compactions::new(3);
        for revision in 2..=2000 {
            compactions.begin(Revision(revision), origin(revision as u64), revision % 2 == 0);
        }
        let (one, two, three) = (ShardId(0), ShardId(1), ShardId(2));
        assert!(compactions.applied(one, Revision(2000)).is_empty());
        assert!(compactions.applied(two, Revision(4)).is_empty());
        assert_eq!(compactions.applied(three, Revision(3)), [origin(3)]);
        assert!(compactions.applied(three, Revision(3)).is_empty());
        // Some were passed over: the shard is beyond them.
        assert_eq!(compactions.applied(three, Revision(9)).len(), 0);
        assert_eq!(compactions.applied(two, Revision(8)), [origin(5), origin(7)]);
        assert!(compactions.carried_out(one, Revision(4)).is_empty());
        assert!(compactions.carried_out(two, Revision(4)).is_empty());
        assert_eq!(compactions.carried_out(three, Revision(6)), [origin(2), origin(4)]);
        assert_eq!(compactions.close().count(), 1999 - 3 - 2);
        assert_eq!(compactions.close().count(), 0);
    }
}
