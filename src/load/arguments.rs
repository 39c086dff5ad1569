//! The command line of `braid-load`, and what follows from it.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use futures_lite::future::block_on;

use super::affinity::Cpus;
use super::find::{Objective, Search};
use super::keys::Distribution;
use super::run::Plan;
use super::source::Verify;
use super::streaming::StreamArguments;
use super::text::{parse_bytes, parse_count, parse_share, parse_time};
use super::wire::Protocol;
use super::workload::{Shape, Workload};
use crate::client::{Client, Options, Transport};
use crate::limits::{CONNECTION_REQUESTS_MAX, CORES_MAX};

/// What the program says of a run to whoever started it.
const EXIT_CODES: &str = "\
Exit codes:
  0  done, and what was measured or verified is good
  1  done, and it is not: requests failed or were never sent (see --allow-errors), changes are lost
  2  not done: the arguments, the server at the start, or a file
  3  nothing was verified (check)";

/// Generates load on Braid or any other server of etcd's API, and measures it.
#[derive(Debug, Parser)]
#[command(name = "braid-load", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make requests, closed or open loop, and report latency and throughput
    Run(Box<RunArguments>),
    /// Look for the highest rate at which a service level objective holds
    Find(Box<FindArguments>),
    /// Verify that every change that a run has logged with --acks is there
    Check(CheckArguments),
    /// Answer every request at once without doing anything: what a generator can reach
    Null(NullArguments),
    /// Run a scenario set on Braid and on etcd alternately, or on any two, and compare them
    Compare(CompareArguments),
    /// Say what differs between two results that run or compare have written as JSON
    Diff(DiffArguments),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    /// Servers, separated by commas; clients are spread over those that are there, and go to the
    /// next one when theirs is lost. Without a port it is 2379
    #[arg(long, default_value = "127.0.0.1:2379")]
    pub(super) endpoints: String,
    /// Protocol; without it, frames if every server answers them, otherwise gRPC
    #[arg(long, value_enum)]
    pub(super) protocol: Option<Protocol>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) target: Target,
    /// put, get, get-serializable, range, prefix, sort, delete, delete-prefix, cas, txn,
    /// lease-grant, one-key, `kubernetes[:NODES]`, a mixture like put=1,get=9; or watch,
    /// lease-keep-alive, idle-watchers
    #[arg(long, short, default_value = "put")]
    pub(super) workload: String,
    /// uniform, zipf, zipf:EXPONENT, sequential or single
    #[arg(long, default_value = "uniform")]
    distribution: Distribution,
    /// Number of keys
    #[arg(long, default_value = "100k", value_parser = parse_count)]
    keyspace: u64,
    /// Prefix of all keys
    #[arg(long, default_value = "load/")]
    prefix: String,
    /// Bytes of a key, the prefix included
    #[arg(long, default_value = "16", value_parser = parse_bytes)]
    key_size: usize,
    /// Bytes of a value
    #[arg(long, default_value = "256", value_parser = parse_bytes)]
    value_size: usize,
    /// Keys that a range asks for at most; 0 is all
    #[arg(long, default_value = "100", value_parser = parse_count)]
    limit: u64,
    /// Keys of a txn
    #[arg(long, default_value = "4", value_parser = parse_count)]
    txn_keys: u64,
    /// Digits of a key that the workload `prefix` leaves open
    #[arg(long, default_value_t = 2)]
    prefix_digits: usize,
    #[command(flatten)]
    pub(super) streaming: StreamArguments,
    /// Clients; a client of frames has one socket per core of the server
    #[arg(long, short, default_value_t = 1)]
    connections: usize,
    /// Requests that a client has under way at most
    #[arg(long, short, default_value_t = 64)]
    pub(super) outstanding: u32,
    /// Requests per second of all clients together: an open loop
    #[arg(long)]
    pub(super) rate: Option<f64>,
    /// As fast as answers come, even of a workload that has a rate of its own (kubernetes)
    #[arg(long, conflicts_with_all = ["rate", "sweep_rate"])]
    closed_loop: bool,
    /// Random gaps between the requests of an open loop, as independent users make them
    #[arg(long, requires = "rate")]
    poisson: bool,
    /// Time that is not counted at the beginning
    #[arg(long, default_value = "1s", value_parser = parse_time)]
    warm_up: Duration,
    /// Time that is counted
    #[arg(long, short, default_value = "10s", value_parser = parse_time)]
    duration: Duration,
    /// Time to wait for the last answers
    #[arg(long, default_value = "10s", value_parser = parse_time)]
    drain: Duration,
    /// Length of the intervals in the live line, the log and the plots
    #[arg(long, default_value = "1s", value_parser = parse_time)]
    interval: Duration,
    /// Ends after so many requests instead, without warm-up
    #[arg(long, value_parser = parse_count, conflicts_with = "duration")]
    pub(super) requests: Option<u64>,
    /// Put every key once before the run: reads need something to find
    #[arg(long)]
    pub(super) preload: bool,
    /// Threads of the generator
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Processors for the threads, like 0,2; without, the system chooses
    #[arg(long)]
    cpus: Option<String>,
    /// Seed; the same seed makes the same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which values that are read are compared with what was put: one in 64 answers, all, or none
    #[arg(long, value_enum, default_value_t = Verified::Sample)]
    verify: Verified,
    /// Repeat the run with each of these numbers outstanding, like 1,4,16,64
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["sweep_rate", "rate", "acks"])]
    pub(super) sweep_outstanding: Vec<u32>,
    /// Repeat the run with each of these rates, like 1000,2000,4000
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["rate", "acks"])]
    pub(super) sweep_rate: Vec<f64>,
    /// Share of the requests that may fail or not be sent, like 0.1%, in a run that is good
    #[arg(long, default_value = "0", value_parser = parse_share)]
    pub(super) allow_errors: f64,
    /// Log every acknowledged change to this file, for `braid-load check`
    #[arg(long)]
    acks: Option<PathBuf>,
    /// Name of the run in the reports
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Write the results as JSON
    #[arg(long)]
    pub(super) json: Option<PathBuf>,
    /// Write the results as one page that needs no network
    #[arg(long)]
    pub(super) html: Option<PathBuf>,
    /// Write every interval as an HdrHistogram log
    #[arg(long)]
    pub(super) hdr_log: Option<PathBuf>,
    /// No live line and no table
    #[arg(long)]
    pub(super) quiet: bool,
}

