//! Leases of one client, and what keeps them alive.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use super::turns::{Work, make_requests};
use super::unary::ask_all;
use crate::load::protobuf;
use crate::load::session::{Pace, Thread};
use crate::load::source::Found;
use crate::load::wire::{Answer, Lost, Wires};
use crate::protocol::Method;
use crate::rt;
use crate::types::Nanos;

/// The interval at which a keeper looks whether the run is over.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// gRPC's NotFound, as what a lease that is gone counts.
const NOT_FOUND: usize = 5;
const INTERNAL: usize = 13;

#[derive(Clone, Copy)]
struct SentKeepAlive {
    lease: u64,
    intended: Nanos,
    sent: Nanos,
}

/// Leases that are granted, and the streams to keep them on: requests take turns on all streams and
/// all leases.
pub(in crate::load) struct Keeper {
    wires: Wires,
    leases: Vec<u64>,
    streams_per_place: usize,
}

impl Keeper {
    /// Grants so many leases; says how many per second.
    pub(super) async fn grant(
        mut wires: Wires,
        count: u64,
        ttl: u64,
        streams_per_place: usize,
        outstanding: u32,
    ) -> Result<(Keeper, f64), Lost> {
        let mut leases = Vec::with_capacity(count as usize);
        let began = rt::now();
        ask_all(
            &mut wires,
            Method::LeaseGrant,
            count,
            outstanding,
            |_, out| protobuf::lease_grant(out, ttl),
            |_, answer| leases.push(protobuf::lease(answer).0),
        )
        .await?;
        let seconds = (rt::now().0 - began.0).max(1) as f64 / 1e9;
        Ok((Keeper { wires, leases, streams_per_place }, count as f64 / seconds))
    }

    /// Keeps them until the end.
    pub(super) async fn run(self, thread: Rc<Thread>, outstanding: u32, pace: Pace) {
        let streams = self.wires.places() * self.streams_per_place;
        let keeping = Keeping {
            thread: thread.clone(),
            leases: self.leases,
            asked: vec![VecDeque::new(); streams],
            streams_per_place: self.streams_per_place,
            next_lease: 0,
            next_stream: 0,
            under_way: 0,
            outstanding: outstanding as usize,
        };
        make_requests(keeping, self.wires, thread, pace, LOOK_PAUSE).await;
    }
}

struct Keeping {
    thread: Rc<Thread>,
    leases: Vec<u64>,
    /// Per stream, in the order of asking.
    asked: Vec<VecDeque<SentKeepAlive>>,
    streams_per_place: usize,
    next_lease: usize,
    next_stream: usize,
    under_way: usize,
    outstanding: usize,
}

impl Keeping {
    /// All that a stream was asked has failed.
    fn fail_stream(&mut self, stream: usize, code: usize, text: &str) {
        let Some(asked) = self.asked.get_mut(stream) else { return };
        let count = asked.len().max(1) as u64;
        self.under_way -= asked.len();
        asked.clear();
        self.thread.recorder.borrow_mut().failed_often(Keeping::ROW, code, count, text);
    }
}

impl Work for Keeping {
    const ROW: u16 = 0;

    fn has_slot(&mut self, _: &mut Context<'_>) -> bool {
        self.under_way < self.outstanding
    }

    fn write(&mut self, wires: &mut Wires, intended: Nanos, now: Nanos) -> bool {
        let stream = self.next_stream;
        let place = stream / self.streams_per_place;
        if !wires.has_room(place) {
            return false;
        }
        let lease = self.leases[self.next_lease];
        self.next_lease = (self.next_lease + 1) % self.leases.len();
        self.next_stream = (stream + 1) % self.asked.len();
        wires.stream(place, stream as u32, Method::LeaseKeepAlive, |out| {
            protobuf::lease_keep_alive(out, lease);
        });
        self.asked[stream].push_back(SentKeepAlive { lease, intended, sent: now });
        self.under_way += 1;
        true
    }

    fn take(&mut self, answer: Answer<'_>, now: Nanos) {
        let stream = answer.slot as usize;
        let message = match answer.result {
            Ok(message) if !answer.ends => message,
            Ok(_) => return self.fail_stream(stream, INTERNAL, "the server ended the stream"),
            Err((code, text)) => return self.fail_stream(stream, code as usize, text),
        };
        let (id, ttl) = protobuf::lease(message);
        let mut recorder = self.thread.recorder.borrow_mut();
        // Nearly always the first: servers answer in order, though nothing says that they must.
        let asked = self.asked.get_mut(stream).and_then(|asked| {
            let at = asked.iter().position(|asked| asked.lease == id)?;
            asked.remove(at)
        });
        let Some(SentKeepAlive { intended, sent, .. }) = asked else {
            return recorder.failed(Keeping::ROW, INTERNAL, "an answer to nothing that was asked");
        };
        self.under_way -= 1;
        match ttl {
            0 => recorder.failed(Keeping::ROW, NOT_FOUND, "the lease is gone"),
            _ => recorder.answered(Keeping::ROW, intended, sent, now, Found::Hit),
        }
    }

    fn under_way(&self) -> usize {
        self.under_way
    }

    fn give_up(&mut self, code: usize, text: &str, now: Nanos) {
        let mut recorder = self.thread.recorder.borrow_mut();
        for SentKeepAlive { intended, sent, .. } in
            self.asked.iter_mut().flat_map(|all| all.drain(..))
        {
            recorder.given_up(Keeping::ROW, code, (intended, sent, now), text);
        }
        self.under_way = 0;
    }
}
