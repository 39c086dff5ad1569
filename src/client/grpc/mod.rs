//! gRPC over HTTP/2, as etcd speaks it.
//!
//! One [`Connection`] carries many calls at once; a task on the connection thread moves its bytes.
//! A [`Call`] is one HTTP/2 stream: messages up, headers, messages down, trailers. Dropping it
//! before the end resets the stream, which is gRPC's way to cancel.

mod status;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_executor::Task;
use async_io::Timer;
use bytes::{Bytes, BytesMut};
use futures_lite::FutureExt;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Ping, PingPong, RecvStream, SendStream};
use http::{HeaderValue, Request, Uri};

use super::endpoint::Endpoint;
use super::options::Options;
use super::socket::{Socket, TokioSocket};
use super::transport::Header;
use super::{Error, deadline_in, executor, expiry};
use crate::protocol::grpc::{Encoding, MessageReader, encode_message};
use crate::protocol::status::Status;

/// Bytes that the server may send ahead on one stream, and on all of them together.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// One HTTP/2 connection to one endpoint.
pub(super) struct Connection {
    endpoint: Arc<Endpoint>,
    authority: String,
    requests: SendRequest<Bytes>,
    ended: Arc<AtomicBool>,
    /// The number of calls under way.
    calls: Arc<AtomicUsize>,
    message_bytes_max: usize,
    /// Moves the bytes; dropped with the connection.
    _driver: Task<()>,
}

impl Connection {
    /// Dials and shakes hands within the dial timeout.
    pub(super) async fn open(
        endpoint: &Arc<Endpoint>,
        options: &Options,
    ) -> Result<Connection, Error> {
        let failed = |reason: String| Error::Connect { endpoint: endpoint.text.clone(), reason };
        let deadline = deadline_in(options.dial_timeout);
        let socket = Socket::dial(endpoint, deadline).await?;
        let handshake = async {
            h2::client::Builder::new()
                .initial_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .enable_push(false)
                .handshake::<_, Bytes>(TokioSocket(socket))
                .await
                .map_err(|error| failed(error.to_string()))
        };
        let late = async {
            expiry(deadline).await;
            Err(failed("the HTTP/2 handshake timed out".to_owned()))
        };
        let (requests, mut connection) = handshake.or(late).await?;
        let ended = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(AtomicUsize::new(0));
        let marker = Arc::clone(&ended);
        let pings = connection.ping_pong().expect("nobody has asked for it before");
        let (interval, patience) = (options.ping_interval, options.ping_timeout);
        let watch = look_after(pings, Arc::clone(&calls), interval, patience);
        let driver = executor::spawn(async move {
            // Every call under way is told the reason by its own stream.
            let end = async {
                let _ = connection.await;
            };
            end.or(watch).await;
            marker.store(true, Ordering::Release);
        })
        .map_err(|error| failed(error.to_string()))?;
        Ok(Connection {
            endpoint: Arc::clone(endpoint),
            authority: endpoint.authority(),
            requests,
            ended,
            calls,
            message_bytes_max: options.answer_bytes_max,
            _driver: driver,
        })
    }

    /// Whether new calls can still be made on it.
    pub(super) fn is_live(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// Begins a call; waits while the server allows no further stream.
    pub(super) async fn open_call(
        self: &Arc<Self>,
        path: &'static str,
        header: Header<'_>,
    ) -> Result<Call, Error> {
        let request = self.request_head(path, header)?;
        let unsent = |error: h2::Error| self.lost(&error, false);
        let mut requests = self.requests.clone().ready().await.map_err(unsent)?;
        let (response, upstream) = requests.send_request(request, false).map_err(unsent)?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Call {
            connection: Arc::clone(self),
            upstream,
            response: Some(response),
            downstream: None,
            reader: MessageReader::new(self.message_bytes_max),
            ended: false,
        })
    }

    fn request_head(&self, path: &'static str, header: Header<'_>) -> Result<Request<()>, Error> {
        let invalid = |error: http::Error| {
            Error::Invalid(format!("request to {}: {error}", self.endpoint.text))
        };
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.authority.as_str())
            .path_and_query(path)
            .build()
            .map_err(invalid)?;
        let mut request =
            Request::post(uri).version(http::Version::HTTP_2).body(()).map_err(invalid)?;
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        let agent = concat!("braid/", env!("CARGO_PKG_VERSION"));
        headers.insert("user-agent", HeaderValue::from_static(agent));
        headers.insert("client-api-version", HeaderValue::from_static("3.7"));
        if let Some(token) = header.token {
            let token = HeaderValue::from_str(token)
                .map_err(|_| Error::Invalid("the token is not a header value".to_owned()))?;
            headers.insert("token", token);
        }
        if header.require_leader {
            headers.insert("hasleader", HeaderValue::from_static("true"));
        }
        if let Some(deadline) = header.deadline {
            let left = status::timeout(deadline.saturating_duration_since(Instant::now()));
            let left = HeaderValue::try_from(left).expect("digits and a letter are a header value");
            headers.insert("grpc-timeout", left);
        }
        Ok(request)
    }

    /// Turns an HTTP/2 error into the error of a call. `sent` is what the caller knows; the peer
    /// may say that it has not looked at the request.
    fn lost(&self, error: &h2::Error, sent: bool) -> Error {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        if error.is_io() || error.is_go_away() {
            self.ended.store(true, Ordering::Release);
        }
        Error::Lost {
            endpoint: self.endpoint.text.clone(),
            reason: error.to_string(),
            sent: sent && !refused,
        }
    }

    fn broken(&self, reason: impl Into<String>) -> Error {
        Error::Protocol { endpoint: self.endpoint.text.clone(), reason: reason.into() }
    }
}

