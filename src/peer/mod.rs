//! The messages and greetings that members send one another, and their bytes.
//!
//! ```text
//!  control, votes, the line ── one connection ──▶          payloads of frames as in
//!  appends of a core        ── one for each core pair ──▶  `protocol::frame`, on the peer port
//! ```
//!
//! A connection begins with a [`Hello`], which is answered by a [`HelloReply`]: nothing else is
//! read from a peer before that. Then come [`Message`]s, each the payload of one frame whose opcode
//! says its kind. All numbers are little-endian. This room takes and gives bytes and does no I/O,
//! so it runs over any stream, and in the simulator over none.
//!
//! Bytes from a peer are as little trusted as a client's: what is too short, too long or makes no
//! sense is a [`BadPeerBytes`] that says where, no length that was only read is allocated, and
//! nothing here panics.

mod cursor;
mod hello;
mod message;

#[cfg(test)]
mod tests;

pub use cursor::BadPeerBytes;
pub use hello::{ENTRY_FORMAT, Hello, HelloRefusal, HelloReply, PROTOCOL, Purpose, Welcome};
pub use message::Message;
