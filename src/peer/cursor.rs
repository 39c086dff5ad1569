//! Reading numbers out of a payload.

use std::fmt;

use bytes::{Buf, Bytes};

use crate::raft::BadMessage;

/// Why a payload of a peer is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPeerBytes {
    /// It ends inside of this field.
    Short(&'static str),
    /// So many bytes follow its end.
    Long(usize),
    /// A frame's opcode is none of ours.
    Opcode(u8),
    /// This field has a value that it cannot have.
    Field(&'static str),
    /// A message of Raft inside of it.
    Raft(BadMessage),
}

impl fmt::Display for BadPeerBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadPeerBytes::Short(field) => write!(f, "peer message: it ends inside of {field}"),
            BadPeerBytes::Long(bytes) => write!(f, "peer message: {bytes} bytes follow its end"),
            BadPeerBytes::Opcode(opcode) => {
                write!(f, "peer message: opcode {opcode} is not one of ours")
            }
            BadPeerBytes::Field(field) => write!(f, "peer message: {field} makes no sense"),
            BadPeerBytes::Raft(bad) => bad.fmt(f),
        }
    }
}

impl std::error::Error for BadPeerBytes {}

/// The rest of a payload.
pub(super) struct Cursor(pub Bytes);

impl Cursor {
    pub fn byte(&mut self, field: &'static str) -> Result<u8, BadPeerBytes> {
        self.0.try_get_u8().map_err(|_| BadPeerBytes::Short(field))
    }

    pub fn short(&mut self, field: &'static str) -> Result<u16, BadPeerBytes> {
        self.0.try_get_u16_le().map_err(|_| BadPeerBytes::Short(field))
    }

    pub fn number(&mut self, field: &'static str) -> Result<u64, BadPeerBytes> {
        self.0.try_get_u64_le().map_err(|_| BadPeerBytes::Short(field))
    }

    pub fn bytes(&mut self, count: usize, field: &'static str) -> Result<Bytes, BadPeerBytes> {
        if count > self.0.len() {
            return Err(BadPeerBytes::Short(field));
        }
        Ok(self.0.split_to(count))
    }

    pub fn end(self) -> Result<(), BadPeerBytes> {
        match self.0.len() {
            0 => Ok(()),
            more => Err(BadPeerBytes::Long(more)),
        }
    }
}
