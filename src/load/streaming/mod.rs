//! Workloads that live on streams: watchers and what they are told, leases and what keeps them.
//!
//! ```text
//!  writers ── put(stamp) ──▶ server ── event(stamp) ──▶ watchers
//!     │  ▲                                                 │
//!     │  └────────── delivered to all: the next one ───────┤   (closed loop)
//!     └── due, answered ──▶ Ledger ◀── one event fewer ────┘
//! ```
//!
//! Every put carries a *stamp* (which run, which writer, its how manieth put) in its value, and the
//! [`Ledger`] knows of each stamp when the put was due, when it was answered, and
//! how many watchers have still to hear of it. So a delivery is measured from both, over as many
//! threads as there are; and each watcher is held to the promise: every put of its keys, once, in
//! the order of revisions. What is missing, doubled, out of order or of another key is an error.
//!
//! | workload | rows |
//! |---|---|
//! | `watch` | `delivery` since the put was due; `after the answer` of the put; `to all watchers` of a put; `put` |
//! | `lease-keep-alive` | `keep-alive`, of leases that were granted before |
//! | `idle-watchers` | none: watchers are created and held, the server's memory is read |
//!
//! A target is what watchers of one kind watch: one key, or the keys that share all but their last
//! `--prefix-digits` digits. Watcher `j` of `w` watches target `j mod k`.
//!
//! Any run can have background load from here: `--idle-watchers` on keys that nobody changes, and
//! `--expiring-leases`, all of which end in the measured time.

mod arguments;
mod background;
mod cluster;
mod expiring;
mod idle;
mod keeper;
mod ledger;
mod scrape;
mod turns;
mod unary;
mod watchers;
mod writer;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

pub(super) use self::arguments::{StreamArguments, StreamShape};
pub(super) use self::background::BackgroundLoad;
pub(super) use self::idle::measure_idle;
use self::keeper::Keeper;
use self::ledger::{Ledger, STAMP_BYTES};
use self::watchers::Watching;
use self::writer::Writer;
use super::run::Plan;
use super::session::{Pace, Thread};
use super::values::Values;
use super::wire::{Lost, Wires};
use super::workload::Shape;
use crate::rt::{self, WaitList};

const STREAMS_MAX: u64 = 100_000;
const WATCHERS_MAX: u64 = 100_000_000;
const LEASES_MAX: u64 = 100_000_000;
/// As etcd's.
const LEASE_TTL_MAX: u64 = 9_000_000_000;
/// Clients of one kind; those that write are told apart by 16 bits.
const CONNECTIONS_MAX: u64 = 1 << 16;

fn within(name: &str, number: u64, most: u64) -> Result<(), String> {
    match (1..=most).contains(&number) {
        true => Ok(()),
        false => Err(format!("{name} {number}: it is between 1 and {most}")),
    }
}

/// Numbers about a run that are no latency, by name.
pub(super) type Facts = BTreeMap<String, f64>;

/// Rows of the workload `watch`.
pub(super) const ROW_DELIVERY: u16 = 0;
pub(super) const ROW_AFTER: u16 = 1;
pub(super) const ROW_ALL: u16 = 2;
pub(super) const ROW_PUT: u16 = 3;

/// A workload of this room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamWorkload {
    Watch(WatchPlan),
    KeepAlive { leases: u64, ttl: u64, streams: usize },
    Idle { watchers: u64, connections: usize, streams: usize },
}

impl StreamWorkload {
    /// How the workloads are called.
    pub(super) const NAMES: [&str; 3] = ["watch", "lease-keep-alive", "idle-watchers"];

