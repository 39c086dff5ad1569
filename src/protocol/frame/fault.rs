//! Faults in the bytes of a connection.

use std::fmt;

use crate::protocol::status::{Status, code};

/// A breach of the frame protocol. It ends the connection: a CLOSE frame says which, see
/// [`super::encode_close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// The connection begins like none of the protocols that the port speaks.
    Preface,
    /// A payload above the limit.
    Length { length: usize, length_max: usize },
    /// The bytes are not what was sent.
    Checksum { stated: u32, computed: u32 },
    /// An opcode that is none, or that this side never takes.
    Opcode(u8),
    /// Flags that are unknown, or that make no sense on this frame.
    Flags(u8),
    /// Reserved bits are not zero.
    Reserved(u16),
    /// A request on stream 0, or a connection frame on another.
    Stream { stream: u32, opcode: u8 },
    /// A second request on a stream whose first has not ended.
    StreamInUse(u32),
    /// Something else came before the hello.
    HelloMissing { opcode: u8 },
    /// A second hello, or one that is no message.
    HelloInvalid,
    /// The client wants another version of the protocol.
    Version { wanted: u32, spoken: u32 },
}

impl FrameFault {
    /// Returns the status that the peer is sent.
    pub fn status(&self) -> Status {
        let code = match self {
            FrameFault::Length { .. } => code::RESOURCE_EXHAUSTED,
            FrameFault::Checksum { .. } => code::DATA_LOSS,
            FrameFault::Opcode(_) | FrameFault::Version { .. } => code::UNIMPLEMENTED,
            FrameFault::Preface
            | FrameFault::Flags(_)
            | FrameFault::Reserved(_)
            | FrameFault::Stream { .. }
            | FrameFault::StreamInUse(_)
            | FrameFault::HelloMissing { .. }
            | FrameFault::HelloInvalid => code::INVALID_ARGUMENT,
        };
        Status::new(code, self.to_string())
    }
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("braid: ")?;
        match self {
            FrameFault::Preface => f.write_str("bad magic at the start of the connection"),
            FrameFault::Length { length, length_max } => {
                write!(f, "frame payload of {length} bytes is above the limit of {length_max}")
            }
            FrameFault::Checksum { stated, computed } => {
                write!(f, "frame checksum is {computed:#010x} but {stated:#010x} was stated")
            }
            FrameFault::Opcode(opcode) => write!(f, "unknown frame opcode {opcode:#04x}"),
            FrameFault::Flags(flags) => write!(f, "invalid frame flags {flags:#04x}"),
            FrameFault::Reserved(bits) => {
                write!(f, "reserved bits of the frame header are {bits:#06x} instead of zero")
            }
            FrameFault::Stream { stream, opcode } => {
                write!(f, "frame opcode {opcode:#04x} is not allowed on stream {stream}")
            }
            FrameFault::StreamInUse(stream) => {
                write!(f, "stream {stream} already has a request under way")
            }
            FrameFault::HelloMissing { opcode } => {
                write!(f, "frame opcode {opcode:#04x} came before the hello")
            }
            FrameFault::HelloInvalid => f.write_str("invalid hello"),
            FrameFault::Version { wanted, spoken } => {
                write!(f, "frame protocol version {wanted} is not spoken here, only {spoken}")
            }
        }
    }
}

impl std::error::Error for FrameFault {}
