//! The configuration as the rest of the program sees it: values that are checked, in the form in
//! which they are used.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::bootstrap::Initial;
use super::gates::FeatureGates;
use super::level::LogLevel;
use super::url::Url;

/// Everything that was set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    pub listen: Listen,
    /// The peer URLs that other members and clients are given.
    pub advertise_peers: Vec<Url>,
    pub advertise_clients: Vec<Url>,
    /// Read only when there is no data yet.
    pub initial: Initial,
    pub quota: Quota,
    pub bounds: RequestBounds,
    pub keepalive: Keepalive,
    pub http: HttpAccess,
    pub timing: Timing,
    pub log: LogSettings,
    pub gates: FeatureGates,
    pub layout: Layout,
    /// `--metrics=extensive`: times by method.
    pub metrics_extensive: bool,
}

/// The listeners of a member.
#[derive(Clone, Debug)]
pub struct Listen {
    pub peers: Vec<Listener>,
    pub clients: Vec<Listener>,
    pub metrics: Vec<Listener>,
    pub reuse_port: bool,
    pub reuse_address: bool,
}

/// One address to listen on, with the URL it was written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub url: Url,
    pub address: SocketAddr,
}

/// The quota on data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes at which writes are refused; `None` is never.
    pub bytes: Option<u64>,
    /// The value that Status and the metric show: as configured, or the default.
    pub shown: i64,
}

/// Bounds of one client's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBounds {
    pub txn_ops_max: usize,
    pub request_bytes_max: usize,
    pub concurrent_streams_max: u32,
    /// Bytes that all connections may hold together.
    pub connection_memory_bytes: usize,
}

/// Pings on gRPC connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// A client that pings more often is told to calm down and closed.
    pub min_time: Duration,
    /// A client silent for so long is pinged; `None` is never.
    pub interval: Option<Duration>,
    /// And closed when it does not answer for so long; `None` is never.
    pub timeout: Option<Duration>,
}

/// Whether the JSON gateway is on, and the origins and hosts that may use HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAccess {
    pub gateway: bool,
    pub cors: Allowed,
    pub hosts: Allowed,
}

/// A white list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    Any,
    Only(BTreeSet<String>),
}

impl Allowed {
    pub(super) fn of(texts: &[String]) -> Allowed {
        let only: BTreeSet<String> =
            texts.iter().filter(|text| !text.is_empty()).cloned().collect();
        if only.is_empty() || only.contains("*") { Allowed::Any } else { Allowed::Only(only) }
    }

    /// Whether `name` is on the list.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Allowed::Any => true,
            Allowed::Only(names) => names.contains(name),
        }
    }
}

/// Durations of heartbeats, elections and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub heartbeat: Duration,
    pub election: Duration,
    /// The time that a request may take: 5 s and two elections.
    pub request: Duration,
    /// A slower request is logged.
    pub warning_unary: Duration,
    /// Slower applying is logged.
    pub warning_apply: Duration,
    /// Between two notifications of a watcher's progress.
    pub watch_progress: Duration,
}

/// The settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    pub format: LogFormat,
    pub outputs: Vec<LogOutput>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Console,
}

/// A destination of log lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogOutput {
    Stderr,
    Stdout,
    File(PathBuf),
}

/// How the member is laid out over the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Shards of a cluster that is created now. An existing one keeps its own number.
    pub shards: u16,
    /// Whether that number was asked for, and is no default.
    pub shards_asked: bool,
    /// Executors to run; never more than the machine has cores, unless asked for.
    pub cores: u16,
    /// An idle core polls for so long before it parks.
    pub spin: Duration,
}
