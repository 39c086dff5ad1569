//! HTTP/2 (RFC 9113) as a server speaks it: bytes in, events out, bytes out.
//!
//! ```text
//!            take              ┌────────────┐   headers, body, end      ┌────────┐
//!  bytes ──────────▶ Connection│  streams   │◀──────────────────────────│ owner  │
//!                   ──────────▶│  windows   │                           │        │
//!             Event            │  tables    │──▶ output ── sent ──▶ socket       │
//!                              └────────────┘                           └────────┘
//! ```
//!
//! A [`Connection`] has no socket, no clock and no task. Its owner hands it what was read with
//! [`Connection::take`], which takes one frame (or a request that came in two) and says what that
//! means and how much work it was; so the owner stops whenever it wants to, between any two frames.
//! The output stands in one buffer, in the order in which it must leave.
//!
//! | file | what |
//! |---|---|
//! | `frame` | frames as bytes |
//! | `hpack` | header blocks as bytes |
//! | `fields` | what a header list may hold, and what the owner learns of it |
//! | `streams` | the streams that are open, and what is remembered of closed ones |
//! | `connection` | the frames of the connection: settings, pings, windows, the end |
//! | `requests` | what a client sends on streams |
//! | `answers` | what is sent on streams, as far as windows let it |
//! | `lists` | header lists that are sent |
//! | `output` | bytes on their way to the socket |
//! | `pings` | clients that ping too often |
//!
//! `braid-load` builds its own side of the protocol, which does less, of `frame` and `hpack`.
//!
//! # Flow control
//!
//! Bytes that come are granted again once the owner has [`consumed`](Connection::consumed) them;
//! those of a stream that is gone are granted at once. Bytes that are to be sent wait in their
//! stream until both windows let them out. Streams take turns of one frame, so that none waits for
//! the end of another's answer.
//!
//! # Bounds
//!
//! | what a client may do without end | what it costs |
//! |---|---|
//! | any frame | its bytes, and `Taken::work` |
//! | open streams | refused beyond `Config::streams_max` |
//! | open streams and reset them | the connection ends when [`RESETS_UNEARNED_MAX`] are not made up for by calls that were answered |
//! | header blocks in pieces | the connection ends at the bound of bytes, or of frames |
//! | header lists that unfold | nothing is copied; beyond the bound fields are only skipped |
//! | SETTINGS that move all windows | a visit to each open stream, counted as work |
//! | keep its windows shut | what the owner has handed over, which it can ask for: [`Connection::pending_bytes`] |
//! | PING, SETTINGS, empty DATA, frames for closed streams | an answer of their size at most; the owner stops taking while the output is full |
//! | PRIORITY | nothing: it is ignored |

pub mod frame;
pub mod hpack;

mod answers;
mod connection;
mod fields;
mod lists;
mod output;
mod pings;
mod requests;
mod streams;
#[cfg(test)]
mod tests;

pub use connection::{Broken, Config, Connection, Event, Taken};
pub use fields::Heads;
pub use lists::{Fields, Gone};
pub use streams::RESETS_UNEARNED_MAX;
