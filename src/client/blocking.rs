//! The client for callers without async: the same methods, each waiting for its answer.

use futures_lite::future::block_on;

use super::{Error, Method, Options};
use crate::protocol::pb::etcdserverpb as pb;

/// A [`super::Client`] whose calls block the thread.
#[derive(Clone)]
pub struct Client(super::Client);

impl Client {
    /// Connects as [`super::Client::connect`] does, and blocks until then.
    pub fn connect(options: Options) -> Result<Client, Error> {
        block_on(super::Client::connect(options)).map(Client)
    }

    /// Makes a client as [`super::Client::lazy`] does.
    pub fn lazy(options: Options) -> Result<Client, Error> {
        super::Client::lazy(options).map(Client)
    }

    /// Returns the async client, which shares all connections.
    pub fn inner(&self) -> &super::Client {
        &self.0
    }

    /// Makes one RPC as [`super::Client::unary`] does, and blocks until its answer.
    pub fn unary<Req, Resp>(&self, method: impl Into<Method>, request: &Req) -> Result<Resp, Error>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        block_on(self.0.unary(method, request))
    }

    /// Reads a range of keys.
    pub fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        block_on(self.0.range(request))
    }

    /// Puts one key.
    pub fn put(&self, request: pb::PutRequest) -> Result<pb::PutResponse, Error> {
        block_on(self.0.put(request))
    }

    /// Deletes a range of keys.
    pub fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Error> {
        block_on(self.0.delete_range(request))
    }

    /// Runs a txn.
    pub fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        block_on(self.0.txn(request))
    }

    /// Compacts history below a revision.
    pub fn compact(&self, request: pb::CompactionRequest) -> Result<pb::CompactionResponse, Error> {
        block_on(self.0.compact(request))
    }
}
