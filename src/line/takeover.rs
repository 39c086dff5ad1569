//! The takeover: how an epoch begins. Gather every group, find the cut, open.
//!
//! ```text
//! Idle ─control won─▶ Gathering ─all led─▶ Numbering ─Epoch committed─▶ Opening ─all opened─▶ Open
//!  ▲                                                                                          │
//!  └──────────────────────── a group is lost, or control is ◀─────────────────────────────────┘
//! ```
//!
//! - The *cut* is the last revision such that everything up to it is in the log of every shard it
//!   belongs to, looked for from the highest stable that any log or checkpoint records.
//! - It is computed only when every group is led from here (model: `gather`).
//! - The epoch opens only when every group has committed its `Open` (model: `all-open`).
//! - Losing a group, even for a moment, ends the epoch (model: `one-leadership`).
//!
//! A restart of a single member is the same procedure with a quorum of one.

use std::collections::BTreeMap;

use super::message::{Found, Order};
use crate::types::{Epoch, Revision, ShardId, ShardSet};

/// The stage that a member's takeover has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The control group is led elsewhere.
    Idle,
    /// Winning every shard group.
    Gathering { led: BTreeMap<ShardId, Gathered> },
    /// Every group is led; the number of the epoch is being committed.
    Numbering { cut: Revision },
    /// The number is known; every group logs its `Open`.
    Opening { epoch: Epoch, cut: Revision, opened: ShardSet },
    /// Requests flow.
    Open { epoch: Epoch },
}

/// The content of a group's log above the stable that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    pub stable: Revision,
    /// In rising order.
    pub found: Vec<Found>,
}

/// The work that a step of the takeover asks for.
#[derive(Debug)]
pub enum TakeoverEffect {
    Order(ShardId, Order),
    /// Propose an `Epoch` entry to the control group.
    ProposeEpoch,
    /// The line goes on after `cut` under the number `epoch`.
    Open {
        epoch: Epoch,
        cut: Revision,
    },
    /// The epoch that was open, or about to be, is over.
    Over,
}

/// The procedure, for one member.
#[derive(Debug)]
pub struct Takeover {
    shards: u16,
    stage: Stage,
}

impl Takeover {
    /// Begins at a member that leads nothing.
    pub fn new(shards: u16) -> Takeover {
        Takeover { shards, stage: Stage::Idle }
    }

    /// Returns the stage that it has reached.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The epoch that is open.
    pub fn epoch(&self) -> Option<Epoch> {
        match self.stage {
            Stage::Open { epoch } => Some(epoch),
            _ => None,
        }
    }

    /// The control group is led from here.
    pub fn control_won(&mut self, effects: &mut Vec<TakeoverEffect>) {
        self.end(effects);
        self.stage = Stage::Gathering { led: BTreeMap::new() };
        for shard in ShardSet::all(self.shards).iter() {
            effects.push(TakeoverEffect::Order(shard, Order::Campaign));
        }
    }

    /// The control group is led elsewhere.
    pub fn control_lost(&mut self, effects: &mut Vec<TakeoverEffect>) {
        self.end(effects);
        self.stage = Stage::Idle;
    }

    /// A shard's group is led from here and all that it has committed is applied.
    pub fn led(&mut self, shard: ShardId, gathered: Gathered, effects: &mut Vec<TakeoverEffect>) {
        let Stage::Gathering { led } = &mut self.stage else { return };
        led.insert(shard, gathered);
        if led.len() == usize::from(self.shards) {
            let cut = find_cut(led);
            self.stage = Stage::Numbering { cut };
            effects.push(TakeoverEffect::ProposeEpoch);
        }
    }

    /// An `Epoch` entry of this member is committed in the control group.
    pub fn numbered(&mut self, epoch: Epoch, effects: &mut Vec<TakeoverEffect>) {
        let Stage::Numbering { cut } = self.stage else { return };
        self.stage = Stage::Opening { epoch, cut, opened: ShardSet::EMPTY };
        for shard in ShardSet::all(self.shards).iter() {
            effects.push(TakeoverEffect::Order(shard, Order::Open { epoch, cut }));
        }
    }

