//! The writer of one group's log: a state machine that is told what to make durable and says what
//! the disk has to do for it.
//!
//! ```text
//!  append(7) append(8) append(9)          poll()            done()
//!      └────────┴────────┴──▶ queue ──▶ one batch ──▶ disk ──▶ persisted() = 9
//!                                       at a time
//! ```
//!
//! Invariants:
//!
//! 1. At most one batch is in flight; so only the last batch of a log can be torn.
//! 2. `persisted` is raised to a ticket only after every batch up to its last record is durable.
//! 3. An append of at most `batch_bytes_max` is in one batch: durable whole or not at all. In a
//!    larger one the term and vote come before its entries, its commit after them.
//! 4. An entry counts when its last part is there; nothing but hard states and notes comes between
//!    its parts.
//! 5. Every segment begins with the hard state and the newest note, so that older segments can go.
//! 6. In the order of the log, no commit exceeds the last index, and no entry replaces one at or
//!    below a commit.

use std::collections::VecDeque;

use crate::types::{HardState, LogEntry, LogIndex, Note, Term};

use super::buffer::AlignedBuf;
use super::config::{BATCH_OVERHEAD_BYTES, Config};
use super::format::{
    BATCH_HEADER_BYTES, BLOCK_BYTES, BatchHeader, Part, Record, SEGMENT_VERSION, SegmentHeader,
};
use super::op::{DiskOp, DiskOutcome, Fatal, OpId, segment_path};
use super::queue::{Queue, Taken};
use super::segments::{Finished, Segment, Segments};

/// The smallest buffer: most batches fit it.
const BUFFER_BYTES_MIN: usize = 64 << 10;

/// One group's log, open for writing.
#[derive(Debug)]
pub struct Log {
    config: Config,
    queue: Queue,
    segments: Segments,
    chain: Chain,
    /// As of the last batch encoded, like `last`.
    hard_state: HardState,
    last: LogIndex,
    /// The hard state of the last append, still in the queue or not.
    appended: HardState,
    /// A newer commit that is written with the next batch.
    noted: LogIndex,
    /// The durable state of the member, as the log last recorded it, and as the next batch will.
    note: Option<Note>,
    newer_note: Option<Note>,
    ticket: u64,
    persisted: u64,
    write: Option<Write>,
    buffer: Option<AlignedBuf>,
    /// The last batch says nothing but a note, if that, or there is none: nothing is gained by
    /// another.
    sealed: bool,
    seal: bool,
    /// The next batch begins a segment, whatever room the current one has.
    roll: bool,
    /// The current segment's header, to be written again: a crash has torn it from its batch.
    mend: Option<SegmentHeader>,
    operations: u64,
    counters: Counters,
}

/// The position at which the next batch joins the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// The sequence number of the next batch.
    pub sequence: u64,
    /// The checksum of the last batch.
    pub previous_crc: u32,
}

impl Chain {
    pub const START: Chain = Chain { sequence: 1, previous_crc: 0 };
}

#[derive(Clone, Copy, Debug)]
struct Write {
    id: OpId,
    ticket: Option<u64>,
    bytes: u64,
}

/// Counts what this log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches durable: as many flushes.
    pub batches: u64,
    /// Bytes of these batches as written, padding included.
    pub bytes: u64,
    pub records: u64,
    pub segments_prepared: u64,
    pub segments_recycled: u64,
    pub files_removed: u64,
}

/// The state from which a log goes on after recovery.
#[derive(Debug)]
pub(super) struct Resume {
    pub segments: Segments,
    pub chain: Chain,
    pub hard_state: HardState,
    pub last: LogIndex,
    pub sealed: bool,
    pub note: Option<Note>,
    pub mend: Option<SegmentHeader>,
}

