//! Memory that the kernel has been shown once, so that it need not be looked up for every write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use io_uring::IoUring;

use crate::limits::LOG_BATCH_BYTES_MAX;
use crate::wal::AlignedBuf;

/// One buffer per log, and a core may own every group.
const SLOTS_MAX: u16 = 256;

/// Larger ones are for single large entries, and freed when those are written.
const BUFFER_BYTES_MAX: usize = 2 * LOG_BATCH_BYTES_MAX;

/// Bytes that the kernel is shown at a time. What is gone stays pinned until others need the room.
const PINNED_BYTES_MAX: usize = 64 << 20;

/// Numbers are never given twice, so a buffer that has one of another ring is not mistaken.
static REGISTRATIONS: AtomicU64 = AtomicU64::new(1);

/// The registered buffers of one ring. A slot whose buffer is gone keeps its old pages pinned until
/// it, or the room that they take, is needed; nobody asks for it, because new memory has a new
/// number.
pub(super) struct RegisteredBuffers {
    enabled: bool,
    slots: Vec<Slot>,
    by_registration: BTreeMap<u64, u16>,
    /// Bytes of all slots.
    pinned: usize,
    turn: u64,
}

struct Slot {
    registration: u64,
    used: u64,
    in_flight: bool,
    /// 0: nothing is registered.
    bytes: usize,
}

impl RegisteredBuffers {
    pub fn new(ring: &IoUring) -> RegisteredBuffers {
        // Before 5.19 there are no empty slots to fill later: plain writes do as well.
        let enabled = ring.submitter().register_buffers_sparse(u32::from(SLOTS_MAX)).is_ok();
        RegisteredBuffers {
            enabled,
            slots: Vec::new(),
            by_registration: BTreeMap::new(),
            pinned: 0,
            turn: 0,
        }
    }

    /// Returns the slot of this memory, registering it if it is new. `None`: write without.
    pub fn slot(&mut self, ring: &IoUring, buffer: &mut AlignedBuf) -> Option<u16> {
        self.turn += 1;
        let known = self.by_registration.get(&buffer.registration()).copied();
        let slot = known.or_else(|| self.register(ring, buffer))?;
        let entry = &mut self.slots[usize::from(slot)];
        assert!(!entry.in_flight, "a buffer is in flight once");
        entry.in_flight = true;
        entry.used = self.turn;
        Some(slot)
    }

    fn register(&mut self, ring: &IoUring, buffer: &mut AlignedBuf) -> Option<u16> {
        if !self.enabled || buffer.capacity() > BUFFER_BYTES_MAX {
            return None;
        }
        while self.pinned + buffer.capacity() > PINNED_BYTES_MAX {
            let oldest = self.oldest()?;
            self.unregister(ring, oldest)?;
        }
        let slot = self.vacant()?;
        let memory = buffer.memory();
        let iovec =
            libc::iovec { iov_base: memory.as_ptr().cast_mut().cast(), iov_len: memory.len() };
        // SAFETY: the kernel pins the pages; the memory stays where it is for the buffer's life,
        // and after that the slot is not used again but for other memory.
        let updated =
            unsafe { ring.submitter().register_buffers_update(u32::from(slot), &[iovec], None) };
        if updated.is_err() {
            // The limit on locked memory, most likely.
            self.enabled = false;
            return None;
        }
        let registration = REGISTRATIONS.fetch_add(1, Ordering::Relaxed);
        buffer.set_registration(registration);
        if usize::from(slot) == self.slots.len() {
            self.slots.push(Slot { registration, used: 0, in_flight: false, bytes: 0 });
        }
        let entry = &mut self.slots[usize::from(slot)];
        self.by_registration.remove(&entry.registration);
        entry.registration = registration;
        self.pinned = self.pinned - entry.bytes + buffer.capacity();
        entry.bytes = buffer.capacity();
        self.by_registration.insert(registration, slot);
        Some(slot)
    }

    /// Returns a slot with nothing in it, or else the one that has not been used for longest.
    fn vacant(&self) -> Option<u16> {
        let emptied = self.slots.iter().position(|slot| slot.bytes == 0).map(|at| at as u16);
        let unused = self.slots.len() as u16;
        emptied.or((unused < SLOTS_MAX).then_some(unused)).or_else(|| self.oldest())
    }

    /// Returns the slot with something in it that has not been used for longest.
    fn oldest(&self) -> Option<u16> {
        let idle =
            self.slots.iter().enumerate().filter(|(_, slot)| !slot.in_flight && slot.bytes > 0);
        idle.min_by_key(|(_, slot)| slot.used).map(|(at, _)| at as u16)
    }

    /// Gives up what a slot has pinned.
    fn unregister(&mut self, ring: &IoUring, slot: u16) -> Option<()> {
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: no memory is handed over, and nothing under way uses the slot.
        let updated =
            unsafe { ring.submitter().register_buffers_update(u32::from(slot), &[nothing], None) };
        if updated.is_err() {
            self.enabled = false;
            return None;
        }
        let entry = &mut self.slots[usize::from(slot)];
        self.by_registration.remove(&entry.registration);
        self.pinned -= std::mem::take(&mut entry.bytes);
        Some(())
    }

    /// The write from this slot has ended.
    pub fn landed(&mut self, slot: Option<u16>) {
        if let Some(slot) = slot {
            self.slots[usize::from(slot)].in_flight = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every batch above the size of the buffers that are kept had one of its own, and each of
    /// those stayed pinned: more than a gigabyte.
    #[test]
    fn what_is_pinned_is_bounded_however_many_buffers_come_and_go() {
        let Ok(ring) = IoUring::new(4) else { return };
        let mut buffers = RegisteredBuffers::new(&ring);
        let mut used = 0;
        for number in 0..200 {
            let capacity = if number % 10 == 0 { 8 << 20 } else { BUFFER_BYTES_MAX };
            let mut buffer = AlignedBuf::with_capacity(capacity);
            let slot = buffers.slot(&ring, &mut buffer);
            used += usize::from(slot.is_some());
            buffers.landed(slot);
            assert!(buffers.pinned <= PINNED_BYTES_MAX, "{} bytes", buffers.pinned);
            let sum: usize = buffers.slots.iter().map(|slot| slot.bytes).sum();
            assert_eq!(buffers.pinned, sum);
        }
        // If memory may be locked at all, old buffers make room for new ones.
        assert!(used == 180 || !buffers.enabled, "{used} were registered");
        assert!(buffers.slots.len() <= PINNED_BYTES_MAX / BUFFER_BYTES_MAX + 1);
    }
}
