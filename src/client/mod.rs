//! The client library. `braidctl`, the load generator and the tests use it.
//!
//! ```text
//!  caller ──▶ Client ──▶ pool: endpoints in turn ──▶ Connection ──▶ Call ──▶ socket
//!   (any      retry       one dial at a time          frames or      one       │
//!  executor)  rules                                   gRPC           RPC       ▼
//!                                                  task on the connection thread
//! ```
//!
//! A [`Client`] is cheap to clone and may be used by any number of tasks and threads at once; they
//! share its connections. It needs no particular executor: connections are driven by a thread of
//! the library, and [`blocking`] is the same client for callers without async.
//!
//! A server is spoken to in frames if it answers them and in gRPC otherwise, unless
//! [`Options::transport`] says which.
//!
//! What it promises:
//!
//! 1. A read is repeated while the cluster is unavailable, over the endpoints in turn, until its
//!    deadline.
//! 2. A write is repeated only if it certainly reached no server. Otherwise its error says so:
//!    [`Error::outcome_unknown`].
//! 3. A connection that answers nobody until a deadline passes is replaced.
//! 4. A call that is dropped is cancelled at the server, if the server still can.
//! 5. A connection that has brought nothing for a while is pinged; one that answers no ping is
//!    replaced, and its streams are told.
//!
//! Built on that: [`watch`] (watchers that outlive their connection), [`lease`] (leases kept
//! alive) and [`concurrency`] (sessions, locks, elections).
//!
//! TLS is not there yet.
//!
//! ```no_run
//! use braid::client::blocking::Client;
//! use braid::client::{Error, Options};
//! use braid::protocol::pb::etcdserverpb as pb;
//!
//! fn main() -> Result<(), Error> {
//!     let client = Client::connect(Options::endpoints(["127.0.0.1:2379"]))?;
//!     let put = pb::PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
//!     client.put(put)?;
//!     let get = pb::RangeRequest { key: "k".into(), ..Default::default() };
//!     assert_eq!(client.range(get)?.kvs[0].value, "v");
//!     Ok(())
//! }
//! ```
//!
//! `examples/` in the repository has more: a txn, a watch from a revision, and a lock.

pub mod blocking;
pub mod concurrency;
mod endpoint;
pub mod error;
mod executor;
mod frames;
mod grpc;
mod kv;
pub mod lease;
#[cfg(test)]
mod lease_tests;
mod method;
mod options;
mod pool;
mod retry;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod transport;
pub mod watch;

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt;

pub use error::Error;
pub use kv::prefix_end;
pub use method::Method;
pub use options::{Options, Transport};
pub use stream::Stream;

use pool::{Pool, Route};
use transport::{Answers, Connection, Header};

/// A connection to a cluster. Clones share everything but the timeout and the token.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
    request_timeout: Option<Duration>,
    token: Option<Arc<str>>,
    require_leader: bool,
}

impl Client {
    /// Returns a client that has reached an endpoint; the first that takes a connection serves.
    pub async fn connect(options: Options) -> Result<Client, Error> {
        let client = Client::lazy(options)?;
        client.pool.route(client.token.as_ref(), None).await?;
        Ok(client)
    }

    /// Returns a client that dials with its first request.
    pub fn lazy(options: Options) -> Result<Client, Error> {
        let request_timeout = options.request_timeout;
        let token = options.token.as_deref().map(Arc::from);
        let pool = Arc::new(Pool::new(options)?);
        Ok(Client { pool, request_timeout, token, require_leader: false })
    }

    /// Returns the client with another timeout for requests.
    pub fn with_timeout(&self, request_timeout: Option<Duration>) -> Client {
        Client { request_timeout, ..self.clone() }
    }

    /// Returns the client with another token.
    pub fn with_token(&self, token: Option<&str>) -> Client {
        Client { token: token.map(Arc::from), ..self.clone() }
    }

    /// Returns a client whose streams a member without a leader refuses and ends, instead of
    /// keeping them open without news. It works over gRPC only: it is a header there, and frames
    /// have none.
    pub fn requiring_leader(&self) -> Client {
        Client { require_leader: true, ..self.clone() }
    }

    /// Returns a client of only this endpoint, with connections of its own, for what is asked of
    /// one member.
    pub fn at(&self, endpoint: &str) -> Result<Client, Error> {
        let options = Options {
            endpoints: vec![endpoint.to_owned()],
            request_timeout: self.request_timeout,
            token: self.token.as_deref().map(str::to_owned),
            ..self.pool.options().clone()
        };
        Client::lazy(options)
    }

    /// Tells which protocol the current endpoint is spoken to in, [`Transport::Frames`] or
    /// [`Transport::Grpc`]; connects first if need be. The errors are those of connecting.
    pub async fn transport(&self) -> Result<Transport, Error> {
        Ok(self.pool.route(self.token.as_ref(), None).await?.connection.transport())
    }

    /// Returns the endpoints as given.
    pub fn endpoints(&self) -> &[String] {
        &self.pool.options().endpoints
    }