impl Log {
    pub(super) fn resume(config: Config, resume: Resume) -> Log {
        resume.segments.assert_invariants();
        Log {
            config,
            queue: Queue::default(),
            segments: resume.segments,
            chain: resume.chain,
            hard_state: resume.hard_state,
            last: resume.last,
            appended: resume.hard_state,
            noted: LogIndex(0),
            note: resume.note,
            newer_note: None,
            ticket: 0,
            persisted: 0,
            write: None,
            buffer: None,
            sealed: resume.sealed,
            seal: false,
            roll: false,
            mend: resume.mend,
            operations: 0,
            counters: Counters::default(),
        }
    }

    /// Before the first ticket: the checkpoint at `index` is ahead of the log that was found.
    pub(super) fn restart_at_open(&mut self, index: LogIndex, term: Term, state: HardState) {
        let records = [Record::Restart { index, term }, Record::HardState(state)];
        self.appended = state;
        self.queue.push(0, VecDeque::from(records));
    }

    /// Queues what the Raft ready with number `ticket` wants durable. Tickets rise. An entry at or
    /// below an earlier index replaces it and everything after.
    pub fn append(&mut self, ticket: u64, entries: &[LogEntry], hard_state: Option<HardState>) {
        let mut records: VecDeque<Record> = entries.iter().cloned().map(Record::Entry).collect();
        let bytes: usize = records.iter().map(Record::bytes).sum();
        if let Some(state) = hard_state {
            records.push_back(Record::HardState(state));
            if bytes + Record::HardState(state).bytes() > self.config.batch_bytes_max {
                let promise = HardState { commit: self.appended.commit, ..state };
                records.push_front(Record::HardState(promise));
            }
            self.appended = state;
        }
        self.enqueue(ticket, records);
    }

    /// Queues that the log begins again after `index`, whose term is `term`, because a published
    /// checkpoint holds everything up to there. All earlier entries are void.
    pub fn restart(
        &mut self,
        ticket: u64,
        index: LogIndex,
        term: Term,
        hard_state: Option<HardState>,
    ) {
        let mut records = VecDeque::from([Record::Restart { index, term }]);
        records.extend(hard_state.map(Record::HardState));
        self.appended = hard_state.unwrap_or(self.appended);
        self.enqueue(ticket, records);
    }

    fn enqueue(&mut self, ticket: u64, records: VecDeque<Record>) {
        assert!(ticket > self.ticket, "tickets rise");
        self.ticket = ticket;
        if records.is_empty() && self.queue.is_empty() && self.write.is_none() {
            self.persisted = ticket;
            return;
        }
        self.queue.push(ticket, records);
    }

    /// Remembers a commit that need not be durable by itself: the next batch carries it.
    pub fn note_commit(&mut self, commit: LogIndex) {
        self.noted = self.noted.max(commit);
    }

    /// Remembers what is durable on the member: the next batch carries it, whatever that is
    /// written for.
    pub fn note(&mut self, note: &Note) {
        if self.note.as_ref() != Some(note) {
            self.newer_note = Some(note.clone());
        }
    }

    /// Writes what the log was last told to note even if nothing else is to be written.
    pub fn write_note(&mut self) {
        self.seal |= self.newer_note.is_some() && self.queue.is_empty();
    }

    /// Follows the last batch with one that holds a note at most, unless it is such a one itself.
    /// What a later batch follows is known to have been durable, so that damage to it is told from
    /// a torn write.
    /// For a log that has been idle for a while, and before a clean stop.
    pub fn seal(&mut self) {
        self.seal |= !self.sealed && self.queue.is_empty();
    }

    /// Returns the next operation for the disk; call until there is none. Each must be answered
    /// with [`Log::done`], in any order.
    pub fn poll(&mut self) -> Option<(OpId, DiskOp)> {
        let id = OpId(self.operations);
        let (budget, largest) = (self.config.batch_bytes_max, self.config.record_bytes_max());
        let least = self.queue.least(budget, largest);
        self.segments.needed = (BLOCK_BYTES + BATCH_OVERHEAD_BYTES + least) as u64;
        let op = self.next_write(id).or_else(|| self.segments.poll(id))?;
        self.operations += 1;
        Some((id, op))
    }

