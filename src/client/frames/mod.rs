//! Braid's frames: `proto/FRAMES.md`.
//!
//! ```text
//!  Call ──encode──▶ output ──▶ writer ─┐                 ┌─▶ reader ──▶ exchange ──▶ Call
//!  Call ──encode──▶   "                ├─▶ socket ═══════┤     "     ──▶ exchange ──▶ Call
//!                            one task ─┘                 └─  by stream number
//! ```
//!
//! Any number of calls share a connection. Their frames gather in one output buffer, which the
//! connection's task writes as a whole: what is asked for at the same time leaves in one system
//! call. Answers are handed to their call by stream number.
//!
//! Bounds: requests under way by the server's hello, output by bytes (callers wait), answers that a
//! call has not taken by number (the connection is then not read from; a stream that is read
//! slowly should have a client of its own).

mod exchange;
#[cfg(test)]
pub(super) mod fake;
mod hello;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_executor::Task;
use async_io::Timer;
use async_lock::Semaphore;
use bytes::{Bytes, BytesMut};
use futures_lite::FutureExt;
use futures_lite::future::yield_now;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::endpoint::Endpoint;
use super::error::code;
use super::options::Options;
use super::socket::Socket;
use super::transport::Purpose;
use super::{Error, deadline_in, executor, expiry};
use crate::limits;
use crate::protocol::frame::{CONNECTION_STREAM, Decoder, Flags, Frame, Opcode, decode_error};
use crate::protocol::method::Method as Rpc;
use crate::protocol::pb::braidpb::HelloReply;
use exchange::{Answer, Exchanges};

/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 << 10;

/// Pings are no way to measure: they come this much apart, and have this long, at least.
const PINGS_MIN: Duration = Duration::from_millis(100);

/// One connection to one endpoint.
pub(in crate::client) struct Connection {
    exchanges: Arc<Exchanges>,
    hello: HelloReply,
    /// Requests that may still be opened.
    room: Arc<Semaphore>,
    /// Moves the bytes; dropped with the connection.
    _driver: Task<()>,
}

impl Connection {
    /// Dials and exchanges hellos within the dial timeout; after the dial, within `patience`.
    pub(in crate::client) async fn open(
        endpoint: &Arc<Endpoint>,
        options: &Options,
        purpose: &Purpose,
        patience: Option<Duration>,
    ) -> Result<Connection, Unopened> {
        let failed = |reason: String| Error::Connect { endpoint: endpoint.text.clone(), reason };
        let deadline = deadline_in(options.dial_timeout);
        let dialled = Socket::dial(endpoint, deadline).await;
        let socket = dialled.map_err(|error| Unopened { error, is_foreign: false })?;
        let late = async {
            expiry(deadline).or(expiry(deadline_in(patience))).await;
            let why = "no hello came in time: the server may not speak frames, only gRPC";
            Err(hello::Refusal::Silent(why.to_owned()))
        };
        let mut input = BytesMut::new();
        let greeted = hello::exchange(&socket, &mut input, purpose);
        let hello = greeted.or(late).await.map_err(|refusal| match refusal {
            hello::Refusal::Failed(reason) => Unopened { error: failed(reason), is_foreign: false },
            hello::Refusal::Silent(reason) => Unopened { error: failed(reason), is_foreign: true },
            hello::Refusal::Foreign(reason) => {
                let error = Error::Protocol { endpoint: endpoint.text.clone(), reason };
                Unopened { error, is_foreign: true }
            }
        })?;
        let requests_max = (hello.requests_max as usize).clamp(1, limits::CONNECTION_REQUESTS_MAX);
        let decoder = Decoder::new(options.answer_bytes_max);
        let exchanges = Arc::new(Exchanges::new(endpoint.text.clone()));
        let pings = Pings {
            interval: options.ping_interval.map(|interval| interval.max(PINGS_MIN)),
            timeout: options.ping_timeout.max(PINGS_MIN),
        };
        let driven = drive(socket, decoder, input, Arc::clone(&exchanges), pings);
        let driver = executor::spawn(driven)
            .map_err(|error| Unopened { error: failed(error.to_string()), is_foreign: false })?;
        Ok(Connection {
            exchanges,
            hello,
            room: Arc::new(Semaphore::new(requests_max)),
            _driver: driver,
        })
    }

    /// Whether new calls can still be made on it.
    pub(in crate::client) fn is_live(&self) -> bool {
        self.exchanges.is_live()
    }

    /// Returns the core that owns `key`, if it is another than this connection's.
    pub(in crate::client) fn better_core(&self, key: &[u8]) -> Option<u32> {
        let shards = u64::from(self.hello.shards);
        let hash = xxh3_64_with_seed(key, self.hello.hash_seed);
        let shard = usize::try_from(hash.checked_rem(shards)?).ok()?;
        let core = *self.hello.shard_cores.get(shard)?;
        (core != self.hello.core).then_some(core)
    }
}

/// The reason why there is no connection.
pub(in crate::client) struct Unopened {
    pub(in crate::client) error: Error,
    /// A server is there, and it did not answer as one of frames does: it may speak gRPC.
    pub(in crate::client) is_foreign: bool,
}

/// One stream: an RPC under way.
pub(in crate::client) struct Call {
    connection: Arc<Connection>,
    rpc: Rpc,
    stream: u32,
    /// Whether the server knows of it.
    opened: bool,
    ended: bool,
}

