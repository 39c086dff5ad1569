//! Leases on the leader: granting them, keeping them alive, ending them.
//!
//! ```text
//!  grant ──▶ LeaseGrant ──committed──▶ every core knows it ──▶ answered
//!
//!  revoke ─┐                                                              one round: all its keys
//!  expiry ─┴▶ LeaseGoing ──committed──▶ no core attaches to it any more ──▶ at one revision ──┐
//!                                                                                             │
//!  answered ◀── LeaseGone ◀── committed ◀── proposed ◀── stable has reached the revision ◀─────┘
//! ```
//!
//! - Between `Going` and `Gone` the lease is *going*: nothing renews it or is attached to it, and
//!   whoever leads next finishes it. `Gone` is proposed only when the deletion is stable, and even
//!   if there was nothing to delete, when all is that the round saw: otherwise a crash could bring
//!   a key back whose lease nobody knows.
//! - Decisions about leases are proposed in an open epoch only. So when an epoch opens, none of an
//!   earlier one is under way: the log holds it, or it never will.
//! - Deadlines are in the leader's memory alone ([`Deadlines`]). Keep-alives write nothing, unless
//!   the log says that less than the whole TTL is left: that is taken back first.
//! - Leases expire a batch at each tick, the longest overdue first, so many a second and so many
//!   under way at most: traffic goes on between the rounds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::deadlines::{Deadlines, Found, LeaseTime};
use super::leader::LeaderEffects;
use super::listing::Listing;
use crate::chance::mix;
use crate::control::entry::Command;
use crate::control::{Control, State};
use crate::limits::{
    ENTRY_BYTES_MAX, LEASE_COMMAND_IDS_MAX, LEASE_EXPIRIES_PER_SECOND, LEASE_EXPIRY_BURST,
    LEASE_LOOKS_PER_TURN, LEASES_EXPIRING_MAX,
};
use crate::router::LeaseAsk;
use crate::teeth::{Rule, leaves_out};
use crate::types::{
    AlarmKind, Answer, Epoch, LeaseGrantReply, LeaseGrantRequest, LeaseId, LeaseKeepAliveReply,
    LeaseRevokeReply, LeaseTimeToLiveReply, LogIndex, MemberId, Nanos, Origin, Refusal, Reply,
    Revision, Spread,
};

/// etcd's longest TTL, in seconds.
const TTL_MAX: i64 = 9_000_000_000;

/// Nanoseconds of credit that one expiry costs.
const EXPIRY_NANOS: u64 = 1_000_000_000 / LEASE_EXPIRIES_PER_SECOND;

/// The settings of leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Nanoseconds. A new leader gives every lease so much more; a longer gap between two looks at
    /// the clock is a pause of the member.
    pub election_timeout: u64,
    /// Seconds; a shorter TTL is raised to it.
    pub ttl_min: i64,
    /// Nanoseconds after which the log records what is left of a long lease; `None` is never.
    pub checkpoint_interval: Option<u64>,
}

impl LeaseConfig {
    /// etcd's: the shortest TTL is one and a half election timeouts, in whole heartbeats.
    pub fn of(election_ticks: u64, heartbeat: u64, checkpoints: bool) -> LeaseConfig {
        let shortest = (election_ticks * 3 / 2).saturating_mul(heartbeat);
        LeaseConfig {
            election_timeout: election_ticks.saturating_mul(heartbeat),
            ttl_min: shortest.div_ceil(1_000_000_000).max(1) as i64,
            checkpoint_interval: checkpoints.then_some(300 * 1_000_000_000),
        }
    }
}

impl Default for LeaseConfig {
    /// etcd's defaults.
    fn default() -> LeaseConfig {
        LeaseConfig::of(10, 100_000_000, false)
    }
}

/// Counters for metrics; they only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseCounters {
    pub granted: u64,
    pub revoked: u64,
    pub renewed: u64,
    pub expired: u64,
    /// Granted TTLs by their upper bounds: 1 s, 2 s, 4 s, … 2^23 s, and above.
    pub ttls: Spread<25>,
}

/// The changes that every core must learn, and the answers that follow when each has.
#[derive(Debug, Default)]
pub(super) struct News {
    pub added: Vec<LeaseId>,
    pub going: Vec<LeaseId>,
    pub granted: Vec<(Origin, Answer)>,
}

impl News {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.going.is_empty() && self.granted.is_empty()
    }
}

#[derive(Debug)]
struct Granting {
    origin: Origin,
    /// The leader chose the number.
    chosen: bool,
}

