//! Memory that the disk can read by itself: aligned to a block, a whole number of blocks long.

use std::fmt;

use super::format::BLOCK_BYTES;

/// Bytes for one direct write. Its memory never moves, so that the runtime may register it with
/// the kernel once and use it for many writes.
pub struct AlignedBuf {
    blocks: Box<[Block]>,
    len: usize,
    registration: u64,
}

#[derive(Clone)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

const _: () = assert!(size_of::<Block>() == BLOCK_BYTES && align_of::<Block>() == BLOCK_BYTES);

impl AlignedBuf {
    /// Makes an empty buffer with room for at least `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> AlignedBuf {
        let count = capacity.div_ceil(BLOCK_BYTES).max(1);
        let blocks = vec![Block([0; BLOCK_BYTES]); count].into_boxed_slice();
        AlignedBuf { blocks, len: 0, registration: 0 }
    }

    /// Bytes that fit.
    pub fn capacity(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the bytes, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends bytes; the caller has made sure that they fit.
    pub fn extend(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.len += bytes.len();
        assert!(self.len <= self.capacity(), "aligned buffer overflows");
        self.memory_mut()[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Appends zeros up to the next block boundary.
    pub fn pad(&mut self) {
        let start = self.len;
        self.len = start.next_multiple_of(BLOCK_BYTES);
        let end = self.len;
        self.memory_mut()[start..end].fill(0);
    }

    /// Returns the bytes written.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory()[..self.len]
    }

    /// Returns the bytes written, to fill in what is known last.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.memory_mut()[..len]
    }

    /// Returns all the memory, for registration: address and length stay the same for life.
    pub fn memory(&self) -> &[u8] {
        // SAFETY: a Block is exactly BLOCK_BYTES bytes without padding (asserted above), so the
        // boxed slice of blocks is one initialised run of bytes, borrowed for as long as `self`.
        unsafe { std::slice::from_raw_parts(self.blocks.as_ptr().cast(), self.capacity()) }
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        let capacity = self.capacity();
        // SAFETY: as in `memory`; `self` is borrowed mutably, so nobody else looks.
        unsafe { std::slice::from_raw_parts_mut(self.blocks.as_mut_ptr().cast(), capacity) }
    }

    /// Returns the number by which the runtime has registered this memory; 0 before that. The
    /// number belongs to the memory, not to its address: new memory at an old address starts at 0
    /// again.
    pub fn registration(&self) -> u64 {
        self.registration
    }

    /// Set once, by the runtime.
    pub fn set_registration(&mut self, registration: u64) {
        self.registration = registration;
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} of {})", self.len, self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_padding_is_zero_even_when_reused() {
        let mut buffer = AlignedBuf::with_capacity(5000);
        assert_eq!(buffer.capacity(), 8192);
        assert_eq!(buffer.memory().as_ptr() as usize % BLOCK_BYTES, 0);
        buffer.extend(&[7; 6000]);
        buffer.clear();
        buffer.extend(&[1; 10]);
        buffer.pad();
        assert_eq!(buffer.len(), BLOCK_BYTES);
        assert!(buffer.as_slice()[10..].iter().all(|&byte| byte == 0));
    }

    #[test]
    #[should_panic(expected = "overflows")]
    fn more_than_fits_is_refused() {
        AlignedBuf::with_capacity(1).extend(&[0; BLOCK_BYTES + 1]);
    }
}