/// How many of the values that are read are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Verified {
    /// Those of one answer in 64
    Sample,
    /// Those of every answer; a value that braid-load cannot have put is an error
    All,
    None,
}

/// Answers from one that is verified to the next.
const SAMPLE_EVERY: u32 = 64;

impl Verified {
    /// Where the run itself has put every key, a value of somebody else is wrong.
    fn of(self, is_preloaded: bool) -> Verify {
        let every = match self {
            Verified::Sample => SAMPLE_EVERY,
            Verified::All => 1,
            Verified::None => 0,
        };
        Verify { every, strict: is_preloaded || self == Verified::All }
    }
}

#[derive(Args, Clone, Debug)]
pub(super) struct FindArguments {
    #[command(flatten)]
    pub(super) run: RunArguments,
    /// What must hold, all of it: mean, p50, p90, p99, p99.9, p99.99 or max below a time, errors
    /// below a share
    #[arg(long, default_value = "p99<10ms,errors<0.1%")]
    pub(super) slo: Objective,
    /// The rate that is tried first
    #[arg(long, default_value = "1k", value_parser = parse_count)]
    from: u64,
    /// The highest rate that is tried
    #[arg(long, default_value = "10M", value_parser = parse_count)]
    most: u64,
    /// How near the rates above and below the answer get to one another
    #[arg(long, default_value = "5%", value_parser = parse_share)]
    precision: f64,
    /// How many times it is looked for
    #[arg(long, default_value_t = 3)]
    repetitions: u32,
}

