//! A disk in memory that keeps only what it promised to keep.
//!
//! ```text
//!   durable            what a restart reads: every operation that was reported done
//!   in flight          held by the host until it ends; at a crash each leaves any part of its
//!                      effect: nothing, all, or single sectors of a write
//!   temporary files    appended to without a sync: until one is published, a crash leaves any
//!                      part of it
//! ```
//!
//! The disk also remembers where each batch of the logs lies and what was there before, so that
//! [`super::damage`] can do harm whose consequences are known.

use std::collections::BTreeMap;
use std::io;

use crate::chance::Chance;
use crate::wal::{AlignedBuf, BLOCK_BYTES, DiskOp, DiskOutcome, ReadDisk, SECTOR_BYTES};

/// The simulated disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub(super) files: BTreeMap<String, File>,
    /// Nothing new fits, but for what is left of the reserve once that is given up.
    pub full: bool,
    /// Bytes that are free since it was given up; `None` while it is whole.
    reserve: Option<u64>,
    written: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub bytes: Vec<u8>,
    /// Never synced so far.
    unsynced: bool,
    /// The batches in this life of the file, in the order they were written.
    pub batches: Vec<Batch>,
}

/// A write of a log, whole on disk.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub offset: usize,
    pub len: usize,
    /// Rises over all writes.
    pub order: u64,
    /// The bytes that were there before.
    pub before: Vec<u8>,
}

/// Bytes that are kept for a full disk, as `rt::disk_thread` has it.
const RESERVE_BYTES: u64 = 640 << 10;

impl Disk {
    /// Bytes of all files.
    pub fn bytes(&self) -> usize {
        self.files.values().map(|file| file.bytes.len()).sum()
    }

    /// The disk fills up, or has room again.
    pub fn fill(&mut self, full: bool) {
        (self.full, self.reserve) = (full, None);
    }

    /// Whether something new fits. What finds no room gives up the reserve for what comes next.
    fn takes(&mut self, bytes: u64) -> bool {
        if !self.full {
            return true;
        }
        let Some(free) = &mut self.reserve else {
            self.reserve = Some(RESERVE_BYTES);
            return false;
        };
        let fits = bytes <= *free;
        *free -= if fits { bytes } else { 0 };
        fits
    }

    /// Carries `op` out whole.
    pub fn finish(&mut self, op: DiskOp) -> DiskOutcome {
        match op {
            DiskOp::WriteBatch { path, offset, buffer } => {
                self.write(&path, offset, &buffer, |_| true);
                return DiskOutcome::Done(Some(buffer));
            }
            DiskOp::PrepareSegment { path, bytes, recycle } => {
                if recycle.is_none() && !self.takes(bytes) {
                    return DiskOutcome::Full;
                }
                self.prepare(&path, bytes, recycle.as_deref());
            }
            DiskOp::AppendTemporary { path, offset, bytes } => {
                if !self.takes(bytes.len() as u64) {
                    return DiskOutcome::Full;
                }
                self.append(&path, offset, &bytes);
            }
            DiskOp::PublishTemporary { path, target } => {
                let mut file = self.files.remove(&*path).expect("the temporary file is there");
                file.unsynced = false;
                self.files.insert(target.to_string(), file);
            }
            DiskOp::Remove { path } => {
                let bytes = self.files.remove(&*path).map_or(0, |file| file.bytes.len() as u64);
                self.reserve = self.reserve.map(|free| free + bytes);
            }
        }
        DiskOutcome::Done(None)
    }

    /// A crash in the middle of `op`.
    pub fn tear(&mut self, op: DiskOp, chance: &mut Chance) {
        match op {
            DiskOp::WriteBatch { path, offset, buffer } => {
                self.tear_write(&path, offset, &buffer, chance)
            }
            DiskOp::PrepareSegment { path, bytes, recycle } => match chance.below(4) {
                0 => {}
                1 if recycle.is_none() => {
                    let len = chance.below(bytes + 1) as usize;
                    let file = File { bytes: vec![0; len], unsynced: true, ..File::default() };
                    self.files.insert(format!("{path}.tmp"), file);
                }
                _ => self.prepare(&path, bytes, recycle.as_deref()),
            },
            DiskOp::AppendTemporary { path, offset, bytes } => {
                let part = chance.below(bytes.len() as u64 + 1) as usize;
                self.append(&path, offset, &bytes[..part]);
            }
            op @ DiskOp::PublishTemporary { .. } => match chance.below(3) {
                0 => {}
                1 => {
                    let DiskOp::PublishTemporary { path, .. } = &op else { unreachable!() };
                    self.files.get_mut(&**path).expect("it is there").unsynced = false;
                }
                _ => drop(self.finish(op)),
            },
            op @ DiskOp::Remove { .. } => {
                if chance.one_in(2) {
                    self.finish(op);
                }
            }
        }
    }

