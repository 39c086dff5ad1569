//! Every lease as its clients may know it, and whether the member keeps its promises about it.
//!
//! ```text
//!          grant                    renewals                         end
//!   ────────┤══════════ alive ═════════╪══════════ alive ═══════════╡──── gone ────▶
//!           └─ no earlier end ─────────┴─ asked + TTL ─┘
//! ```
//!
//! - *No end without a cause*: whoever finds a granted lease missing needs a client that asked for
//!   its end, or a time at which its last renewal is older than its TTL. Time in which the process
//!   was paused does not count, and what was alive when the power went has its whole TTL again.
//! - *No return*: once a client was told that a lease is gone, nobody finds it any more, no key is
//!   attached to it, and none comes after that.
//! - *An end in time*: when everything has slept after a tick beyond the last moment, it is gone.
//! - *All keys at one revision*: [`super::line`] knows no other end; if nothing else explains a
//!   revision, the lease had a cause to end when it was seen.
//!
//! Time is counted twice, from both sides: `most` is what leases may have felt (the clock without
//! the pauses that the simulator made), `least` is what they must have felt (only gaps between two
//! steps of the leader's core that nobody can take for a pause).
//!
//! A number that was granted again while somebody may have asked for the older lease's end is left
//! out from then on: nobody can tell the two apart. A call that is certain to be refused can change
//! nothing, whether or not its client ever hears so: it is no rival of any lease.

use std::collections::{BTreeMap, BTreeSet};

use super::call::ClientCall;
use super::line::{Broken, ObservedLine, Shown};
use crate::types::{
    LeaseGrantRequest, LeaseId, LeaseTimeToLiveReply, Op, Refusal, Reply, Request, TxnRequest,
};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// Fake time as leases may feel it; see the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    pub step: u64,
    pub most: u64,
    pub least: u64,
    /// `least` at the last tick of the leader's core.
    pub ticked: u64,
    seen: Option<u64>,
}

impl Clock {
    /// The leader's core does a step at `now`; a longer gap than `pause` it may take for one.
    pub fn look(&mut self, now: u64, pause: u64, is_tick: bool) {
        let gap = self.seen.map_or(0, |seen| now - seen);
        if gap <= pause {
            self.least += gap;
        }
        self.seen = Some(now);
        if is_tick {
            self.ticked = self.least;
        }
    }

    /// The process ends: nobody looks until it is back.
    pub fn crash(&mut self) {
        self.seen = None;
    }
}

/// The checker of leases.
#[derive(Debug)]
pub struct Leases {
    /// Seconds; shorter TTLs are raised to it.
    ttl_min: i64,
    /// Nanoseconds: what a restart gives a lease beyond its TTL.
    extension: u64,
    known: BTreeMap<LeaseId, Lease>,
    /// Calls that were asked and not answered: what held when they were.
    open: BTreeMap<u64, OpenLeaseCall>,
    /// Numbers that the leader chose.
    chosen: BTreeSet<LeaseId>,
    /// The last time at which everything slept: the step, and the leader's last tick.
    rested: (u64, u64),
    /// When the power last went, of [`Clock::most`].
    crashed: u64,
    /// Seconds: the longest that anybody asked for.
    longest: i64,
}

/// A lease, or one that may have been granted.
#[derive(Debug)]
struct Lease {
    /// Seconds, as granted or as it would be.
    ttl: i64,
    /// Its grant was answered at this step.
    granted: Option<u64>,
    /// It does not end by itself before.
    not_before: u64,
    /// It ends by itself by then, of [`Clock::least`], if `is_sure`.
    not_after: u64,
    is_sure: bool,
    /// Somebody asked for its end.
    is_revoked: bool,
    /// The first time that it was found missing: with nobody having asked for it.
    missed: Option<u64>,
    /// Somebody was told that it is gone, at this step.
    gone: Option<u64>,
    /// Somebody was refused a put to it, at this step.
    refused: Option<u64>,
    /// Two grants cannot be told apart.
    is_blurred: bool,
    /// Other grants of its number that are not answered: they may be refused.
    rivals: u32,
}

#[derive(Debug)]
struct OpenLeaseCall {
    step: u64,
    most: u64,
    /// Before which the leases that it is about do not end.
    not_before: BTreeMap<LeaseId, u64>,
    names: BTreeSet<LeaseId>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    KeepAlive,
    Revoke,
    /// A grant of a number that somebody has, or had.
    Rival,
    Other,
}

