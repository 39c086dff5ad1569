//! The settings of a group's log.

use crate::limits::{LOG_BATCH_BYTES_MAX, SEGMENT_BYTES};

use super::format::{BATCH_HEADER_BYTES, BLOCK_BYTES, HARD_STATE_BYTES, NOTE_BYTES_MAX, Owner};

/// The owner of a log, and its sizes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub owner: Owner,
    /// Bytes of a segment file: of the first ones, unless a record asks for more, and of those of a
    /// log that holds much.
    pub segment_bytes_min: u64,
    pub segment_bytes: u64,
    /// Bytes of records after which a batch takes no more. A single larger entry goes alone, and
    /// one larger than [`Config::record_bytes_max`] in parts.
    pub batch_bytes_max: usize,
    verify_chain: bool,
}

/// An entry of so many batches is still written at once: cheaper than to wait for several writes.
const WHOLE_BATCHES: usize = 4;

/// Room for a batch of a few blocks beside what every batch may carry.
const SEGMENT_BYTES_MIN: u64 = 16 << 10;

/// A reader keeps a segment's batch in memory, and its length in 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

impl Config {
    /// Returns the sizes a served member uses.
    pub fn new(owner: Owner) -> Config {
        Config::with_sizes(owner, SEGMENT_BYTES, LOG_BATCH_BYTES_MAX)
    }

    /// Makes a configuration with other sizes, for tests and the simulator.
    pub fn with_sizes(owner: Owner, segment_bytes: u64, batch_bytes_max: usize) -> Config {
        let least = (2 * batch_bytes_max as u64).next_power_of_two().max(SEGMENT_BYTES_MIN);
        let segment_bytes_min = least.min(segment_bytes);
        let verify_chain = true;
        let config =
            Config { owner, segment_bytes_min, segment_bytes, batch_bytes_max, verify_chain };
        assert!(segment_bytes.is_multiple_of(BLOCK_BYTES as u64), "segments are whole blocks");
        assert!(segment_bytes <= SEGMENT_BYTES_MAX, "a segment is at most 1 GiB");
        assert!(batch_bytes_max <= config.segment_room(), "a batch fits a segment");
        config
    }

    /// Bytes of records that a new segment has room for.
    fn segment_room(&self) -> usize {
        (self.segment_bytes as usize).saturating_sub(BLOCK_BYTES + BATCH_OVERHEAD_BYTES)
    }

    /// Bytes of one record at most. A larger entry goes into the log in parts, so that no write and
    /// no segment has to be as large as the largest request.
    pub fn record_bytes_max(&self) -> usize {
        self.segment_room().min(WHOLE_BATCHES * self.batch_bytes_max)
    }

    /// Takes whatever batch is whole for the next one and cuts the log at the first bad one, so
    /// that the simulator can show that it notices. Never part of a served build.
    #[cfg(feature = "teeth")]
    pub fn without_chain(self) -> Config {
        Config { verify_chain: false, ..self }
    }

    pub(super) fn verify_chain(&self) -> bool {
        self.verify_chain
    }
}

/// Bytes that a batch may hold besides what was queued: its header, the hard state that a segment
/// begins with, the newest commit, and the newest note.
pub(super) const BATCH_OVERHEAD_BYTES: usize =
    BATCH_HEADER_BYTES + 2 * HARD_STATE_BYTES + NOTE_BYTES_MAX;
