//! The two protocols behind one pair of types.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::endpoint::Endpoint;
use super::method::Method;
use super::options::{Options, Transport};
use super::{Error, frames, grpc};

/// A connection of either protocol; many calls at once.
#[derive(Clone)]
pub(super) struct Connection {
    wire: Wire,
    pulse: Arc<Pulse>,
}

#[derive(Clone)]
enum Wire {
    Grpc(Arc<grpc::Connection>),
    Frames(Arc<frames::Connection>),
}

/// Whether a connection still leads anywhere. One that breaks says so itself; one that is silently
/// cut off shows only by answering nobody.
#[derive(Default)]
struct Pulse {
    answers: AtomicU64,
    given_up: AtomicBool,
}

/// One RPC under way.
pub(super) struct Call {
    wire: WireCall,
    pulse: Arc<Pulse>,
}

enum WireCall {
    Grpc(grpc::Call),
    Frames(frames::Call),
}

/// The part of a call besides its messages. Frames carry none of it with the call: the token is the
/// connection's, and the deadline the client's.
#[derive(Clone, Copy)]
pub(super) struct Header<'a> {
    pub(super) token: Option<&'a str>,
    pub(super) require_leader: bool,
    pub(super) deadline: Option<Instant>,
}

/// Messages that a connection had brought at some moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Answers(u64);

/// The time that a server which may know no frames has for its hello. One that knows them answers
/// at once, and would be served by gRPC as well.
const HELLO_PATIENCE: Duration = Duration::from_secs(1);

/// The purpose for which a connection is opened. Frames carry these in their hello; gRPC needs
/// neither.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Purpose {
    /// The core of the server that should own the connection.
    pub(super) core: Option<u32>,
    pub(super) token: Option<Arc<str>>,
}

impl Connection {
    pub(super) async fn open(
        endpoint: &Arc<Endpoint>,
        options: &Options,
        purpose: &Purpose,
    ) -> Result<Connection, Error> {
        let frames = async |patience| {
            let opened = frames::Connection::open(endpoint, options, purpose, patience).await;
            opened.map(|connection| Wire::Frames(Arc::new(connection)))
        };
        let grpc = async || {
            let opened = grpc::Connection::open(endpoint, options).await;
            opened.map(|connection| Wire::Grpc(Arc::new(connection)))
        };
        let wire = match options.transport {
            Transport::Grpc => grpc().await?,
            Transport::Frames => frames(None).await.map_err(|unopened| unopened.error)?,
            Transport::Auto => match frames(Some(HELLO_PATIENCE)).await {
                Ok(wire) => wire,
                Err(unopened) if unopened.is_foreign => grpc().await?,
                Err(unopened) => return Err(unopened.error),
            },
        };
        Ok(Connection { wire, pulse: Arc::default() })
    }

    /// Returns the protocol that is spoken on it.
    pub(super) fn transport(&self) -> Transport {
        match &self.wire {
            Wire::Grpc(_) => Transport::Grpc,
            Wire::Frames(_) => Transport::Frames,
        }
    }

    /// Whether new calls should still be made on it.
    pub(super) fn is_live(&self) -> bool {
        let wire_is_live = match &self.wire {
            Wire::Grpc(connection) => connection.is_live(),
            Wire::Frames(connection) => connection.is_live(),
        };
        wire_is_live && !self.pulse.given_up.load(Ordering::Relaxed)
    }

    /// Counts the messages that it has brought so far.
    pub(super) fn answers(&self) -> Answers {
        Answers(self.pulse.answers.load(Ordering::Relaxed))
    }

    /// A call has waited in vain since `then`. If nobody else was answered either, new calls go to
    /// a new connection; those under way go on here.
    pub(super) fn suspect(&self, then: Answers) {
        if self.answers() == then {
            self.pulse.given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the core that owns `key`, if the server has said so and it is not this connection's.
    pub(super) fn better_core(&self, key: &[u8]) -> Option<u32> {
        match &self.wire {
            Wire::Grpc(_) => None,
            Wire::Frames(connection) => connection.better_core(key),
        }
    }

    /// Begins a call; waits while the server takes no further one.
    pub(super) async fn open_call(
        &self,
        method: Method,
        header: Header<'_>,
    ) -> Result<Call, Error> {
        let wire = match &self.wire {
            Wire::Grpc(connection) => {
                WireCall::Grpc(connection.open_call(method.rpc.path(), header).await?)
            }
            Wire::Frames(connection) => {
                WireCall::Frames(frames::Call::open(connection, method.rpc).await?)
            }
        };
        Ok(Call { wire, pulse: Arc::clone(&self.pulse) })
    }
}

impl Call {
    pub(super) async fn send(
        &mut self,
        message: &impl prost::Message,
        end: bool,
    ) -> Result<(), Error> {
        match &mut self.wire {
            WireCall::Grpc(call) => call.send(message, end).await,
            WireCall::Frames(call) => call.send(message, end).await,
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        match &mut self.wire {
            WireCall::Grpc(call) => call.finish(),
            WireCall::Frames(call) => call.finish(),
        }
    }

    /// Returns the next message, or `None` at the end. A future dropped before it is ready loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let next = match &mut self.wire {
            WireCall::Grpc(call) => call.next().await,
            WireCall::Frames(call) => call.next().await,
        };
        self.pulse.answers.fetch_add(1, Ordering::Relaxed);
        next
    }
}
