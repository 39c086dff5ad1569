//! Options of a client.

use std::time::Duration;

/// The protocol spoken on a connection; the messages are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Frames with a server that answers them, gRPC with any other. Each connection finds out anew.
    #[default]
    Auto,
    /// Braid's own frames: `proto/FRAMES.md`.
    Frames,
    /// etcd's gRPC, served by etcd and by Braid.
    Grpc,
}

/// How a client reaches its cluster and how long it tries.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tried in turn: the first that answers serves until it fails.
    pub endpoints: Vec<String>,
    pub transport: Transport,
    /// For one connection to one endpoint. `None` waits as long as the request may.
    pub dial_timeout: Option<Duration>,
    /// For one request, connecting and retries included. `None` waits as long as it takes.
    pub request_timeout: Option<Duration>,
    /// Sent with every request, as `Authenticate` returned it.
    pub token: Option<String>,
    /// The number of times that one request is sent at most, counting the first.
    pub attempts_max: u32,
    /// Bytes of one request message at most; a larger one is not sent.
    pub request_bytes_max: usize,
    /// Bytes of one answer message at most.
    pub answer_bytes_max: usize,
    /// A connection with calls under way that has brought nothing for so long is pinged; `None`
    /// never pings. Over gRPC at least ten seconds: servers take more for an attack.
    pub ping_interval: Option<Duration>,
    /// A ping without an answer for so long is the end of the connection.
    pub ping_timeout: Duration,
    /// Frames only: keep one connection per core of the server and send a request on one key to
    /// the core that owns it.
    pub core_connections: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            transport: Transport::Auto,
            dial_timeout: Some(Duration::from_secs(2)),
            request_timeout: Some(Duration::from_secs(5)),
            token: None,
            attempts_max: 100,
            request_bytes_max: 2 << 20,
            answer_bytes_max: i32::MAX as usize,
            ping_interval: Some(Duration::from_secs(10)),
            ping_timeout: Duration::from_secs(6),
            core_connections: true,
        }
    }
}

impl Options {
    /// Returns the defaults with these endpoints.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use braid::client::{Options, Transport};
    ///
    /// let options = Options {
    ///     transport: Transport::Grpc,
    ///     request_timeout: Some(Duration::from_secs(2)),
    ///     ..Options::endpoints(["10.0.0.1:2379", "10.0.0.2:2379"])
    /// };
    /// assert_eq!(options.endpoints.len(), 2);
    /// ```
    pub fn endpoints<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Options {
        Options { endpoints: endpoints.into_iter().map(Into::into).collect(), ..Options::default() }
    }
}
