//! The leader's part: the control group's decisions, the takeover, the rounds.
//!
//! It lives on one core and is the only one that hands out epochs, runs rounds and decides
//! compactions and alarms. Cores learn of them by numbered notices. A decision that every core must
//! know is answered when each core has noticed it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::applied::Applied;
use super::compactions::Compactions;
use super::leases::{LeaseConfig, LeaseCounters, Leases};
use super::mail::Notice;
use super::shared::Shared;
use crate::control::entry::Command;
use crate::control::{Control, ControlEvent};
use crate::limits::ALARMS_MAX;
use crate::line::Sequencer;
use crate::line::coordinator::{Coordinator, Revoked, RoundEffects, RoundLine, RoundRequest};
use crate::line::message::{Finished, Order, Report};
use crate::line::takeover::{Gathered, Stage, Takeover, TakeoverEffect};
use crate::router::{LeaderAsk, compacted};
use crate::types::{
    Alarm, AlarmAction, AlarmKind, AlarmReply, AlarmRequest, Answer, CompactRequest, CoreId,
    GroupId, LeaseId, LogIndex, Member, MemberId, Nanos, Origin, Refusal, Reply, Revision, ShardId,
    ShardSet, Tally,
};
use crate::wal::{DiskOp, OpId};

/// The effects of a step of the leader.
#[derive(Debug, Default)]
pub(super) struct LeaderEffects {
    pub orders: Vec<(ShardId, Order)>,
    pub finished: Vec<Finished>,
    pub decided: Vec<(Origin, Answer)>,
    pub notices: Vec<(u64, Notice)>,
    pub disk: Vec<(OpId, DiskOp)>,
}

/// The leader's part of a member.
#[derive(Debug)]
pub(super) struct Leader {
    me: Member,
    shared: Arc<Shared>,
    pub control: Control,
    takeover: Takeover,
    pub coordinator: Coordinator,
    asked: BTreeMap<LogIndex, PendingDecision>,
    /// Alarms among them.
    alarms_asked: usize,
    compactions: Compactions,
    leases: Leases,
    /// The actions that wait until every core has acted on a notice.
    unnoticed: VecDeque<Unnoticed>,
    notice: u64,
    noticed: Vec<u64>,
    is_ready: bool,
    /// All but leases, which count for themselves.
    applied: Applied,
}

#[derive(Debug)]
enum PendingDecision {
    Compact {
        origin: Origin,
        physical: bool,
    },
    Alarm {
        origin: Origin,
    },
    /// A write that found no room: refused once the alarm is known everywhere.
    OutOfSpace {
        origin: Origin,
    },
    Publish,
}

#[derive(Debug)]
struct Unnoticed {
    number: u64,
    then: Then,
}

/// The action that follows when every core has acted on a notice.
#[derive(Debug)]
enum Then {
    Answer(Origin, Answer),
    /// Nothing is attached to these leases any more: a round deletes their keys.
    Revoke(Vec<LeaseId>),
}

struct SequencerLine<'a>(&'a Sequencer);

impl RoundLine for SequencerLine<'_> {
    fn newest(&self) -> Revision {
        self.0.newest()
    }

    fn stable(&self) -> Revision {
        self.0.stable()
    }

    fn take(&mut self, count: u64) -> Revision {
        self.0.take_for_round(count)
    }
}

impl Leader {
    pub fn new(me: Member, control: Control, leases: LeaseConfig, shared: Arc<Shared>) -> Leader {
        Leader {
            leases: Leases::new(leases, MemberId(me.id)),
            me,
            control,
            takeover: Takeover::new(shared.shards),
            coordinator: Coordinator::new(shared.shards),
            asked: BTreeMap::new(),
            alarms_asked: 0,
            compactions: Compactions::new(shared.shards),
            unnoticed: VecDeque::new(),
            notice: 0,
            noticed: vec![0; usize::from(shared.cores)],
            is_ready: false,
            applied: Applied::default(),
            shared,
        }
    }

