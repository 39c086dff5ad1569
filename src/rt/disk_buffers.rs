//! Memory that the kernel has been shown once, so that it need not be looked up for every write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use io_uring::IoUring;

use crate::wal::AlignedBuf;

/// One buffer per log, and a core may own every group.
const SLOTS_MAX: u16 = 256;

/// Larger ones are rare and soon freed.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// Numbers are never given twice, so a buffer that has one of another ring is not mistaken.
static REGISTRATIONS: AtomicU64 = AtomicU64::new(1);

/// The registered buffers of one ring. A slot whose buffer is gone keeps its old pages pinned until
/// it is needed; nobody asks for it, because new memory has a new number.
pub(super) struct RegisteredBuffers {
    enabled: bool,
    slots: Vec<Slot>,
    by_registration: BTreeMap<u64, u16>,
    turn: u64,
}

struct Slot {
    registration: u64,
    used: u64,
    flying: bool,
}

impl RegisteredBuffers {
    pub fn new(ring: &IoUring) -> RegisteredBuffers {
        // Before 5.19 there are no empty slots to fill later: plain writes do as well.
        let enabled = ring.submitter().register_buffers_sparse(u32::from(SLOTS_MAX)).is_ok();
        RegisteredBuffers { enabled, slots: Vec::new(), by_registration: BTreeMap::new(), turn: 0 }
    }

    /// The slot of this memory, registering it if it is new. `None`: write without.
    pub fn slot(&mut self, ring: &IoUring, buffer: &mut AlignedBuf) -> Option<u16> {
        self.turn += 1;
        let known = self.by_registration.get(&buffer.registration()).copied();
        let slot = known.or_else(|| self.register(ring, buffer))?;
        let entry = &mut self.slots[usize::from(slot)];
        assert!(!entry.flying, "a buffer is in flight once");
        entry.flying = true;
        entry.used = self.turn;
        Some(slot)
    }

    fn register(&mut self, ring: &IoUring, buffer: &mut AlignedBuf) -> Option<u16> {
        if !self.enabled || buffer.capacity() > BUFFER_BYTES_MAX {
            return None;
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
            self.slots.push(Slot { registration, used: 0, flying: false });
        }
        let entry = &mut self.slots[usize::from(slot)];
        self.by_registration.remove(&entry.registration);
        entry.registration = registration;
        self.by_registration.insert(registration, slot);
        Some(slot)
    }

    /// A slot never used, or else the one that has not been for longest.
    fn vacant(&self) -> Option<u16> {
        if self.slots.len() < usize::from(SLOTS_MAX) {
            return Some(self.slots.len() as u16);
        }
        let idle = self.slots.iter().enumerate().filter(|(_, slot)| !slot.flying);
        idle.min_by_key(|(_, slot)| slot.used).map(|(at, _)| at as u16)
    }

    /// The write from this slot has ended.
    pub fn landed(&mut self, slot: Option<u16>) {
        if let Some(slot) = slot {
            self.slots[usize::from(slot)].flying = false;
        }
    }
}
