//! The disk operations of one core's logs, carried out.
//!
//! ```text
//!  Log, Checkpoints ──DiskOp──▶ submit ─┬─ batches ──▶ io_uring: O_DIRECT + RWF_DSYNC ─┐
//!                                       ├─ segments ─▶ thread: make, recycle, remove   ├─▶ eventfd
//!                                       └─ checkpoints ▶ thread: append, publish       ─┘
//!                               ◀──────── completions ◀────────────────────────────────┘
//! ```
//!
//! A batch is one write, which is durable when it completes: nothing else on its path syncs. Its
//! memory is registered with the ring where the kernel and the limit on locked memory allow it.
//! Where the file system offers no direct or no synchronous writes, the page cache and `fdatasync`
//! take their place; [`DiskRing::warning`] says what that means.
//!
//! Bounded: a log has one batch and one other operation under way, a group's checkpoints have one.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{fs, io};

use io_uring::{IoUring, opcode, squeue, types};
use slab::Slab;

use super::disk_buffers::RegisteredBuffers;
use super::disk_probe::{DiskMode, probe_disk};
use super::disk_thread::{DiskThread, Ended, Job, Lane, Pace};
use crate::limits::{SEGMENT_BYTES, SHARDS_MAX};
use crate::types::GroupId;
use crate::wal::{AlignedBuf, DiskOp, DiskOutcome, DiskPath, OpId};

/// One batch per log, and a core may own every group.
const RING_ENTRIES: u32 = 256;
const _: () = assert!(RING_ENTRIES as usize > SHARDS_MAX + 1);

/// The group and the operation that a completion belongs to.
pub type DiskTag = (GroupId, OpId);

/// The disk as one core uses it. Belongs to the thread that opened it.
pub struct DiskRing {
    ring: IoUring,
    root: PathBuf,
    mode: DiskMode,
    warning: Option<String>,
    flights: Slab<Flight>,
    files: BTreeMap<DiskPath, Rc<File>>,
    buffers: RegisteredBuffers,
    segments: DiskThread,
    checkpoints: DiskThread,
    /// Ended, to be taken.
    ended: Vec<(DiskTag, DiskOutcome)>,
    /// Operations submitted and not taken.
    under_way: usize,
    /// Entries that the kernel has not been told of.
    unflushed: usize,
    wake: OwnedFd,
    counters: DiskCounters,
}

/// Settings that keep background writes from slowing the foreground.
#[derive(Clone, Copy, Debug)]
pub struct DiskSettings {
    /// Bytes per second at which new segments are zeroed.
    pub zero_bytes_per_second: u64,
    /// Bytes per second at which checkpoints are written.
    pub checkpoint_bytes_per_second: u64,
}

impl Default for DiskSettings {
    fn default() -> DiskSettings {
        DiskSettings { zero_bytes_per_second: 256 << 20, checkpoint_bytes_per_second: 256 << 20 }
    }
}

/// Counts what a ring has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Batches durable.
    pub batches: u64,
    /// Writes for them: as many, unless the kernel wrote short.
    pub writes: u64,
    pub bytes: u64,
    /// The operations among these from registered memory.
    pub registered: u64,
    /// `fdatasync` after a write, where there is no `RWF_DSYNC`.
    pub syncs: u64,
    /// Syncs of files and directories by the two threads, on no batch's path.
    pub background_syncs: u64,
}

struct Flight {
    tag: DiskTag,
    path: DiskPath,
    file: Rc<File>,
    buffer: AlignedBuf,
    offset: u64,
    written: usize,
    slot: Option<u16>,
    syncing: bool,
}

impl DiskRing {
    /// Opens the disk below `root`, the member's directory. Each completion wakes the eventfd
    /// `wake`, of which the ring keeps a duplicate.
    pub fn open(root: &Path, wake: &impl AsRawFd, settings: DiskSettings) -> io::Result<DiskRing> {
        let (mode, warning) = probe_disk(root)?;
        let ring = IoUring::builder().setup_single_issuer().build(RING_ENTRIES);
        // Before 6.0 there is no SINGLE_ISSUER.
        let ring = ring.or_else(|_| IoUring::new(RING_ENTRIES))?;
        let wake = duplicate(wake)?;
        ring.submitter().register_eventfd(wake.as_raw_fd())?;
        let thread =
            |lane, pace| DiskThread::start(lane, root.to_path_buf(), mode, pace, wake.try_clone()?);
        // A new member's first segments are waited for.
        let zeros = Pace::new(settings.zero_bytes_per_second, 4 * SEGMENT_BYTES);
        let segments = thread(Lane::Segments, zeros)?;
        let pace = Pace::new(settings.checkpoint_bytes_per_second, 0);
        let checkpoints = thread(Lane::Checkpoints, pace)?;
        Ok(DiskRing {
            buffers: RegisteredBuffers::new(&ring),
            ring,
            root: root.to_path_buf(),
            mode,
            warning,
            flights: Slab::new(),
            files: BTreeMap::new(),
            segments,
            checkpoints,
            ended: Vec::new(),
            under_way: 0,
            unflushed: 0,
            wake,
            counters: DiskCounters::default(),
        })
    }

