//! Routing: a request is planned by its keys, split over shards, and its replies are merged.
//!
//! ```text
//!  submit ─plan─┬─ one shard ─────────▶ Ask ──▶ Told::Answer ────────────────────────▶ answer
//!               ├─ many, reading ─────▶ Ask × n at one stable ──▶ merge ─────────────▶ answer
//!               ├─ many, writing ─────▶ coordinator ──▶ Finished ──hold until stable──▶ answer
//!               └─ no keys ───────────▶ control group, or every shard ───────────────▶ answer
//! ```
//!
//! There is one router per core. It keeps a *call* for each request of that core's connections that
//! is under way. The number of calls is bounded, which bounds every queue behind them.
//!
//! - A read of the latest state of several shards that a compaction overtakes starts again at a
//!   newer stable, so it never answers Compacted.
//! - The answer of a round is held until stable reaches its revision.
//! - A request that takes longer than etcd's request timeout is answered with that error; a late
//!   answer finds its call closed.

mod calls;
mod gather;
mod held_answers;
pub mod merge;
pub mod plan;

use std::collections::VecDeque;
use std::sync::Arc;

use calls::{Calls, PendingCall};
use gather::{Gather, GatherRead};
use held_answers::HeldAnswers;
use merge::Merge;
use plan::{Plan, RoundKind};

use crate::limits::CORE_REQUESTS_MAX;
use crate::line::Sequencer;
use crate::line::message::{Executed, Finished};
use crate::line::routed::{RoundTxn, RoutedPath};
use crate::shard::{Ask, ShardReply};
use crate::types::{
    Answer, Blob, CompactReply, CoreId, Discarded, LeaseGrantRequest, LeaseId,
    LeaseTimeToLiveRequest, Nanos, OpReply, Origin, Refusal, Reply, Request, Revision, ShardId,
    ShardSet, Ticket,
};

/// A request of a router to the leader.
#[derive(Clone, Debug)]
pub enum LeaderAsk {
    /// A request that may change several shards.
    Round(RoundTxn),
    Compact(crate::types::CompactRequest),
    Alarm(crate::types::AlarmRequest),
    /// A write found no room: raise the alarm, then refuse it.
    OutOfSpace,
    Lease(LeaseAsk),
}

/// A request about leases to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAsk {
    Grant(LeaseGrantRequest),
    Revoke(LeaseId),
    KeepAlive(LeaseId),
    /// Without the keys: those come from the shards.
    TimeToLive(LeaseId),
    Leases,
}

/// A message that a router wants carried elsewhere.
#[derive(Debug)]
pub enum Outgoing {
    Shard { shard: ShardId, origin: Origin, deadline: Option<Nanos>, ask: Ask },
    Leader { origin: Origin, deadline: Option<Nanos>, ask: LeaderAsk },
    CancelShard { shard: ShardId, origin: Origin },
    CancelLeader { origin: Origin },
}

/// The effects of a step of the router.
#[derive(Debug, Default)]
pub struct RouterEffects {
    pub answers: Vec<(Ticket, Answer)>,
    pub outgoing: Vec<Outgoing>,
}

/// The router of one core.
#[derive(Debug)]
pub struct Router {
    core: CoreId,
    shards: u16,
    request_timeout: u64,
    sequencer: Arc<Sequencer>,
    calls: Calls<Waits>,
    /// Answers of rounds, until stable reaches them.
    held: HeldAnswers,
    /// Calls whose answers are being put together, in their turn.
    merging: VecDeque<u64>,
    slice_keys: usize,
    /// Keys that may still be moved in this turn for what comes in.
    visits: usize,
    discarded: Discarded,
}

/// The settings of a router.
#[derive(Clone, Copy, Debug)]
pub struct RouterConfig {
    /// Nanoseconds after which a request is answered that it timed out.
    pub request_timeout: u64,
    /// Keys that a turn merges: see [`crate::limits::READ_SLICE_KEYS`].
    pub slice_keys: usize,
}