/// The lease as a request found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// It can still be used.
    Usable,
    /// It is there, maybe on its way out.
    There,
}

impl Leases {
    /// Without leases.
    pub fn new(ttl_min: i64, extension: u64) -> Leases {
        Leases {
            ttl_min,
            extension,
            known: BTreeMap::new(),
            open: BTreeMap::new(),
            chosen: BTreeSet::new(),
            rested: (0, 0),
            crashed: 0,
            longest: 0,
        }
    }

    /// A client asks.
    pub fn asked(&mut self, id: u64, request: &Request, now: Clock) {
        let names = names(request);
        if names.is_empty() && !matches!(request, Request::LeaseGrant(_) | Request::LeaseLeases) {
            return;
        }
        if is_refused_for_certain(request) {
            return;
        }
        let known = |lease: &&LeaseId| self.known.contains_key(lease);
        let not_before = match request {
            Request::LeaseLeases => self.known.iter().map(|(&id, l)| (id, l.not_before)).collect(),
            _ => names.iter().filter(known).map(|l| (*l, self.known[l].not_before)).collect(),
        };
        let mut what = What::Other;
        match request {
            Request::LeaseGrant(grant) => {
                self.longest = self.longest.max(grant.ttl).max(self.ttl_min);
                if grant.id != LeaseId::NONE && self.grants(grant.id, grant.ttl) {
                    what = What::Rival;
                }
            }
            Request::LeaseRevoke { id } => {
                what = What::Revoke;
                if let Some(lease) = self.known.get_mut(id) {
                    lease.is_revoked = true;
                }
            }
            // If nobody hears the answer, it may be renewed at any time.
            Request::LeaseKeepAlive { id } => {
                if let Some(lease) = self.known.get_mut(id) {
                    lease.is_sure = false;
                }
                what = What::KeepAlive;
            }
            _ => {}
        }
        self.open
            .insert(id, OpenLeaseCall { step: now.step, most: now.most, not_before, names, what });
    }

    /// Whether somebody has asked for that and was not answered.
    fn is_asked(&self, id: LeaseId, what: What) -> bool {
        self.open.values().any(|asked| asked.what == what && asked.names.contains(&id))
    }

    /// A client asks for a lease by a number of its own. Whether somebody may have it.
    fn grants(&mut self, id: LeaseId, ttl: i64) -> bool {
        let mut lease = Lease::new(ttl.max(self.ttl_min));
        // Somebody may have asked for its end before it was there.
        lease.is_revoked = self.is_asked(id, What::Revoke);
        let is_busy = self.open.values().any(|asked| asked.names.contains(&id));
        match self.known.get_mut(&id) {
            None => drop(self.known.insert(id, lease)),
            // The older one is gone, and nobody is about to ask for anything of it.
            Some(old) if old.gone.is_some() && !is_busy && !old.is_blurred => *old = lease,
            Some(old) => {
                old.rivals += 1;
                return true;
            }
        }
        false
    }

    /// A client is answered.
    pub fn answered(
        &mut self,
        call: &ClientCall,
        line: &ObservedLine,
        now: Clock,
        stable: i64,
    ) -> Result<(), Broken> {
        let answer = &call.answered.as_ref().expect("it is answered").answer;
        if is_refused_for_certain(&call.request) && answer.is_ok() {
            return Err(format!("lease: it had to be refused: {call:?}"));
        }
        let Some(asked) = self.open.remove(&call.id) else { return Ok(()) };
        let judged = match (&call.request, answer) {
            (Request::LeaseGrant(grant), _) => self.grant_answered(grant, call, &asked, now),
            (Request::LeaseRevoke { id }, Ok(_)) => self
                .found(*id, Found::There, &asked)
                .and_then(|()| self.gone(*id, &asked, line, now, stable)),
            (Request::LeaseRevoke { id }, Err(Refusal::LeaseNotFound)) => {
                self.gone(*id, &asked, line, now, stable)
            }
            (_, Ok(Reply::LeaseKeepAlive(reply))) if reply.ttl > 0 => self
                .found(reply.id, Found::Usable, &asked)
                .and_then(|()| self.renewed(reply.id, reply.ttl, &asked, now)),
            (_, Ok(Reply::LeaseKeepAlive(reply))) => self.gone(reply.id, &asked, line, now, stable),
            (request, Ok(Reply::Put(_) | Reply::Txn(_))) => {
                let attached = attached(request, line, call.made());
                attached.into_iter().try_for_each(|id| self.found(id, Found::Usable, &asked))
            }
            (_, Ok(Reply::LeaseTimeToLive(reply))) => {
                self.time_to_live(call, reply, &asked, line, now, stable)
            }
            (_, Ok(Reply::LeaseLeases(reply))) => {
                self.listed(&reply.leases, &asked, line, now, stable)
            }
            (request, Err(Refusal::LeaseNotFound)) => self.refused(request, &asked, now),
            _ => Ok(()),
        };
        judged.map_err(|broken| {
            let known: BTreeMap<_, _> =
                asked.names.iter().filter_map(|id| self.known.get_key_value(id)).collect();
            format!("lease: {broken}: at {now:?}, known {known:?}, {call:?}")
        })
    }