    /// The workload of that name, if it is one of this room.
    pub(super) fn parse(name: &str, shape: &Shape) -> Result<Option<StreamWorkload>, String> {
        let StreamShape { watchers, watch_connections, streams, leases, lease_ttl, .. } =
            shape.streaming;
        let streaming = match name {
            "watch" => StreamWorkload::Watch(WatchPlan::of(shape)?),
            "lease-keep-alive" => StreamWorkload::KeepAlive { leases, ttl: lease_ttl, streams },
            "idle-watchers" => {
                StreamWorkload::Idle { watchers, connections: watch_connections, streams }
            }
            _ => return Ok(None),
        };
        within("--streams", streams as u64, STREAMS_MAX)?;
        match streaming {
            StreamWorkload::KeepAlive { .. } => {
                within("--leases", leases, LEASES_MAX)?;
                within("--lease-ttl", lease_ttl, LEASE_TTL_MAX)?;
            }
            StreamWorkload::Watch(_) | StreamWorkload::Idle { .. } => {
                within("--watchers", watchers, WATCHERS_MAX)?;
                within("--watch-connections", watch_connections as u64, CONNECTIONS_MAX)?;
            }
        }
        Ok(Some(streaming))
    }

    /// Whether a run can be made like this.
    pub(super) fn check_run(
        &self,
        connections: usize,
        outstanding: u32,
        has_acks: bool,
    ) -> Result<(), String> {
        if has_acks {
            return Err("--acks goes with workloads of requests only".to_owned());
        }
        let at_once = connections as u64 * u64::from(outstanding);
        match self {
            // So that no lease is asked for twice at the same time.
            StreamWorkload::KeepAlive { leases, .. } if *leases < at_once => {
                Err(format!("--leases {leases}: at least as many as requests under way, {at_once}"))
            }
            StreamWorkload::Watch(_) if connections as u64 > CONNECTIONS_MAX => {
                Err(format!("--connections {connections}: at most {CONNECTIONS_MAX} writers"))
            }
            _ => Ok(()),
        }
    }

    /// Names of its rows; the first one stands for the whole.
    pub(super) fn rows(&self) -> &'static [&'static str] {
        match self {
            StreamWorkload::Watch(_) => &["delivery", "after the answer", "to all watchers", "put"],
            StreamWorkload::KeepAlive { .. } => &["keep-alive"],
            StreamWorkload::Idle { .. } => &["event"],
        }
    }
}

/// The distribution of watchers over targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WatchPlan {
    pub(super) watchers: u64,
    /// Clients of watchers, besides those that write.
    pub(super) connections: usize,
    /// Watch streams on each socket of such a client.
    pub(super) streams: usize,
    /// Keys of a target: 1, or a power of ten.
    pub(super) target_keys: u64,
    /// Digits that a watched prefix leaves open; 0 watches keys.
    pub(super) open_digits: usize,
    pub(super) targets: u64,
}

impl WatchPlan {
    fn of(shape: &Shape) -> Result<WatchPlan, String> {
        let StreamShape { watchers, watch_connections, streams, watch_prefixes, .. } =
            shape.streaming;
        if shape.value_bytes < STAMP_BYTES {
            return Err(format!("values of watched keys have at least {STAMP_BYTES} bytes"));
        }
        let open_digits = if watch_prefixes { shape.prefix_digits } else { 0 };
        let digits = shape.key_bytes.saturating_sub(shape.prefix.len());
        if watch_prefixes && !(1..=digits).contains(&open_digits) {
            return Err(format!("--prefix-digits {open_digits}: keys have {digits} digits"));
        }
        let target_keys = 10u64.saturating_pow(open_digits as u32);
        let targets = shape.keyspace.div_ceil(target_keys);
        let connections = watch_connections;
        Ok(WatchPlan { watchers, connections, streams, target_keys, open_digits, targets })
    }

    /// Counts the watchers of this target.
    fn watchers_of(&self, target: u64) -> u32 {
        let rest = u64::from(target < self.watchers % self.targets);
        (self.watchers / self.targets + rest) as u32
    }
}

/// The state that the threads of a run share.
pub(super) struct Shared {
    ledger: Option<Ledger>,
}