    /// A shard has applied its `Open`.
    pub fn opened(&mut self, shard: ShardId, of: Epoch, effects: &mut Vec<TakeoverEffect>) {
        let Stage::Opening { epoch, cut, opened } = &mut self.stage else { return };
        if *epoch != of {
            return;
        }
        opened.insert(shard);
        if *opened == ShardSet::all(self.shards) {
            let (epoch, cut) = (*epoch, *cut);
            self.stage = Stage::Open { epoch };
            effects.push(TakeoverEffect::Open { epoch, cut });
            for shard in ShardSet::all(self.shards).iter() {
                effects.push(TakeoverEffect::Order(shard, Order::Serve { epoch }));
            }
        }
    }

    /// A shard's group is no longer led from here: begin again.
    pub fn lost(&mut self, effects: &mut Vec<TakeoverEffect>) {
        if self.stage != Stage::Idle {
            self.control_won(effects);
        }
    }

    fn end(&mut self, effects: &mut Vec<TakeoverEffect>) {
        if matches!(self.stage, Stage::Open { .. } | Stage::Opening { .. }) {
            effects.push(TakeoverEffect::Over);
            for shard in ShardSet::all(self.shards).iter() {
                effects.push(TakeoverEffect::Order(shard, Order::Halt));
            }
        }
    }
}

/// The last revision such that everything up to it is, whole, in every log it belongs to.
pub fn find_cut(groups: &BTreeMap<ShardId, Gathered>) -> Revision {
    let mut cut = groups.values().map(|group| group.stable).max().expect("there is a shard");
    let mut present: BTreeMap<Revision, (ShardSet, ShardSet)> = BTreeMap::new();
    for (&shard, group) in groups {
        for found in group.found.iter().filter(|found| found.revision > cut) {
            let (holders, participants) = present.entry(found.revision).or_default();
            holders.insert(shard);
            assert!(
                participants.is_empty() || *participants == found.participants,
                "logs disagree on who takes part in revision {}",
                found.revision
            );
            *participants = found.participants;
        }
    }
    for (revision, (holders, participants)) in present {
        if revision != cut.next() || participants.0 & !holders.0 != 0 {
            break;
        }
        cut = revision;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(stable: i64, found: &[(i64, u128)]) -> Gathered {
        let found = found
            .iter()
            .map(|&(revision, set)| Found {
                revision: Revision(revision),
                participants: ShardSet(set),
            })
            .collect();
        Gathered { stable: Revision(stable), found }
    }

    fn cut(groups: &[Gathered]) -> i64 {
        let groups = groups.iter().enumerate().map(|(i, g)| (ShardId(i as u16), g.clone()));
        find_cut(&groups.collect()).0
    }

    #[test]
    fn the_cut_stops_at_a_hole_whatever_lies_above_it() {
        assert_eq!(cut(&[group(1, &[(2, 1), (5, 1)]), group(1, &[(3, 2)])]), 3);
    }

    #[test]
    fn the_cut_stops_at_half_a_cross_shard_write() {
        assert_eq!(cut(&[group(1, &[(2, 3), (3, 1)]), group(1, &[])]), 1);
        assert_eq!(cut(&[group(1, &[(2, 3), (3, 1)]), group(1, &[(2, 3)])]), 3);
    }

    #[test]
    fn the_cut_is_never_below_a_recorded_stable() {
        assert_eq!(cut(&[group(9, &[]), group(4, &[(5, 2), (10, 2)])]), 10);
    }

    #[test]
    fn an_epoch_opens_when_every_group_has_and_a_lost_group_ends_it() {
        let mut takeover = Takeover::new(2);
        let mut effects = Vec::new();
        takeover.control_won(&mut effects);
        takeover.led(ShardId(0), group(1, &[]), &mut effects);
        assert!(matches!(takeover.stage(), Stage::Gathering { .. }));
        takeover.led(ShardId(1), group(1, &[]), &mut effects);
        takeover.numbered(Epoch(7), &mut effects);
        takeover.opened(ShardId(0), Epoch(7), &mut effects);
        assert_eq!(takeover.epoch(), None);
        takeover.opened(ShardId(1), Epoch(6), &mut effects);
        assert_eq!(takeover.epoch(), None, "an answer of an older epoch");
        takeover.opened(ShardId(1), Epoch(7), &mut effects);
        assert_eq!(takeover.epoch(), Some(Epoch(7)));
        effects.clear();
        takeover.lost(&mut effects);
        assert!(effects.iter().any(|effect| matches!(effect, TakeoverEffect::Over)));
        assert!(matches!(takeover.stage(), Stage::Gathering { .. }));
    }
}