    fn grant_answered(
        &mut self,
        grant: &LeaseGrantRequest,
        call: &ClientCall,
        asked: &OpenLeaseCall,
        now: Clock,
    ) -> Result<(), Broken> {
        let answer = &call.answered.as_ref().expect("it is answered").answer;
        let is_chosen = grant.id == LeaseId::NONE;
        if asked.what == What::Rival
            && let Some(lease) = self.known.get_mut(&grant.id)
        {
            lease.rivals = lease.rivals.saturating_sub(1);
            if answer.is_ok() || call.is_unknown() {
                // It may have been renewed since as the new one.
                let until = asked.not_before.get(&grant.id).copied().unwrap_or(0);
                let is_over = lease.is_revoked || lease.is_blurred || now.most >= until;
                if answer.is_ok() && lease.granted.is_some() && !is_over {
                    return Err("it was granted twice".to_owned());
                }
                lease.is_blurred = true;
            }
        } else if is_refusal(call) {
            // Nobody was granted it, and nobody will be by this call.
            let asked_for_only = |lease: &Lease| lease.granted.is_none() && !lease.is_blurred();
            if self.known.get(&grant.id).is_some_and(asked_for_only) {
                self.known.remove(&grant.id);
            }
        }
        match answer {
            Ok(Reply::LeaseGrant(reply)) => {
                let is_form =
                    reply.ttl == grant.ttl.max(self.ttl_min) && (is_chosen || grant.id == reply.id);
                if !is_form || reply.id == LeaseId::NONE {
                    return Err("it is not what was asked for".to_owned());
                }
                self.granted(is_chosen, reply.id, reply.ttl, asked, now)
            }
            Err(Refusal::LeaseExist) if is_chosen => {
                Err("the leader chose a number that is taken".to_owned())
            }
            Err(Refusal::LeaseExist) => self.found(grant.id, Found::There, asked),
            _ => Ok(()),
        }
    }

    fn granted(
        &mut self,
        is_chosen: bool,
        id: LeaseId,
        ttl: i64,
        asked: &OpenLeaseCall,
        now: Clock,
    ) -> Result<(), Broken> {
        if is_chosen {
            if id.0 < 0 || !self.chosen.insert(id) {
                return Err(format!("the leader chose {id} before"));
            }
            if self.known.get(&id).is_some_and(|other| other.gone.is_none()) {
                return Err(format!("the leader chose {id}, which a client had"));
            }
            self.known.insert(id, Lease::new(ttl));
        }
        let is_open = self.is_asked(id, What::KeepAlive);
        let lease = self.known.get_mut(&id).expect("a lease that was asked for is known");
        lease.is_blurred |= lease.granted.is_some() || lease.ttl != ttl;
        lease.granted = Some(now.step);
        lease.is_sure = !is_open;
        lease.not_before = asked.most + ttl as u64 * SECOND;
        lease.not_after = now.least + ttl as u64 * SECOND;
        Ok(())
    }

    fn renewed(
        &mut self,
        id: LeaseId,
        ttl: i64,
        asked: &OpenLeaseCall,
        now: Clock,
    ) -> Result<(), Broken> {
        let is_open = self.is_asked(id, What::KeepAlive);
        let lease = self.known.get_mut(&id).expect("it was found");
        lease.not_before = lease.not_before.max(asked.most + ttl as u64 * SECOND);
        lease.not_after = lease.not_after.max(now.least + ttl as u64 * SECOND);
        // Another one may be under way.
        lease.is_sure = lease.granted.is_some() && !is_open;
        if lease.is_blurred() {
            return Ok(());
        }
        if lease.granted.is_some() && ttl != lease.ttl {
            return Err(format!("it has a TTL of {}", lease.ttl));
        }
        match lease.missed {
            Some(missed) if missed < lease.not_before => {
                Err(format!("it was found missing at {missed}, before its time was over"))
            }
            _ => Ok(()),
        }
    }

