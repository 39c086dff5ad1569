//! Reading a log back: which batches count, where it ends, and whether that end is a torn write
//! or damage.
//!
//! The reader follows the chain: at every place it expects the batch with the next sequence number
//! and the CRC of the one before. Where that batch is not, one of three things is true:
//!
//! | what is found | means |
//! |---|---|
//! | the next segment begins with the expected batch | the segment ended here |
//! | any whole batch with this or a higher sequence number, anywhere after | **damage**: stop |
//! | nothing of the kind | the log ends here; a torn batch, if any, was never acknowledged |
//!
//! Why the last row is safe: one batch is in flight at a time, so all but the last were reported
//! durable before the next was begun. Why a cut batch never comes back: what is written next has
//! the same sequence number in the same place, or begins the next segment with it. Batches of a
//! recycled file's earlier life have lower numbers. A header of a new segment is part of its first
//! batch's write, so a crash may leave it without the batch, or the batch without it. Without a
//! whole batch nothing counts, and the log goes on in that segment. A whole batch that follows the
//! one before it counts without its header, which is then written again: it may have been
//! acknowledged, and the header have been damaged since.
//!
//! A last batch that was durable and acknowledged and is damaged afterwards cannot be told from one
//! that was torn (Alagappan et al., FAST'18: a single replica cannot know).
//! [`Log::seal`](super::Log::seal) narrows this to the batches of the last moments, and a commit
//! or checkpoint above the log's end shows what is left of it.

use bytes::{Bytes, BytesMut};

use crate::types::{EntryKind, HardState, LogEntry, LogIndex, Note, Term};

use super::config::Config;
use super::damage::{Damage, OpenError};
use super::format::{
    BATCH_HEADER_BYTES, BLOCK_BYTES, BatchHeader, Part, Record, SECTOR_BYTES, SEGMENT_VERSION,
    SegmentHead, SegmentHeader,
};
use super::log::Chain;
use super::op::{segment_number, segment_path, wal_directory};
use super::read_disk::{ReadDisk, Window, len, list};

/// One step of a log's history, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Entry(LogEntry),
    HardState(HardState),
    /// Entries from `from` on, seen before, are void: another one at `from` follows.
    Superseded {
        from: LogIndex,
    },
    /// Every entry seen before is void: a checkpoint holds everything up to `index`.
    Restart {
        index: LogIndex,
        term: Term,
    },
    /// The durable state of the member when the batch was written.
    Note(Note),
}

/// The position and the manner in which a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    pub file: String,
    pub offset: u64,
    /// A batch was begun here and is not whole: it is cut off.
    pub torn: bool,
}

/// Reads one log from the segment that a checkpoint needs on.
pub struct Reader<'d> {
    pub(super) disk: &'d dyn ReadDisk,
    pub(super) config: Config,
    pub(super) files: Vec<File>,
    /// Which of `files` is being read, and where.
    pub(super) at: usize,
    pub(super) offset: u64,
    pub(super) chain: Chain,
    pub(super) last: LogIndex,
    pub(super) hard_state: HardState,
    pub(super) sealed: bool,
    /// The newest note so far.
    pub(super) note: Option<Note>,
    /// The header that the last segment lacks.
    pub(super) mend: Option<SegmentHeader>,
    pub(super) tail: Option<Tail>,
    pub(super) covered: LogIndex,
    /// The term of `covered` as the checkpoint has it, and as the log does.
    pub(super) covered_term: Term,
    logged_term: Option<Term>,
    /// An entry of which some parts are there.
    parts: Option<Parts>,
    /// The log is to begin again behind the checkpoint; what it says itself is in the two below.
    pub(super) restarts: bool,
    pub(super) logged_state: HardState,
    pub(super) logged_last: LogIndex,
    window: Window,
    batches: u64,
}

/// The parts of an entry that have been read so far.
struct Parts {
    index: LogIndex,
    term: Term,
    bytes: BytesMut,
}

/// A segment file, and what its first block says.
#[derive(Debug)]
pub(super) struct File {
    pub number: u64,
    pub path: String,
    pub len: u64,
    /// Bytes in use, as far as it was read; otherwise its length.
    pub used: u64,
    pub head: Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Begun(SegmentHeader),
    /// The header belongs to the file's life before it was recycled.
    Older,
    Bad,
}

enum FoundBatch {
    /// The expected batch, with its header.
    Expected(BatchHeader, Bytes),
    /// Not a whole batch; `torn` if one was begun.
    Nothing {
        torn: bool,
    },
    Wrong(String),
}

