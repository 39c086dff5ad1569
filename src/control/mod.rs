//! The control group: the Raft group that decides what is decided once for all shards.
//!
//! ```text
//!  leader ──propose──▶ replica (raft, wal) ──committed──▶ State ──▶ Decided, to the leader
//!  tick ─────────────▶ elections                      └──▶ won / lost, to the takeover
//! ```
//!
//! It decides who leads and under which epoch, which history is compacted, which alarms stand, who
//! the members are and which leases there are. It carries no revisions. Every member has a replica;
//! the member that leads it is the leader.
//!
//! Its checkpoint is due when as much has changed since the last one as there is to write, so that
//! a million leases cost each decision no more than a few do. [`State`] says how the checkpoint is
//! written while decisions go on.

pub mod entry;
mod state;

use std::collections::VecDeque;

pub use state::{Lease, State};

use crate::limits::{CHECKPOINT_SLICE_BYTES, CONTROL_LOG_BYTES, CONTROL_LOG_ENTRIES, LEASE_BYTES};
use crate::replica::{Fatal, Found, RecoverError, Recovered, Replica, ReplicaConfig, Restore};
use crate::types::{Epoch, LeaseId, LogEntry, LogIndex, MemberId, Note, Revision, Term};
use crate::wal::{CheckpointHeader, DiskOp, DiskOutcome, OpId, ReadDisk, attach_note};
use entry::Command;

/// An event that a step of the control group reports to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// This member leads the control group, in this term.
    Won(Term),
    /// It no longer does.
    Lost,
    /// An `Epoch` entry of the current term is committed.
    Numbered(Epoch),
    /// A decision is committed and applied.
    Decided { index: LogIndex, command: Command, changed: bool },
}

/// This member's replica of the control group.
#[derive(Debug)]
pub struct Control {
    me: MemberId,
    replica: Replica,
    state: State,
    applied: LogIndex,
    /// Changes since the last checkpoint was begun, and what the log had written then.
    changes: u64,
    written: u64,
    writing: Option<Writing>,
    leading: Option<Term>,
    /// The durable state of the member, as it was last given.
    note: Note,
    events: VecDeque<ControlEvent>,
}

/// A checkpoint that is being written: the last lease that it has.
#[derive(Clone, Copy, Debug)]
struct Writing {
    after: Option<LeaseId>,
}

impl Control {
    /// From what the disk holds.
    pub fn recover(
        config: &ReplicaConfig,
        me: MemberId,
        disk: &dyn ReadDisk,
        warnings: &mut Vec<String>,
    ) -> Result<(Control, Found), RecoverError> {
        let mut restoring = Restoring { state: State::new(), changes: 0, damage: None };
        let recovered = crate::replica::recover(config, disk, &mut restoring)?;
        if let Some(what) = restoring.damage {
            return Err(RecoverError::Contents { group: config.group, what: what.to_owned() });
        }
        let Recovered { replica, applied, warnings: passed_over, found, .. } = recovered;
        warnings.extend(passed_over);
        let control = Control {
            me,
            replica,
            state: restoring.state,
            applied,
            changes: restoring.changes,
            written: 0,
            writing: None,
            leading: None,
            note: Note::default(),
            events: VecDeque::new(),
        };
        Ok((control, found))
    }

    /// The state that the committed log has produced.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its Raft state and log.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The last entry that the state reflects.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Campaigns at once: the only voter need not wait for a timeout.
    pub fn campaign(&mut self) {
        self.replica.campaign();
    }

    /// Proposes that an epoch of this member begins.
    pub fn propose_epoch(&mut self) -> bool {
        self.propose(&Command::Epoch { term: self.replica.term(), leader: self.me }).is_some()
    }

    /// Proposes a decision; `None` if this member does not lead.
    pub fn propose(&mut self, command: &Command) -> Option<LogIndex> {
        self.replica.propose(command.encode()).ok()
    }

    /// A tick of Raft's clock.
    pub fn tick(&mut self, entropy: u64) {
        self.replica.tick(entropy);
        self.replica.retry();
    }

    /// Marks its log's last batch as complete. With `note`, the log says at its next occasion what
    /// is durable on the member; at once if it `insists`.
    pub fn seal(&mut self, note: Option<&Note>, insists: bool) {
        if let Some(note) = note {
            self.note = note.clone();
            self.replica.note(note);
            if insists {
                self.replica.write_note();
            }
        }
        self.replica.seal();
    }

