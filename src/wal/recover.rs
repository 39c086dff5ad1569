//! Opening a group's files: the newest good checkpoint, the log from there on, and a log to write.
//!
//! ```text
//!  recover() ─▶ Recovery { checkpoint ─▶ chunks ─▶ the shard's state
//!                          log ─▶ next_batch() … ─▶ entries, hard state
//!                                 finish() ─▶ Recovered { log: open for writing, … }
//!                          checkpoints: to write further ones }
//! ```
//!
//! Nothing is changed on disk here; what a crash left behind is removed by the log's operations.

use std::collections::VecDeque;

use crate::types::{HardState, LogIndex};

use super::checkpoint::Checkpoints;
use super::checkpoint_reader::{CheckpointReader, newest_good};
use super::config::Config;
use super::damage::{Damage, OpenError};
use super::format::{BLOCK_BYTES, SEGMENT_VERSION};
use super::log::{Log, Resume};
use super::op::{TEMPORARY_SUFFIX, segment_path, wal_directory};
use super::read_disk::{ReadDisk, list};
use super::reader::{Head, Item, Reader, Tail};
use super::segments::{PREPARED_MAX, Segment, Segments, Spare};

/// A group's files, opened. `log` is read to its end, then [`Reader::finish`]ed.
pub struct Recovery<'d> {
    /// Verified from end to end.
    pub checkpoint: Option<CheckpointReader<'d>>,
    pub checkpoints: Checkpoints,
    pub log: Reader<'d>,
    /// Newer checkpoints that were passed over, and why: worth a warning.
    pub damaged: Vec<OpenError>,
}

/// The content of the log, and the log to go on with.
#[derive(Debug)]
pub struct Recovered {
    pub log: Log,
    pub hard_state: HardState,
    /// The last index of the log, or of the checkpoint if that is ahead.
    pub last: LogIndex,
    pub tail: Tail,
}

/// Opens the files of `config.owner`'s group. A group without files is a new one.
pub fn recover<'d>(disk: &'d dyn ReadDisk, config: Config) -> Result<Recovery<'d>, OpenError> {
    let mut damaged = Vec::new();
    let (checkpoint, checkpoints) = newest_good(disk, config.owner, &mut damaged)?;
    let covered = checkpoint.as_ref().map(CheckpointReader::header);
    let covered = covered.map_or_else(Default::default, |header| (header.index, header.term));
    let log = Reader::open(disk, config, covered)?;
    Ok(Recovery { checkpoint, checkpoints, log, damaged })
}

impl Reader<'_> {
    /// Reads what is left of the log and opens it for writing after its last whole batch.
    pub fn finish(mut self) -> Result<Recovered, OpenError> {
        let mut items: Vec<Item> = Vec::new();
        while self.next_batch(&mut items)? {
            items.clear();
        }
        let tail = self.tail.clone().expect("the log is read to its end");
        let segments = self.segments()?;
        let resume = Resume {
            segments,
            chain: self.chain,
            hard_state: self.logged_state,
            last: self.logged_last,
            sealed: self.sealed,
            note: self.note.clone(),
            mend: self.mend,
        };
        let mut log = Log::resume(self.config, resume);
        if self.restarts {
            log.restart_at_open(self.covered, self.covered_term, self.hard_state);
        } else {
            log.note_commit(self.hard_state.commit);
        }
        Ok(Recovered { log, hard_state: self.hard_state, last: self.last, tail })
    }

    fn segments(&self) -> Result<Segments, OpenError> {
        let group = self.config.owner.group;
        let mut begun = VecDeque::new();
        for (at, file) in self.files.iter().enumerate().take(self.at + 1) {
            // The segment that the log goes on in counts as begun; if its first batch is not
            // whole, the next write begins it again.
            let current = at == self.at;
            let used = if current { self.offset } else { file.used };
            let again = current && used <= BLOCK_BYTES as u64;
            if again && file.len < 2 * BLOCK_BYTES as u64 {
                let what = format!("the file has only {} bytes", file.len);
                return Err(Damage { file: file.path.clone(), offset: 0, what }.into());
            }
            let (version, first_index) = match file.head {
                Head::Begun(header) if !again => (header.version, header.first_index),
                Head::Begun(_) | Head::Older | Head::Bad => {
                    (SEGMENT_VERSION, LogIndex(self.logged_last.0 + 1))
                }
            };
            begun.push_back(Segment {
                number: file.number,
                version,
                first_index,
                bytes: file.len,
                used: if again { 0 } else { used },
                durable: !again,
            });
        }
        let waiting = self.files.iter().skip(self.at + 1);
        let sizes = self.config.segment_bytes_min..=self.config.segment_bytes;
        let prepared: VecDeque<Spare> = waiting
            .clone()
            .take(PREPARED_MAX)
            .take_while(|file| sizes.contains(&file.len))
            .map(|file| Spare { number: file.number, bytes: file.len })
            .collect();
        let superfluous = waiting.skip(prepared.len()).rev();
        let mut discard: VecDeque<_> =
            superfluous.map(|file| segment_path(group, file.number)).collect();
        let directory = wal_directory(group);
        for name in list(self.disk, &directory)? {
            if name.ends_with(TEMPORARY_SUFFIX) {
                discard.push_back(format!("{directory}/{name}").into());
            }
        }
        Ok(Segments::new(group, sizes, begun, prepared, discard))
    }
}
