//! Opcodes of frames on the client port.

use crate::protocol::method::Method;

/// A frame of the connection itself, or one of a method's exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// First frame of either side.
    Hello,
    /// "Are you there": answered with the same payload and END.
    Ping,
    /// Last frame of the connection, with the reason.
    Close,
    Method(Method),
}

impl Opcode {
    /// Returns the opcode of a header's byte; `None` is no opcode of the client port.
    pub fn from_u8(opcode: u8) -> Option<Opcode> {
        match opcode {
            0x01 => Some(Opcode::Hello),
            0x02 => Some(Opcode::Ping),
            0x03 => Some(Opcode::Close),
            _ => Method::from_opcode(opcode).map(Opcode::Method),
        }
    }

    /// Returns the byte in the header.
    pub fn as_u8(self) -> u8 {
        match self {
            Opcode::Hello => 0x01,
            Opcode::Ping => 0x02,
            Opcode::Close => 0x03,
            Opcode::Method(method) => method.opcode(),
        }
    }
}
