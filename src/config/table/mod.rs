//! Every flag, with its form, its default and what Braid makes of it.
//!
//! This is the one place that says which of etcd's flags Braid serves:
//!
//! | standing | what setting it does |
//! |---|---|
//! | [`Standing::Served`] | what etcd's does |
//! | [`Standing::Inert`] | nothing: it tunes a part of etcd that Braid does not have, or one that a cluster of one does not use; the reason stands beside it |
//! | [`Standing::Absent`] | the feature is not there yet: any value but the default is refused, by name |
//!
//! An environment variable is the flag's name in capitals behind `ETCD_` (`BRAID_` for our own
//! flags), a key of the configuration file is the name itself.

use crate::gotext::GoDuration;

mod clustering;
mod member;
mod operation;
mod security;

/// The form of a flag's value, with its default.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Uint32(u32),
    Duration(GoDuration),
    Text(&'static str),
    /// One of these; the first is the default.
    OneOf(&'static [&'static str]),
    /// Some of these, none by default.
    SomeOf(&'static [&'static str]),
    /// URLs, comma-separated.
    Urls(&'static str),
    /// URLs, or `*` for any.
    Origins,
    /// Texts, comma-separated, in no order and each once.
    Set(&'static str),
    /// Texts, comma-separated, none by default.
    List,
    /// `Name=bool`, comma-separated.
    Gates,
}

/// The standing of a flag in Braid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Served,
    /// Accepted, without effect; why there is none.
    Inert(&'static str),
    /// Refused unless it has its default.
    Absent,
}

/// The program that a flag's name comes from; it decides the environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Etcd,
    Braid,
}

impl Origin {
    /// Returns the prefix of the flag's environment variable.
    pub fn prefix(self) -> &'static str {
        match self {
            Origin::Etcd => "ETCD_",
            Origin::Braid => "BRAID_",
        }
    }
}

/// One flag of the table.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    pub standing: Standing,
    pub origin: Origin,
    pub help: &'static str,
}

impl Flag {
    /// Go lets these stand alone on the command line.
    pub fn is_bool(&self) -> bool {
        matches!(self.kind, Kind::Bool(_))
    }

    /// Returns the name of the environment variable that sets the flag.
    pub fn variable(&self) -> String {
        variable(self.origin, self.name)
    }
}

/// Returns the name of the variable: `ETCD_LISTEN_CLIENT_URLS` for `--listen-client-urls`.
pub fn variable(origin: Origin, name: &str) -> String {
    format!("{}{}", origin.prefix(), name.to_ascii_uppercase().replace('-', "_"))
}

/// A heading of `--help` with its flags.
pub struct Group {
    pub title: &'static str,
    pub flags: &'static [Flag],
}

/// All flags, grouped and ordered as etcd prints them; ours are last.
pub const GROUPS: &[Group] = &[
    Group { title: "Member", flags: member::MEMBER },
    Group { title: "Clustering", flags: clustering::CLUSTERING },
    Group { title: "Security", flags: security::SECURITY },
    Group { title: "Auth", flags: security::AUTH },
    Group { title: "Profiling and Monitoring", flags: operation::MONITORING },
    Group { title: "Logging", flags: operation::LOGGING },
    Group { title: "Distributed tracing", flags: operation::TRACING },
    Group { title: "Features", flags: operation::FEATURES },
    Group { title: "Unsafe feature", flags: operation::UNSAFE },
    Group { title: "Configuration", flags: operation::CONFIGURATION },
    Group { title: "Braid", flags: operation::BRAID },
];

/// Flags of long gone releases: taken with any value, also none, and forgotten.
pub const LEGACY: &[&str] = &[
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
    "test.coverprofile",
    "test.outputdir",
];

/// Lines that etcd logs when one of these is set.
pub const DEPRECATED: &[(&str, &str)] = &[
    ("max-snapshots", "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8."),
    (
        "v2-deprecation",
        "--v2-deprecation is deprecated and scheduled for removal in v3.8. \
         The default value is enforced, ignoring user input.",
    ),
];

/// Returns every flag but the legacy ones.
pub fn flags() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags)
}

/// Returns the flag of that name.
pub fn flag(name: &str) -> Option<&'static Flag> {
    flags().find(|flag| flag.name == name)
}

