//! A disk in memory for the tests of this room: what is done is durable, and an operation that a
//! crash cuts short leaves any part of its effect.

use std::collections::BTreeMap;
use std::io;

use crate::chance::Chance;
use crate::types::{ClusterId, GroupId, MemberId};

use super::{AlignedBuf, DiskOp, DiskOutcome, Owner, ReadDisk, SECTOR_BYTES};

pub const OWNER: Owner =
    Owner { cluster: ClusterId(0xc1), member: MemberId(0xa1), group: GroupId(1), salt: 0x5a17 };

#[derive(Clone, Debug, Default)]
pub struct FakeDisk {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Nothing new fits.
    pub full: bool,
    /// Batches written and bytes in them.
    pub writes: Vec<usize>,
}

impl FakeDisk {
    pub fn apply(&mut self, op: DiskOp) -> DiskOutcome {
        match op {
            DiskOp::WriteBatch { path, offset, buffer } => {
                self.write(&path, offset, &buffer, |_| true);
                self.writes.push(buffer.len());
                return DiskOutcome::Done(Some(buffer));
            }
            DiskOp::PrepareSegment { path, bytes, recycle } => {
                if self.full && recycle.is_none() {
                    return DiskOutcome::Full;
                }
                self.prepare(&path, bytes, recycle.as_deref());
            }
            DiskOp::AppendTemporary { path, offset, bytes } => {
                if self.full {
                    return DiskOutcome::Full;
                }
                self.append(&path, offset, &bytes);
            }
            DiskOp::PublishTemporary { path, target } => {
                let file = self.files.remove(&*path).expect("the temporary file is there");
                self.files.insert(target.to_string(), file);
            }
            DiskOp::Remove { path } => {
                self.files.remove(&*path);
            }
        }
        DiskOutcome::Done(None)
    }

    /// A crash in the middle of `op`.
    pub fn tear(&mut self, op: DiskOp, chance: &mut Chance) {
        match op {
            DiskOp::WriteBatch { path, offset, buffer } => match chance.below(4) {
                0 => {
                    let cut = chance.below(buffer.len() as u64 / SECTOR_BYTES as u64 + 1);
                    self.write(&path, offset, &buffer, |sector| sector < cut);
                }
                1 => {
                    let start = chance.below(buffer.len() as u64 / SECTOR_BYTES as u64);
                    self.write(&path, offset, &buffer, |sector| sector > start);
                }
                _ => {
                    let odds = 1 + chance.below(8);
                    self.write(&path, offset, &buffer, |_| chance.below(8) < odds);
                }
            },
            DiskOp::PrepareSegment { path, bytes, recycle } => match chance.below(3) {
                0 => {}
                1 if recycle.is_none() => {
                    self.files.insert(format!("{path}.tmp"), vec![0; bytes as usize / 2]);
                }
                _ => self.prepare(&path, bytes, recycle.as_deref()),
            },
            DiskOp::AppendTemporary { path, offset, bytes } => {
                let part = chance.below(bytes.len() as u64 + 1) as usize;
                self.append(&path, offset, &bytes[..part]);
            }
            op @ (DiskOp::PublishTemporary { .. } | DiskOp::Remove { .. }) => {
                if chance.below(2) == 0 {
                    self.apply(op);
                }
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
        assert!(offset.is_multiple_of(4096) && buffer.len().is_multiple_of(4096));
        for (at, sector) in buffer.as_slice().chunks(SECTOR_BYTES).enumerate() {
            let start = offset as usize + at * SECTOR_BYTES;
            if reaches(at as u64) {
                file[start..start + SECTOR_BYTES].copy_from_slice(sector);
            }
        }
    }

    fn prepare(&mut self, path: &str, bytes: u64, recycle: Option<&str>) {
        assert!(!self.files.contains_key(path), "{path} is there already");
        let recycled = recycle.map(|old| self.files.remove(old).expect("the file to recycle"));
        let fits = recycled.filter(|file| file.len() as u64 == bytes);
        self.files.insert(path.to_string(), fits.unwrap_or_else(|| vec![0; bytes as usize]));
    }

    fn append(&mut self, path: &str, offset: u64, bytes: &[u8]) {
        let file = self.files.entry(path.to_string()).or_default();
        if offset == 0 {
            file.clear();
        }
        assert_eq!(file.len() as u64, offset, "appends are in order");
        file.extend_from_slice(bytes);
    }
}

impl ReadDisk for FakeDisk {
    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let inside = |path: &String| {
            let name = path.strip_prefix(directory)?.strip_prefix('/')?;
            Some(name.split('/').next().unwrap_or(name).to_string())
        };
        let mut names: Vec<String> = if directory.is_empty() {
            let first = |path: &String| path.split('/').next().map(str::to_string);
            self.files.keys().filter_map(first).collect()
        } else {
            self.files.keys().filter_map(inside).collect()
        };
        names.dedup();
        Ok(names)
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.files.get(path).map(|file| file.len() as u64).ok_or(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, path: &str, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let file = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        let start = file.len().min(offset as usize);
        let count = bytes.len().min(file.len() - start);
        bytes[..count].copy_from_slice(&file[start..start + count]);
        Ok(count)
    }
}
