//! The line as it was seen, and whether a sequential store explains it.
//!
//! ```text
//!  harvest        each time stable rises: what every shard holds of the new revisions
//!  recovered      each time an epoch opens: what the disk gave back, compared with the harvest
//!  settle         then every revision up to the cut is given the call that made it, and the model
//!                 carries all calls out in the order of the line: each must come to the answer
//!                 that it was given, and to the changes that are there
//! ```
//!
//! A call whose client was never told may have made a revision or not; once an epoch has opened
//! without it, it is gone for good.
//!
//! The end of a lease makes a revision, too, whoever or whatever ended it: all keys that are
//! attached to it vanish, and nothing else happens. Whether it had to end is [`super::leases`]'s.

use std::collections::BTreeMap;

use super::call::ClientCall;
use super::host::Host;
use super::model::{Change, Model};
use super::verdict;
use super::workload::call_of;
use crate::types::{KeyRange, LeaseId, RangeRequest, Request, Revision};

/// A broken promise, in words.
pub type Broken = String;

/// The line as it was observed.
#[derive(Debug)]
pub struct ObservedLine {
    model: Model,
    /// Everything up to the highest revision that was ever seen stable, as it was found.
    shown: Model,
    /// When each revision was first seen stable.
    shown_at: Vec<Shown>,
    /// Revisions that only the end of a lease explains.
    lease_ends: Vec<(i64, LeaseId)>,
    /// The changes of each revision; the first two are no revisions.
    revisions: Vec<Vec<Change>>,
    /// Everything up to here has its call.
    settled: i64,
    /// (hash revision, compact revision) to hash.
    hashes: BTreeMap<(i64, i64), u32>,
}

/// When a revision was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    pub step: u64,
    /// Fake time without the pauses of the process.
    pub time: u64,
}

/// In the place of a call that made a revision: the end of a lease.
const LEASE_END: usize = usize::MAX;

/// A revision that several calls of unknown outcome explain, and those not yet tried.
struct Choice {
    revision: i64,
    rest: Vec<usize>,
}

impl ObservedLine {
    /// Begins with an empty store, at revision 1.
    pub fn new() -> ObservedLine {
        ObservedLine {
            model: Model::default(),
            shown: Model::default(),
            shown_at: vec![Shown::default(); 2],
            lease_ends: Vec::new(),
            revisions: vec![Vec::new(), Vec::new()],
            settled: 1,
            hashes: BTreeMap::new(),
        }
    }

    /// The highest revision that was ever seen stable.
    pub fn newest(&self) -> i64 {
        self.revisions.len() as i64 - 1
    }

    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    /// Every state up to the newest revision.
    pub fn shown(&self) -> &Model {
        &self.shown
    }

    /// Returns the changes of a revision, in the order of its events.
    pub fn changes(&self, revision: i64) -> &[Change] {
        &self.revisions[revision as usize]
    }

    /// When a revision was first seen.
    pub fn shown_at(&self, revision: i64) -> Shown {
        self.shown_at[revision as usize]
    }

    /// The revisions settled since the last time that only the end of a lease explains.
    pub fn take_lease_ends(&mut self) -> Vec<(i64, LeaseId)> {
        std::mem::take(&mut self.lease_ends)
    }

    pub(super) fn hashes(&mut self) -> &mut BTreeMap<(i64, i64), u32> {
        &mut self.hashes
    }

    /// Takes what is stable now and was not before.
    pub fn harvest(&mut self, host: &Host, now: Shown) -> Result<(), Broken> {
        for shard in host.shards() {
            let (most, bound) = (shard.counters().turn_visits_max, shard.turn_visits_bound());
            if most > bound as u64 {
                return Err(format!("a turn visited {most} keys, more than {bound}"));
            }
        }
        let (from, to) = (self.newest(), host.shared.sequencer.stable().0);
        if to <= from {
            return Ok(());
        }
        self.revisions.resize(to as usize + 1, Vec::new());
        for (revision, change) in held(host, from, to) {
            self.revisions[revision as usize].push(change);
        }
        for revision in from + 1..=to {
            let changes = &mut self.revisions[revision as usize];
            if changes.is_empty() {
                return Err(format!("R5: nothing is there of revision {revision}, below {to}"));
            }
            changes.sort_by(|a, b| (a.sub, &a.key).cmp(&(b.sub, &b.key)));
            self.shown.push(revision, changes);
            self.shown_at.push(now);
        }
        Ok(())
    }

