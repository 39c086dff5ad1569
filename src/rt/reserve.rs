//! The reserve: a file that does nothing but take space, given up when the disk is full.
//!
//! So a member whose disk has filled up can still delete, compact and defragment, and one that
//! starts on a full disk can serve. The next start makes it again, if the disk has room for it
//! several times over.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::disk_thread::allocate;

const NAME: &str = "reserve";
/// Its bytes for each group: room for a smallest segment, and half of it for a small checkpoint.
const GROUP_BYTES: u64 = 3 << 20;
/// With less free a start takes the disk for full: the least that any file needs.
const FREE_BYTES_MIN: u64 = 1 << 20;
/// It is made only where so many times its size is free.
const FREE_TIMES: u64 = 4;

/// The result of looking for the reserve at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// It is there.
    Kept,
    /// The disk is full, with so many bytes free; these were given up.
    GivenUp { free: u64, bytes: u64 },
    /// The disk is full, or nearly so, and there was none to give up or no room to make it.
    None { free: u64 },
}

/// Makes the reserve of a member of `groups` groups below `root`, or gives it up if the disk is
/// full.
pub fn look_after_reserve(root: &Path, groups: u64) -> io::Result<Reserve> {
    let (free, bytes) = (free_bytes(root)?, groups * GROUP_BYTES);
    let held = fs::metadata(root.join(NAME)).map_or(0, |found| found.len());
    if free < FREE_BYTES_MIN && held > 0 {
        give_up(root)?;
        return Ok(Reserve::GivenUp { free, bytes: held });
    }
    if held < bytes && !make(root, bytes, free)? {
        return Ok(Reserve::None { free });
    }
    Ok(Reserve::Kept)
}

impl Reserve {
    /// Whether what is free is all that there is: nothing that takes space should be let in.
    pub fn is_full(self) -> bool {
        match self {
            Reserve::Kept => false,
            Reserve::GivenUp { .. } => true,
            Reserve::None { free } => free < FREE_BYTES_MIN,
        }
    }
}

/// Gives it up, durably; whether there was one.
pub(super) fn give_up(root: &Path) -> io::Result<bool> {
    match fs::remove_file(root.join(NAME)) {
        Ok(()) => File::open(root)?.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn make(root: &Path, bytes: u64, free: u64) -> io::Result<bool> {
    if free < FREE_TIMES * bytes {
        return Ok(false);
    }
    let mut options = fs::OpenOptions::new();
    let file =
        options.write(true).create(true).truncate(false).mode(0o600).open(root.join(NAME))?;
    match allocate(&file, bytes).and_then(|()| file.set_len(bytes)).and_then(|()| file.sync_all()) {
        Ok(()) => Ok(true),
        Err(_) => {
            // Without it a member serves as well; what was begun takes no space from others.
            give_up(root)?;
            Ok(false)
        }
    }
}

fn free_bytes(root: &Path) -> io::Result<u64> {
    let path = CString::new(root.as_os_str().as_bytes())?;
    // SAFETY: all zeros are a valid statvfs; the path is a C string that outlives the call.
    unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &raw mut found) != 0 {
            return Err(io::Error::last_os_error());
        }
        #[allow(clippy::unnecessary_cast)]
        Ok(found.f_bavail as u64 * found.f_frsize as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn it_is_made_takes_space_and_is_given_up_once() {
        let directory = tempfile::tempdir_in("target").unwrap();
        let root = directory.path();
        assert_eq!(look_after_reserve(root, 3).unwrap(), Reserve::Kept);
        let found = fs::metadata(root.join(NAME)).unwrap();
        assert_eq!((found.len(), found.permissions().mode() & 0o777), (9 << 20, 0o600));
        assert!(found.blocks() * 512 >= 9 << 20, "the space is really taken");
        assert_eq!(look_after_reserve(root, 3).unwrap(), Reserve::Kept);
        assert!(give_up(root).unwrap());
        assert!(!give_up(root).unwrap());
        assert!(!root.join(NAME).exists());
    }

    #[test]
    fn it_is_not_made_where_it_would_take_the_last_space() {
        let directory = tempfile::tempdir_in("target").unwrap();
        assert!(!make(directory.path(), 1 << 20, (4 << 20) - 1).unwrap());
        assert!(!directory.path().join(NAME).exists());
        assert!(make(directory.path(), 1 << 20, 4 << 20).unwrap());
        assert!(Reserve::None { free: 0 }.is_full() && !Reserve::None { free: 2 << 20 }.is_full());
    }
}
