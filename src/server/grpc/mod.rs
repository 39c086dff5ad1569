//! etcd's protocol: gRPC over HTTP/2, which is the room [`http2`](crate::http2).
//!
//! One task per connection reads, takes frames, starts calls and writes. A unary call whose message
//! came with its headers, which is nearly every one, needs no task and no wake-up of its own: it is
//! decoded and submitted where it is found, its stream waits in the core's `Waiters`, and the
//! answer is encoded from there into the connection's output. A get of one key never becomes a
//! request at all (`get`). Longer bodies and streaming methods get a task each.
//!
//! | file | what |
//! |---|---|
//! | `connection` | the task of a connection: reading, writing, keepalive, shutdown |
//! | `link` | what the calls of a connection share |
//! | `call` | one call: admission, its message, its answer |
//! | `get` | gets of one key, answered where they are read |
//! | `incoming` | messages that do not come whole with their headers |
//! | `stream` | calls with more than one message |
//! | `head` | what a request's headers say, and what answers' headers look like |
//! | `respond` | the answering half of a call |
//! | `gzip` | compressed messages |
//!
//! Codes and texts are grpc-go's, which etcd is built on.

mod call;
mod connection;
mod get;
mod gzip;
mod head;
mod incoming;
mod link;
mod respond;
mod stream;

pub(super) use call::UnaryCall;
pub(super) use connection::serve;