    /// An epoch opened at `cut` on what a disk gave back.
    pub fn recovered(&mut self, host: &Host, cut: i64, now: Shown) -> Result<(), Broken> {
        let stable = self.newest();
        if cut < stable {
            return Err(format!("R4: stable was {stable}, but the cut is {cut}"));
        }
        let compacted = host.shards().map(|shard| shard.store().compacted()).max().unwrap_or(-1);
        let from = compacted.max(1);
        if from > stable {
            return Err(format!("it is compacted at {compacted}, above stable {stable}"));
        }
        let mut found: BTreeMap<i64, Vec<Change>> = BTreeMap::new();
        for (revision, change) in held(host, from, stable) {
            found.entry(revision).or_default().push(change);
        }
        for revision in from + 1..=stable {
            let mut found = found.remove(&revision).unwrap_or_default();
            found.sort_by(|a, b| (a.sub, &a.key).cmp(&(b.sub, &b.key)));
            let was = &self.revisions[revision as usize];
            if *was != found {
                return Err(format!(
                    "R4: revision {revision} was {was:?}, after the restart it is {found:?}"
                ));
            }
        }
        self.harvest(host, now)
    }

    /// The state as a whole, at the settled end and where history begins.
    pub fn compare_states(&self, host: &Host) -> Result<(), Broken> {
        let all = RangeRequest::of(KeyRange::all());
        let compacted = host.shards().map(|shard| shard.store().compacted()).max().unwrap_or(-1);
        for at in [self.settled, compacted.max(1)] {
            let mut found = Vec::new();
            for shard in host.shards() {
                found.extend(shard.store().range(&all, Revision(at)).kvs);
            }
            found.sort_by(|a, b| a.key.cmp(&b.key));
            let expected = self.model.seen(&KeyRange::all(), at);
            if found != expected {
                return Err(format!("the state at {at} is {found:?}, expected {expected:?}"));
            }
        }
        Ok(())
    }

    /// Gives every revision up to `cut` its call and judges every call; none of them can change
    /// anything any more.
    pub fn settle(&mut self, calls: &[ClientCall], cut: i64) -> Result<(), Broken> {
        let mut owners: BTreeMap<i64, usize> = BTreeMap::new();
        for (at, call) in calls.iter().enumerate() {
            let Some(revision) = call.made() else { continue };
            if revision <= self.settled || revision > cut {
                return Err(format!(
                    "an acknowledged write is lost: revision {revision} of {call:?} is not \
                     between {} and {cut}",
                    self.settled
                ));
            }
            if let Some(other) = owners.insert(revision, at) {
                return Err(format!(
                    "R1: revision {revision} was given to {:?} and to {call:?}",
                    calls[other]
                ));
            }
        }
        self.attribute(calls, &mut owners, cut)?;
        for (&revision, _) in owners.iter().filter(|(_, owner)| **owner == LEASE_END) {
            let others = self.candidates(calls, &BTreeMap::new(), revision);
            if let (Some(lease), Ok([LEASE_END])) = (self.ended(revision), others.as_deref()) {
                self.lease_ends.push((revision, lease));
            }
        }
        for (at, call) in calls.iter().enumerate() {
            let made =
                owners.iter().find(|(_, owner)| **owner == at).map(|(revision, _)| *revision);
            if let Some(made) = made
                && made <= call.invoked.after
            {
                return Err(format!(
                    "revision {made} is not above {}, which was answered before: {call:?}",
                    call.invoked.after
                ));
            }
            verdict::judge(self, call, made)?;
        }
        self.settled = cut;
        Ok(())
    }

    /// Finds the call of every revision that has none. Where several of unknown outcome would do,
    /// each is tried.
    fn attribute(
        &mut self,
        calls: &[ClientCall],
        owners: &mut BTreeMap<i64, usize>,
        cut: i64,
    ) -> Result<(), Broken> {
        let begin = self.settled;
        let acknowledged = owners.clone();
        let mut choices: Vec<Choice> = Vec::new();
        let mut revision = begin + 1;
        let mut first_failure = None;
        while revision <= cut {
            let candidates = match acknowledged.get(&revision) {
                Some(&owner) => self.explains(&calls[owner], revision).map(|()| vec![owner]),
                None => self.candidates(calls, owners, revision),
            };
            let mut candidates = match candidates {
                Ok(candidates) => candidates,
                Err(broken) => {
                    first_failure.get_or_insert(broken);
                    let Some(last) = choices.last_mut() else { break };
                    revision = last.revision;
                    self.model.roll_back(revision - 1);
                    owners.retain(|at, _| *at < revision || acknowledged.contains_key(at));
                    std::mem::take(&mut last.rest)
                }
            };
            if choices.last().is_some_and(|last| last.revision == revision) {
                choices.pop();
            }
            let owner = candidates.pop().expect("somebody explains it");
            if !candidates.is_empty() {
                choices.push(Choice { revision, rest: candidates });
            }
            owners.insert(revision, owner);
            self.model.push(revision, &self.revisions[revision as usize]);
            revision += 1;
        }
        if revision <= cut {
            return Err(first_failure.expect("the loop ended early"));
        }
        Ok(())
    }