/// Requests under way of a search: only the server may be what ends it.
const FIND_OUTSTANDING: u32 = 1024;

impl FindArguments {
    /// How to look for it, and the run that every rate is tried with.
    pub(super) fn plan(&self) -> Result<(Search, Plan), String> {
        let run = &self.run;
        let sets_rate = run.rate.is_some() || !run.sweep_rate.is_empty();
        if sets_rate || !run.sweep_outstanding.is_empty() || run.requests.is_some() {
            return Err(
                "find chooses the rates itself: no --rate, --requests or --sweep".to_owned()
            );
        }
        if run.acks.is_some() || run.hdr_log.is_some() {
            return Err("find makes many runs: no --acks and no --hdr-log".to_owned());
        }
        check_between("--from", self.from, self.most)?;
        check_between("--most", self.most, 100_000_000)?;
        if self.precision < 0.001 {
            return Err("--precision is at least 0.1%".to_owned());
        }
        let search = Search {
            from: self.from as f64,
            most: self.most as f64,
            precision: self.precision,
            repetitions: self.repetitions,
        };
        let plan = run.plan()?;
        let outstanding = plan.outstanding.max(FIND_OUTSTANDING);
        Ok((search, Plan { outstanding, poisson: true, ..plan }))
    }
}

#[derive(Args, Clone, Debug)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) target: Target,
    /// The log that a run wrote; logs of further threads are found beside it
    #[arg(long)]
    pub(super) acks: PathBuf,
    /// Requests under way
    #[arg(long, short, default_value_t = 256)]
    pub(super) outstanding: u32,
}

#[derive(Args, Clone, Debug)]
pub(super) struct NullArguments {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:2399")]
    pub(super) listen: SocketAddr,
    /// Processor to run on
    #[arg(long)]
    pub(super) cpus: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct DiffArguments {
    /// The results that the others are compared with
    pub(super) a: PathBuf,
    /// The results that are compared with them
    pub(super) b: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub(super) struct CompareArguments {
    /// The scenario set: short, full, living, heavy, or a file
    #[arg(long, default_value = "short")]
    pub(super) scenarios: String,
    /// The Braid to measure; without, the one beside this program
    #[arg(long)]
    pub(super) braid: Option<PathBuf>,
    /// The etcd to measure; without, the one on PATH
    #[arg(long)]
    pub(super) etcd: Option<PathBuf>,
    /// Instead of Braid and etcd: the program that the other one is compared with
    #[arg(long, requires = "b", conflicts_with_all = ["braid", "etcd", "aa"])]
    pub(super) a: Option<PathBuf>,
    /// The program that is compared with it; either is a Braid or an etcd
    #[arg(long, requires = "a")]
    pub(super) b: Option<PathBuf>,
    /// Braid against itself: what the comparison finds is noise
    #[arg(long, conflicts_with = "etcd")]
    pub(super) aa: bool,
    /// What Braid is spoken to in with --a and --b or --aa; without, frames
    #[arg(long, value_enum)]
    pub(super) protocol: Option<Protocol>,
    /// Interleaved repetitions; without, what the set says
    #[arg(long)]
    pub(super) repetitions: Option<u32>,
    /// Only scenarios whose name contains this
    #[arg(long)]
    pub(super) only: Option<String>,
    /// Directory for data directories; its disk is the one that is measured
    #[arg(long, default_value = "target/perf")]
    pub(super) scratch: PathBuf,
    /// Directory for results
    #[arg(long, default_value = "perf/results")]
    pub(super) results: PathBuf,
}

/// Of a server that is named without one; etcd's.
const DEFAULT_PORT: u16 = 2379;
/// How long an address of a name may take to answer.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);

impl Target {
    /// The protocol of a run: the one that was asked for, or frames if every server answers them.
    /// A run over several servers is all in one protocol. A server that cannot be reached is an
    /// error.
    pub(super) fn protocol(&self) -> Result<Protocol, String> {
        if let Some(protocol) = self.protocol {
            return Ok(protocol);
        }
        let mut last = None;
        let mut spoken = None;
        for address in self.addresses()? {
            let asked = Client::lazy(Options::endpoints([address.to_string()]))
                .and_then(|client| block_on(client.transport()));
            match asked {
                Ok(Transport::Grpc) => {
                    eprintln!("braid-load: {address} answers no frames: this speaks gRPC");
                    return Ok(Protocol::Grpc);
                }
                Ok(_) => spoken = Some(Protocol::Frames),
                // Another one may be there; who is not shows in the results.
                Err(error) => last = Some(error.to_string()),
            }
        }
        spoken.ok_or_else(|| last.unwrap_or_else(|| "no endpoint is given".to_owned()))
    }

    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let mut addresses = Vec::new();
        for text in self.endpoints.split(',') {
            let text = text.trim();
            if text.starts_with("https://") {
                return Err(format!("endpoint {text:?}: TLS is not there yet"));
            }
            let plain = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
            let has_port =
                plain.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let resolved: Result<Vec<SocketAddr>, _> = match has_port {
                true => plain.to_socket_addrs().map(Iterator::collect),
                false => (plain, DEFAULT_PORT).to_socket_addrs().map(Iterator::collect),
            };
            let resolved = resolved.map_err(|error| format!("endpoint {text:?}: {error}"))?;
            // A name like localhost stands for several addresses: the one where somebody listens.
            let listens = |address: &&SocketAddr| {
                resolved.len() == 1 || TcpStream::connect_timeout(address, LOOK_TIMEOUT).is_ok()
            };
            let address = resolved.iter().find(listens).or(resolved.first()).copied();
            addresses.push(address.ok_or_else(|| format!("endpoint {text:?} has no address"))?);
        }
        Ok(addresses)
    }
}

impl RunArguments {
    fn shape(&self) -> Shape {
        Shape {
            prefix: self.prefix.clone(),
            key_bytes: self.key_size,
            value_bytes: self.value_size,
            keyspace: self.keyspace,
            distribution: self.distribution,
            limit: self.limit,
            txn_keys: self.txn_keys,
            prefix_digits: self.prefix_digits,
            streaming: self.streaming.shape(),
        }
    }

