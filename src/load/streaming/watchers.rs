//! Watchers of one client: created, told, and held to the promise.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::ledger::{Delivery, Ledger, Read, StrayEvent};
use super::{Facts, ROW_AFTER, ROW_ALL, ROW_DELIVERY, Shared, WatchPlan};
use crate::load::keys::{KeyForm, prefix_end};
use crate::load::protobuf;
use crate::load::record::{EVENT_LOST, EVENT_ORDER, EVENT_STRANGE, EVENT_TWICE, Recorder};
use crate::load::run::Plan;
use crate::load::session::Thread;
use crate::load::wire::{Answer, Lost, Wires};
use crate::protocol::Method;
use crate::rt::{self, WaitList};
use crate::types::Nanos;

/// Reads of a turn before the other tasks of the thread have theirs.
const READS_MAX: u32 = 16;
/// The interval at which watchers look whether the run is over.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// A server that creates none of a round of watchers for so long creates none any more.
const CREATE_PATIENCE: Duration = Duration::from_secs(60);
const CREATE_ROUND: usize = 10_000;

/// The keys or prefixes that watchers watch.
#[derive(Clone, Debug)]
pub(super) struct Interest {
    pub(super) form: KeyForm,
    /// Digits that a watched prefix leaves open.
    pub(super) open_digits: usize,
    /// Keys of a target.
    pub(super) target_keys: u64,
}