impl Shared {
    pub(super) fn new(plan: &Plan) -> Shared {
        let ledger = match plan.workload.streaming {
            Some(StreamWorkload::Watch(watch)) => {
                Some(Ledger::new(watch, plan.connections, plan.seed ^ rt::now().0))
            }
            _ => None,
        };
        Shared { ledger }
    }
}

/// The clients that one thread of a run has connected and prepared.
pub(super) enum StreamClients {
    Watch(Vec<Watching>),
    KeepAlive(Vec<(usize, Keeper)>),
}

impl StreamClients {
    /// Watchers are there, leases are granted; nothing is measured yet. `wires` are the thread's
    /// clients.
    pub(super) async fn prepare(
        plan: &Plan,
        thread: usize,
        streaming: StreamWorkload,
        clients: &mut Vec<(usize, Wires)>,
    ) -> Result<(StreamClients, Facts), Lost> {
        match streaming {
            StreamWorkload::Watch(watch) => {
                let of_thread = (thread..watch.connections).step_by(plan.threads);
                let mut all = Vec::new();
                let mut facts = Facts::new();
                for client in of_thread {
                    let (watching, per_second) =
                        Watching::create_watchers(plan, &watch, client).await?;
                    *facts.entry("watchers".to_owned()).or_default() += watching.count() as f64;
                    // Clients of a thread create one after the other: the mean of their rates.
                    facts
                        .entry("watchers created per second".to_owned())
                        .and_modify(|rate| *rate = (*rate + per_second) / 2.0)
                        .or_insert(per_second);
                    all.push(watching);
                }
                Ok((StreamClients::Watch(all), facts))
            }
            StreamWorkload::KeepAlive { leases, ttl, streams } => {
                let mut all = Vec::new();
                let mut facts = Facts::new();
                for (client, wires) in clients.drain(..) {
                    let share = leases / plan.connections as u64
                        + u64::from((client as u64) < leases % plan.connections as u64);
                    let (keeper, per_second) =
                        Keeper::grant(wires, share, ttl, streams, plan.outstanding).await?;
                    *facts.entry("leases".to_owned()).or_default() += share as f64;
                    facts
                        .entry("leases granted per second".to_owned())
                        .and_modify(|rate| *rate = (*rate + per_second) / 2.0)
                        .or_insert(per_second);
                    all.push((client, keeper));
                }
                Ok((StreamClients::KeepAlive(all), facts))
            }
            StreamWorkload::Idle { .. } => Err(Lost::new("idle watchers are not driven")),
        }
    }

    /// Makes the run on this thread.
    pub(super) async fn serve(
        self,
        (plan, values): (&Plan, &Values),
        shared: &Arc<Shared>,
        thread: &Rc<Thread>,
        clients: Vec<(usize, Wires)>,
        pace: impl Fn(usize) -> Pace,
    ) -> Result<Facts, Lost> {
        match self {
            StreamClients::KeepAlive(keepers) => {
                let tasks: Vec<_> = keepers
                    .into_iter()
                    .map(|(client, keeper)| {
                        rt::spawn(keeper.run(thread.clone(), plan.outstanding, pace(client)))
                    })
                    .collect();
                for task in tasks {
                    task.await;
                }
                Ok(Facts::new())
            }
            StreamClients::Watch(all) => {
                let delivered = Rc::new(WaitList::new());
                let common = || (shared.clone(), thread.clone(), delivered.clone());
                let mut writers = Vec::new();
                for (client, wires) in clients {
                    let writer = Writer::new((plan, values), common(), client);
                    writers.push(rt::spawn(writer.run(wires, pace(client))));
                }
                let watchers: Vec<_> =
                    all.into_iter().map(|one| rt::spawn(one.run(common()))).collect();
                let mut facts = Facts::new();
                for writer in writers {
                    writer.await;
                }
                for watchers in watchers {
                    for (name, value) in watchers.await? {
                        *facts.entry(name).or_default() += value;
                    }
                }
                Ok(facts)
            }
        }
    }
}