    fn next_write(&mut self, id: OpId) -> Option<DiskOp> {
        if self.write.is_some() {
            return None;
        }
        if let Some(header) = self.mend.take() {
            return Some(self.write_header(id, &header));
        }
        let is_ready = !self.segments.prepared.is_empty() && !self.segments.gives_up();
        let rolls = self.roll && is_ready;
        if self.queue.is_empty() && !self.seal && !rolls {
            return None;
        }
        let (budget, largest) = (self.config.batch_bytes_max, self.config.record_bytes_max());
        let goes_on =
            |segment: &&Segment| segment.used > 0 && segment.version == SEGMENT_VERSION && !rolls;
        if let Some(current) = self.segments.current().filter(goes_on) {
            let overhead = BATCH_OVERHEAD_BYTES as u64;
            let room = current.bytes.saturating_sub(current.used + overhead) as usize;
            let taken = self.queue.take(budget, room, largest);
            if !taken.records.is_empty() || (self.seal && self.queue.is_empty() && room > 0) {
                return Some(self.write_batch(id, taken));
            }
            if let Some(ticket) = taken.ticket {
                // Nothing but tickets without records, and everything before is durable.
                self.persisted = ticket;
                return self.next_write(id);
            }
            if self.queue.is_empty() {
                self.seal = false;
                return None;
            }
        }
        if self.segments.current().is_none_or(|segment| segment.used > 0) {
            // An entry that goes on here belongs to the segment in which it begins.
            let gone_on = u64::from(self.queue.is_in_parts());
            self.segments.begin(LogIndex(self.last.0 + 1 + gone_on))?;
            self.roll = false;
        }
        let current = self.segments.current().expect("one is begun");
        let room = current.bytes as usize - BLOCK_BYTES - BATCH_OVERHEAD_BYTES;
        let taken = self.queue.take(budget, room, largest);
        Some(self.write_batch(id, taken))
    }

    fn write_batch(&mut self, id: OpId, taken: Taken) -> DiskOp {
        let segment = *self.segments.current().expect("a batch has a segment");
        let begins = segment.used == 0;
        let bytes = BLOCK_BYTES + BATCH_OVERHEAD_BYTES + taken.bytes;
        let mut buffer = self.buffer_of(bytes);
        let mut records = 0;
        if begins {
            buffer.extend(&[0; BLOCK_BYTES]);
        }
        let start = buffer.len();
        buffer.extend(&[0; BATCH_HEADER_BYTES]);
        let carried = begins.then_some(Record::HardState(self.hard_state));
        for record in carried.iter().chain(&taken.records) {
            self.follow(record);
            record.encode(|part| buffer.extend(part));
            records += 1;
        }
        if let Some(state) = self.noted_state() {
            Record::HardState(state).encode(|part| buffer.extend(part));
            self.hard_state = state;
            records += 1;
        }
        self.sealed = records == 0;
        let newer = self.newer_note.take();
        let is_newer = newer.is_some();
        self.note = newer.or(self.note.take());
        if let Some(note) = self.note.as_ref().filter(|_| begins || is_newer) {
            Record::Note(note.clone()).encode(|part| buffer.extend(part));
            records += 1;
        }
        let header = BatchHeader {
            crc: 0,
            length: 0,
            records,
            sequence: self.chain.sequence,
            segment: segment.number,
            offset: segment.used + start as u64,
            salt: self.config.owner.salt,
            previous_crc: self.chain.previous_crc,
            group: self.config.owner.group,
        };
        let crc = header.seal(&mut buffer.as_mut_slice()[start..]);
        if begins {
            let header = self.segment_header(segment.number, segment.first_index, crc);
            header.encode(&mut buffer.as_mut_slice()[..start]);
        }
        buffer.pad();
        self.chain = Chain { sequence: self.chain.sequence + 1, previous_crc: crc };
        self.seal = false;
        self.counters.records += u64::from(records);
        self.write = Some(Write { id, ticket: taken.ticket, bytes: buffer.len() as u64 });
        let current = self.segments.begun.back_mut().expect("a batch has a segment");
        let offset = current.used;
        current.used += buffer.len() as u64;
        assert!(current.used <= current.bytes, "a batch ends in its segment");
        let path = segment_path(self.config.owner.group, segment.number);
        DiskOp::WriteBatch { path, offset, buffer }
    }