    /// Calls of unknown outcome that explain a revision, the likeliest last.
    fn candidates(
        &self,
        calls: &[ClientCall],
        owners: &BTreeMap<i64, usize>,
        revision: i64,
    ) -> Result<Vec<usize>, Broken> {
        let changes = &self.revisions[revision as usize];
        let marks: Vec<u64> =
            changes.iter().filter_map(|change| call_of(&change.put.as_ref()?.value)).collect();
        let mut found: Vec<usize> = (0..calls.len())
            .filter(|at| !owners.values().any(|owner| owner == at))
            .filter(|&at| calls[at].is_unknown() && calls[at].writes())
            .filter(|&at| calls[at].invoked.after < revision)
            .filter(|&at| self.explains(&calls[at], revision).is_ok())
            .collect();
        found.sort_by_key(|&at| marks.contains(&calls[at].id));
        found.extend(self.ended(revision).map(|_| LEASE_END));
        if found.is_empty() {
            return Err(format!(
                "no call explains revision {revision}: {changes:?}; calls {marks:?} wrote such \
                 values: {:?}",
                calls.iter().filter(|call| marks.contains(&call.id)).collect::<Vec<_>>()
            ));
        }
        Ok(found)
    }

    /// The lease whose end a revision may be: all its keys vanish, and nothing else happens.
    fn ended(&self, revision: i64) -> Option<LeaseId> {
        let changes = self.changes(revision);
        let first = self.shown.get(&changes[0].key, revision - 1)?;
        let keys = self.shown.keys_of(first.lease, revision - 1);
        let is_gone = |change: &Change| change.sub == 0 && change.put.is_none();
        let is_end = first.lease != LeaseId::NONE
            && changes.iter().all(is_gone)
            && changes.iter().map(|change| &change.key[..]).eq(keys.iter().map(|key| &key[..]));
        is_end.then_some(first.lease)
    }

    /// Whether `call`, carried out on the state before `revision`, changes what is there.
    fn explains(&self, call: &ClientCall, revision: i64) -> Result<(), Broken> {
        let found = &self.revisions[revision as usize];
        let broken = |what: String| {
            Err(format!("revision {revision} is {found:?}, but {what}, for {call:?}"))
        };
        match self.model.evaluate(&call.request, revision - 1) {
            Err(refusal) => broken(format!("the model answers {refusal:?}")),
            Ok((_, mut changes)) => {
                changes.sort_by(|a, b| (a.sub, &a.key).cmp(&(b.sub, &b.key)));
                if changes == *found { Ok(()) } else { broken(format!("it should be {changes:?}")) }
            }
        }
    }

    /// The answer that `request` must be given on the state at `begin`; `None` if it would change
    /// something there.
    pub(super) fn answer_at(
        &self,
        request: &Request,
        begin: i64,
    ) -> Option<Result<crate::types::Reply, crate::types::Refusal>> {
        match self.model.evaluate(request, begin) {
            Ok((_, changes)) if !changes.is_empty() => None,
            Ok((reply, _)) => Some(Ok(reply)),
            Err(refusal) => Some(Err(refusal)),
        }
    }
}

#[cfg(test)]
impl ObservedLine {
    /// Makes a line of made-up revisions, the first of which is 2; each is seen a second after the
    /// one before.
    pub fn of(revisions: Vec<Vec<Change>>) -> ObservedLine {
        let mut line = ObservedLine::new();
        for changes in revisions {
            line.revisions.push(changes.clone());
            line.shown.push(line.newest(), &changes);
            let step = line.newest() as u64;
            line.shown_at.push(Shown { step, time: step * 1_000_000_000 });
        }
        line
    }
}

/// Returns what the shards hold of the revisions above `from`, up to `to`.
fn held(host: &Host, from: i64, to: i64) -> Vec<(i64, Change)> {
    let all = KeyRange::all();
    let mut found = Vec::new();
    for shard in host.shards() {
        let changes = shard.store().changes(&all, Revision(from), Revision(to), usize::MAX);
        found.extend(changes.into_iter().map(|change| {
            let key = change.key.to_vec();
            (change.revision.0, Change { sub: change.sub.0, key, put: change.put })
        }));
    }
    found
}