/// An answer that is being put together from the shards' replies.
#[derive(Debug)]
struct Merging {
    merge: Merge,
    of: Merged,
}

/// The call whose merged answer this is.
#[derive(Debug)]
enum Merged {
    Read(Box<GatherRead>),
    /// The answer of a round, to be held until stable has reached the revision.
    Round {
        kind: RoundKind,
        path: Arc<RoutedPath>,
        revision: Revision,
    },
}

/// The state of a call: what it waits for.
#[derive(Debug)]
enum Waits {
    /// One shard's whole answer.
    Shard(ShardId),
    /// Parts of a read.
    Read(Box<GatherRead>),
    /// The coordinator.
    Round(RoundKind),
    /// Its answer is being put together.
    Merge(Box<Merging>),
    /// Its answer is held until stable reaches it.
    Stable,
    /// The control group.
    Leader,
    /// The control group, about a lease that has these keys.
    LeaseOf(Vec<Blob>),
    /// Something from every shard.
    All(Box<Gather>),
}

impl Router {
    /// Begins without calls.
    pub fn new(core: CoreId, sequencer: Arc<Sequencer>, config: &RouterConfig) -> Router {
        Router {
            core,
            shards: sequencer.shards() as u16,
            request_timeout: config.request_timeout,
            sequencer,
            calls: Calls::new(),
            held: HeldAnswers::default(),
            merging: VecDeque::new(),
            slice_keys: config.slice_keys,
            visits: config.slice_keys,
            discarded: Discarded::default(),
        }
    }

    /// Calls under way.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether no call is under way.
    pub fn is_empty(&self) -> bool {
        self.calls.len() == 0
    }

    /// The lowest stable that an answer here waits for.
    pub fn waits_for(&self) -> Option<Revision> {
        self.held.lowest()
    }

    /// Takes a request whose form has been checked. What needs no keys of this member beyond a
    /// published number is answered by the core before it comes here.
    pub fn submit(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        request: Request,
        deadline: Option<Nanos>,
        effects: &mut RouterEffects,
    ) -> Option<Answer> {
        if self.calls.len() >= CORE_REQUESTS_MAX {
            return Some(Err(Refusal::TooManyRequests));
        }
        let plan = plan::plan(request, self.shards);
        self.dispatch(now, ticket, plan, deadline, effects)
    }

    /// Opens a call for a planned request and sends it on its way.
    pub fn dispatch(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        plan: Plan,
        deadline: Option<Nanos>,
        effects: &mut RouterEffects,
    ) -> Option<Answer> {
        match plan {
            Plan::One(shard, ask) => {
                let origin = self.open(now, ticket, deadline, Waits::Shard(shard));
                effects.outgoing.push(Outgoing::Shard { shard, origin, deadline, ask });
            }
            Plan::Range(range) => {
                return self.read(now, ticket, deadline, GatherRead::range(range), effects);
            }
            Plan::ReadTxn(txn) => {
                return self.read(now, ticket, deadline, GatherRead::txn(txn), effects);
            }
            Plan::Round(txn, kind) => {
                let origin = self.open(now, ticket, deadline, Waits::Round(kind));
                let ask = LeaderAsk::Round(txn);
                effects.outgoing.push(Outgoing::Leader { origin, deadline, ask });
            }
            Plan::Other(request) => return self.other(now, ticket, deadline, request, effects),
        }
        None
    }