    /// Whether a round is open or an epoch is being opened: the core polls instead of parking.
    pub fn is_busy(&self) -> bool {
        self.coordinator.is_busy()
    }

    /// The lowest stable that something here waits for.
    pub fn waits_for(&self) -> Option<Revision> {
        self.leases.waits_for()
    }

    /// Returns the leases' counters, for metrics.
    pub fn lease_counters(&self) -> LeaseCounters {
        self.leases.counters()
    }

    /// Counts what it has decided and what rounds have done, for metrics.
    pub fn applied(&self) -> Applied {
        let LeaseCounters { granted, revoked, .. } = self.leases.counters();
        let lease = |done| Tally { done, refused: 0 };
        Applied { grants: lease(granted), revokes: lease(revoked), ..self.applied }
    }

    /// A keep-alive that comes in on this core; `None` if it has to be asked for.
    pub fn keep_alive(&mut self, now: Nanos, id: LeaseId) -> Option<Answer> {
        self.leases.keep_alive(now, id, self.shared.sequencer.stable())
    }

    /// A heartbeat interval has passed.
    pub fn tick(&mut self, now: Nanos, entropy: u64) {
        self.control.tick(entropy);
        self.leases.tick(now, entropy);
    }

    /// Begins to lead: the only voter need not wait for an election timeout.
    pub fn start(&mut self) {
        self.control.campaign();
    }

    /// Takes a router's request.
    pub fn ask(
        &mut self,
        origin: Origin,
        deadline: Option<Nanos>,
        ask: LeaderAsk,
        effects: &mut LeaderEffects,
    ) {
        match ask {
            LeaderAsk::Round(txn) => {
                let mut rounds = RoundEffects::default();
                self.coordinator.submit(RoundRequest { origin, deadline, txn }, &mut rounds);
                effects.take(rounds);
            }
            LeaderAsk::Compact(request) => self.compact(origin, request, effects),
            LeaderAsk::Alarm(request) => self.alarm(origin, request, effects),
            LeaderAsk::OutOfSpace => self.out_of_space(origin, effects),
            LeaderAsk::Lease(ask) => self.leases.ask(origin, ask, effects),
        }
    }

    fn compact(&mut self, origin: Origin, request: CompactRequest, effects: &mut LeaderEffects) {
        let refusal = if request.revision <= self.control.state().compacted {
            Refusal::Compacted
        } else if request.revision > self.shared.sequencer.stable().0 {
            Refusal::FutureRevision
        } else if self.control.state().is_raised(AlarmKind::Corrupt) {
            Refusal::Corrupt
        } else {
            let revision = Revision(request.revision);
            match self.control.propose(&Command::Compact { revision }) {
                Some(index) => {
                    let physical = request.physical;
                    self.asked.insert(index, PendingDecision::Compact { origin, physical });
                    return;
                }
                None => Refusal::LeaderChanged,
            }
        };
        effects.decided.push((origin, Err(refusal)));
    }

    fn alarm(&mut self, origin: Origin, request: AlarmRequest, effects: &mut LeaderEffects) {
        let raise = match request.action {
            AlarmAction::Get => {
                // Whichever member is named, as in etcd.
                let wanted = |alarm: &&Alarm| request.kind.is_none_or(|kind| alarm.kind == kind);
                let alarms = self.control.state().alarms.iter().filter(wanted).copied().collect();
                effects.decided.push((origin, Ok(self.alarm_reply(alarms))));
                return;
            }
            AlarmAction::Activate => true,
            AlarmAction::Deactivate => false,
        };
        let Some(kind) = request.kind else {
            effects.decided.push((origin, Ok(self.alarm_reply(Vec::new()))));
            return;
        };
        let alarm = Alarm { member: request.member, kind };
        let standing = &self.control.state().alarms;
        if raise && !standing.contains(&alarm) && standing.len() + self.alarms_asked >= ALARMS_MAX {
            // Every alarm is told to every core whenever one of them changes.
            let text = format!("braid: {ALARMS_MAX} alarms are active; disarm some of them first");
            effects.decided.push((origin, Err(Refusal::Invalid(text))));
            return;
        }
        match self.control.propose(&Command::Alarm { raise, alarm }) {
            Some(index) => {
                self.alarms_asked += 1;
                self.asked.insert(index, PendingDecision::Alarm { origin });
            }
            None => effects.decided.push((origin, Err(Refusal::LeaderChanged))),
        }
    }

