//! One shard: it evaluates requests, logs their changes, and releases the replies when stable.
//!
//! ```text
//!  routers ──ask──▶ inbox ──evaluate──▶ store (pending) ──▶ one entry ──▶ replica (raft, wal)
//!                     ▲                                                        │ committed
//!                     └─ frozen by a round: waits                              ▼
//!  routers ◀─reply── releases ◀── stable ≥ revision ◀── sequencer ◀── lane raises its floor
//! ```
//!
//! Terms: a *release* is a reply that waits for stable. The *tail* is every revision that this log
//! holds above the stable that it knows, with the shards that take part in each. *Known* is the
//! highest stable that the committed log records.
//!
//! Invariants:
//!
//! - Whatever an evaluation saw has a lower revision than what it decides, so the prefix of the
//!   line that outlives an epoch (R6) never has a decision without what it saw.
//! - An entry counts only in the epoch and the term in which it was proposed, so the revisions of
//!   one log strictly increase (R2).
//! - No write is evaluated between a freeze and its thaw (R7), and what a freeze has held back gets
//!   its share before the next one (R10).
//! - A shard that has applied a later `Open` evaluates nothing for an earlier epoch (R9).
//! - Releases leave in the order of their revisions.
//!
//! Takeovers are in `line::takeover`, rounds in `line::coordinator`, merged replies of several
//! shards in `router`, and files in `wal`.

mod account;
mod apply;
mod ask;
mod defragment;
mod delete;
pub mod entry;
mod evaluate;
mod hashes;
mod job;
mod leases;
mod read;
mod reads;
mod recover;
mod round;
mod state;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;

pub use account::{Account, Revisions};
pub use ask::{Ask, ReadPart, ReadPartReply, ShardEffects, ShardReply, Waiting, Write};
pub use leases::LeaseIds;
pub use recover::{RecoveredShard, Recovery, RecoveryError};

use crate::limits::{ENTRY_BYTES_MAX, UNCOMMITTED_BYTES_MAX};
use crate::line::message::{Found, Order, Report, RoundId};
use crate::line::{Lane, Sequencer};
use crate::replica::{Fatal, Replica};
use crate::store::Store;
use crate::teeth::{Rule, leaves_out};
use crate::types::{
    Epoch, GroupId, LogIndex, Nanos, Origin, Refusal, RequestQueue, Revision, ShardId, Spread,
    Tally, Term,
};
use crate::wal::{DiskOutcome, OpId};

use delete::Deleting;
use entry::Stamp;
use job::Jobs;
use reads::Reads;
use state::{ShardState, Tailed};
use watch::Publication;

/// The switches by which a member refuses writes; every shard has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// The NOSPACE alarm is active.
    pub no_space: bool,
    /// The CORRUPT alarm is active.
    pub corrupt: bool,
}

/// Counters for metrics; they only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounters {
    pub evaluated: u64,
    /// Writes of this shard alone, by their kind.
    pub put_requests: Tally,
    pub delete_requests: Tally,
    pub txn_requests: Tally,
    /// Refused at their evaluation, of any kind.
    pub refused: u64,
    pub entries: u64,
    /// Operations in an entry.
    pub operations: Spread<13>,
    /// Rounds in which it took part.
    pub rounds: u64,
    pub puts: u64,
    /// Bytes of their keys and values.
    pub put_bytes: u64,
    pub deletes: u64,
    pub txns: u64,
    pub ranges: u64,
    pub checkpoints: u64,
    pub versions_compacted: u64,
    /// The target of the compaction that was finished last.
    pub compacted_to: i64,
    /// Keys that reads of more than one have visited, and in the turn with most of them.
    pub visits: u64,
    pub turn_visits_max: u64,
    /// Keys that writes compared, deleted or prepared one by one in the turn with most of them.
    pub turn_write_visits_max: u64,
}