    /// The run that the arguments ask for; in frames, if they name no protocol.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        let workload = Arc::new(Workload::parse(&self.workload, &self.shape())?);
        check_between(
            "--outstanding",
            u64::from(self.outstanding),
            CONNECTION_REQUESTS_MAX as u64,
        )?;
        check_between("--connections", self.connections as u64, 1 << 16)?;
        let threads_max = self.connections.min(CORES_MAX);
        check_between("--threads", self.threads as u64, threads_max as u64)?;
        for rate in self.rate.iter().chain(&self.sweep_rate) {
            if !(rate.is_finite() && *rate > 0.0 && *rate <= 1e8) {
                return Err(format!("a rate of {rate}: it is above 0 and at most 100000000"));
            }
        }
        if let Some(streaming) = &workload.streaming {
            streaming.check_run(self.connections, self.outstanding, self.acks.is_some())?;
        }
        if self.acks.is_some() && workload.deletes_unnamed() {
            return Err("--acks cannot be together with delete-prefix: which keys an answer \
                        acknowledges as deleted is not known"
                .to_owned());
        }
        if self.interval < Duration::from_millis(10) || self.duration.is_zero() {
            return Err("--interval is at least 10ms, and --duration above 0".to_owned());
        }
        let has_own_pace = self.closed_loop || !self.sweep_outstanding.is_empty();
        let own_rate = workload.own_rate.filter(|_| !has_own_pace && self.rate.is_none());
        let warm_up = if self.requests.is_some() { Duration::ZERO } else { self.warm_up };
        Ok(Plan {
            protocol: self.target.protocol.unwrap_or(Protocol::Frames),
            endpoints: self.target.addresses()?,
            connections: self.connections,
            outstanding: self.outstanding,
            threads: self.threads,
            cpus: Cpus::parse(self.cpus.as_deref())?,
            rate: self.rate.or(own_rate),
            // Nodes do not know of one another.
            poisson: self.poisson || own_rate.is_some(),
            warm_up,
            duration: self.duration,
            drain: self.drain,
            interval: self.interval,
            requests: self.requests,
            seed: self.seed,
            verify: self.verify.of(self.preload),
            workload,
            acks: self.acks.clone(),
        })
    }
}

