//! Background work of a shard, a slice each turn: compaction, checkpoints, hashes,
//! defragmentation.

use super::defragment::Defragmenting;
use super::hashes::Hashes;
use super::{Shard, ShardEffects, ShardReply};
use crate::limits::{CHECKPOINT_LOG_RATIO, CHECKPOINT_SLICE_BYTES, COMPACTION_SLICE_KEYS};
use crate::line::message::Report;
use crate::store::{CheckpointCursor, Store};
use crate::types::{LogIndex, Origin, Refusal, Revision};
use crate::wal::{CheckpointHeader, attach_note};

/// Every chunk begins with the compact revision when it was made: the last one's is what the
/// checkpoint as a whole is good for.
pub(super) const COMPACTED_BYTES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// The target that is being worked off.
    compacting: Option<Revision>,
    pub hashes: Hashes,
    pub defragment: Option<Defragmenting>,
    checkpoint: Option<Checkpointing>,
    /// Bytes that the log had written when the last checkpoint was begun, and those that it had
    /// before it was opened and no checkpoint covers.
    written: u64,
    found: u64,
    /// The disk had no room for a checkpoint: so often idle until the next is tried.
    room_in: u32,
}

/// About two seconds.
const ROOM_IDLES: u32 = 4;

#[derive(Debug)]
struct Checkpointing {
    cursor: CheckpointCursor,
    stable: Revision,
    chunk: Vec<u8>,
}

impl Jobs {
    /// After a restart: a compaction may have been under way.
    pub fn of(store: &Store, found: u64) -> Jobs {
        let target = Some(Revision(store.compacted())).filter(|target| target.0 >= 0);
        Jobs { compacting: target, found, ..Jobs::default() }
    }

    pub fn compact(&mut self, target: Revision) {
        self.compacting = Some(target);
    }

    pub fn is_compacting(&self) -> bool {
        self.compacting.is_some()
    }

    /// Time has passed.
    pub fn idle(&mut self) {
        self.room_in = self.room_in.saturating_sub(1);
    }
}

impl Shard {
    /// Whether a compaction is not finished yet.
    pub fn is_compacting(&self) -> bool {
        self.jobs.is_compacting()
    }

    /// Whether a slice of something would get on with it.
    pub(super) fn has_work(&self) -> bool {
        let writes = self.jobs.checkpoint.is_some() && self.replica.takes_chunk();
        writes
            || self.jobs.compacting.is_some()
            || !self.jobs.hashes.is_empty()
            || self.can_defragment()
    }

    pub(super) fn compact_some(&mut self, keys: usize, effects: &mut ShardEffects) -> bool {
        let Some(target) = self.jobs.compacting else { return false };
        if self.frozen.is_some() {
            return true; // A round has checked that the revisions it reads are there.
        }
        let before = self.state.store.size().versions;
        // A read goes on seeing its revision, however long it takes.
        let floor = self.reads.floor().map_or(self.state.known, |read| read.min(self.state.known));
        let is_whole = self.state.store.compact_slice(floor, keys);
        self.counters.versions_compacted += before - self.state.store.size().versions;
        if !is_whole {
            return true;
        }
        if floor < target {
            return false; // The rest follows when stable and the reads have passed the target.
        }
        self.jobs.compacting = None;
        self.counters.compacted_to = target.0;
        let report = Report::CompactedPhysically { shard: self.id, revision: target };
        effects.reports.push(report);
        false
    }

    pub(super) fn begin_hash(&mut self, origin: Origin, at: Revision) -> Result<(), Refusal> {
        if self.hash_is_overtaken(at) {
            return Err(Refusal::Compacted);
        }
        self.jobs.hashes.ask(origin, at);
        Ok(())
    }

    /// As etcd, a revision below 1 is before everything: it hashes nothing and is never too old.
    fn hash_is_overtaken(&self, at: Revision) -> bool {
        at.0 > 0 && at.0 < self.state.store.compacted()
    }