    /// Somebody found it who asked at `asked`.
    fn found(&mut self, id: LeaseId, found: Found, asked: &OpenLeaseCall) -> Result<(), Broken> {
        let rested = self.rested;
        let lease = self.known.get(&id).ok_or_else(|| format!("nobody was granted {id}"))?;
        if lease.is_blurred() {
            return Ok(());
        }
        if lease.gone.is_some_and(|step| step < asked.step) {
            return Err(format!("{id} was gone before"));
        }
        if found == Found::Usable && lease.refused.is_some_and(|step| step < asked.step) {
            return Err(format!("{id} was refused before"));
        }
        if lease.is_sure && rested.0 < asked.step && lease.not_after + SLACK < rested.1 {
            return Err(format!("{id} should have ended by itself before {}", rested.1));
        }
        Ok(())
    }

    /// Somebody found it missing.
    fn missed(&mut self, id: LeaseId, asked: &OpenLeaseCall, most: u64) -> Result<(), Broken> {
        let Some(lease) = self.known.get_mut(&id) else { return Ok(()) };
        let was_granted = lease.granted.is_some_and(|step| step < asked.step);
        if !was_granted || lease.is_blurred() || lease.is_revoked {
            return Ok(());
        }
        // If it names several, another one may have been missing.
        if asked.names.len() == 1 {
            lease.missed.get_or_insert(most);
        }
        if most < lease.not_before {
            let left = lease.not_before - most;
            return Err(format!("{id} is missing, and had {left} ns left"));
        }
        Ok(())
    }

    /// Somebody was told that it is gone, with all its keys.
    fn gone(
        &mut self,
        id: LeaseId,
        asked: &OpenLeaseCall,
        line: &ObservedLine,
        now: Clock,
        stable: i64,
    ) -> Result<(), Broken> {
        self.missed(id, asked, now.most)?;
        let Some(lease) = self.known.get_mut(&id) else { return Ok(()) };
        // One that was asked for may be granted now.
        if lease.is_blurred() || lease.granted.is_none_or(|step| step >= asked.step) {
            return Ok(());
        }
        lease.gone.get_or_insert(now.step);
        let keys = line.shown().keys_of(id, stable);
        if keys.is_empty() { Ok(()) } else { Err(format!("{id} is gone, but not {keys:?}")) }
    }

    fn refused(
        &mut self,
        request: &Request,
        asked: &OpenLeaseCall,
        now: Clock,
    ) -> Result<(), Broken> {
        let mut first = None;
        for id in names(request) {
            match self.missed(id, asked, now.most) {
                Ok(()) => {
                    // With one name, it is known which one was missing.
                    if asked.names.len() == 1
                        && let Some(lease) = self.known.get_mut(&id)
                        && lease.granted.is_some_and(|step| step < asked.step)
                    {
                        lease.refused.get_or_insert(now.step);
                    }
                    return Ok(());
                }
                Err(broken) => first = first.or(Some(broken)),
            }
        }
        Err(first.unwrap_or_else(|| "it names no lease".to_owned()))
    }

    fn time_to_live(
        &mut self,
        call: &ClientCall,
        reply: &LeaseTimeToLiveReply,
        asked: &OpenLeaseCall,
        line: &ObservedLine,
        now: Clock,
        stable: i64,
    ) -> Result<(), Broken> {
        let id = reply.id;
        if reply.ttl < 0 {
            if (reply.ttl, reply.granted_ttl, reply.keys.len()) != (-1, 0, 0) {
                return Err("what is missing has nothing".to_owned());
            }
            return self.gone(id, asked, line, now, stable);
        }
        self.found(id, Found::There, asked)?;
        let lease = &self.known[&id];
        if lease.is_blurred() {
            return Ok(());
        }
        if lease.granted.is_some() && reply.granted_ttl != lease.ttl {
            return Err(format!("its TTL is {}", lease.ttl));
        }
        if reply.ttl > lease.ttl + self.extension.div_ceil(SECOND) as i64 {
            return Err(format!("more than its TTL of {} is left", lease.ttl));
        }
        let not_before = asked.not_before.get(&id).copied().unwrap_or(0);
        let least = not_before.saturating_sub(now.most) / SECOND;
        if !lease.is_revoked && reply.ttl < least as i64 {
            return Err(format!("{least} seconds must be left"));
        }
        let Request::LeaseTimeToLive(request) = &call.request else { unreachable!() };
        if !request.keys {
            return if reply.keys.is_empty() { Ok(()) } else { Err("unasked keys".to_owned()) };
        }
        let from = call.invoked.after.max(call.invoked.stable);
        check_keys(reply, line, from, stable)
    }