/// A lease that is going.
#[derive(Debug)]
struct Ending {
    /// The request that began it; `None` if its time was over.
    revoker: Option<Origin>,
    /// Counts among those that expire now.
    expiring: bool,
    /// The revision at which its keys were deleted.
    revision: Revision,
}

/// The answer that is given when a lease is gone.
#[derive(Clone, Copy, Debug)]
enum Wants {
    KeepAlive,
    /// Until then its keys may be there, or be gone already.
    TimeToLive,
    Revoke,
}

/// The leader's leases.
#[derive(Debug)]
pub(super) struct Leases {
    config: LeaseConfig,
    member: MemberId,
    is_open: bool,
    deadlines: Deadlines,
    /// Asked since the last turn.
    inbox: Vec<(Origin, LeaseAsk)>,
    granting: BTreeMap<LogIndex, Granting>,
    ending: BTreeMap<LeaseId, Ending>,
    waiting: BTreeMap<LeaseId, Vec<(Origin, Wants)>>,
    /// To be proposed as going, and as gone.
    leaving: VecDeque<LeaseId>,
    settled: VecDeque<LeaseId>,
    /// Until stable reaches their revisions.
    settling: BTreeSet<(Revision, LeaseId)>,
    /// Renewals that must be written down first: to be proposed, and proposed.
    clearing: VecDeque<(Origin, LeaseId)>,
    noting: BTreeMap<LogIndex, Vec<(Origin, LeaseId)>>,
    news: News,
    listing: Listing,
    /// How many of `ending` expire.
    expiring: usize,
    /// Nanoseconds: what may expire now.
    credit: u64,
    credited: LeaseTime,
    is_tick: bool,
    seed: u64,
    last_id: u64,
    counters: LeaseCounters,
}

impl Leases {
    pub fn new(config: LeaseConfig, member: MemberId) -> Leases {
        Leases {
            config,
            member,
            is_open: false,
            deadlines: Deadlines::new(config.election_timeout, config.checkpoint_interval),
            inbox: Vec::new(),
            granting: BTreeMap::new(),
            ending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            leaving: VecDeque::new(),
            settled: VecDeque::new(),
            settling: BTreeSet::new(),
            clearing: VecDeque::new(),
            noting: BTreeMap::new(),
            news: News::default(),
            listing: Listing::default(),
            expiring: 0,
            credit: 0,
            credited: LeaseTime::default(),
            is_tick: false,
            seed: 0,
            last_id: 0,
            counters: LeaseCounters::default(),
        }
    }

    pub fn counters(&self) -> LeaseCounters {
        self.counters
    }

    /// The lowest revision whose stability some lease waits for.
    pub fn waits_for(&self) -> Option<Revision> {
        self.settling.first().map(|(revision, _)| *revision)
    }

    /// A heartbeat interval has passed.
    pub fn tick(&mut self, now: Nanos, entropy: u64) {
        self.deadlines.look(now);
        self.is_tick = true;
        self.seed = self.seed.rotate_left(7) ^ entropy;
    }

    /// An epoch opens on what the log has come to. Returns the leases to which keys may be
    /// attached, and those that an earlier epoch has left going.
    pub fn open(&mut self, epoch: Epoch, state: &State) -> (Vec<LeaseId>, Vec<LeaseId>) {
        assert!(!self.is_open && self.ending.is_empty(), "leases outlived their epoch");
        self.is_open = true;
        // An epoch's number is used once, and so is what it is mixed into.
        self.last_id = mix(self.seed ^ mix(epoch.0));
        self.deadlines.clear();
        let (mut live, mut going) = (Vec::new(), Vec::new());
        for (&id, lease) in &state.leases {
            if lease.going {
                self.deadlines.begin_going(id, lease.ttl);
                self.end(id, None, false);
                going.push(id);
            } else {
                let more = self.config.election_timeout;
                self.deadlines.begin(id, lease.ttl, lease.remaining, more);
                live.push(id);
            }
        }
        (live, going)
    }