    /// Makes any RPC with one request and one answer.
    pub async fn unary<Req, Resp>(
        &self,
        method: impl Into<Method>,
        request: &Req,
    ) -> Result<Resp, Error>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        self.keyed(method.into(), None, request).await
    }

    /// Makes an RPC as [`Client::unary`] does, for a request that is all about one key.
    async fn keyed<Req, Resp>(
        &self,
        method: Method,
        key: Option<&[u8]>,
        request: &Req,
    ) -> Result<Resp, Error>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        self.check_size(request)?;
        let deadline = self.deadline();
        let journal = Mutex::new(Journal::default());
        let late = async {
            expiry(deadline).await;
            let journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((connection, answers)) = &journal.sent {
                connection.suspect(*answers);
            }
            Err(Error::Timeout { last: journal.last.clone(), sent: journal.sent.is_some() })
        };
        let answer = self.attempts(method, key, request, deadline, &journal);
        answer.or(late).await
    }

    /// Makes an RPC with one request and a stream of answers. The request timeout is for the whole.
    pub async fn server_stream<Req, Resp>(
        &self,
        method: impl Into<Method>,
        request: &Req,
    ) -> Result<Stream<Req, Resp>, Error>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        self.check_size(request)?;
        let deadline = self.deadline();
        let opened = async {
            let mut stream = self.opened(method.into(), deadline).await?;
            stream.call.send(request, true).await?;
            Ok(stream)
        };
        opened.or(timeout(deadline)).await
    }

    /// Opens an RPC with streams both ways. The request timeout is for opening it.
    pub async fn open<Req, Resp>(
        &self,
        method: impl Into<Method>,
    ) -> Result<Stream<Req, Resp>, Error>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        let deadline = self.deadline();
        self.opened(method.into(), None).or(timeout(deadline)).await
    }

    async fn opened<Req, Resp>(
        &self,
        method: Method,
        deadline: Option<Instant>,
    ) -> Result<Stream<Req, Resp>, Error> {
        let route = self.pool.route(self.token.as_ref(), None).await?;
        let call = route.connection.open_call(method, self.header(deadline)).await?;
        let pool = Arc::clone(&self.pool);
        Ok(Stream { call, pool, route, deadline, types: PhantomData })
    }

    fn check_size(&self, request: &impl prost::Message) -> Result<(), Error> {
        let (bytes, bytes_max) = (request.encoded_len(), self.pool.options().request_bytes_max);
        if bytes <= bytes_max {
            return Ok(());
        }
        let message = format!("trying to send message larger than max ({bytes} vs. {bytes_max})");
        Err(Error::Status { code: error::code::RESOURCE_EXHAUSTED, message })
    }

    fn header(&self, deadline: Option<Instant>) -> Header<'_> {
        Header { token: self.token.as_deref(), require_leader: self.require_leader, deadline }
    }

    fn deadline(&self) -> Option<Instant> {
        deadline_in(self.request_timeout)
    }

    /// Tries until an answer, a failure that must not be repeated, or too many attempts. While no
    /// connection can be made there is no attempt: only the deadline ends that.
    async fn attempts<Req, Resp>(
        &self,
        method: Method,
        key: Option<&[u8]>,
        request: &Req,
        deadline: Option<Instant>,
        journal: &Mutex<Journal>,
    ) -> Result<Resp, Error>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        let (mut attempts, mut failures) = (0, 0);
        loop {
            let failure = match self.pool.route(self.token.as_ref(), key).await {
                Ok(route) => {
                    attempts += 1;
                    match self.attempt(&route, method, request, deadline, journal).await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => {
                            if error.code() == error::code::UNAVAILABLE {
                                self.pool.give_up_on(&route);
                            }
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            failures += 1;
            let attempts_max = self.pool.options().attempts_max;
            if !retry::allowed(&failure, method.repeatable) || attempts >= attempts_max {
                return Err(failure);
            }
            {
                let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
                *journal = Journal { last: Some(failure.to_string()), sent: None };
            }
            let pause = self.pool.backoff(failures);
            if !pause.is_zero() {
                Timer::after(pause).await;
            }
        }
    }

    async fn attempt<Req, Resp>(
        &self,
        route: &Route,
        method: Method,
        request: &Req,
        deadline: Option<Instant>,
        journal: &Mutex<Journal>,
    ) -> Result<Resp, Error>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        let broken = |reason: String| Error::Protocol {
            endpoint: self.pool.endpoint_of(route).to_owned(),
            reason,
        };
        let mut call = route.connection.open_call(method, self.header(deadline)).await?;
        let sent = (route.connection.clone(), route.connection.answers());
        journal.lock().unwrap_or_else(PoisonError::into_inner).sent = Some(sent);
        call.send(request, true).await?;
        let Some(answer) = call.next().await? else {
            return Err(broken("the answer has no message".to_owned()));
        };
        if call.next().await?.is_some() {
            return Err(broken("the answer has more than one message".to_owned()));
        }
        Resp::decode(answer).map_err(|error| broken(error.to_string()))
    }
}

/// The attempts that a deadline which passes has to report.
#[derive(Default)]
struct Journal {
    /// The last failure.
    last: Option<String>,
    /// The connection that a request is under way on, and what that had brought before.
    sent: Option<(Connection, Answers)>,
}

/// Returns the failure of a call that is still being opened when the deadline passes.
async fn timeout<T>(deadline: Option<Instant>) -> Result<T, Error> {
    expiry(deadline).await;
    Err(Error::Timeout { last: None, sent: false })
}

/// Returns the end of a time limit that begins now.
fn deadline_in(limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| Instant::now().checked_add(limit))
}

/// Waits until the deadline has passed.
async fn expiry(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => Timer::at(deadline).await,
        None => Timer::never().await,
    };
}