    /// Writes the first block of the current segment again: its batch is whole and follows the one
    /// before it, so it counts, and what comes after it must find a header.
    fn write_header(&mut self, id: OpId, header: &SegmentHeader) -> DiskOp {
        let mut buffer = self.buffer_of(BLOCK_BYTES);
        buffer.extend(&[0; BLOCK_BYTES]);
        header.encode(buffer.as_mut_slice());
        self.write = Some(Write { id, ticket: None, bytes: BLOCK_BYTES as u64 });
        let path = segment_path(self.config.owner.group, header.number);
        DiskOp::WriteBatch { path, offset: 0, buffer }
    }

    fn segment_header(&self, number: u64, first_index: LogIndex, first_crc: u32) -> SegmentHeader {
        SegmentHeader {
            version: SEGMENT_VERSION,
            owner: self.config.owner,
            number,
            previous_crc: self.chain.previous_crc,
            first_sequence: self.chain.sequence,
            first_index,
            first_crc,
        }
    }

    /// Invariant 6, and where the log stands after `record`.
    fn follow(&mut self, record: &Record) {
        match record {
            Record::Entry(LogEntry { index, .. }) | Record::Part(Part { index, .. }) => {
                assert!(index.0 <= self.last.0 + 1, "an entry leaves a gap");
                assert!(*index > self.hard_state.commit, "an entry replaces a committed one");
                if !matches!(record, Record::Part(part) if !part.is_last()) {
                    self.last = *index;
                }
            }
            Record::Restart { index, .. } => {
                assert!(*index >= self.hard_state.commit, "a restart forgets committed entries");
                self.last = *index;
            }
            Record::HardState(state) => {
                assert!(state.commit <= self.last, "a commit exceeds the log");
                self.hard_state = *state;
            }
            Record::Note(_) => {}
        }
    }

    fn noted_state(&mut self) -> Option<HardState> {
        let commit = self.noted.min(self.last);
        let newer = commit > self.hard_state.commit;
        newer.then_some(HardState { commit, ..self.hard_state })
    }

    fn buffer_of(&mut self, bytes: usize) -> AlignedBuf {
        let fits = |buffer: &AlignedBuf| buffer.capacity() >= bytes;
        let capacity = bytes.next_power_of_two().max(BUFFER_BYTES_MIN);
        let mut buffer =
            self.buffer.take().filter(fits).unwrap_or_else(|| AlignedBuf::with_capacity(capacity));
        buffer.clear();
        buffer
    }

    /// Takes the outcome of an operation that [`Log::poll`] gave out.
    pub fn done(&mut self, id: OpId, outcome: DiskOutcome) -> Result<(), Fatal> {
        let writes = self.write.is_some_and(|write| write.id == id);
        let full = match outcome {
            DiskOutcome::Failed(what) => return Err(Fatal(what)),
            DiskOutcome::Full if writes => {
                return Err(Fatal("no space for a write into a prepared segment".into()));
            }
            DiskOutcome::Full => true,
            DiskOutcome::Done(buffer) => {
                self.buffer = self.buffer.take().or(buffer);
                false
            }
        };
        if writes {
            self.written();
            return Ok(());
        }
        match self.segments.done(id, full) {
            Some(Finished::Prepared) => self.counters.segments_prepared += 1,
            Some(Finished::Recycled) => self.counters.segments_recycled += 1,
            Some(Finished::Removed) => self.counters.files_removed += 1,
            None => {}
        }
        Ok(())
    }

