//! A shared, immutable byte string, one pointer wide.
//!
//! ```text
//!  plain                     stamped: a value at rest with its version's numbers
//!  ┌──────┬─────┬───────┐    ┌───────────────┬──────┬─────┬───────┐
//!  │ refs │ len │ bytes │    │ stamp (40 B)  │ refs │ len │ bytes │
//!  └──────┴─────┴───────┘    └───────────────┴──────┴─────┴───────┘
//!  ▲ the pointer                             ▲ the pointer; a bit of `len` tells which it is
//! ```
//!
//! `Arc<[u8]>` would do, at 16 bytes more per pointer's home and 8 more per allocation, twice for
//! every key in memory, and with a second allocation (and cache miss) for a version's numbers.
//! The store holds millions of these, so it pays; the unsafe code of the crate's data model is
//! here and nowhere else.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering as Memory, fence};

use super::prefetch;

/// Bytes of a key or a value, at rest in the store and in answers. At most 2 GiB.
///
/// Cloning shares the bytes, also with another core. Requests carry `bytes::Bytes` (slices of what
/// the socket read); the store copies out of those, so that a small key never keeps a network
/// buffer alive.
#[derive(Default)]
pub struct Blob(Option<NonNull<Head>>);

/// The numbers of a version, kept in one allocation with its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The revision that wrote the value.
    pub modified: i64,
    /// The revision that created the key.
    pub create: i64,
    /// 0 is a tombstone.
    pub version: i64,
    /// The lease that the key is attached to, or 0.
    pub lease: i64,
    /// The position of the change inside its revision.
    pub sub: u32,
}

#[repr(C)]
struct Head {
    refs: AtomicU32,
    /// The length, and [`STAMPED`].
    len: u32,
}

const STAMPED: u32 = 1 << 31;
const ALIGN: usize = align_of::<Stamp>();

const _: () = assert!(ALIGN >= align_of::<Head>());
const _: () = assert!(size_of::<Stamp>().is_multiple_of(align_of::<Head>()));

// SAFETY: the bytes are never written after construction, nor is the stamp but for `restamp`, whose
// caller sees to it that nobody on another core has the blob; the count is atomic, and
// whoever takes it to zero frees the allocation, on whatever core that is.
unsafe impl Send for Blob {}
// SAFETY: see above; `&Blob` allows reading and cloning only.
unsafe impl Sync for Blob {}

impl Blob {
    /// Bytes of an allocation before the content of a plain blob.
    pub const OVERHEAD: usize = size_of::<Head>();
    /// Bytes of an allocation before the content of a stamped one.
    pub const OVERHEAD_STAMPED: usize = size_of::<Stamp>() + size_of::<Head>();

    /// Returns the empty blob; does not allocate.
    pub const fn empty() -> Blob {
        Blob(None)
    }

    /// Makes a blob of `bytes` that carries `stamp`.
    pub fn stamped(bytes: &[u8], stamp: Stamp) -> Blob {
        Blob::allocate(bytes, Some(stamp))
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        let Some(head) = self.0 else { return &[] };
        // SAFETY: `head` points into a live allocation of ours whose `length` bytes after the head
        // are initialised and never change; the count we hold outlives the borrow of self.
        unsafe {
            let bytes = head.as_ptr().cast::<u8>().add(size_of::<Head>());
            std::slice::from_raw_parts(bytes, length(head.as_ref()))
        }
    }

    /// Returns the stamp that [`Blob::stamped`] was given; a plain blob has none.
    pub fn stamp(&self) -> Option<&Stamp> {
        let head = self.0?;
        // SAFETY: a live allocation; if the bit is set, it begins with an initialised stamp.
        unsafe {
            if head.as_ref().len & STAMPED == 0 {
                return None;
            }
            Some(&*head.as_ptr().cast::<u8>().sub(size_of::<Stamp>()).cast::<Stamp>())
        }
    }

    /// Gives it other numbers, and with it everybody who shares it.
    ///
    /// # Panics
    ///
    /// If it carries none.
    ///
    /// # Safety
    ///
    /// Nobody else may look at the numbers meanwhile, nor hold a reference to them: what shares the
    /// blob has not left this core.
    pub unsafe fn restamp(&self, stamp: Stamp) {
        assert!(self.stamp().is_some(), "a blob that carries numbers");
        let head = self.0.expect("it carries numbers");
        // SAFETY: the allocation is ours and begins with a stamp, and by the contract nobody reads
        // it now. The pointer is the allocation's, not one made from a shared reference.
        unsafe { head.as_ptr().cast::<u8>().sub(size_of::<Stamp>()).cast::<Stamp>().write(stamp) }
    }

    /// Whether both are one allocation.
    pub fn is_same(&self, other: &Blob) -> bool {
        self.0 == other.0
    }