impl Interest {
    /// The range of a target: a key and an empty end, or a prefix and its end.
    fn range(&self, target: u64, key: &mut Vec<u8>) -> Vec<u8> {
        self.form.write(target * self.target_keys, key);
        if self.open_digits == 0 {
            return Vec::new();
        }
        key.truncate(key.len() - self.open_digits);
        prefix_end(key)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Watcher {
    target: u64,
    /// Revision of the last event.
    revision: u64,
    /// Events of acknowledged puts, and of those that will be.
    count: u64,
}

/// One watch stream; the place of a watcher on it is its id less one.
#[derive(Debug, Default)]
struct Stream {
    place: usize,
    watchers: Vec<Watcher>,
    asked: usize,
    created: usize,
}

/// The watchers of one client.
pub(in crate::load) struct Watching {
    wires: Wires,
    streams: Vec<Stream>,
    /// Up to this stream and watcher, everybody was seen to have everything at the end.
    settled: (usize, usize),
    foreign: u64,
    /// Why a watcher is no more.
    cancelled: Option<String>,
}

impl Watching {
    /// The watchers of client `client` of a run, and how many were created per second.
    pub(super) async fn create_watchers(
        plan: &Plan,
        watch: &WatchPlan,
        client: usize,
    ) -> Result<(Watching, f64), Lost> {
        let interest = Interest {
            form: plan.workload.families[0].form.clone(),
            open_digits: watch.open_digits,
            target_keys: watch.target_keys,
        };
        let all = (client as u64..watch.watchers).step_by(watch.connections);
        let targets: Vec<u64> = all.map(|watcher| watcher % watch.targets).collect();
        let address = plan.endpoints[client % plan.endpoints.len()];
        let wires = Wires::connect(plan.protocol, address, 1).await?;
        Watching::create(wires, watch.streams, &interest, &targets).await
    }

    /// Creates one watcher per target, and says how many per second. Watchers of keys go to the
    /// connection nearest to the key, those of prefixes are spread.
    pub(super) async fn create(
        wires: Wires,
        streams: usize,
        interest: &Interest,
        targets: &[u64],
    ) -> Result<(Watching, f64), Lost> {
        let places = wires.places();
        let stream = |number| Stream { place: number / streams, ..Stream::default() };
        let mut watching = Watching {
            streams: (0..places * streams).map(stream).collect(),
            wires,
            settled: (0, 0),
            foreign: 0,
            cancelled: None,
        };
        let mut key = Vec::new();
        for (number, &target) in targets.iter().enumerate() {
            interest.range(target, &mut key);
            let place = match interest.open_digits {
                0 => watching.wires.nearest(&key),
                _ => number % places,
            };
            let stream = place * streams + number / places % streams;
            watching.streams[stream].watchers.push(Watcher { target, ..Watcher::default() });
        }
        let began = rt::now();
        while watching.created() < targets.len() {
            let goal = (watching.created() + CREATE_ROUND).min(targets.len());
            let round = poll_fn(|cx| watching.poll_create(interest, goal, cx));
            rt::within(CREATE_PATIENCE, round)
                .await
                .unwrap_or_else(|| Err(Lost::new("the server creates no watchers")))?;
        }
        let seconds = (rt::now().0 - began.0).max(1) as f64 / 1e9;
        Ok((watching, targets.len() as f64 / seconds))
    }

    pub(super) fn count(&self) -> usize {
        self.streams.iter().map(|stream| stream.watchers.len()).sum()
    }

    fn created(&self) -> usize {
        self.streams.iter().map(|stream| stream.created).sum()
    }

    /// Ready when `goal` watchers are there.
    fn poll_create(
        &mut self,
        interest: &Interest,
        goal: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Lost>> {
        loop {
            self.ask(interest);
            self.wires.poll_flush(cx)?;
            let Watching { streams, wires, cancelled, .. } = self;
            let read = wires.poll_answers(cx, |answer| match take_message(streams, answer) {
                Ok((stream, message)) => {
                    stream.created += usize::from(protobuf::watched(message).created);
                }
                Err(reason) => *cancelled = Some(reason),
            })?;
            if let Some(reason) = self.cancelled.take() {
                return Poll::Ready(Err(Lost::new(reason)));
            }
            if self.created() >= goal {
                return Poll::Ready(Ok(()));
            }
            if !read {
                return Poll::Pending;
            }
        }
    }

    fn ask(&mut self, interest: &Interest) {
        let mut key = Vec::new();
        for (slot, stream) in self.streams.iter_mut().enumerate() {
            while stream.asked < stream.watchers.len() && self.wires.has_room(stream.place) {
                let end = interest.range(stream.watchers[stream.asked].target, &mut key);
                stream.asked += 1;
                let id = stream.asked as u64;
                self.wires.stream(stream.place, slot as u32, Method::Watch, |out| {
                    protobuf::watch_create(out, &key, &end, id);
                });
            }
        }
    }

    /// Takes events until the run is over and everything has come, or the drain has ended; then
    /// counts what is missing.
    pub(super) async fn run(
        mut self,
        (shared, thread, delivered): (Arc<Shared>, Rc<Thread>, Rc<WaitList>),
    ) -> Result<Facts, Lost> {
        let ledger = shared.ledger.as_ref().expect("watchers have a ledger");
        loop {
            let turn = poll_fn(|cx| self.poll_turn(ledger, &thread, &delivered, cx));
            if let Some(lost) = rt::within(LOOK_PAUSE, turn).await {
                return Err(lost);
            }
            let late = rt::now() >= thread.clock.drained;
            if late || (ledger.is_closed() && self.has_everything(ledger)) {
                break;
            }
        }
        let mut recorder = thread.recorder.borrow_mut();
        Ok(judge_streams(&self.streams, self.foreign, ledger, &mut recorder))
    }

    /// Whether every watcher has been told of all that was acknowledged.
    fn has_everything(&mut self, ledger: &Ledger) -> bool {
        let (stream, number) = &mut self.settled;
        while let Some(watchers) = self.streams.get(*stream).map(|stream| &stream.watchers) {
            let Some(watcher) = watchers.get(*number) else {
                (*stream, *number) = (*stream + 1, 0);
                continue;
            };
            if watcher.count < ledger.acknowledged(watcher.target) {
                return false;
            }
            *number += 1;
        }
        true
    }

    /// Ready only when the connection is lost: events come until somebody stops waiting for them.
    fn poll_turn(
        &mut self,
        ledger: &Ledger,
        thread: &Thread,
        delivered: &WaitList,
        cx: &mut Context<'_>,
    ) -> Poll<Lost> {
        for _ in 0..READS_MAX {
            match self.read_events(ledger, thread, delivered, cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(lost) => return Poll::Ready(lost),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn read_events(
        &mut self,
        ledger: &Ledger,
        thread: &Thread,
        delivered: &WaitList,
        cx: &mut Context<'_>,
    ) -> Result<bool, Lost> {
        let Watching { wires, streams, foreign, cancelled, .. } = self;
        let mut recorder = thread.recorder.borrow_mut();
        let mut deliveries =
            Deliveries { ledger, recorder: &mut recorder, now: None, reached_all: false };
        let read = wires.poll_answers(cx, |answer| match take_message(streams, answer) {
            Ok((stream, message)) => *foreign += deliveries.take(stream, message),
            Err(reason) => *cancelled = Some(reason),
        })?;
        if deliveries.reached_all {
            delivered.wake_all();
        }
        wires.poll_flush(cx)?;
        match cancelled.take() {
            Some(reason) => Err(Lost::new(reason)),
            None => Ok(read),
        }
    }

    /// Takes what comes and throws it away; the number of events.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Result<u64, Lost> {
        let Watching { wires, streams, cancelled, .. } = self;
        let mut events = 0;
        while wires.poll_answers(cx, |answer| match take_message(streams, answer) {
            Ok((_, message)) => events += protobuf::events(message).count() as u64,
            Err(reason) => *cancelled = Some(reason),
        })? {}
        wires.poll_flush(cx)?;
        cancelled.take().map_or(Ok(events), |reason| Err(Lost::new(reason)))
    }
}

/// The stream and the message of an answer, if it is one of a stream that goes on.
fn take_message<'a, 'b>(
    streams: &'a mut [Stream],
    answer: Answer<'b>,
) -> Result<(&'a mut Stream, &'b [u8]), String> {
    let message = answer.result.map_err(|(_, text)| format!("watch: {text}"))?;
    if answer.ends {
        return Err("the server ended a watch stream".to_owned());
    }
    let watched = protobuf::watched(message);
    if watched.canceled {
        let reason = watched.reason.escape_ascii();
        return Err(format!("a watcher was cancelled: {reason}"));
    }
    let stream = streams.get_mut(answer.slot as usize);
    stream.map(|stream| (stream, message)).ok_or_else(|| "a message of no stream".to_owned())
}

/// Counts what watchers were not told.
fn judge_streams(
    streams: &[Stream],
    foreign: u64,
    ledger: &Ledger,
    recorder: &mut Recorder,
) -> Facts {
    let (mut expected, mut delivered, mut lost) = (0, 0, 0);
    for watcher in streams.iter().flat_map(|stream| &stream.watchers) {
        let acknowledged = ledger.acknowledged(watcher.target);
        expected += acknowledged;
        delivered += watcher.count;
        lost += acknowledged.saturating_sub(watcher.count);
    }
    if lost > 0 {
        let text = "acknowledged puts of which a watcher was not told by the end of the drain";
        recorder.failed_often(ROW_DELIVERY, EVENT_LOST, lost, text);
    }
    let mut facts = Facts::new();
    facts.insert("events expected".to_owned(), expected as f64);
    facts.insert("events delivered".to_owned(), delivered as f64);
    if foreign > 0 {
        facts.insert("events of other writers".to_owned(), foreign as f64);
    }
    facts
}

/// One reading of events.
struct Deliveries<'a> {
    ledger: &'a Ledger,
    recorder: &'a mut Recorder,
    /// One reading of the clock for everything that came at once.
    now: Option<Nanos>,
    /// Some put has reached its last watcher.
    reached_all: bool,
}

impl Deliveries<'_> {
    /// Takes the events of a message; how many were of other writers.
    fn take(&mut self, stream: &mut Stream, message: &[u8]) -> u64 {
        let id = protobuf::watched(message).id;
        let watcher = id.checked_sub(1).and_then(|at| stream.watchers.get_mut(at as usize));
        let Some(watcher) = watcher else {
            let text = "a message for a watcher that is not there";
            self.recorder.failed(ROW_DELIVERY, EVENT_STRANGE, text);
            return 0;
        };
        let now = *self.now.get_or_insert_with(rt::now);
        let mut foreign = 0;
        for event in protobuf::events(message) {
            if event.revision <= watcher.revision {
                let (code, text) = match event.revision == watcher.revision {
                    true => (EVENT_TWICE, "a revision that the watcher had been told"),
                    false => (EVENT_ORDER, "a revision below one that the watcher had been told"),
                };
                self.recorder.failed(ROW_DELIVERY, code, text);
                continue;
            }
            watcher.revision = event.revision;
            match self.ledger.read(event.value) {
                Read::Ours(stamp) if !event.deletes => {
                    let delivery = self.ledger.deliver(stamp);
                    self.judge(watcher, delivery, now);
                }
                _ => foreign += 1,
            }
        }
        foreign
    }

    fn judge(&mut self, watcher: &mut Watcher, delivery: Result<Delivery, StrayEvent>, now: Nanos) {
        let (code, text) = match delivery {
            Ok(Delivery { failed: true, .. }) => return,
            Ok(delivery) if delivery.target == watcher.target => {
                watcher.count += 1;
                return self.record(&delivery, now);
            }
            Ok(_) => (EVENT_STRANGE, "an event of a key that is not watched"),
            Err(StrayEvent::Unknown) => (EVENT_STRANGE, "an event of a put that was over"),
            Err(StrayEvent::Twice) => (EVENT_TWICE, "more events of a put than watchers"),
        };
        self.recorder.failed(ROW_DELIVERY, code, text);
    }

    fn record(&mut self, delivery: &Delivery, now: Nanos) {
        let recorder = &mut *self.recorder;
        let intended = delivery.intended;
        // Before the answer is as good as with it.
        let answered = delivery.answered.map_or(now, |answered| answered.min(now));
        recorder.counted();
        recorder.delivered(ROW_DELIVERY, intended, now);
        recorder.delivered(ROW_AFTER, answered, now);
        if delivery.is_last {
            self.reached_all = true;
            recorder.delivered(ROW_ALL, intended, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::ledger::Stamp;
    use super::*;
    use crate::load::record::{CODES, Clock};
    use crate::protocol::pb::etcdserverpb::WatchResponse;
    use crate::protocol::pb::mvccpb::{Event, KeyValue};

    const PLAN: WatchPlan = WatchPlan {
        watchers: 2,
        connections: 1,
        streams: 1,
        target_keys: 1,
        open_digits: 0,
        targets: 2,
    };

    fn response(ledger: &Ledger, watch_id: i64, puts: &[(i64, u64)]) -> Vec<u8> {
        let events = puts.iter().map(|&(mod_revision, number)| {
            let value = ledger.write(Stamp { writer: 0, number }).to_vec().into();
            let kv = Some(KeyValue { mod_revision, value, ..Default::default() });
            Event { kv, ..Default::default() }
        });
        WatchResponse { watch_id, events: events.collect(), ..Default::default() }.encode_to_vec()
    }

    fn recorder() -> Recorder {
        let clock = Clock { measured_from: Nanos(0), end: Nanos(u64::MAX), drained: Nanos(0) };
        Recorder::new(clock, 4, false)
    }

    /// What two watchers, of keys 0 and 1, make of messages after puts number 0 to 9, the even ones
    /// of key 0; errors by code, and the events that count.
    fn judged(messages: &[(i64, &[(i64, u64)])]) -> (Vec<(usize, u64)>, [u64; 2]) {
        let ledger = Ledger::new(PLAN, 1, 1);
        for number in 0..10 {
            ledger.open(Stamp { writer: 0, number }, number % 2, Nanos(1));
            ledger.answered(Stamp { writer: 0, number }, Nanos(2));
        }
        let watchers = [0, 1].map(|target| Watcher { target, ..Watcher::default() });
        let mut stream = Stream { watchers: watchers.to_vec(), ..Stream::default() };
        let mut recorder = recorder();
        for (id, puts) in messages {
            let mut deliveries = Deliveries {
                ledger: &ledger,
                recorder: &mut recorder,
                now: None,
                reached_all: false,
            };
            assert_eq!(deliveries.take(&mut stream, &response(&ledger, *id, puts)), 0);
        }
        let row = &recorder.cut()[usize::from(ROW_DELIVERY)];
        let errors = (0..CODES).map(|code| (code, row.errors[code])).filter(|(_, n)| *n > 0);
        (errors.collect(), [0, 1].map(|at: usize| stream.watchers[at].count))
    }

    #[test]
    fn what_is_told_once_and_in_order_is_good() {
        let (errors, counts) = judged(&[(1, &[(2, 0), (4, 2)]), (2, &[(3, 1)]), (1, &[(6, 4)])]);
        assert_eq!((errors, counts), (vec![], [3, 1]));
    }

    #[test]
    fn every_breach_of_the_promise_is_noticed() {
        for (messages, code) in [
            (&[(1, &[(2, 0), (2, 0)][..])][..], EVENT_TWICE),
            (&[(1, &[(2, 0), (3, 0)])], EVENT_TWICE),
            (&[(1, &[(4, 2), (2, 0)])], EVENT_ORDER),
            (&[(1, &[(3, 1)])], EVENT_STRANGE),
            (&[(1, &[(3, 77)])], EVENT_STRANGE),
            (&[(0, &[(2, 0)])], EVENT_STRANGE),
            (&[(3, &[(2, 0)])], EVENT_STRANGE),
        ] {
            assert_eq!(judged(messages).0, [(code, 1)], "{messages:?}");
        }
    }

    #[test]
    fn a_watcher_that_is_not_told_is_noticed() {
        let ledger = Ledger::new(PLAN, 1, 1);
        for number in 0..3 {
            ledger.open(Stamp { writer: 0, number }, 0, Nanos(1));
            ledger.answered(Stamp { writer: 0, number }, Nanos(2));
        }
        let delivered = [1, 3].map(|count| Watcher { count, ..Watcher::default() });
        let stream = Stream { watchers: delivered.to_vec(), ..Stream::default() };
        let mut recorder = recorder();
        let facts = judge_streams(&[stream], 0, &ledger, &mut recorder);
        assert_eq!((facts["events expected"], facts["events delivered"]), (6.0, 4.0));
        assert_eq!(recorder.cut()[usize::from(ROW_DELIVERY)].errors[EVENT_LOST], 2);
    }

    #[test]
    fn ranges_of_targets() {
        let form = KeyForm::new("w/", 7, 1000).expect("a form");
        let mut key = Vec::new();
        let keys = Interest { form: form.clone(), open_digits: 0, target_keys: 1 };
        assert_eq!((keys.range(42, &mut key), &key[..]), (vec![], &b"w/00042"[..]));
        let prefixes = Interest { form, open_digits: 2, target_keys: 100 };
        assert_eq!((prefixes.range(4, &mut key), &key[..]), (b"w/005".to_vec(), &b"w/004"[..]));
    }
}