    fn other(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        deadline: Option<Nanos>,
        request: Request,
        effects: &mut RouterEffects,
    ) -> Option<Answer> {
        let stable = self.sequencer.stable();
        let gather = match request {
            Request::Hash => Gather::hash(stable, self.shards),
            Request::HashKv(request) if request.revision > stable.0 => {
                return Some(Err(Refusal::FutureRevision));
            }
            Request::HashKv(request) => {
                let latest = request.revision == 0;
                let at = if latest { stable } else { Revision(request.revision) };
                Gather::hash_kv(at, latest, self.shards)
            }
            Request::Defragment => Gather::defragment(self.shards),
            Request::Compact(request) => {
                return self.ask_leader(
                    now,
                    ticket,
                    deadline,
                    LeaderAsk::Compact(request),
                    effects,
                );
            }
            Request::Alarm(request) => {
                return self.ask_leader(now, ticket, deadline, LeaderAsk::Alarm(request), effects);
            }
            Request::LeaseTimeToLive(LeaseTimeToLiveRequest { id, keys: true }) => {
                Gather::lease_keys(id, self.shards)
            }
            Request::LeaseGrant(_)
            | Request::LeaseRevoke { .. }
            | Request::LeaseKeepAlive { .. }
            | Request::LeaseTimeToLive(_)
            | Request::LeaseLeases => {
                let ask = LeaderAsk::Lease(lease_ask(&request));
                return self.ask_leader(now, ticket, deadline, ask, effects);
            }
            _ => {
                let text = "internal error: unroutable request type".to_owned();
                return Some(Err(Refusal::Internal(text)));
            }
        };
        let ask = gather.ask();
        let origin = self.open(now, ticket, deadline, Waits::All(Box::new(gather)));
        self.ask_all(ShardSet::all(self.shards), origin, deadline, |_| ask.clone(), effects);
        None
    }

    /// Has a write refused for want of space, after the alarm is raised.
    pub fn out_of_space(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        effects: &mut RouterEffects,
    ) -> Option<Answer> {
        self.ask_leader(now, ticket, None, LeaderAsk::OutOfSpace, effects)
    }

    fn ask_leader(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        deadline: Option<Nanos>,
        ask: LeaderAsk,
        effects: &mut RouterEffects,
    ) -> Option<Answer> {
        let origin = self.open(now, ticket, deadline, Waits::Leader);
        effects.outgoing.push(Outgoing::Leader { origin, deadline, ask });
        None
    }

    fn open(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        deadline: Option<Nanos>,
        waits: Waits,
    ) -> Origin {
        let call = self.calls.open(ticket, deadline, now, waits);
        Origin { core: self.core, call, part: 0 }
    }

    fn ask_all(
        &self,
        shards: ShardSet,
        origin: Origin,
        deadline: Option<Nanos>,
        ask: impl Fn(ShardId) -> Ask,
        effects: &mut RouterEffects,
    ) {
        for shard in shards.iter() {
            let origin = Origin { part: shard.0, ..origin };
            effects.outgoing.push(Outgoing::Shard { shard, origin, deadline, ask: ask(shard) });
        }
    }

    /// Begins a read of several shards at the stable of now.
    fn read(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        deadline: Option<Nanos>,
        mut read: GatherRead,
        effects: &mut RouterEffects,
    ) -> Option<Answer> {
        if let Err(refusal) = read.begin(self.sequencer.stable(), self.shards) {
            return Some(Err(refusal));
        }
        let asks = read.asks(self.shards);
        if asks.is_empty() {
            // A txn without compares whose path is empty: no shard has a part in it.
            return Some(Ok(read.answer(Vec::new())));
        }
        let origin = self.open(now, ticket, deadline, Waits::Read(Box::new(read)));
        for (shard, ask) in asks {
            let origin = Origin { part: shard.0, ..origin };
            effects.outgoing.push(Outgoing::Shard { shard, origin, deadline, ask });
        }
        None
    }

