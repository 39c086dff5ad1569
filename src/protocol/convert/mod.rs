//! Messages to requests and replies to messages.
//!
//! Decoding moves: prost cuts keys and values out of the receive buffer, and they stay there. Form
//! is checked on the way in etcd's order, so that a request with two faults is refused for the one
//! that etcd would name. Encoding of the hot replies goes straight from [`crate::types`] to bytes,
//! lengths first; prost is the yardstick of its tests.
//!
//! | file | what |
//! |---|---|
//! | `decode` | one message to one request |
//! | `quick` | puts and ranges as they nearly always come, by hand |
//! | `txn` | the checks and the moving of a txn |
//! | `bounds` | how many operations a txn's bytes hold, before anything is allocated for them |
//! | `duplicate` | etcd's walk for keys given twice |
//! | `encode` | one reply to one message |
//! | `gather` | fields on their way into a buffer |
//! | `hot` | replies of the KV service, by hand |
//! | `pieces` | the same of many keys or bytes, a piece at a time |
//! | `stream` | the parts of a RangeStream |
//! | `watch` | what a watch stream asks, and what it is told |

mod bounds;
mod decode;
mod duplicate;
mod encode;
mod gather;
mod hot;
mod pieces;
mod quick;
mod stream;
mod txn;
mod watch;

#[cfg(test)]
mod tests;

pub use decode::{RequestLimits, decode, undecodable};
pub use encode::{HeaderFields, encode, encode_get};
pub use pieces::Pieces;
pub use quick::asked_key;
pub use stream::encode_range_part;
pub use watch::{WatchMessage, WatchMessages, decode_watch, watch_messages};