    /// The epoch is over: what is under way has an unknown outcome.
    pub fn close(&mut self, effects: &mut LeaderEffects) {
        self.is_open = false;
        let inbox = std::mem::take(&mut self.inbox).into_iter().map(|(origin, _)| origin);
        let granting = std::mem::take(&mut self.granting).into_values().map(|g| g.origin);
        let revoking = std::mem::take(&mut self.ending).into_values().filter_map(|e| e.revoker);
        let waiting = std::mem::take(&mut self.waiting).into_values().flatten().map(|w| w.0);
        let clearing = std::mem::take(&mut self.clearing).into_iter().map(|(origin, _)| origin);
        let noting = std::mem::take(&mut self.noting).into_values().flatten().map(|n| n.0);
        let listing = self.listing.close();
        let all =
            inbox.chain(listing).chain(granting).chain(revoking).chain(waiting).chain(clearing);
        effects.decided.extend(all.chain(noting).map(|o| (o, Err(Refusal::LeaderChanged))));
        // A committed lease stays granted, though not every core may have heard of it.
        effects.decided.append(&mut self.news.granted);
        self.news = News::default();
        self.leaving.clear();
        self.settled.clear();
        self.settling.clear();
        self.deadlines.clear();
        self.expiring = 0;
    }

    /// Takes a router's request.
    pub fn ask(&mut self, origin: Origin, ask: LeaseAsk, effects: &mut LeaderEffects) {
        if self.is_open {
            self.inbox.push((origin, ask));
        } else {
            effects.decided.push((origin, Err(Refusal::LeaderChanged)));
        }
    }

    /// The short way of a keep-alive that comes in on the leader's core; `None` if something has to
    /// happen first.
    pub fn keep_alive(&mut self, now: Nanos, id: LeaseId, revision: Revision) -> Option<Answer> {
        if !self.is_open {
            return None;
        }
        self.deadlines.look(now);
        match self.deadlines.keep_alive(id) {
            Found::Missing => Some(kept(id, 0, revision)),
            Found::Live { ttl, is_noted: false } => {
                self.counters.renewed += 1;
                Some(kept(id, ttl, revision))
            }
            Found::Ending | Found::Live { .. } => None,
        }
    }

    /// Answers what was asked, has leases expire, and proposes what there is to decide. Returns
    /// whether there is more that wants another turn.
    pub fn turn(
        &mut self,
        now: Nanos,
        control: &mut Control,
        stable: Revision,
        effects: &mut LeaderEffects,
    ) -> bool {
        self.deadlines.look(now);
        if !self.is_open {
            return false;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        for (origin, ask) in inbox.drain(..) {
            self.answer(now, origin, ask, control, stable, effects);
        }
        self.inbox = inbox;
        while let Some(&(revision, id)) = self.settling.first()
            && (revision <= stable || leaves_out(Rule::GoneAfterStable))
        {
            self.settling.pop_first();
            self.settled.push_back(id);
        }
        let mut listed = Vec::new();
        let state = control.state();
        let listing = self.listing.go_on(state, &self.deadlines, stable, &mut listed);
        effects.decided.extend(listed.into_iter().map(|(origin, reply)| (origin, Ok(reply))));
        let more = self.expire(control) || listing;
        self.propose_ends(control);
        self.propose_notes(control);
        more
    }

    fn answer(
        &mut self,
        now: Nanos,
        origin: Origin,
        ask: LeaseAsk,
        control: &mut Control,
        stable: Revision,
        effects: &mut LeaderEffects,
    ) {
        let answer = match ask {
            LeaseAsk::Grant(request) => match self.grant(origin, request, control) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            LeaseAsk::Revoke(id) => match self.revoke(origin, id, control) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            LeaseAsk::KeepAlive(id) => match self.keep_alive(now, id, stable) {
                Some(answer) => answer,
                None => return self.keep_alive_later(origin, id),
            },
            LeaseAsk::TimeToLive(id) => {
                if self.deadlines.is_going(id) {
                    let wants = Wants::TimeToLive;
                    self.waiting.entry(id).or_default().push((origin, wants));
                    return;
                }
                Ok(left(id, self.deadlines.left(id), stable))
            }
            LeaseAsk::Leases => return self.listing.ask(origin),
        };
        effects.decided.push((origin, answer));
    }

    fn grant(
        &mut self,
        origin: Origin,
        request: LeaseGrantRequest,
        control: &mut Control,
    ) -> Result<(), Refusal> {
        if control.state().is_raised(AlarmKind::Corrupt) {
            return Err(Refusal::Corrupt);
        }
        if control.state().is_raised(AlarmKind::NoSpace) {
            return Err(Refusal::NoSpace);
        }
        if request.ttl > TTL_MAX {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        let chosen = request.id == LeaseId::NONE;
        let id = if chosen { self.choose_id(control.state()) } else { request.id };
        if control.state().leases.contains_key(&id) {
            return Err(Refusal::LeaseExist);
        }
        let ttl = request.ttl.max(self.config.ttl_min);
        let Some(index) = control.propose(&Command::LeaseGrant { id, ttl }) else {
            return Err(not_proposed(control));
        };
        self.granting.insert(index, Granting { origin, chosen });
        Ok(())
    }

    /// etcd's form: the member's number above a number that was not used before.
    fn choose_id(&mut self, state: &State) -> LeaseId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let number = self.member.0 << 48 | self.last_id & ((1 << 48) - 1);
            let id = LeaseId(number as i64 & i64::MAX);
            if id != LeaseId::NONE && !state.leases.contains_key(&id) {
                return id;
            }
        }
    }

