//! One watch stream as its client sees it: what it asked, what it is told, and whether the line
//! says so.
//!
//! ```text
//!   asked    Create ─ Cancel ─ Progress ─ …      each decided when it is asked, answered in order
//!   watcher  ──── told ────┤ next … newest       next moves with every reply; what is told must be
//!                                                exactly what the line has from next on
//! ```
//!
//! Every reply is held against the line as it is read, so at any time a watcher has been told, once
//! and in order, every event of its keys from its start up to `next`:
//!
//! - *ordered, unique, atomic, reliable*: the events of a reply are those of the line from `next`
//!   up to the reply's last revision, all of them, and `next` is beyond it then;
//! - *bookmarkable*: a notification of progress moves `next` beyond its revision, and nothing up
//!   to there may have been missing;
//! - *prev_kv, filters*: as the line has it; what was before may be missing where a compaction was
//!   asked for;
//! - *resumable*: a watcher that begins in the past is held against the same line;
//! - a cancellation by compaction names a compaction that was asked for, above `next`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::line::{Broken, ObservedLine};
use super::model::Change;
use crate::types::{
    Event, KeyValue, WatchCreate, WatchEvents, WatchId, WatchRefusal, WatchReply, WatchRequest,
    WatchStream,
};

/// The facts that are known when a client asks or reads.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    pub line: &'a ObservedLine,
    /// The stable that is published.
    pub stable: i64,
    /// The highest compaction that was answered.
    pub compacted: i64,
    /// Every compaction that was asked for, with its call.
    pub compactions: &'a [(u64, i64)],
}

/// The checker of one watch stream.
#[derive(Debug)]
pub struct Stream {
    pub core: usize,
    pub number: WatchStream,
    asked: VecDeque<OwedReply>,
    /// Numbers in use once everything asked is done.
    taken: BTreeSet<WatchId>,
    next_id: i64,
    /// Watchers that were told to live, and that were not told of their client's cancellation.
    watchers: BTreeMap<WatchId, Watcher>,
    /// Bytes of events that it was told of and has not given back.
    pub owed: usize,
    /// Its client takes what it is told.
    pub reads: bool,
    /// It was asked for progress at rest, when this was stable.
    wants_progress: Option<i64>,
    /// Bytes that it may owe before a reply.
    room: usize,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct OwedReply {
    stable: i64,
    compacted: i64,
    expected: Expected,
}

#[derive(Debug)]
enum Expected {
    Created(WatchId, WatchCreate),
    /// One of these reasons.
    Refused(Vec<WatchRefusal>),
    Canceled(WatchId),
    /// Only if every watcher is synced: it may also get nothing.
    Progress,
}

#[derive(Debug)]
struct Watcher {
    create: WatchCreate,
    /// The first revision of which it has not been told.
    next: i64,
    /// Its start was compacted before it was asked for: it can only be cancelled.
    is_doomed: bool,
    /// It was cancelled by a compaction; its number stays taken.
    is_compacted: bool,
}

impl Stream {
    /// A new one.
    pub fn new(core: usize, number: WatchStream, room: usize) -> Stream {
        Stream {
            core,
            number,
            asked: VecDeque::new(),
            taken: BTreeSet::new(),
            next_id: 0,
            watchers: BTreeMap::new(),
            owed: 0,
            reads: true,
            wants_progress: None,
            room,
        }
    }

    /// The client asks; it has to be carried to the member as well.
    pub fn ask(&mut self, request: &WatchRequest, at: Moment<'_>) {
        let expected = match request {
            WatchRequest::Create(create) => self.create(create),
            WatchRequest::Cancel(id) if self.taken.remove(id) => Expected::Canceled(*id),
            WatchRequest::Cancel(_) => return,
            WatchRequest::Progress => Expected::Progress,
        };
        let (stable, compacted) = (at.stable, at.compacted);
        self.asked.push_back(OwedReply { stable, compacted, expected });
    }

