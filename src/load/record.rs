//! The counts of one thread: answers and latencies per interval and row of the workload.
//!
//! ```text
//!   start      measured_from                                  end          drained
//!     ├── warm-up ──┼── interval 0 ──┼── interval 1 ──┼── … ──┼── drain ──────┤
//! ```
//!
//! - *Throughput* counts answers that came between `measured_from` and `end`.
//! - *Latency* counts requests that were to start in that time, even if their answer came in the
//!   drain: leaving those out would hide a stall at the end.
//! - In an open loop a latency begins when the request was due (*intended*), and beside it stands
//!   the one from when it was sent (*service*).
//! - A request that was never answered, because its connection was lost or the drain ended, counts
//!   with the time that it had waited by then, and so does one that was due and never sent. Leaving
//!   them out would make a server look fast that answers nothing.
//! - An error that the server states has no latency: refusing is not the same work.

use std::borrow::Cow;

use hdrhistogram::Histogram;

use super::source::Found;
use crate::protocol::status;
use crate::types::Nanos;

/// Latencies from 100 ns to 60 s with three significant digits; above counts as 60 s.
const LATENCY_MIN_NS: u64 = 100;
const LATENCY_MAX_NS: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_MIN_NS, LATENCY_MAX_NS, DIGITS).expect("sound bounds")
}

/// Ends of requests that no server has stated, after the gRPC codes.
pub(super) const CONNECTION_LOST: usize = 17;
pub(super) const UNANSWERED: usize = 18;
/// Codes of events that watchers did not get as they should have.
pub(super) const EVENT_LOST: usize = 19;
pub(super) const EVENT_TWICE: usize = 20;
pub(super) const EVENT_ORDER: usize = 21;
pub(super) const EVENT_STRANGE: usize = 22;
/// A value that is not the one that was put.
pub(super) const WRONG_VALUE: usize = 23;
pub(super) const CODES: usize = 24;

/// A code's name: gRPC's, or ours.
pub(super) fn code_name(code: usize) -> Cow<'static, str> {
    match code {
        CONNECTION_LOST => Cow::Borrowed("connection lost"),
        UNANSWERED => Cow::Borrowed("unanswered"),
        EVENT_LOST => Cow::Borrowed("event lost"),
        EVENT_TWICE => Cow::Borrowed("event told twice"),
        EVENT_ORDER => Cow::Borrowed("event out of order"),
        EVENT_STRANGE => Cow::Borrowed("event of another key"),
        WRONG_VALUE => Cow::Borrowed("wrong value"),
        stated => status::code_name(stated as u32),
    }
}

/// The counts of one row of the workload in one interval.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Answers without error, misses included.
    pub(super) answered: u64,
    /// The operations among these that found nothing or whose guard did not hold.
    pub(super) missed: u64,
    pub(super) errors: [u64; CODES],
    pub(super) intended: Histogram<u64>,
}

impl Row {
    pub(super) fn new() -> Row {
        Row { answered: 0, missed: 0, errors: [0; CODES], intended: histogram() }
    }

    /// Whether anything at all is counted.
    pub(super) fn has_any(&self) -> bool {
        self.answered > 0 || !self.intended.is_empty() || self.errors.iter().any(|&count| count > 0)
    }

    pub(super) fn add(&mut self, other: &Row) {
        self.answered += other.answered;
        self.missed += other.missed;
        for (sum, count) in self.errors.iter_mut().zip(other.errors) {
            *sum += count;
        }
        self.intended.add(&other.intended).expect("equal bounds");
    }
}

/// The result of one thread.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    /// The rows of the drain: latencies and errors count, answers do not.
    pub(super) drain: Vec<Row>,
    /// Per row; empty in a closed loop, where it would be the same as intended.
    pub(super) service: Vec<Histogram<u64>>,
    /// Requests that were due and not sent by the end.
    pub(super) unsent: u64,
    /// Answers without error at any time, warm-up and drain included.
    pub(super) answered_in_all: u64,
    /// Of these, those that came after the end.
    pub(super) late: u64,
    /// Per code, the first text that came with it.
    pub(super) texts: Vec<Option<String>>,
    pub(super) attempts: Attempts,
    /// Per server, empty if there is one.
    pub(super) endpoints: Vec<Row>,
}

/// Attempts to connect that failed. They are no requests, and are not counted among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempts {
    pub(super) failed: u64,
    /// Why the first one failed.
    pub(super) text: Option<String>,
}

