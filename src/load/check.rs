//! `braid-load check`: is what was acknowledged there?
//!
//! For every line of the log of acknowledged changes, the key is read *at the revision* that the
//! acknowledgement stated: exactly that change must be there, with that value. So a change that was
//! lost, applied twice, or given another revision after a crash is found even where later changes
//! cover it. What has been compacted since cannot be verified and is counted apart.

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
    pub(super) verified: u64,
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
            let key = match ack.change {
                Change::Put { key, .. } | Change::Delete { key } => key.escape_ascii(),
            };
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
    let acks = acks?;
    let wires = Wires::connect(protocol, address, outstanding).await.map_err(|lost| lost.0)?;
    let mut reading = Reading {
        wires,
        acks: &acks,
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
    acks: &'a [Ack<'a>],
    next: usize,
    /// Which ack each slot asks for.
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
            if self.next == self.acks.len() && self.free.len() == self.slots.len() {
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
        while let (Some(ack), Some(&slot)) = (self.acks.get(self.next), self.free.last()) {
            let (Change::Put { key, .. } | Change::Delete { key }) = ack.change;
            let Some(place) = self.wires.place(key) else { return };
            self.free.pop();
            self.slots[slot as usize] = Some(self.next);
            self.next += 1;
            let range = Range { key, revision: ack.revision, ..Range::default() };
            self.wires.send(place, slot, Method::Range, |out| range.write(out));
        }
    }

    fn take(&mut self, cx: &mut Context<'_>) -> Result<bool, Lost> {
        let Reading { wires, acks, slots, free, verdict, .. } = self;
        wires.poll_answers(cx, |Answer { slot, result, .. }| {
            let asked = slots.get_mut(slot as usize).and_then(Option::take);
            if let Some(ack) = asked {
                free.push(slot);
                verdict.judge(&acks[ack], result);
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
