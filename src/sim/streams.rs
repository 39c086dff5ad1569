//! The clients that watch: which streams they open, what they ask, when they read and leave.
//!
//! After a crash they come back and go on where they were: each watcher is created again behind the
//! last revision of which it was told.

use std::collections::{BTreeMap, VecDeque};

use super::host::Host;
use super::line::Broken;
use super::stream::{Moment, Stream};
use super::trace::Trace;
use super::workload::{Known, Workload};
use crate::chance::Chance;
use crate::types::{Nanos, WatchCreate, WatchId, WatchReply, WatchRequest};

/// How one simulation's watchers behave: drawn once from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Streams at once; 0 is nobody who watches.
    pub streams: usize,
    /// Watchers of a stream, about.
    pub watchers: usize,
    /// One step in so many is one of somebody who watches.
    pub every: u64,
    /// One such step in so many is a stop of reading, or going on with it.
    pub stall_every: u64,
    /// One such step in so many closes a stream.
    pub close_every: u64,
    /// One such step in so many cancels a watcher.
    pub cancel_every: u64,
}

impl Habits {
    /// Draws them.
    pub fn draw(chance: &mut Chance) -> Habits {
        Habits {
            streams: chance.pick(&[0, 1, 2, 3, 5, 8]),
            watchers: chance.pick(&[1, 3, 8]),
            every: chance.pick(&[5, 10, 30]),
            stall_every: chance.pick(&[0, 5, 20]),
            close_every: chance.pick(&[0, 50, 200]),
            cancel_every: chance.pick(&[0, 5, 20]),
        }
    }
}

/// The simulated clients of watch streams.
#[derive(Debug)]
pub struct Streams {
    habits: Habits,
    /// Bytes of events that a stream may have been given and not sent.
    room: usize,
    open: Vec<Stream>,
    /// Watchers that lost their stream.
    lost: VecDeque<WatchCreate>,
    /// The number of replies of each kind that were read.
    pub kinds: BTreeMap<&'static str, u64>,
    pub events: u64,
}

/// Lost watchers that somebody still wants.
const LOST_MAX: usize = 32;

impl Streams {
    /// Nobody watches yet.
    pub fn new(habits: Habits, room: usize) -> Streams {
        let (open, lost, kinds) = (Vec::new(), VecDeque::new(), BTreeMap::new());
        Streams { habits, room, open, lost, kinds, events: 0 }
    }

    /// Returns the number of steps between two actions of watching clients.
    pub fn every(&self) -> u64 {
        if self.habits.streams > 0 { self.habits.every } else { 0 }
    }

    /// Somebody does something.
    pub fn act(
        &mut self,
        host: &mut Host,
        now: Nanos,
        at: Moment<'_>,
        (workload, known): (&Workload, Known),
        chance: &mut Chance,
        trace: &mut Trace,
    ) {
        if self.open.len() < self.habits.streams && (self.open.is_empty() || chance.one_in(8)) {
            let core = chance.slot(host.cores());
            self.open_one(core, host, now, trace);
            return;
        }
        let place = chance.slot(self.open.len());
        if chance.one_in(self.habits.close_every) {
            let stream = self.open.swap_remove(place);
            trace.record(|| format!("the client of stream {} leaves", stream.number.0));
            if chance.one_in(2) {
                self.lose(&stream);
            }
            host.watch_close(stream.core, stream.number);
            return;
        }
        let stream = &mut self.open[place];
        if chance.one_in(self.habits.stall_every) {
            stream.reads = !stream.reads;
            return;
        }
        if stream.reads && stream.owed > 0 && chance.one_in(2) {
            let bytes = if chance.one_in(2) { stream.owed } else { chance.slot(stream.owed) + 1 };
            stream.owed -= bytes;
            host.watch_sent(stream.core, stream.number, bytes);
            return;
        }
        if !host.watch_has_room(stream.core, stream.number) {
            return;
        }
        let ids = stream.ids();
        let request = if chance.one_in(6) {
            WatchRequest::Progress
        } else if chance.one_in(self.habits.cancel_every) {
            let id = if chance.one_in(10) { WatchId(99) } else { pick_id(&ids, chance) };
            WatchRequest::Cancel(id)
        } else if ids.len() < self.habits.watchers || chance.one_in(10) {
            let lost = if chance.one_in(3) { None } else { self.lost.pop_front() };
            WatchRequest::Create(lost.unwrap_or_else(|| create(&ids, workload, known, chance)))
        } else {
            return;
        };
        trace.record(|| {
            format!("core {}: stream {} asks {request:?}", stream.core, stream.number.0)
        });
        stream.ask(&request, at);
        host.watch(stream.core, now, stream.number, request);
    }

    fn open_one(&mut self, core: usize, host: &mut Host, now: Nanos, trace: &mut Trace) {
        let number = host.watch_open(core, now);
        trace.record(|| format!("core {core}: a client opens stream {}", number.0));
        self.open.push(Stream::new(core, number, self.room));
    }

