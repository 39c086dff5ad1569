//! `braid-load check`: is what was acknowledged there?
//!
//! *The past*: for every line of the log of acknowledged changes, the key is read at the revision
//! that the acknowledgement stated: exactly that change must be there, with that value. So a change
//! that was lost, applied twice, or given another revision after a crash is found even where later
//! changes cover it. What has been compacted since cannot be verified and is counted apart.
//!
//! *The present*: of every key, the newest acknowledged change is held against what the key is now,
//! which no compaction takes away. It must be that change or a later one. A key that is gone is
//! lost, unless a delete that was not acknowledged may have taken it (the log names those).

use std::collections::BTreeMap;
use std::fs;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::acks::{Ack, thread_path};
use super::protobuf::{self, Range};
use super::source::Change;
use super::wire::{Answer, Lost, Protocol, Wires};
use crate::protocol::Method;
use crate::rt;

/// The findings of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// At their revisions.
    pub(super) verified: u64,
    /// Keys that are now as their newest acknowledged change left them.
    pub(super) present: u64,
    /// Keys that have been changed since.
    pub(super) later: u64,
    /// Keys that a delete without an answer may have taken.
    pub(super) doubtful: u64,
    pub(super) compacted: u64,
    pub(super) wrong: u64,
    /// The first of the wrong ones, in words.
    pub(super) examples: Vec<String>,
}

const EXAMPLES_MAX: usize = 10;
/// gRPC's OutOfRange: a revision that is compacted, or not there yet.
const OUT_OF_RANGE: u32 = 11;

impl Verdict {
    fn wrong(&mut self, ack: &Ack<'_>, what: &str) {
        self.wrong += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let key = key_of(ack).escape_ascii();
            self.examples.push(format!("{key} at revision {}: {what}", ack.revision));
        }
    }

    fn judge(&mut self, ack: &Ack<'_>, result: Result<&[u8], (u32, &str)>) {
        let answer = match result {
            Ok(answer) => answer,
            Err((OUT_OF_RANGE, text)) if text.contains("compacted") => {
                self.compacted += 1;
                return;
            }
            Err((_, text)) => return self.wrong(ack, text),
        };
        match (ack.change, protobuf::first_key_value(answer)) {
            (Change::DeleteRange { .. }, _) => {}
            (Change::Delete { .. }, None) => self.verified += 1,
            (Change::Delete { .. }, Some(_)) => self.wrong(ack, "deleted, and there all the same"),
            (Change::Put { .. }, None) => self.wrong(ack, "not there"),
            (Change::Put { value_hash, .. }, Some((revision, value))) => {
                if revision != ack.revision {
                    self.wrong(ack, &format!("last changed at {revision}, the change is lost"));
                } else if xxh3_64(value) != value_hash {
                    self.wrong(ack, "another value");
                } else {
                    self.verified += 1;
                }
            }
        }
    }
}

impl Verdict {
    /// Whether anything was held against the server at all.
    pub(super) fn has_verified(&self) -> bool {
        self.verified + self.present + self.later + self.wrong > 0
    }

    /// Holds the newest acknowledged change of a key against what the key is now.
    fn judge_now(&mut self, ack: &Ack<'_>, may_be_gone: bool, result: Result<&[u8], (u32, &str)>) {
        let answer = match result {
            Ok(answer) => answer,
            Err((_, text)) => return self.wrong(ack, text),
        };
        match (ack.change, protobuf::first_key_value(answer)) {
            (Change::DeleteRange { .. }, _) => {}
            (Change::Delete { .. }, None) => self.present += 1,
            (Change::Put { .. }, None) if may_be_gone => self.doubtful += 1,
            (Change::Put { .. }, None) => self.wrong(ack, "not there now"),
            (_, Some((revision, _))) if revision > ack.revision => self.later += 1,
            (Change::Delete { .. }, Some(_)) => self.wrong(ack, "deleted, and there now"),
            (Change::Put { value_hash, .. }, Some((revision, value))) => {
                if revision < ack.revision {
                    self.wrong(ack, &format!("now as at {revision}, the change is lost"));
                } else if xxh3_64(value) != value_hash {
                    self.wrong(ack, "another value now");
                } else {
                    self.present += 1;
                }
            }
        }
    }
}

/// The key of a change, or where its keys start.
fn key_of<'a>(ack: &Ack<'a>) -> &'a [u8] {
    match ack.change {
        Change::Put { key, .. } | Change::Delete { key } => key,
        Change::DeleteRange { start, .. } => start,
    }
}

