//! Bytes to requests and replies to bytes, pure.

/// The messages of `proto/*.proto`, one module per package.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/pb.rs"));
}
