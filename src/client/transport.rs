//! The two protocols behind one pair of types.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::endpoint::Endpoint;
use super::method::Method;
use super::options::{Options, Transport};
use super::{Error, frames, grpc};

/// A connection of either protocol; many calls at once.
#[derive(Clone)]
pub(super) enum Connection {
    Grpc(Arc<grpc::Connection>),
    Frames(Arc<frames::Connection>),
}

/// One RPC under way on it.
pub(super) enum Call {
    Grpc(grpc::Call),
    Frames(frames::Call),
}

/// What a connection is opened for. Frames carry these in their hello; gRPC needs neither.
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
        match options.transport {
            Transport::Grpc => {
                let bytes_max = options.answer_bytes_max;
                let opened = grpc::Connection::open(endpoint, options.dial_timeout, bytes_max);
                Ok(Connection::Grpc(Arc::new(opened.await?)))
            }
            Transport::Frames => {
                let opened = frames::Connection::open(endpoint, options, purpose);
                Ok(Connection::Frames(Arc::new(opened.await?)))
            }
        }
    }

    pub(super) fn is_live(&self) -> bool {
        match self {
            Connection::Grpc(connection) => connection.is_live(),
            Connection::Frames(connection) => connection.is_live(),
        }
    }

    /// The core that owns `key`, if the server has said so and it is not this connection's.
    pub(super) fn better_core(&self, key: &[u8]) -> Option<u32> {
        match self {
            Connection::Grpc(_) => None,
            Connection::Frames(connection) => connection.better_core(key),
        }
    }

    /// Begins a call; waits while the server takes no further one.
    pub(super) async fn open_call(
        &self,
        method: Method,
        token: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<Call, Error> {
        match self {
            Connection::Grpc(connection) => {
                let opened = connection.open_call(method.rpc.path(), token, deadline);
                opened.await.map(Call::Grpc)
            }
            Connection::Frames(connection) => {
                frames::Call::open(connection, method.rpc).await.map(Call::Frames)
            }
        }
    }
}

impl Call {
    pub(super) async fn send(
        &mut self,
        message: &impl prost::Message,
        end: bool,
    ) -> Result<(), Error> {
        match self {
            Call::Grpc(call) => call.send(message, end).await,
            Call::Frames(call) => call.send(message, end).await,
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        match self {
            Call::Grpc(call) => call.finish(),
            Call::Frames(call) => call.finish(),
        }
    }

    /// The next message, or `None` at the end. A future dropped before it is ready loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Call::Grpc(call) => call.next().await,
            Call::Frames(call) => call.next().await,
        }
    }
}
