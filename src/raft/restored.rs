//! The state from which a group starts, checked.

use std::collections::BTreeSet;
use std::fmt;

use crate::types::{GroupId, HardState, LogEntry, LogIndex, Term};

/// The settings of one replica.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    pub group: GroupId,
    /// etcd's member ID.
    pub raft_id: u64,
    pub voters: Vec<u64>,
    pub learners: Vec<u64>,
    /// Elects by itself: the control group does, a shard's group waits to be told.
    pub elects: bool,
    /// Ticks between the heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader before a replica campaigns, at least; up to twice that.
    pub election_ticks: usize,
}

/// The content of checkpoint and log at the start.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    pub hard_state: HardState,
    /// Index and term of the entry before the first of `entries`: where the log begins.
    pub snapshot: (LogIndex, Term),
    /// The log after that. What lies above `applied` is given back as `committed` in time.
    pub entries: Vec<LogEntry>,
    /// The store holds everything up to here.
    pub applied: LogIndex,
}

/// Why a group cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRestored {
    /// The settings contradict themselves.
    Settings(String),
    /// An entry is not the successor of the one before.
    Gap { group: GroupId, expected: LogIndex, found: LogIndex },
    /// An entry has a lower term than the one before, or a higher one than the hard state.
    Term { group: GroupId, index: LogIndex, term: Term, bounds: (Term, Term) },
    /// The hard state or the store knows of committed entries that the log does not have.
    Lost { group: GroupId, known: LogIndex, last: LogIndex },
    /// The store is older than the log's beginning.
    Behind { group: GroupId, applied: LogIndex, begins: LogIndex },
}

impl fmt::Display for BadRestored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRestored::Settings(reason) => write!(f, "raft settings: {reason}"),
            BadRestored::Gap { group, expected, found } => {
                write!(f, "group {group}: the log has entry {found} where {expected} belongs")
            }
            BadRestored::Term { group, index, term, bounds: (low, high) } => write!(
                f,
                "group {group}: entry {index} has term {term}, outside of {low} to {high}"
            ),
            BadRestored::Lost { group, known, last } => write!(
                f,
                "group {group}: the log ends at entry {last}, but entry {known} was committed"
            ),
            BadRestored::Behind { group, applied, begins } => write!(
                f,
                "group {group}: the store has applied entry {applied}, but the log begins after \
                 {begins}"
            ),
        }
    }
}

impl std::error::Error for BadRestored {}

impl GroupConfig {
    pub(super) fn check(&self) -> Result<(), BadRestored> {
        let mut seen = BTreeSet::new();
        let members = || self.voters.iter().chain(&self.learners);
        let reason = if self.raft_id == 0 || members().any(|id| *id == 0) {
            "a member ID is 0"
        } else if self.voters.is_empty() {
            "there is no voter"
        } else if !members().all(|id| seen.insert(*id)) {
            "a member is named twice"
        } else if self.heartbeat_ticks == 0 || self.election_ticks <= self.heartbeat_ticks {
            "the election timeout must be longer than the heartbeat interval"
        } else {
            return Ok(());
        };
        Err(BadRestored::Settings(format!("group {}: {reason}", self.group)))
    }
}

impl Restored {
    /// Checked, with the commit index raised to what the store has applied: the disk learns of
    /// commits late, a checkpoint does not.
    pub(super) fn checked(mut self, group: GroupId) -> Result<Restored, BadRestored> {
        let (begins, mut term) = self.snapshot;
        let mut last = begins;
        for entry in &self.entries {
            let expected = LogIndex(last.0 + 1);
            if entry.index != expected {
                return Err(BadRestored::Gap { group, expected, found: entry.index });
            }
            let bounds = (term, self.hard_state.term);
            if entry.term < bounds.0 || entry.term > bounds.1 || entry.term == Term(0) {
                let (index, term) = (entry.index, entry.term);
                return Err(BadRestored::Term { group, index, term, bounds });
            }
            (last, term) = (entry.index, entry.term);
        }
        if self.hard_state.term < self.snapshot.1 {
            let bounds = (Term(0), self.hard_state.term);
            return Err(BadRestored::Term { group, index: begins, term: self.snapshot.1, bounds });
        }
        if self.applied < begins {
            return Err(BadRestored::Behind { group, applied: self.applied, begins });
        }
        let known = self.hard_state.commit.max(self.applied);
        if known > last {
            return Err(BadRestored::Lost { group, known, last });
        }
        self.hard_state.commit = known;
        Ok(self)
    }
}