    fn listed(
        &mut self,
        leases: &[LeaseId],
        asked: &OpenLeaseCall,
        line: &ObservedLine,
        now: Clock,
        stable: i64,
    ) -> Result<(), Broken> {
        let set: BTreeSet<LeaseId> = leases.iter().copied().collect();
        if set.len() != leases.len() {
            return Err("a lease is listed twice".to_owned());
        }
        // One that the leader chose for somebody who was not told has no other trace.
        let told = leases.iter().filter(|id| self.known.contains_key(id) || id.0 < CHOSEN_MIN);
        for &id in told.collect::<Vec<_>>() {
            self.found(id, Found::There, asked)?;
        }
        let unlisted: Vec<LeaseId> =
            self.known.keys().filter(|id| !set.contains(id)).copied().collect();
        for id in unlisted {
            self.gone(id, asked, line, now, stable)?;
        }
        Ok(())
    }

    /// A revision is stable that was not before: no key may be attached to what is gone.
    pub fn shown(&self, line: &ObservedLine, revision: i64) -> Result<(), Broken> {
        for change in line.changes(revision) {
            let Some(kv) = &change.put else { continue };
            if kv.lease == LeaseId::NONE {
                continue;
            }
            let Some(lease) = self.known.get(&kv.lease) else {
                return Err(format!("lease: nobody was granted {}: {change:?}", kv.lease));
            };
            if !lease.is_blurred() && lease.gone.is_some() {
                return Err(format!(
                    "lease: {} was gone before revision {revision}: {change:?}, {lease:?}",
                    kv.lease
                ));
            }
        }
        Ok(())
    }

    /// Revisions that only the end of a lease explains: each had a cause.
    pub fn ended(&mut self, ends: &[(i64, LeaseId)], line: &ObservedLine) -> Result<(), Broken> {
        for &(revision, id) in ends {
            let Shown { step, time } = line.shown_at(revision);
            let asked = OpenLeaseCall {
                step,
                most: time,
                not_before: BTreeMap::new(),
                names: BTreeSet::new(),
                what: What::Other,
            };
            if self.known.get(&id).is_some_and(|lease| lease.granted > Some(step)) {
                continue; // Another lease has its number now.
            }
            self.missed(id, &asked, time)
                .map_err(|broken| format!("lease: revision {revision}: {broken}"))?;
        }
        Ok(())
    }

    /// Everything sleeps.
    pub fn rest(&mut self, now: Clock) {
        self.rested = (now.step, now.ticked);
    }

    /// The power goes.
    pub fn crash(&mut self, now: Clock) {
        self.open.clear();
        self.crashed = now.most;
        for lease in self.known.values_mut() {
            lease.is_sure = false;
            lease.is_blurred |= lease.rivals > 0;
        }
    }

    /// An epoch is open after a start at `began`: what was not over has its whole TTL again.
    pub fn opened(&mut self, began: u64, now: Clock) {
        for lease in self.known.values_mut() {
            let ttl = lease.ttl as u64 * SECOND;
            // A lease that was over when the power went may be on its way out already.
            if lease.not_before > self.crashed {
                lease.not_before = began + ttl;
            }
            if lease.granted.is_some() {
                lease.not_after = now.least + ttl + self.extension;
                lease.is_sure = true;
            }
        }
    }

    /// Nanoseconds after which nobody can have a lease who asks for nothing.
    pub fn longest(&self) -> u64 {
        self.longest as u64 * SECOND + self.extension + SLACK
    }

    /// Whether there may be any.
    pub fn is_used(&self) -> bool {
        self.longest > 0
    }
}

