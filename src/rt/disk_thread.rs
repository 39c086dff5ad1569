//! The operations that may take long, on threads of their own: one makes and removes segments, one
//! writes checkpoints, so that neither waits for the other. Both go easy on the disk, in steps and
//! at a given pace: a batch that is to be flushed meanwhile waits for one step at most.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::disk::{DiskTag, Syncs, open_segment, ring_eventfd};
use super::disk_probe::DiskMode;
use super::reserve;
use crate::limits::SHARDS_MAX;
use crate::wal::{AlignedBuf, DiskOutcome, DiskPath};

/// Each group has one operation of each kind under way.
const QUEUE_MAX: usize = 2 * (SHARDS_MAX + 1);
/// Zeros written at once.
const STEP_BYTES: usize = 1 << 20;
/// Bytes of a checkpoint that may be dirty in the page cache: so much is left to its final sync.
const DIRTY_BYTES: u64 = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Segments,
    Checkpoints,
}

pub(super) enum Job {
    Prepare { path: DiskPath, bytes: u64, recycle: Option<DiskPath> },
    Append { path: DiskPath, offset: u64, bytes: Vec<u8> },
    Publish { path: DiskPath, target: DiskPath },
    Remove { path: DiskPath },
}

pub(super) struct Ended {
    pub tag: DiskTag,
    pub outcome: DiskOutcome,
    /// A segment just made, open for batches.
    pub opened: Option<(DiskPath, File)>,
}

/// The core's end of a thread.
pub(super) struct DiskThread {
    jobs: Option<SyncSender<(DiskTag, Job)>>,
    ended: Arc<Mutex<Vec<Ended>>>,
    pub syncs: Syncs,
    thread: Option<JoinHandle<()>>,
}

impl DiskThread {
    pub fn start(
        lane: Lane,
        root: PathBuf,
        mode: DiskMode,
        pace: Pace,
        wake: OwnedFd,
    ) -> io::Result<DiskThread> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let ended = Arc::new(Mutex::new(Vec::new()));
        let syncs = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            root,
            mode,
            pace,
            syncs: syncs.clone(),
            temporaries: BTreeMap::new(),
            zeros: None,
            directories: BTreeSet::new(),
        };
        let out = ended.clone();
        let name = match lane {
            Lane::Segments => "braid-segments",
            Lane::Checkpoints => "braid-checkpts",
        };
        let run = move || {
            leave_the_core(lane);
            worker.run(&queue, &out, &wake);
        };
        let thread = std::thread::Builder::new().name(name.to_string()).spawn(run)?;
        Ok(DiskThread { jobs: Some(jobs), ended, syncs, thread: Some(thread) })
    }

    pub fn push(&self, tag: DiskTag, job: Job) {
        let jobs = self.jobs.as_ref().expect("open until it is dropped");
        jobs.try_send((tag, job)).map_err(drop).expect("each group has one operation under way");
    }

    pub fn ended(&self) -> impl Iterator<Item = Ended> + use<> {
        std::mem::take(&mut *self.ended.lock().expect("nobody panics with the lock")).into_iter()
    }
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Keeps to a number of bytes per second by sleeping.
pub(super) struct Pace {
    bytes_per_second: u64,
    /// Bytes that cost nothing: at the start there is nobody to spare.
    credit: u64,
    /// When the bytes so far are paid for.
    paid: Option<Instant>,
}

impl Pace {
    pub fn new(bytes_per_second: u64, credit: u64) -> Pace {
        Pace { bytes_per_second: bytes_per_second.max(1), credit, paid: None }
    }