    fn written(&mut self) {
        let write = self.write.take().expect("a batch is in flight");
        let current = self.segments.begun.back_mut().expect("a batch has a segment");
        current.durable = true;
        let large = 2 * self.config.batch_bytes_max.max(BUFFER_BYTES_MIN);
        self.counters.bytes += write.bytes;
        self.buffer.take_if(|buffer| buffer.capacity() > large);
        self.counters.batches += 1;
        self.persisted = write.ticket.unwrap_or(self.persisted);
        self.segments.assert_invariants();
    }

    /// Returns the highest ticket of which everything is durable, and everything of those before
    /// it.
    pub fn persisted(&self) -> u64 {
        self.persisted
    }

    /// A segment is there to write to. A checkpoint that comes from elsewhere is not published
    /// before: one without any log is taken for a lost log.
    pub fn is_prepared(&self) -> bool {
        self.segments.current().is_some() || !self.segments.prepared.is_empty()
    }

    /// Whether a batch is in flight or waits.
    pub fn is_busy(&self) -> bool {
        self.write.is_some() || !self.queue.is_empty()
    }

    /// Bytes of records not yet handed to the disk. Whoever appends stops above its bound.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Gives up the segments that hold nothing but entries below `below`. Whoever calls keeps
    /// published checkpoints that reach `below - 1`: pass one more than the index of the *older*
    /// of the two, so that the newest may turn out damaged.
    pub fn truncate(&mut self, below: LogIndex) {
        self.segments.truncate(below);
    }

    /// Goes on in a new segment, as small as can be, and gives up what is prepared: what is
    /// truncated afterwards is space given back. Done when [`Log::is_rolling`] says no more.
    pub fn give_back(&mut self) {
        self.roll = true;
        self.segments.wanted = true;
        self.segments.give_back();
    }

    /// Whether files that were given up are still to be removed.
    pub fn is_removing(&self) -> bool {
        self.segments.is_removing()
    }

    /// Ends the giving back of truncated segments.
    pub fn end_giving_back(&mut self) {
        self.segments.end_giving_back();
    }

    /// Whether the segment that [`Log::give_back`] wants is yet to be begun.
    pub fn is_rolling(&self) -> bool {
        self.roll || self.segments.current().is_some_and(|current| !current.durable)
    }

    /// Whether giving back would give nothing back.
    pub fn is_small(&self) -> bool {
        self.segments.are_few()
    }

    /// Whether the next segment could not be prepared: the disk is full. Writes should be refused
    /// while what is left of the current segment takes what must still be written.
    pub fn is_full(&self) -> bool {
        self.segments.full
    }

    /// Tries again to prepare a segment; for now and then, when [`Log::is_full`].
    pub fn retry(&mut self) {
        self.segments.full = false;
    }

    /// Returns the first index that the log holds, if it holds any from there on.
    pub fn first_index(&self) -> LogIndex {
        self.segments.begun.front().map_or(LogIndex(1), |segment| segment.first_index)
    }

    /// Bytes written in the segments that are kept.
    pub fn log_bytes(&self) -> u64 {
        self.segments.begun.iter().map(|segment| segment.used).sum()
    }

    /// Bytes written since the segment that holds `index`: what a restart from a checkpoint at
    /// `index` reads.
    pub fn bytes_since(&self, index: LogIndex) -> u64 {
        let holds = |first: LogIndex| first.0 <= index.0.saturating_add(1);
        let begun = &self.segments.begun;
        let from = begun.iter().rposition(|segment| holds(segment.first_index)).unwrap_or(0);
        begun.iter().skip(from).map(|segment| segment.used).sum()
    }

    /// Returns the log's counters since it was opened.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
