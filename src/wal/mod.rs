//! The durable log of one group and its checkpoints: writing them, and reading them back.
//!
//! ```text
//!   raft ready ──▶ Log ──▶ DiskOp ──▶ rt::disk, or the simulator's fake
//!                   ▲                    │
//!                   └──── DiskOutcome ◀──┘
//!
//!   group-001/wal/        00000005.seg 00000006.seg 00000007.seg 00000008.seg (prepared)
//!   group-001/checkpoint/ 00000000000000120000.ckpt 00000000000000245678.ckpt
//!                         └─ the older: kept in     └─ newest good checkpoint
//!                            case the newer is bad     + log after it = the group's state
//! ```
//!
//! The room is synchronous and does no I/O. Writers return what the disk must do as values
//! ([`DiskOp`]) and are given the outcomes; readers read through [`ReadDisk`]. So the simulator
//! runs the same code on a disk that tears, loses and misplaces writes.
//!
//! | word | meaning |
//! |---|---|
//! | record | one entry, hard state or restart: what the log is made of |
//! | part | some of the bytes of an entry that is too large for one write |
//! | batch | the records of one synchronous write: whole or void |
//! | segment | one log file: preallocated, filled with batches, recycled |
//! | chain | sequence number and previous batch's CRC in every batch, across segments |
//! | torn | a write of which a crash left only a part |
//! | restart | the log begins anew behind a checkpoint that came from another member |
//! | note | what was durable in every group of the member: no start may find less |
//!
//! How this room keeps the rules of docs/invariants.md:
//!
//! - D1: [`Log::persisted`] rises to a ticket only when all of it is durable.
//! - D2: a failed write or sync is [`Fatal`]; the caller ends the process.
//! - D3: a bad last batch is cut off, and damage that a later whole batch follows is [`Damage`]
//!   with file, offset and remedy. `reader` says how the two are told apart, and which damage no
//!   single replica can tell from a torn write.
//! - D4: segments and checkpoints are written under other names and renamed when they are whole.
//! - D5: groups share nothing here, so what holds for one log holds for any subset of them.
//! - D6: a checkpoint's header records the stable revision that it covers; the caller chooses it.
//!
//! | file | what |
//! |---|---|
//! | `format` | the bytes of segments, batches and records, with their tables |
//! | `op` | disk operations, outcomes, file names |
//! | `buffer` | aligned memory for direct writes |
//! | `config` | the owner of a log, and its sizes |
//! | `queue` | records that wait, cut into batches |
//! | `segments` | the files of a log: prepared, begun, recycled |
//! | `log` | the writer |
//! | `reader` | follows the chain, finds the end, tells damage from torn writes |
//! | `checkpoint`, `checkpoint_reader` | checkpoints: format, writer, reader |
//! | `recover` | reads the newest good checkpoint and the log after it, and opens the log again |
//! | `inspect` | describes a data directory without changing it |
//! | `damage` | the reasons why a directory cannot be opened |

mod buffer;
mod checkpoint;
mod checkpoint_reader;
mod config;
mod damage;
mod format;
pub mod inspect;
mod log;
mod op;
mod queue;
mod read_disk;
mod reader;
mod recover;
mod segments;

pub use buffer::AlignedBuf;
pub use checkpoint::{CheckpointEnd, CheckpointHeader, Checkpoints, attach_note};
pub use checkpoint_reader::CheckpointReader;
pub use config::Config;
pub use damage::{Damage, OpenError};
pub use format::{BLOCK_BYTES, Owner, SECTOR_BYTES, SEGMENT_VERSION};
pub use log::{Counters, Log};
pub use op::{
    DiskOp, DiskOutcome, DiskPath, Fatal, OpId, checkpoint_directory, group_directory,
    wal_directory,
};
pub use read_disk::ReadDisk;
pub use reader::{Item, Reader, Tail};
pub use recover::{Recovered, Recovery, recover};

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fake;
