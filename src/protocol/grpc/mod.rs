//! The layer that gRPC puts between HTTP/2 and the messages.
//!
//! | file | what |
//! |---|---|
//! | `message` | the five bytes in front of each message, and their limits |
//! | `gzip` | compressed messages |
//! | `timeout` | the header `grpc-timeout` |
//! | `percent` | the trailer `grpc-message` |
//!
//! Codes, texts and limits are those of Go's server, which etcd is built on.

mod gzip;
mod message;
mod percent;
mod timeout;

pub use crate::protocol::status::code_name;
pub use gzip::{Deflater, Encoding, Inflater};
pub use message::{
    MESSAGE_BYTES_MAX, MessageReader, PREFIX_BYTES, Packed, above_limit, encode_message,
    write_prefix,
};
pub use percent::{percent_decode, percent_encode};
pub use timeout::parse_timeout;