    /// When to go on after writing `bytes` that were begun at `now`.
    fn after(&mut self, bytes: u64, now: Instant) -> Instant {
        let free = bytes.min(self.credit);
        self.credit -= free;
        let bytes = bytes - free;
        let cost = Duration::from_nanos(
            (u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second)) as u64,
        );
        let paid = self.paid.filter(|&paid| paid > now).unwrap_or(now) + cost;
        self.paid = Some(paid);
        paid
    }

    fn wait(&mut self, bytes: u64, begun: Instant) {
        let until = self.after(bytes, begun);
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

struct Worker {
    root: PathBuf,
    mode: DiskMode,
    pace: Pace,
    syncs: Syncs,
    temporaries: BTreeMap<DiskPath, Temporary>,
    zeros: Option<AlignedBuf>,
    /// Those below the root whose entries are known to be durable.
    directories: BTreeSet<PathBuf>,
}

/// A checkpoint being written.
struct Temporary {
    file: File,
    /// Up to here the kernel has been told to write, up to here it has.
    begun: u64,
    clean: u64,
}

impl Worker {
    fn run(mut self, queue: &Receiver<(DiskTag, Job)>, out: &Mutex<Vec<Ended>>, wake: &OwnedFd) {
        while let Ok((tag, job)) = queue.recv() {
            let ended = match self.job(job) {
                Ok(opened) => Ended { tag, outcome: DiskOutcome::Done(None), opened },
                Err((error, _)) if is_full(&error) => {
                    // If it cannot be removed, the next attempt finds no room either.
                    let _ = reserve::give_up(&self.root);
                    Ended { tag, outcome: DiskOutcome::Full, opened: None }
                }
                Err((error, path)) => {
                    let outcome = DiskOutcome::Failed(format!("{path}: {error}"));
                    Ended { tag, outcome, opened: None }
                }
            };
            out.lock().expect("nobody panics with the lock").push(ended);
            ring_eventfd(wake);
        }
    }

    fn job(&mut self, job: Job) -> Result<Option<(DiskPath, File)>, (io::Error, DiskPath)> {
        match job {
            Job::Prepare { path, bytes, recycle } => {
                let made = self.prepare(&path, bytes, recycle.as_deref());
                made.map(|file| Some((path.clone(), file))).map_err(|error| (error, path))
            }
            Job::Append { path, offset, bytes } => {
                let appended = self.append(&path, offset, &bytes);
                appended.map(|()| None).map_err(|error| (error, path))
            }
            Job::Publish { path, target } => {
                self.publish(&path, &target).map(|()| None).map_err(|error| (error, path))
            }
            Job::Remove { path } => {
                self.temporaries.remove(&path);
                self.remove(&path).map(|()| None).map_err(|error| (error, path))
            }
        }
    }

    fn prepare(&mut self, path: &str, bytes: u64, recycle: Option<&str>) -> io::Result<File> {
        let target = self.root.join(path);
        self.make_directories(&target)?;
        if let Some(old) = recycle {
            let old = self.root.join(old);
            if fs::metadata(&old)?.len() == bytes {
                fs::rename(&old, &target)?;
                self.sync_directory_of(&target)?;
                return open_segment(&target, self.mode);
            }
            fs::remove_file(&old)?;
            self.sync_directory_of(&old)?;
        }
        let temporary = self.root.join(format!("{path}.tmp"));
        if let Err(error) = self.zero(&temporary, bytes) {
            // A file that cannot be removed now is removed when the log is opened next.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        fs::rename(&temporary, &target)?;
        self.sync_directory_of(&target)?;
        open_segment(&target, self.mode)
    }

    /// Makes a file of zeros that are really there: writing to it later changes no metadata.
    fn zero(&mut self, path: &Path, bytes: u64) -> io::Result<()> {
        let flags = if self.mode.direct { libc::O_DIRECT } else { 0 };
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags);
        let file = options.open(path)?;
        allocate(&file, bytes)?;
        let zeros = self.zeros.get_or_insert_with(|| {
            let mut zeros = AlignedBuf::with_capacity(STEP_BYTES);
            zeros.extend(&vec![0; STEP_BYTES]);
            zeros
        });
        let mut offset = 0;
        while offset < bytes {
            let begun = Instant::now();
            let step = (bytes - offset).min(STEP_BYTES as u64);
            file.write_all_at(&zeros.as_slice()[..step as usize], offset)?;
            offset += step;
            self.pace.wait(step, begun);
        }
        self.sync(&file)
    }

    fn append(&mut self, path: &DiskPath, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let begun = Instant::now();
        if offset == 0 {
            let full = self.root.join(&**path);
            self.make_directories(&full)?;
            let mut options = fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&full)?;
            let temporary = Temporary { file, begun: 0, clean: 0 };
            self.temporaries.insert(path.clone(), temporary);
        }
        let temporary = self.temporaries.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
        temporary.file.write_all_at(bytes, offset)?;
        temporary.write_back(offset + bytes.len() as u64)?;
        self.pace.wait(bytes.len() as u64, begun);
        Ok(())
    }

    fn publish(&mut self, path: &DiskPath, target: &str) -> io::Result<()> {
        let temporary = self.temporaries.remove(path).ok_or(io::ErrorKind::NotFound)?;
        self.sync(&temporary.file)?;
        let target = self.root.join(target);
        fs::rename(self.root.join(&**path), &target)?;
        self.sync_directory_of(&target)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.root.join(path);
        match fs::remove_file(&path) {
            Ok(()) => self.sync_directory_of(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn make_directories(&mut self, file: &Path) -> io::Result<()> {
        let directory = file.parent().expect("a file is in a directory");
        if directory == self.root || self.directories.contains(directory) {
            return Ok(());
        }
        self.make_directories(directory)?;
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            // If the other thread was first, its sync may still be under way.
            Ok(()) | Err(_) => {}
        }
        self.durable(directory)
    }

    /// Makes the entry of a directory durable, once: a start that was cut short may have made it
    /// and not have come to that.
    fn durable(&mut self, directory: &Path) -> io::Result<()> {
        if !self.directories.contains(directory) {
            self.sync_directory_of(directory)?;
            self.directories.insert(directory.to_path_buf());
        }
        Ok(())
    }

    fn sync_directory_of(&self, path: &Path) -> io::Result<()> {
        self.sync(&File::open(path.parent().expect("a file is in a directory"))?)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        file.sync_all()
    }
}

impl Temporary {
    /// Has the kernel write steadily what was appended up to `end`, so that the sync at the end
    /// has little to do and the flushes of the log do not queue behind it.
    fn write_back(&mut self, end: u64) -> io::Result<()> {
        if end - self.begun < DIRTY_BYTES {
            return Ok(());
        }
        let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        self.sync_range(self.clean, self.begun, wait)?;
        self.sync_range(self.begun, end, libc::SYNC_FILE_RANGE_WRITE)?;
        self.clean = self.begun;
        self.begun = end;
        Ok(())
    }

    fn sync_range(&self, start: u64, end: u64, flags: u32) -> io::Result<()> {
        if start == end {
            return Ok(());
        }
        let (offset, len) = (start as i64, (end - start) as i64);
        // SAFETY: no pointer is passed.
        match unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, len, flags) } {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                // Only a hint: the final sync does it all.
                error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
                error => Err(error),
            },
        }
    }
}