/// A replica of one shard, leading or not.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    state: ShardState,
    replica: Replica,
    sequencer: Arc<Sequencer>,
    switches: Switches,
    leases: LeaseIds,
    /// The lane, while the epoch is open and led from here.
    lane: Option<Lane>,
    frozen: Option<Frozen>,
    /// A freeze that waits: for what the last one held back, or until the log has room for what the
    /// round will log.
    stalled: Option<Order>,
    /// The last freeze held something back that has not had its share since the thaw (R10).
    owes: bool,
    /// The highest compaction that is ordered and waits for its place in the log.
    compaction: Option<Revision>,
    /// The leader has ordered it to campaign and to report its leadership.
    gathering: bool,
    leading: bool,
    inbox: RequestQueue<Waiting>,
    releases: VecDeque<Release>,
    reads: Reads,
    deleting: Deleting,
    /// Own entries of changes that are not yet committed.
    proposals: VecDeque<Proposal>,
    proposed_bytes: usize,
    applied: LogIndex,
    /// The index of the last checkpoint that was begun or recovered.
    checkpointed: LogIndex,
    /// Log bytes after which a checkpoint is due.
    checkpoint_log_bytes: u64,
    jobs: Jobs,
    publication: Publication,
    counters: ShardCounters,
}

/// The round that has a shard frozen, and how much room in the log it was promised.
#[derive(Clone, Copy, Debug)]
struct Frozen {
    round: RoundId,
    bytes: usize,
}

#[derive(Debug)]
struct Release {
    revision: Revision,
    origin: Origin,
    reply: ShardReply,
}

#[derive(Debug)]
struct Proposal {
    index: LogIndex,
    term: Term,
    last: Revision,
    bytes: usize,
}

impl Shard {
    /// Its number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The group that replicates it.
    pub fn group(&self) -> GroupId {
        GroupId::of(self.id)
    }

    /// Returns its store.
    pub fn store(&self) -> &Store {
        &self.state.store
    }

    /// Its group's Raft state and log.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The last entry that its store reflects.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Counters for metrics.
    pub fn counters(&self) -> &ShardCounters {
        &self.counters
    }

    /// Whether it evaluates requests.
    pub fn is_serving(&self) -> bool {
        self.lane.is_some()
    }

    /// Whether a round has it frozen.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Writes that wait to be evaluated.
    pub fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Revisions of its log that are not known to be stable.
    pub fn unstable(&self) -> usize {
        self.state.tail.len()
    }

    /// The lowest stable that an answer here waits for, or a checkpoint that somebody waits for.
    pub fn waits_for(&self) -> Option<Revision> {
        let released = self.releases.front().map(|release| release.revision);
        let unstable = self.state.tail.back().filter(|_| self.defragment_wants().is_some());
        let unstable = unstable.map(|tailed| tailed.revision);
        released.into_iter().chain(self.reads.waits_for()).chain(unstable).min()
    }

    /// Keys that its reads visit in a turn at most.
    pub fn turn_visits_bound(&self) -> usize {
        2 * self.reads.slice()
    }

    /// Whether a read, or what a delete has to find, is under way: another turn would get on with
    /// it.
    pub fn is_reading(&self) -> bool {
        self.reads.is_busy() || self.deleting.is_busy()
    }

    /// Alarms changed.
    pub fn switch(&mut self, switches: Switches) {
        self.switches = switches;
    }

    /// Looks at `leases` from now on.
    pub fn follow_leases(&mut self, leases: LeaseIds) {
        self.leases = leases;
    }

    /// Takes what a router asks; the answer may be among the effects already.
    pub fn ask(
        &mut self,
        origin: Origin,
        deadline: Option<Nanos>,
        ask: Ask,
        effects: &mut ShardEffects,
    ) {
        let reply = match ask {
            Ask::Write(write) => return self.write(origin, deadline, write),
            read @ (Ask::Range(_) | Ask::ReadTxn(_) | Ask::Part(_)) => {
                return self.begin_read(origin, read, effects);
            }
            Ask::Hash { at } => match self.begin_hash(origin, at) {
                Ok(()) => return,
                Err(refusal) => ShardReply::Hash(Err(refusal)),
            },
            Ask::Defragment => {
                self.defragment(origin);
                return;
            }
            Ask::LeaseKeys { lease } => return self.begin_lease_keys(origin, lease, effects),
        };
        effects.replies.push((origin, reply));
    }