    fn alarm_reply(&self, alarms: Vec<Alarm>) -> Reply {
        Reply::Alarm(AlarmReply { revision: self.shared.sequencer.stable(), alarms })
    }

    /// This member's database has reached its quota: the write of `origin` is refused as soon as
    /// the alarm stands.
    fn out_of_space(&mut self, origin: Origin, effects: &mut LeaderEffects) {
        let alarm = Alarm { member: MemberId(self.me.id), kind: AlarmKind::NoSpace };
        let proposed = if self.control.state().alarms.contains(&alarm) {
            None
        } else {
            self.control.propose(&Command::Alarm { raise: true, alarm })
        };
        match proposed {
            Some(index) => drop(self.asked.insert(index, PendingDecision::OutOfSpace { origin })),
            None => effects.decided.push((origin, Err(Refusal::NoSpace))),
        }
    }

    /// The client left.
    pub fn cancel(&mut self, origin: Origin) {
        self.coordinator.cancel(origin);
    }

    /// Takes a shard's report.
    pub fn report(&mut self, report: Report, effects: &mut LeaderEffects) {
        let mut takeover = Vec::new();
        match report {
            Report::Led { shard, stable, found } => {
                self.takeover.led(shard, Gathered { stable, found }, &mut takeover);
            }
            Report::Opened { shard, epoch } => self.takeover.opened(shard, epoch, &mut takeover),
            Report::Lost { .. } => self.takeover.lost(&mut takeover),
            Report::Compacted { shard, revision } => {
                let done = self.compactions.applied(shard, revision);
                self.answer_compactions(done, effects);
            }
            Report::CompactedPhysically { shard, revision } => {
                let done = self.compactions.carried_out(shard, revision);
                self.answer_compactions(done, effects);
            }
            round => {
                let mut rounds = RoundEffects::default();
                let mut line = SequencerLine(&self.shared.sequencer);
                self.coordinator.report(round, &mut line, &mut rounds);
                for Revoked { lease, revision } in rounds.revoked.drain(..) {
                    self.leases.deleted(lease, revision);
                }
                for finished in &rounds.finished {
                    self.applied.txns.count(finished.outcome.is_ok());
                }
                effects.take(rounds);
            }
        }
        self.carry_out(takeover, effects);
    }

    /// A core acts on notice `number` and all before it.
    pub fn noticed(&mut self, core: CoreId, number: u64, effects: &mut LeaderEffects) {
        let last = &mut self.noticed[usize::from(core.0)];
        *last = number.max(*last);
        let everywhere = self.noticed.iter().copied().min().expect("a member has a core");
        while self.unnoticed.front().is_some_and(|waits| waits.number <= everywhere) {
            match self.unnoticed.pop_front().expect("a front").then {
                Then::Answer(origin, answer) => effects.decided.push((origin, answer)),
                Then::Revoke(leases) => self.coordinator.revoke(leases),
            }
        }
    }

    /// One turn: decides about leases, moves the control group, begins a round. Returns whether
    /// there is more that wants another turn.
    pub fn turn(&mut self, now: Nanos, effects: &mut LeaderEffects) -> bool {
        let stable = self.shared.sequencer.stable();
        let more = self.leases.turn(now, &mut self.control, stable, effects);
        let mut events = Vec::new();
        self.control.turn(&mut events, &mut effects.disk);
        for event in events {
            self.event(event, effects);
        }
        self.notify_leases(effects);
        let mut rounds = RoundEffects::default();
        let mut line = SequencerLine(&self.shared.sequencer);
        self.coordinator.turn(now, &mut line, &mut rounds);
        effects.take(rounds);
        let replica = self.control.replica();
        let (committed, applied) = (replica.committed_index().0, self.control.applied().0);
        self.shared.sequencer.reached_by(GroupId::CONTROL, replica.durable_index());
        self.shared.set_group(GroupId::CONTROL, committed, applied, replica.term().0);
        self.shared.set_leader(replica.leader());
        self.shared.set_compacted(self.control.state().compacted);
        self.shared.set_leases(self.control.state().leases.len());
        more
    }