/// Reserves the space, so that a full disk shows before anything is written.
pub(super) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as i64) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Writing the zeros does it too.
        error if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => Ok(()),
        error => Err(error),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}

/// A thread inherits the CPU its executor is pinned to; this one may run anywhere. Checkpoints
/// also give way to whoever else wants to run.
fn leave_the_core(lane: Lane) {
    // SAFETY: all zeros are a valid CPU set, and it outlives the call; setpriority has no pointer.
    // Both are kindnesses that may fail: then the thread shares its executor's CPU.
    unsafe {
        let mut every: libc::cpu_set_t = std::mem::zeroed();
        for cpu in 0..libc::CPU_SETSIZE as usize {
            libc::CPU_SET(cpu, &mut every);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const every);
        if lane == Lane::Checkpoints {
            libc::setpriority(libc::PRIO_PROCESS, 0, 5);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_pays_for_what_was_written_and_forgives_what_was_idle() {
        let mut pace = Pace::new(1000, 300);
        let start = Instant::now();
        assert_eq!(pace.after(200, start), start);
        assert_eq!(pace.after(600, start), start + Duration::from_millis(500));
        let start = start + Duration::from_secs(5);
        assert_eq!(pace.after(500, start), start + Duration::from_millis(500));
        assert_eq!(pace.after(500, start), start + Duration::from_secs(1));
        let later = start + Duration::from_secs(10);
        assert_eq!(pace.after(100, later), later + Duration::from_millis(100));
    }
}
