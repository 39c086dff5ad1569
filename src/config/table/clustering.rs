//! Flags that say which cluster the member belongs to.

use super::{Flag, Kind, absent, inert, seconds, served};

const NO_DISCOVERY: &str = "read only with --discovery-endpoints, which is refused";

pub const CLUSTERING: &[Flag] = &[
    served(
        "initial-advertise-peer-urls",
        Kind::Urls("http://localhost:2380"),
        "Where the other members find this one.",
    ),
    served(
        "initial-cluster",
        Kind::Text("default=http://localhost:2380"),
        "The members of a new cluster, as name=url,name=url. One member for now.",
    ),
    served(
        "initial-cluster-state",
        Kind::OneOf(&["new", "existing"]),
        "Whether the cluster is new or exists already; not read when there is data.",
    ),
    served(
        "initial-cluster-token",
        Kind::Text("etcd-cluster"),
        "Sets clusters with the same URLs apart: it goes into the ids.",
    ),
    served(
        "advertise-client-urls",
        Kind::Urls("http://localhost:2379"),
        "Where clients find this member.",
    ),
    absent("discovery-token", Kind::Text(""), "Discovery: the token of the new cluster."),
    absent("discovery-endpoints", Kind::Set(""), "Discovery: where the service is."),
    inert("discovery-dial-timeout", seconds(2), NO_DISCOVERY, "Discovery: time to connect."),
    inert(
        "discovery-request-timeout",
        seconds(5),
        NO_DISCOVERY,
        "Discovery: time for one request.",
    ),
    inert(
        "discovery-keepalive-time",
        seconds(2),
        NO_DISCOVERY,
        "Discovery: time between two pings.",
    ),
    inert(
        "discovery-keepalive-timeout",
        seconds(6),
        NO_DISCOVERY,
        "Discovery: time to answer a ping.",
    ),
    inert(
        "discovery-insecure-transport",
        Kind::Bool(true),
        NO_DISCOVERY,
        "Discovery: whether the connection is in the clear.",
    ),
    inert(
        "discovery-insecure-skip-tls-verify",
        Kind::Bool(false),
        NO_DISCOVERY,
        "Discovery: whether the service's certificate goes unchecked.",
    ),
    absent("discovery-cert", Kind::Text(""), "Discovery: client certificate file."),
    absent("discovery-key", Kind::Text(""), "Discovery: client key file."),
    absent("discovery-cacert", Kind::Text(""), "Discovery: CA file."),
    absent("discovery-user", Kind::Text(""), "Discovery: user, or user:password."),
    absent("discovery-password", Kind::Text(""), "Discovery: password."),
    served(
        "discovery-fallback",
        Kind::OneOf(&["exit", "proxy"]),
        "What to do when discovery fails; only exit is left.",
    ),
    absent("discovery-srv", Kind::Text(""), "Domain whose SRV records name the members."),
    absent("discovery-srv-name", Kind::Text(""), "Suffix of the SRV service name."),
    inert(
        "strict-reconfig-check",
        Kind::Bool(true),
        "membership is fixed at one",
        "Whether a change that would lose the quorum is refused.",
    ),
    inert(
        "pre-vote",
        Kind::Bool(true),
        "a cluster of one asks nobody for votes",
        "Whether a member asks before it campaigns.",
    ),
    absent(
        "auto-compaction-retention",
        Kind::Text("0"),
        "History kept by automatic compaction; 0 turns it off.",
    ),
    inert(
        "auto-compaction-mode",
        Kind::Text("periodic"),
        "read only with --auto-compaction-retention, which is refused",
        "How retention is read: periodic or revision.",
    ),
    inert(
        "v2-deprecation",
        Kind::SomeOf(&["write-only", "write-only-skip-check", "write-only-drop-data", "gone"]),
        "there is no v2 store",
        "How far the v2 store is phased out.",
    ),
];
