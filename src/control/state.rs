//! The state that the control group's log comes to; it is the same on every member.
//!
//! A checkpoint of it is a head and as many chunks of leases as it takes, in the order of their
//! numbers:
//!
//! ```text
//! head   = 1 u8 | compacted i64 | epoch u64 | count u32 | alarm* | count u32 | member*
//! leases = 2 u8 | count u32 | (id i64 | ttl i64 | remaining i64 | going u8)*
//! ```
//!
//! The head is written at once, at the checkpoint's index. The leases are written while decisions
//! go on, so a chunk may show some that came later. Reading the log again from the index on makes
//! up for that. A lease only ever goes from absent to granted to going to absent, each by a
//! decision that the leader makes knowing what went before. If one of those read again ends the
//! lease, nothing of what it was before matters; if none does, making the same ones twice comes to
//! the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::entry::{BadCommand, Command, Cursor, put_alarm, put_member};
use crate::types::{Alarm, AlarmKind, Epoch, LeaseId, LogIndex, Member, Revision};

const HEAD: u8 = 1;
const LEASES: u8 = 2;

/// Members, alarms, leases, the compaction target and the newest epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub members: BTreeMap<u64, Member>,
    pub alarms: BTreeSet<Alarm>,
    /// -1 before the first compaction.
    pub compacted: i64,
    pub epoch: Epoch,
    pub leases: BTreeMap<LeaseId, Lease>,
}

/// A lease as the log knows it; when it ends is known to the leader alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Seconds.
    pub ttl: i64,
    /// Seconds that were left when that was last written down; 0 is the whole TTL.
    pub remaining: i64,
    /// It ends: its keys are being deleted.
    pub going: bool,
}

/// Bytes of a lease in a checkpoint.
const LEASE_BYTES: usize = 8 + 8 + 8 + 1;

impl State {
    /// Returns the state of a new cluster.
    pub fn new() -> State {
        State { compacted: -1, ..State::default() }
    }

    /// Whether an alarm of `kind` stands, whoever raised it.
    pub fn is_raised(&self, kind: AlarmKind) -> bool {
        self.alarms.iter().any(|alarm| alarm.kind == kind)
    }

    /// Applies a decision; whether it changed anything.
    pub fn apply(&mut self, index: LogIndex, command: &Command) -> bool {
        match command {
            Command::Epoch { .. } => {
                self.epoch = Epoch(index.0);
                true
            }
            Command::Compact { revision: Revision(revision) } => {
                let rises = *revision > self.compacted;
                self.compacted = self.compacted.max(*revision);
                rises
            }
            Command::Alarm { raise: true, alarm } => self.alarms.insert(*alarm),
            Command::Alarm { raise: false, alarm } => self.alarms.remove(alarm),
            Command::Publish(member) => {
                self.members.insert(member.id, member.clone()).as_ref() != Some(member)
            }
            Command::LeaseGrant { id, ttl } => {
                let absent = !self.leases.contains_key(id);
                if absent {
                    self.leases.insert(*id, Lease { ttl: *ttl, remaining: 0, going: false });
                }
                absent
            }
            Command::LeaseGoing { ids } => self.change(ids, |lease| lease.going = true),
            Command::LeaseGone { ids } => {
                let left = ids.iter().filter(|id| self.leases.remove(id).is_some());
                left.count() > 0
            }
            Command::LeaseCheckpoint { left } => {
                let mut changed = false;
                for (id, remaining) in left {
                    changed |= self.change(&[*id], |lease| lease.remaining = *remaining);
                }
                changed
            }
        }
    }

    fn change(&mut self, ids: &[LeaseId], change: impl Fn(&mut Lease)) -> bool {
        let mut changed = false;
        for id in ids {
            if let Some(lease) = self.leases.get_mut(id) {
                change(lease);
                changed = true;
            }
        }
        changed
    }