    fn create(&mut self, create: &WatchCreate) -> Expected {
        let mut reasons = Vec::new();
        reasons.extend((create.start < 0).then_some(WatchRefusal::Compacted));
        reasons.extend(create.range.is_empty().then_some(WatchRefusal::EmptyRange));
        let is_taken = create.id != WatchId(0) && self.taken.contains(&create.id);
        reasons.extend(is_taken.then_some(WatchRefusal::DuplicateId));
        if !reasons.is_empty() {
            return Expected::Refused(reasons);
        }
        let mut id = create.id;
        if id == WatchId(0) {
            while self.taken.contains(&WatchId(self.next_id)) {
                self.next_id += 1;
            }
            id = WatchId(self.next_id);
            self.next_id += 1;
        }
        self.taken.insert(id);
        Expected::Created(id, create.clone())
    }

    /// The numbers of its watchers.
    pub fn ids(&self) -> Vec<WatchId> {
        self.taken.iter().copied().collect()
    }

    /// Its watchers as somebody would create them again who lost the connection.
    pub fn resumptions(&self) -> impl Iterator<Item = WatchCreate> + '_ {
        let live = self.watchers.iter().filter(|(_, watcher)| !watcher.is_compacted);
        live.map(|(&id, watcher)| {
            let create = watcher.create.clone();
            WatchCreate { start: watcher.next, id, ..create }
        })
    }

    /// The client reads a reply.
    pub fn check(&mut self, reply: &WatchReply, at: Moment<'_>) -> Result<(), Broken> {
        let checked = match reply {
            WatchReply::Created { id, revision } => self.created(*id, revision.0, at),
            WatchReply::Refused { revision, reason } => self.refused(revision.0, *reason, at),
            WatchReply::Events(events) => self.events(events, at),
            WatchReply::Progress { id: WatchId::NONE, revision } => self.progressed(revision.0, at),
            WatchReply::Progress { id, revision } => self.notified(*id, revision.0, at),
            WatchReply::Canceled { id, revision, compacted: None } => {
                self.canceled(*id, revision.0, at)
            }
            WatchReply::Canceled { id, compacted: Some(compacted), .. } => {
                self.compacted(*id, compacted.0, at)
            }
            WatchReply::Ended(refusal) => Err(format!("nobody ended it: {refusal:?}")),
        };
        checked.map_err(|broken| {
            let Stream { core, number, watchers, .. } = self;
            format!(
                "watch: {broken}: stream {} of core {core}, stable {}, {reply:?}, watchers \
                 {watchers:?}",
                number.0, at.stable
            )
        })
    }

    /// The request that a reply answers; requests for progress before it got nothing.
    fn answered(&mut self, is_progress: bool) -> Result<OwedReply, Broken> {
        while let Some(asked) = self.asked.pop_front() {
            if is_progress == matches!(asked.expected, Expected::Progress) {
                return Ok(asked);
            }
            if is_progress {
                return Err(format!("an answer is missing before it, to {asked:?}"));
            }
        }
        Err("it answers nothing".to_owned())
    }

    fn created(&mut self, id: WatchId, revision: i64, at: Moment<'_>) -> Result<(), Broken> {
        let asked = self.answered(false)?;
        let Expected::Created(expected, create) = asked.expected else {
            return Err(format!("it is no answer to {asked:?}"));
        };
        if id != expected {
            return Err(format!("it should have the id {expected:?}"));
        }
        check_header(revision, asked.stable, at)?;
        let next = if create.start == 0 { revision + 1 } else { create.start };
        let is_doomed = create.start > 0 && create.start < asked.compacted;
        let watcher = Watcher { create, next, is_doomed, is_compacted: false };
        if let Some(other) = self.watchers.insert(id, watcher) {
            return Err(format!("there is one with its id: {other:?}"));
        }
        Ok(())
    }

    fn refused(
        &mut self,
        revision: i64,
        reason: WatchRefusal,
        at: Moment<'_>,
    ) -> Result<(), Broken> {
        let asked = self.answered(false)?;
        check_header(revision, asked.stable, at)?;
        match &asked.expected {
            Expected::Refused(reasons) if reasons.contains(&reason) => Ok(()),
            _ => Err(format!("it is no answer to {asked:?}")),
        }
    }

