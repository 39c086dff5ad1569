//! Reading files, as recovery and inspection need it.

use std::io;

use bytes::{Bytes, BytesMut};

use super::damage::OpenError;

/// The member's directory, read only. Paths are as in `wal::op`.
pub trait ReadDisk {
    /// Returns the names in a directory, in any order; none if there is no such directory.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Returns the length of a file.
    fn len(&self, path: &str) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on and returns how many there were: fewer only at the end of
    /// the file.
    fn read_at(&self, path: &str, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;
}

/// Bytes read at once: large enough for a disk's full speed, small enough to hold many.
const WINDOW_BYTES: usize = 4 << 20;

/// A stretch of one file in memory. What is taken from it shares that memory.
#[derive(Debug, Default)]
pub(super) struct Window {
    path: String,
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// Reads `len` bytes at `offset`; fewer if the file ends. Never allocates beyond the file's
    /// end.
    pub fn get(
        &mut self,
        disk: &dyn ReadDisk,
        path: &str,
        file_len: u64,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, OpenError> {
        let left = file_len.saturating_sub(offset);
        let len = usize::try_from(left).map_or(len, |left| len.min(left));
        let held = self.path == path
            && self.start <= offset
            && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !held {
            self.fill(disk, path, left, offset, len)?;
        }
        let at = (offset - self.start) as usize;
        Ok(self.bytes.slice(at.min(self.bytes.len())..(at + len).min(self.bytes.len())))
    }

    fn fill(
        &mut self,
        disk: &dyn ReadDisk,
        path: &str,
        left: u64,
        offset: u64,
        len: usize,
    ) -> Result<(), OpenError> {
        let wanted = len.max(WINDOW_BYTES);
        let wanted = usize::try_from(left).map_or(wanted, |left| wanted.min(left));
        let mut bytes = BytesMut::zeroed(wanted);
        let read = disk.read_at(path, offset, &mut bytes);
        let read = read.map_err(|error| OpenError::Io { file: path.to_string(), offset, error })?;
        bytes.truncate(read);
        if self.path != path {
            self.path = path.to_string();
        }
        self.start = offset;
        self.bytes = bytes.freeze();
        Ok(())
    }
}

pub(super) fn list(disk: &dyn ReadDisk, directory: &str) -> Result<Vec<String>, OpenError> {
    let named = |error| OpenError::Io { file: directory.to_string(), offset: 0, error };
    let mut names = disk.list(directory).map_err(named)?;
    names.sort();
    Ok(names)
}

pub(super) fn len(disk: &dyn ReadDisk, path: &str) -> Result<u64, OpenError> {
    disk.len(path).map_err(|error| OpenError::Io { file: path.to_string(), offset: 0, error })
}
