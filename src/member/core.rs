//! One core: its shards, its router and its hub, and on the first core the leader's part.

mod recover;

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::account::GroupAccount;
use super::applied::Applied;
use super::identity::Identity;
use super::leader::{Leader, LeaderEffects};
use super::leases::{LeaseConfig, LeaseCounters};
use super::mail::{Mail, Notice};
use super::shared::Shared;
use super::{Answer, Fatal, MULTI_GET_MAX, PointRead, Service, Visit};
use crate::limits::CORE_REQUESTS_MAX;
use crate::router::{LeaderAsk, Outgoing, Router, RouterEffects, plan};
use crate::shard::{Ask, LeaseIds, Shard, ShardCounters, ShardEffects, Switches};
use crate::store::KeyLookup;
use crate::types::placement::shard_of;
use crate::types::{
    AlarmKind, Cancellable, CoreId, Epoch, GroupId, Member, MemberId, MemberListReply, Nanos, Note,
    Origin, Refusal, Reply, Request, RequestQueue, Revision, ShardId, Ticket, WatchReply,
    WatchRequest, WatchStream,
};
use crate::wal::{DiskOp, DiskOutcome, OpId};
use crate::watch::{Hub, HubCounts, HubEffects, WatchLimits};

/// The settings of a member.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    pub identity: Identity,
    /// Name and URLs, as published to clients.
    pub member: Member,
    /// Heartbeats of Raft's clock in an election timeout.
    pub election_ticks: usize,
    /// Nanoseconds after which a request is answered that it timed out.
    pub request_timeout: u64,
    /// Bytes at which writes are refused; 0 is no quota.
    pub quota: u64,
    /// The quota that Status shows.
    pub quota_shown: i64,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Bytes of records after which a batch of a log takes no more.
    pub batch_bytes_max: usize,
    /// Bytes of a log after which its group takes a checkpoint.
    pub checkpoint_log_bytes: u64,
    /// Keys that the reads of a shard and the merges of a core visit in a turn: see
    /// [`crate::limits::READ_SLICE_KEYS`].
    pub read_slice_keys: usize,
    /// Nanoseconds between two notifications of a watcher's progress.
    pub watch_progress_interval: u64,
    pub watch_limits: WatchLimits,
    pub leases: LeaseConfig,
}

/// The effects of a step of a core.
#[derive(Debug, Default)]
pub struct CoreEffects {
    pub answers: Vec<(Ticket, Answer)>,
    /// Replies on watch streams, in order.
    pub watched: Vec<(WatchStream, WatchReply)>,
    pub mail: Vec<(CoreId, Mail)>,
    pub disk: Vec<(GroupId, OpId, DiskOp)>,
    /// Cores that wait for what stable has reached.
    pub ring: Vec<CoreId>,
}

/// The events that a core without work waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Park {
    /// The lowest stable that some answer here waits for.
    pub lowest: Option<Revision>,
    /// A round has shards frozen: poll instead of parking.
    pub polls: bool,
}

/// One core of a member.
#[derive(Debug)]
pub struct Core {
    id: CoreId,
    pub(super) config: Arc<MemberConfig>,
    pub(super) shared: Arc<Shared>,
    shards: Vec<Shard>,
    leader: Option<Leader>,
    router: Router,
    hub: Hub,
    /// The stable that was read when the mailboxes were last about to be emptied.
    looked: Revision,
    /// The newest epoch that a notice has named.
    epoch: Epoch,
    open: bool,
    /// Requests that wait for an epoch.
    parked: RequestQueue<Parked>,
    switches: Switches,
    leases: LeaseIds,
    pub(super) alarms: Arc<[crate::types::Alarm]>,
    members: Arc<[Member]>,
    /// Mail of this core to itself.
    own: VecDeque<Mail>,
    effects: CoreEffects,
    /// Tickets cancelled since the effects were taken; some may be answered among them.
    cancelled: FxHashSet<Ticket>,
    /// Streams closed since then; the same.
    closed: FxHashSet<WatchStream>,
    to_router: RouterEffects,
    to_shard: ShardEffects,
    to_leader: LeaderEffects,
    to_hub: HubEffects,
    ticks: u64,
    warnings: Vec<String>,
    /// The accounts of its groups' files, until they are taken.
    accounts: Vec<GroupAccount>,
}

