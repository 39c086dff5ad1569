//! What benches of the core share: a disk that has done everything at once and keeps nothing.
#![allow(dead_code)]

use std::io;

use braid::wal::{DiskOp, DiskOutcome, ReadDisk};

/// Empty at the start, without cost, and never read again.
pub struct NoDisk;

impl NoDisk {
    /// Does it: every write is durable, every buffer comes back.
    pub fn run(&self, op: DiskOp) -> DiskOutcome {
        match op {
            DiskOp::WriteBatch { buffer, .. } => DiskOutcome::Done(Some(buffer)),
            _ => DiskOutcome::Done(None),
        }
    }
}

impl ReadDisk for NoDisk {
    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn len(&self, _: &str) -> io::Result<u64> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, _: &str, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Key `number` of the keyspace that all benches use.
pub fn key(number: u64) -> bytes::Bytes {
    bytes::Bytes::from(format!("bench/{number:010}"))
}

/// Keys at most, so that the index is as deep as that of a large store.
pub const KEYS: u64 = 100_000;

/// A number of the keyspace that looks random.
pub fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(31) % KEYS
}
