//! The 16 bytes in front of every payload.
//!
//! ```text
//!  byte  0        4        8        12       13      14         16
//!        ├────────┼────────┼────────┼────────┼───────┼──────────┼─ payload ...
//!        │ length │ crc    │ stream │ opcode │ flags │ reserved │
//!        │ u32 LE │ u32 LE │ u32 LE │ u8     │ u8    │ u16 = 0  │
//! ```

use std::fmt;
use std::ops::BitOr;
use std::sync::LazyLock;

use crc32fast::Hasher;

const LENGTH_AT: usize = 0;
const CRC_AT: usize = LENGTH_AT + 4;
const STREAM_AT: usize = CRC_AT + 4;
const OPCODE_AT: usize = STREAM_AT + 4;
const FLAGS_AT: usize = OPCODE_AT + 1;
const RESERVED_AT: usize = FLAGS_AT + 1;

/// Bytes of a header that the checksum covers.
const COVERED_BYTES: usize = HEADER_BYTES - 4;

/// Before the first byte. A copy, unlike a new one, does not ask what the processor can do.
static FRESH: LazyLock<Hasher> = LazyLock::new(Hasher::new);

/// Bytes of a header.
pub const HEADER_BYTES: usize = RESERVED_AT + 2;
const _: () = assert!(HEADER_BYTES == 16);

/// The header in front of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Payload bytes that follow.
    pub length: u32,
    /// CRC-32 (IEEE) of the header without this field, then the payload.
    pub crc: u32,
    pub stream: u32,
    pub opcode: u8,
    pub flags: Flags,
    pub reserved: u16,
}

/// The flags of a frame.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No flags.
    pub const NONE: Flags = Flags(0);
    /// The sender's last frame on this stream.
    pub const END: Flags = Flags(1 << 0);
    /// The payload is a `braidpb.Error`, not a message of the method. Always with END.
    pub const ERROR: Flags = Flags(1 << 1);
    /// The client gives the stream up. No payload.
    pub const CANCEL: Flags = Flags(1 << 2);
    /// No message: an empty payload that is not an empty message.
    pub const BARE: Flags = Flags(1 << 3);

    const KNOWN: u8 = 0b1111;

    /// Whether every flag of `other` is set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set that this version does not know.
    pub fn is_known(self) -> bool {
        self.0 & !Flags::KNOWN == 0
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#06b})", self.0)
    }
}

impl Header {
    /// Returns the header as it stands on the wire.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[LENGTH_AT..][..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[CRC_AT..][..4].copy_from_slice(&self.crc.to_le_bytes());
        bytes[STREAM_AT..][..4].copy_from_slice(&self.stream.to_le_bytes());
        bytes[OPCODE_AT] = self.opcode;
        bytes[FLAGS_AT] = self.flags.0;
        bytes[RESERVED_AT..][..2].copy_from_slice(&self.reserved.to_le_bytes());
        bytes
    }

    /// Takes a header apart; judges nothing.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Header {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Header {
            length: word(LENGTH_AT),
            crc: word(CRC_AT),
            stream: word(STREAM_AT),
            opcode: bytes[OPCODE_AT],
            flags: Flags(bytes[FLAGS_AT]),
            reserved: u16::from_le_bytes([bytes[RESERVED_AT], bytes[RESERVED_AT + 1]]),
        }
    }

    /// Bytes of the frame that it begins.
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.length as usize
    }

    /// Returns the checksum that a frame with this header must state, before its payload.
    pub(super) fn begin_checksum(&self) -> crc32fast::Hasher {
        let bytes = self.encode();
        let mut crc = FRESH.clone();
        crc.update(&bytes[..CRC_AT]);
        crc.update(&bytes[STREAM_AT..]);
        crc
    }

    /// Returns the checksum that a frame with this header and `payload` must state.
    pub fn checksum(&self, payload: &[u8]) -> u32 {
        /// Bytes that are hashed in one go, with the header in front.
        const SHORT_BYTES: usize = 116;
        let bytes = self.encode();
        let mut covered = [0; COVERED_BYTES + SHORT_BYTES];
        covered[..CRC_AT].copy_from_slice(&bytes[..CRC_AT]);
        covered[CRC_AT..COVERED_BYTES].copy_from_slice(&bytes[STREAM_AT..]);
        let mut crc = FRESH.clone();
        if payload.len() <= SHORT_BYTES {
            covered[COVERED_BYTES..][..payload.len()].copy_from_slice(payload);
            crc.update(&covered[..COVERED_BYTES + payload.len()]);
        } else {
            crc.update(&covered[..COVERED_BYTES]);
            crc.update(payload);
        }
        crc.finalize()
    }
}