    /// Asks for its first bytes, and for its numbers if it has any.
    pub fn prefetch(&self) {
        if let Some(head) = self.0 {
            let head = head.as_ptr().cast::<u8>();
            prefetch(head);
            prefetch(head.wrapping_sub(size_of::<Stamp>()));
        }
    }

    fn allocate(bytes: &[u8], stamp: Option<Stamp>) -> Blob {
        assert!(bytes.len() < STAMPED as usize, "a blob is smaller than 2 GiB");
        let flag = if stamp.is_some() { STAMPED } else { 0 };
        let head = Head { refs: AtomicU32::new(1), len: bytes.len() as u32 | flag };
        let (layout, front) = layout(&head);
        // SAFETY: the layout has room for the stamp if there is one, the head and the bytes, in
        // that order, at the alignment of the stamp; `front` is a multiple of the head's.
        unsafe {
            let base = alloc(layout);
            if base.is_null() {
                handle_alloc_error(layout);
            }
            if let Some(stamp) = stamp {
                base.cast::<Stamp>().write(stamp);
            }
            let place = base.add(front).cast::<Head>();
            place.write(head);
            let content = base.add(front + size_of::<Head>());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), content, bytes.len());
            Blob(Some(NonNull::new_unchecked(place)))
        }
    }
}

fn length(head: &Head) -> usize {
    (head.len & !STAMPED) as usize
}

/// Returns the layout of the allocation, and where in it the head is.
fn layout(head: &Head) -> (Layout, usize) {
    let front = if head.len & STAMPED == 0 { 0 } else { size_of::<Stamp>() };
    let size = front + size_of::<Head>() + length(head);
    (Layout::from_size_align(size, ALIGN).expect("below 2 GiB"), front)
}

impl Clone for Blob {
    fn clone(&self) -> Blob {
        if let Some(head) = self.0 {
            // SAFETY: a live allocation, for we hold a count.
            let before = unsafe { head.as_ref() }.refs.fetch_add(1, Memory::Relaxed);
            if before > u32::MAX / 2 {
                // Two thousand million clones: a leak, and one more could free it under others.
                std::process::abort();
            }
        }
        Blob(self.0)
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        let Some(head) = self.0 else { return };
        // SAFETY: we hold a count until the subtraction; after it we touch the allocation only if
        // ours was the last, and the fence orders that after every other holder's use. A count of
        // one that we see is ours, and nobody can clone from `&mut self` meanwhile.
        unsafe {
            let refs = &head.as_ref().refs;
            if refs.load(Memory::Acquire) != 1 {
                if refs.fetch_sub(1, Memory::Release) != 1 {
                    return;
                }
                fence(Memory::Acquire);
            }
            let (layout, front) = layout(head.as_ref());
            dealloc(head.as_ptr().cast::<u8>().sub(front), layout);
        }
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Blob {
        if bytes.is_empty() { Blob::empty() } else { Blob::allocate(bytes, None) }
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Blob {
        Blob::from(&bytes[..])
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Borrow<[u8]> for Blob {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Blob) -> bool {
        self.0 == other.0 || self.as_slice() == other.as_slice()
    }
}

impl Eq for Blob {}

impl PartialOrd for Blob {
    fn partial_cmp(&self, other: &Blob) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Blob {
    fn cmp(&self, other: &Blob) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl Hash for Blob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.as_slice().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_it_was_given() {
        for len in [0, 1, 7, 8, 9, 255, 70_000] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let stamp = Stamp { modified: 3, create: 2, version: 2, lease: -9, sub: u32::MAX };
            let plain = Blob::from(&bytes[..]);
            let stamped = Blob::stamped(&bytes, stamp);
            assert_eq!(plain.as_slice(), &bytes[..]);
            assert_eq!(stamped.as_slice(), &bytes[..]);
            assert_eq!(plain.stamp(), None);
            assert_eq!(stamped.stamp(), Some(&stamp));
            assert_eq!(plain, stamped, "the stamp is no part of the content");
        }
    }

    #[test]
    fn an_empty_blob_is_one_pointer_and_no_allocation() {
        assert_eq!(size_of::<Blob>(), 8);
        assert!(Blob::from(&[][..]).0.is_none());
        assert_eq!(Blob::empty(), Blob::stamped(&[], Stamp::default()));
    }

    #[test]
    fn is_freed_once_whoever_drops_it_last() {
        let blob = Blob::stamped(&[7; 100], Stamp::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mine = blob.clone();
                std::thread::spawn(move || {
                    for _ in 0..10_000 {
                        assert_eq!(mine.clone().len(), 100);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("the thread ran through");
        }
        // SAFETY: a live allocation.
        let refs = unsafe { blob.0.expect("not empty").as_ref() }.refs.load(Memory::Relaxed);
        assert_eq!(refs, 1);
    }
}
