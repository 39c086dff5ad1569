//! One member's replica of one group: its Raft state and its log, joined.
//!
//! ```text
//!  propose ──▶ raft::Group ──ready──▶ wal::Log ──poll──▶ disk
//!                 ▲   │                    │
//!                 │   └── committed ──▶    └── persisted(ticket) ──┐
//!                 └────────────────────────────────────────────────┘
//! ```
//!
//! Raft counts as persisted what the log says is durable, and never more (D1). Checkpoints of the
//! group's state are written through this room too, so that the log is only cut below one that is
//! published.

mod recover;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::raft::{Dropped, Group};
use crate::types::{LogEntry, LogIndex, Note, Term};
use crate::wal::{
    CheckpointEnd, CheckpointHeader, Checkpoints, Counters, DiskOp, DiskOutcome, Log, OpId,
};

pub use crate::wal::Fatal;
pub use recover::{Found, RecoverError, Recovered, ReplicaConfig, Restore, recover};

/// The Raft state and the log of one group, joined.
pub struct Replica {
    group: Group,
    log: Log,
    checkpoints: Checkpoints,
    committed: VecDeque<LogEntry>,
    messages: Vec<crate::raft::Message>,
    /// The newest Ready that Raft was told is durable.
    reported: u64,
    /// The one that is being written.
    writing: Option<(LogIndex, Term)>,
    /// The disk had no room for the last checkpoint.
    lacked_room: bool,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replica of group {} at {}", self.group.group(), self.group.last_index())
    }
}

impl Replica {
    /// Asks to lead the group.
    pub fn campaign(&mut self) {
        self.group.campaign();
    }

    /// Whether it leads.
    pub fn is_leader(&self) -> bool {
        self.group.is_leader()
    }

    /// Whether it leads and knows what is committed.
    pub fn has_committed_in_term(&self) -> bool {
        self.group.has_committed_in_term()
    }

    /// Raft's term.
    pub fn term(&self) -> Term {
        self.group.term()
    }

    /// The Raft ID of the leader.
    pub fn leader(&self) -> Option<u64> {
        self.group.leader()
    }

    /// The last index of the log.
    pub fn last_index(&self) -> LogIndex {
        self.group.last_index()
    }

    /// The committed index.
    pub fn committed_index(&self) -> LogIndex {
        self.group.committed()
    }

    /// The last committed entry that is durable here.
    pub fn durable_index(&self) -> LogIndex {
        self.group.durable()
    }

    /// A tick of Raft's clock.
    pub fn tick(&mut self, entropy: u64) {
        self.group.tick(entropy);
    }

    /// Whether an entry of so many bytes would be taken now. One is taken whatever its size, when
    /// nothing else is uncommitted.
    pub fn can_propose(&self, bytes: usize) -> bool {
        self.group.can_propose(bytes)
    }

    /// Appends to the log as its leader.
    pub fn propose(&mut self, data: Bytes) -> Result<LogIndex, Dropped> {
        self.group.propose(data)
    }

    /// Moves what Raft has ready into the log, and what the log has durable into Raft.
    pub fn pump(&mut self) {
        loop {
            let mut moved = false;
            while let Some(ready) = self.group.ready() {
                moved = true;
                if ready.must_persist {
                    self.log.append(ready.number, &ready.entries, ready.hard_state);
                    if crate::teeth::leaves_out(crate::teeth::Rule::PersistFirst) {
                        self.messages.extend(self.group.persisted(ready.number).messages);
                    }
                }
                self.messages.extend(ready.messages);
                self.committed.extend(ready.committed);
            }
            let durable = self.log.persisted();
            if durable > self.reported {
                self.reported = durable;
                self.messages.extend(self.group.persisted(durable).messages);
                moved = true;
            }
            if !moved {
                break;
            }
        }
        self.log.note_commit(self.group.committed());
    }

    /// The next committed entry, each once, in order.
    pub fn next_committed(&mut self) -> Option<LogEntry> {
        self.committed.pop_front()
    }