    fn notify_leases(&mut self, effects: &mut LeaderEffects) {
        let news = self.leases.take_news();
        if news.is_empty() {
            return;
        }
        let (added, going) = (news.added.into(), news.going.as_slice().into());
        let number = self.notice(Notice::LeasesChanged { added, going }, effects);
        for (origin, answer) in news.granted {
            self.unnoticed.push_back(Unnoticed { number, then: Then::Answer(origin, answer) });
        }
        if !news.going.is_empty() {
            self.unnoticed.push_back(Unnoticed { number, then: Then::Revoke(news.going) });
        }
    }

    fn event(&mut self, event: ControlEvent, effects: &mut LeaderEffects) {
        let mut takeover = Vec::new();
        match event {
            ControlEvent::Won(_) => self.takeover.control_won(&mut takeover),
            ControlEvent::Lost => self.takeover.control_lost(&mut takeover),
            ControlEvent::Numbered(epoch) => self.takeover.numbered(epoch, &mut takeover),
            ControlEvent::Decided { index, command, changed } => {
                self.decided(index, command, changed, effects);
            }
        }
        self.carry_out(takeover, effects);
    }

    fn decided(
        &mut self,
        index: LogIndex,
        command: Command,
        changed: bool,
        effects: &mut LeaderEffects,
    ) {
        match (command, self.asked.remove(&index)) {
            (Command::Compact { revision }, asked) => {
                if let Some(PendingDecision::Compact { origin, physical }) = asked {
                    self.applied.compactions.count(changed);
                    if !changed {
                        effects.decided.push((origin, Err(Refusal::Compacted)));
                        return;
                    }
                    self.compactions.begin(revision, origin, physical);
                }
                self.order_all(&Order::Compact { revision }, effects);
            }
            (Command::Alarm { raise, alarm }, asked) => {
                let alarms = self.control.state().alarms.iter().copied().collect();
                let number = self.notice(Notice::Alarms(alarms), effects);
                self.applied.alarms.count(true);
                if let Some(PendingDecision::OutOfSpace { origin }) = asked {
                    let then = Then::Answer(origin, Err(Refusal::NoSpace));
                    self.unnoticed.push_back(Unnoticed { number, then });
                }
                if let Some(PendingDecision::Alarm { origin }) = asked {
                    self.alarms_asked -= 1;
                    // Raising one that stands lists it; disarming one that does not, nothing.
                    let affected = if changed || raise { vec![alarm] } else { Vec::new() };
                    let then = Then::Answer(origin, Ok(self.alarm_reply(affected)));
                    self.unnoticed.push_back(Unnoticed { number, then });
                }
            }
            (Command::Publish(_), _) => self.notify_members(effects),
            (Command::Epoch { .. }, _) => unreachable!("an epoch is an event of its own"),
            (lease, _) => self.lease_decided(index, lease, changed, effects),
        }
    }

    fn lease_decided(
        &mut self,
        index: LogIndex,
        command: Command,
        changed: bool,
        effects: &mut LeaderEffects,
    ) {
        let stable = self.shared.sequencer.stable();
        match command {
            Command::LeaseGrant { id, ttl } => {
                let grant = (index, id, ttl);
                self.leases.granted(grant, changed, &mut self.control, stable, effects);
            }
            Command::LeaseGoing { ids } => self.leases.going(ids),
            Command::LeaseGone { ids } => self.leases.gone(&ids, stable, effects),
            Command::LeaseCheckpoint { left } => {
                self.leases.noted(index, &left, stable, effects);
            }
            other => unreachable!("{other:?} is not about leases"),
        }
    }

