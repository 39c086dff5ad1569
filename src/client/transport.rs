//! The two protocols behind one pair of types.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::endpoint::Endpoint;
use super::method::Method;
use super::options::{Options, Transport};
use super::{Error, grpc};

/// A connection of either protocol; many calls at once.
#[derive(Clone)]
pub(super) enum Connection {
    Grpc(Arc<grpc::Connection>),
}

/// One RPC under way on it.
pub(super) enum Call {
    Grpc(grpc::Call),
}

impl Connection {
    pub(super) async fn open(
        endpoint: &Arc<Endpoint>,
        options: &Options,
    ) -> Result<Connection, Error> {
        match options.transport {
            Transport::Grpc => {
                let bytes_max = options.answer_bytes_max;
                let opened = grpc::Connection::open(endpoint, options.dial_timeout, bytes_max);
                Ok(Connection::Grpc(Arc::new(opened.await?)))
            }
            Transport::Frames => {
                Err(Error::Invalid("frames are not there yet: use gRPC".to_owned()))
            }
        }
    }

    pub(super) fn is_live(&self) -> bool {
        match self {
            Connection::Grpc(connection) => connection.is_live(),
        }
    }

    pub(super) async fn open_call(
        &self,
        method: Method,
        token: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<Call, Error> {
        match self {
            Connection::Grpc(connection) => {
                connection.open_call(method.path, token, deadline).await.map(Call::Grpc)
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
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        match self {
            Call::Grpc(call) => call.finish(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Call::Grpc(call) => call.next().await,
        }
    }
}