    fn canceled(&mut self, id: WatchId, revision: i64, at: Moment<'_>) -> Result<(), Broken> {
        let asked = self.answered(false)?;
        check_header(revision, asked.stable, at)?;
        if !matches!(asked.expected, Expected::Canceled(expected) if expected == id) {
            return Err(format!("it is no answer to {asked:?}"));
        }
        let gone = self.watchers.remove(&id);
        gone.map(|_| ()).ok_or_else(|| "it never lived".to_owned())
    }

    fn live_watcher(&mut self, id: WatchId) -> Result<&mut Watcher, Broken> {
        let watcher = self.watchers.get_mut(&id).ok_or("there is no such watcher")?;
        if watcher.is_compacted {
            return Err("it was cancelled by a compaction".to_owned());
        }
        Ok(watcher)
    }

    fn events(&mut self, reply: &WatchEvents, at: Moment<'_>) -> Result<(), Broken> {
        if self.owed >= self.room {
            return Err(format!("it owes {} bytes and has no room", self.owed));
        }
        let watcher = self.live_watcher(reply.id)?;
        let last = reply.events.last().ok_or("it tells of nothing")?.revision.0;
        if reply.revision.0 < last || reply.revision.0 > at.stable {
            return Err("R3: its header is below its events, or above stable".to_owned());
        }
        let create = &watcher.create;
        if (reply.prev_kv, reply.fragment) != (create.prev_kv, create.fragment) {
            return Err("it was asked for in another form".to_owned());
        }
        let bytes: usize = reply.events.iter().map(|event| event.bytes(reply.prev_kv)).sum();
        if bytes != reply.bytes {
            return Err(format!("its events come to {bytes} bytes"));
        }
        if watcher.is_doomed {
            return Err("it begins in what was compacted".to_owned());
        }
        let expected = wanted(at.line, create, watcher.next, last);
        let compacting = at.compactions.iter().map(|(_, revision)| *revision).max().unwrap_or(-1);
        let mut found = reply.events.iter();
        for (revision, change, prev) in expected {
            let Some(event) = found.next() else {
                return Err(format!("revision {revision} is missing, with {change:?}"));
            };
            check_event(event, revision, change)?;
            let is_lost = event.prev.is_none() && compacting >= revision;
            if create.prev_kv && event.prev.as_ref() != prev && !is_lost {
                return Err(format!("before revision {revision} it was {prev:?}"));
            }
        }
        if let Some(event) = found.next() {
            return Err(format!("nobody wants {event:?}"));
        }
        watcher.next = last + 1;
        self.owed += reply.bytes;
        Ok(())
    }

    /// Progress of the whole stream, which its client asked for.
    fn progressed(&mut self, revision: i64, at: Moment<'_>) -> Result<(), Broken> {
        let asked = self.answered(true)?;
        check_header(revision, asked.stable, at)?;
        if self.watchers.is_empty() {
            return Err("there are no watchers".to_owned());
        }
        if self.wants_progress.is_some_and(|wanted| wanted <= revision) {
            self.wants_progress = None;
        }
        for (id, watcher) in &mut self.watchers {
            // A watcher that its client gave up is none of the stream's any more, though the reply
            // comes later.
            let is_left =
                |asked: &OwedReply| matches!(asked.expected, Expected::Canceled(it) if it == *id);
            if self.asked.iter().any(is_left) {
                continue;
            }
            if watcher.is_compacted {
                return Err("a compacted watcher has none".to_owned());
            }
            watcher.progress(revision, at.line)?;
        }
        Ok(())
    }

    /// Progress of one watcher, by the clock.
    fn notified(&mut self, id: WatchId, revision: i64, at: Moment<'_>) -> Result<(), Broken> {
        let watcher = self.live_watcher(id)?;
        if !watcher.create.progress_notify {
            return Err("nobody wanted to be notified".to_owned());
        }
        check_header(revision, 0, at)?;
        watcher.progress(revision, at.line)
    }

    fn compacted(&mut self, id: WatchId, compacted: i64, at: Moment<'_>) -> Result<(), Broken> {
        let watcher = self.live_watcher(id)?;
        if compacted <= watcher.next {
            return Err("what it wants next is not compacted".to_owned());
        }
        if !at.compactions.iter().any(|(_, revision)| *revision == compacted) {
            return Err("nobody asked for that compaction".to_owned());
        }
        if compacted > at.stable {
            return Err("it is above stable".to_owned());
        }
        watcher.is_compacted = true;
        Ok(())
    }