const fn served(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, standing: Standing::Served, origin: Origin::Etcd, help }
}

const fn absent(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, standing: Standing::Absent, origin: Origin::Etcd, help }
}

const fn inert(name: &'static str, kind: Kind, why: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, standing: Standing::Inert(why), origin: Origin::Etcd, help }
}

const fn own(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, standing: Standing::Served, origin: Origin::Braid, help }
}

const fn seconds(count: i64) -> Kind {
    Kind::Duration(GoDuration::from_secs(count))
}

const fn millis(count: i64) -> Kind {
    Kind::Duration(GoDuration::from_millis(count))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every name that etcd 3.7.1 registers, less the legacy ones.
    const ETCD_NAMES: &str = "
        data-dir wal-dir listen-peer-urls listen-client-urls listen-client-http-urls
        listen-metrics-urls max-snapshots max-wals name snapshot-count heartbeat-interval
        election-timeout initial-election-tick-advance quota-backend-bytes
        backend-bbolt-freelist-type backend-batch-interval backend-batch-limit max-txn-ops
        max-request-bytes grpc-keepalive-min-time grpc-keepalive-interval grpc-keepalive-timeout
        socket-reuse-port socket-reuse-address max-concurrent-streams raft-read-timeout
        raft-write-timeout initial-advertise-peer-urls advertise-client-urls discovery-endpoints
        discovery-token discovery-dial-timeout discovery-request-timeout discovery-keepalive-time
        discovery-keepalive-timeout discovery-insecure-transport
        discovery-insecure-skip-tls-verify discovery-cert discovery-key discovery-cacert
        discovery-user discovery-password discovery-srv discovery-srv-name initial-cluster
        initial-cluster-token strict-reconfig-check pre-vote cert-file key-file client-cert-file
        client-key-file client-cert-auth client-crl-file client-cert-allowed-hostname
        trusted-ca-file auto-tls peer-cert-file peer-key-file peer-client-cert-file
        peer-client-key-file peer-client-cert-auth peer-trusted-ca-file peer-auto-tls
        self-signed-cert-validity peer-crl-file peer-cert-allowed-cn peer-cert-allowed-hostname
        cipher-suites peer-skip-client-san-verification tls-min-version tls-max-version cors
        host-whitelist logger log-outputs log-level log-format enable-log-rotation
        log-rotation-config-json auto-compaction-retention auto-compaction-mode enable-pprof
        metrics enable-distributed-tracing distributed-tracing-address
        distributed-tracing-service-name distributed-tracing-instance-id
        distributed-tracing-sampling-rate auth-token bcrypt-cost auth-token-ttl
        enable-grpc-gateway corrupt-check-time compact-hash-check-time compaction-batch-limit
        compaction-sleep-interval watch-progress-notify-interval downgrade-check-time
        warning-apply-duration warning-unary-request-duration memory-mlock
        bootstrap-defrag-threshold-megabytes max-learners snapshot-catchup-entries
        unsafe-no-fsync force-new-cluster feature-gates config-file discovery-fallback
        initial-cluster-state v2-deprecation version";

    #[test]
    fn the_table_holds_each_of_etcds_flags_once_and_no_other() {
        let expected: BTreeSet<&str> = ETCD_NAMES.split_whitespace().collect();
        let listed: Vec<&str> =
            flags().filter(|flag| flag.origin == Origin::Etcd).map(|flag| flag.name).collect();
        assert_eq!(listed.len(), expected.len());
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(LEGACY.iter().all(|name| flag(name).is_none()));
    }

    #[test]
    fn our_own_flags_have_our_own_variables() {
        assert_eq!(flag("shards").unwrap().variable(), "BRAID_SHARDS");
        assert_eq!(flag("spin-us").unwrap().variable(), "BRAID_SPIN_US");
        assert_eq!(flag("listen-client-urls").unwrap().variable(), "ETCD_LISTEN_CLIENT_URLS");
    }

    #[test]
    fn every_flag_says_what_it_is_for() {
        for flag in flags() {
            assert!(flag.help.ends_with('.'), "{}: {:?}", flag.name, flag.help);
            if let Standing::Inert(why) = flag.standing {
                assert!(!why.is_empty() && !why.ends_with('.'), "{}: {why:?}", flag.name);
            }
        }
    }
}