impl Attempts {
    pub(super) fn add(&mut self, other: Attempts) {
        self.failed += other.failed;
        self.text = self.text.take().or(other.text);
    }
}

/// When things begin and end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) measured_from: Nanos,
    pub(super) end: Nanos,
    pub(super) drained: Nanos,
}

/// Answers of a row that came at once to requests that were made at once.
#[derive(Clone, Copy, Debug, Default)]
struct Alike {
    /// Intended, sent, and now.
    times: [Nanos; 3],
    count: u64,
    missed: u64,
}

pub(super) struct Recorder {
    clock: Clock,
    rows: Vec<Row>,
    /// Per row, what is not in it yet: answers come in batches, and a batch is entered once.
    alike: Vec<Alike>,
    service: Vec<Histogram<u64>>,
    open_loop: bool,
    unsent: u64,
    answered_in_all: u64,
    late: u64,
    texts: Vec<Option<String>>,
    attempts: Attempts,
    /// What each server has answered, where there are several.
    endpoints: Vec<Row>,
}

impl Recorder {
    pub(super) fn new(clock: Clock, rows: usize, open_loop: bool) -> Recorder {
        Recorder {
            clock,
            rows: vec![Row::new(); rows],
            alike: vec![Alike::default(); rows],
            service: vec![histogram(); if open_loop { rows } else { 0 }],
            open_loop,
            unsent: 0,
            answered_in_all: 0,
            late: 0,
            texts: vec![None; CODES],
            attempts: Attempts::default(),
            endpoints: Vec::new(),
        }
    }

    /// Counts for each of so many servers, if there are several.
    pub(super) fn tell_apart(&mut self, servers: usize) {
        self.endpoints = vec![Row::new(); if servers > 1 { servers } else { 0 }];
    }

    /// A server's part in what is counted elsewhere: the end of a request, and its code if that is
    /// an error.
    pub(super) fn ended_at(
        &mut self,
        server: usize,
        intended: Nanos,
        now: Nanos,
        error: Option<usize>,
    ) {
        let (counts, measures) = (self.counts(now), self.measures(intended));
        let Some(row) = self.endpoints.get_mut(server) else { return };
        match error {
            Some(code) => row.errors[code.min(CODES - 1)] += 1,
            None => row.answered += u64::from(counts),
        }
        let has_time = matches!(error, None | Some(CONNECTION_LOST | UNANSWERED));
        if measures && has_time {
            row.intended.saturating_record(now.0.saturating_sub(intended.0));
        }
    }

    fn counts(&self, now: Nanos) -> bool {
        now >= self.clock.measured_from && now < self.clock.end
    }

    fn measures(&self, intended: Nanos) -> bool {
        self.counts(intended)
    }

    pub(super) fn answered(
        &mut self,
        step: u16,
        intended: Nanos,
        sent: Nanos,
        now: Nanos,
        found: Found,
    ) {
        self.answered_in_all += 1;
        self.late += u64::from(now >= self.clock.end);
        self.observed(step, intended, sent, now, found);
    }

    /// One more operation of those that a server's usage is divided by, where these are not the
    /// answers.
    pub(super) fn counted(&mut self) {
        self.answered_in_all += 1;
    }

    /// Something that nobody asked for, and since when it was waited for.
    pub(super) fn delivered(&mut self, step: u16, since: Nanos, now: Nanos) {
        let counts = self.counts(now);
        let measures = self.measures(since);
        let row = &mut self.rows[usize::from(step)];
        row.answered += u64::from(counts);
        if measures {
            row.intended.saturating_record(now.0.saturating_sub(since.0));
        }
    }

    /// Records requests that are not the operations that count, otherwise as
    /// [`answered`](Recorder::answered).
    pub(super) fn observed(
        &mut self,
        step: u16,
        intended: Nanos,
        sent: Nanos,
        now: Nanos,
        found: Found,
    ) {
        let times = [intended, sent, now];
        if self.alike[usize::from(step)].times != times {
            self.enter(usize::from(step));
            self.alike[usize::from(step)].times = times;
        }
        let alike = &mut self.alike[usize::from(step)];
        alike.count += 1;
        alike.missed += u64::from(found == Found::Miss);
    }