    /// One of its disk operations has ended.
    pub fn disk_done(&mut self, id: OpId, outcome: DiskOutcome) -> Result<(), Fatal> {
        self.replica.done(id, outcome)
    }

    /// Moves what is ready; what the leader must know and the disk must do is in the arguments.
    pub fn turn(&mut self, events: &mut Vec<ControlEvent>, disk: &mut Vec<(OpId, DiskOp)>) {
        self.replica.pump();
        while let Some(entry) = self.replica.next_committed() {
            self.committed(&entry);
            self.applied = entry.index;
        }
        self.replica.applied(self.applied);
        let leading = self.replica.has_committed_in_term().then(|| self.replica.term());
        if leading != self.leading {
            if self.leading.is_some() {
                self.events.push_back(ControlEvent::Lost);
            }
            self.events.extend(leading.map(ControlEvent::Won));
            self.leading = leading;
        }
        self.checkpoint_some();
        events.extend(self.events.drain(..));
        disk.extend(std::iter::from_fn(|| self.replica.poll()));
    }

    fn committed(&mut self, entry: &LogEntry) {
        if entry.data.is_empty() {
            return;
        }
        let command = Command::decode(&entry.data)
            .unwrap_or_else(|bad| panic!("group 0: index {}: {}", entry.index, bad.0));
        self.changes += command.weight();
        if let Command::Epoch { term, leader } = command {
            if term != entry.term {
                return; // It came back late: nobody's epoch.
            }
            self.state.apply(entry.index, &command);
            if leader == self.me && self.replica.term() == term {
                self.events.push_back(ControlEvent::Numbered(Epoch(entry.index.0)));
            }
            return;
        }
        let changed = self.state.apply(entry.index, &command);
        let index = entry.index;
        self.events.push_back(ControlEvent::Decided { index, command, changed });
    }

    /// Writes some of a checkpoint, and begins one when enough has changed.
    fn checkpoint_some(&mut self) {
        if self.replica.lacked_room() {
            self.writing = None; // Once as much again has changed, the next is tried.
        }
        if self.writing.is_none() && !self.begin_checkpoint() {
            return;
        }
        while let Some(Writing { after }) = self.writing
            && self.replica.takes_chunk()
        {
            match self.state.encode_leases(after, CHECKPOINT_SLICE_BYTES) {
                Some((chunk, last)) => {
                    self.replica.push_chunk(&chunk);
                    self.writing = Some(Writing { after: Some(last) });
                }
                None => {
                    self.replica.finish_checkpoint();
                    self.writing = None;
                }
            }
        }
    }

    fn begin_checkpoint(&mut self) -> bool {
        let leases = self.state.leases.len() as u64;
        let bytes = self.replica.counters().bytes;
        let is_large = bytes - self.written > CONTROL_LOG_BYTES + leases * LEASE_BYTES;
        if self.changes < CONTROL_LOG_ENTRIES.max(leases) && !is_large {
            return false;
        }
        if self.applied <= self.replica.checkpoint_index() || self.replica.is_writing_checkpoint() {
            return false;
        }
        // Applied since this member leads: of its term, for Epoch came after the term's first.
        let Some(term) = self.leading else { return false };
        self.replica.begin_checkpoint(&CheckpointHeader {
            index: self.applied,
            term,
            stable: Revision::EMPTY,
            compact: Revision(self.state.compacted),
            opens: Vec::new(),
            attachment: attach_note(&self.note),
        });
        self.replica.push_chunk(&self.state.encode_head());
        self.writing = Some(Writing { after: None });
        (self.changes, self.written) = (0, bytes);
        true
    }
}

struct Restoring {
    state: State,
    /// Since the checkpoint.
    changes: u64,
    damage: Option<&'static str>,
}

impl Restore for Restoring {
    fn begin(&mut self, _: &CheckpointHeader) {
        self.state = State::new();
    }

    fn chunk(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.state.load(chunk).map_err(|bad| bad.0.to_owned())
    }

    fn loaded(&mut self) {}

    fn committed(&mut self, entry: &LogEntry) {
        if entry.data.is_empty() {
            return;
        }
        match Command::decode(&entry.data) {
            Ok(Command::Epoch { term, .. }) if term != entry.term => {}
            Ok(command) => {
                self.changes += command.weight();
                self.state.apply(entry.index, &command);
            }
            Err(bad) => self.damage = Some(bad.0),
        }
    }
}