    /// Takes a write; it is evaluated at the next turn.
    pub fn write(&mut self, origin: Origin, deadline: Option<Nanos>, write: Write) {
        self.inbox.push_back(Waiting { origin, deadline, write });
    }

    /// The client left: its write is dropped unless it has been evaluated, and its read or its hash
    /// ends.
    pub fn cancel(&mut self, origin: Origin) {
        self.jobs.hashes.cancel(origin);
        self.reads.cancel(origin);
        self.deleting.cancel(origin);
        self.inbox.cancel(origin);
    }

    /// Carries out what the leader orders.
    pub fn order(&mut self, order: Order, effects: &mut ShardEffects) {
        match order {
            Order::Campaign => {
                self.gathering = true;
                self.replica.campaign();
            }
            Order::Open { epoch, cut } => self.propose_open(epoch, cut, effects),
            Order::Serve { epoch } => self.serve(epoch),
            Order::Halt => self.halt(),
            Order::Freeze { epoch, .. } if self.serves(epoch) => self.freeze(order, effects),
            Order::Freeze { .. } => {}
            Order::Check { epoch, round, shares, current } => {
                if self.is_in_round(epoch, round) {
                    self.check(epoch, round, &shares, current, effects);
                }
            }
            Order::Execute { epoch, round, shares, reports } => {
                if self.is_in_round(epoch, round) {
                    self.execute(epoch, round, &shares, reports, effects);
                }
            }
            Order::Prepare { epoch, round, compares, path } => {
                if self.serves(epoch) {
                    self.prepare(epoch, round, compares, path);
                }
            }
            Order::Abandon { epoch } => {
                if self.serves(epoch) {
                    self.abandon();
                }
            }
            Order::Thaw { epoch, round } => {
                if self.is_in_round(epoch, round) {
                    self.thaw(effects);
                }
            }
            Order::Compact { revision } => {
                self.compaction = self.compaction.max(Some(revision));
                self.propose_compaction(effects);
            }
        }
    }

    /// One of its disk operations has ended.
    pub fn disk_done(&mut self, id: OpId, outcome: DiskOutcome) -> Result<(), Fatal> {
        self.replica.done(id, outcome)
    }

    /// One turn of the core's loop: evaluates what waits, moves what the replica has, releases
    /// what is stable, and with `work` does a slice of what goes on beside the traffic. Returns
    /// whether such work is left.
    pub fn turn(&mut self, now: Nanos, work: bool, effects: &mut ShardEffects) -> bool {
        self.pump(effects);
        let compacting = self.give_share(now, work, effects);
        if let Some(stalled) = self.stalled.take() {
            self.order(stalled, effects);
        }
        self.pump(effects);
        let more = if work { self.work(effects) || compacting } else { self.has_work() };
        self.settle();
        self.release(effects);
        // Before the write of what it tells can leave.
        let is_committed = self.replica.committed_index() == self.replica.last_index();
        if is_committed || !leaves_out(Rule::TellBefore) {
            self.publish(effects);
        }
        while let Some(operation) = self.replica.poll() {
            effects.disk.push(operation);
        }
        more
    }

    /// Once in a turn of the core: goes on with what takes many keys, a slice of it. Returns
    /// whether that wants another turn.
    pub fn go_on(&mut self, effects: &mut ShardEffects) -> bool {
        let preparing = self.prepare_some(effects);
        let floor = self.reads.floor();
        let reading = self.read_some(effects);
        // A compaction that a read held back goes on now.
        let freed = self.reads.floor() != floor && self.jobs.is_compacting();
        reading || preparing || freed
    }

    /// Hands over answers that stable has reached.
    pub fn release(&mut self, effects: &mut ShardEffects) {
        let stable = self.sequencer.stable();
        while let Some(release) = self.releases.front() {
            if release.revision > stable {
                break;
            }
            let release = self.releases.pop_front().expect("a front");
            effects.replies.push((release.origin, release.reply));
        }
        while self.reads.waits_for().is_some_and(|revision| revision <= stable) {
            effects.replies.append(&mut self.reads.reached(stable));
        }
    }

    fn push_release(&mut self, revision: Revision, origin: Origin, reply: ShardReply) {
        let last = self.releases.back().map_or(Revision::EMPTY, |release| release.revision);
        assert!(revision >= last, "releases leave in order: {revision} after {last}");
        self.releases.push_back(Release { revision, origin, reply });
    }