    /// The first chunk of a checkpoint.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut out = vec![HEAD];
        out.extend_from_slice(&self.compacted.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&(self.alarms.len() as u32).to_le_bytes());
        self.alarms.iter().for_each(|alarm| put_alarm(&mut out, alarm));
        out.extend_from_slice(&(self.members.len() as u32).to_le_bytes());
        self.members.values().for_each(|member| put_member(&mut out, member));
        out
    }

    /// The chunk of about `bytes` with the leases that follow `after`, and the last of them; `None`
    /// if none does.
    pub fn encode_leases(
        &self,
        after: Option<LeaseId>,
        bytes: usize,
    ) -> Option<(Vec<u8>, LeaseId)> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let most = (bytes / LEASE_BYTES).max(1);
        let mut out = vec![LEASES, 0, 0, 0, 0];
        let (mut count, mut last) = (0u32, None);
        for (id, lease) in self.leases.range((begin, Bound::Unbounded)).take(most) {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&lease.ttl.to_le_bytes());
            out.extend_from_slice(&lease.remaining.to_le_bytes());
            out.push(u8::from(lease.going));
            (count, last) = (count + 1, Some(*id));
        }
        out[1..5].copy_from_slice(&count.to_le_bytes());
        last.map(|last| (out, last))
    }

    /// Reads a checkpoint's chunk.
    pub fn load(&mut self, chunk: &[u8]) -> Result<(), BadCommand> {
        let mut rest = Cursor(chunk);
        match rest.byte()? {
            HEAD => self.load_head(&mut rest)?,
            LEASES => self.load_leases(&mut rest)?,
            _ => return Err(BadCommand("a control checkpoint of an unknown version")),
        }
        if rest.0.is_empty() { Ok(()) } else { Err(BadCommand("a control checkpoint too long")) }
    }

    fn load_head(&mut self, rest: &mut Cursor<'_>) -> Result<(), BadCommand> {
        self.compacted = rest.number()? as i64;
        self.epoch = Epoch(rest.number()?);
        for _ in 0..rest.count()? {
            self.alarms.insert(rest.alarm()?);
        }
        for _ in 0..rest.count()? {
            let member = rest.member()?;
            self.members.insert(member.id, member);
        }
        Ok(())
    }

    fn load_leases(&mut self, rest: &mut Cursor<'_>) -> Result<(), BadCommand> {
        for _ in 0..rest.count()? {
            let id = rest.lease()?;
            let (ttl, remaining) = (rest.number()? as i64, rest.number()? as i64);
            let lease = Lease { ttl, remaining, going: rest.byte()? != 0 };
            if self.leases.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(BadCommand("leases out of order"));
            }
            self.leases.insert(id, lease);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::MemberId;

    fn grant(id: i64, ttl: i64) -> Command {
        Command::LeaseGrant { id: LeaseId(id), ttl }
    }

    fn chunks(state: &State, bytes: usize) -> Vec<Vec<u8>> {
        let mut chunks = vec![state.encode_head()];
        let mut after = None;
        while let Some((chunk, last)) = state.encode_leases(after, bytes) {
            chunks.push(chunk);
            after = Some(last);
        }
        chunks
    }

    fn full() -> State {
        let mut state = State::new();
        state.apply(LogIndex(3), &Command::Compact { revision: Revision(70) });
        let alarm = Alarm { member: MemberId(9), kind: AlarmKind::Corrupt };
        state.apply(LogIndex(4), &Command::Alarm { raise: true, alarm });
        let member = Member { id: 9, name: "m".into(), ..Member::default() };
        state.apply(LogIndex(5), &Command::Publish(member));
        for id in [-5, 7, 2, i64::MAX, i64::MIN] {
            assert!(state.apply(LogIndex(6), &grant(id, 60)));
        }
        state.apply(LogIndex(7), &Command::LeaseGoing { ids: vec![LeaseId(7), LeaseId(2)] });
        state.apply(LogIndex(8), &Command::LeaseCheckpoint { left: vec![(LeaseId(-5), 31)] });
        state
    }

    #[test]
    fn a_state_is_read_back_from_its_chunks_of_any_size() {
        let state = full();
        for bytes in [0, 25, 50, 60, 1000] {
            let chunks = chunks(&state, bytes);
            let mut read = State::new();
            chunks.iter().for_each(|chunk| read.load(chunk).unwrap());
            assert_eq!(read, state, "{bytes}");
        }
        assert_eq!(chunks(&state, 50).len(), 4, "a head, and five leases by two");
        assert_eq!(chunks(&State::new(), 50).len(), 1);
    }

    #[test]
    fn chunks_that_are_cut_or_repeated_are_errors() {
        for chunk in chunks(&full(), 1000) {
            for length in 0..chunk.len() {
                assert!(State::new().load(&chunk[..length]).is_err());
            }
            assert!(State::new().load(&[&chunk[..], &[0]].concat()).is_err());
        }
        let leases = &chunks(&full(), 1000)[1];
        let mut state = State::new();
        state.load(leases).unwrap();
        assert_eq!(state.load(leases), Err(BadCommand("leases out of order")));
        assert!(State::new().load(&[9]).is_err());
    }

    #[test]
    fn what_concerns_a_lease_that_is_not_there_changes_nothing() {
        let mut state = State::new();
        let ids = vec![LeaseId(1)];
        for command in [
            Command::LeaseGoing { ids: ids.clone() },
            Command::LeaseGone { ids: ids.clone() },
            Command::LeaseCheckpoint { left: vec![(LeaseId(1), 5)] },
        ] {
            assert!(!state.apply(LogIndex(1), &command));
        }
        assert!(state.apply(LogIndex(1), &grant(1, 60)));
        assert!(!state.apply(LogIndex(1), &grant(1, 90)), "it is there");
        assert_eq!(state.leases[&LeaseId(1)].ttl, 60);
        assert!(state.apply(LogIndex(1), &Command::LeaseGoing { ids: ids.clone() }));
        assert!(!state.apply(LogIndex(1), &grant(1, 90)), "it is still there");
        assert!(state.apply(LogIndex(1), &Command::LeaseGone { ids }));
        assert!(state.apply(LogIndex(1), &grant(1, 90)));
    }

    fn apply(state: &mut State, commands: &[Command]) {
        for command in commands {
            state.apply(LogIndex(1), command);
        }
    }

    /// Leaves out what no leader decides: to end, or to note, a lease that is not there.
    fn sensible(commands: Vec<Command>) -> Vec<Command> {
        let mut state = State::new();
        let mut kept = Vec::new();
        for command in commands {
            let all = |ids: &[LeaseId], holds: fn(&Lease) -> bool| {
                ids.iter().all(|id| state.leases.get(id).is_some_and(holds))
            };
            let sensible = match &command {
                Command::LeaseGoing { ids } => all(ids, |lease| !lease.going),
                Command::LeaseGone { ids } => all(ids, |lease| lease.going),
                Command::LeaseCheckpoint { left } => all(&[left[0].0], |_| true),
                _ => true,
            };
            if sensible {
                state.apply(LogIndex(1), &command);
                kept.push(command);
            }
        }
        kept
    }

    fn decisions() -> impl Strategy<Value = Vec<Command>> {
        let id = || (0..5i64).prop_map(LeaseId);
        let ids = || prop::collection::vec((0..5i64).prop_map(LeaseId), 1..=2);
        let decision = prop_oneof![
            3 => (id(), 1..9i64).prop_map(|(id, ttl)| Command::LeaseGrant { id, ttl }),
            3 => ids().prop_map(|ids| Command::LeaseGoing { ids }),
            3 => ids().prop_map(|ids| Command::LeaseGone { ids }),
            1 => (id(), 0..9i64)
                .prop_map(|(id, left)| Command::LeaseCheckpoint { left: vec![(id, left)] }),
        ];
        prop::collection::vec(decision, 0..90).prop_map(sensible)
    }

    proptest! {
        /// Chunks written while decisions go on, and the log read again from the checkpoint's
        /// index on, come to the state that the log alone comes to.
        #[test]
        fn leases_may_be_written_while_they_change(
            commands in decisions(), at in 0..30usize, pace in 1..4usize,
        ) {
            let at = at.min(commands.len());
            let mut state = State::new();
            apply(&mut state, &commands[..at]);
            let mut chunks = vec![state.encode_head()];
            let mut after = None;
            let mut open = true;
            for command in commands[at..].chunks(pace) {
                apply(&mut state, command);
                match state.encode_leases(after, 25).filter(|_| open) {
                    Some((chunk, last)) => {
                        chunks.push(chunk);
                        after = Some(last);
                    }
                    None => open = false,
                }
            }
            while let Some((chunk, last)) = state.encode_leases(after, 25).filter(|_| open) {
                chunks.push(chunk);
                after = Some(last);
            }
            let mut read = State::new();
            chunks.iter().for_each(|chunk| read.load(chunk).unwrap());
            apply(&mut read, &commands[at..]);
            prop_assert_eq!(read, state);
        }
    }
}