    /// The state reflects everything up to `index`.
    pub fn applied(&mut self, index: LogIndex) {
        if index > self.group.applied() {
            self.group.applied_to(index);
        }
    }

    /// The next operation for the disk.
    pub fn poll(&mut self) -> Option<(OpId, DiskOp)> {
        self.log.poll().or_else(|| self.checkpoints.poll())
    }

    /// A disk operation has ended.
    pub fn done(&mut self, id: OpId, outcome: DiskOutcome) -> Result<(), Fatal> {
        if !id.is_checkpoint() {
            return self.log.done(id, outcome);
        }
        let end = self.checkpoints.done(id, outcome)?;
        let Some(end) = end else { return Ok(()) };
        let (index, term) = self.writing.take().expect("a checkpoint ends that was begun");
        match end {
            CheckpointEnd::Published { .. } => {
                self.group.truncate(index, term);
                self.log.truncate(self.checkpoints.log_needed_from());
            }
            CheckpointEnd::NoSpace { .. } => self.lacked_room = true,
        }
        Ok(())
    }

    /// Whether the disk has no room for the log to grow: writes are refused.
    pub fn is_full(&self) -> bool {
        self.log.is_full()
    }

    /// Tries again what a full disk refused.
    pub fn retry(&mut self) {
        if self.log.is_full() {
            self.log.retry();
        }
    }

    /// Sets the durable state of all groups of the member, which the log's next batch records.
    pub fn note(&mut self, note: &Note) {
        self.log.note(note);
    }

    /// Has that written even if nothing else is to be.
    pub fn write_note(&mut self) {
        self.log.write_note();
    }

    /// Marks the last batch as complete, once the log is idle.
    pub fn seal(&mut self) {
        if !self.log.is_busy() {
            self.log.seal();
        }
    }

    /// Whether a write is under way or waits.
    pub fn is_busy(&self) -> bool {
        self.log.is_busy()
    }

    /// Returns the counters of the log.
    pub fn counters(&self) -> Counters {
        self.log.counters()
    }

    /// Bytes that a restart would read behind the newest checkpoint.
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes_since(LogIndex(self.checkpoints.newest().0 + 1))
    }

    /// The index of the newest checkpoint; 0 if there is none.
    pub fn checkpoint_index(&self) -> LogIndex {
        self.checkpoints.newest()
    }

    /// The log goes on in a new, small segment, and spare ones are given up.
    pub fn give_back(&mut self) {
        self.log.give_back();
    }

    /// Whether files of the log are still to be removed.
    pub fn is_removing(&self) -> bool {
        self.log.is_removing()
    }

    /// Ends the giving back of segments.
    pub fn end_giving_back(&mut self) {
        self.log.end_giving_back();
    }

    /// Whether that segment is yet to be begun.
    pub fn is_rolling(&self) -> bool {
        self.log.is_rolling()
    }

    /// Whether the log takes hardly more space than an empty one.
    pub fn is_small(&self) -> bool {
        self.log.is_small()
    }

    /// Begins a checkpoint of the state at `checkpoint.index`.
    pub fn begin_checkpoint(&mut self, checkpoint: &CheckpointHeader) {
        assert!(self.writing.is_none(), "one checkpoint at a time");
        self.writing = Some((checkpoint.index, checkpoint.term));
        self.checkpoints.begin(checkpoint);
    }

    /// Whether the writer takes another chunk now.
    pub fn takes_chunk(&self) -> bool {
        self.checkpoints.wants_chunk()
    }

    /// Adds a chunk.
    pub fn push_chunk(&mut self, chunk: &[u8]) {
        self.checkpoints.push(chunk);
    }

    /// That was the last chunk: publish.
    pub fn finish_checkpoint(&mut self) {
        self.checkpoints.finish();
    }

    /// Whether a checkpoint was given up since this was last asked, for want of room.
    pub fn lacked_room(&mut self) -> bool {
        std::mem::take(&mut self.lacked_room)
    }

    /// Whether a checkpoint is being written.
    pub fn is_writing_checkpoint(&self) -> bool {
        self.writing.is_some()
    }
}
