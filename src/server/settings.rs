//! Settings of a member's connections, fixed at the start.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::Budget;
use crate::observe::CoreMetrics;
use crate::protocol::convert::{HeaderFields, RequestLimits};
use crate::types::CoreId;

/// The kind of a listener; by the position of the listener given to the acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Frames, gRPC and HTTP on one port (`--listen-client-urls`).
    Client,
    /// Serves clients without HTTP, where `--listen-client-http-urls` takes that.
    ClientWithoutHttp,
    /// HTTP only (`--listen-client-http-urls`).
    ClientHttp,
    /// `/metrics` and the health checks only (`--listen-metrics-urls`).
    Metrics,
}

/// [`Settings::stall`] of a member that serves. Go's server, which etcd is built on, allows 20 s
/// for what is sent, and five minutes for a head of HTTP/1.
pub const STALL_MAX: Duration = Duration::from_secs(30);

/// Settings of a core's connections; the same on every core.
#[derive(Clone)]
pub struct Settings {
    pub listeners: Vec<ListenerKind>,
    /// Cluster, member and term as answers show them; [`super::Front::set_term`] changes that.
    pub header: HeaderFields,
    pub limits: RequestLimits,
    /// `--max-request-bytes`.
    pub request_bytes_max: usize,
    /// etcd's request timeout, for what a connection asks by itself (health checks).
    pub request_timeout: Duration,
    /// `--election-timeout`: how long there may be no leader is counted in it.
    pub election_timeout: Duration,
    /// The time for which a client may owe the rest of what it has begun, or read nothing of what
    /// it is sent, before its connection ends.
    pub stall: Duration,
    /// `--warning-unary-request-duration`: what takes longer is logged; zero logs nothing.
    pub slow: Duration,
    /// `--max-concurrent-streams`: the limit that clients are sent. 0 and the largest are no limit,
    /// and nothing is sent; `limits::CONNECTION_STREAMS_MAX` holds whatever is set here.
    pub streams_max: u32,
    pub keepalive: Keepalive,
    /// Versions that `/version` and the hello show.
    pub versions: Versions,
    /// Entry `i` is the core of shard `i`.
    pub shard_cores: Vec<CoreId>,
    pub hash_seed: u64,
    /// `--host-whitelist`; empty or `*` is everybody.
    pub hosts: Vec<String>,
    /// `--metrics=extensive`: how long calls take is counted by method.
    pub times_methods: bool,
    /// The counters of this core: connections add requests and their times.
    pub figures: Arc<CoreMetrics>,
    /// The budget of all connections, those of other cores too.
    pub budget: Arc<Budget>,
    /// The body of `/metrics`.
    pub metrics: Rc<dyn Fn() -> String>,
}

/// gRPC's keepalive flags.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// `--grpc-keepalive-min-time`: clients that ping more often are sent away.
    pub ping_interval_min: Duration,
    /// `--grpc-keepalive-interval`: idle clients are pinged; zero is never.
    pub interval: Duration,
    /// `--grpc-keepalive-timeout`: and dropped if nothing comes back; zero is never.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive {
            ping_interval_min: Duration::from_secs(5),
            interval: Duration::from_secs(2 * 60 * 60),
            timeout: Duration::from_secs(20),
        }
    }
}

/// Versions as clients see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Braid's own.
    pub braid: String,
    /// `etcdserver`: of the API that is served, "3.7.1".
    pub server: String,
    /// `etcdcluster`, "3.7.0".
    pub cluster: String,
    /// `storage`, "3.7.0".
    pub storage: String,
}