    /// Returns the warning about what the file system does not offer and what is lost by that; it
    /// is to be logged once.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Takes an operation; batches begin with the next [`DiskRing::flush`]. The outcome comes out
    /// of [`DiskRing::completions`].
    pub fn submit(&mut self, tag: DiskTag, op: DiskOp) {
        self.under_way += 1;
        match op {
            DiskOp::WriteBatch { path, offset, buffer } => {
                if let Err(what) = self.write(tag, path, offset, buffer) {
                    self.end(tag, DiskOutcome::Failed(what));
                }
            }
            DiskOp::PrepareSegment { path, bytes, recycle } => {
                if let Some(old) = &recycle {
                    self.files.remove(old);
                }
                self.segments.push(tag, Job::Prepare { path, bytes, recycle });
            }
            DiskOp::Remove { path } => {
                self.files.remove(&path);
                let checkpoint = tag.1.is_checkpoint();
                let thread = if checkpoint { &self.checkpoints } else { &self.segments };
                thread.push(tag, Job::Remove { path });
            }
            DiskOp::AppendTemporary { path, offset, bytes } => {
                self.checkpoints.push(tag, Job::Append { path, offset, bytes });
            }
            DiskOp::PublishTemporary { path, target } => {
                self.checkpoints.push(tag, Job::Publish { path, target });
            }
        }
    }

    /// Begins what was submitted: one system call for all of it.
    pub fn flush(&mut self) {
        if self.unflushed > 0 {
            self.enter();
            self.unflushed = 0;
        }
    }

    /// Whether nothing is under way, and every outcome has been taken.
    pub fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Adds to `out` whatever has ended.
    pub fn completions(&mut self, out: &mut Vec<(DiskTag, DiskOutcome)>) {
        let before = out.len();
        while let Some(entry) = { self.ring.completion().next() } {
            self.advance(entry.user_data() as usize, entry.result());
        }
        for Ended { tag, outcome, opened } in self.segments.ended() {
            if let Some((path, file)) = opened {
                self.files.insert(path, Rc::new(file));
            }
            out.push((tag, outcome));
        }
        out.extend(self.checkpoints.ended().map(|ended| (ended.tag, ended.outcome)));
        out.append(&mut self.ended);
        self.under_way -= out.len() - before;
        self.flush();
    }

    /// Returns the counters of this ring.
    pub fn counters(&self) -> DiskCounters {
        let syncs = |thread: &DiskThread| thread.syncs.load(Ordering::Relaxed);
        let background_syncs = syncs(&self.segments) + syncs(&self.checkpoints);
        DiskCounters { background_syncs, ..self.counters }
    }

    fn write(
        &mut self,
        tag: DiskTag,
        path: DiskPath,
        offset: u64,
        mut buffer: AlignedBuf,
    ) -> Result<(), String> {
        let file = self.file(&path).map_err(|error| format!("{path}: {error}"))?;
        let slot = self.buffers.slot(&self.ring, &mut buffer);
        let flight = Flight { tag, path, file, buffer, offset, written: 0, slot, syncing: false };
        let key = self.flights.insert(flight);
        self.push(key);
        Ok(())
    }

    fn file(&mut self, path: &DiskPath) -> io::Result<Rc<File>> {
        if let Some(file) = self.files.get(path) {
            return Ok(file.clone());
        }
        let file = Rc::new(open_segment(&self.root.join(&**path), self.mode)?);
        self.files.insert(path.clone(), file.clone());
        Ok(file)
    }

    /// Hands the next step of a flight to the kernel.
    fn push(&mut self, key: usize) {
        let flight = &self.flights[key];
        let entry = self.entry(flight).user_data(key as u64);
        if !flight.syncing {
            self.counters.writes += 1;
            self.counters.registered += u64::from(flight.slot.is_some());
        }
        // SAFETY: the memory belongs to the flight's buffer, which neither moves nor is touched or
        // freed until the completion takes it out of `flights`; dropping the ring waits for that.
        // The file is kept open by the flight as well.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("there are more entries than logs");
        self.unflushed += 1;
    }