#[derive(Debug)]
struct Parked {
    since: Nanos,
    ticket: Ticket,
    request: Request,
    deadline: Option<Nanos>,
}

impl Cancellable for Parked {
    type Id = Ticket;

    fn id(&self) -> Ticket {
        self.ticket
    }
}

/// Rounds of mail to itself in one turn: a request that asks again until something else has
/// happened (a hash while a compaction is on its way) must not keep the core from learning of it.
const OWN_MAIL_ROUNDS_MAX: usize = 32;

/// Ticks between two looks at calls that take too long, and at idle logs.
const EXPIRY_TICKS: u64 = 5;

/// Ticks between two notes that the control group's log writes of its own accord. Every other log,
/// and it too, notes what is durable with what it writes anyway.
const NOTE_TICKS: u64 = 4 * EXPIRY_TICKS;

impl Core {
    /// Its number.
    pub fn id(&self) -> CoreId {
        self.id
    }

    /// Returns warnings about what recovery passed over, each worth a line in the log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Takes the accounts of its groups' files. Before any core begins, `member::account` looks at
    /// all of them together.
    pub fn take_accounts(&mut self) -> Vec<GroupAccount> {
        std::mem::take(&mut self.accounts)
    }

    /// The shards it has.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Begins: the leader's core wins its group.
    pub fn start(&mut self) {
        if let Some(leader) = &mut self.leader {
            leader.start();
        }
    }

    /// Returns the effects of the last steps; the caller empties them.
    pub fn effects(&mut self) -> &mut CoreEffects {
        self.drop_effects_for_nobody();
        &mut self.effects
    }

    /// To be called before all mail that is there is taken: what is stable now may be told to
    /// watchers in the next turn. Every event up to it is in a mailbox of this core or was taken,
    /// for shards post events before the write of what they tell of can end.
    pub fn look(&mut self) {
        let stable = self.shared.sequencer.stable();
        // The core does not know what an epoch has voided before it has the notice of it.
        if self.shared.epoch() == self.epoch {
            self.looked = stable;
        }
    }

    /// Takes mail of another core.
    pub fn receive(&mut self, mail: Mail) {
        match mail {
            Mail::Ask { shard, origin, deadline, ask } => {
                let slot = self.slot(shard).expect("mail for a shard of this core");
                self.shards[slot].ask(origin, deadline, ask, &mut self.to_shard);
                self.take_shard_effects(slot);
            }
            Mail::Cancel { shard, origin } => {
                let slot = self.slot(shard).expect("mail for a shard of this core");
                self.shards[slot].cancel(origin);
            }
            Mail::Order { shard, order } => {
                let slot = self.slot(shard).expect("mail for a shard of this core");
                self.shards[slot].order(order, &mut self.to_shard);
                self.take_shard_effects(slot);
            }
            Mail::Reply { origin, reply } => {
                self.router.take_reply(origin, reply, &mut self.to_router);
                self.take_router_effects();
            }
            Mail::Finished(finished) => {
                self.router.finished(finished, &mut self.to_router);
                self.take_router_effects();
            }
            Mail::Decided { origin, answer } => {
                self.router.decided(origin, answer, &mut self.to_router);
                self.take_router_effects();
            }
            Mail::Watch { shard, core, ask } => {
                let slot = self.slot(shard).expect("mail for a shard of this core");
                self.shards[slot].watch(core, ask, &mut self.to_shard);
                self.take_shard_effects(slot);
            }
            Mail::Watched { shard, message } => {
                self.hub.receive(shard, message, &mut self.to_hub);
                self.take_hub_effects();
            }
            Mail::Notice { number, notice } => {
                self.notice(notice);
                self.send(self.shared.leader_core(), Mail::Noticed { core: self.id, number });
            }
            for_leader => self.receive_for_leader(for_leader),
        }
    }