    /// Nothing moves in the member any more, and all that was told has been given back: everybody
    /// must have been told everything.
    pub fn check_rest(&self, at: Moment<'_>) -> Result<(), Broken> {
        let core = self.core;
        let is_open = |asked: &&OwedReply| !matches!(asked.expected, Expected::Progress);
        if let Some(asked) = self.asked.iter().find(is_open) {
            return Err(format!("everything sleeps, and a stream of core {core} waits: {asked:?}"));
        }
        for (id, watcher) in self.watchers.iter().filter(|(_, watcher)| !watcher.is_compacted) {
            let missing = wanted(at.line, &watcher.create, watcher.next, at.stable);
            if let Some((revision, change, _)) = missing.first() {
                return Err(format!(
                    "everything sleeps, and watcher {id:?} of stream {} of core {core} was never \
                     told of revision {revision}: {change:?}; {watcher:?}",
                    self.number.0
                ));
            }
            if watcher.is_doomed {
                return Err(format!("everything sleeps, and {watcher:?} was never cancelled"));
            }
        }
        Ok(())
    }

    /// Whether a request for progress would have to be answered, if everything slept.
    pub fn owes_progress(&self, stable: i64) -> bool {
        let synced = |watcher: &Watcher| !watcher.is_compacted && watcher.create.start <= stable;
        !self.watchers.is_empty() && self.watchers.values().all(synced)
    }

    /// Everything sleeps and its client asks for progress, which it has to get.
    pub fn await_progress(&mut self, at: Moment<'_>) {
        self.wants_progress = Some(at.stable);
        self.ask(&WatchRequest::Progress, at);
    }

    /// Whether it did not get it.
    pub fn waits_for_progress(&self) -> bool {
        self.wants_progress.is_some()
    }
}

impl Watcher {
    /// It is told that nothing is missing up to `revision`.
    fn progress(&mut self, revision: i64, line: &ObservedLine) -> Result<(), Broken> {
        if self.create.start > revision {
            return Err(format!("{self:?} waits for a revision to come"));
        }
        if self.is_doomed {
            return Err(format!("{self:?} begins in what was compacted"));
        }
        if let Some((missing, change, _)) = wanted(line, &self.create, self.next, revision).first()
        {
            return Err(format!("revision {missing} was never told to {self:?}: {change:?}"));
        }
        if revision + 1 < self.next {
            return Err(format!("{self:?} has been told more"));
        }
        self.next = revision + 1;
        Ok(())
    }
}

fn check_header(revision: i64, least: i64, at: Moment<'_>) -> Result<(), Broken> {
    if revision > at.stable {
        return Err("R3: its header is above stable".to_owned());
    }
    if revision < least {
        return Err(format!("its header is below {least}, stable when it was asked for"));
    }
    Ok(())
}

fn check_event(event: &Event, revision: i64, change: &Change) -> Result<(), Broken> {
    let is_same = event.revision.0 == revision
        && event.sub.0 == change.sub
        && event.key[..] == change.key[..]
        && event.put == change.put;
    if is_same {
        return Ok(());
    }
    Err(format!("in place of {event:?} the line has revision {revision}: {change:?}"))
}

/// Returns the events of the revisions from `next` to `last` that a watcher must get.
fn wanted<'l>(
    line: &'l ObservedLine,
    create: &WatchCreate,
    next: i64,
    last: i64,
) -> Vec<(i64, &'l Change, Option<&'l KeyValue>)> {
    let mut found = Vec::new();
    for revision in next.max(2)..=last {
        let wants = |change: &&Change| {
            let filtered = if change.put.is_some() { create.no_put } else { create.no_delete };
            !filtered && create.range.contains(&change.key)
        };
        for change in line.changes(revision).iter().filter(wants) {
            // etcd: the state before the revision, and nothing for what is created in it.
            let is_new = change.put.as_ref().is_some_and(|kv| kv.create == revision);
            let prev = line.shown().get(&change.key, revision - 1).filter(|_| !is_new);
            found.push((revision, change, prev));
        }
    }
    found
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