impl<'d> Reader<'d> {
    /// Opens the log for reading from the segment on that holds the entry after `covered`: index
    /// and term of the checkpoint at hand, 0 and 0 without one.
    pub fn open(
        disk: &'d dyn ReadDisk,
        config: Config,
        (covered, covered_term): (LogIndex, Term),
    ) -> Result<Reader<'d>, OpenError> {
        let files = files(disk, &config)?;
        let mut reader = Reader {
            disk,
            config,
            files,
            at: 0,
            offset: 0,
            chain: Chain::START,
            last: LogIndex(0),
            hard_state: HardState::default(),
            sealed: true,
            note: None,
            mend: None,
            tail: None,
            covered,
            covered_term,
            logged_term: None,
            parts: None,
            restarts: false,
            logged_state: HardState::default(),
            logged_last: LogIndex(0),
            window: Window::default(),
            batches: 0,
        };
        reader.begin()?;
        Ok(reader)
    }

    /// Finds the first segment to read.
    fn begin(&mut self) -> Result<(), OpenError> {
        let begun = |file: &File| match file.head {
            Head::Begun(header) => Some(header),
            Head::Older | Head::Bad => None,
        };
        let newest = self.files.iter().rposition(|file| begun(file).is_some());
        if let Some(hole) = self.files[..newest.unwrap_or(0)].iter().find(|f| begun(f).is_none()) {
            return Err(damage(hole, 0, "the segment's header is bad, and segments follow"));
        }
        let Some(newest) = newest else { return self.begin_empty() };
        // Best with the entry at `covered` itself, to see whether it is the checkpoint's.
        let next = LogIndex(self.covered.0.saturating_add(1));
        let reaching = |index: LogIndex| {
            let reaches = |file: &File| begun(file).is_some_and(|head| head.first_index <= index);
            self.files[..=newest].iter().rposition(reaches)
        };
        let Some(at) = reaching(self.covered).or_else(|| reaching(next)) else {
            let first = begun(&self.files[0]).expect("checked above").first_index;
            let what = format!("the log begins at index {first}, but {next} is needed");
            return Err(damage(&self.files[0], 0, &what));
        };
        let header = begun(&self.files[at]).expect("checked above");
        self.at = at;
        self.offset = BLOCK_BYTES as u64;
        self.chain = Chain { sequence: header.first_sequence, previous_crc: header.previous_crc };
        self.last = LogIndex(header.first_index.0.saturating_sub(1));
        Ok(())
    }

    /// Reads a log of which no segment was ever begun, or the very first write was torn.
    fn begin_empty(&mut self) -> Result<(), OpenError> {
        if self.files.is_empty() && self.covered > LogIndex(0) {
            return Err(self.damage_here("there is a checkpoint, but no log"));
        }
        if let Some(first) = self.files.first()
            && first.number != 1
        {
            return Err(damage(first, 0, "the header of the log's first segment is bad"));
        }
        Ok(())
    }

    /// Puts the next batch's items into `out`; false at the end of the log. Memory is bounded by
    /// one batch and what is kept of the items: they share the memory they were read into.
    pub fn next_batch(&mut self, out: &mut Vec<Item>) -> Result<bool, OpenError> {
        while self.tail.is_none() {
            let torn = match self.look()? {
                FoundBatch::Expected(header, batch) => {
                    self.take(&header, batch, out)?;
                    return Ok(true);
                }
                FoundBatch::Nothing { torn } => torn,
                FoundBatch::Wrong(what) => return Err(self.damage_here(&what)),
            };
            if !self.next_segment()? && !self.torn_header()? {
                self.check_end()?;
                let file = self.files.get(self.at).map_or(String::new(), |f| f.path.clone());
                self.tail = Some(Tail { file, offset: self.offset, torn });
                return Ok(self.reach_checkpoint(out));
            }
        }
        Ok(false)
    }

    /// Handles a checkpoint that came from elsewhere and is ahead of the log, or differs from it: a
    /// crash came before its restart was logged. Then the restart happens now.
    fn reach_checkpoint(&mut self, out: &mut Vec<Item>) -> bool {
        let (index, term) = (self.covered, self.covered_term);
        (self.logged_state, self.logged_last) = (self.hard_state, self.last);
        self.restarts = index > self.last || self.logged_term.is_some_and(|logged| logged != term);
        self.hard_state.commit = self.hard_state.commit.max(index);
        if self.hard_state.term < term {
            self.hard_state.vote = 0;
            self.hard_state.term = term;
        }
        if self.restarts {
            self.last = index;
            out.extend([Item::Restart { index, term }, Item::HardState(self.hard_state)]);
        }
        self.restarts
    }

    /// Looks for the next batch at the place where it should be.
    fn look(&mut self) -> Result<FoundBatch, OpenError> {
        let Some(file) = self.files.get(self.at) else {
            return Ok(FoundBatch::Nothing { torn: false });
        };
        let offset = self.offset.max(BLOCK_BYTES as u64);
        let Some((header, batch)) = whole_batch(self.disk, &mut self.window, file, offset)? else {
            let head = self.window.get(self.disk, &file.path, file.len, offset, BLOCK_BYTES)?;
            let torn = BatchHeader::decode(&head)
                .is_some_and(|header| self.is_ours(&header) && header.sequence == self.next());
            return Ok(FoundBatch::Nothing { torn });
        };
        let wanted = self.next();
        if header.salt == self.config.owner.salt && header.group != self.config.owner.group {
            return Ok(FoundBatch::Wrong(format!("a batch of group {} is here", header.group)));
        }
        if !self.is_ours(&header) {
            return Ok(FoundBatch::Nothing { torn: false });
        }
        if !self.config.verify_chain() && header.sequence >= wanted {
            return Ok(FoundBatch::Expected(header, batch));
        }
        let here = header.segment == file.number && header.offset == offset;
        if header.sequence < wanted && header.segment < file.number {
            return Ok(FoundBatch::Nothing { torn: false });
        }
        if header.sequence != wanted || !here {
            return Ok(FoundBatch::Wrong(format!(
                "batch {wanted} should be here, but batch {} is, written for segment {} at {}",
                header.sequence, header.segment, header.offset
            )));
        }
        if header.previous_crc != self.chain.previous_crc {
            return Ok(FoundBatch::Wrong(format!(
                "batch {wanted} does not follow the one before it"
            )));
        }
        let torn_with_header = match file.head {
            Head::Begun(head) => offset == BLOCK_BYTES as u64 && head.first_crc != header.crc,
            Head::Older | Head::Bad => true,
        };
        if torn_with_header {
            return Ok(FoundBatch::Nothing { torn: true });
        }
        Ok(FoundBatch::Expected(header, batch))
    }

    fn next(&self) -> u64 {
        self.chain.sequence
    }

    fn is_ours(&self, header: &BatchHeader) -> bool {
        header.salt == self.config.owner.salt && header.group == self.config.owner.group
    }

    fn take(
        &mut self,
        header: &BatchHeader,
        batch: Bytes,
        out: &mut Vec<Item>,
    ) -> Result<(), OpenError> {
        let mut records = batch.slice(BATCH_HEADER_BYTES..);
        self.sealed = true;
        for _ in 0..header.records {
            let record = Record::decode(&mut records);
            let record = record.map_err(|what| self.damage_here(what))?;
            self.sealed &= matches!(record, Record::Note(_));
            self.follow(record, out)?;
        }
        if !records.is_empty() {
            return Err(self.damage_here("bytes follow the last record of the batch"));
        }
        self.chain = Chain { sequence: header.sequence + 1, previous_crc: header.crc };
        self.offset = (self.offset + batch.len() as u64).next_multiple_of(BLOCK_BYTES as u64);
        self.batches += 1;
        Ok(())
    }

    fn follow(&mut self, record: Record, out: &mut Vec<Item>) -> Result<(), OpenError> {
        match record {
            Record::Entry(entry) => {
                self.parts = None; // A crash has cut short what was there.
                let next = self.last.0.saturating_add(1);
                if entry.index.0 > next || entry.index.0 == 0 {
                    let what = format!("entry {} follows entry {}", entry.index, self.last);
                    return Err(self.damage_here(&what));
                }
                if entry.index.0 < next {
                    out.push(Item::Superseded { from: entry.index });
                }
                if entry.index <= self.covered {
                    self.logged_term = (entry.index == self.covered).then_some(entry.term);
                }
                self.last = entry.index;
                out.push(Item::Entry(entry));
            }
            Record::HardState(state) => {
                self.hard_state = state;
                out.push(Item::HardState(state));
            }
            Record::Restart { index, term } => {
                if index > self.covered {
                    let what = format!(
                        "the log begins again after index {index}, but the newest good \
                         checkpoint is at {}",
                        self.covered
                    );
                    return Err(self.damage_here(&what));
                }
                self.parts = None;
                self.last = index;
                self.logged_term = (index == self.covered).then_some(term);
                out.push(Item::Restart { index, term });
            }
            Record::Note(note) => {
                self.note = Some(note.clone());
                out.push(Item::Note(note));
            }
            Record::Part(part) => return self.assemble(&part, out),
        }
        Ok(())
    }

    /// Takes a part; the entry counts when its last is there. What was there of another was cut
    /// short by a crash if this is a first part.
    fn assemble(&mut self, part: &Part, out: &mut Vec<Item>) -> Result<(), OpenError> {
        if part.offset == 0 {
            let bytes = BytesMut::with_capacity(part.total as usize);
            self.parts = Some(Parts { index: part.index, term: part.term, bytes });
        }
        let Some(parts) = &mut self.parts else {
            // The log may begin within an entry; then a checkpoint has it.
            let is_before = part.index <= self.last;
            let damage = || self.damage_here("a part of an entry has no beginning");
            return if is_before { Ok(()) } else { Err(damage()) };
        };
        let follows = (parts.index, parts.term) == (part.index, part.term)
            && parts.bytes.len() == part.offset as usize;
        if !follows {
            return Err(self.damage_here("a part of an entry does not follow the one before it"));
        }
        parts.bytes.extend_from_slice(&part.data);
        if !part.is_last() {
            return Ok(());
        }
        let data = std::mem::take(&mut parts.bytes).freeze();
        let (index, term, kind) = (part.index, part.term, EntryKind::Normal);
        self.follow(Record::Entry(LogEntry { index, term, kind, data }), out)
    }

    /// Moves on if the next segment begins with the batch that is expected.
    fn next_segment(&mut self) -> Result<bool, OpenError> {
        let Some(next) = self.files.get(self.at + 1) else { return Ok(false) };
        let Head::Begun(header) = next.head else { return Ok(false) };
        let follows = header.first_sequence == self.chain.sequence
            && header.previous_crc == self.chain.previous_crc;
        if self.config.verify_chain() && !follows {
            return Err(self.damage_here(&format!(
                "batch {} is bad or missing, and segment {} goes on with batch {}",
                self.chain.sequence, next.number, header.first_sequence
            )));
        }
        if !self.config.verify_chain() {
            self.chain =
                Chain { sequence: header.first_sequence, previous_crc: header.previous_crc };
        }
        self.files[self.at].used = self.offset;
        self.at += 1;
        self.offset = BLOCK_BYTES as u64;
        Ok(true)
    }

    /// Ends the log here, unless something shows that it went on.
    fn check_end(&mut self) -> Result<(), OpenError> {
        if self.hard_state.commit > self.last {
            let what = format!(
                "the log ends with index {}, but {} was committed",
                self.last, self.hard_state.commit
            );
            return Err(self.damage_here(&what));
        }
        Ok(())
    }

    /// Looks behind the end for batches that show that the log went on. Moves on if there is but
    /// the first batch of a segment, torn from its header.
    fn torn_header(&mut self) -> Result<bool, OpenError> {
        if !self.config.verify_chain() {
            return Ok(false);
        }
        let next = if self.offset == 0 { self.at } else { self.at + 1 };
        let mut found = None;
        for at in self.at..self.files.len() {
            let start = if at == self.at { self.offset } else { 0 };
            let first = self.scan(at, start)?;
            found = found.or(first.filter(|_| at == next && start == 0));
        }
        let Some(batch) = found else { return Ok(false) };
        if let Some(file) = self.files.get_mut(self.at).filter(|_| next != self.at) {
            file.used = self.offset;
        }
        let header = SegmentHeader {
            version: SEGMENT_VERSION,
            owner: self.config.owner,
            number: self.files[next].number,
            previous_crc: self.chain.previous_crc,
            first_sequence: self.chain.sequence,
            // A segment in which an entry in parts goes on begins with the entry after that.
            first_index: LogIndex(self.last.0 + 1 + u64::from(self.parts.is_some())),
            first_crc: batch.crc,
        };
        self.files[next].head = Head::Begun(header);
        (self.at, self.offset) = (next, BLOCK_BYTES as u64);
        self.mend = Some(header);
        Ok(true)
    }

    /// Looks at every block of a file from `start` on for batches that come after the end, and
    /// gives back the file's first batch if it is the one that is expected next.
    fn scan(&self, at: usize, start: u64) -> Result<Option<BatchHeader>, OpenError> {
        let file = &self.files[at];
        let first = BLOCK_BYTES as u64;
        let mut window = Window::default();
        let mut expected = None;
        let mut offset = start;
        while offset < file.len {
            let block = window.get(self.disk, &file.path, file.len, offset, BLOCK_BYTES)?;
            let later = BatchHeader::decode(&block)
                .filter(|header| self.is_ours(header) && header.sequence >= self.next());
            let whole = match later {
                Some(_) => whole_batch(self.disk, &mut window, file, offset)?,
                None => None,
            };
            if let Some((header, _)) = whole {
                let here = header.segment == file.number && header.offset == offset;
                let follows = header.previous_crc == self.chain.previous_crc;
                if header.sequence != self.next() || !here || !follows || offset != first {
                    return Err(self.damage_here(&format!(
                        "batch {} is bad or missing, but batch {} is whole in {} at offset {}",
                        self.chain.sequence, header.sequence, file.path, offset
                    )));
                }
                expected = Some(header);
            }
            offset += BLOCK_BYTES as u64;
        }
        Ok(expected)
    }

    fn damage_here(&self, what: &str) -> OpenError {
        match self.files.get(self.at) {
            Some(file) => damage(file, self.offset, what),
            None => {
                let file = wal_directory(self.config.owner.group);
                Damage { file, offset: 0, what: what.to_string() }.into()
            }
        }
    }

    /// Batches read so far.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Returns the log's end, once it is read to the end.
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }
}

