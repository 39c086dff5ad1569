//! Unit tests, a randomized run on threads, and the models that loom enumerates.

#[cfg(feature = "loom")]
mod loom_models;
#[cfg(not(feature = "loom"))]
mod sequential;
#[cfg(not(feature = "loom"))]
mod threads;