fn check_between(name: &str, number: u64, most: u64) -> Result<(), String> {
    match (1..=most).contains(&number) {
        true => Ok(()),
        false => Err(format!("{name} {number}: it is between 1 and {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let all = ["braid-load", "run"].iter().chain(arguments);
        match Arguments::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Command::Run(run) => run.plan(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_run_from_its_arguments() {
        let plan = plan(&[
            "--endpoints=http://127.0.0.1:1, 127.0.0.1:2",
            "--protocol=grpc",
            "-w=put=1,get=3",
            "--keyspace=1M",
            "--value-size=16KiB",
            "--rate=5000",
            "--poisson",
            "-d=5s",
        ]);
        let plan = plan.expect("sound");
        assert_eq!(plan.endpoints.len(), 2);
        assert_eq!((plan.protocol, plan.rate, plan.poisson), (Protocol::Grpc, Some(5000.0), true));
        let family = &plan.workload.families[0];
        assert_eq!((family.keys, family.value_bytes), (1_000_000, 16 << 10));
        let of = |flags: &[&str]| {
            let plan = self::plan(flags).expect("sound");
            (plan.rate.map(|rate| rate.round()), plan.poisson)
        };
        assert_eq!(of(&["-w=kubernetes:1000"]), (Some(501.0), true));
        assert_eq!(of(&["-w=kubernetes:1000", "--rate=7"]), (Some(7.0), false));
        assert_eq!(of(&["-w=kubernetes:1000", "--closed-loop"]), (None, false));
    }

    #[test]
    fn endpoints_need_no_port_and_no_number() {
        let endpoints = |text: &str| plan(&[text]).expect(text).endpoints;
        let local: SocketAddr = "127.0.0.1:2379".parse().expect("an address");
        assert_eq!(endpoints("--endpoints=127.0.0.1"), [local]);
        assert_eq!(endpoints("--endpoints=http://127.0.0.1/"), [local]);
        assert_eq!(endpoints("--endpoints=127.0.0.1:5,127.0.0.1").len(), 2);
        assert_eq!(endpoints("--endpoints=localhost:7")[0].port(), 7);
        assert_eq!(endpoints("--endpoints=localhost")[0].port(), 2379);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        for (arguments, reason) in [
            (&["--outstanding=0"][..], "--outstanding 0"),
            (&["--threads=2"], "--threads 2"),
            (&["--rate=-1"], "rate"),
            (&["--poisson"], "--rate"),
            (&["--endpoints=https://a:1"], "TLS"),
            (&["--endpoints=no host"], "endpoint"),
            (&["--endpoints="], "endpoint"),
            (&["-w=watch", "--watchers=0"], "--watchers"),
            (&["-w=watch", "--value-size=8"], "16 bytes"),
            (&["-w=watch", "--acks=x"], "--acks"),
            (&["-w=put=9,delete-prefix=1", "--acks=x"], "delete-prefix"),
            (&["-w=watch", "--watch-prefixes", "--prefix-digits=12"], "digits"),
            (&["-w=lease-keep-alive", "--leases=10"], "--leases"),
            (&["-w=idle-watchers", "--streams=0"], "--streams"),
            (&["--interval=1ms"], "--interval"),
            (&["--requests=1", "--duration=2s"], "--duration"),
            (&["--keyspace=1M", "--key-size=8"], "cannot hold"),
        ] {
            let error = plan(arguments).expect_err(reason);
            assert!(error.contains(reason), "{arguments:?}: {error}");
        }
    }
}