/// Returns the whole batch at `offset`, if there is one, whoever's it is.
pub(super) fn whole_batch(
    disk: &dyn ReadDisk,
    window: &mut Window,
    file: &File,
    offset: u64,
) -> Result<Option<(BatchHeader, Bytes)>, OpenError> {
    let head = window.get(disk, &file.path, file.len, offset, BLOCK_BYTES)?;
    let Some(header) = BatchHeader::decode(&head) else { return Ok(None) };
    if u64::from(header.length) > file.len.saturating_sub(offset) {
        return Ok(None);
    }
    let batch = window.get(disk, &file.path, file.len, offset, header.length as usize)?;
    Ok(header.verify(&batch).then_some((header, batch)))
}

/// Returns the segments in order, without a gap, each with what its header says.
fn files(disk: &dyn ReadDisk, config: &Config) -> Result<Vec<File>, OpenError> {
    let group = config.owner.group;
    let names = list(disk, &wal_directory(group))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let mut files: Vec<File> = Vec::with_capacity(numbers.len());
    for number in numbers {
        let path = segment_path(group, number).to_string();
        if let Some(before) = files.last()
            && before.number + 1 != number
        {
            let what = format!("segment {} is missing before it", before.number + 1);
            return Err(Damage { file: path, offset: 0, what }.into());
        }
        let len = len(disk, &path)?;
        if !len.is_multiple_of(BLOCK_BYTES as u64) {
            let what = format!("the file has {len} bytes, not whole blocks");
            return Err(Damage { file: path, offset: len, what }.into());
        }
        let head = head(disk, config, &path, number)?;
        files.push(File { number, path, len, used: len, head });
    }
    Ok(files)
}

