//! A replica from what the disk holds: newest good checkpoint, then the log.
//!
//! The log is read batch by batch; only entries that are not known to be committed are kept, so a
//! log of any length passes through bounded memory. What is committed is given to the group's
//! state at once; the rest becomes committed through Raft, if it does.

use std::collections::VecDeque;
use std::fmt;

use super::Replica;
use crate::raft::{BadRestored, Group, GroupConfig, Restored};
use crate::types::{ClusterId, GroupId, HardState, LogEntry, LogIndex, MemberId, Note, Term};
use crate::wal::{self, CheckpointHeader, Config, Item, OpenError, Owner, ReadDisk, Tail};

/// The settings of a replica.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaConfig {
    pub group: GroupId,
    pub cluster: ClusterId,
    pub member: MemberId,
    /// A number of this member that no client knows.
    pub salt: u64,
    /// Elects by itself: the control group does.
    pub elects: bool,
    pub election_ticks: usize,
    pub segment_bytes: u64,
    /// Bytes of records after which a batch takes no more.
    pub batch_bytes_max: usize,
}

impl ReplicaConfig {
    fn of_log(&self) -> Config {
        let ReplicaConfig { group, cluster, member, salt, .. } = *self;
        let owner = Owner { cluster, member, group, salt };
        let sizes = Config::with_sizes(owner, self.segment_bytes, self.batch_bytes_max);
        #[cfg(feature = "teeth")]
        if crate::teeth::leaves_out(crate::teeth::Rule::Chain) {
            return sizes.without_chain();
        }
        sizes
    }
}

/// The state that a group's log comes to, while it is being read.
pub trait Restore {
    /// A checkpoint follows.
    fn begin(&mut self, header: &CheckpointHeader);
    /// One of its chunks.
    fn chunk(&mut self, chunk: &[u8]) -> Result<(), String>;
    /// Its last chunk was given, or there is no checkpoint.
    fn loaded(&mut self);
    /// An entry behind it that is known to be committed.
    fn committed(&mut self, entry: &LogEntry);
    /// An entry behind that: it is durable here, and comes back through Raft once it is committed.
    fn uncommitted(&mut self, _entry: &LogEntry) {}
}

/// The amount that a group's files hold, whatever it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The last index of the log, or of the checkpoint if that is ahead.
    pub last: LogIndex,
    /// Anything was ever written.
    pub is_begun: bool,
    /// The end of the log.
    pub tail: Tail,
    /// The durable state of the member's groups, as log and checkpoint note it.
    pub note: Note,
}

/// A replica, ready to take part, and how far its state has come.
#[derive(Debug)]
pub struct Recovered {
    pub replica: Replica,
    pub applied: LogIndex,
    pub checkpoint: Option<CheckpointHeader>,
    pub found: Found,
    /// Warnings about what was passed over.
    pub warnings: Vec<String>,
}

/// Why a group cannot be opened.
#[derive(Debug)]
pub enum RecoverError {
    /// The files: damaged, foreign, of another version, unreadable.
    Files(OpenError),
    /// The files are whole, but what they say makes no sense together.
    Log(BadRestored),
    Contents {
        group: GroupId,
        what: String,
    },
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoverError::Files(error) => error.fmt(f),
            RecoverError::Log(error) => error.fmt(f),
            RecoverError::Contents { group, what } => write!(f, "group {group}: {what}"),
        }
    }
}

impl std::error::Error for RecoverError {}

impl From<OpenError> for RecoverError {
    fn from(error: OpenError) -> RecoverError {
        RecoverError::Files(error)
    }
}

/// Reads a group's files into `state` and opens its log for writing.
pub fn recover(
    config: &ReplicaConfig,
    disk: &dyn ReadDisk,
    state: &mut dyn Restore,
) -> Result<Recovered, RecoverError> {
    let ReplicaConfig { group, member, .. } = *config;
    let mut opened = wal::recover(disk, config.of_log())?;
    let warnings = opened.damaged.iter().map(ToString::to_string).collect();
    let mut checkpoint = None;
    if let Some(reader) = &mut opened.checkpoint {
        state.begin(reader.header());
        checkpoint = Some(reader.header().clone());
        while let Some(chunk) = reader.next_chunk()? {
            let loaded = state.chunk(&chunk);
            loaded.map_err(|what| RecoverError::Contents { group, what })?;
        }
    }
    state.loaded();
    let begins = checkpoint.as_ref().map_or((LogIndex(0), Term(0)), |c| (c.index, c.term));
    let mut replay = Replay::new(begins);
    replay.note = checkpoint.as_ref().and_then(CheckpointHeader::note).unwrap_or_default();
    let mut items = Vec::new();
    while opened.log.next_batch(&mut items)? {
        items.drain(..).for_each(|item| replay.take(item));
        replay.apply(state);
    }
    let finished = opened.log.finish()?;
    replay.hard_state = finished.hard_state;
    replay.apply(state);
    replay.waiting.iter().for_each(|entry| state.uncommitted(entry));
    let found = Found {
        last: finished.last,
        is_begun: finished.last > LogIndex(0) || replay.hard_state.term > Term(0),
        tail: finished.tail,
        note: replay.note,
    };
    let applied = replay.applied.0;
    let restored = Restored {
        hard_state: replay.hard_state,
        snapshot: replay.applied,
        entries: replay.waiting.into(),
        applied,
    };
    let group = GroupConfig {
        group,
        raft_id: member.0,
        voters: vec![member.0],
        learners: Vec::new(),
        elects: config.elects,
        heartbeat_ticks: 1,
        election_ticks: config.election_ticks,
    };
    let group = Group::new(&group, restored).map_err(RecoverError::Log)?;
    let replica = Replica {
        group,
        log: finished.log,
        checkpoints: opened.checkpoints,
        committed: VecDeque::new(),
        messages: Vec::new(),
        reported: 0,
        writing: None,
        lacked_room: false,
    };
    Ok(Recovered { replica, applied, checkpoint, found, warnings })
}

/// The log behind the checkpoint, as it is read.
struct Replay {
    /// Index and term of the last entry given to the state.
    applied: (LogIndex, Term),
    /// Entries behind it, not known to be committed.
    waiting: VecDeque<LogEntry>,
    hard_state: HardState,
    note: Note,
}

impl Replay {
    fn new(begins: (LogIndex, Term)) -> Replay {
        Replay {
            applied: begins,
            waiting: VecDeque::new(),
            hard_state: HardState::default(),
            note: Note::default(),
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Entry(entry) if entry.index <= self.applied.0 => {} // The checkpoint has it.
            Item::Entry(entry) => self.waiting.push_back(entry),
            Item::HardState(hard_state) => self.hard_state = hard_state,
            Item::Superseded { from } => self.waiting.retain(|entry| entry.index < from),
            Item::Restart { index, .. } => self.waiting.retain(|entry| entry.index > index),
            Item::Note(note) => self.note = self.note.join(&note),
        }
    }

    fn apply(&mut self, state: &mut dyn Restore) {
        while self.waiting.front().is_some_and(|first| first.index <= self.hard_state.commit) {
            let entry = self.waiting.pop_front().expect("a front");
            state.committed(&entry);
            self.applied = (entry.index, entry.term);
        }
    }
}