impl Call {
    /// Takes a stream number; waits while the server takes no further request.
    pub(in crate::client) async fn open(
        connection: &Arc<Connection>,
        rpc: Rpc,
    ) -> Result<Call, Error> {
        let permit = connection.room.acquire_arc().await;
        let stream = connection.exchanges.open(permit)?;
        let connection = Arc::clone(connection);
        Ok(Call { connection, rpc, stream, opened: false, ended: false })
    }

    /// Queues one message; waits while too much is queued.
    pub(in crate::client) async fn send(
        &mut self,
        message: &impl prost::Message,
        end: bool,
    ) -> Result<(), Error> {
        let bytes = message.encoded_len();
        let bytes_max = self.connection.hello.payload_bytes_max as usize;
        if bytes > bytes_max {
            let message =
                format!("trying to send message larger than max ({bytes} vs. {bytes_max})");
            return Err(Error::Status { code: code::RESOURCE_EXHAUSTED, message });
        }
        let flags = if end { Flags::END } else { Flags::NONE };
        let opcode = Opcode::Method(self.rpc);
        let exchanges = &self.connection.exchanges;
        let sent = poll_fn(|cx| exchanges.poll_send(cx, self.stream, opcode, flags, message)).await;
        if let Err(Error::Lost { endpoint, reason, .. }) = sent {
            // Earlier messages of this stream may have arrived.
            return Err(Error::Lost { endpoint, reason, sent: self.opened });
        }
        self.opened = true;
        sent
    }

    /// Says that no further message comes.
    pub(in crate::client) fn finish(&mut self) -> Result<(), Error> {
        self.opened = true;
        let flags = Flags::END | Flags::BARE;
        self.connection.exchanges.send_bare(self.stream, Opcode::Method(self.rpc), flags)
    }

    /// Returns the next message of the answer; `None` when it ended well. A future that is dropped
    /// before it is ready loses nothing.
    pub(in crate::client) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.ended {
            return Ok(None);
        }
        let exchanges = &self.connection.exchanges;
        let answer = poll_fn(|cx| exchanges.poll_answer(cx, self.stream)).await;
        match answer {
            Answer::Message(message) => Ok(Some(message)),
            Answer::End => {
                self.ended = true;
                Ok(None)
            }
            Answer::Failed(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let opcode = Opcode::Method(self.rpc);
        self.connection.exchanges.close(self.stream, opcode, self.opened && !self.ended);
    }
}

/// When to look after a connection that brings nothing; without an interval never.
struct Pings {
    interval: Option<Duration>,
    timeout: Duration,
}

/// Reads and writes until the connection ends; then every call under way is told.
async fn drive(
    socket: Socket,
    decoder: Decoder,
    input: BytesMut,
    exchanges: Arc<Exchanges>,
    pings: Pings,
) {
    let received = AtomicU64::new(0);
    let end = read(&socket, decoder, input, &exchanges, &received)
        .or(write(&socket, &exchanges))
        .or(look_after(&exchanges, &received, &pings))
        .await;
    exchanges.end(end);
}

/// Ends when a ping is not answered in time. Anything that arrives is an answer; and as long as
/// the connection is not read, because a call has not taken what it was sent, nothing can.
async fn look_after(exchanges: &Exchanges, received: &AtomicU64, pings: &Pings) -> Error {
    let idle_since =
        |before| received.load(Ordering::Relaxed) == before && exchanges.wants_answers();
    let Some(interval) = pings.interval else { return std::future::pending().await };
    loop {
        let before = received.load(Ordering::Relaxed);
        Timer::after(interval).await;
        if !idle_since(before) {
            continue;
        }
        exchanges.ping();
        Timer::after(pings.timeout).await;
        if idle_since(before) {
            return exchanges.lost("it does not answer a ping".to_owned());
        }
    }
}

async fn write(socket: &Socket, exchanges: &Exchanges) -> Error {
    loop {
        let output = poll_fn(|cx| exchanges.poll_output(cx)).await;
        if let Err(error) = socket.write_all(&output).await {
            return exchanges.lost(error.to_string());
        }
    }
}

async fn read(
    socket: &Socket,
    decoder: Decoder,
    mut input: BytesMut,
    exchanges: &Exchanges,
    received: &AtomicU64,
) -> Error {
    let mut piece = vec![0; READ_BYTES];
    loop {
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => {
                    if let Err(error) = take(frame, exchanges).await {
                        return error;
                    }
                }
                Ok(None) => break,
                Err(fault) => return exchanges.broken(fault.to_string()),
            }
        }
        match socket.read(&mut piece).await {
            Ok(0) => return exchanges.lost("the server closed it".to_owned()),
            Ok(count) => {
                received.fetch_add(1, Ordering::Relaxed);
                input.extend_from_slice(&piece[..count]);
            }
            Err(error) => return exchanges.lost(error.to_string()),
        }
        // A busy server would never let the writer have its turn.
        yield_now().await;
    }
}

/// Hands one frame to whom it concerns; an error ends the connection.
async fn take(frame: Frame, exchanges: &Exchanges) -> Result<(), Error> {
    let header = frame.header;
    if header.stream != CONNECTION_STREAM {
        return poll_fn(|cx| exchanges.poll_deliver(cx, &frame)).await;
    }
    match Opcode::from_u8(header.opcode) {
        Some(Opcode::Ping) if header.flags.contains(Flags::END) => Ok(()),
        Some(Opcode::Ping) => {
            exchanges.answer_ping(&frame.payload);
            Ok(())
        }
        Some(Opcode::Close) => {
            let status = decode_error(frame.payload);
            Err(exchanges.lost(format!("the server closed it: {}", status.message)))
        }
        _ => Err(exchanges.broken(format!("opcode {:#04x} on stream 0", header.opcode))),
    }
}