/// Nanoseconds that an end by itself may be late, all asleep.
const SLACK: u64 = SECOND / 2;
/// Seconds above which a TTL is refused, always.
const TTL_MAX: i64 = 9_000_000_000;
/// Numbers from here on are the leader's choice.
const CHOSEN_MIN: i64 = 1 << 48;

impl Lease {
    fn new(ttl: i64) -> Lease {
        Lease {
            ttl,
            granted: None,
            not_before: 0,
            not_after: 0,
            is_sure: false,
            is_revoked: false,
            missed: None,
            gone: None,
            refused: None,
            is_blurred: false,
            rivals: 0,
        }
    }

    fn is_blurred(&self) -> bool {
        self.is_blurred || self.rivals > 0
    }
}

/// The keys that a lease is said to have were all there at some time in between, and no other.
fn check_keys(
    reply: &LeaseTimeToLiveReply,
    line: &ObservedLine,
    from: i64,
    to: i64,
) -> Result<(), Broken> {
    let named: BTreeSet<Vec<u8>> = reply.keys.iter().map(|key| key.to_vec()).collect();
    let mut ever = BTreeSet::new();
    let mut always: Option<BTreeSet<Vec<u8>>> = None;
    for revision in from..=to {
        let keys: BTreeSet<Vec<u8>> =
            line.shown().keys_of(reply.id, revision).into_iter().collect();
        ever.extend(keys.iter().cloned());
        always = Some(match always {
            None => keys,
            Some(always) => always.intersection(&keys).cloned().collect(),
        });
    }
    let always = always.unwrap_or_default();
    if !named.is_subset(&ever) {
        return Err(format!("between {from} and {to} it had no keys but {ever:?}"));
    }
    if !always.is_subset(&named) {
        return Err(format!("between {from} and {to} it had the keys {always:?}"));
    }
    Ok(())
}

/// Whether a grant is over without a lease, and not because its number is taken.
fn is_refusal(call: &ClientCall) -> bool {
    match &call.answered.as_ref().expect("it is answered").answer {
        Ok(_) | Err(Refusal::LeaseExist) => false,
        Err(_) => !call.is_unknown(),
    }
}

/// Whether nobody can be told anything but no, whatever the member has seen: such a call may go
/// unanswered and still has changed nothing.
pub fn is_refused_for_certain(request: &Request) -> bool {
    matches!(request, Request::LeaseGrant(grant) if grant.ttl > TTL_MAX)
}

/// The leases that a request names.
pub fn names(request: &Request) -> BTreeSet<LeaseId> {
    fn of_txn(txn: &TxnRequest, found: &mut BTreeSet<LeaseId>) {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Put(put) if !put.ignore_lease => drop(found.insert(put.lease)),
                Op::Txn(nested) => of_txn(nested, found),
                _ => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    match request {
        Request::Put(put) if !put.ignore_lease => drop(found.insert(put.lease)),
        Request::Txn(txn) => of_txn(txn, &mut found),
        Request::LeaseGrant(grant) => drop(found.insert(grant.id)),
        Request::LeaseRevoke { id } | Request::LeaseKeepAlive { id } => drop(found.insert(*id)),
        Request::LeaseTimeToLive(request) => drop(found.insert(request.id)),
        _ => {}
    }
    found.remove(&LeaseId::NONE);
    found
}

/// The leases that a write that made `revision` named for what it put.
fn attached(request: &Request, line: &ObservedLine, revision: Option<i64>) -> BTreeSet<LeaseId> {
    fn of_txn(txn: &TxnRequest, found: &mut BTreeSet<(Vec<u8>, LeaseId)>) {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Put(put) if !put.ignore_lease => {
                    found.insert((put.key.to_vec(), put.lease));
                }
                Op::Txn(nested) => of_txn(nested, found),
                _ => {}
            }
        }
    }
    let mut named = BTreeSet::new();
    match request {
        Request::Put(put) if !put.ignore_lease => {
            named.insert((put.key.to_vec(), put.lease));
        }
        Request::Txn(txn) => of_txn(txn, &mut named),
        _ => {}
    }
    let changes = revision.map_or(&[][..], |revision| line.changes(revision));
    let puts = changes.iter().filter_map(|change| Some((&change.key, change.put.as_ref()?.lease)));
    let puts = puts.filter(|(key, lease)| named.contains(&((*key).clone(), *lease)));
    puts.map(|(_, lease)| lease).filter(|lease| *lease != LeaseId::NONE).collect()
}

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;