    fn revoke(&mut self, origin: Origin, id: LeaseId, control: &Control) -> Result<(), Refusal> {
        if control.state().is_raised(AlarmKind::Corrupt) {
            return Err(Refusal::Corrupt);
        }
        if self.deadlines.find(id) == Found::Missing {
            return Err(Refusal::LeaseNotFound);
        }
        if self.deadlines.is_going(id) {
            // Somebody was before: there is no such lease, as soon as its keys are gone.
            self.waiting.entry(id).or_default().push((origin, Wants::Revoke));
            return Ok(());
        }
        self.deadlines.mark_going(id);
        self.end(id, Some(origin), false);
        self.leaving.push_back(id);
        Ok(())
    }

    fn keep_alive_later(&mut self, origin: Origin, id: LeaseId) {
        match self.deadlines.find(id) {
            Found::Live { .. } => {
                self.deadlines.renew(id);
                self.clearing.push_back((origin, id));
            }
            _ => self.waiting.entry(id).or_default().push((origin, Wants::KeepAlive)),
        }
    }

    fn end(&mut self, id: LeaseId, revoker: Option<Origin>, expiring: bool) {
        let ending = Ending { revoker, expiring, revision: Revision::EMPTY };
        assert!(self.ending.insert(id, ending).is_none(), "lease {id} ends twice");
        self.expiring += usize::from(expiring);
    }

    /// At a tick: marks what is overdue, as far as the pace allows it.
    fn expire(&mut self, control: &Control) -> bool {
        if !self.is_tick || control.state().is_raised(AlarmKind::Corrupt) {
            return false;
        }
        let now = self.deadlines.now();
        let burst = LEASE_EXPIRY_BURST * EXPIRY_NANOS;
        self.credit = self.credit.saturating_add(now.since(self.credited)).min(burst);
        self.credited = now;
        let mut looks = LEASE_LOOKS_PER_TURN;
        while self.credit >= EXPIRY_NANOS && self.expiring < LEASES_EXPIRING_MAX {
            let Some(id) = self.deadlines.next_passed(&mut looks) else {
                let more = looks == 0 && self.deadlines.has_passed();
                self.is_tick = more;
                return more;
            };
            self.credit -= EXPIRY_NANOS;
            self.end(id, None, true);
            self.leaving.push_back(id);
            self.counters.expired += 1;
        }
        self.is_tick = false;
        false
    }

    fn propose_ends(&mut self, control: &mut Control) {
        let going = |ids| Command::LeaseGoing { ids };
        propose_all(&mut self.leaving, control, going);
        let gone = |ids| Command::LeaseGone { ids };
        propose_all(&mut self.settled, control, gone);
    }

    /// Has what is left of leases written down.
    fn propose_notes(&mut self, control: &mut Control) {
        if !control.replica().can_propose(ENTRY_BYTES_MAX) {
            return;
        }
        let count = self.clearing.len().min(LEASE_COMMAND_IDS_MAX);
        let renewed: Vec<(Origin, LeaseId)> = self.clearing.drain(..count).collect();
        let mut left: Vec<(LeaseId, i64)> = renewed.iter().map(|&(_, id)| (id, 0)).collect();
        left.extend(self.deadlines.next_checkpoints(LEASE_COMMAND_IDS_MAX - count));
        if left.is_empty() {
            return;
        }
        let index = control.propose(&Command::LeaseCheckpoint { left });
        // If it no longer leads after all, the epoch is about to end, and all of this with it.
        let index = index.unwrap_or(LogIndex(u64::MAX));
        self.noting.entry(index).or_default().extend(renewed);
    }