    /// Takes a shard's reply. One that nobody waits for any more is dropped.
    pub fn take_reply(&mut self, origin: Origin, reply: ShardReply, effects: &mut RouterEffects) {
        let stable = self.sequencer.stable();
        let shards = self.shards;
        let Some(call) = self.calls.get_mut(origin.call) else {
            return discard(reply, &mut self.discarded);
        };
        let deadline = call.deadline;
        let answer = match (&mut call.state, reply) {
            (Waits::Shard(_), ShardReply::Answer(answer)) => answer,
            (Waits::Read(read), ShardReply::Part(part)) => {
                let step = read.take(ShardId(origin.part), part, stable, shards);
                match step {
                    gather::Step::Wait => return,
                    gather::Step::Merge => {
                        let merge = read.merge(self.slice_keys);
                        return self.merge_read(origin.call, merge, effects);
                    }
                    gather::Step::Answer(answer) => answer,
                    gather::Step::Ask(asks) => {
                        for (shard, ask) in asks {
                            let origin = Origin { part: shard.0, ..origin };
                            let outgoing = Outgoing::Shard { shard, origin, deadline, ask };
                            effects.outgoing.push(outgoing);
                        }
                        return;
                    }
                    gather::Step::Leader(_) => unreachable!("a read is no lease's"),
                }
            }
            (Waits::All(gather), reply) => {
                match gather.take(ShardId(origin.part), reply, stable, shards) {
                    gather::Step::Wait => return,
                    gather::Step::Merge => unreachable!("it has no keys to merge"),
                    gather::Step::Answer(answer) => answer,
                    gather::Step::Leader(id) => {
                        call.state = Waits::LeaseOf(gather.take_keys());
                        let origin = Origin { part: 0, ..origin };
                        let ask = LeaderAsk::Lease(LeaseAsk::TimeToLive(id));
                        effects.outgoing.push(Outgoing::Leader { origin, deadline, ask });
                        return;
                    }
                    gather::Step::Ask(asks) => {
                        for (shard, ask) in asks {
                            let origin = Origin { part: shard.0, ..origin };
                            let outgoing = Outgoing::Shard { shard, origin, deadline, ask };
                            effects.outgoing.push(outgoing);
                        }
                        return;
                    }
                }
            }
            (waits, reply) => unreachable!("{reply:?} for a call that waits for {waits:?}"),
        };
        let call = self.calls.close(origin.call).expect("it was there");
        effects.answers.push((call.ticket, answer));
    }

    /// The coordinator has finished a request: its answer is held until stable reaches it.
    pub fn finished(&mut self, finished: Finished, effects: &mut RouterEffects) {
        let Finished { origin, revision, outcome } = finished;
        let Some(call) = self.calls.get_mut(origin.call) else { return };
        let Waits::Round(kind) = call.state else { unreachable!("a round it did not ask for") };
        match outcome {
            Err(refusal) => {
                call.state = Waits::Stable;
                self.held.insert(revision, origin.call, Err(refusal));
                self.release(effects);
            }
            Ok(Executed { path, shares }) => {
                let merge = merge::shares(&path, shares, self.slice_keys);
                let of = Merged::Round { kind, path, revision };
                self.merge(origin.call, Merging { merge, of }, effects);
            }
        }
    }

    fn merge_read(&mut self, number: u64, merge: Merge, effects: &mut RouterEffects) {
        let call = self.calls.get_mut(number).expect("a call under way");
        // Taken out; what stands there meanwhile is replaced below.
        let Waits::Read(read) = std::mem::replace(&mut call.state, Waits::Leader) else {
            unreachable!("a read")
        };
        self.merge(number, Merging { merge, of: Merged::Read(read) }, effects);
    }

    /// Puts an answer together: at once if that is little, else in later turns.
    fn merge(&mut self, number: u64, mut merging: Merging, effects: &mut RouterEffects) {
        if merging.merge.go_on(&mut self.visits) {
            return self.merged(number, merging, effects);
        }
        let call = self.calls.get_mut(number).expect("a call under way");
        call.state = Waits::Merge(Box::new(merging));
        self.merging.push_back(number);
    }

