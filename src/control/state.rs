//! What the control group's log has come to: the same on every member.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{BadCommand, Command, Cursor, put_alarm, put_member};
use crate::types::{Alarm, Epoch, LogIndex, Member, Revision};

const VERSION: u8 = 1;

/// Members, alarms, the compaction target and the newest epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub members: BTreeMap<u64, Member>,
    pub alarms: BTreeSet<Alarm>,
    /// -1 before the first compaction.
    pub compacted: i64,
    pub epoch: Epoch,
}

impl State {
    /// Of a new cluster.
    pub fn new() -> State {
        State { compacted: -1, ..State::default() }
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
        }
    }

    /// The state as a checkpoint's chunk.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.compacted.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&(self.alarms.len() as u32).to_le_bytes());
        self.alarms.iter().for_each(|alarm| put_alarm(&mut out, alarm));
        out.extend_from_slice(&(self.members.len() as u32).to_le_bytes());
        self.members.values().for_each(|member| put_member(&mut out, member));
        out
    }

    /// Reads a checkpoint's chunk.
    pub fn decode(chunk: &[u8]) -> Result<State, BadCommand> {
        let mut rest = Cursor(chunk);
        if rest.byte()? != VERSION {
            return Err(BadCommand("a control checkpoint of an unknown version"));
        }
        let mut state = State { compacted: rest.number()? as i64, ..State::default() };
        state.epoch = Epoch(rest.number()?);
        for _ in 0..rest.count()? {
            state.alarms.insert(rest.alarm()?);
        }
        for _ in 0..rest.count()? {
            let member = rest.member()?;
            state.members.insert(member.id, member);
        }
        Ok(state)
    }
}
