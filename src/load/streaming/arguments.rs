//! The part of the command line that is about watchers and leases.

use std::time::Duration;

use clap::Args;

use crate::load::text::{parse_count, parse_time};

#[derive(Args, Clone, Debug)]
pub(in crate::load) struct StreamArguments {
    /// Watchers of the workloads watch and idle-watchers
    #[arg(long, default_value = "100", value_parser = parse_count)]
    pub(in crate::load) watchers: u64,
    /// Clients that watch, besides those that write
    #[arg(long, default_value_t = 1)]
    pub(in crate::load) watch_connections: usize,
    /// Watch or keep-alive streams on every socket
    #[arg(long, default_value_t = 1)]
    pub(in crate::load) streams: usize,
    /// Watch prefixes, which leave --prefix-digits digits of the keys open, instead of keys
    #[arg(long)]
    pub(in crate::load) watch_prefixes: bool,
    /// Leases that are granted before a run of lease-keep-alive
    #[arg(long, default_value = "10k", value_parser = parse_count)]
    pub(in crate::load) leases: u64,
    /// Seconds that a lease is granted for
    #[arg(long, default_value_t = 120)]
    pub(in crate::load) lease_ttl: u64,
    /// Hold so many watchers of other keys during the run, whatever it is
    #[arg(long, default_value = "0", value_parser = parse_count)]
    pub(in crate::load) idle_watchers: u64,
    /// Grant so many leases with a key each, which all end when the measured time has begun
    #[arg(long, default_value = "0", value_parser = parse_count,
          conflicts_with_all = ["sweep_outstanding", "sweep_rate"])]
    pub(in crate::load) expiring_leases: u64,
    /// Time from the first grant until they end
    #[arg(long, default_value = "30s", value_parser = parse_time)]
    pub(in crate::load) expire_after: Duration,
}

/// The numbers that the workloads of this room are made of.
#[derive(Clone, Copy, Debug)]
pub(in crate::load) struct StreamShape {
    pub(in crate::load) watchers: u64,
    pub(in crate::load) watch_connections: usize,
    pub(in crate::load) streams: usize,
    pub(in crate::load) watch_prefixes: bool,
    pub(in crate::load) leases: u64,
    pub(in crate::load) lease_ttl: u64,
}

impl StreamArguments {
    pub(in crate::load) fn shape(&self) -> StreamShape {
        StreamShape {
            watchers: self.watchers,
            watch_connections: self.watch_connections,
            streams: self.streams,
            watch_prefixes: self.watch_prefixes,
            leases: self.leases,
            lease_ttl: self.lease_ttl,
        }
    }
}