    /// Somebody reads.
    pub fn read(
        &mut self,
        host: &mut Host,
        at: Moment<'_>,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        for (core, number, reply) in std::mem::take(&mut host.watched) {
            trace.watched(core, number, &reply);
            *self.kinds.entry(kind(&reply)).or_default() += 1;
            if let WatchReply::Events(events) = &reply {
                self.events += events.events.len() as u64;
            }
            let mut open = self.open.iter_mut();
            let found = open.find(|stream| (stream.core, stream.number) == (core, number));
            let Some(stream) = found else {
                return Err(format!("watch: nobody listens on {number:?} of core {core}"));
            };
            stream.check(&reply, at)?;
        }
        Ok(())
    }

    /// The power goes: whoever watched comes back for what was missed.
    pub fn crash(&mut self) {
        for stream in std::mem::take(&mut self.open) {
            self.lose(&stream);
        }
    }

    fn lose(&mut self, stream: &Stream) {
        self.lost.extend(stream.resumptions());
        let excess = self.lost.len().saturating_sub(LOST_MAX);
        self.lost.drain(..excess);
    }

    /// Nobody asks for anything more: those who lost something go on, and all read.
    pub fn rest(&mut self, host: &mut Host, now: Nanos, at: Moment<'_>, trace: &mut Trace) {
        self.open.iter_mut().for_each(|stream| stream.reads = true);
        if self.lost.is_empty() {
            return;
        }
        self.open_one(0, host, now, trace);
        let stream = self.open.last_mut().expect("just opened");
        for create in self.lost.drain(..) {
            // Some may have had the same number.
            let request = WatchRequest::Create(WatchCreate { id: WatchId(0), ..create });
            stream.ask(&request, at);
            host.watch(stream.core, now, stream.number, request);
        }
    }

    /// Those who read give back all that they were told.
    pub fn give_back(&mut self, host: &mut Host) {
        for stream in self.open.iter_mut().filter(|stream| stream.reads && stream.owed > 0) {
            host.watch_sent(stream.core, stream.number, std::mem::take(&mut stream.owed));
        }
    }

    /// Everybody with synced watchers asks for progress.
    pub fn ask_for_progress(&mut self, host: &mut Host, now: Nanos, at: Moment<'_>) {
        for stream in self.open.iter_mut().filter(|stream| stream.owes_progress(at.stable)) {
            stream.await_progress(at);
            host.watch(stream.core, now, stream.number, WatchRequest::Progress);
        }
    }

    /// Nothing moves any more: see [`Stream::check_rest`].
    pub fn check_rest(&self, at: Moment<'_>) -> Result<(), Broken> {
        let settled = self.open.iter().filter(|stream| stream.reads && stream.owed == 0);
        settled.into_iter().try_for_each(|stream| stream.check_rest(at))
    }

    /// Nothing moves any more, and everybody had asked for progress.
    pub fn check_progress(&self, stable: i64) -> Result<(), Broken> {
        let mut open = self.open.iter();
        match open.find(|stream| stream.owes_progress(stable) && stream.waits_for_progress()) {
            None => Ok(()),
            Some(stream) => Err(format!("everything sleeps, and progress is not told: {stream:?}")),
        }
    }
}

fn pick_id(ids: &[WatchId], chance: &mut Chance) -> WatchId {
    if ids.is_empty() { WatchId(0) } else { chance.pick(ids) }
}

/// A watcher of any kind.
fn create(
    taken: &[WatchId],
    workload: &Workload,
    known: Known,
    chance: &mut Chance,
) -> WatchCreate {
    let start = match chance.below(8) {
        0 | 1 => known.newest - chance.below(30) as i64,
        2 => known.newest + chance.below(12) as i64,
        3 => known.compacted + chance.below(3) as i64 - 1,
        4 if chance.one_in(4) => -3,
        _ => 0,
    };
    let start = if start < 0 && !chance.one_in(10) { 1 } else { start };
    let id = match chance.below(6) {
        0 => pick_id(taken, chance),
        1 => WatchId(chance.within(1, 6) as i64),
        _ => WatchId(0),
    };
    let filter = chance.below(8);
    WatchCreate {
        range: workload.watched(chance),
        start,
        id,
        progress_notify: chance.one_in(2),
        prev_kv: chance.one_in(2),
        fragment: chance.one_in(3),
        no_put: filter == 0,
        no_delete: filter == 1,
    }
}

fn kind(reply: &WatchReply) -> &'static str {
    match reply {
        WatchReply::Created { .. } => "WatchCreated",
        WatchReply::Refused { .. } => "WatchRefused",
        WatchReply::Events(_) => "WatchEvents",
        WatchReply::Progress { id: WatchId::NONE, .. } => "WatchProgress",
        WatchReply::Progress { .. } => "WatchNotified",
        WatchReply::Canceled { compacted: None, .. } => "WatchCanceled",
        WatchReply::Canceled { .. } => "WatchCompacted",
        WatchReply::Ended(_) => "WatchEnded",
    }
}