/// Servers of gRPC take more frequent pings for an attack, and close the connection.
const PING_INTERVAL_MIN: Duration = Duration::from_secs(10);
const PING_PATIENCE_MIN: Duration = Duration::from_millis(100);

/// Ends when a ping is not answered in time. Without calls nobody waits, and etcd wants no pings.
async fn look_after(
    mut pings: PingPong,
    calls: Arc<AtomicUsize>,
    interval: Option<Duration>,
    patience: Duration,
) {
    let Some(interval) = interval else { return std::future::pending().await };
    loop {
        Timer::after(interval.max(PING_INTERVAL_MIN)).await;
        if calls.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let answered = async { pings.ping(Ping::opaque()).await.is_ok() };
        let late = async {
            Timer::after(patience.max(PING_PATIENCE_MIN)).await;
            false
        };
        if !answered.or(late).await {
            return;
        }
    }
}

/// One call under way.
pub(super) struct Call {
    connection: Arc<Connection>,
    upstream: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    downstream: Option<RecvStream>,
    reader: MessageReader,
    ended: bool,
}

impl Call {
    /// Sends one message, the last one if `end`; waits for the server's window.
    pub(super) async fn send(
        &mut self,
        message: &impl prost::Message,
        end: bool,
    ) -> Result<(), Error> {
        let mut rest = BytesMut::new();
        let written = encode_message(&mut rest, |out| {
            message.encode(out).expect("a BytesMut grows");
        });
        written.map_err(refused)?;
        let mut rest = rest.freeze();
        while !rest.is_empty() {
            self.upstream.reserve_capacity(rest.len());
            if self.upstream.capacity() == 0 {
                match poll_fn(|cx| self.upstream.poll_capacity(cx)).await {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) if error.is_io() => {
                        return Err(self.connection.lost(&error, true));
                    }
                    // The server ended the stream early: its answer says why.
                    Some(Err(_)) | None => return Ok(()),
                }
            }
            let piece = rest.split_to(rest.len().min(self.upstream.capacity()));
            let last = end && rest.is_empty();
            match self.upstream.send_data(piece, last) {
                Ok(()) => {}
                Err(error) if error.is_io() => return Err(self.connection.lost(&error, true)),
                Err(_) => return Ok(()), // As above.
            }
        }
        Ok(())
    }

    /// Says that no further message comes.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        let sent = self.upstream.send_data(Bytes::new(), true);
        sent.map_err(|error| self.connection.lost(&error, true))
    }

    /// Returns the next message of the answer; `None` when it ended well.
    ///
    /// A future that is dropped before it is ready loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.ended {
            return Ok(None);
        }
        let result = self.next_message().await;
        self.ended = !matches!(result, Ok(Some(_)));
        result
    }

    async fn next_message(&mut self) -> Result<Option<Bytes>, Error> {
        let connection = &self.connection;
        let lost = |error| connection.lost(&error, true);
        // Awaited in place: a caller may drop this future and ask again.
        if let Some(response) = &mut self.response {
            let head = response.await;
            self.response = None;
            let (head, downstream) = head.map_err(lost)?.into_parts();
            if let Some(outcome) = status::outcome(&head.headers) {
                return outcome.map(|()| None);
            }
            if head.status != http::StatusCode::OK {
                return Err(status::of_http(head.status, &connection.endpoint.text));
            }
            self.downstream = Some(downstream);
        }
        let Some(downstream) = &mut self.downstream else {
            return Err(connection.broken("reading of the answer was broken off before"));
        };
        loop {
            // No call of ours offers another encoding.
            let message = self.reader.next_message(Encoding::Identity).map_err(refused)?;
            if let Some(message) = message {
                return Ok(Some(message.bytes));
            }
            let Some(piece) = downstream.data().await else { break };
            let piece = piece.map_err(lost)?;
            downstream.flow_control().release_capacity(piece.len()).map_err(lost)?;
            self.reader.push(piece);
        }
        let trailers = downstream.trailers().await.map_err(lost)?;
        match trailers.as_ref().and_then(status::outcome) {
            Some(Ok(())) if self.reader.is_inside_message() => {
                Err(connection.broken("the answer ended inside a message"))
            }
            Some(Ok(())) => Ok(None),
            Some(Err(error)) => Err(error),
            None => Err(connection.broken("the answer ended without a grpc-status")),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.connection.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the error of a message that cannot be sent.
fn refused(status: Status) -> Error {
    Error::Status { code: status.code, message: status.message.into_owned() }
}
