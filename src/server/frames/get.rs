//! Gets of one key, answered where they are read.
//!
//! Gets come in great numbers, and each needs nothing but the tree of its shard. So no request is
//! made of one: its key is looked up where it stands in the bytes that the socket read, several at
//! a time, and the pair is encoded from where it stands in the store. Counters are raised once for
//! all gets of one read.

use std::ops::ControlFlow;

use super::Session;
use crate::limits::CONNECTION_OUTPUT_BYTES_MAX;
use crate::member::{MULTI_GET_MAX, PointRead};
use crate::protocol::convert;
use crate::protocol::frame::{CONNECTION_STREAM, Flags, FrameFault, Header, encode_frame};
use crate::protocol::method::Method;
use crate::server::meters::add;
use crate::types::placement::shard_of;

/// The gets of one read that were answered.
#[derive(Default)]
pub(super) struct Counted {
    gets: u64,
    bytes_received: usize,
    bytes_sent: usize,
}

/// Gets that stand one after the other in the input.
struct Gets<'a> {
    count: usize,
    headers: [Header; MULTI_GET_MAX],
    wanted: [PointRead<'a>; MULTI_GET_MAX],
}

impl Session {
    /// Answers gets at the front of `input`, as far as there is room. Returns how many bytes of it
    /// are dealt with, and the frame behind them if that is no such get.
    pub(super) fn answer_gets(
        &self,
        input: &[u8],
        counted: &mut Counted,
    ) -> Result<(usize, Option<Header>), FrameFault> {
        let (gets, next) = self.gets_in(input);
        let fields = self.front.header();
        let opcode = Method::Range.opcode();
        let mut output = self.output.borrow_mut();
        let (before, mut visited) = (output.len(), 0);
        let answered = self.front.multi_get(&gets.wanted[..gets.count], &mut |revision, kv| {
            encode_frame(&mut output, gets.headers[visited].stream, opcode, Flags::END, |out| {
                convert::encode_get(&fields, revision, kv, out);
            });
            visited += 1;
            match output.len() < CONNECTION_OUTPUT_BYTES_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        let sent = output.len() - before;
        drop(output);
        let taken = gets.headers[..answered].iter().map(Header::frame_bytes).sum();
        if answered > 0 {
            self.turn.took(answered);
            counted.gets += answered as u64;
            counted.bytes_received += taken;
            counted.bytes_sent += sent;
            self.wrote();
        }
        if answered < gets.count {
            // Room is lacking, or an epoch: the next one is a request like others.
            return Ok((taken, self.has_room().then_some(gets.headers[answered])));
        }
        Ok((taken, next?))
    }

    /// The gets at the front of `input` that are for a shard of this core, and what is behind them.
    fn gets_in<'a>(&self, input: &'a [u8]) -> (Gets<'a>, Result<Option<Header>, FrameFault>) {
        let shard_cores = &self.front.settings.shard_cores;
        let under_way = self.under_way.borrow();
        let mut gets = Gets {
            count: 0,
            headers: [Header::default(); MULTI_GET_MAX],
            wanted: [PointRead::default(); MULTI_GET_MAX],
        };
        let mut rest = input;
        while gets.count < MULTI_GET_MAX {
            let (header, payload) = match self.decoder.look(rest) {
                Ok(Some(seen)) => seen,
                Ok(None) => return (gets, Ok(None)),
                Err(fault) => return (gets, Err(fault)),
            };
            let is_range = header.opcode == Method::Range.opcode() && header.flags == Flags::END;
            let is_open = header.stream != CONNECTION_STREAM
                && (under_way.is_empty() || !under_way.contains_key(&header.stream));
            let key = (is_range && is_open).then(|| convert::asked_key(payload)).flatten();
            let Some(key) = key else { return (gets, Ok(Some(header))) };
            let shard = shard_of(key, shard_cores.len() as u16);
            if shard_cores[usize::from(shard.0)] != self.front.core {
                return (gets, Ok(Some(header)));
            }
            gets.headers[gets.count] = header;
            gets.wanted[gets.count] = PointRead { shard, key };
            gets.count += 1;
            rest = &rest[header.frame_bytes()..];
        }
        (gets, Ok(None))
    }

    /// Counts what was answered of one read.
    pub(super) fn count_gets(&self, counted: &Counted) {
        if counted.gets == 0 {
            return;
        }
        let meters = self.front.meters();
        meters.answered(Method::Range, counted.gets);
        add(&meters.received_bytes, counted.bytes_received as u64);
        add(&meters.sent_bytes, counted.bytes_sent as u64);
        self.front.settings.figures.unversioned_requests(counted.gets);
    }
}
