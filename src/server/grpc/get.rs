//! Gets of one key, answered where they are read, as those over frames are.
//!
//! A get needs nothing but the tree of its shard. So no request is made of one: its key is looked
//! up where it stands in the bytes that the socket read, several at a time, and the pair is encoded
//! from where it stands in the store. Counters are raised once for all gets of one read.

use std::ops::ControlFlow;
use std::rc::Rc;

use bytes::BytesMut;

use super::call::{Arrived, plain_message};
use super::head::{self, Head};
use super::link::Link;
use crate::limits::CONNECTION_OUTPUT_BYTES_MAX;
use crate::member::{MULTI_GET_MAX, PointRead};
use crate::protocol::convert;
use crate::protocol::grpc::{Encoding, encode_message};
use crate::protocol::method::Method;
use crate::server::meters::add;
use crate::types::Nanos;
use crate::types::placement::shard_of;

/// Bytes of a pair that is encoded straight into the output.
const SMALL_BYTES: usize = 12 << 10;

/// Gets that were read one after the other and are not answered yet.
#[derive(Default)]
pub(super) struct Gets<'a> {
    streams: Vec<u32>,
    /// Their headers and messages.
    calls: Vec<(Head, &'a [u8])>,
    wanted: Vec<PointRead<'a>>,
}

/// The gets of one read that were answered.
#[derive(Default)]
pub(super) struct Counted {
    gets: u64,
    unversioned: u64,
    bytes_received: usize,
    bytes_sent: usize,
}

impl<'a> Gets<'a> {
    pub(super) fn is_full(&self) -> bool {
        self.wanted.len() >= MULTI_GET_MAX
    }

    /// Takes a call with its body, if it is a get of one key that a shard of this core has.
    pub(super) fn take(
        &mut self,
        link: &Link,
        stream: u32,
        head: Head,
        body: &'a [u8],
    ) -> Result<(), Head> {
        let Some((message, wanted)) = wanted(link, &head, body) else { return Err(head) };
        self.streams.push(stream);
        self.calls.push((head, message));
        self.wanted.push(wanted);
        Ok(())
    }

    /// Answers them. One that cannot be answered here, for want of an epoch, is a request like
    /// others.
    pub(super) fn answer(&mut self, link: &Rc<Link>, now: Nanos, counted: &mut Counted) {
        let Gets { streams, calls, wanted } = self;
        let (mut at, mut calls) = (0, calls.drain(..));
        while at < wanted.len() {
            let answered = multi_get(link, &streams[at..], &wanted[at..], counted);
            for (head, message) in calls.by_ref().take(answered) {
                counted.count(link, &head, message);
            }
            at += answered;
            // If it was room that was lacking, the answer to this one waits for some.
            if let Some((head, message)) = calls.next() {
                Arrived { now, head, stream: streams[at] }.start_whole(link, message);
                at += 1;
            }
        }
        drop(calls);
        streams.clear();
        wanted.clear();
    }
}

/// Answers gets in order until one cannot be answered here, or the output is full; how many.
fn multi_get(
    link: &Rc<Link>,
    streams: &[u32],
    wanted: &[PointRead<'_>],
    counted: &mut Counted,
) -> usize {
    let fields = link.header();
    let (mut http2, mut visited) = (link.http2_mut(), 0);
    let answered = link.front.multi_get(wanted, &mut |revision, kv| {
        let stream = streams[visited];
        visited += 1;
        let mut write = |out: &mut BytesMut| {
            let start = out.len();
            let put = |out: &mut BytesMut| convert::encode_get(&fields, revision, kv, out);
            let written = encode_message(out, put);
            assert!(written.is_ok(), "one pair is below the limit of gRPC");
            counted.bytes_sent += out.len() - start;
        };
        let (begin, end) = (head::begin(Encoding::Identity), head::end_ok());
        // That the client is gone is no error of ours.
        let _ = match kv.map_or(0, |kv| kv.key.len() + kv.value.len()) {
            0..SMALL_BYTES => http2.answer(stream, begin, write, end),
            _ => {
                let mut bytes = BytesMut::new();
                write(&mut bytes);
                let bytes = bytes.freeze();
                let begun = http2.headers(stream, begin, false);
                let sent = begun.and_then(|()| http2.body(stream, bytes));
                sent.and_then(|()| http2.end(stream, end))
            }
        };
        match http2.output().len() + http2.pending_bytes()[0] < CONNECTION_OUTPUT_BYTES_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    drop(http2);
    answered
}

fn wanted<'a>(link: &Link, head: &Head, body: &'a [u8]) -> Option<(&'a [u8], PointRead<'a>)> {
    let is_plain = head.method == Method::Range
        && head.encoding == Encoding::Identity
        && !head.requires_leader;
    let message = is_plain.then(|| plain_message(body)).flatten()?;
    let key = convert::asked_key(message)?;
    let shard_cores = &link.front.settings.shard_cores;
    let shard = shard_of(key, shard_cores.len() as u16);
    let is_here = shard_cores[usize::from(shard.0)] == link.front.core;
    is_here.then_some((message, PointRead { shard, key }))
}

impl Counted {
    fn count(&mut self, link: &Link, head: &Head, message: &[u8]) {
        self.gets += 1;
        self.bytes_received += message.len();
        match &head.api_version {
            None => self.unversioned += 1,
            version => link.front.settings.figures.client_request(false, version.as_deref()),
        }
    }

    /// Shows what was answered of one read.
    pub(super) fn show(&self, link: &Link) {
        if self.gets == 0 {
            return;
        }
        let meters = link.meters();
        meters.answered(Method::Range, self.gets);
        add(&meters.received_bytes, self.bytes_received as u64);
        add(&meters.sent_bytes, self.bytes_sent as u64);
        link.front.settings.figures.unversioned_requests(self.unversioned);
    }
}