    fn receive_for_leader(&mut self, mail: Mail) {
        let leader = self.leader.as_mut().expect("mail for the leader goes to its core");
        match mail {
            Mail::Report(report) => leader.report(report, &mut self.to_leader),
            Mail::Leader { origin, deadline, ask } => {
                leader.ask(origin, deadline, ask, &mut self.to_leader);
            }
            Mail::CancelLeader { origin } => leader.cancel(origin),
            Mail::Noticed { core, number } => leader.noticed(core, number, &mut self.to_leader),
            other => unreachable!("{other:?} is not for the leader"),
        }
        self.take_leader_effects();
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Opened { epoch, cut } => {
                self.open = true;
                self.epoch = epoch;
                self.hub.opened(epoch, cut);
                self.router.fail_above(cut, &mut self.to_router);
                self.take_router_effects();
                for parked in self.parked.take_all() {
                    let Parked { since, ticket, request, deadline } = parked;
                    if let Some(answer) = self.submit_open(since, ticket, request, deadline) {
                        self.effects.answers.push((ticket, answer));
                    }
                }
            }
            Notice::Over => self.open = false,
            Notice::Alarms(alarms) => {
                let raised = |kind| alarms.iter().any(|alarm| alarm.kind == kind);
                self.switches = Switches {
                    no_space: raised(AlarmKind::NoSpace),
                    corrupt: raised(AlarmKind::Corrupt),
                };
                self.shards.iter_mut().for_each(|shard| shard.switch(self.switches));
                if self.leader.is_some() {
                    self.shared.set_alarms(&alarms);
                    if self.switches.no_space {
                        self.shared.end_short();
                    }
                }
                self.alarms = alarms;
            }
            Notice::Leases(ids) => self.leases.replace(&ids),
            Notice::LeasesChanged { added, going } => self.leases.change(&added, &going),
            Notice::Members(members) => self.members = members,
            Notice::Ready => self.shared.set_ready(),
        }
    }

    /// A disk operation of one of this core's groups has ended.
    pub fn disk_done(
        &mut self,
        group: GroupId,
        id: OpId,
        outcome: DiskOutcome,
    ) -> Result<(), Fatal> {
        match group.shard() {
            Some(shard) => {
                let slot = self.slot(shard).expect("a group of this core");
                self.shards[slot].disk_done(id, outcome)
            }
            None => {
                let leader =
                    self.leader.as_mut().expect("the control group is on the leader's core");
                leader.control.disk_done(id, outcome)
            }
        }
    }

    /// A heartbeat interval has passed.
    pub fn tick(&mut self, now: Nanos, entropy: u64) {
        if let Some(leader) = &mut self.leader {
            leader.tick(now, entropy);
        }
        self.hub.tick(now, entropy, &mut self.to_hub);
        self.take_hub_effects();
        self.ticks += 1;
        if !self.ticks.is_multiple_of(EXPIRY_TICKS) {
            return;
        }
        self.raise_if_full();
        self.seal_logs(self.ticks.is_multiple_of(NOTE_TICKS), false);
        self.router.expire(now, &mut self.to_router);
        self.take_router_effects();
        let timeout = self.config.request_timeout;
        while self.parked.front().is_some_and(|first| now.0 >= first.since.0 + timeout) {
            let parked = self.parked.pop_front().expect("a front");
            self.effects.answers.push((parked.ticket, Err(Refusal::Timeout)));
        }
    }

    /// A log that cannot grow refuses writes by itself; the alarm says so to everybody, and stands
    /// until it is disarmed, as etcd's does.
    fn raise_if_full(&mut self) {
        let full =
            self.shared.is_short() || self.shards.iter().any(|shard| shard.replica().is_full());
        if full && self.open && !self.switches.no_space {
            // Nobody waits for the answer.
            let origin = Origin { core: self.id, call: u64::MAX, part: 0 };
            let ask = LeaderAsk::OutOfSpace;
            self.send(self.shared.leader_core(), Mail::Leader { origin, deadline: None, ask });
        }
    }

    /// Before a clean stop: marks the last batch of every log as complete, and notes in each what
    /// is durable on the member, so that a start notices if less is left.
    pub fn seal(&mut self) {
        self.seal_logs(true, true);
    }

    /// Marks the last batch of every log that is idle as complete, so that damage to it can be told
    /// from a torn write; tries again what a full disk refused. What is durable is noted with that
    /// or with the next write, and at once where it `insists`.
    fn seal_logs(&mut self, control_insists: bool, shards_insist: bool) {
        let note: Option<Note> = self.open.then(|| self.shared.sequencer.note());
        if let Some(leader) = &mut self.leader {
            leader.control.seal(note.as_ref(), control_insists);
        }
        for shard in &mut self.shards {
            shard.idle(note.as_ref(), shards_insist);
        }
    }

    /// Runs what is waiting, and a slice of what goes on beside it. Returns whether such background
    /// work is left that wants another turn.
    pub fn turn(&mut self, now: Nanos) -> bool {
        self.turn_and(now, true)
    }

    /// Does a turn as [`Core::turn`] does; without `work`, background work is left for a later
    /// turn, so that traffic need not wait for it.
    pub fn turn_and(&mut self, now: Nanos, work: bool) -> bool {
        let mut more = true;
        for _ in 0..OWN_MAIL_ROUNDS_MAX {
            self.read_own_mail();
            more = false;
            for slot in 0..self.shards.len() {
                more |= self.shards[slot].turn(now, work, &mut self.to_shard);
                self.take_shard_effects(slot);
            }
            if let Some(leader) = &mut self.leader {
                more |= leader.turn(now, &mut self.to_leader);
                self.take_leader_effects();
            }
            more |= self.advance_watchers();
            if self.own.is_empty() {
                break;
            }
            more = true;
        }
        // Another shard of this core, or another core, may have raised stable since.
        for slot in 0..self.shards.len() {
            more |= self.shards[slot].go_on(&mut self.to_shard);
            self.shards[slot].release(&mut self.to_shard);
            self.take_shard_effects(slot);
        }
        self.router.release(&mut self.to_router);
        more |= self.router.merge_some(&mut self.to_router);
        self.take_router_effects();
        // Its requests to a shard or the leader here are carried out in the next turn.
        let has_asked = !self.own.is_empty();
        self.read_own_mail();
        self.publish();
        more || has_asked || self.hub.is_stirred()
    }

    fn advance_watchers(&mut self) -> bool {
        if self.shared.cores == 1 {
            self.look(); // All mail is this core's own, and read.
        }
        let more = self.hub.advance(self.looked, &mut self.to_hub);
        self.take_hub_effects();
        more
    }

    /// Whether somebody waits for what another turn would get on with: such turns follow one
    /// another without a pause.
    pub fn is_reading(&self) -> bool {
        self.router.is_merging() || self.shards.iter().any(Shard::is_reading)
    }

    /// Returns what this core waits for when it has nothing to do.
    pub fn park(&self) -> Park {
        let shards = self.shards.iter().filter_map(Shard::waits_for);
        let leader = self.leader.as_ref().and_then(Leader::waits_for);
        let watched = self.hub.waits_for();
        let lowest = shards.chain(self.router.waits_for()).chain(leader).chain(watched).min();
        let frozen = self.shards.iter().any(Shard::is_frozen);
        let polls = frozen || self.leader.as_ref().is_some_and(Leader::is_busy);
        Park { lowest, polls }
    }

    /// Counters of a shard of this core, for metrics.
    pub fn shard_counters(&self) -> impl Iterator<Item = (ShardId, &ShardCounters)> + '_ {
        self.shards.iter().map(|shard| (shard.id(), shard.counters()))
    }

    /// Counts what it has evaluated, for metrics.
    pub fn applied(&self) -> Applied {
        let mut sum = self.leader.as_ref().map(Leader::applied).unwrap_or_default();
        for (_, counters) in self.shard_counters() {
            sum.puts = sum.puts.plus(counters.put_requests);
            sum.deletes = sum.deletes.plus(counters.delete_requests);
            sum.txns = sum.txns.plus(counters.txn_requests);
        }
        sum
    }

    /// The target up to which all of its shards have finished compacting, and whether one of them
    /// has more to do.
    pub fn compaction(&self) -> (i64, bool) {
        let done = self.shard_counters().map(|(_, counters)| counters.compacted_to).min();
        (done.unwrap_or(i64::MAX), self.shards.iter().any(Shard::is_compacting))
    }

    /// Its watchers, for metrics.
    pub fn watch_counts(&self) -> HubCounts {
        self.hub.counts()
    }

    /// Returns the leases' counters, for metrics, on the leader's core.
    pub fn lease_counters(&self) -> Option<LeaseCounters> {
        self.leader.as_ref().map(Leader::lease_counters)
    }

    /// Drops the replies to clients that have left meanwhile, all in one go.
    fn drop_effects_for_nobody(&mut self) {
        let CoreEffects { answers, watched, .. } = &mut self.effects;
        if !self.cancelled.is_empty() {
            answers.retain(|(ticket, _)| !self.cancelled.contains(ticket));
            self.cancelled.clear();
        }
        if !self.closed.is_empty() {
            watched.retain(|(stream, _)| !self.closed.contains(stream));
            self.closed.clear();
        }
    }

    fn read_own_mail(&mut self) {
        while let Some(mail) = self.own.pop_front() {
            self.receive(mail);
        }
    }

    fn publish(&mut self) {
        for shard in &self.shards {
            let replica = shard.replica();
            let (committed, applied) = (replica.committed_index().0, shard.applied().0);
            self.shared.set_group(shard.group(), committed, applied, replica.term().0);
            let size = shard.store().size();
            self.shared.set_size(shard.id(), size.in_use, size.held, size.keys);
        }
    }

    fn slot(&self, shard: ShardId) -> Option<usize> {
        (self.shared.core_of(shard) == self.id).then(|| usize::from(shard.0 / self.shared.cores))
    }

    fn send(&mut self, to: CoreId, mail: Mail) {
        if to == self.id {
            self.own.push_back(mail);
        } else {
            self.effects.mail.push((to, mail));
        }
    }

    fn take_shard_effects(&mut self, slot: usize) {
        let mut effects = std::mem::take(&mut self.to_shard);
        let group = self.shards[slot].group();
        let disk = effects.disk.drain(..).map(|(id, op)| (group, id, op));
        self.effects.disk.extend(disk);
        if let Some(stable) = effects.raised.take() {
            let others = self.shared.waits.raised(stable).filter(|&core| core != self.id);
            self.effects.ring.extend(others);
        }
        for report in effects.reports.drain(..) {
            self.send(self.shared.leader_core(), Mail::Report(report));
        }
        let shard = self.shards[slot].id();
        for (core, message) in effects.watch.drain(..) {
            self.send(core, Mail::Watched { shard, message });
        }
        for (origin, reply) in effects.replies.drain(..) {
            if origin.core == self.id {
                self.router.take_reply(origin, reply, &mut self.to_router);
                self.take_router_effects();
            } else {
                self.effects.mail.push((origin.core, Mail::Reply { origin, reply }));
            }
        }
        self.to_shard = effects;
    }

    fn take_router_effects(&mut self) {
        self.effects.answers.append(&mut self.to_router.answers);
        if self.to_router.outgoing.is_empty() {
            return;
        }
        let mut outgoing = std::mem::take(&mut self.to_router.outgoing);
        for outgoing in outgoing.drain(..) {
            let leader = self.shared.leader_core();
            let (to, mail) = match outgoing {
                // The short way: nothing comes of it before the shard's turn.
                Outgoing::Shard { shard, origin, deadline, ask: Ask::Write(write) }
                    if self.shared.core_of(shard) == self.id =>
                {
                    let slot = self.slot(shard).expect("a shard of this core");
                    self.shards[slot].write(origin, deadline, write);
                    continue;
                }
                Outgoing::Shard { shard, origin, deadline, ask } => {
                    (self.shared.core_of(shard), Mail::Ask { shard, origin, deadline, ask })
                }
                Outgoing::CancelShard { shard, origin } => {
                    (self.shared.core_of(shard), Mail::Cancel { shard, origin })
                }
                Outgoing::Leader { origin, deadline, ask } => {
                    (leader, Mail::Leader { origin, deadline, ask })
                }
                Outgoing::CancelLeader { origin } => (leader, Mail::CancelLeader { origin }),
            };
            self.send(to, mail);
        }
        self.to_router.outgoing = outgoing;
    }

    fn take_hub_effects(&mut self) {
        self.effects.watched.append(&mut self.to_hub.replies);
        for (shard, ask) in std::mem::take(&mut self.to_hub.asks) {
            let core = self.id;
            self.send(self.shared.core_of(shard), Mail::Watch { shard, core, ask });
        }
    }

    fn take_leader_effects(&mut self) {
        let effects = std::mem::take(&mut self.to_leader);
        let disk = effects.disk.into_iter().map(|(id, op)| (GroupId::CONTROL, id, op));
        self.effects.disk.extend(disk);
        for (number, notice) in effects.notices {
            for core in (0..self.shared.cores).map(CoreId) {
                self.send(core, Mail::Notice { number, notice: notice.clone() });
            }
        }
        for (shard, order) in effects.orders {
            self.send(self.shared.core_of(shard), Mail::Order { shard, order });
        }
        for finished in effects.finished {
            self.send(finished.origin.core, Mail::Finished(finished));
        }
        for (origin, answer) in effects.decided {
            self.send(origin.core, Mail::Decided { origin, answer });
        }
    }

    fn submit_open(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        request: Request,
        deadline: Option<Nanos>,
    ) -> Option<Answer> {
        if let Some(answer) = self.answer_now(&request) {
            return Some(answer);
        }
        match &request {
            Request::LeaseKeepAlive { id } => {
                // The short way, too: the leader is here, and has nothing to wait for.
                let leader = self.leader.as_mut();
                if let Some(answer) = leader.and_then(|leader| leader.keep_alive(now, *id)) {
                    return Some(answer);
                }
            }
            Request::Put(_)
            | Request::Txn(_)
            | Request::DeleteRange(_)
            | Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke { .. }
                if self.switches.corrupt && plan::changes(&request) =>
            {
                return Some(Err(Refusal::Corrupt));
            }
            Request::Put(_) | Request::Txn(_) | Request::LeaseGrant(_)
                if self.finds_no_room(&request) =>
            {
                if self.switches.no_space {
                    return Some(Err(Refusal::NoSpace));
                }
                let answer = self.router.out_of_space(now, ticket, &mut self.to_router);
                self.take_router_effects();
                return answer;
            }
            Request::Status => return Some(Ok(self.status())),
            Request::MemberList { .. } => {
                let members = self.members.to_vec();
                return Some(Ok(Reply::MemberList(MemberListReply { members })));
            }
            _ => {}
        }
        let answer = self.router.submit(now, ticket, request, deadline, &mut self.to_router);
        self.take_router_effects();
        answer
    }

    /// etcd's quota: checked when a request comes in. While the alarm stands, nothing that needs
    /// space is taken.
    fn finds_no_room(&self, request: &Request) -> bool {
        let cost = plan::cost(request);
        let refused = self.switches.no_space || self.shared.is_short();
        cost > 0 && (refused || self.exceeds_quota(cost))
    }

    fn exceeds_quota(&self, cost: u64) -> bool {
        self.config.quota > 0 && self.shared.sizes().held + cost >= self.config.quota
    }
}

