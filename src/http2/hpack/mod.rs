//! HPACK (RFC 7541): how header lists are written, with a table that both sides keep.
//!
//! | file | what |
//! |---|---|
//! | `decode` | blocks to fields |
//! | `encode` | fields to blocks |
//! | `huffman` | the code for texts |
//! | `table` | the fields that every connection knows |

mod decode;
mod encode;
mod huffman;
mod table;
#[cfg(test)]
mod tests;

pub use decode::Decoder;
pub use encode::{Encoder, Field, indexes};

/// The table that either side may use unless it is told otherwise, in bytes as HPACK counts them.
const TABLE_BYTES: usize = 4096;

/// Bytes that an entry of a table, or of a header list, counts beyond its texts.
pub const ENTRY_BYTES: usize = 32;

/// The block is not HPACK. What both sides know of each other is lost with it, and so is the
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBlock;