    /// The power goes: what was never synced is there in part. Operations in flight have been
    /// torn before.
    pub fn crash(&mut self, chance: &mut Chance) {
        let unsynced: Vec<String> = self
            .files
            .iter()
            .filter(|(_, file)| file.unsynced)
            .map(|(path, _)| path.clone())
            .collect();
        for path in unsynced {
            if chance.one_in(3) {
                self.files.remove(&path);
                continue;
            }
            let file = self.files.get_mut(&path).expect("just listed");
            file.bytes.truncate(chance.below(file.bytes.len() as u64 + 1) as usize);
            for sector in file.bytes.chunks_mut(SECTOR_BYTES) {
                if chance.one_in(4) {
                    sector.fill(0);
                }
            }
            file.unsynced = false;
        }
    }

    fn tear_write(&mut self, path: &str, offset: u64, buffer: &AlignedBuf, chance: &mut Chance) {
        let sectors = (buffer.len() / SECTOR_BYTES) as u64;
        match chance.below(6) {
            0 => {}
            1 => self.write(path, offset, buffer, |_| true),
            2 => {
                let cut = chance.below(sectors + 1);
                self.write(path, offset, buffer, |sector| sector < cut);
            }
            3 => {
                let start = chance.below(sectors);
                self.write(path, offset, buffer, |sector| sector > start);
            }
            _ => {
                let odds = chance.within(1, 8);
                self.write(path, offset, buffer, |_| chance.below(8) < odds);
            }
        }
    }

    fn write(
        &mut self,
        path: &str,
        offset: u64,
        buffer: &AlignedBuf,
        mut reaches: impl FnMut(u64) -> bool,
    ) {
        let file = self.files.get_mut(path).expect("a batch goes to a prepared segment");
        let (start, len) = (offset as usize, buffer.len());
        assert!(start.is_multiple_of(BLOCK_BYTES) && len.is_multiple_of(BLOCK_BYTES));
        assert!(start + len <= file.bytes.len(), "{path}: a batch goes past its segment's end");
        let before = file.bytes[start..start + len].to_vec();
        for (at, sector) in buffer.as_slice().chunks(SECTOR_BYTES).enumerate() {
            let place = start + at * SECTOR_BYTES;
            if reaches(at as u64) {
                file.bytes[place..place + SECTOR_BYTES].copy_from_slice(sector);
            }
        }
        if (start, len) == (0, BLOCK_BYTES) {
            return; // A segment's header again: of its first batch it is not known when it came.
        }
        let is_apart =
            |batch: &Batch| batch.offset + batch.len <= start || start + len <= batch.offset;
        file.batches.retain(is_apart);
        self.written += 1;
        if file.bytes[start..start + len] == *buffer.as_slice() {
            file.batches.push(Batch { offset: start, len, order: self.written, before });
        }
    }

    fn prepare(&mut self, path: &str, bytes: u64, recycle: Option<&str>) {
        assert!(!self.files.contains_key(path), "{path} is there already");
        let recycled = recycle.map(|old| self.files.remove(old).expect("the file to recycle"));
        let fits = recycled.filter(|file| file.bytes.len() as u64 == bytes);
        let bytes = fits.map_or_else(|| vec![0; bytes as usize], |file| file.bytes);
        self.files.insert(path.to_string(), File { bytes, ..File::default() });
    }

    fn append(&mut self, path: &str, offset: u64, bytes: &[u8]) {
        let file = self.files.entry(path.to_string()).or_default();
        if offset == 0 {
            file.bytes.clear();
        }
        assert_eq!(file.bytes.len() as u64, offset, "appends are in order");
        file.bytes.extend_from_slice(bytes);
        file.unsynced = true;
    }
}

impl ReadDisk for Disk {
    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let inside = |path: &String| {
            let rest = path.strip_prefix(directory)?.strip_prefix('/')?;
            (!rest.contains('/')).then(|| rest.to_owned())
        };
        Ok(self.files.keys().filter_map(inside).collect())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        let file = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.bytes.len() as u64)
    }

    fn read_at(&self, path: &str, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let file = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        let rest = file.bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