/// One read that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question<'a> {
    At(Ack<'a>),
    Now { newest: Ack<'a>, may_be_gone: bool },
}

/// Every acknowledged change at its revision, then the newest one of each key now.
fn questions<'a>(acks: &[Ack<'a>]) -> Vec<Question<'a>> {
    let mut newest: BTreeMap<&[u8], Ack<'a>> = BTreeMap::new();
    let mut doubts = Vec::new();
    let mut questions = Vec::new();
    for ack in acks {
        if let Change::DeleteRange { start, end } = ack.change {
            doubts.push((start, end));
            continue;
        }
        questions.push(Question::At(*ack));
        let known = newest.entry(key_of(ack)).or_insert(*ack);
        if ack.revision >= known.revision {
            *known = *ack;
        }
    }
    let doubtful = merged(doubts);
    questions.extend(newest.into_iter().map(|(key, newest)| {
        let before = doubtful.partition_point(|&(start, _)| start <= key);
        let range = before.checked_sub(1).map(|at| doubtful[at]);
        let may_be_gone = range.is_some_and(|(start, end)| key == start || key < end);
        Question::Now { newest, may_be_gone }
    }));
    questions
}

/// The same ranges in order, none of which begins in another one.
fn merged<'a>(mut ranges: Vec<(&'a [u8], &'a [u8])>) -> Vec<(&'a [u8], &'a [u8])> {
    ranges.sort_unstable();
    let mut merged: Vec<(&[u8], &[u8])> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start == last.0 || start < last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// The whole lines of the logs of all threads.
pub(super) fn read_logs(path: &Path) -> Result<String, String> {
    let mut all = String::new();
    for thread in 0.. {
        let path = thread_path(path, thread);
        if thread > 0 && !path.exists() {
            break;
        }
        let text = fs::read_to_string(&path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        // The generator may have been killed in the middle of a line.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        all.push_str(&text[..whole]);
    }
    Ok(all)
}

/// Verifies every line against the server.
pub(super) fn check(
    protocol: Protocol,
    address: SocketAddr,
    log: String,
    outstanding: u32,
) -> Result<Verdict, String> {
    let verdict = Arc::new(Mutex::new(Err("the check did not end".to_owned())));
    let told = verdict.clone();
    let body = move || async move {
        let result = verify(protocol, address, &log, outstanding).await;
        *told.lock().unwrap_or_else(PoisonError::into_inner) = result;
    };
    let settings = rt::ExecutorSettings { name: "check".to_owned(), spin: Duration::ZERO };
    let executors = rt::start(&settings, vec![body]).map_err(|error| error.to_string())?;
    executors.join().map_err(|error| error.to_string())?;
    let mut verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *verdict, Ok(Verdict::default()))
}

async fn verify(
    protocol: Protocol,
    address: SocketAddr,
    log: &str,
    outstanding: u32,
) -> Result<Verdict, String> {
    let acks: Result<Vec<Ack<'_>>, String> = log
        .lines()
        .map(|line| Ack::parse(line).ok_or_else(|| format!("not a line of such a log: {line:?}")))
        .collect();
    let questions = questions(&acks?);
    let wires = Wires::connect(protocol, address, outstanding).await.map_err(|lost| lost.0)?;
    let mut reading = Reading {
        wires,
        questions: &questions,
        next: 0,
        slots: vec![None; outstanding as usize],
        free: (0..outstanding).collect(),
        verdict: Verdict::default(),
    };
    poll_fn(|cx| reading.poll(cx)).await.map_err(|lost| lost.0)?;
    Ok(reading.verdict)
}

struct Reading<'a> {
    wires: Wires,
    questions: &'a [Question<'a>],
    next: usize,
    /// Which question each slot asks.
    slots: Vec<Option<usize>>,
    free: Vec<u32>,
    verdict: Verdict,
}