fn head(disk: &dyn ReadDisk, config: &Config, path: &str, number: u64) -> Result<Head, OpenError> {
    let file = || path.to_string();
    let mut sector = [0; SECTOR_BYTES];
    let read = disk.read_at(path, 0, &mut sector);
    let read = read.map_err(|error| OpenError::Io { file: file(), offset: 0, error })?;
    let header = match SegmentHeader::decode(&sector[..read]) {
        SegmentHead::Bad => return Ok(Head::Bad),
        SegmentHead::Version(version) => {
            return Err(OpenError::Format { file: file(), version, supported: SEGMENT_VERSION });
        }
        SegmentHead::Whole(header) => header,
    };
    let (found, wanted) = (header.owner, config.owner);
    let foreign = |what: String| Err(OpenError::Foreign { file: file(), what });
    if found.cluster != wanted.cluster {
        let (found, wanted) = (found.cluster.0, wanted.cluster.0);
        return foreign(format!("it is of cluster {found:x}, this one is {wanted:x}"));
    }
    if found.member != wanted.member {
        let (found, wanted) = (found.member.0, wanted.member.0);
        return foreign(format!("it is of member {found:x}, this one is {wanted:x}"));
    }
    if found.group != wanted.group {
        return foreign(format!("it is of group {}, not {}", found.group, wanted.group));
    }
    if found.salt != wanted.salt {
        return foreign("it is of an earlier member with the same name".to_string());
    }
    match header.number {
        at if at == number => Ok(Head::Begun(header)),
        at if at < number => Ok(Head::Older),
        at => {
            let what = format!("the header is that of segment {at}");
            Err(Damage { file: file(), offset: 0, what }.into())
        }
    }
}

fn damage(file: &File, offset: u64, what: &str) -> OpenError {
    Damage { file: file.path.clone(), offset, what: what.to_string() }.into()
}
