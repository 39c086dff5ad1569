//! Braid's frames: the same messages as gRPC, with 16 bytes around each instead of HTTP/2.
//!
//! ```text
//!   client                                          server
//!     │ preface: B7 'BRAID' 0D 0A                     │
//!     │ HELLO  stream 0   HelloRequest       ───────▶ │
//!     │ ◀───────      HELLO  stream 0   HelloReply    │
//!     │ PUT    stream 1   END   PutRequest   ───────▶ │
//!     │ RANGE  stream 2   END   RangeRequest ───────▶ │   requests pipeline
//!     │ ◀───────      RANGE  stream 2   END           │   answers come as they are ready
//!     │ ◀───────      PUT    stream 1   END           │
//! ```
//!
//! `proto/FRAMES.md` says it byte by byte; its examples are tests of this room.
//!
//! - A frame is trusted only after its checksum; its length only up to the receiver's own limit.
//! - No buffer is ever sized by what a peer claims: the decoder waits for bytes, it never reserves.
//! - Payloads are slices of the receive buffer, and replies are written straight into the send
//!   buffer.
//! - Every stream that a client opens ends with exactly one frame of the server that has END.
//! - What breaks the protocol ends the connection, with a CLOSE frame that names it
//!   ([`FrameFault`]).

mod decoder;
mod encode;
mod fault;
mod header;
mod opcode;
mod preface;

#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Frame};
pub use encode::{
    PiecedFrame, decode_error, decode_hello, encode_close, encode_error, encode_frame,
    encode_message, encode_ping,
};
pub use fault::FrameFault;
pub use header::{Flags, HEADER_BYTES, Header};
pub use opcode::Opcode;
pub use preface::{PREFACE, Protocol, Sniffed, sniff, take_preface};

/// Version of the frame protocol, in both hellos.
pub const PROTOCOL_VERSION: u32 = 1;

/// Payload bytes of a frame at most, whoever sends it: as in gRPC.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 31) - 1;

/// Payload bytes of a ping at most.
pub const PING_BYTES_MAX: usize = 64;

/// The stream of the connection itself: hello, ping, close.
pub const CONNECTION_STREAM: u32 = 0;
