//! Flags of the member itself: names, places, sizes.

use super::{Flag, Kind, absent, inert, seconds, served};

const NO_BBOLT: &str = "there is no bbolt backend";
const OWN_LOG: &str = "logs and checkpoints are sized and kept by rules of their own";
const ONE_MEMBER: &str = "a cluster of one has no peers to wait for";

pub const MEMBER: &[Flag] = &[
    served("name", Kind::Text("default"), "What people call this member."),
    served("data-dir", Kind::Text(""), "Where the data lives; ${name}.etcd if not set."),
    absent("wal-dir", Kind::Text(""), "A directory of their own for the logs."),
    inert("snapshot-count", Kind::Uint(10_000), OWN_LOG, "Applied entries between two snapshots."),
    inert(
        "snapshot-catchup-entries",
        Kind::Uint(5_000),
        OWN_LOG,
        "Entries kept for a slow follower.",
    ),
    served("heartbeat-interval", Kind::Uint(100), "Milliseconds between two heartbeats."),
    served(
        "election-timeout",
        Kind::Uint(1_000),
        "Milliseconds without a leader before an election; at least 5 heartbeats.",
    ),
    inert(
        "initial-election-tick-advance",
        Kind::Bool(true),
        "a cluster of one elects itself at once",
        "Whether the first election comes early.",
    ),
    served("listen-peer-urls", Kind::Urls("http://localhost:2380"), "Where other members connect."),
    served(
        "listen-client-urls",
        Kind::Urls("http://localhost:2379"),
        "Where clients connect: frames, gRPC and HTTP on one port.",
    ),
    absent(
        "listen-client-http-urls",
        Kind::Urls(""),
        "Where clients connect for HTTP only; the client URLs then serve none.",
    ),
    inert("max-snapshots", Kind::Uint(5), OWN_LOG, "Snapshot files kept (0 keeps all)."),
    inert("max-wals", Kind::Uint(5), OWN_LOG, "Log files kept (0 keeps all)."),
    absent("memory-mlock", Kind::Bool(false), "Whether memory is locked against swapping."),
    served(
        "quota-backend-bytes",
        Kind::Int(0),
        "Bytes of data at which writes are refused; 0 is 2 GiB, a negative number no limit.",
    ),
    inert(
        "backend-bbolt-freelist-type",
        Kind::Text("map"),
        NO_BBOLT,
        "The free list of bbolt: array or map.",
    ),
    inert(
        "backend-batch-interval",
        seconds(0),
        NO_BBOLT,
        "The longest time between two commits of bbolt.",
    ),
    inert(
        "backend-batch-limit",
        Kind::Int(0),
        NO_BBOLT,
        "The most operations between two commits of bbolt.",
    ),
    served("max-txn-ops", Kind::Uint(128), "Operations that one txn may hold."),
    served(
        "max-request-bytes",
        Kind::Uint(1_572_864),
        "Bytes that one request may have (at most 134217728, which is 128 MiB).",
    ),
    served(
        "max-concurrent-streams",
        Kind::Uint32(u32::MAX),
        "HTTP/2 streams that one client may have open.",
    ),
    served("grpc-keepalive-min-time", seconds(5), "The least time between two pings of a client."),
    served(
        "grpc-keepalive-interval",
        seconds(7_200),
        "Time after which a silent client is pinged (0 for never).",
    ),
    served(
        "grpc-keepalive-timeout",
        seconds(20),
        "Time that a pinged client has to answer (0 for any).",
    ),
    served(
        "socket-reuse-port",
        Kind::Bool(false),
        "Whether another process may listen on the same port.",
    ),
    served(
        "socket-reuse-address",
        Kind::Bool(false),
        "Whether an address in TIME_WAIT may be listened on.",
    ),
    served("enable-grpc-gateway", Kind::Bool(true), "Whether the HTTP/JSON gateway is served."),
    inert("raft-read-timeout", seconds(5), ONE_MEMBER, "Read timeout between members."),
    inert("raft-write-timeout", seconds(5), ONE_MEMBER, "Write timeout between members."),
    served(
        "feature-gates",
        Kind::Gates,
        "Features that are off (or on) by default, as Name=true,Name=false.",
    ),
];