    fn enter(&mut self) {
        loop {
            match self.ring.submit() {
                Ok(_) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // EAGAIN and EBUSY: the kernel is out of memory for now, or wants its completions
                // read; the entry stays in the queue.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) => {
                    std::thread::yield_now();
                }
                Err(error) => panic!("io_uring refuses submissions: {error}"),
            }
        }
    }

    fn entry(&self, flight: &Flight) -> squeue::Entry {
        let fd = types::Fd(flight.file.as_raw_fd());
        if flight.syncing {
            return opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        }
        let rest = &flight.buffer.as_slice()[flight.written..];
        let len = u32::try_from(rest.len()).expect("a batch is smaller than a segment");
        let offset = flight.offset + flight.written as u64;
        let flags = if self.mode.dsync { libc::RWF_DSYNC } else { 0 };
        match flight.slot {
            Some(slot) => opcode::WriteFixed::new(fd, rest.as_ptr(), len, slot)
                .offset(offset)
                .rw_flags(flags)
                .build(),
            None => {
                opcode::Write::new(fd, rest.as_ptr(), len).offset(offset).rw_flags(flags).build()
            }
        }
    }

    /// A step of a flight has ended: go on, or end it.
    fn advance(&mut self, key: usize, result: i32) {
        let flight = &mut self.flights[key];
        // Interrupted before anything was done: not a failure of the disk.
        if matches!(-result, libc::EINTR | libc::EAGAIN) {
            return self.push(key);
        }
        if result < 0 || (result == 0 && !flight.syncing) {
            let error = match result {
                0 => io::ErrorKind::WriteZero.into(),
                code => io::Error::from_raw_os_error(-code),
            };
            let what = format!("{} at offset {}: {error}", flight.path, flight.offset);
            self.land(key, Some(what));
            return;
        }
        if flight.syncing {
            self.counters.syncs += 1;
            self.land(key, None);
            return;
        }
        flight.written += result as usize;
        self.counters.bytes += result as u64;
        if flight.written < flight.buffer.len() {
            return self.push(key);
        }
        if !self.mode.dsync {
            flight.syncing = true;
            return self.push(key);
        }
        self.land(key, None);
    }

    fn land(&mut self, key: usize, failed: Option<String>) {
        let flight = self.flights.remove(key);
        self.buffers.landed(flight.slot);
        let outcome = match failed {
            Some(what) => DiskOutcome::Failed(what),
            None => {
                self.counters.batches += 1;
                DiskOutcome::Done(Some(flight.buffer))
            }
        };
        self.ended.push((flight.tag, outcome));
    }

    fn end(&mut self, tag: DiskTag, outcome: DiskOutcome) {
        self.ended.push((tag, outcome));
        ring_eventfd(&self.wake);
    }
}

impl Drop for DiskRing {
    /// The kernel may still read the buffers of what is in flight.
    fn drop(&mut self) {
        self.flush();
        while !self.flights.is_empty() {
            if self.ring.submit_and_wait(1).is_err_and(|e| e.kind() != io::ErrorKind::Interrupted) {
                // Leaked rather than freed under the kernel's hands.
                std::mem::forget(std::mem::take(&mut self.flights));
                return;
            }
            while let Some(entry) = { self.ring.completion().next() } {
                let key = entry.user_data() as usize;
                self.flights.remove(key);
            }
        }
    }
}

/// Opens a segment for batches.
pub(super) fn open_segment(path: &Path, mode: DiskMode) -> io::Result<File> {
    let flags = if mode.direct { libc::O_DIRECT } else { 0 };
    fs::OpenOptions::new().write(true).custom_flags(flags | libc::O_CLOEXEC).open(path)
}

/// Adds one to an eventfd.
pub(super) fn ring_eventfd(eventfd: &impl AsFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: the descriptor is open for the call, the memory is eight bytes of ours.
    let written =
        unsafe { libc::write(eventfd.as_fd().as_raw_fd(), one.as_ptr().cast(), one.len()) };
    assert_eq!(written, one.len() as isize, "an eventfd can be written");
}

fn duplicate(fd: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed; the result is checked and owned by nobody else.
    unsafe {
        let fd = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// A count that the threads raise.
pub(super) type Syncs = Arc<std::sync::atomic::AtomicU64>;

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