    pub(super) fn hash_some(&mut self, effects: &mut ShardEffects) -> bool {
        let Some(hashing) = self.jobs.hashes.first() else { return false };
        let reply = if hashing.at.0 > 0 && hashing.at.0 < self.state.store.compacted() {
            Err(Refusal::Compacted)
        } else {
            match self.state.store.hash_slice(&mut hashing.cursor, COMPACTION_SLICE_KEYS) {
                Some(hash) => Ok((hash, hashing.cursor.compacted())),
                None => return true,
            }
        };
        let waiting = self.jobs.hashes.finish();
        effects
            .replies
            .extend(waiting.into_iter().map(|origin| (origin, ShardReply::Hash(reply.clone()))));
        !self.jobs.hashes.is_empty()
    }

    /// Writes some of a checkpoint, and begins one when the log has grown enough.
    pub(super) fn checkpoint_some(&mut self) -> bool {
        if self.replica.lacked_room() {
            self.jobs.checkpoint = None;
            self.jobs.room_in = ROOM_IDLES;
            self.checkpointed = LogIndex(0);
            self.jobs.found = self.checkpoint_log_bytes; // It is still due.
            self.defragment_lacks_room();
        }
        let Some(job) = &mut self.jobs.checkpoint else {
            let written = self.replica.counters().bytes - self.jobs.written + self.jobs.found;
            let due = written > self.checkpoint_due_bytes()
                || self.replica.log_bytes() > self.checkpoint_log_bytes;
            let wanted = self.defragment_wants();
            return (due || wanted.is_some()) && self.begin_checkpoint(wanted);
        };
        if !self.replica.takes_chunk() {
            return false; // The disk says when it goes on.
        }
        job.chunk.clear();
        job.chunk.extend_from_slice(&[0; COMPACTED_BYTES]);
        let bytes = CHECKPOINT_SLICE_BYTES;
        let whole =
            self.state.store.checkpoint_slice(&mut job.cursor, job.stable, bytes, &mut job.chunk);
        job.chunk[..COMPACTED_BYTES].copy_from_slice(&job.cursor.compacted().to_le_bytes());
        self.replica.push_chunk(&job.chunk);
        if whole {
            self.replica.finish_checkpoint();
            self.jobs.checkpoint = None;
            self.counters.checkpoints += 1;
        }
        true
    }

    /// Log bytes after which a checkpoint is due: in proportion to what there is to write, so that
    /// a member with little data is small, and one with much does not write it over and over.
    fn checkpoint_due_bytes(&self) -> u64 {
        let most = self.checkpoint_log_bytes;
        let state = self.state.store.size().in_use;
        state.saturating_mul(CHECKPOINT_LOG_RATIO).clamp(most / CHECKPOINT_LOG_RATIO, most)
    }

    /// D6: it covers stable revisions only. Its index is that of the last entry that holds nothing
    /// above stable; a restart replays from there and skips what the checkpoint has.
    fn begin_checkpoint(&mut self, wanted: Option<LogIndex>) -> bool {
        let Some((epoch, cut)) = self.state.opened.filter(|_| self.lane.is_some()) else {
            return false;
        };
        let waits_for_room = self.jobs.room_in > 0 && wanted.is_none();
        if self.replica.is_writing_checkpoint() || waits_for_room {
            return false;
        }
        self.settle();
        let index = match self.state.tail.front() {
            Some(tailed) => LogIndex(tailed.index.0 - 1).min(self.applied),
            None => self.applied,
        };
        if index <= self.checkpointed || wanted.is_some_and(|least| index < least) {
            return false;
        }
        // While it serves, everything from its Open on is of this term, and that is stable.
        let term = self.replica.term();
        let stable = self.state.known;
        self.replica.begin_checkpoint(&CheckpointHeader {
            index,
            term,
            stable,
            compact: Revision(self.state.store.compacted()),
            opens: vec![(epoch, cut)],
            attachment: attach_note(&self.sequencer.note()),
        });
        self.checkpointed = index;
        (self.jobs.written, self.jobs.found) = (self.replica.counters().bytes, 0);
        let cursor = CheckpointCursor::default();
        self.jobs.checkpoint = Some(Checkpointing { cursor, stable, chunk: Vec::new() });
        true
    }
}