    fn notify_members(&mut self, effects: &mut LeaderEffects) {
        let members = self.control.state().members.values().cloned().collect();
        self.notice(Notice::Members(members), effects);
        let published = self.control.state().members.get(&self.me.id) == Some(&self.me);
        if published && self.takeover.epoch().is_some() && !self.is_ready {
            self.is_ready = true;
            self.notice(Notice::Ready, effects);
        }
    }

    fn answer_compactions(&mut self, done: Vec<Origin>, effects: &mut LeaderEffects) {
        let revision = self.shared.sequencer.stable();
        effects.decided.extend(done.into_iter().map(|origin| (origin, compacted(revision))));
    }

    fn carry_out(&mut self, takeover: Vec<TakeoverEffect>, effects: &mut LeaderEffects) {
        for effect in takeover {
            match effect {
                TakeoverEffect::Order(shard, order) => effects.orders.push((shard, order)),
                TakeoverEffect::ProposeEpoch => {
                    // If control was lost meanwhile, that is the next event.
                    self.control.propose_epoch();
                }
                TakeoverEffect::Over => self.over(effects),
                TakeoverEffect::Open { epoch, cut } => {
                    self.shared.set_epoch(epoch);
                    self.shared.sequencer.open(cut);
                    self.coordinator.open(epoch);
                    let alarms = self.control.state().alarms.iter().copied().collect();
                    self.notice(Notice::Alarms(alarms), effects);
                    let (live, going) = self.leases.open(epoch, self.control.state());
                    self.notice(Notice::Leases(live.into()), effects);
                    let number = self.notice(Notice::Opened { epoch, cut }, effects);
                    self.unnoticed.push_back(Unnoticed { number, then: Then::Revoke(going) });
                }
            }
        }
        if let Stage::Open { .. } = self.takeover.stage()
            && !self.is_ready
        {
            self.settle_in(effects);
        }
    }

    /// The first turn of an open epoch: publish this member, repeat what shards may lack.
    fn settle_in(&mut self, effects: &mut LeaderEffects) {
        let waiting = self.asked.values().any(|asked| matches!(asked, PendingDecision::Publish));
        if waiting {
            return;
        }
        if self.control.state().compacted >= 0 {
            let revision = Revision(self.control.state().compacted);
            self.order_all(&Order::Compact { revision }, effects);
        }
        if self.control.state().members.get(&self.me.id) == Some(&self.me) {
            self.notify_members(effects);
        } else if let Some(index) = self.control.propose(&Command::Publish(self.me.clone())) {
            self.asked.insert(index, PendingDecision::Publish);
        }
    }

    fn over(&mut self, effects: &mut LeaderEffects) {
        self.shared.sequencer.close();
        self.is_ready = false;
        let mut rounds = RoundEffects::default();
        self.coordinator.halt(&mut rounds);
        effects.take(rounds);
        self.alarms_asked = 0;
        for asked in std::mem::take(&mut self.asked).into_values() {
            let (PendingDecision::Compact { origin, .. }
            | PendingDecision::Alarm { origin }
            | PendingDecision::OutOfSpace { origin }) = asked
            else {
                continue;
            };
            effects.decided.push((origin, Err(Refusal::LeaderChanged)));
        }
        self.leases.close(effects);
        self.unnoticed.retain(|unnoticed| !matches!(unnoticed.then, Then::Revoke(_)));
        let compacting = self.compactions.close();
        effects.decided.extend(compacting.map(|origin| (origin, Err(Refusal::LeaderChanged))));
        self.notice(Notice::Over, effects);
    }

    fn order_all(&self, order: &Order, effects: &mut LeaderEffects) {
        let shards = ShardSet::all(self.shared.shards);
        effects.orders.extend(shards.iter().map(|shard| (shard, order.clone())));
    }

    fn notice(&mut self, notice: Notice, effects: &mut LeaderEffects) -> u64 {
        self.notice += 1;
        effects.notices.push((self.notice, notice));
        self.notice
    }
}

impl LeaderEffects {
    fn take(&mut self, rounds: RoundEffects) {
        self.orders.extend(rounds.orders);
        self.finished.extend(rounds.finished);
    }
}