    /// Goes on with the answers that are being put together; whether some are left.
    pub fn merge_some(&mut self, effects: &mut RouterEffects) -> bool {
        let mut visits = self.slice_keys;
        self.discarded.drop_some(&mut visits);
        while visits > 0
            && let Some(number) = self.merging.pop_front()
        {
            let Some(call) = self.calls.get_mut(number) else { continue };
            let Waits::Merge(merging) = &mut call.state else { unreachable!("it is in the queue") };
            if !merging.merge.go_on(&mut visits) {
                self.merging.push_back(number);
                break;
            }
            let Waits::Merge(merging) = std::mem::replace(&mut call.state, Waits::Leader) else {
                unreachable!("looked at")
            };
            self.merged(number, *merging, effects);
        }
        self.visits = self.slice_keys;
        self.is_merging()
    }

    /// Whether an answer is being put together.
    pub fn is_merging(&self) -> bool {
        !self.merging.is_empty() || !self.discarded.is_empty()
    }

    fn merged(&mut self, number: u64, merging: Merging, effects: &mut RouterEffects) {
        let replies = merging.merge.into_replies();
        match merging.of {
            Merged::Read(mut read) => {
                let answer = Ok(read.answer(replies));
                read.discard(&mut self.discarded);
                let call = self.calls.close(number).expect("a call under way");
                effects.answers.push((call.ticket, answer));
            }
            Merged::Round { kind, path, revision } => {
                let call = self.calls.get_mut(number).expect("a call under way");
                call.state = Waits::Stable;
                self.held.insert(revision, number, Ok(whole(kind, &path, replies, revision)));
                self.release(effects);
            }
        }
    }

    /// The control group has decided.
    pub fn decided(&mut self, origin: Origin, mut answer: Answer, effects: &mut RouterEffects) {
        let Some(call) = self.calls.close(origin.call) else { return };
        if let (Waits::LeaseOf(keys), Ok(Reply::LeaseTimeToLive(reply))) = (call.state, &mut answer)
            && reply.ttl >= 0
        {
            reply.keys = keys;
        }
        effects.answers.push((call.ticket, answer));
    }

    /// Hands over held answers that stable has reached.
    pub fn release(&mut self, effects: &mut RouterEffects) {
        let stable = self.sequencer.stable();
        while let Some((call, answer)) = self.held.pop(stable) {
            match self.calls.close(call) {
                Some(call) => effects.answers.push((call.ticket, answer)),
                None => discard(ShardReply::Answer(answer), &mut self.discarded),
            }
        }
    }

    /// The epoch is over and the next inherits up to `cut`: what is held above it is unknown.
    pub fn fail_above(&mut self, cut: Revision, effects: &mut RouterEffects) {
        let calls = &mut self.calls;
        let mut is_above = |number: &u64| match calls.get_mut(*number).map(|call| &call.state) {
            Some(Waits::Merge(merging)) => matches!(
                merging.of, Merged::Round { revision, .. } if revision > cut),
            _ => false,
        };
        let merging: Vec<u64> =
            self.merging.iter().copied().filter(|number| is_above(number)).collect();
        for call in self.held.drop_above(cut).chain(merging) {
            if let Some(call) = self.calls.close(call) {
                effects.answers.push((call.ticket, Err(Refusal::LeaderChanged)));
            }
        }
    }

    /// The client left: what is not yet evaluated is dropped.
    pub fn cancel(&mut self, ticket: Ticket, effects: &mut RouterEffects) {
        if let Some(number) = self.calls.of(ticket) {
            self.drop_call(number, effects);
        }
    }