    fn serves(&self, epoch: Epoch) -> bool {
        self.lane.is_some() && self.state.opened.is_some_and(|(opened, _)| opened == epoch)
    }

    fn is_in_round(&self, epoch: Epoch, round: RoundId) -> bool {
        self.serves(epoch) && self.frozen.is_some_and(|frozen| frozen.round == round)
    }

    fn serve(&mut self, epoch: Epoch) {
        if self.state.opened.is_none_or(|(opened, _)| opened != epoch) || !self.leading {
            return; // R9: a later Open is applied, or the group was lost meanwhile.
        }
        self.lane = Some(Lane::new(&self.sequencer, self.id));
    }

    /// The stamp of an entry proposed now.
    fn stamp(&self, epoch: Epoch) -> Stamp {
        Stamp { epoch, term: self.replica.term(), stable: self.recorded_stable() }
    }

    /// The highest stable that may be recorded: the line's if it is open, else what is known.
    fn recorded_stable(&self) -> Revision {
        if self.lane.is_some() { self.sequencer.stable() } else { self.state.known }
    }

    /// Whether the log takes an ordinary entry. Half of what Raft would take, so that a round finds
    /// room when it comes and need not wait for it.
    fn room_to_propose(&self) -> bool {
        self.proposed_bytes < UNCOMMITTED_BYTES_MAX / 2 && self.replica.can_propose(ENTRY_BYTES_MAX)
    }

    fn halt(&mut self) {
        self.lane = None;
        self.frozen = None;
        self.stalled = None;
        self.owes = false;
        self.compaction = None;
    }

    /// Forgets what is stable: it is whole everywhere.
    fn settle(&mut self) {
        if self.lane.is_some() {
            self.state.known = self.state.known.max(self.sequencer.stable());
        }
        self.state.settle();
    }

    fn report_led(&mut self, effects: &mut ShardEffects) {
        self.gathering = false;
        let above = self.state.tail.iter().filter(|tailed| tailed.revision > self.state.known);
        let found = above
            .map(|tailed| Found { revision: tailed.revision, participants: tailed.participants })
            .collect();
        effects.reports.push(Report::Led { shard: self.id, stable: self.state.known, found });
    }

    /// The group is led elsewhere: what was pending may not survive.
    fn lose(&mut self, effects: &mut ShardEffects) {
        self.halt();
        self.leading = false;
        if let Some(first) = self.proposals.front().map(|proposal| proposal.index) {
            // Entries that others commit after all come back through the log.
            let kept = self.state.tail.iter().take_while(|tailed| tailed.index < first);
            let cut = kept
                .last()
                .map_or(self.state.known, |tailed| tailed.revision.max(self.state.known));
            self.state.store.roll_back(cut);
            self.publication.roll_back(cut);
            self.deleting.roll_back();
            self.state.tail.retain(|tailed| tailed.index < first);
            let lost = self.reads.roll_back(cut);
            effects.replies.extend(lost.into_iter().map(unknown));
        }
        self.proposals.clear();
        self.proposed_bytes = 0;
        effects.reports.push(Report::Lost { shard: self.id });
    }

    /// The epoch is over and another inherits up to `cut`: answers above it are unknown.
    fn fail_releases_above(&mut self, cut: Revision, effects: &mut ShardEffects) {
        while self.releases.back().is_some_and(|release| release.revision > cut) {
            let release = self.releases.pop_back().expect("a back");
            effects.replies.push(unknown(release.origin));
        }
        effects.replies.extend(self.reads.fail_above(cut).into_iter().map(unknown));
    }

    fn work(&mut self, effects: &mut ShardEffects) -> bool {
        let hashing = self.hash_some(effects);
        let defragmenting = self.defragment_some(effects);
        let writing = self.checkpoint_some();
        hashing || defragmenting || writing
    }
}

/// Returns the reply to a write that may or may not have survived its epoch.
fn unknown(origin: Origin) -> (Origin, ShardReply) {
    (origin, ShardReply::Answer(Err(Refusal::LeaderChanged)))
}
