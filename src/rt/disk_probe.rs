//! The probe of the file system under the data directory: it tries what the log needs.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::wal::{AlignedBuf, BLOCK_BYTES};

/// How batches are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DiskMode {
    /// `O_DIRECT`: past the page cache.
    pub direct: bool,
    /// `RWF_DSYNC`: durable on completion, without a second call.
    pub dsync: bool,
}

/// Writes a block below `root` the way batches are written. The warning says what is lost where
/// that does not work; an error means that nothing can be written at all.
pub(super) fn probe_disk(root: &Path) -> io::Result<(DiskMode, Option<String>)> {
    let path = root.join(format!("disk-probe-{}.tmp", std::process::id()));
    let probed = try_modes(&path);
    // Another core may have probed under the same name at the same time.
    let _ = fs::remove_file(&path);
    let mode = probed?;
    Ok((mode, warning(root, mode, file_system(root)?)))
}

fn try_modes(path: &Path) -> io::Result<DiskMode> {
    let direct = match open(path, libc::O_DIRECT) {
        Ok(file) => match write_block(&file, 0) {
            Ok(()) => Some(file),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => None,
            Err(error) => return Err(error),
        },
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => None,
        Err(error) => return Err(error),
    };
    let is_direct = direct.is_some();
    let file = match direct {
        Some(file) => file,
        None => open(path, 0)?,
    };
    let dsync = match write_block(&file, libc::RWF_DSYNC) {
        Ok(()) => true,
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS)
            ) =>
        {
            false
        }
        Err(error) => return Err(error),
    };
    Ok(DiskMode { direct: is_direct, dsync })
}

fn open(path: &Path, flags: i32) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)
}

fn write_block(file: &File, flags: i32) -> io::Result<()> {
    let mut buffer = AlignedBuf::with_capacity(BLOCK_BYTES);
    buffer.extend(&[0; BLOCK_BYTES]);
    let bytes = buffer.as_slice();
    let iovec = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one iovec, whose memory outlives the call and is only read.
    let written = unsafe { libc::pwritev2(file.as_raw_fd(), &raw const iovec, 1, 0, flags) };
    match written {
        written if written == bytes.len() as isize => Ok(()),
        written if written >= 0 => Err(io::ErrorKind::WriteZero.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn file_system(root: &Path) -> io::Result<i64> {
    let path = std::ffi::CString::new(root.as_os_str().as_bytes())?;
    // SAFETY: all zeros are a valid statfs; the path is a C string that outlives the call.
    unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        if libc::statfs(path.as_ptr(), &raw mut found) != 0 {
            return Err(io::Error::last_os_error());
        }
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
        Ok(found.f_type as i64)
    }
}

#[allow(clippy::unnecessary_cast)]
const VOLATILE: [i64; 2] = [libc::TMPFS_MAGIC as i64, 0x8584_58f6 /* ramfs */];

fn warning(root: &Path, mode: DiskMode, file_system: i64) -> Option<String> {
    let mut lost = Vec::new();
    if VOLATILE.contains(&file_system) {
        lost.push("it is in memory: a restart of the machine loses everything in it");
    }
    if !mode.direct {
        lost.push(
            "it offers no O_DIRECT: log writes go through the page cache, still durable, \
             with more work and less even latency",
        );
    }
    if !mode.dsync {
        lost.push(
            "it offers no RWF_DSYNC: every log write is followed by an fdatasync, still durable, \
             but slower",
        );
    }
    let place = root.display();
    (!lost.is_empty()).then(|| format!("the file system of {place}: {}", lost.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_says_what_is_lost() {
        let root = Path::new("/data");
        let best = DiskMode { direct: true, dsync: true };
        assert_eq!(warning(root, best, 0xef53), None);
        let worst = DiskMode { direct: false, dsync: false };
        let text = warning(root, worst, VOLATILE[0]).unwrap();
        assert!(text.starts_with("the file system of /data: it is in memory"), "{text}");
        assert!(text.contains("no O_DIRECT") && text.contains("no RWF_DSYNC"), "{text}");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error() {
        assert!(probe_disk(Path::new("/proc/no-such-directory")).is_err());
    }
}