    /// Answers what has taken longer than etcd's request timeout, or than its own deadline.
    pub fn expire(&mut self, now: Nanos, effects: &mut RouterEffects) {
        let timeout = self.request_timeout;
        let late = |call: &PendingCall<Waits>| {
            // As in etcd, only its client says how long a defragmentation may take.
            let takes_time = matches!(&call.state, Waits::All(gather) if gather.is_defragment());
            !takes_time && now.0.saturating_sub(call.started.0) >= timeout
        };
        let expired = self
            .calls
            .find(|call| late(call) || call.deadline.is_some_and(|deadline| deadline <= now));
        for number in expired {
            let timed_out = self.calls.get_mut(number).is_some_and(|call| late(call));
            let ticket = self.drop_call(number, effects);
            let refusal = if timed_out { Refusal::Timeout } else { Refusal::DeadlineExceeded };
            effects.answers.extend(ticket.map(|ticket| (ticket, Err(refusal))));
        }
    }

    fn drop_call(&mut self, number: u64, effects: &mut RouterEffects) -> Option<Ticket> {
        let call = self.calls.close(number)?;
        let origin = Origin { core: self.core, call: number, part: 0 };
        match call.state {
            Waits::Read(read) => {
                for shard in read.missing().iter() {
                    let origin = Origin { part: shard.0, ..origin };
                    effects.outgoing.push(Outgoing::CancelShard { shard, origin });
                }
                read.discard(&mut self.discarded);
            }
            Waits::Merge(merging) => {
                merging.merge.discard(&mut self.discarded);
                if let Merged::Read(read) = merging.of {
                    read.discard(&mut self.discarded);
                }
            }
            Waits::Shard(shard) => effects.outgoing.push(Outgoing::CancelShard { shard, origin }),
            Waits::Round(_) => effects.outgoing.push(Outgoing::CancelLeader { origin }),
            Waits::All(gather) => {
                effects.outgoing.extend(gather.missing().iter().map(|shard| {
                    let origin = Origin { part: shard.0, ..origin };
                    Outgoing::CancelShard { shard, origin }
                }));
            }
            // A reply for a call that is closed is dropped when it comes.
            Waits::Stable | Waits::Leader | Waits::LeaseOf(_) => {}
        }
        Some(call.ticket)
    }
}

/// A round's answer in the form of the request that it was made for.
fn whole(kind: RoundKind, path: &RoutedPath, replies: Vec<OpReply>, revision: Revision) -> Reply {
    let mut txn = path.path().assemble(replies, revision);
    match kind {
        RoundKind::Txn => Reply::Txn(txn),
        RoundKind::DeleteRange => {
            let Some(OpReply::DeleteRange(mut reply)) = txn.responses.pop() else {
                unreachable!("one range delete")
            };
            reply.revision = revision;
            Reply::DeleteRange(reply)
        }
    }
}

/// Nobody waits for it any more.
fn discard(reply: ShardReply, discarded: &mut Discarded) {
    match reply {
        ShardReply::Part(Ok(part)) => {
            part.ranges.into_iter().for_each(|(_, it)| discarded.put(it.kvs))
        }
        ShardReply::Answer(Ok(Reply::Range(range))) => discarded.put(range.kvs),
        ShardReply::Answer(Ok(Reply::DeleteRange(delete))) => discarded.put(delete.prev_kvs),
        ShardReply::Answer(Ok(Reply::Txn(txn))) => {
            txn.responses.into_iter().for_each(|reply| merge::discard(reply, discarded));
        }
        _ => {}
    }
}

fn lease_ask(request: &Request) -> LeaseAsk {
    match *request {
        Request::LeaseGrant(request) => LeaseAsk::Grant(request),
        Request::LeaseRevoke { id } => LeaseAsk::Revoke(id),
        Request::LeaseKeepAlive { id } => LeaseAsk::KeepAlive(id),
        Request::LeaseTimeToLive(LeaseTimeToLiveRequest { id, .. }) => LeaseAsk::TimeToLive(id),
        Request::LeaseLeases => LeaseAsk::Leases,
        ref other => unreachable!("{other:?} is not about a lease"),
    }
}

/// The answer to a compaction.
pub fn compacted(revision: Revision) -> Answer {
    Ok(Reply::Compact(CompactReply { revision }))
}
