//! The layer that gRPC puts between HTTP/2 and the messages.
//!
//! | file | what |
//! |---|---|
//! | `message` | the five bytes in front of each message, and their limits |
//! | `timeout` | the header `grpc-timeout` |
//! | `percent` | the trailer `grpc-message` |
//!
//! Codes, texts and limits are those of Go's server, which etcd is built on.

mod message;
mod percent;
mod timeout;

pub use crate::protocol::status::code_name;
pub use message::{MESSAGE_BYTES_MAX, MessageReader, PREFIX_BYTES, encode_message};
pub use percent::{percent_decode, percent_encode};
pub use timeout::parse_timeout;
