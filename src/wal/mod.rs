//! The durable log of one group, and its checkpoints: what must survive, and how it is found again.
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
//! Everything here is synchronous and without I/O: writers say what the disk must do as values
//! ([`DiskOp`]) and are told how it went; readers read through [`ReadDisk`]. So the simulator runs
//! the same code on a disk that tears, loses and misplaces writes.
//!
//! | word | meaning |
//! |---|---|
//! | record | one entry, hard state or restart: what the log is made of |
//! | batch | the records of one synchronous write: whole or void |
//! | segment | one log file: preallocated, filled with batches, recycled |
//! | chain | sequence number and previous batch's CRC in every batch, across segments |
//! | torn | a write of which a crash left only a part |
//! | restart | the log begins anew behind a checkpoint that came from another member |
//!
//! Invariants (docs/design.md 7):
//!
//! - **D1** [`Log::persisted`] rises to a ticket only when all of it is durable.
//! - **D2** A failed write or sync is [`Fatal`]: the process ends, nothing is tried again.
//! - **D3** A bad last batch is cut off. Damage that a later whole batch follows stops the start
//!   with [`Damage`]: file, offset, remedy. `reader` says how the two are told apart, and which
//!   damage no single replica can tell from a torn write.
//! - **D4** Segments and checkpoints appear whole under their names.
//! - **D5** Every prefix of the writes of any subset of the groups recovers to a state with
//!   everything that was reported persisted: groups share nothing here, so each stands alone.
//! - **D6** A checkpoint's header records the stable revision it covers; the caller keeps it.
//!
//! | file | what |
//! |---|---|
//! | `format` | the bytes of segments, batches, records: the tables |
//! | `op` | disk operations, outcomes, file names |
//! | `buffer` | aligned memory for direct writes |
//! | `config` | whose log, which sizes |
//! | `queue` | what waits, cut into batches |
//! | `segments` | the files of a log: prepared, begun, recycled |
//! | `log` | the writer |
//! | `reader` | the chain followed, the end found, damage told from torn writes |
//! | `checkpoint`, `checkpoint_reader` | checkpoints: format, writer, reader |
//! | `recover` | newest good checkpoint + log = state; log open for writing again |
//! | `inspect` | a data directory described, without changing it |
//! | `damage` | why a directory cannot be opened |

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
pub use checkpoint::{CheckpointEnd, CheckpointHeader, Checkpoints};
pub use checkpoint_reader::CheckpointReader;
pub use config::Config;
pub use damage::{Damage, OpenError};
pub use format::{BLOCK_BYTES, FORMAT_VERSION, Owner, SECTOR_BYTES};
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