    /// Enters into a row what is alike.
    fn enter(&mut self, step: usize) {
        let alike = std::mem::take(&mut self.alike[step]);
        let [intended, sent, now] = alike.times;
        let (counts, measures) = (self.counts(now), self.measures(intended));
        let row = &mut self.rows[step];
        if counts {
            row.answered += alike.count;
            row.missed += alike.missed;
        }
        if measures && alike.count > 0 {
            row.intended.saturating_record_n(now.0.saturating_sub(intended.0), alike.count);
            if self.open_loop {
                let service = &mut self.service[step];
                service.saturating_record_n(now.0.saturating_sub(sent.0), alike.count);
            }
        }
    }

    fn enter_all(&mut self) {
        (0..self.rows.len()).for_each(|step| self.enter(step));
    }

    /// An error is counted whenever it comes, warm-up included: a run should not look better for
    /// having had it early.
    pub(super) fn failed(&mut self, step: u16, code: usize, text: &str) {
        self.failed_often(step, code, 1, text);
    }

    /// Records `count` errors at once.
    pub(super) fn failed_often(&mut self, step: u16, code: usize, count: u64, text: &str) {
        let code = if code < CODES { code } else { 2 };
        self.rows[usize::from(step)].errors[code] += count;
        self.texts[code].get_or_insert_with(|| text.to_owned());
    }

    /// A request whose outcome nobody will ever know: an error, with the time that it has waited.
    pub(super) fn given_up(
        &mut self,
        step: u16,
        code: usize,
        (intended, sent, now): (Nanos, Nanos, Nanos),
        text: &str,
    ) {
        self.failed(step, code, text);
        if !self.measures(intended) {
            return;
        }
        let row = &mut self.rows[usize::from(step)];
        row.intended.saturating_record(now.0.saturating_sub(intended.0));
        if self.open_loop {
            self.service[usize::from(step)].saturating_record(now.0.saturating_sub(sent.0));
        }
    }

    /// A server could not be connected to.
    pub(super) fn not_connected(&mut self, attempts: Attempts) {
        self.attempts.add(attempts);
    }

    /// A request of an open loop that was due and could not be sent by the end.
    pub(super) fn unsent(&mut self, step: u16, intended: Nanos, now: Nanos) {
        if self.measures(intended) {
            self.unsent += 1;
            let waited = now.0.saturating_sub(intended.0);
            self.rows[usize::from(step)].intended.saturating_record(waited);
        }
    }

    /// Ends an interval: takes what was counted since the last one.
    pub(super) fn cut(&mut self) -> Vec<Row> {
        self.enter_all();
        let empty = vec![Row::new(); self.rows.len()];
        std::mem::replace(&mut self.rows, empty)
    }

