//! The member's directory, read for recovery and inspection.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::wal::ReadDisk;

/// Reads below a directory, through the page cache, a little ahead of whoever asks.
pub struct DiskReader {
    root: PathBuf,
    /// The file read last: reads come in runs.
    last: RefCell<Option<(String, File)>>,
}

impl DiskReader {
    /// Reads below `root`.
    pub fn new(root: &Path) -> DiskReader {
        DiskReader { root: root.to_path_buf(), last: RefCell::new(None) }
    }
}

impl ReadDisk for DiskReader {
    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(directory)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // A name that is not UTF-8 is none of ours.
        entries
            .map(|entry| Ok(entry?.file_name().into_string().ok()))
            .filter_map(Result::transpose)
            .collect()
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.root.join(path))?.len())
    }

    fn read_at(&self, path: &str, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut last = self.last.borrow_mut();
        let open = match last.take() {
            Some(open) if open.0 == path => open,
            _ => (path.to_string(), File::open(self.root.join(path))?),
        };
        let mut count = 0;
        while count < bytes.len() {
            match open.1.read_at(&mut bytes[count..], offset + count as u64) {
                Ok(0) => break,
                Ok(read) => count += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        read_ahead(&open.1, offset + count as u64, bytes.len());
        *last = Some(open);
        Ok(count)
    }
}

/// Has the kernel fetch what is likely asked for next, while what was read is being checked.
fn read_ahead(file: &File, offset: u64, len: usize) {
    // SAFETY: no pointer is passed. A hint: whether it is taken does not matter.
    unsafe {
        let (offset, len) = (offset as i64, len as i64);
        libc::posix_fadvise(file.as_raw_fd(), offset, len, libc::POSIX_FADV_WILLNEED);
    }
}
