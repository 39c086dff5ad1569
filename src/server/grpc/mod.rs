//! etcd's protocol: gRPC over HTTP/2, by h2 directly.
//!
//! One task per connection drives h2 and starts calls. A unary call whose message came with its
//! headers, which is nearly every one, needs no task and no wake-up of its own: it is decoded and
//! submitted where it is found, its stream waits in the core's `Waiters`, and the answer is handed
//! to h2 from there. Longer bodies and streaming methods get a task each.
//!
//! | file | what |
//! |---|---|
//! | `connection` | driving h2: accepting, keepalive, shutdown |
//! | `call` | one call: admission, message, answer |
//! | `stream` | calls with more than one message |
//! | `head` | what a request's headers say, and what answers' headers look like |
//! | `resets` | calls that their clients have reset |
//! | `respond` | the sending half of a call that has not begun |
//! | `gzip` | compressed messages |
//! | `io` | the socket as h2 sees it: one write per turn |
//! | `pings` | clients that ping too often |
//!
//! Codes and texts are grpc-go's, which etcd is built on.

mod call;
mod connection;
mod gzip;
mod head;
mod io;
mod pings;
mod resets;
mod respond;
mod stream;

pub(super) use call::UnaryCall;
pub(super) use connection::serve;