    pub(super) fn finish(mut self) -> Rest {
        self.enter_all();
        Rest {
            drain: self.rows,
            service: self.service,
            unsent: self.unsent,
            answered_in_all: self.answered_in_all,
            late: self.late,
            texts: self.texts,
            attempts: self.attempts,
            endpoints: self.endpoints,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(open_loop: bool) -> Recorder {
        let clock = Clock {
            measured_from: Nanos(1_000_000),
            end: Nanos(2_000_000),
            drained: Nanos(9_000_000),
        };
        Recorder::new(clock, 1, open_loop)
    }

    #[test]
    fn warm_up_and_drain_count_as_the_drawing_says() {
        let mut recorder = recorder(false);
        let mut answer = |intended, now| {
            recorder.answered(0, Nanos(intended), Nanos(intended), Nanos(now), Found::Hit);
        };
        answer(500_000, 900_000);
        answer(900_000, 1_100_000);
        answer(1_100_000, 1_200_000);
        answer(1_900_000, 5_000_000);
        let row = &recorder.cut()[0];
        assert_eq!((row.answered, row.intended.len()), (2, 2));
        assert!(row.intended.max() >= 3_100_000);
        assert_eq!(recorder.cut()[0].answered, 0);
    }

    #[test]
    fn answers_that_are_alike_count_one_by_one() {
        let mut recorder = recorder(false);
        for (intended, now, found) in [
            (1_100_000, 1_200_000, Found::Hit),
            (1_100_000, 1_200_000, Found::Miss),
            (1_100_000, 1_300_000, Found::Hit),
            (1_100_000, 1_200_000, Found::Hit),
        ] {
            recorder.answered(0, Nanos(intended), Nanos(intended), Nanos(now), found);
        }
        let row = &recorder.cut()[0];
        assert_eq!((row.answered, row.missed, row.intended.len()), (4, 1, 4));
        assert_eq!(row.intended.count_between(150_000, 250_000), 1);
        assert_eq!(recorder.answered_in_all, 4);
        assert_eq!(recorder.finish().drain[0].answered, 0);
    }

    #[test]
    fn an_open_loop_counts_from_when_a_request_was_due() {
        let mut recorder = recorder(true);
        let (due, sent, now) = (Nanos(1_100_000), Nanos(1_600_000), Nanos(1_700_000));
        recorder.answered(0, due, sent, now, Found::Miss);
        recorder.unsent(0, Nanos(1_500_000), Nanos(2_500_000));
        recorder.unsent(0, Nanos(500_000), Nanos(2_500_000));
        let row = recorder.cut().remove(0);
        assert_eq!((row.missed, row.intended.len()), (1, 2));
        let near = |value: u64, expected: u64| value.abs_diff(expected) <= expected / 500;
        assert!(near(row.intended.min(), 600_000) && near(row.intended.max(), 1_000_000));
        let rest = recorder.finish();
        assert!(near(rest.service[0].max(), 100_000) && rest.unsent == 1);
    }

    #[test]
    fn what_is_given_up_counts_with_the_time_it_has_waited() {
        for open_loop in [false, true] {
            let mut recorder = recorder(open_loop);
            let (due, sent, now) = (Nanos(1_100_000), Nanos(1_200_000), Nanos(8_100_000));
            recorder.given_up(0, UNANSWERED, (due, sent, now), "stopped");
            // Of the warm-up: an error, and no latency of the measured time.
            recorder.given_up(0, UNANSWERED, (Nanos(900_000), sent, now), "stopped");
            let rest = recorder.finish();
            let row = &rest.drain[0];
            assert_eq!((row.errors[UNANSWERED], row.intended.len(), row.answered), (2, 1, 0));
            assert!(row.intended.max().abs_diff(7_000_000) < 14_000, "{}", row.intended.max());
            let service = rest.service.first().map(|service| service.max() / 100_000);
            assert_eq!(service, open_loop.then_some(69));
        }
    }

    #[test]
    fn each_of_several_servers_has_its_part() {
        let mut recorder = recorder(false);
        recorder.ended_at(0, Nanos(1_100_000), Nanos(1_200_000), None);
        assert!(recorder.endpoints.is_empty(), "one server is the whole");
        recorder.tell_apart(2);
        recorder.ended_at(0, Nanos(1_100_000), Nanos(1_200_000), None);
        recorder.ended_at(1, Nanos(1_100_000), Nanos(1_900_000), Some(UNANSWERED));
        recorder.ended_at(1, Nanos(1_100_000), Nanos(1_900_000), Some(14));
        let rest = recorder.finish();
        let of = |row: &Row| (row.answered, row.intended.len(), row.errors.iter().sum::<u64>());
        assert_eq!((of(&rest.endpoints[0]), of(&rest.endpoints[1])), ((1, 1, 0), (0, 1, 2)));
    }

    #[test]
    fn an_attempt_to_connect_is_no_request() {
        let mut recorder = recorder(false);
        for text in ["first", "second"] {
            recorder.not_connected(Attempts { failed: 1, text: Some(text.to_owned()) });
        }
        let rest = recorder.finish();
        assert_eq!(rest.attempts, Attempts { failed: 2, text: Some("first".to_owned()) });
        assert_eq!(rest.drain[0].errors.iter().sum::<u64>(), 0);
    }

    #[test]
    fn errors_count_by_code_and_keep_their_first_text() {
        let mut recorder = recorder(false);
        recorder.failed(0, 8, "first");
        recorder.failed(0, 8, "second");
        recorder.failed(0, 99, "strange");
        assert_eq!((recorder.rows[0].errors[8], recorder.rows[0].errors[2]), (2, 1));
        assert_eq!(recorder.finish().texts[8].as_deref(), Some("first"));
    }

    #[test]
    fn latencies_have_three_digits_up_to_a_minute() {
        let mut histogram = histogram();
        for value in [1_234, 1_234_000, 59_900_000_000] {
            histogram.reset();
            histogram.saturating_record(value);
            assert!(histogram.max().abs_diff(value) <= value / 500 + 64, "{value}");
        }
        histogram.saturating_record(u64::MAX);
        assert!(histogram.max() >= LATENCY_MAX_NS);
    }
}