    /// A grant is committed.
    pub fn granted(
        &mut self,
        (index, id, ttl): (LogIndex, LeaseId, i64),
        changed: bool,
        control: &mut Control,
        stable: Revision,
        effects: &mut LeaderEffects,
    ) {
        let Some(Granting { origin, chosen }) = self.granting.remove(&index) else { return };
        if changed {
            self.deadlines.begin(id, ttl, 0, 0);
            self.count_granted(ttl);
            let reply = LeaseGrantReply { revision: stable, id, ttl };
            self.news.added.push(id);
            self.news.granted.push((origin, Ok(Reply::LeaseGrant(reply))));
            return;
        }
        let answer = if chosen {
            // A client chose the same number meanwhile.
            match self.grant(origin, LeaseGrantRequest { id: LeaseId::NONE, ttl }, control) {
                Ok(()) => return,
                Err(refusal) => refusal,
            }
        } else {
            Refusal::LeaseExist
        };
        effects.decided.push((origin, Err(answer)));
    }

    fn count_granted(&mut self, ttl: i64) {
        self.counters.granted += 1;
        self.counters.ttls.add(ttl as u64);
    }

    /// It is committed that these end: every core is to refuse them.
    pub fn going(&mut self, ids: Vec<LeaseId>) {
        if self.is_open {
            self.news.going.extend(ids);
        }
    }

    /// A round has deleted the keys of a lease; that is final when stable reaches `revision`.
    pub fn deleted(&mut self, id: LeaseId, revision: Revision) {
        let ending = self.ending.get_mut(&id).expect("a round of this epoch");
        ending.revision = revision;
        self.settling.insert((revision, id));
    }

    /// It is committed that these are gone.
    pub fn gone(&mut self, ids: &[LeaseId], stable: Revision, effects: &mut LeaderEffects) {
        if !self.is_open {
            return;
        }
        for &id in ids {
            self.deadlines.remove(id);
            let ending = self.ending.remove(&id).expect("gone follows going");
            self.expiring -= usize::from(ending.expiring);
            self.counters.revoked += 1;
            if let Some(origin) = ending.revoker {
                let reply = LeaseRevokeReply { revision: ending.revision };
                effects.decided.push((origin, Ok(Reply::LeaseRevoke(reply))));
            }
            for (origin, wants) in self.waiting.remove(&id).into_iter().flatten() {
                let answer = match wants {
                    Wants::KeepAlive => kept(id, 0, stable),
                    Wants::TimeToLive => Ok(left(id, None, stable)),
                    Wants::Revoke => Err(Refusal::LeaseNotFound),
                };
                effects.decided.push((origin, answer));
            }
        }
    }

    /// It is committed what is left of leases.
    pub fn noted(
        &mut self,
        index: LogIndex,
        left: &[(LeaseId, i64)],
        stable: Revision,
        effects: &mut LeaderEffects,
    ) {
        if !self.is_open {
            return;
        }
        for &(id, remaining) in left {
            self.deadlines.noted(id, remaining);
        }
        for (origin, id) in self.noting.remove(&index).into_iter().flatten() {
            match self.deadlines.find(id) {
                Found::Live { ttl, .. } => {
                    self.counters.renewed += 1;
                    effects.decided.push((origin, kept(id, ttl, stable)));
                }
                Found::Missing => effects.decided.push((origin, kept(id, 0, stable))),
                Found::Ending => {
                    self.waiting.entry(id).or_default().push((origin, Wants::KeepAlive));
                }
            }
        }
    }

    /// Takes what every core must learn of this turn.
    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }
}

/// Proposes `ids`, in as many entries as it takes, as far as the log takes them.
fn propose_all(
    ids: &mut VecDeque<LeaseId>,
    control: &mut Control,
    command: impl Fn(Vec<LeaseId>) -> Command,
) {
    while !ids.is_empty() && control.replica().can_propose(ENTRY_BYTES_MAX) {
        let count = ids.len().min(LEASE_COMMAND_IDS_MAX);
        let some: Vec<LeaseId> = ids.iter().take(count).copied().collect();
        if control.propose(&command(some)).is_none() {
            return;
        }
        ids.drain(..count);
    }
}

/// Makes the reply about what is left of a lease and what it was granted; `None`: there is no such
/// lease.
fn left(id: LeaseId, left: Option<(i64, i64)>, revision: Revision) -> Reply {
    let (ttl, granted_ttl) = left.unwrap_or((-1, 0));
    let keys = Vec::new();
    Reply::LeaseTimeToLive(LeaseTimeToLiveReply { revision, id, ttl, granted_ttl, keys })
}

fn not_proposed(control: &Control) -> Refusal {
    if control.replica().is_leader() { Refusal::TooManyRequests } else { Refusal::LeaderChanged }
}

fn kept(id: LeaseId, ttl: i64, revision: Revision) -> Answer {
    Ok(Reply::LeaseKeepAlive(LeaseKeepAliveReply { revision, id, ttl }))
}