impl Reading<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        loop {
            self.ask();
            if let Err(lost) = self.wires.poll_flush(cx) {
                return Poll::Ready(Err(lost));
            }
            if self.next == self.questions.len() && self.free.len() == self.slots.len() {
                return Poll::Ready(Ok(()));
            }
            match self.take(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(lost) => return Poll::Ready(Err(lost)),
            }
        }
    }

    fn ask(&mut self) {
        while let (Some(one), Some(&slot)) = (self.questions.get(self.next), self.free.last()) {
            let (key, revision) = match one {
                Question::At(ack) => (key_of(ack), ack.revision),
                Question::Now { newest, .. } => (key_of(newest), 0),
            };
            let Some(place) = self.wires.place(key) else { return };
            self.free.pop();
            self.slots[slot as usize] = Some(self.next);
            self.next += 1;
            let range = Range { key, revision, ..Range::default() };
            self.wires.send(place, slot, Method::Range, |out| range.write(out));
        }
    }

    fn take(&mut self, cx: &mut Context<'_>) -> Result<bool, Lost> {
        let Reading { wires, questions, slots, free, verdict, .. } = self;
        wires.poll_answers(cx, |Answer { slot, result, .. }| {
            let asked = slots.get_mut(slot as usize).and_then(Option::take);
            let Some(asked) = asked else { return };
            free.push(slot);
            match &questions[asked] {
                Question::At(ack) => verdict.judge(ack, result),
                Question::Now { newest, may_be_gone } => {
                    verdict.judge_now(newest, *may_be_gone, result);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::protocol::pb::etcdserverpb::RangeResponse;
    use crate::protocol::pb::mvccpb::KeyValue;

    fn judged(change: Change<'_>, result: Result<&[u8], (u32, &str)>) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.judge(&Ack { revision: 7, change }, result);
        verdict
    }

    fn line(text: &str) -> Ack<'_> {
        Ack::parse(text).expect(text)
    }

    #[test]
    fn the_newest_change_of_each_key_is_asked_for_now() {
        let texts = [
            "7\tP\ta\t0000000000000001",
            "9\tD\ta",
            "8\tP\ta\t0000000000000002",
            "5\tP\tb\t0000000000000003",
            "6\tP\tcc\t0000000000000003",
            "0\tU\tb\t",
            "0\tU\tca\tcb",
            "0\tU\tcb\tcd",
        ];
        let acks: Vec<Ack<'_>> = texts.iter().map(|text| line(text)).collect();
        let questions = questions(&acks);
        let now: Vec<_> = questions
            .iter()
            .filter_map(|question| match question {
                Question::Now { newest, may_be_gone } => Some((newest.revision, *may_be_gone)),
                Question::At(_) => None,
            })
            .collect();
        assert_eq!((questions.len(), &now[..]), (8, &[(9, false), (5, true), (6, true)][..]));
    }

    /// After a compaction nothing was verified, and `check` was content.
    #[test]
    fn what_is_there_now_is_the_newest_change_or_a_later_one() {
        let answer = |mod_revision, value: &'static [u8]| {
            let kv = KeyValue { mod_revision, value: value.into(), ..Default::default() };
            RangeResponse { kvs: vec![kv], ..Default::default() }.encode_to_vec()
        };
        let put = Change::Put { key: b"k", value_hash: xxh3_64(b"v") };
        let delete = Change::Delete { key: b"k" };
        let judged = |change, may_be_gone, bytes: &[u8]| {
            let mut verdict = Verdict::default();
            verdict.judge_now(&Ack { revision: 7, change }, may_be_gone, Ok(bytes));
            (verdict.present, verdict.later, verdict.doubtful, verdict.wrong)
        };
        assert_eq!(judged(put, false, &answer(7, b"v")), (1, 0, 0, 0));
        assert_eq!(judged(put, false, &answer(8, b"w")), (0, 1, 0, 0));
        assert_eq!(judged(put, true, &[]), (0, 0, 1, 0));
        assert_eq!(judged(delete, false, &[]), (1, 0, 0, 0));
        assert_eq!(judged(delete, false, &answer(9, b"v")), (0, 1, 0, 0));
        for (change, bytes) in [
            (put, Vec::new()),
            (put, answer(6, b"v")),
            (put, answer(7, b"w")),
            (delete, answer(6, b"v")),
        ] {
            assert_eq!(judged(change, false, &bytes), (0, 0, 0, 1), "{change:?}");
        }
    }

    #[test]
    fn only_exactly_the_change_is_good() {
        let answer = |mod_revision, value: &'static [u8]| {
            let kv = KeyValue { mod_revision, value: value.into(), ..Default::default() };
            RangeResponse { kvs: vec![kv], ..Default::default() }.encode_to_vec()
        };
        let put = Change::Put { key: b"k", value_hash: xxh3_64(b"v") };
        let delete = Change::Delete { key: b"k" };
        assert_eq!(judged(put, Ok(&answer(7, b"v"))).verified, 1);
        assert_eq!(judged(delete, Ok(&[])).verified, 1);
        for (change, bytes, reason) in [
            (put, answer(6, b"v"), "is lost"),
            (put, answer(7, b"w"), "another value"),
            (put, Vec::new(), "not there"),
            (delete, answer(3, b"v"), "there all the same"),
        ] {
            let verdict = judged(change, Ok(&bytes));
            assert_eq!((verdict.wrong, verdict.verified), (1, 0));
            assert!(verdict.examples[0].contains(reason), "{verdict:?}");
        }
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(judged(put, Err((11, compacted))).compacted, 1);
        let future = "etcdserver: mvcc: required revision is a future revision";
        assert_eq!(judged(put, Err((11, future))).wrong, 1);
    }
}
