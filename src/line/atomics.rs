//! Atomics of the standard library, or loom's when its models run.
//!
//! What cores share goes through this file, so that the very code that serves is the code whose
//! interleavings loom enumerates: `cargo test --lib --features loom line::`.

#[cfg(all(test, feature = "loom"))]
pub use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(not(all(test, feature = "loom")))]
pub use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(all(test, feature = "loom"))]
pub use loom::cell::UnsafeCell;

/// A cell whose accesses the caller orders; in loom's shape, so that loom can check that he does.
#[cfg(not(all(test, feature = "loom")))]
#[derive(Debug)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(all(test, feature = "loom")))]
impl<T> UnsafeCell<T> {
    pub fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

/// A value on cache lines of its own: two of them, since the prefetcher of x86 pulls pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
