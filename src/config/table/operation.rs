//! Flags of running a member: monitoring, logs, features, and Braid's own.

use super::{Flag, Kind, absent, inert, millis, own, seconds, served};

const NO_TRACING: &str = "read only with --enable-distributed-tracing, which is refused";
const OWN_COMPACTION: &str = "compaction runs in slices that traffic never waits for";

pub const MONITORING: &[Flag] = &[
    absent("enable-pprof", Kind::Bool(false), "Whether profiles are served over HTTP."),
    served(
        "metrics",
        Kind::Text("basic"),
        "Detail of the metrics: basic, or extensive for times by method.",
    ),
    served("listen-metrics-urls", Kind::Urls(""), "Where else /metrics and /health are served."),
];

pub const LOGGING: &[Flag] = &[
    served("logger", Kind::Text("zap"), "The form of log lines; zap is the only one."),
    served(
        "log-outputs",
        Kind::Set("default"),
        "Where lines go: default, stderr, stdout or files.",
    ),
    served("log-level", Kind::Text("info"), "debug, info, warn, error, panic or fatal."),
    served("log-format", Kind::Text("json"), "json or console."),
    absent("enable-log-rotation", Kind::Bool(false), "Whether a log file is rotated."),
    inert(
        "log-rotation-config-json",
        Kind::Text(
            "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \
             \"compress\": false}",
        ),
        "read only with --enable-log-rotation, which is refused",
        "How a log file is rotated.",
    ),
    served(
        "warning-unary-request-duration",
        millis(300),
        "Time after which a request is logged as slow.",
    ),
];

pub const TRACING: &[Flag] = &[
    absent("enable-distributed-tracing", Kind::Bool(false), "Whether traces are sent."),
    inert(
        "distributed-tracing-address",
        Kind::Text("localhost:4317"),
        NO_TRACING,
        "Where traces are sent.",
    ),
    inert(
        "distributed-tracing-service-name",
        Kind::Text("etcd"),
        NO_TRACING,
        "The service that traces name.",
    ),
    inert(
        "distributed-tracing-instance-id",
        Kind::Text(""),
        NO_TRACING,
        "The instance that traces name.",
    ),
    inert(
        "distributed-tracing-sampling-rate",
        Kind::Int(0),
        NO_TRACING,
        "Traces sent of a million.",
    ),
];

pub const FEATURES: &[Flag] = &[
    absent("corrupt-check-time", seconds(0), "Time between two checks of hashes with peers."),
    inert(
        "compact-hash-check-time",
        seconds(60),
        "read only with the gate CompactHashCheck, which is refused",
        "Time between two checks of compaction hashes.",
    ),
    inert(
        "compaction-batch-limit",
        Kind::Int(0),
        OWN_COMPACTION,
        "Revisions that compaction deletes at a time.",
    ),
    inert(
        "compaction-sleep-interval",
        seconds(0),
        OWN_COMPACTION,
        "Time that compaction rests between batches.",
    ),
    served(
        "watch-progress-notify-interval",
        seconds(0),
        "Time between two progress notifications; 0 is 10 minutes.",
    ),
    served("warning-apply-duration", millis(100), "Time after which applying is logged as slow."),
    inert(
        "bootstrap-defrag-threshold-megabytes",
        Kind::Uint(0),
        "a start builds the store without holes",
        "Megabytes that a defragmentation at start must free.",
    ),
    absent("max-learners", Kind::Int(1), "Learners that the cluster may have."),
    inert(
        "downgrade-check-time",
        seconds(5),
        "there is no older version to go back to",
        "Time between two looks at a downgrade.",
    ),
];

pub const UNSAFE: &[Flag] = &[
    absent("force-new-cluster", Kind::Bool(false), "Whether to go on as a cluster of one."),
    absent("unsafe-no-fsync", Kind::Bool(false), "Whether writes are left to the page cache."),
];

pub const CONFIGURATION: &[Flag] = &[
    served(
        "config-file",
        Kind::Text(""),
        "A YAML or JSON file of these names; with it, flags and variables are not read.",
    ),
    served("version", Kind::Bool(false), "Prints the version."),
];

pub const BRAID: &[Flag] = &[
    own(
        "shards",
        Kind::Uint(0),
        "Hash partitions of a new cluster, fixed from then on; 0 is one for each core.",
    ),
    own("cores", Kind::Uint(0), "Cores to run on; 0 is all of them."),
    own(
        "connection-memory-bytes",
        Kind::Uint(0),
        "Bytes that all connections may hold together in requests and unsent answers; 0 is an \
         eighth of the machine's memory, or of the control group's.",
    ),
    own("spin-us", Kind::Uint(0), "Microseconds that an idle core polls before it parks."),
];