impl Service for Core {
    fn submit(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        request: Request,
        deadline: Option<Nanos>,
    ) -> Option<Answer> {
        if self.open {
            return self.submit_open(now, ticket, request, deadline);
        }
        if self.parked.len() >= CORE_REQUESTS_MAX {
            return Some(Err(Refusal::TooManyRequests));
        }
        self.parked.push_back(Parked { since: now, ticket, request, deadline });
        None
    }

    fn answer_now(&mut self, request: &Request) -> Option<Answer> {
        let Request::Range(range) = request else { return None };
        let shard = shard_of(range.range.single_key()?, self.shared.shards);
        let slot = self.slot(shard).filter(|_| self.open)?;
        Some(self.shards[slot].range(range))
    }

    fn multi_get(&mut self, wanted: &[PointRead<'_>], visit: &mut Visit<'_>) -> usize {
        if !self.open {
            return 0;
        }
        // Step by step for all of them, so that the memory of one comes while that of others is
        // asked for.
        let mut places = [const { None }; MULTI_GET_MAX];
        let mut found = 0;
        for (place, wanted) in places.iter_mut().zip(wanted) {
            let Some(slot) = self.slot(wanted.shard) else { break };
            *place = Some(self.shards[slot].seek(wanted.key));
            found += 1;
        }
        let places = &mut places[..found];
        places.iter_mut().flatten().for_each(KeyLookup::approach);
        places.iter().flatten().for_each(KeyLookup::prefetch);
        let stable = self.shared.sequencer.stable();
        let mut visited = 0;
        for place in places.iter().flatten() {
            visited += 1;
            if visit(stable, place.look(stable)).is_break() {
                break;
            }
        }
        for wanted in &wanted[..visited] {
            let slot = self.slot(wanted.shard).expect("it was told of");
            self.shards[slot].count_range();
        }
        visited
    }

    fn is_out_of_space(&self) -> bool {
        self.exceeds_quota(plan::PUT_COST)
    }

    fn cancel(&mut self, ticket: Ticket) {
        self.parked.cancel(ticket);
        // A tick or mail may have answered it since the last turn.
        if !self.effects.answers.is_empty() {
            self.cancelled.insert(ticket);
        }
        self.router.cancel(ticket, &mut self.to_router);
        self.take_router_effects();
    }

    fn watch_open(&mut self, now: Nanos) -> WatchStream {
        self.hub.open(now)
    }

    fn watch(&mut self, _: Nanos, stream: WatchStream, request: WatchRequest) -> bool {
        let stable = self.shared.sequencer.stable();
        let has_room = self.hub.ask(stream, request, stable, &mut self.to_hub);
        self.take_hub_effects();
        has_room
    }

    fn watch_has_room(&self, stream: WatchStream) -> bool {
        self.hub.has_room(stream)
    }

    fn watch_sent(&mut self, stream: WatchStream, bytes: usize) {
        self.hub.sent(stream, bytes);
    }

    fn watch_close(&mut self, stream: WatchStream) {
        self.hub.close(stream, &mut self.to_hub);
        self.take_hub_effects();
        // A tick or mail may have told it something since the last turn.
        if !self.effects.watched.is_empty() {
            self.closed.insert(stream);
        }
    }

    fn has_leader(&self) -> bool {
        self.shared.leader() != MemberId(0)
    }
}
