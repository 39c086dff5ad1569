//! The wire formats: bytes become requests, and replies become bytes. The room is pure.
//!
//! ```text
//!            ┌─ frame ──┐                        ┌──────── types ────────┐
//!  socket ──▶│ preface  │──▶ method ─┐           │                       │
//!            │ 16 bytes │            ├──▶ convert::decode ──▶ Request ──▶ core
//!            ├─ grpc ───┤            │           │                       │
//!  socket ──▶│ 5 bytes  │──▶ method ─┘           │                       │
//!            └──────────┘      convert::encode ◀── Reply ◀─┐             │
//!                              status::of ◀────── Refusal ◀┴──────────── core
//! ```
//!
//! Both wires carry the same protobuf messages; only what is around them differs.
//!
//! | file | what |
//! |---|---|
//! | [`method`] | the table of RPCs: opcode, path, shape, and the room that serves each |
//! | [`frame`] | Braid's own wire: preface, header, checksum (`proto/FRAMES.md`) |
//! | [`grpc`] | the parts of gRPC that HTTP/2 lacks: message prefix, timeout, percent-encoding |
//! | [`Fields`] | the fields of a message, without making one of it |
//! | [`convert`] | messages to requests, with etcd's checks of form; replies to messages |
//! | [`status`] | refusals to gRPC codes and etcd's texts |
//! | [`pb`] | the messages, generated from `proto/*.proto` |
//!
//! Invariants:
//!
//! - No input makes anything here panic, recurse without bound, or allocate more than a small
//!   multiple of the bytes that really arrived.
//! - Keys and values of requests are slices of the receive buffer; those of replies are copied
//!   once, into the send buffer.
//! - Clients see what etcd would show: the order of checks, codes, texts, and which fields are set.

pub mod convert;
mod fields;
pub mod frame;
pub mod grpc;
pub mod method;
pub mod status;

/// The messages of `proto/*.proto`, one module per package.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/pb.rs"));
}

pub use fields::{Field, Fields};
pub use method::Method;
pub use status::Status;

/// The version of etcd whose API this is: what Status and `/version` say.
pub const ETCD_VERSION: &str = "3.7.1";

/// The storage version that goes with it.
pub const ETCD_STORAGE_VERSION: &str = "3.7.0";
